//! End-to-end tests: the built binary with real clients and servers.

mod discovery;
mod drain;
mod edge;
mod fleet;
mod fuzz;
mod grpc;
mod handover;
mod harness;
mod limits;
mod live;
mod pools;
mod proxied;
mod proxy;
mod reload;
mod servers;
mod serving;
mod support;
mod systemd;
mod top;
mod traces;
mod triggers;
mod wire;
