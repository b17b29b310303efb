//! What is shipped for Prometheus and Grafana, held to the real thing: a real
//! Prometheus that scrapes the built binary through real drains, and promtool.
//!
//! `make test-prometheus` runs it, and brings Debian's `prometheus` where that is
//! missing; `cargo test` leaves it alone. Nothing here sleeps: each wait is for
//! a condition that Prometheus itself reports, with a limit.

#[path = "../e2e/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the harness of the end-to-end tests, of which a part is needed here"
)]
mod support;

mod dashboard;
mod drains;
mod rules;
mod server;
