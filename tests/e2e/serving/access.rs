//! The access log: what is said of an exchange, whatever carried it.

use crate::support::clients::{Http1, Raw};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

fn config(http: &Server, tcp: &Server, access: &str) -> String {
    format!(
        r#"
[process]
workers = 1
logs = {{ format = "json", level = "info,ebbtide=debug", access = {access} }}

[listener.web]
listen = "127.0.0.1:0"
routes = [{{ path = "/", upstream = "site" }}]

[listener.raw]
listen = "127.0.0.1:0"
protocol = "tcp"
upstream = "raw"

[upstream.site]
servers = ["{}"]

[upstream.raw]
servers = ["{}"]

[drain]
grace = "10m"
announce = "0s"
spread = "0s"
finish = {{ http = "1ms", tcp = "1ms", grpc = "1ms", websocket = "1ms" }}
farewell = "60s"
"#,
        http.address, tcp.address
    )
}

async fn line(proxy: &Proxy, path: &str) -> Value {
    proxy
        .until_event("access", |line| line["path"] == path)
        .await
}

#[tokio::test]
async fn every_exchange_has_a_line_that_says_how_it_went() {
    let (server, echo) = (Server::http1().await, Server::tcp().await);
    let mut proxy = Proxy::start(&config(&server, &echo, "true")).await;
    let mut client = Http1::connect(proxy.address("web")).await;
    let body = Full::new(Bytes::from_static(b"seven b")).boxed_unsync();
    let request = Request::post("/echo?a=b")
        .header("host", "Site.Example:80")
        .header("x-request-id", "4711")
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        );
    let sent = client.send(request.body(body).expect("good")).await;
    let reply = Http1::whole(sent.expect("an answer")).await.expect("whole");
    let one = line(&proxy, "/echo?a=b").await;
    let server_name = server.address.to_string();
    for (field, expected) in [
        ("listener", Value::from("web")),
        ("protocol", "http1".into()),
        ("method", "POST".into()),
        ("status", reply.status.as_u16().into()),
        ("received", 7.into()),
        ("sent", reply.body.len().into()),
        ("route", "web/0".into()),
        ("upstream", "site".into()),
        ("server", server_name.into()),
        ("tries", 1.into()),
        ("outcome", "finished".into()),
        ("request_id", "4711".into()),
    ] {
        assert_eq!(one[field], expected, "{field}: {one}");
    }
    assert!(
        one["host"]
            .as_str()
            .is_some_and(|host| host.eq_ignore_ascii_case("site.example"))
    );
    assert!(
        one["upstream_us"].as_u64() <= one["took_us"].as_u64(),
        "{one}"
    );
    assert!(one["traceparent"].is_string());

    drop(client);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_line_says_who_left_who_was_told_and_what_a_tunnel_carried() {
    let (server, echo) = (Server::http1().await, Server::tcp().await);
    let mut proxy = Proxy::start(&config(&server, &echo, "true")).await;
    let mut leaver = Raw::connect(proxy.address("web")).await;
    leaver
        .send("GET /hold?leave HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .expect("sent");
    server
        .desk
        .until("the request", |seen| seen.requests == 1)
        .await;
    drop(leaver);
    let left = line(&proxy, "/hold?leave").await;
    assert_eq!(
        (&left["status"], &left["what"]),
        (&499.into(), &"client_left".into())
    );

    let mut tunnel = Raw::connect(proxy.address("raw")).await;
    tunnel.send("hello\n").await.expect("sent");
    tunnel.read_until("\n").await.expect("an echo");
    let mut told = Raw::connect(proxy.address("web")).await;
    told.send("GET /hold?told HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .expect("sent");
    server
        .desk
        .until("the request", |seen| seen.requests == 2)
        .await;
    proxy.signal(Signal::TERM);
    let (answer, _) = told.rest().await;
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 503 "));
    let told = line(&proxy, "/hold?told").await;
    assert_eq!(told["status"], 503);
    assert_eq!(
        (&told["outcome"], &told["what"]),
        (&"farewelled".into(), &"unanswered".into())
    );
    tunnel.rest().await;
    let tcp = proxy
        .until_event("access", |line| line["protocol"] == "tcp")
        .await;
    assert_eq!(tcp["what"], "half_close");
    assert_eq!((&tcp["received"], &tcp["sent"]), (&6.into(), &6.into()));
    assert_eq!(tcp["server"], echo.address.to_string());
    assert!(tcp.get("status").is_none() && tcp.get("method").is_none());
    assert_eq!(proxy.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_template_is_a_line_and_its_file_is_opened_anew() {
    let (server, echo) = (Server::http1().await, Server::tcp().await);
    let access =
        r#"{ file = "access.log", template = "{method} {path} \"{user_agent}\" {status}" }"#;
    let mut proxy = Proxy::start(&config(&server, &echo, access)).await;
    let mut client = Raw::connect(proxy.address("web")).await;
    let head = "GET /a HTTP/1.1\r\nhost: a\r\nuser-agent: evil\" 200 {path}\tx\r\n\r\n";
    client.send(head).await.expect("sent");
    client.read_until("ok").await.expect("an answer");
    let moved = proxy.path("access.log.1");
    let written = |file: &std::path::Path| std::fs::read_to_string(file).unwrap_or_default();
    while written(&proxy.path("access.log")).is_empty() {
        tokio::task::yield_now().await;
    }
    std::fs::rename(proxy.path("access.log"), &moved).expect("moved");
    proxy.signal(Signal::USR2);
    proxy.until_event("logs_reopened", |_| true).await;
    client
        .send("GET /b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .expect("sent");
    client.rest().await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    assert_eq!(
        written(&moved),
        "GET /a \"evil\\x22 200 {path}\\x09x\" 200\n"
    );
    assert_eq!(written(&proxy.path("access.log")), "GET /b \"-\" 200\n");
}

#[tokio::test]
async fn a_reload_changes_the_template_and_not_the_file() {
    let (server, echo) = (Server::http1().await, Server::tcp().await);
    let mut proxy = Proxy::start(&config(&server, &echo, "false")).await;
    let ask = async |proxy: &Proxy, path: &str| {
        let mut client = Http1::connect(proxy.address("web")).await;
        client.get(path).await.expect("a reply");
    };
    ask(&proxy, "/off").await;
    let access = r#"{ template = ["path", "status"] }"#;
    let text = config(&server, &echo, access);
    proxy.write_config(&text);
    proxy.signal(Signal::HUP);
    proxy
        .until_event("reload", |line| line["result"] == "applied")
        .await;
    ask(&proxy, "/on").await;
    let one = line(&proxy, "/on").await;
    assert_eq!(one.as_object().expect("one").len(), 4, "{one}");
    assert_eq!(one["status"], 200);
    proxy.write_config(&text.replace("{ template", "{ file = \"access.log\", template"));
    proxy.signal(Signal::HUP);
    let refused = |line: &Value| {
        let message = line["message"].as_str().unwrap_or_default();
        line["result"] == "refused" && message.contains("`logs.access.file` cannot change")
    };
    proxy.until_event("reload", refused).await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    assert!(proxy.log().iter().all(|line| line["path"] != "/off"));
}
