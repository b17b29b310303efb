//! Which server a request goes to, as its servers see it.

use super::client::{Client, get};
use super::field::{Speaks, client, config};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use http::{HeaderValue, Method};
use std::collections::BTreeMap;
use std::net::SocketAddr;

const SITE: &str = "[upstream.site]";

/// A config whose upstream has these servers, as they are written.
fn with_servers(first: SocketAddr, servers: &[String], keys: &str) -> String {
    let text = config("", &[("site", first, keys)]);
    text.replace(
        &format!("[\"{first}\"]"),
        &format!("[{}]", servers.join(", ")),
    )
}

async fn servers<const N: usize>() -> [Server; N] {
    let mut all = Vec::new();
    for _ in 0..N {
        all.push(Server::http1().await);
    }
    all.try_into().unwrap_or_else(|_| unreachable!("N of them"))
}

fn plain(servers: &[Server]) -> Vec<String> {
    let servers = servers.iter();
    servers
        .map(|server| format!("\"{}\"", server.address))
        .collect()
}

fn seen(servers: &[Server]) -> Vec<usize> {
    let servers = servers.iter();
    servers.map(|server| server.desk.seen().requests).collect()
}

async fn ask_as(client: &mut Client, user: &str) {
    let mut asked = get("site", "/");
    let value = HeaderValue::from_str(user).expect("a value");
    asked.headers_mut().insert("x-user", value);
    let reply = client.ask(asked).await.expect("a reply");
    assert_eq!(reply.text(), "ok");
}

/// Which server each of so many users is sent to.
async fn homes(client: &mut Client, servers: &[Server], users: usize) -> BTreeMap<usize, usize> {
    let mut homes = BTreeMap::new();
    for user in 0..users {
        let before = seen(servers);
        ask_as(client, &format!("user-{user}")).await;
        let after = seen(servers);
        let home = (0..servers.len()).find(|index| after[*index] > before[*index]);
        homes.insert(user, home.expect("somebody was asked"));
    }
    homes
}

#[tokio::test]
async fn servers_get_requests_by_weight() {
    let all = servers::<2>().await;
    let written = [
        format!("{{ address = \"{}\", weight = 3 }}", all[0].address),
        format!("\"{}\"", all[1].address),
    ];
    let proxy = Proxy::start(&with_servers(all[0].address, &written, "")).await;
    let mut client = client(&proxy, Speaks::Http1).await;
    for _ in 0..40 {
        client.ask(get("site", "/")).await.expect("a reply");
    }
    assert_eq!(seen(&all), [30, 10]);
}

#[tokio::test]
async fn a_server_that_is_slow_gets_less_by_the_least_in_flight() {
    let all = servers::<2>().await;
    let keys = "balance = \"least_in_flight\"";
    let proxy = Proxy::start(&with_servers(all[0].address, &plain(&all), keys)).await;
    // Some are held by whom they fell to; from then on the other one is preferred.
    let mut held = Vec::new();
    while seen(&all).iter().max() < Some(&10) {
        let mut client = client(&proxy, Speaks::Http1).await;
        let before: usize = seen(&all).iter().sum();
        let path = if before == 0 { "/hold" } else { "/" };
        if path == "/hold" {
            held.push(tokio::spawn(async move {
                client.ask(get("site", "/hold")).await.expect("a reply")
            }));
            proxy
                .until_status(|status| status["in_flight"]["http1"] == 1)
                .await;
            while seen(&all).iter().sum::<usize>() == 0 {
                tokio::task::yield_now().await;
            }
        } else {
            client.ask(get("site", path)).await.expect("a reply");
        }
    }
    let mut client = client(&proxy, Speaks::Http1).await;
    let before = seen(&all);
    for _ in 0..200 {
        client.ask(get("site", "/")).await.expect("a reply");
    }
    let gained: Vec<_> = seen(&all)
        .iter()
        .zip(&before)
        .map(|(now, then)| now - then)
        .collect();
    // The busy one is drawn twice now and then; by turns it would get half.
    let least = gained.iter().min().expect("two");
    assert!(*least < 40, "{gained:?}");
    for server in &all {
        server.desk.release();
    }
    for reply in held {
        assert_eq!(reply.await.expect("the task").text(), "held");
    }
}

