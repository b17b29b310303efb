//! Servers that fail what they are sent, or say that they are going.

use super::client::{Client, get};
use super::field::{Speaks, client, config};
use super::script::Script;
use crate::support::clients::Raw;
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

fn with_servers(servers: &[SocketAddr], keys: &str) -> String {
    let written: Vec<_> = servers
        .iter()
        .map(|server| format!("\"{server}\""))
        .collect();
    let text = config("", &[("site", servers[0], keys)]);
    text.replace(
        &format!("[\"{}\"]", servers[0]),
        &format!("[{}]", written.join(", ")),
    )
}

/// A server that gives this answer to everything.
async fn saying(answer: &'static str) -> Script {
    Script::http1(move |mut wire: Raw| async move {
        while wire.head().await.is_ok() {
            if wire.send(answer.to_owned()).await.is_err() {
                return;
            }
        }
    })
    .await
}

const BROKEN: &str = "HTTP/1.1 500 X\r\nContent-Length: 3\r\n\r\nbad";

async fn statuses(client: &mut Client, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        let reply = client.ask(get("site", "/")).await.expect("a reply");
        statuses.push(reply.status.as_u16());
    }
    statuses
}

#[tokio::test]
async fn errors_stop_when_the_bad_one_of_four_is_ejected() {
    let bad = saying(BROKEN).await;
    let good = [
        Server::http1().await,
        Server::http1().await,
        Server::http1().await,
    ];
    let servers = [
        bad.address,
        good[0].address,
        good[1].address,
        good[2].address,
    ];
    let keys = "eject = { server_errors = 3, time = \"1h\" }";
    let proxy = Proxy::start(&with_servers(&servers, keys)).await;
    let mut client = client(&proxy, Speaks::Http1).await;
    let seen = statuses(&mut client, 80).await;
    let errors = seen.iter().filter(|status| **status == 500).count();
    assert_eq!(errors, 3, "as many as it takes, and no more");
    let line = proxy.until_event("server_ejected", |_| true).await;
    assert_eq!(line["server"], bad.address.to_string());
    assert_eq!(line["reason"], "server_errors");
    let status = proxy.json("/v1/status").await;
    let server = &status["upstreams"][0]["servers"][0];
    assert_eq!(server["standing"], "ejected", "{server}");
    assert_eq!(server["why"], "server_errors", "{server}");
    let metrics = proxy.get("/metrics").await;
    let ejections = format!(
        "ebbtide_upstream_ejections_total{{upstream=\"site\",server=\"{}\",reason=\"server_errors\"}} 1",
        bad.address
    );
    assert!(metrics.text().contains(&ejections), "{}", metrics.text());
}

#[tokio::test]
async fn no_more_than_half_is_ejected_however_bad_all_are() {
    let all = [
        saying(BROKEN).await,
        saying(BROKEN).await,
        saying(BROKEN).await,
        saying(BROKEN).await,
    ];
    let servers = all.each_ref().map(|server| server.address);
    let keys = "eject = { server_errors = 2, time = \"1h\" }";
    let proxy = Proxy::start(&with_servers(&servers, keys)).await;
    let mut client = client(&proxy, Speaks::Http1).await;
    assert_eq!(
        statuses(&mut client, 60).await,
        [500; 60],
        "they are still asked"
    );
    let status = proxy.json("/v1/status").await;
    let servers = status["upstreams"][0]["servers"]
        .as_array()
        .expect("servers");
    let out = servers
        .iter()
        .filter(|server| server["standing"] == "ejected");
    assert_eq!(out.count(), 2, "{status}");
}

#[tokio::test]
async fn an_ejected_server_is_tried_again_after_its_time() {
    let bad = saying(BROKEN).await;
    let good = Server::http1().await;
    let keys = "eject = { server_errors = 1, time = \"50ms\" }";
    let proxy = Proxy::start(&with_servers(&[bad.address, good.address], keys)).await;
    let mut client = client(&proxy, Speaks::Http1).await;
    // Each error of it ejects it, so that it can give a second one only when it
    // was asked again.
    let mut errors = 0;
    for _ in 0..20_000 {
        let seen = statuses(&mut client, 1).await;
        errors += usize::from(seen == [500]);
        if errors == 2 {
            break;
        }
    }
    assert_eq!(errors, 2, "it was not asked again");
    proxy.until_event("server_returned", |_| true).await;
}

