//! The station against real servers on the loopback.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod balance;
mod checks;
mod http1;
mod http2;
mod http2_limits;
mod http2_wire;
mod left;
mod pools;
mod proxy_header;
mod transport;
mod watch;

use super::{Lease, Pool, Search, Upstream};
use crate::config;
use crate::proxy::body::Body;
use crate::proxy::registry::Registry;
use http::{Request, StatusCode, Uri};
use http_body_util::BodyExt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;

/// A test that takes this long hangs.
const LIMIT: Duration = Duration::from_secs(10);

/// An upstream in clear text without checks.
fn config(servers: &[SocketAddr], http: config::UpstreamHttp) -> config::Upstream {
    config::Upstream {
        name: "site".into(),
        servers: servers.iter().map(|address| server(*address)).collect(),
        sources: Vec::new(),
        discover: config::Discover::default(),
        http,
        health: None,
        balance: config::Balance::RoundRobin,
        zone: None,
        spill: 70,
        panic: 0,
        slow_start: Duration::ZERO,
        eject: Some(config::Eject::default()),
        going: config::Going::default(),
        limits: config::UpstreamLimits::default(),
        adaptive: None,
        connect_timeout: Duration::from_secs(5),
        tls: None,
        proxy_protocol: None,
        pool: config::Pool::default(),
    }
}

fn server(address: SocketAddr) -> config::Server {
    config::Server {
        name: address.to_string().into(),
        address: config::ServerAddress::Inet(address),
        weight: 1,
        zone: None,
        found_by: None,
    }
}

fn fresh(config: &config::Upstream) -> crate::proxy::Result<Arc<Upstream>> {
    Upstream::new(config, &Registry::new(), None)
}

fn pool(config: &config::Upstream) -> Arc<Pool> {
    fresh(config).unwrap().pool()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address at which connections are refused, and that nobody else gets
/// while the socket is held: bound, but not listening.
fn nobody() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn lease(pool: &Arc<Pool>) -> Lease {
    timeout(LIMIT, pool.lease(None, &mut Search::new()))
        .await
        .expect("a lease")
        .unwrap()
}

fn get(path: &'static str) -> Request<Body> {
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = Uri::from_static(path);
    request
        .headers_mut()
        .insert("host", http::HeaderValue::from_static("site"));
    request
}

/// One whole exchange on an HTTP/1.1 lease; the connection is kept.
async fn exchange(lease: Lease) -> (StatusCode, bytes::Bytes) {
    let Lease::Http1(mut lease) = lease else {
        panic!("not HTTP/1.1");
    };
    let response = timeout(LIMIT, lease.send(get("/"))).await.unwrap().unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    lease.keep();
    (status, body)
}

/// Wait until a condition holds, letting every other task run in between.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    timeout(LIMIT, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("never came: {what}"));
}
