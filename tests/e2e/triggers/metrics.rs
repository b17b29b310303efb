//! A scrape, whatever clients and servers do: no series of their making, and
//! books that balance.

use super::web;
use crate::support::clients::Raw;
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use crate::support::within;
use std::collections::BTreeSet;

const CALM: &str = "[drain]\nannounce = \"0s\"\nspread = \"0s\"\nlast_request = \"100ms\"\n";

/// The series of a scrape, with their values.
async fn scrape(proxy: &Proxy) -> Vec<(String, f64)> {
    let text = proxy.get("/metrics").await.text().to_owned();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let series = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a sample");
        (name.to_owned(), value.parse().expect("a number"))
    });
    series.collect()
}

fn sum(series: &[(String, f64)], name: &str) -> f64 {
    let such = series.iter().filter(|(one, _)| one.starts_with(name));
    such.map(|(_, value)| value).sum()
}

/// Ask in a way that nobody foresaw, and wait for the connection's end.
async fn oddly(proxy: &Proxy, number: u16) {
    let mut client = Raw::connect(proxy.address("web")).await;
    // The servers' codes go beyond those that are counted each for itself.
    let code = 200 + number % 400;
    let request = match number % 4 {
        0 => format!("M{number} / HTTP/1.1\r\nhost: h{number}.example\r\n"),
        1 => format!("GET /p{number}?q={number} HTTP/1.1\r\nhost: localhost\r\nx-{number}: 1\r\n"),
        2 => format!("GET /status/{code} HTTP/1.1\r\nhost: localhost\r\nuser-agent: {number}\r\n"),
        _ => format!("GET /{number} HTTP/1.1\r\nhost: a\r\nhost: b{number}\r\n"),
    };
    let request = request + "connection: close\r\n\r\n";
    client.send(request).await.expect("sent");
    let (answer, _) = within("an answer", client.rest()).await;
    assert!(answer.starts_with(b"HTTP/1.1 "), "{number}");
}

#[tokio::test]
async fn neither_clients_nor_servers_make_series() {
    let server = Server::http1().await;
    let proxy = Proxy::start(&web(&server, CALM)).await;
    for number in 0..1_600 {
        oddly(&proxy, number).await;
    }
    let names = |series: Vec<(String, f64)>| -> BTreeSet<String> {
        series.into_iter().map(|(name, _)| name).collect()
    };
    let known = names(scrape(&proxy).await);
    // A code for itself, or its class: a fixed number for one route and protocol.
    let codes = known
        .iter()
        .filter(|name| name.starts_with("ebbtide_requests_total{"));
    assert!(codes.count() <= 2 * 42, "{known:?}");
    for number in 1_600..2_000 {
        oddly(&proxy, number).await;
    }
    let after = names(scrape(&proxy).await);
    let new: Vec<_> = after.difference(&known).collect();
    assert!(new.is_empty(), "{new:?}");
    for name in &after {
        assert!(!name.contains("example"), "{name}");
    }
}

#[tokio::test]
async fn the_books_balance_while_something_is_in_flight() {
    let server = Server::http1().await;
    let proxy = Proxy::start(&web(&server, CALM)).await;
    let client = super::held(&proxy, &server).await;
    for number in 0..20 {
        oddly(&proxy, number).await;
    }
    let open = |series: &[(String, f64)]| sum(series, "ebbtide_connections{");
    let left = async {
        loop {
            let series = scrape(&proxy).await;
            if open(&series) < 1.5 {
                return series;
            }
        }
    };
    // Who has read its answer may not have been seen to leave yet.
    let series = within("one connection", left).await;
    for (what, now) in [
        ("requests", sum(&series, "ebbtide_requests_in_flight{")),
        ("connections", open(&series)),
    ] {
        let opened = sum(&series, &format!("ebbtide_{what}_opened_total{{"));
        let closed = sum(&series, &format!("ebbtide_{what}_closed_total{{"));
        assert!((now - 1.0).abs() < 0.5, "{what}: {now}");
        assert!((opened - closed - now).abs() < 0.5, "{what}: {series:?}");
    }
    let by_code = sum(&series, "ebbtide_requests_total{");
    let closed = sum(&series, "ebbtide_requests_closed_total{");
    assert!((by_code - closed).abs() < 0.5, "{by_code} {closed}");
    super::let_go(client, &server).await;
}