#[tokio::test]
async fn a_server_that_says_in_an_answer_that_it_is_going_is_asked_no_more() {
    let going = saying("HTTP/1.1 200 OK\r\nX-Leaving: yes\r\nContent-Length: 2\r\n\r\nme").await;
    let good = Server::http1().await;
    let keys = "going = { header = \"X-Leaving\", time = \"1h\" }";
    let proxy = Proxy::start(&with_servers(&[going.address, good.address], keys)).await;
    let mut client = client(&proxy, Speaks::Http1).await;
    let mut from_it = 0;
    for _ in 0..20 {
        let reply = client.ask(get("site", "/")).await.expect("a reply");
        from_it += usize::from(reply.text() == "me");
        assert!(
            reply.header("x-leaving").is_none(),
            "it is not about the proxy"
        );
    }
    assert_eq!(from_it, 1);
    let line = proxy.until_event("server_going", |_| true).await;
    assert_eq!(line["server"], going.address.to_string());
}

#[tokio::test]
async fn a_server_that_begins_to_close_its_connections_is_asked_no_more() {
    // Ten answers that keep their connections, and none after.
    let left = Arc::new(AtomicUsize::new(10));
    let going = Script::http1(move |mut wire: Raw| {
        let left = Arc::clone(&left);
        async move {
            while wire.head().await.is_ok() {
                let stays = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
                let close = if stays.is_ok() {
                    ""
                } else {
                    "Connection: close\r\n"
                };
                let answer = format!("HTTP/1.1 200 OK\r\n{close}Content-Length: 2\r\n\r\nme");
                if wire.send(answer).await.is_err() || stays.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let good = Server::http1().await;
    let keys = "going = { time = \"1h\" }";
    let proxy = Proxy::start(&with_servers(&[going.address, good.address], keys)).await;
    let mut client = client(&proxy, Speaks::Http1).await;
    let mut from_it = 0;
    for _ in 0..60 {
        let reply = client.ask(get("site", "/")).await.expect("a reply");
        from_it += usize::from(reply.text() == "me");
    }
    assert_eq!(from_it, 10 + 3, "those that it kept, and three");
    let line = proxy.until_event("server_going", |_| true).await;
    assert_eq!(line["server"], going.address.to_string());
}

#[tokio::test]
async fn an_http2_server_that_says_goaway_loses_nothing_and_is_asked_no_more() {
    // Serves ten streams, says GOAWAY, and takes no more connections.
    let going = Script::tcp(async |socket| {
        let mut connection = h2::server::handshake(socket).await.expect("handshake");
        let mut served = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond
                .send_response(http::Response::new(()), true)
                .expect("sent");
            served += 1;
            if served == 10 {
                connection.graceful_shutdown();
            }
        }
    })
    .await;
    let good = Server::http2().await;
    let keys = "http = \"h2\"\ngoing = { time = \"1h\" }";
    let proxy = Proxy::start(&with_servers(&[going.address, good.address], keys)).await;
    let mut client = client(&proxy, Speaks::Http2).await;
    let mut asked = 0;
    while !proxy
        .log()
        .iter()
        .any(|line| line["event"] == "server_going")
    {
        assert_eq!(statuses(&mut client, 10).await, [200; 10]);
        asked += 10;
        assert!(asked < 2000, "it was never found out");
    }
    let before = good.desk.seen().requests;
    assert_eq!(statuses(&mut client, 20).await, [200; 20]);
    assert_eq!(good.desk.seen().requests - before, 20);
}

#[tokio::test]
async fn a_health_check_wants_its_status_and_its_body() {
    let good = saying("HTTP/1.1 204 X\r\n\r\n").await;
    let right = saying("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall is ok").await;
    let wrong = saying("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbusy").await;
    let health = "health = { http = \"/\", every = \"50ms\", status = [200, 204]";
    let by_status = with_servers(&[good.address, wrong.address], &format!("{health} }}"));
    let proxy = Proxy::start(&by_status).await;
    proxy
        .until_status(|status| {
            let servers = &status["upstreams"][0]["servers"];
            servers[0]["up"] == true && servers[1]["up"] == true
        })
        .await;
    let keys = format!("{health}, body = \"is ok\" }}");
    let proxy = Proxy::start(&with_servers(
        &[right.address, wrong.address, good.address],
        &keys,
    ))
    .await;
    let status = proxy
        .until_status(|status| {
            let servers = &status["upstreams"][0]["servers"];
            servers[1]["up"] == false && servers[2]["up"] == false
        })
        .await;
    let servers = &status["upstreams"][0]["servers"];
    assert_eq!(servers[0]["up"], true, "{servers}");
    assert_eq!(servers[1]["standing"], "down", "{servers}");
    let why = servers[1]["why"].as_str().unwrap_or_default();
    assert!(why.contains("body"), "{servers}");
}
