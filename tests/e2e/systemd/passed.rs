//! Sockets of a socket unit: whose they are, and what a drain leaves of them.

use super::{plan, web};
use crate::support::clients::{Http1, Raw};
use crate::support::manager::Manager;
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use socket2::{Domain, Socket, Type};
use std::net::{SocketAddr, TcpListener};

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Sockets of one group, as `ReusePort=yes` makes them.
fn group(count: usize) -> (SocketAddr, Vec<TcpListener>) {
    let mut address: SocketAddr = ([127, 0, 0, 1], 0).into();
    let mut sockets = Vec::new();
    for _ in 0..count {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("made");
        socket.set_reuse_port(true).expect("set");
        socket.bind(&address.into()).expect("bound");
        socket.listen(64).expect("it listens");
        let socket = TcpListener::from(socket);
        address = socket.local_addr().expect("known");
        sockets.push(socket);
    }
    (address, sockets)
}

fn alone() -> (SocketAddr, TcpListener) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
    (socket.local_addr().expect("known"), socket)
}

/// Clients that have asked and wait.
async fn asking(address: SocketAddr, count: usize) -> Vec<Raw> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Raw::connect(address).await;
        client.send(REQUEST).await.expect("sent");
        clients.push(client);
    }
    clients
}

async fn answered(clients: Vec<Raw>) {
    for mut client in clients {
        client.read_until("HTTP/1.1 200 ").await.expect("an answer");
    }
}

#[tokio::test]
async fn a_listener_serves_every_socket_of_its_name() {
    let (manager, server) = (Manager::new(), Server::http1().await);
    let (address, sockets) = group(5);
    // The queues are filled before anybody is there to accept.
    let clients = asking(address, 40).await;
    let passed: Vec<_> = sockets.iter().map(|socket| ("web", socket)).collect();
    let text = web(&address.to_string(), &server, "");
    let proxy = Proxy::start_as(&text, manager.passing(&passed))
        .ready(&text)
        .await;
    answered(clients).await;
    answered(asking(address, 40).await).await;
    assert_eq!(proxy.address("web"), address);
    assert_eq!(manager.stored(), [""; 0], "its unit holds them");
}

#[tokio::test]
async fn sockets_without_names_of_ours_are_found_by_address() {
    let (manager, server) = (Manager::new(), Server::http1().await);
    let ((at, socket), (admin, admin_socket)) = (alone(), alone());
    let clients = asking(at, 3).await;
    let passed = [("ebbtide.socket", admin_socket), ("ebbtide.socket", socket)];
    let text = web(&at.to_string(), &server, "");
    let text = format!("[admin]\nlisten = \"{admin}\"\n\n{text}");
    let proxy = Proxy::start_as(&text, manager.passing(&passed))
        .ready(&text)
        .await;
    assert_eq!(proxy.admin(), admin);
    answered(clients).await;
}

#[tokio::test]
async fn who_comes_while_it_drains_waits_for_the_next_process() {
    let (manager, server) = (Manager::new(), Server::http1().await);
    let (address, socket) = alone();
    let passed = [("web", socket)];
    let text = web(&address.to_string(), &server, &plan("0s"));
    let mut proxy = Proxy::start_as(&text, manager.passing(&passed))
        .ready(&text)
        .await;
    let mut held = Raw::connect(address).await;
    let request = "GET /hold HTTP/1.1\r\nhost: localhost\r\n\r\n";
    held.send(request).await.expect("sent");
    server
        .desk
        .until("the request", |seen| seen.requests == 1)
        .await;
    proxy.signal(Signal::TERM);
    proxy
        .until_event("stage", |line| line["stage"] == "finish")
        .await;
    let clients = asking(address, 5).await;
    server.desk.release();
    held.read_until("held").await.expect("the whole answer");
    drop(held);
    assert_eq!(proxy.exit().await.code(), Some(0));
    let next = Proxy::start_as(&text, manager.passing(&passed))
        .ready(&text)
        .await;
    answered(clients).await;
    drop(next);
}

#[tokio::test]
async fn a_listener_that_shares_one_socket_serves_on_every_worker() {
    let (manager, server) = (Manager::new(), Server::http1().await);
    let (address, socket) = alone();
    let text = web(&address.to_string(), &server, "[process]\nworkers = 4\n");
    let passed = [("web", socket)];
    let proxy = Proxy::start_as(&text, manager.passing(&passed))
        .ready(&text)
        .await;
    for _ in 0..50 {
        let mut client = Http1::connect(address).await;
        assert_eq!(client.get("/").await.expect("an answer").status, 200);
    }
    drop(proxy);
}

/// What it says when it does not start with these.
async fn refused(text: &str, passed: &[(&str, TcpListener)]) -> String {
    let manager = Manager::new();
    let mut proxy = Proxy::start_as(text, manager.passing(passed));
    assert_eq!(proxy.exit().await.code(), Some(1));
    assert_eq!(manager.told(), [""; 0], "it was never ready");
    let log = proxy.log();
    let said = log.last().and_then(|line| line.as_str().map(str::to_owned));
    said.unwrap_or_else(|| panic!("it said nothing: {log:?}"))
}

#[tokio::test]
async fn a_socket_that_cannot_be_used_stops_the_start_with_a_reason() {
    let server = Server::http1().await;
    let text = web("127.0.0.1:0", &server, "");
    let (at, socket) = alone();
    let said = refused(&text, &[("other", socket)]).await;
    assert!(
        said.contains(&format!("listens on {at}, and nobody wants it")),
        "{said}"
    );
    let (at, socket) = alone();
    let elsewhere = web("127.0.0.1:1", &server, "");
    let said = refused(&elsewhere, &[("web", socket)]).await;
    assert!(
        said.contains(&format!("it listens on {at}, the config says 127.0.0.1:1")),
        "{said}"
    );
    let said = refused(&text, &[("admin", alone().1), ("admin", alone().1)]).await;
    assert!(
        said.contains("several sockets for the admin interface"),
        "{said}"
    );
}

#[tokio::test]
async fn a_successor_is_the_service_and_leaves_its_sockets_open_as_well() {
    let (manager, server) = (Manager::new(), Server::http1().await);
    let (address, socket) = alone();
    let passed = [("web", socket)];
    let handover = "[handover]\nsocket = \"handover.sock\"\n";
    let more = handover.to_owned() + &plan("0s");
    let text = web(&address.to_string(), &server, &more);
    let mut command = manager.passing(&passed);
    command.env("WATCHDOG_USEC", "60000000");
    let mut proxy = Proxy::start_as(&text, command).ready(&text).await;
    manager.heard("READY=1").await;
    let mut next = proxy.successor(&text, "next.toml", &[]);
    next.took_over(&text).await;
    assert_eq!(proxy.exit().await.code(), Some(0));
    assert_eq!(manager.heard("MAINPID=").await, next.pid().to_string());
    let told = manager.told();
    let last = told.last().map(String::as_str);
    assert_eq!(last, Some("WATCHDOG_USEC=0"), "and nothing after that");
    assert!(!told.iter().any(|line| line == "STOPPING=1"), "{told:?}");
    answered(asking(address, 5).await).await;
    next.signal(Signal::TERM);
    assert_eq!(next.exit().await.code(), Some(0));
    let clients = asking(address, 5).await;
    let last = Proxy::start_as(&text, manager.passing(&passed))
        .ready(&text)
        .await;
    answered(clients).await;
    drop(last);
}
