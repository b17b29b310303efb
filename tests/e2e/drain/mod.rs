//! The drain, as clients and operators see it, stage by stage.
//!
//! Every test ends with the process: its exit code, and the sums of its
//! receipt, which must add up whatever the scene was ([`scene::Scene::over`]).

mod announce;
mod books;
mod cut;
mod farewell_events;
mod farewell_grpc;
mod farewell_http;
mod farewell_tunnel;
mod farewell_websocket;
mod finish;
mod forecast;
mod goaway;
mod half_open;
mod listeners;
mod policy;
mod receipt;
mod refuse;
mod retire;
pub(crate) mod scene;
