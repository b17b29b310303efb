//! Requests, calls and tunnels as spans, and what their servers are told.

use super::*;
use crate::support::clients::{Grpc, Raw};
use crate::support::collector::{Answer, Got};
use crate::support::proxy::Signal;

fn asked_for() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

/// The span of a request, and that of its only try at a server.
fn held_together(got: &Got, server: &Server) {
    let span = one(got);
    let tries = got.under(span);
    assert_eq!(tries.len(), 1, "{got:#?}");
    for seen in [span, tries[0]] {
        assert_eq!(seen.trace, TRACE);
        assert_eq!(seen.says("http.request.method"), "POST");
        assert_eq!(seen.says("http.response.status_code"), "200");
        assert_eq!(seen.says("shutdown_initiated"), "");
        assert!(!seen.failed());
        assert!(seen.span.start_time_unix_nano <= seen.span.end_time_unix_nano);
    }
    assert_eq!(span.parent, PARENT);
    assert_eq!(span.span.trace_state, "a=1,b=2");
    for (key, expected) in [
        ("url.path", "/echo"),
        ("url.scheme", "http"),
        ("server.address", "localhost"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("http.request.body.size", "5"),
        ("http.response.body.size", "5"),
        ("ebbtide.listener", "web"),
        ("ebbtide.route", "web/0"),
        ("ebbtide.upstream", "site"),
        ("ebbtide.tries", "1"),
        ("ebbtide.outcome", "finished"),
    ] {
        assert_eq!(span.says(key), expected, "{key}: {span:#?}");
    }
    assert!(!span.said.values().any(|said| said.contains("secret")));
    let port = server.address.port().to_string();
    assert_eq!(tries[0].says("server.port"), port);
    // The server was asked by the try.
    let told_by = told(server, "traceparent");
    assert_eq!(told_by, [format!("00-{TRACE}-{}-01", tries[0].id)]);
    assert_eq!(told(server, "tracestate"), ["a=1,b=2"]);
}

/// The metrics in the format that has a place for examples.
async fn open_metrics(proxy: &Proxy) -> String {
    let mut client = Http1::connect(proxy.admin()).await;
    let request = asks("/metrics", &[("accept", "application/openmetrics-text")]);
    let answer = client.send(request).await.expect("an answer");
    let reply = Http1::whole(answer).await.expect("whole");
    reply.text().to_owned()
}

async fn is_recorded(collector: Collector, protocol: &str) {
    let server = Server::http1().await;
    let more = format!(
        "protocol = \"{protocol}\"\nratio = 0\nservice = \"edge\"\nheaders = {{ authorization = \"a-token\" }}"
    );
    let mut proxy = Proxy::start(&site(&process(collector.address, &more), &server)).await;
    let mut client = Http1::connect(proxy.address("web")).await;
    let said = [("traceparent", &*asked_for()), ("tracestate", "a=1,b=2")];
    let (mut head, _) = asks("/echo?key=secret", &said).into_parts();
    head.method = http::Method::POST;
    let body = http_body_util::Full::new(Bytes::from_static(b"hello"));
    let request = Request::from_parts(head, http_body_util::BodyExt::boxed_unsync(body));
    let answer = client.send(request).await.expect("an answer");
    assert_eq!(Http1::whole(answer).await.expect("whole").status, 200);
    let got = collector.until("spans", |got| got.spans.len() == 2).await;
    held_together(&got, &server);
    assert_eq!(got.resource["service.name"], "edge");
    assert_eq!(got.authorization, "a-token");
    let line = proxy.until_event("access", |_| true).await;
    assert_eq!(line["trace"], TRACE, "{line}");
    until_counter(&proxy, "ebbtide_traces_exported_total ", |count| count == 2).await;
    // The metrics name it, who asks for a format that can.
    let metrics = open_metrics(&proxy).await;
    let example = format!("# {{trace_id=\"{TRACE}\",span_id=\"{}\"}}", one(&got).id);
    assert!(metrics.contains(&example), "{metrics}");
    drop(client);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_request_is_a_span_of_its_clients_trace() {
    is_recorded(Collector::grpc().await, "grpc").await;
}

#[tokio::test]
async fn it_is_the_same_over_http() {
    is_recorded(Collector::http(Answer::Good).await, "http").await;
}

#[tokio::test]
async fn each_try_of_a_request_that_is_sent_again_is_a_span() {
    let (collector, server) = (Collector::grpc().await, Server::http1().await);
    let text = site(&process(collector.address, "ratio = 0"), &server);
    let retried = "upstream = \"site\", retries = 2, retry = { backoff = \"1ms\" }";
    let proxy = Proxy::start(&text.replacen("upstream = \"site\"", retried, 1)).await;
    let said = [("traceparent", &*asked_for())];
    assert_eq!(get(&proxy, "/status/503", &said).await.status, 503);
    let got = collector.until("spans", |got| got.spans.len() == 4).await;
    let span = one(&got);
    assert_eq!(span.says("ebbtide.tries"), "3");
    let tries = got.under(span);
    assert_eq!(tries.len(), 3, "{got:#?}");
    for one in &tries {
        assert_eq!(one.says("http.response.status_code"), "503", "{one:#?}");
    }
    let last = format!("00-{TRACE}-{}-01", tries[2].id);
    assert_eq!(told(&server, "traceparent"), [last]);
}

#[tokio::test]
async fn a_second_request_beside_the_first_is_a_span_and_so_is_its_end() {
    let (collector, server) = (Collector::grpc().await, Server::http1().await);
    let other = Server::http1().await;
    let text = site(&process(collector.address, "ratio = 0"), &server);
    let text = text.replacen(
        &format!("\"{}\"", server.address),
        &format!("\"{}\", \"{}\"", server.address, other.address),
        1,
    );
    let hedged = "upstream = \"site\", retry = { hedge = \"20ms\" }";
    let proxy = Proxy::start(&text.replacen("upstream = \"site\"", hedged, 1)).await;
    let parent = asked_for();
    let said = [("traceparent", &*parent)];
    let (reply, ()) = tokio::join!(get(&proxy, "/hold", &said), async {
        for desk in [&server.desk, &other.desk] {
            desk.until("it there", |seen| seen.requests == 1).await;
        }
        server.desk.release();
    });
    assert_eq!(reply.text(), "held");
    let got = collector.until("spans", |got| got.spans.len() == 3).await;
    let span = one(&got);
    assert_eq!(span.says("ebbtide.tries"), "2");
    assert!(!span.failed());
    let tries = got.under(span);
    let of = |server: &Server| {
        let port = server.address.port().to_string();
        let mut tries = tries.iter().filter(|one| one.says("server.port") == port);
        tries.next().expect("a span")
    };
    assert_eq!(of(&server).says("http.response.status_code"), "200");
    assert!(!of(&server).failed());
    assert_eq!(of(&other).says("error.type"), "cancelled");
    for server in [&server, &other] {
        let by = format!("00-{TRACE}-{}-01", of(server).id);
        assert_eq!(told(server, "traceparent"), [by]);
    }
}

#[tokio::test]
async fn what_is_not_recorded_passes_untouched() {
    let (collector, server, proxy) = recorded("ratio = 0").await;
    let silent = format!("00-{TRACE}-{PARENT}-00");
    for parents in [
        &[silent.as_str()][..],
        &["no traceparent"],
        &[&silent, &asked_for()],
        &[],
    ] {
        let mut said: Vec<_> = parents.iter().map(|it| ("traceparent", *it)).collect();
        said.push(("tracestate", "no state at all"));
        assert_eq!(get(&proxy, "/", &said).await.status, 200);
        assert_eq!(told(&server, "traceparent"), parents);
        assert_eq!(told(&server, "tracestate"), ["no state at all"]);
    }
    assert_eq!(counter(&proxy, "ebbtide_traces_exported_total ").await, 0);
    // What comes later has come, and nothing before it.
    get(&proxy, "/", &[("traceparent", &asked_for())]).await;
    let got = collector.until("spans", |got| !got.spans.is_empty()).await;
    assert!(got.spans.iter().all(|seen| seen.trace == TRACE), "{got:#?}");
}

#[tokio::test]
async fn who_says_nothing_is_recorded_by_chance_in_a_trace_of_its_own() {
    let (collector, server, proxy) = recorded("ratio = 1").await;
    let said = [("traceparent", "no traceparent"), ("tracestate", "a=1")];
    get(&proxy, "/", &said).await;
    let got = collector.until("spans", |got| got.spans.len() == 2).await;
    let span = one(&got);
    assert_eq!(span.parent, "");
    assert_ne!(span.trace, TRACE);
    let attempt = got.under(span)[0];
    assert_eq!(
        told(&server, "traceparent"),
        [format!("00-{}-{}-01", span.trace, attempt.id)]
    );
    assert!(
        told(&server, "tracestate").is_empty(),
        "nobody knows whose it is"
    );
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    black_hole().await.1
}

#[tokio::test]
async fn each_try_at_a_server_is_a_span() {
    let (collector, server) = (Collector::grpc().await, Server::http1().await);
    let config = site(&process(collector.address, "ratio = 1"), &server);
    let (gone, there) = (nobody().await, server.address);
    let both = format!("servers = [\"{gone}\", \"{there}\"]");
    let config = config.replace(&format!("servers = [\"{there}\"]"), &both);
    let proxy = Proxy::start(&config).await;
    let around = |got: &Got| {
        let exchanges = got.exchanges();
        let tries = exchanges.iter().map(|span| got.under(span));
        let mut around = tries.filter(|tries| tries.len() > 1);
        around
            .next()
            .map(|tries| tries.into_iter().cloned().collect::<Vec<_>>())
    };
    // Sooner or later it is the turn of the one that is gone.
    let sending = async {
        loop {
            assert_eq!(get(&proxy, "/", &[]).await.status, 200);
        }
    };
    let got = tokio::select! {
        got = collector.until("a second try", |got| around(got).is_some()) => got,
        () = sending => unreachable!("it ends with the other"),
    };
    let around = around(&got).expect("there");
    let [first, second] = &around[..] else {
        panic!("{got:#?}")
    };
    assert_eq!(first.says("server.port"), gone.port().to_string());
    assert_eq!(first.says("error.type"), "connect");
    assert!(first.failed() && !second.failed());
    assert_eq!(second.says("server.port"), there.port().to_string());
    assert_eq!(first.says("http.request.resend_count"), "");
    assert_eq!(second.says("http.request.resend_count"), "1");
    assert!(first.span.end_time_unix_nano <= second.span.start_time_unix_nano);
}

#[tokio::test]
async fn what_a_server_fails_is_said_of_both() {
    let (collector, _server, proxy) = recorded("ratio = 1").await;
    get(&proxy, "/status/503", &[]).await;
    let got = collector.until("spans", |got| got.spans.len() == 2).await;
    for seen in &got.spans {
        assert!(seen.failed());
        assert_eq!(seen.says("error.type"), "503");
    }
}

#[tokio::test]
async fn a_call_has_the_name_of_its_method_and_its_status() {
    let (collector, server) = (Collector::grpc().await, Server::grpc().await);
    let config = site(&process(collector.address, "ratio = 1"), &server);
    let config = config.replace("[upstream.site]", "[upstream.site]\nhttp = \"h2\"");
    let proxy = Proxy::start(&config).await;
    let client = Grpc::connect(proxy.address("web")).await;
    client.echo("hello").await.expect("a line");
    client
        .call("Nothing", "", None)
        .await
        .expect_err("there is no such method");
    let got = collector.until("spans", |got| got.spans.len() == 4).await;
    for (method, status, failed) in [("Echo", "0", false), ("Nothing", "12", true)] {
        let exchanges = got.exchanges();
        let span = exchanges
            .iter()
            .find(|seen| seen.says("rpc.method") == method);
        let span = span.expect("a call");
        assert_eq!(
            span.span.name,
            format!("{}/{method}", crate::support::servers::SERVICE)
        );
        assert_eq!(span.says("rpc.system"), "grpc");
        assert_eq!(span.says("rpc.service"), crate::support::servers::SERVICE);
        assert_eq!(span.says("rpc.grpc.status_code"), status);
        assert_eq!(span.failed(), failed, "{span:#?}");
        assert_eq!(span.says("network.protocol.version"), "2");
    }
}

#[tokio::test]
async fn a_tunnel_is_a_span_and_says_what_it_carried() {
    let (collector, server) = (Collector::grpc().await, Server::tcp().await);
    let config = site(&process(collector.address, "ratio = 1"), &server).replace(
        "routes = [{ upstream = \"site\" }]",
        "protocol = \"tcp\"\nupstream = \"site\"",
    );
    let proxy = Proxy::start(&config).await;
    let mut tunnel = Raw::connect(proxy.address("web")).await;
    tunnel.send("hello\n").await.expect("sent");
    tunnel.read_until("hello\n").await.expect("back");
    drop(tunnel);
    let got = collector.until("spans", |got| got.spans.len() == 2).await;
    let span = one(&got);
    assert_eq!(span.span.name, "tunnel");
    assert_eq!(span.says("ebbtide.protocol"), "tcp");
    assert_eq!(span.says("http.request.body.size"), "6");
    assert_eq!(got.under(span).len(), 1);
}

#[tokio::test]
async fn a_handshake_is_a_span_and_its_exchanges_point_to_it() {
    let (collector, server) = (Collector::grpc().await, Server::http1().await);
    let config = site(&process(collector.address, "ratio = 1"), &server);
    let tls = "listen = \"127.0.0.1:0\"\ntls = { cert = \"site.pem\", key = \"site.key\" }";
    let proxy = Proxy::start(&config.replace("listen = \"127.0.0.1:0\"", tls)).await;
    let wire = proxy
        .certificate()
        .connect(proxy.address("web"), "http/1.1")
        .await;
    let mut client = Http1::over(wire).await;
    assert_eq!(client.get("/").await.expect("an answer").status, 200);
    let got = collector.until("spans", |got| got.spans.len() == 3).await;
    let named = got.named("tls_handshake");
    let [handshake] = named[..] else {
        panic!("{got:#?}")
    };
    for (key, expected) in [
        ("tls.established", "true"),
        ("tls.protocol.version", "1.3"),
        ("tls.next_protocol", "http/1.1"),
        ("client.address", "127.0.0.1"),
        ("ebbtide.listener", "web"),
    ] {
        assert_eq!(handshake.says(key), expected, "{key}: {handshake:#?}");
    }
    let span = one(&got);
    assert_eq!(span.says("url.scheme"), "https");
    assert_eq!(
        span.says("ebbtide.connection"),
        handshake.says("ebbtide.connection")
    );
    let named = (handshake.trace.clone(), handshake.id.clone());
    assert_eq!(span.links(), [named]);

    // One that fails is a span as well, and says why.
    let mut other = Raw::connect(proxy.address("web")).await;
    other.send("GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    let got = collector.until("another", |got| got.spans.len() == 4).await;
    let failed = got.spans.last().expect("there");
    assert_eq!(failed.says("error.type"), "not_tls");
    assert!(failed.failed());
}
