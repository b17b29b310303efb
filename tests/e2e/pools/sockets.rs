//! What the system is told about sockets to servers, as it says itself.

use super::*;
use crate::support::clients::Raw;
use crate::support::servers::Server;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::Socket;
use std::path::Path;

/// The proxy's own sockets to `server`: duplicates, which share every option.
fn sockets(proxy: &Proxy, server: SocketAddr) -> Vec<Socket> {
    let id = i32::try_from(proxy.pid()).ok().and_then(Pid::from_raw);
    let process = pidfd_open(id.expect("an id"), PidfdFlags::empty()).expect("the process");
    let open = format!("/proc/{}/fd", proxy.pid());
    let open = std::fs::read_dir(open).expect("its descriptors");
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let duplicates =
        numbers.filter_map(|number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok());
    let sockets = duplicates.map(Socket::from).filter(|socket| {
        let peer = socket.peer_addr().ok();
        peer.and_then(|peer| peer.as_socket()) == Some(server)
    });
    sockets.collect()
}

/// The one socket there is.
fn socket(proxy: &Proxy, server: SocketAddr) -> Socket {
    let mut found = sockets(proxy, server);
    assert_eq!(found.len(), 1);
    found.remove(0)
}

#[track_caller]
fn is_told(socket: &Socket, [idle, interval]: [u64; 2], count: u32, user_timeout: Option<u64>) {
    assert!(socket.keepalive().expect("an option"));
    let seconds = Duration::from_secs;
    let time = socket.tcp_keepalive_time().expect("an option");
    assert_eq!(time, seconds(idle));
    let between = socket.tcp_keepalive_interval().expect("an option");
    assert_eq!(between, seconds(interval));
    assert_eq!(socket.tcp_keepalive_retries().expect("an option"), count);
    let limit = socket.tcp_user_timeout().expect("an option");
    assert_eq!(limit, user_timeout.map(Duration::from_millis));
}

const POOL: &str = "keepalive = { idle = \"7s\", interval = \"3s\", count = 5 }, \
                    user_timeout = \"12500ms\"";

#[tokio::test]
async fn every_connection_has_the_keepalive_and_the_timeout_that_are_written() {
    for http in ["h1", "h2"] {
        let server = match http {
            "h1" => Server::http1().await,
            _ => Server::http2().await,
        };
        let keys = format!("http = \"{http}\"");
        let proxy = Proxy::start(&site(server.address, &keys, POOL)).await;
        assert_eq!(get(&proxy, "/").await.status, 200);
        is_told(&socket(&proxy, server.address), [7, 3], 5, Some(12_500));
    }
}

#[tokio::test]
async fn without_a_word_they_are_the_usual_ones() {
    let server = Server::http1().await;
    let proxy = Proxy::start(&site(server.address, "", "")).await;
    assert_eq!(get(&proxy, "/").await.status, 200);
    is_told(&socket(&proxy, server.address), [60, 10], 3, None);
}

#[tokio::test]
async fn tunnels_and_connections_that_name_clients_have_them_too() {
    let server = Server::tcp().await;
    let text = site(server.address, "", POOL).replace(
        "routes = [{ upstream = \"site\" }]",
        "protocol = \"tcp\"\nupstream = \"site\"",
    );
    let proxy = Proxy::start(&text).await;
    let mut tunnel = Raw::connect(proxy.address("web")).await;
    tunnel.send("hello").await.expect("sent");
    tunnel.read_until("hello").await.expect("it comes back");
    is_told(&socket(&proxy, server.address), [7, 3], 5, Some(12_500));
    assert_eq!(open(&proxy, "in_use").await, 1, "a tunnel counts");
    drop(tunnel);
    until_closed(&proxy, "exchange", 1).await;

    let server = Server::headed_http1().await;
    let keys = "proxy_protocol = \"v2\"";
    let proxy = Proxy::start(&site(server.address, keys, POOL)).await;
    let mut held = client(&proxy).await;
    let held = tokio::spawn(async move { held.get("/hold").await.expect("an answer") });
    let arrived = |seen: &crate::support::seen::Seen| seen.requests == 1;
    server.desk.until("the request", arrived).await;
    is_told(&socket(&proxy, server.address), [7, 3], 5, Some(12_500));
    server.desk.release();
    assert_eq!(held.await.expect("a client").status, 200);
    until_closed(&proxy, "exchange", 1).await;
}

#[tokio::test]
async fn a_unix_socket_has_a_pool_like_any_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("site.sock");
    let server = unix(&path);
    let text = site(([127, 0, 0, 1], 1).into(), "", &format!("warm = 1, {POOL}"));
    let text = text.replace("127.0.0.1:1", &format!("unix:{}", path.display()));
    let proxy = Proxy::start(&text).await;
    until_idle(&proxy, 1).await;
    for _ in 0..3 {
        assert_eq!(get(&proxy, "/").await.status, 200);
    }
    assert_eq!(made(&proxy).await, 1);
    server.abort();
}

/// A server on a Unix socket that answers whatever comes.
fn unix(path: &Path) -> tokio::task::JoinHandle<()> {
    let listener = tokio::net::UnixListener::bind(path).expect("bind");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut wire = Raw::over(Box::new(stream));
                while wire.head().await.is_ok() {
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if wire.send(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    })
}
