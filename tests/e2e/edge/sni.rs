//! TCP listeners that route by SNI: TLS passes through, untouched.

use super::{failed, until_failed};
use crate::drain::scene::{Plan, ended};
use crate::support::authority::{Authority, boxed, shake, shown};
use crate::support::clients::{Ended, Http1, Http2, Raw};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use rustls::ClientConfig;
use std::sync::Arc;

/// What a client that asks for `name` sends first; an address is no name.
pub(super) fn hello(name: &str) -> Vec<u8> {
    let config = Arc::new(Authority::new("nobody").client(None, &["h2", "http/1.1"]));
    let name = rustls_pki_types::ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = rustls::ClientConnection::new(config, name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a ClientHello");
    hello
}

/// Three servers behind names, `rest` behind the route without one.
struct Scene {
    proxy: Proxy,
    authority: Authority,
    names: Vec<(
        &'static str,
        Server,
        rustls_pki_types::CertificateDer<'static>,
    )>,
    rest: Server,
}

const ROUTES: &str = r#"routes = [
    { sni = "a.example.com", upstream = "a" },
    { sni = "*.example.com", upstream = "below" },
    { upstream = "rest" },
]"#;

impl Scene {
    async fn start() -> Self {
        let authority = Authority::new("edge");
        let mut names = Vec::new();
        for (upstream, protocol, covers) in [
            ("a", "http/1.1", ["a.example.com"]),
            ("below", "h2", ["*.example.com"]),
        ] {
            let identity = authority.vouch(&covers);
            let tls = authority.server(&identity, &[protocol], false);
            let server = match protocol {
                "h2" => Server::http2_tls(tls).await,
                _ => Server::http1_tls(tls).await,
            };
            names.push((upstream, server, identity.der));
        }
        let rest = Server::tcp().await;
        let proxy = Proxy::start(&Self::config(&names, &rest, ROUTES)).await;
        Self {
            proxy,
            authority,
            names,
            rest,
        }
    }

    fn config(
        names: &[(
            &'static str,
            Server,
            rustls_pki_types::CertificateDer<'static>,
        )],
        rest: &Server,
        routes: &str,
    ) -> String {
        let mut config = format!(
            "[listener.named]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n{routes}\n\
             [listener.strict]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n\
             routes = [{{ sni = \"a.example.com\", upstream = \"a\" }}]\n\
             limits = {{ head_time = \"200ms\" }}\n{}",
            Plan::CALM
        );
        let mut all: Vec<_> = names.iter().map(|(name, one, _)| (*name, one)).collect();
        all.push(("rest", rest));
        for (name, server) in all {
            let address = server.address;
            let table = format!("[upstream.{name}]\nservers = [\"{address}\"]\n");
            config.push_str(&table);
        }
        config
    }

    fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        Arc::new(self.authority.client(None, protocols))
    }

    async fn over(mut self) {
        self.proxy.signal(Signal::TERM);
        assert_eq!(ended(&mut self.proxy).await.cut, 0);
    }
}

#[tokio::test]
async fn each_name_reaches_its_server_which_ends_tls_itself() {
    let scene = Scene::start().await;
    let address = scene.proxy.address("named");
    let offers = scene.client(&["h2", "http/1.1"]);
    for (name, index, protocol) in [
        ("a.example.com", 0, "http/1.1"),
        ("A.Example.com", 0, "http/1.1"),
        ("b.example.com", 1, "h2"),
        ("c.example.com", 1, "h2"),
    ] {
        let stream = shake(address, &offers, name).await.expect(name);
        // The server's own certificate, and its own choice of ALPN.
        assert_eq!(*shown(&stream), scene.names[index].2, "{name}");
        let agreed = stream.get_ref().1.alpn_protocol();
        assert_eq!(agreed, Some(protocol.as_bytes()), "{name}");
        let reply = if protocol == "h2" {
            Http2::over(boxed(stream)).await.get("/").await.expect(name)
        } else {
            let mut client = Http1::over(boxed(stream)).await;
            client.get("/").await.expect(name)
        };
        assert_eq!(reply.text(), "ok", "{name}");
    }
    scene.over().await;
}

#[tokio::test]
async fn what_names_no_server_goes_to_the_rest_byte_for_byte() {
    let scene = Scene::start().await;
    for (what, bytes) in [
        ("a name without a route", hello("elsewhere.example.org")),
        ("no name", hello("127.0.0.1")),
        ("no TLS", b"hello\r\n".to_vec()),
        ("one byte", vec![0]),
    ] {
        let mut client = Raw::connect(scene.proxy.address("named")).await;
        client.send(&bytes).await.expect("sent");
        client.send("\nmore").await.expect("sent");
        client.finish().await.expect("FIN");
        let (back, end) = client.rest().await;
        assert_eq!(
            (back, end),
            ([&bytes[..], b"\nmore"].concat(), Ended::Fin),
            "{what}"
        );
    }
    assert_eq!(scene.rest.desk.seen().connections, 4);
    scene.over().await;
}

