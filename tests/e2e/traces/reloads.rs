//! Traces are turned on, elsewhere and off while the proxy serves.

use super::*;

/// The same process without traces.
const OFF: &str = "[process]\nworkers = 1\nlogs = { format = \"json\", \
    level = \"info,ebbtide=debug\", access = true }\n";

async fn reload(proxy: &Proxy, config: &str) -> String {
    proxy.write_config(config);
    let reply = proxy.ask(http::Method::POST, "/v1/reload", "").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text().to_owned()
}

#[tokio::test]
async fn a_reload_turns_them_on_elsewhere_and_off() {
    let (one, other) = (Collector::grpc().await, Collector::grpc().await);
    let server = Server::http1().await;
    let off = site(OFF, &server);
    let proxy = Proxy::start(&off).await;
    let said = format!("00-{TRACE}-{PARENT}-01");
    let said = [("traceparent", &*said)];
    get(&proxy, "/before", &said).await;
    assert_eq!(
        told(&server, "traceparent"),
        [said[0].1],
        "nobody takes part"
    );

    for collector in [&one, &other] {
        let on = site(&process(collector.address, "ratio = 0"), &server);
        let changes = reload(&proxy, &on).await;
        assert!(changes.contains("traces"), "{changes}");
        get(&proxy, "/on", &said).await;
        let got = collector.until("spans", |got| got.spans.len() == 2).await;
        assert!(
            got.spans
                .iter()
                .all(|seen| seen.says("url.path") != "/before")
        );
    }
    assert_eq!(one.got().spans.len(), 2);

    reload(&proxy, &off).await;
    get(&proxy, "/after", &said).await;
    assert_eq!(told(&server, "traceparent"), [said[0].1]);
    let exported = "ebbtide_traces_exported_total ";
    until_counter(&proxy, exported, |count| count == 4).await;
}

#[tokio::test]
async fn a_request_that_was_there_before_they_were_turned_off_is_let_go() {
    let (collector, server) = (Collector::grpc().await, Server::http1().await);
    let on = site(&process(collector.address, "ratio = 1"), &server);
    let proxy = Proxy::start(&on).await;
    let held = tokio::spawn({
        let address = proxy.address("web");
        async move { Http1::connect(address).await.get("/hold").await }
    });
    server
        .desk
        .until("the request", |seen| seen.requests == 1)
        .await;
    let off = site(OFF, &server);
    reload(&proxy, &off).await;
    server.desk.release();
    held.await.expect("it ran").expect("held");
    let series = "ebbtide_traces_dropped_total{reason=\"off\"} ";
    until_counter(&proxy, series, |count| count == 2).await;
}
