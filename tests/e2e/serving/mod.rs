//! Serving: what goes in at one end comes out at the other.

mod access;
mod bodies;
mod breaks;
mod client;
mod exchanges;
mod field;
mod grpc;
mod heads;
mod memory;
mod routes;
mod script;
mod trailers;
mod tunnels;
mod unprocessed;
mod upstreams;
mod websocket_http2;
mod websocket_streams;
