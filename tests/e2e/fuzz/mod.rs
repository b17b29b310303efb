//! Any bytes through the whole proxy: what a server gets is what the client
//! asked, and what the client gets is what the server answered.
//!
//! Whoever stands at the far end reads strictly, by a reader of its own
//! (`tests/fuzz/reading.rs`), and holds what comes against what was sent. A
//! client is known by its address, one of 127.0.0.0/8, which the proxy names to
//! the server: what comes in nobody's name was smuggled.

mod answers;
mod asked;
mod expected;
mod frames;
mod relay;
mod requests;
mod said;
mod server;
mod servers;
mod stage;
mod streams;

#[path = "../../fuzz/driver.rs"]
mod driver;
#[path = "../../fuzz/reading.rs"]
mod reading;