#[tokio::test]
async fn a_user_stays_with_a_server_and_only_those_of_one_that_leaves_move() {
    let all = servers::<3>().await;
    let keys = "balance = { hash = \"header:X-User\" }";
    let proxy = Proxy::start(&with_servers(all[0].address, &plain(&all), keys)).await;
    let mut one = client(&proxy, Speaks::Http1).await;
    let mut other = client(&proxy, Speaks::Http2).await;
    let before = homes(&mut one, &all, 60).await;
    let used: std::collections::BTreeSet<_> = before.values().collect();
    assert_eq!(used.len(), 3, "{before:?}");
    assert_eq!(
        homes(&mut other, &all, 60).await,
        before,
        "on another connection"
    );
    let gone = format!("/v1/upstreams/site/servers/{}/drain", all[0].address);
    assert_eq!(proxy.ask(Method::POST, &gone, "").await.status, 202);
    let without = homes(&mut other, &all, 60).await;
    for (user, home) in &before {
        assert_ne!(without[user], 0);
        if *home != 0 {
            assert_eq!(without[user], *home, "user {user} moved");
        }
    }
    assert_eq!(proxy.ask(Method::DELETE, &gone, "").await.status, 200);
    assert_eq!(homes(&mut one, &all, 60).await, before, "they come back");
}

#[tokio::test]
async fn requests_stay_in_the_zone_until_too_few_are_left_there() {
    let all = servers::<4>().await;
    let written: Vec<_> = all
        .iter()
        .zip(["a", "a", "b", "b"])
        .map(|(server, zone)| format!("{{ address = \"{}\", zone = \"{zone}\" }}", server.address))
        .collect();
    let keys = "spill = \"100%\"";
    let text = with_servers(all[0].address, &written, keys);
    let proxy = Proxy::start(&format!("[process]\nzone = \"a\"\n{text}")).await;
    let mut client = client(&proxy, Speaks::Http1).await;
    let mut forty = async || {
        let before = seen(&all);
        for _ in 0..40 {
            client.ask(get("site", "/")).await.expect("a reply");
        }
        let after = seen(&all);
        after
            .iter()
            .zip(before)
            .map(|(now, then)| now - then)
            .collect::<Vec<_>>()
    };
    assert_eq!(forty().await, [20, 20, 0, 0]);
    let gone = format!("/v1/upstreams/site/servers/{}/drain", all[0].address);
    assert_eq!(proxy.ask(Method::POST, &gone, "").await.status, 202);
    // What stays is drawn up anew a moment after the drain began.
    let mut shares = forty().await;
    for _ in 0..100 {
        if shares == [0, 20, 10, 10] {
            break;
        }
        assert_eq!(shares[0], 0, "it is drained");
        shares = forty().await;
    }
    assert_eq!(shares, [0, 20, 10, 10]);
}

#[tokio::test]
async fn a_reload_of_the_method_keeps_the_connections_to_servers() {
    let all = servers::<2>().await;
    let text = with_servers(all[0].address, &plain(&all), "");
    let proxy = Proxy::start(&text).await;
    let mut client = client(&proxy, Speaks::Http1).await;
    for _ in 0..4 {
        client.ask(get("site", "/")).await.expect("a reply");
    }
    let opened = all.each_ref().map(|server| server.desk.seen().connections);
    assert_eq!(opened, [1, 1]);
    for keys in [
        "balance = \"least_in_flight\"",
        "balance = \"hash\"\npanic = \"10%\"",
    ] {
        proxy.write_config(&text.replace(SITE, &format!("{SITE}\n{keys}")));
        let done = proxy.ask(Method::POST, "/v1/reload?wait=true", "").await;
        assert_eq!(done.status, 200, "{}", done.text());
        for _ in 0..20 {
            client.ask(get("site", "/")).await.expect("a reply");
        }
    }
    let requests: usize = seen(&all).iter().sum();
    assert_eq!(requests, 44);
    let kept = all.each_ref().map(|server| server.desk.seen().connections);
    assert_eq!(kept, opened, "none was dialled anew");
}
