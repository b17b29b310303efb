//! Addresses in DNS.

use super::{
    NAME, by_name, config, drain_of, holds, ip, over, pair, status_of_a_request, until_drain,
    until_servers,
};
use crate::support::clients::Http1;
use crate::support::proxy::Proxy;
use crate::support::resolver::{Resolver, Say};
use crate::support::servers::Server;
use crate::support::within;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{RData, RecordType};
use http::Method;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// A proxy before the servers that the resolver names.
async fn before(servers: &[&Server], more: &str) -> (Resolver, Proxy) {
    let resolver = Resolver::start().await;
    let addresses: Vec<_> = servers.iter().map(|one| ip(one)).collect();
    resolver.addresses(NAME, &addresses, 0);
    let port = servers[0].address.port();
    let proxy = Proxy::start(&config(&by_name(port), Some(&resolver), more)).await;
    (resolver, proxy)
}

#[tokio::test]
async fn one_that_appears_is_used_and_one_that_vanishes_finishes_what_it_has() {
    let [one, two] = pair().await;
    let (resolver, proxy) = before(&[&one], "").await;
    until_servers(&proxy, &[&one]).await;
    let mut client = holds(&proxy).await;
    one.desk.until("it", |seen| seen.requests == 1).await;
    resolver.addresses(NAME, &[ip(&two)], 0);
    until_servers(&proxy, &[&two]).await;
    for _ in 0..4 {
        assert_eq!(status_of_a_request(&proxy).await, 200);
    }
    assert_eq!(one.desk.seen().requests, 1, "it gets nothing more");
    assert_eq!(two.desk.seen().requests, 4);
    let progress = until_drain(&proxy, &one, "draining").await;
    assert_eq!(progress["removed"], true);
    assert_eq!(progress["trigger"], "discovery");
    assert_eq!(progress["in_flight"]["http1"], 1);
    one.desk.release();
    client.read_until("held").await.expect("the whole answer");
    until_drain(&proxy, &one, "drained").await;
    let (one, two) = (one.address.to_string(), two.address.to_string());
    for (event, server) in [("server_found", &two), ("server_gone", &one)] {
        let line = |line: &serde_json::Value| line["server"] == **server;
        proxy.until_event(event, line).await;
    }
    drop(client);
    assert_eq!(over(proxy).await.cut, 0);
}

#[tokio::test]
async fn an_outage_of_the_resolver_keeps_the_last_good_servers() {
    let [one, two] = pair().await;
    let (resolver, proxy) = before(&[&one, &two], "empty = \"0s\"").await;
    let outages = [
        Say::Code(ResponseCode::ServFail),
        Say::Code(ResponseCode::Refused),
        Say::Silence,
    ];
    for outage in outages {
        resolver.always(Some(outage.clone()));
        resolver.until_asked(5).await;
        let outage_seen = |status: &serde_json::Value| {
            let source = &status["upstreams"][0]["sources"][0];
            source["last"] == "outage" && source["servers"] == 2
        };
        proxy.until_status(outage_seen).await;
        until_servers(&proxy, &[&one, &two]).await;
        assert_eq!(status_of_a_request(&proxy).await, 200, "{outage:?}");
        resolver.always(None);
        let over =
            |status: &serde_json::Value| status["upstreams"][0]["sources"][0]["last"] == "found";
        proxy.until_status(over).await;
    }
    let metrics = proxy.get("/metrics").await;
    let metrics = metrics.text();
    let outages = metrics.lines().find(|line| {
        line.starts_with("ebbtide_discovery_lookups_total") && line.contains("outage")
    });
    let count = outages.and_then(|line| line.rsplit_once(' '));
    assert!(count.is_some_and(|(_, count)| count != "0"), "{metrics}");
    over(proxy).await;
}

#[tokio::test]
async fn a_name_that_is_not_there_yet_holds_up_nothing_and_is_served_when_it_comes() {
    let server = Server::http1().await;
    let resolver = Resolver::start().await;
    let entry = by_name(server.address.port());
    let proxy = Proxy::start(&config(&entry, Some(&resolver), "")).await;
    assert_eq!(status_of_a_request(&proxy).await, 503);
    let line = |line: &serde_json::Value| line["result"] == "nothing";
    let line = proxy.until_event("discovery", line).await;
    assert!(
        line["message"].to_string().contains("does not exist"),
        "{line}"
    );
    resolver.addresses(NAME, &[ip(&server)], 0);
    until_servers(&proxy, &[&server]).await;
    assert_eq!(status_of_a_request(&proxy).await, 200);
    over(proxy).await;
}

