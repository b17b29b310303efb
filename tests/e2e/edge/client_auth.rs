//! Client certificates: who is let in, and what servers are told of them.

use super::{failed, until_failed};
use crate::drain::scene::{Plan, ended};
use crate::support::authority::{Authority, Identity, boxed, resumed, shake};
use crate::support::clients::{Http1, Http2, Reply};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use http::Request;
use http_body_util::{BodyExt, Empty};
use rustls::ClientConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncReadExt;

/// A proxy that asks for certificates, and whom it knows.
struct Scene {
    proxy: Proxy,
    server: Server,
    _multi: Server,
    site: Authority,
    billing: Identity,
}

const SAID: &str = ";Subject=\"CN=billing,O=Example\";DNS=billing.example.com;\
                    URI=spiffe://example.com/billing";

fn config(server: SocketAddr, multi: SocketAddr) -> String {
    let tls = "cert = \"edge.pem\", key = \"edge.key\"";
    let routes = r#"routes = [{ path = "/echo", upstream = "multi" }, { upstream = "site" }]"#;
    let plan = Plan::CALM;
    format!(
        "[listener.must]\nlisten = \"127.0.0.1:0\"\n{routes}\n\
         tls = {{ {tls}, client_ca = \"clients.pem\" }}\n\
         [listener.may]\nlisten = \"127.0.0.1:0\"\n{routes}\n\
         tls = {{ {tls}, client_ca = \"clients.pem\", client_auth = \"request\" }}\n\
         [listener.clear]\nlisten = \"127.0.0.1:0\"\n{routes}\n\
         [upstream.site]\nservers = [\"{server}\"]\n\
         [upstream.multi]\nservers = [\"{multi}\"]\nhttp = \"h2\"\n{plan}"
    )
}

impl Scene {
    async fn start() -> Self {
        let (site, clients) = (Authority::new("site"), Authority::new("clients"));
        let uri = "spiffe://example.com/billing";
        let billing = clients.vouch_for_client("billing", uri, "billing.example.com");
        let (server, multi) = (Server::http1().await, Server::http2().await);
        let config = config(server.address, multi.address);
        let proxy = Proxy::start_in(&config, |directory| {
            site.vouch(&["localhost"]).write(directory, "edge");
            clients.write(directory, "clients.pem");
        })
        .await;
        Self {
            proxy,
            server,
            _multi: multi,
            site,
            billing,
        }
    }

    fn client(&self, identity: Option<&Identity>, protocol: &str) -> Arc<ClientConfig> {
        Arc::new(self.site.client(identity, &[protocol]))
    }

    /// What the server saw of the last request of this kind.
    fn told(&self) -> Vec<String> {
        let seen = self.server.desk.seen();
        let head = seen.heads.last().expect("a request").to_lowercase();
        let lines = head.lines().filter(|line| line.contains("cert"));
        lines.map(str::to_owned).collect()
    }

    async fn over(mut self) {
        self.proxy.signal(Signal::TERM);
        assert_eq!(ended(&mut self.proxy).await.cut, 0);
    }
}

/// A request that says itself which certificate was shown.
fn forging<B>(body: B) -> Request<B> {
    Request::get("http://localhost/")
        .header("x-forwarded-client-cert", "Hash=forged")
        .header("x_forwarded_client_cert", "Hash=forged")
        .header("x-forwarded_client-cert", "Hash=forged")
        .header("x-forwarded-client-cert", "Hash=forged")
        .body(body)
        .expect("a request")
}

