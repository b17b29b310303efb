//! The admin interface: who may ask, what web pages cannot do, and that it
//! answers when nothing else can.

use crate::drain::scene::{Plan, ended};
use crate::support::clients::{Http1, Raw, Reply};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};

fn config(server: &Server, admin: &str) -> String {
    let (address, plan) = (server.address, Plan::CALM);
    format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n{admin}\n\
         [listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
         limits = {{ connections = 0 }}\n\
         [upstream.site]\nservers = [\"{address}\"]\n{plan}"
    )
}

/// Ask with these fields; `host` is one unless it is among them.
async fn ask(proxy: &Proxy, method: Method, path: &str, fields: &[(&str, &str)]) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    if !fields.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost");
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::new()).boxed_unsync();
    let request = request.body(body).expect("a request");
    let mut client = Http1::connect(proxy.admin()).await;
    let response = client.send(request).await.expect("an answer");
    Http1::whole(response).await.expect("a body")
}

async fn over(mut proxy: Proxy) {
    proxy.signal(Signal::TERM);
    assert_eq!(ended(&mut proxy).await.cut, 0);
}

const TOKENS: &str = "token = \"operate\"\nread_token = \"look\"";

#[tokio::test]
async fn one_token_operates_and_another_looks() {
    let server = Server::http1().await;
    let proxy = Proxy::start(&config(&server, TOKENS)).await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(ask(&proxy, Method::GET, path, &[]).await.status, 200);
    }
    let with = |token: &'static str| [("authorization", token)];
    for path in ["/metrics", "/v1/status", "/v1/connections", "/openapi.json"] {
        let get = async |fields: &[_]| ask(&proxy, Method::GET, path, fields).await.status;
        assert_eq!(get(&[]).await, 401, "{path}");
        assert_eq!(get(&with("Bearer wrong!!")).await, 401, "{path}");
        assert_eq!(get(&with("Bearer look")).await, 200, "{path}");
        assert_eq!(get(&with("Bearer operate")).await, 200, "{path}");
    }
    for (method, path) in [
        (Method::POST, "/v1/drain"),
        (Method::POST, "/v1/reload"),
        (Method::POST, "/v1/handover"),
        (Method::DELETE, "/v1/drain"),
        (Method::POST, "/v1/drain/extend"),
    ] {
        let asked = async |fields: &[_]| ask(&proxy, method.clone(), path, fields).await;
        assert_eq!(asked(&[]).await.status, 401, "{path}");
        let refused = asked(&with("Bearer look")).await;
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.text().contains("look"), "{}", refused.text());
    }
    let status = ask(&proxy, Method::GET, "/v1/status", &with("Bearer look")).await;
    assert!(
        status.text().contains("\"phase\":\"active\""),
        "{}",
        status.text()
    );
    let done = ask(&proxy, Method::POST, "/v1/reload", &with("Bearer operate")).await;
    assert_eq!(done.status, 200, "{}", done.text());
    over(proxy).await;
}

#[tokio::test]
async fn tokens_from_files_change_with_a_reload() {
    let server = Server::http1().await;
    let files = "token = \"file:token\"\nread_token = \"file:look\"";
    let proxy = Proxy::start_in(&config(&server, files), |directory| {
        std::fs::write(directory.join("token"), "first\n").expect("token");
        std::fs::write(directory.join("look"), "look\n").expect("look");
    })
    .await;
    let status = async |token: &str| {
        let token = format!("Bearer {token}");
        let fields = [("authorization", token.as_str())];
        ask(&proxy, Method::GET, "/v1/status", &fields).await.status
    };
    let reload = async |token: &str| {
        let token = format!("Bearer {token}");
        let fields = [("authorization", token.as_str())];
        let done = ask(&proxy, Method::POST, "/v1/reload", &fields).await;
        assert_eq!(done.status, 200, "{}", done.text());
        done.text().to_owned()
    };
    assert_eq!(
        (status("first").await, status("second").await),
        (
            200.try_into().expect("a status"),
            401.try_into().expect("a status")
        )
    );
    // Both are good while clients change over.
    std::fs::write(proxy.path("token"), "second\nfirst\n").expect("token");
    let done = reload("first").await;
    assert!(done.contains("the admin tokens"), "{done}");
    assert!(!done.contains("second"), "{done}");
    assert_eq!(status("second").await, 200);
    std::fs::write(proxy.path("token"), "second\n").expect("token");
    reload("second").await;
    assert_eq!(status("first").await, 401);
    // An empty file is an error, not an open door.
    std::fs::write(proxy.path("token"), "\n").expect("token");
    let fields = [("authorization", "Bearer second")];
    let refused = ask(&proxy, Method::POST, "/v1/reload", &fields).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert_eq!(status("second").await, 200);
    assert_eq!(status("look").await, 200);
    let log = proxy
        .log()
        .iter()
        .map(ToString::to_string)
        .collect::<String>();
    assert!(!log.contains("second"), "a token is in the log");
    over(proxy).await;
}

