//! Serving: what goes in at one end comes out at the other.

mod access;
mod balance;
mod bodies;
mod breaks;
pub(crate) mod client;
mod ejection;
mod exchanges;
pub(crate) mod field;
mod grpc;
mod heads;
mod hedging;
mod memory;
mod retries;
mod routes;
pub(crate) mod script;
mod trailers;
mod tunnels;
mod unprocessed;
mod upstreams;
mod websocket_http2;
mod websocket_streams;