async fn ask(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Reply> {
    let stream = shake(address, config, "localhost").await?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    // In TLS 1.3 a client learns only afterwards that it was refused.
    if h2 {
        let client = Http2::over(boxed(stream)).await;
        let (response, _) = client.open(forging(()), true).await.expect("a stream");
        return Http2::whole(response.await.map_err(io::Error::other)?)
            .await
            .map_err(io::Error::other);
    }
    let mut client = Http1::over(boxed(stream)).await;
    let mut request = forging(Empty::new().boxed_unsync());
    let host = "localhost".parse().expect("a host");
    request.headers_mut().insert("host", host);
    *request.uri_mut() = "/".parse().expect("a path");
    let response = client.send(request).await.map_err(io::Error::other)?;
    Http1::whole(response).await.map_err(io::Error::other)
}

/// How a client that is not let in hears of it.
async fn refusal(address: SocketAddr, config: &Arc<ClientConfig>) -> String {
    match shake(address, config, "localhost").await {
        Err(error) => error.to_string(),
        Ok(mut stream) => {
            let read = stream.read(&mut [0; 1]).await;
            read.expect_err("an alert").to_string()
        }
    }
}

#[tokio::test]
async fn the_server_is_told_which_certificate_was_shown() {
    let scene = Scene::start().await;
    for listener in ["must", "may"] {
        for protocol in ["http/1.1", "h2"] {
            let client = scene.client(Some(&scene.billing), protocol);
            let reply = ask(scene.proxy.address(listener), &client).await;
            assert_eq!(reply.expect("a reply").status, 200);
            let told = scene.told();
            assert_eq!(told.len(), 1, "{listener} {protocol}: {told:?}");
            let hash = "x-forwarded-client-cert: hash=";
            let rest = told[0].strip_prefix(hash).expect("its hash");
            assert!(rest[..64].bytes().all(|byte| byte.is_ascii_hexdigit()));
            assert_eq!(rest[64..], SAID.to_lowercase(), "{listener} {protocol}");
        }
    }
    scene.over().await;
}

#[tokio::test]
async fn nobody_without_a_certificate_can_claim_one() {
    let scene = Scene::start().await;
    for protocol in ["http/1.1", "h2"] {
        let client = scene.client(None, protocol);
        let reply = ask(scene.proxy.address("may"), &client).await;
        assert_eq!(reply.expect("a reply").status, 200);
        assert!(scene.told().is_empty(), "{protocol}: {:?}", scene.told());
    }
    let mut client = Http1::connect(scene.proxy.address("clear")).await;
    let mut request = forging(Empty::new().boxed_unsync());
    let host = "localhost".parse().expect("a host");
    request.headers_mut().insert("host", host);
    *request.uri_mut() = "/".parse().expect("a path");
    assert_eq!(client.send(request).await.expect("a reply").status(), 200);
    assert!(scene.told().is_empty(), "{:?}", scene.told());
    drop(client);
    scene.over().await;
}

#[tokio::test]
async fn nobody_can_claim_one_in_trailers() {
    let scene = Scene::start().await;
    for (listener, shows) in [("may", None), ("must", Some(&scene.billing))] {
        let client = scene.client(shows, "h2");
        let stream = shake(scene.proxy.address(listener), &client, "localhost").await;
        let client = Http2::over(boxed(stream.expect("a handshake"))).await;
        let request = Request::post("http://localhost/echo")
            .header("te", "trailers")
            .body(())
            .expect("a request");
        let (response, mut upload) = client.open(request, false).await.expect("a stream");
        upload.send_data("hello".into(), false).expect("data");
        let mut trailers = http::HeaderMap::new();
        for name in [
            "x-check",
            "x-forwarded-client-cert",
            "x_forwarded_client_cert",
        ] {
            trailers.insert(name, "forged".parse().expect("a value"));
        }
        upload.send_trailers(trailers).expect("trailers");
        let head = within("a head", response).await.expect("a head");
        let reply = Http2::whole(head).await.expect("a body");
        // The server sends back what it got.
        assert_eq!(reply.text(), "hello", "{listener}");
        let sent = reply.trailers.expect("trailers");
        let names: Vec<_> = sent.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["x-check"], "{listener}");
    }
    scene.over().await;
}

#[tokio::test]
async fn who_shows_none_or_a_wrong_one_is_told_by_an_alert() {
    let scene = Scene::start().await;
    let strangers = Authority::new("strangers");
    let stranger = strangers.vouch_for_client("billing", "a:b", "billing.example.com");
    let none = scene.client(None, "http/1.1");
    let wrong = scene.client(Some(&stranger), "http/1.1");
    let must = scene.proxy.address("must");
    let told = refusal(must, &none).await;
    assert!(told.contains("CertificateRequired"), "{told}");
    until_failed(&scene.proxy, "must", "certificate_missing", 1).await;
    let told = refusal(must, &wrong).await;
    assert!(told.contains("UnknownCA"), "{told}");
    until_failed(&scene.proxy, "must", "certificate", 1).await;
    // Asked for, not required: a wrong one is worse than none.
    let told = refusal(scene.proxy.address("may"), &wrong).await;
    assert!(told.contains("UnknownCA"), "{told}");
    until_failed(&scene.proxy, "may", "certificate", 1).await;
    assert_eq!(failed(&scene.proxy, "may", "certificate_missing").await, 0);
    assert_eq!(scene.server.desk.seen().requests, 0);
    scene.over().await;
}

#[tokio::test]
async fn a_resumed_connection_is_its_clients_still() {
    let scene = Scene::start().await;
    let client = scene.client(Some(&scene.billing), "http/1.1");
    let mut short = 0;
    for _ in 0..8 {
        let stream = shake(scene.proxy.address("must"), &client, "localhost").await;
        let stream = stream.expect("a handshake");
        short += usize::from(resumed(&stream));
        let mut client = Http1::over(boxed(stream)).await;
        assert_eq!(client.get("/").await.expect("a reply").status, 200);
        assert!(scene.told()[0].ends_with(&SAID.to_lowercase()));
    }
    assert_eq!(short, 7);
    scene.over().await;
}

#[tokio::test]
async fn a_reload_of_the_authority_counts_for_the_next_connection() {
    let scene = Scene::start().await;
    let must = scene.proxy.address("must");
    let client = scene.client(Some(&scene.billing), "http/1.1");
    let stream = shake(must, &client, "localhost").await.expect("let in");
    let mut open = Http1::over(boxed(stream)).await;
    assert_eq!(open.get("/").await.expect("a reply").status, 200);
    let others = Authority::new("clients");
    others.write(scene.proxy.directory(), "clients.pem");
    let reply = scene.proxy.ask(http::Method::POST, "/v1/reload", "").await;
    assert!(
        reply.text().contains("changes listener must: tls"),
        "{}",
        reply.text()
    );
    // Its ticket is of no use any more.
    let told = refusal(must, &client).await;
    assert!(!told.is_empty());
    until_failed(&scene.proxy, "must", "certificate", 1).await;
    let next = others.vouch_for_client("next", "a:b", "next.example.com");
    let client = scene.client(Some(&next), "http/1.1");
    assert_eq!(ask(must, &client).await.expect("a reply").status, 200);
    assert_eq!(open.get("/").await.expect("the open one").status, 200);
    drop(open);
    scene.over().await;
}