#[tokio::test]
async fn a_web_page_can_neither_look_nor_touch() {
    let server = Server::http1().await;
    let proxy = Proxy::start(&config(&server, "")).await;
    // A page of a name that was made to lead here.
    for path in ["/v1/status", "/metrics", "/v1/connections", "/nothing"] {
        let fields = [("host", "evil.example:9900")];
        let refused = ask(&proxy, Method::GET, path, &fields).await;
        assert_eq!(refused.status, 421, "{path}");
        assert!(refused.text().contains("Host"), "{}", refused.text());
        // That it shows a token proves nothing where none was given to anybody.
        let fields = [
            ("host", "evil.example:9900"),
            ("authorization", "Bearer made-up"),
        ];
        assert_eq!(ask(&proxy, Method::GET, path, &fields).await.status, 421);
    }
    let fields = [("host", "evil.example")];
    assert_eq!(
        ask(&proxy, Method::POST, "/v1/drain", &fields).await.status,
        421
    );
    // A page of another origin, which its browser names.
    let origin = [("origin", "http://evil.example")];
    for (method, path) in [(Method::POST, "/v1/drain"), (Method::DELETE, "/v1/drain")] {
        assert_eq!(
            ask(&proxy, method, path, &origin).await.status,
            403,
            "{path}"
        );
    }
    let form = [
        ("origin", "null"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    assert_eq!(
        ask(&proxy, Method::POST, "/v1/drain", &form).await.status,
        403
    );
    let looked = ask(&proxy, Method::GET, "/v1/status", &origin).await;
    let asked = [&origin[..], &[("access-control-request-method", "POST")]].concat();
    let preflight = ask(&proxy, Method::OPTIONS, "/v1/drain", &asked).await;
    assert_eq!(preflight.status, 405);
    for reply in [&looked, &preflight] {
        let mut names = reply.headers.keys().map(http::HeaderName::as_str);
        assert!(
            !names.any(|name| name.starts_with("access-control-")),
            "{reply:?}"
        );
    }
    let status = proxy.json("/v1/status").await;
    assert_eq!(status["phase"], "active", "nothing was done");
    // A probe may come under any name.
    for path in ["/livez", "/readyz"] {
        let fields = [("host", "probe.example")];
        assert_eq!(ask(&proxy, Method::GET, path, &fields).await.status, 200);
    }
    over(proxy).await;
}

#[tokio::test]
async fn who_has_a_token_may_use_any_name() {
    let server = Server::http1().await;
    let proxy = Proxy::start(&config(&server, TOKENS)).await;
    let fields = [
        ("host", "ebbtide.internal:9900"),
        ("authorization", "Bearer look"),
    ];
    assert_eq!(
        ask(&proxy, Method::GET, "/v1/status", &fields).await.status,
        200
    );
    over(proxy).await;
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let server = Server::http1().await;
    let proxy = Proxy::start(&config(&server, "")).await;
    let mut client = Raw::connect(proxy.admin()).await;
    let head = "POST /v1/drain HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999999\r\n\r\n";
    client.send(head).await.expect("sent");
    let _ = client.send("x".repeat(100_000)).await;
    let answer = client.head().await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(proxy.json("/v1/status").await["phase"], "active");
    over(proxy).await;
}

#[tokio::test]
async fn it_answers_when_the_way_of_the_data_has_taken_every_descriptor() {
    let server = Server::http1().await;
    let mut proxy = Proxy::start(&config(&server, "")).await;
    let before = proxy.limit_descriptors(proxy.descriptors() as u64 + 12);
    let mut crowd = Vec::new();
    for _ in 0..40 {
        crowd.push(Raw::connect(proxy.address("web")).await);
    }
    let backs_off = |line: &serde_json::Value| line["message"] == "cannot accept; backing off";
    proxy.until_log("the want of descriptors", backs_off).await;
    for round in 0..10 {
        // Several at once, each on a connection of its own.
        let asks = ["/readyz", "/metrics", "/v1/status", "/livez"].map(|path| proxy.get(path));
        let replies = within("answers", futures_util::future::join_all(asks)).await;
        for reply in replies {
            assert_eq!(reply.status, 200, "round {round}");
        }
    }
    let refused = |line: &serde_json::Value| line["message"] == "admin: cannot accept";
    assert!(!proxy.log().iter().any(refused));
    proxy.limit_descriptors(before);
    drop(crowd);
    proxy.signal(Signal::TERM);
    assert_eq!(ended(&mut proxy).await.cut, 0);
}

#[tokio::test]
async fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let server = Server::http1().await;
    let mut proxy = Proxy::start(&config(&server, "")).await;
    let mut held = Http1::connect(proxy.address("web")).await;
    let held = tokio::spawn(async move { held.get("/hold").await });
    server
        .desk
        .until("a request", |seen| seen.requests == 1)
        .await;
    // One that waits for its answer from before the crowd to after it.
    let mut waiting = Raw::connect(proxy.admin()).await;
    let ask = "POST /v1/drain?wait=true HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    waiting.send(ask).await.expect("sent");
    proxy
        .until_status(|status| status["stage"] == "finish")
        .await;
    let mut crowd = Vec::new();
    for _ in 0..400 {
        crowd.push(Raw::connect(proxy.admin()).await);
    }
    for _ in 0..3 {
        assert_eq!(proxy.get("/v1/status").await.status, 200);
    }
    server.desk.release();
    let reply = within("a reply", held).await.expect("the task");
    assert_eq!(reply.expect("a reply").text(), "held");
    let answer = waiting.read_until("\r\n\r\n").await.expect("the receipt");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(ended(&mut proxy).await.cut, 0);
}
