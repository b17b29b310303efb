//! Ebbtide: a draining reverse proxy.
//!
//! Any proxy forwards traffic; this one can be stopped at any instant, under
//! any load, and no client notices. Where one must notice, because a deadline
//! passed, it is told in its own protocol, and the operator gets a receipt.
//!
//! The crate is a house of floors; a module imports lower floors only:
//!
//! | floor | modules | what is there |
//! |---|---|---|
//! | 0 | [`drain`] | the pure machine: phases, plan, orders, ledger, receipt |
//! | 1 | [`config`], [`control`], [`telemetry`] | what is wanted, asked and told |
//! | 2 | [`proxy`] | the way of the data: listener, handshake, connection, request, upstream |
//! | 3 | [`admin`] | the HTTP interface for operators |
//! | 4 | [`process`] | what is started, in which order, and what ends it |
//! | 5 | [`cli`] | the command line, and the demo |
//!
//! [`clock`] stands outside: it is the only reader of time.

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod drain;
pub mod process;
pub mod proxy;
pub mod telemetry;

#[cfg(test)]
#[path = "../tests/fuzz/driver.rs"]
mod fuzz;

#[cfg(test)]
#[allow(dead_code, reason = "answers are read by the tests of the relay")]
#[path = "../tests/fuzz/reading.rs"]
mod reading;
