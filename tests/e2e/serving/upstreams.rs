//! Servers that are not there, come and go, or close what was kept open.

use super::client::{get, nothing, request};
use super::field::{Speaks, client, config, pairs};
use super::script::Script;
use crate::support::clients::{Grpc, Raw};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use http::Method;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use tonic::Code;

/// An address at which nobody listens. The socket keeps others from it.
fn refused() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).expect("bind");
    let address = socket.local_addr().expect("address");
    (socket, address.as_socket().expect("an address"))
}

fn with_servers(servers: &[SocketAddr], keys: &str) -> String {
    let listed: Vec<_> = servers
        .iter()
        .map(|server| format!("\"{server}\""))
        .collect();
    let text = config("", &[("h1", servers[0], keys), ("h2", servers[0], keys)]);
    text.replace(
        &format!("[\"{}\"]", servers[0]),
        &format!("[{}]", listed.join(", ")),
    )
    .replacen("http = \"\"", "http = \"h1\"", 1)
    .replacen("http = \"\"", "http = \"h2\"", 1)
}

#[tokio::test]
async fn where_every_server_refuses_the_answer_is_502() {
    let (_one, first) = refused();
    let (_two, second) = refused();
    let proxy = Proxy::start(&with_servers(&[first, second], "http = \"\"")).await;
    for (speaks, site) in pairs(&Speaks::ALL, &["h1", "h2"]) {
        let mut client = client(&proxy, speaks).await;
        let reply = client.ask(get(site, "/")).await.expect("a reply");
        assert_eq!(reply.status, 502, "{speaks:?} to {site}");
        let reply = client.ask(get(site, "/")).await.expect("a reply");
        assert_eq!(reply.status, 502, "again, {speaks:?} to {site}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_is_passed_over() {
    let (_one, first) = refused();
    let (_two, second) = refused();
    let server = Server::http1().await;
    let servers = [first, second, server.address];
    let proxy = Proxy::start(&config("", &[("h1", first, "")]).replace(
        &format!("[\"{first}\"]"),
        &format!(
            "[\"{}\", \"{}\", \"{}\"]",
            servers[0], servers[1], servers[2]
        ),
    ))
    .await;
    for speaks in Speaks::ALL {
        for _ in 0..10 {
            // A connection each, so that none comes out of the pool.
            let mut client = client(&proxy, speaks).await;
            let asked = request(Method::POST, "h1", "/", nothing());
            let reply = client.ask(asked).await.expect("a reply");
            assert_eq!(reply.status, 200, "{speaks:?}");
        }
    }
}

#[tokio::test]
async fn without_a_healthy_server_the_answer_is_503_and_unavailable() {
    let (_one, first) = refused();
    let keys = "http = \"\"\nhealth = { tcp = true, every = \"50ms\" }";
    let proxy = Proxy::start(&with_servers(&[first], keys)).await;
    for site in ["h1", "h2"] {
        proxy
            .until_event("server_down", |line| line["upstream"] == site)
            .await;
    }
    for (speaks, site) in pairs(&Speaks::ALL, &["h1", "h2"]) {
        let mut client = client(&proxy, speaks).await;
        let reply = client.ask(get(site, "/")).await.expect("a reply");
        assert_eq!(reply.status, 503, "{speaks:?} to {site}");
        assert!(reply.header("retry-after").is_some());
    }
    let text = config("", &[("grpc", first, &keys.replace("\"\"", "\"h2\""))]);
    let text = text.replace("host = \"grpc.test\"", "path = \"/\"");
    let proxy = Proxy::start(&text).await;
    proxy.until_event("server_down", |_| true).await;
    let client = Grpc::connect(proxy.address("clear")).await;
    let status = client.echo("x").await.expect_err("no server");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn an_unhealthy_server_gets_no_requests_and_comes_back() {
    let healthy = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(AtomicUsize::new(0));
    let (says, count) = (Arc::clone(&healthy), Arc::clone(&asked));
    let sick = Script::http1(move |mut wire: Raw| {
        let (says, count) = (Arc::clone(&says), Arc::clone(&count));
        async move {
            while let Ok(head) = wire.head().await {
                let check = head.starts_with("GET /healthz ");
                let code = if check && !says.load(SeqCst) {
                    500
                } else {
                    200
                };
                if !check {
                    count.fetch_add(1, SeqCst);
                }
                let answer = format!("HTTP/1.1 {code} X\r\nContent-Length: 2\r\n\r\nok");
                wire.send(answer).await.expect("sent");
            }
        }
    })
    .await;
    let well = Server::http1().await;
    let text = config(
        "",
        &[(
            "h1",
            sick.address,
            "health = { http = \"/healthz\", every = \"50ms\" }",
        )],
    );
    let both = format!("[\"{}\", \"{}\"]", sick.address, well.address);
    let text = text.replace(&format!("[\"{}\"]", sick.address), &both);
    let proxy = Proxy::start(&text).await;
    let mut client = client(&proxy, Speaks::Http1).await;
    let mut twenty = async || {
        let before = asked.load(SeqCst);
        for _ in 0..20 {
            let reply = client.ask(get("h1", "/")).await.expect("a reply");
            assert_eq!(reply.status, 200);
        }
        asked.load(SeqCst) - before
    };
    assert_eq!(twenty().await, 10, "by turns");
    healthy.store(false, SeqCst);
    proxy.until_event("server_down", |_| true).await;
    assert_eq!(twenty().await, 0, "while it is down");
    let ups = |line: &serde_json::Value| line["event"] == "server_up";
    let before = proxy.log().iter().filter(|line| ups(line)).count();
    healthy.store(true, SeqCst);
    while proxy.log().iter().filter(|line| ups(line)).count() == before {
        // Each look asks the admin interface, which takes its time.
        let up = proxy.get("/metrics").await;
        let line = format!(
            "ebbtide_upstream_server_up{{upstream=\"h1\",server=\"{}\"}} 1",
            sick.address
        );
        if up.text().contains(&line) {
            break;
        }
    }
    assert_eq!(twenty().await, 10, "back again");
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_costs_no_error() {
    // Answers once and closes, without a word: the pool keeps it first.
    let server = Script::http1(async |mut wire: Raw| {
        wire.head().await.expect("a head");
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        wire.send(answer).await.expect("sent");
    })
    .await;
    let proxy = Proxy::start(&config("", &[("h1", server.address, "")])).await;
    for speaks in Speaks::CLEAR {
        let mut client = client(&proxy, speaks).await;
        for number in 0..200 {
            let reply = client.ask(get("h1", "/")).await.expect("a reply");
            assert_eq!(reply.status, 200, "{speaks:?}, request {number}");
        }
    }
    assert!(server.connections() >= 400);
}

#[tokio::test]
async fn a_kept_http2_connection_that_the_server_ends_costs_no_error() {
    // Says GOAWAY after each fifth stream, then ends.
    let server = Script::tcp(async |socket| {
        let mut connection = h2::server::handshake(socket).await.expect("handshake");
        let mut served = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let response = http::Response::new(());
            respond.send_response(response, true).expect("sent");
            served += 1;
            if served == 5 {
                connection.graceful_shutdown();
            }
        }
    })
    .await;
    let upstream = [("h2", server.address, "http = \"h2\"")];
    let proxy = Proxy::start(&config("", &upstream)).await;
    for speaks in Speaks::CLEAR {
        let mut client = client(&proxy, speaks).await;
        for number in 0..200 {
            let asked = request(Method::GET, "h2", "/", nothing());
            let reply = client.ask(asked).await.expect("a reply");
            assert_eq!(reply.status, 200, "{speaks:?}, request {number}");
        }
    }
    assert!(server.connections() > 2);
}

#[tokio::test]
async fn servers_take_turns() {
    for http in ["h1", "h2"] {
        let servers = if http == "h1" {
            [Server::http1().await, Server::http1().await]
        } else {
            [Server::http2().await, Server::http2().await]
        };
        let [one, two] = servers.each_ref().map(|server| server.address);
        let keys = format!("http = \"{http}\"");
        let text = config("", &[("site", one, &keys)]);
        let both = format!("[\"{one}\", \"{two}\"]");
        let proxy = Proxy::start(&text.replace(&format!("[\"{one}\"]"), &both)).await;
        let mut client = client(&proxy, Speaks::Http1).await;
        for _ in 0..50 {
            let reply = client.ask(get("site", "/")).await.expect("a reply");
            assert_eq!(reply.text(), "ok");
        }
        let seen = servers.each_ref().map(|server| server.desk.seen().requests);
        assert_eq!(seen, [25, 25], "{http}");
    }
}
