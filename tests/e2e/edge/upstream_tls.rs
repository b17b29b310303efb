//! TLS to servers: whom they are asked for, what they are shown, and that the
//! settings are made once and not for each connection.

use super::metric;
use crate::drain::scene::{Plan, ended};
use crate::support::authority::Authority;
use crate::support::clients::{Http1, Raw};
use crate::support::proxy::{Proxy, Signal};
use crate::support::within;
use rustls::{HandshakeKind, ServerConfig};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// One connection, as a server sees it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    name: Option<String>,
    protocol: Option<String>,
    certificate: bool,
    resumed: bool,
}

/// A TLS server that answers once per connection, so that each exchange needs
/// a new one.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepting: JoinHandle<()>,
}

impl Server {
    async fn start(config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(Arc::clone(&config));
                let noted = Arc::clone(&noted);
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let tls = stream.get_ref().1;
                    let protocol = tls.alpn_protocol().map(String::from_utf8_lossy);
                    let one = Seen {
                        name: tls.server_name().map(str::to_owned),
                        protocol: protocol.map(Into::into),
                        certificate: tls.peer_certificates().is_some(),
                        resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
                    };
                    noted.lock().expect("a lock").push(one);
                    let mut request = [0; 4096];
                    if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\
                                       content-length: 2\r\n\r\nok";
                        let _ = stream.write_all(answer).await;
                    }
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self {
            address,
            seen,
            accepting,
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("a lock").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn config(server: SocketAddr, tls: &str) -> String {
    let plan = Plan::CALM;
    format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
         [listener.raw]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nupstream = \"site\"\n\
         [upstream.site]\nservers = [\"{server}\"]\ntls = {{ {tls} }}\n{plan}"
    )
}

/// Ask on a connection of its own, so that any worker may be met.
async fn ask(proxy: &Proxy) -> u16 {
    let mut client = Http1::connect(proxy.address("web")).await;
    client.get("/").await.expect("a reply").status.as_u16()
}

/// The same through a tunnel.
async fn tunnel(proxy: &Proxy) -> String {
    let mut client = Raw::connect(proxy.address("raw")).await;
    client.send("GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    String::from_utf8(client.rest().await.0).expect("text")
}

async fn over(mut proxy: Proxy) {
    proxy.signal(Signal::TERM);
    assert_eq!(ended(&mut proxy).await.cut, 0);
}

#[tokio::test]
async fn servers_are_asked_by_name_and_shown_the_certificate_and_know_us_again() {
    let authority = Authority::new("inner");
    let identity = authority.vouch(&["site.internal"]);
    let server = Server::start(authority.server(&identity, &["http/1.1"], true)).await;
    let tls = r#"sni = "site.internal", ca = "ca.pem", cert = "us.pem", key = "us.key""#;
    let proxy = Proxy::start_in(&config(server.address, tls), |directory| {
        authority.write(directory, "ca.pem");
        let us = authority.vouch_for_client("proxy", "a:b", "proxy.internal");
        us.write(directory, "us");
    })
    .await;
    for _ in 0..12 {
        assert_eq!(ask(&proxy).await, 200);
    }
    for _ in 0..12 {
        assert!(tunnel(&proxy).await.ends_with("ok"));
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 24);
    for (at, one) in seen.iter().enumerate() {
        // A tunnel offers no protocol: its bytes may be anything.
        let protocol = (at < 12).then(|| "http/1.1".to_owned());
        assert_eq!(one.protocol, protocol, "{at}");
        assert_eq!(one.name.as_deref(), Some("site.internal"), "{at}");
        assert!(one.certificate, "{at}");
        // The settings, and what they remember, are one for all workers.
        assert_eq!(one.resumed, at > 0, "{at}");
    }
    over(proxy).await;
}

#[tokio::test]
async fn a_server_that_cannot_prove_its_name_is_not_spoken_to() {
    let authority = Authority::new("inner");
    let others = Authority::new("others");
    for (what, identity, from) in [
        (
            "another name",
            authority.vouch(&["other.internal"]),
            &authority,
        ),
        (
            "another authority",
            others.vouch(&["site.internal"]),
            &others,
        ),
    ] {
        let server = Server::start(from.server(&identity, &["http/1.1"], false)).await;
        let tls = r#"sni = "site.internal", ca = "ca.pem""#;
        let proxy = Proxy::start_in(&config(server.address, tls), |directory| {
            authority.write(directory, "ca.pem");
        })
        .await;
        assert_eq!(ask(&proxy).await, 502, "{what}");
        assert_eq!(tunnel(&proxy).await, "", "{what}");
        assert!(server.seen().is_empty(), "{what}");
        over(proxy).await;
    }
}

#[tokio::test]
async fn unverified_is_said_and_is_warned_of() {
    let others = Authority::new("others");
    let identity = others.vouch(&["other.internal"]);
    let server = Server::start(others.server(&identity, &["http/1.1"], false)).await;
    let health = "health = { tcp = true, every = \"50ms\" }\n";
    let tls = r#"sni = "site.internal", verify = false"#;
    let config = config(server.address, tls).replace("tls = ", &format!("{health}tls = "));
    let proxy = Proxy::start(&config).await;
    let warned = |line: &serde_json::Value| line["upstream"] == "site" && line["level"] == "WARN";
    proxy.until_event("unverified", warned).await;
    for _ in 0..3 {
        assert_eq!(ask(&proxy).await, 200);
        assert!(tunnel(&proxy).await.ends_with("ok"));
    }
    let up = format!(
        "ebbtide_upstream_server_up{{upstream=\"site\",server=\"{}\"}}",
        server.address
    );
    let checked = async {
        // Checks come as well, without a request.
        while server.seen().len() < 9 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    within("checks", checked).await;
    assert_eq!(metric(&proxy, &up).await, 1);
    let named = |one: &Seen| one.name.as_deref() == Some("site.internal");
    assert!(server.seen().iter().all(named));
    over(proxy).await;
}