#[tokio::test]
async fn a_name_that_is_gone_for_long_enough_has_no_servers_any_more() {
    let server = Server::http1().await;
    let (resolver, proxy) = before(&[&server], "empty = \"200ms\"").await;
    until_servers(&proxy, &[&server]).await;
    resolver.always(Some(Say::None(ResponseCode::NXDomain)));
    resolver.until_asked(2).await;
    assert_eq!(status_of_a_request(&proxy).await, 200, "once says nothing");
    until_servers(&proxy, &[]).await;
    assert_eq!(status_of_a_request(&proxy).await, 503);
    resolver.always(None);
    until_servers(&proxy, &[&server]).await;
    assert_eq!(status_of_a_request(&proxy).await, 200);
    over(proxy).await;
}

#[tokio::test]
async fn one_that_comes_back_while_it_drains_is_taken_up_with_what_it_has() {
    let [one, two] = pair().await;
    let (resolver, proxy) = before(&[&one], "").await;
    let mut client = holds(&proxy).await;
    one.desk.until("it", |seen| seen.requests == 1).await;
    for _ in 0..3 {
        resolver.addresses(NAME, &[ip(&two)], 0);
        until_drain(&proxy, &one, "draining").await;
        resolver.addresses(NAME, &[ip(&one), ip(&two)], 0);
        let progress = until_drain(&proxy, &one, "serving").await;
        assert_eq!(progress["removed"], false);
        assert_eq!(progress["in_flight"]["http1"], 1, "it is the same server");
    }
    resolver.addresses(NAME, &[ip(&one)], 0);
    until_servers(&proxy, &[&one]).await;
    assert_eq!(status_of_a_request(&proxy).await, 200);
    one.desk.release();
    client.read_until("held").await.expect("the whole answer");
    drop(client);
    over(proxy).await;
}

#[tokio::test]
async fn answers_that_flap_cost_no_request() {
    let [one, two] = pair().await;
    let (resolver, proxy) = before(&[&one, &two], "").await;
    let address = proxy.address("web");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let clients = (0..4).map(|_| {
        let stopped = stopped.clone();
        tokio::spawn(async move {
            let mut answers = 0;
            let mut client = Http1::connect(address).await;
            while !*stopped.borrow() {
                let reply = client.get("/").await.expect("an answer");
                assert_eq!(reply.status, 200, "{}", reply.text());
                answers += 1;
            }
            answers
        })
    });
    let clients: Vec<_> = clients.collect();
    for round in 0..30 {
        let both = [ip(&one), ip(&two)];
        let named = match round % 3 {
            0 => &both[..1],
            1 => &both[1..],
            _ => &both[..],
        };
        resolver.addresses(NAME, named, 0);
        resolver.until_asked(2).await;
    }
    stop.send(true).expect("clients");
    for client in clients {
        let answers = within("a client", client).await.expect("no error");
        assert!(answers > 0);
    }
    assert!(one.desk.seen().requests > 0 && two.desk.seen().requests > 0);
    assert_eq!(over(proxy).await.cut, 0);
}

#[tokio::test]
async fn a_time_to_live_is_kept_and_bounded_below() {
    let server = Server::http1().await;
    let resolver = Resolver::start().await;
    for (ttl, least, apart) in [(1, "20ms", 1000), (0, "300ms", 300)] {
        resolver.addresses(NAME, &[ip(&server)], ttl);
        let entry = by_name(server.address.port()).replace(" }", ", family = \"ipv4\" }");
        let config = config(&entry, Some(&resolver), "")
            .replace("\"20ms\"\nretry", &format!("\"{least}\"\nretry"));
        let from = resolver.asked().len();
        let proxy = Proxy::start(&config).await;
        resolver.until_asked(2).await;
        let asked = &resolver.asked()[from..];
        assert!(
            asked
                .iter()
                .all(|(name, kind, _)| name == NAME && *kind == RecordType::A)
        );
        for two in asked.windows(2) {
            let pause = two[1].2 - two[0].2;
            assert!(pause >= Duration::from_millis(apart), "{pause:?}");
        }
        over(proxy).await;
    }
}

