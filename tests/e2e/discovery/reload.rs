//! Reloads beside discovery: what is known stays, and what is not known yet takes
//! nobody's place.

use super::{NAME, by_name, config, ip, over, pair, status_of_a_request, until_servers};
use crate::support::clients::Reply;
use crate::support::proxy::Proxy;
use crate::support::resolver::{Resolver, Say};
use crate::support::servers::Server;
use hickory_resolver::proto::op::ResponseCode;
use http::Method;

async fn reload(proxy: &Proxy, config: &str, query: &str) -> Reply {
    proxy.write_config(config);
    let path = format!("/v1/reload{query}");
    proxy.ask(Method::POST, &path, "").await
}

#[tokio::test]
async fn what_was_found_outlives_a_reload_in_an_outage() {
    let [one, two] = pair().await;
    let resolver = Resolver::start().await;
    resolver.addresses(NAME, &[ip(&one), ip(&two)], 0);
    let entry = by_name(one.address.port());
    let first = config(&entry, Some(&resolver), "");
    let proxy = Proxy::start(&first).await;
    until_servers(&proxy, &[&one, &two]).await;
    resolver.always(Some(Say::Code(ResponseCode::ServFail)));
    resolver.until_asked(2).await;
    let others = [
        first.replace(
            "[upstream.site]\n",
            "[upstream.site]\nconnect_timeout = \"3s\"\n",
        ),
        config(&entry, Some(&resolver), "hold = \"1s\""),
        first.replace("retry = \"20ms\"", "retry = \"30ms\""),
    ];
    for (count, other) in others.iter().enumerate() {
        let reply = reload(&proxy, other, "").await;
        assert_eq!(reply.status, 200, "{count}: {}", reply.text());
        assert!(reply.text().contains("\"servers\":[]"), "{}", reply.text());
        until_servers(&proxy, &[&one, &two]).await;
        assert_eq!(status_of_a_request(&proxy).await, 200);
    }
    resolver.always(None);
    resolver.addresses(NAME, &[ip(&two)], 0);
    until_servers(&proxy, &[&two]).await;
    over(proxy).await;
}

#[tokio::test]
async fn a_reload_to_a_name_that_is_there_serves_from_it_at_once() {
    let [one, two] = pair().await;
    let resolver = Resolver::start().await;
    resolver.addresses(NAME, &[ip(&two)], 0);
    let written = format!("\"{}\"", one.address);
    let both = format!("{written}, {}", by_name(one.address.port()));
    let alone = config(&written, None, "");
    let end = alone.find("[upstream.site.discover]").expect("it");
    let rest = alone.find("[drain]").expect("it");
    let alone = format!("{}{}", &alone[..end], &alone[rest..]);
    let proxy = Proxy::start(&alone).await;
    let reply = reload(&proxy, &config(&both, Some(&resolver), ""), "").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    until_servers(&proxy, &[&one, &two]).await;
    let found = config(&by_name(one.address.port()), Some(&resolver), "");
    let reply = reload(&proxy, &found, "").await;
    assert!(reply.text().contains("drains 1 server"), "{}", reply.text());
    assert_eq!(status_of_a_request(&proxy).await, 200);
    until_servers(&proxy, &[&two]).await;
    let shown = proxy.json("/v1/config").await;
    let entry = &shown["config"]["upstream"]["site"];
    assert_eq!(entry["servers"][0]["family"], "any", "{entry}");
    assert_eq!(entry["discover"]["empty"], "30s", "{entry}");
    over(proxy).await;
}

#[tokio::test]
async fn a_reload_that_would_leave_nobody_is_refused() {
    let server = Server::http1().await;
    let resolver = Resolver::start().await;
    resolver.addresses(NAME, &[ip(&server)], 0);
    let entry = by_name(server.address.port());
    let proxy = Proxy::start(&config(&entry, Some(&resolver), "")).await;
    let other = entry.replace(NAME, "mistyped.internal");
    for query in ["?dry_run=true", ""] {
        let reply = reload(&proxy, &config(&other, Some(&resolver), ""), query).await;
        assert_eq!(reply.status, 503, "{}", reply.text());
        let text = reply.text();
        assert!(text.contains("site would have no server"), "{text}");
        assert!(text.contains("does not exist"), "{text}");
        assert_eq!(status_of_a_request(&proxy).await, 200);
    }
    until_servers(&proxy, &[&server]).await;
    over(proxy).await;
}

#[tokio::test]
async fn a_handover_in_an_outage_takes_what_was_found_along() {
    let [one, two] = pair().await;
    let resolver = Resolver::start().await;
    resolver.addresses(NAME, &[ip(&one), ip(&two)], 0);
    let entry = by_name(one.address.port());
    let door = "[handover]\nsocket = \"handover.sock\"\n\n";
    let config = config(&entry, Some(&resolver), "") + door;
    let mut first = Proxy::start(&config).await;
    until_servers(&first, &[&one, &two]).await;
    resolver.always(Some(Say::Code(ResponseCode::ServFail)));
    let mut second = first.successor(&config, "next.toml", &[]);
    second.took_over(&config).await;
    assert_eq!(first.exit().await.code(), Some(0));
    until_servers(&second, &[&one, &two]).await;
    for _ in 0..4 {
        assert_eq!(status_of_a_request(&second).await, 200);
    }
    assert!(one.desk.seen().requests > 0 && two.desk.seen().requests > 0);
    resolver.always(None);
    resolver.addresses(NAME, &[ip(&two)], 0);
    until_servers(&second, &[&two]).await;
    over(second).await;
}