#[tokio::test]
async fn a_hello_may_come_in_pieces() {
    let scene = Scene::start().await;
    let bytes = hello("elsewhere.example.org");
    let mut client = Raw::connect(scene.proxy.address("named")).await;
    let piece = bytes.len() / 16;
    for piece in bytes.chunks(piece) {
        client.send(piece).await.expect("sent");
        tokio::task::yield_now().await;
    }
    client.finish().await.expect("FIN");
    assert_eq!(client.rest().await, (bytes, Ended::Fin));
    scene.over().await;
}

#[tokio::test]
async fn without_a_route_a_client_is_told_by_an_alert() {
    let scene = Scene::start().await;
    let strict = scene.proxy.address("strict");
    let broken = [&[22, 3, 1, 0, 4][..], &[1, 0, 0, 0]].concat();
    // TLS 1.1 has no signature algorithms to offer.
    let old = [&[22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2][..], &[7; 32]].concat();
    let old = [&old[..], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
    for (what, bytes, alert, reason, count) in [
        ("another name", hello("b.example.com"), Some(112), "name", 1),
        ("no name", hello("127.0.0.1"), Some(109), "name", 2),
        ("a hello of no bytes", broken, Some(50), "malformed", 1),
        ("TLS 1.1", old, Some(40), "version", 1),
        (
            "no TLS",
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            None,
            "not_tls",
            1,
        ),
    ] {
        let mut client = Raw::connect(strict).await;
        client.send(&bytes).await.expect("sent");
        let (told, end) = client.rest().await;
        let expected = alert.map_or(Vec::new(), |alert| vec![21, 3, 3, 0, 2, 2, alert]);
        assert_eq!((told, end), (expected, Ended::Fin), "{what}");
        assert_eq!(
            failed(&scene.proxy, "strict", reason).await,
            count,
            "{what}"
        );
    }
    // The honest client beside them.
    let offers = scene.client(&["http/1.1"]);
    let stream = shake(strict, &offers, "a.example.com")
        .await
        .expect("a handshake");
    let mut client = Http1::over(boxed(stream)).await;
    assert_eq!(client.get("/").await.expect("a reply").text(), "ok");
    drop(client);
    assert_eq!(scene.names[0].1.desk.seen().connections, 1);
    scene.over().await;
}

#[tokio::test]
async fn half_a_hello_is_not_awaited_for_long() {
    let scene = Scene::start().await;
    let bytes = hello("a.example.com");
    let mut client = Raw::connect(scene.proxy.address("strict")).await;
    client.send(&bytes[..bytes.len() / 2]).await.expect("sent");
    let (told, end) = client.rest().await;
    // user_canceled, close_notify.
    assert_eq!(told, [21, 3, 3, 0, 2, 1, 90, 21, 3, 3, 0, 2, 1, 0]);
    assert_eq!(end, Ended::Fin);
    until_failed(&scene.proxy, "strict", "timeout", 1).await;
    let mut client = Raw::connect(scene.proxy.address("strict")).await;
    client.send(&bytes[..10]).await.expect("sent");
    client.finish().await.expect("FIN");
    assert!(client.rest().await.0.is_empty());
    until_failed(&scene.proxy, "strict", "left", 1).await;
    scene.over().await;
}

#[tokio::test]
async fn a_hello_without_an_end_is_refused_in_time() {
    let scene = Scene::start().await;
    let mut client = Raw::connect(scene.proxy.address("named")).await;
    // Announced with 65535 bytes, in full records.
    let mut piece = vec![1, 0, 0xff, 0xff];
    for _ in 0..8 {
        piece.resize(4096, 0);
        let record = [&[22, 3, 1, 16, 0][..], &piece].concat();
        if client.send(record).await.is_err() {
            break;
        }
        piece.fill(0);
    }
    let (told, end) = client.rest().await;
    assert_eq!((told, end), (vec![21, 3, 3, 0, 2, 2, 50], Ended::Fin));
    until_failed(&scene.proxy, "named", "malformed", 1).await;
    assert_eq!(scene.rest.desk.seen().connections, 0);
    scene.over().await;
}

#[tokio::test]
async fn a_reload_moves_names_and_leaves_tunnels_alone() {
    let scene = Scene::start().await;
    let address = scene.proxy.address("named");
    let offers = scene.client(&["http/1.1"]);
    let stream = shake(address, &offers, "a.example.com")
        .await
        .expect("before");
    let mut before = Http1::over(boxed(stream)).await;
    let gone = ROUTES.replace("{ sni = \"a.example.com\", upstream = \"a\" },", "");
    let config = Scene::config(&scene.names, &scene.rest, &gone);
    scene.proxy.write_config(&config);
    let reply = scene.proxy.ask(http::Method::POST, "/v1/reload", "").await;
    assert!(
        reply.text().contains("changes listener named: routes"),
        "{}",
        reply.text()
    );
    // Its name is now one below example.com, where h2 is spoken.
    let h2 = scene.client(&["h2"]);
    let stream = shake(address, &h2, "a.example.com").await.expect("after");
    assert_eq!(*shown(&stream), scene.names[1].2);
    assert_eq!(before.get("/").await.expect("the same tunnel").text(), "ok");
    drop((before, stream));
    scene.over().await;
}