#[tokio::test]
async fn addresses_of_both_kinds_are_servers() {
    let one = Server::http1().await;
    let six = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), one.address.port());
    let two = Server::http1_at(six).await;
    let (resolver, proxy) = before(&[&one, &two], "").await;
    until_servers(&proxy, &[&one, &two]).await;
    for _ in 0..4 {
        assert_eq!(status_of_a_request(&proxy).await, 200);
    }
    assert_eq!(two.desk.seen().requests, 2);
    // Of which nothing can be said stays, what is known goes.
    resolver.say(NAME, RecordType::AAAA, Say::Code(ResponseCode::ServFail));
    resolver.say(NAME, RecordType::A, Say::None(ResponseCode::NoError));
    resolver.until_asked(6).await;
    until_servers(&proxy, &[&one, &two]).await;
    resolver.addresses(NAME, &[ip(&two)], 0);
    until_servers(&proxy, &[&two]).await;
    over(proxy).await;
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let server = Server::http1().await;
    let resolver = Resolver::start().await;
    let IpAddr::V4(address) = ip(&server) else {
        panic!("it is at an IPv4 address");
    };
    let records = vec![RData::A(A(address))];
    resolver.say(NAME, RecordType::A, Say::Long(records, 0));
    let entry = by_name(server.address.port()).replace(" }", ", family = \"ipv4\" }");
    let proxy = Proxy::start(&config(&entry, Some(&resolver), "")).await;
    until_servers(&proxy, &[&server]).await;
    assert_eq!(status_of_a_request(&proxy).await, 200);
    over(proxy).await;
}

#[tokio::test]
async fn a_drain_by_an_operator_survives_what_is_found() {
    let [one, two] = pair().await;
    let (resolver, proxy) = before(&[&one], "").await;
    let mut client = holds(&proxy).await;
    one.desk.until("it", |seen| seen.requests == 1).await;
    let reply = proxy.ask(Method::POST, &drain_of(&one), "").await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    for named in [
        &[ip(&one), ip(&two)][..],
        &[ip(&two)],
        &[ip(&one), ip(&two)],
    ] {
        resolver.addresses(NAME, named, 0);
        let there = named.contains(&ip(&one));
        let such = |progress: &serde_json::Value| progress["removed"] == !there;
        let progress = proxy.until_json(&drain_of(&one), such).await;
        assert_eq!(progress["state"], "draining");
        let known: &[&Server] = if there { &[&one, &two] } else { &[&two] };
        until_servers(&proxy, known).await;
        assert_eq!(status_of_a_request(&proxy).await, 200);
    }
    assert_eq!(one.desk.seen().requests, 1);
    one.desk.release();
    client.read_until("held").await.expect("the whole answer");
    until_drain(&proxy, &one, "drained").await;
    let reply = proxy.ask(Method::DELETE, &drain_of(&one), "").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    while one.desk.seen().requests == 1 {
        assert_eq!(status_of_a_request(&proxy).await, 200);
    }
    drop(client);
    over(proxy).await;
}

#[tokio::test]
async fn answers_that_change_all_the_time_do_not_keep_checks_from_a_verdict() {
    let [one, two] = pair().await;
    // Of `one` no check ever ends.
    two.desk.release();
    let resolver = Resolver::start().await;
    let name = |servers: &[&Server]| {
        let addresses: Vec<_> = servers.iter().map(|one| ip(one)).collect();
        resolver.addresses(NAME, &addresses, 0);
    };
    name(&[&one, &two]);
    let health = "[upstream.site.health]\nhttp = \"/hold\"\nevery = \"60s\"\n\
         timeout = \"200ms\"\nfall = 2\n";
    let config = config(&by_name(one.address.port()), Some(&resolver), health);
    let proxy = Proxy::start(&config).await;
    let is_down = |status: &serde_json::Value| {
        let servers = status["upstreams"][0]["servers"].as_array();
        let mut down = servers
            .into_iter()
            .flatten()
            .filter(|one| one["up"] == false);
        down.any(|down| down["name"] == one.address.to_string())
    };
    let changes = async {
        loop {
            for servers in [&[&one][..], &[&one, &two]] {
                name(servers);
                resolver.until_asked(2).await;
            }
        }
    };
    tokio::select! {
        _ = proxy.until_status(is_down) => {}
        () = changes => {}
    }
    over(proxy).await;
}

#[tokio::test]
async fn without_resolvers_the_system_is_asked() {
    let server = Server::http1().await;
    let port = server.address.port();
    let entry = format!("{{ dns = \"localhost.\", port = {port}, family = \"ipv4\" }}");
    let proxy = Proxy::start(&config(&entry, None, "")).await;
    until_servers(&proxy, &[&server]).await;
    assert_eq!(status_of_a_request(&proxy).await, 200);
    over(proxy).await;
}
