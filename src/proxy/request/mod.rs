//! One exchange: where it goes, how it is relayed, how it ends.
//!
//! `serve_http1` and `serve_http2` are called by the connection loops,
//! once per request. Both go the same way: `head` reads the request strictly
//! and finds its route, `headers` makes it fit to be passed on, `forward`
//! sends it to a server and awaits the answer's head (`interim`, what is said before
//! it; `retried`, where the route says
//! what may be sent again, as `retry` decides), and the answer's body is
//! then pulled by the HTTP/1.1 engine (`reply`) or pumped into an HTTP/2
//! stream (`pump`); `events` knows where an event stream may end early.
//! A tunnel's handshake is `websocket`'s, gRPC-Web is made gRPC by `web`, and
//! `health` answers in place of a server when it is asked for, and `status` hears
//! what a call came to, for who records it. Whatever the
//! proxy must say itself is said by `answer`.
//!
//! Invariant: at any moment of this a deadline can end the exchange in its
//! own protocol, also while the client's window is shut.

mod answer;
mod answered;
mod begun;
mod bounds;
mod date;
mod deadline;
mod events;
mod forward;
mod grpc;
mod head;
mod headers;
mod health;
mod hedged;
mod hops;
mod http1;
mod http2;
mod interim;
mod pump;
mod reply;
mod retried;
mod retry;
mod room;
mod route;
mod sites;
mod status;
mod web;
mod websocket;

pub(super) use http1::{Answers, serve_http1};
pub(super) use http2::serve_http2;
pub(super) use route::TcpExchange;
pub use route::{Route, Site};
pub use sites::Sites;
pub(super) use websocket::{Agreed, ServerEnd, StreamEnd};
