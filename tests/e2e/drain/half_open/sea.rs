//! A proxy, and clients that stop on their way to it.

use super::kind::{Kind, NAMED, REQUEST};
use super::stopped::{At, Stopped};
use crate::drain::scene::{LOOK, Plan, ended, until_connections};
use crate::support::clients::Raw;
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use crate::support::within;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A proxy in whose drain an exchange is in flight from the beginning: what
/// ends meanwhile, ends by itself.
pub(super) struct Sea {
    pub(super) proxy: Proxy,
    server: Server,
    _tunnel: Server,
    held: Option<Raw>,
}

impl Sea {
    pub(super) async fn new(limits: &str, plan: &Plan) -> Self {
        let server = Server::http1().await;
        let tunnel = Server::tcp().await;
        let listen = format!("listen = \"127.0.0.1:0\"\n{limits}\n");
        let http = format!("{listen}routes = [{{ upstream = \"site\" }}]\n");
        let tcp = format!("{listen}protocol = \"tcp\"\nupstream = \"tunnel\"\n");
        let tls = "tls = { cert = \"site.pem\", key = \"site.key\" }\n";
        let (behind, before) = (tunnel.address, server.address);
        let config = format!(
            "[listener.web]\n{http}\n[listener.secure]\n{http}{tls}\n\
             [listener.proxied]\nproxy_protocol = true\n{http}\n\
             [listener.proxied_secure]\nproxy_protocol = true\n{http}{tls}\n\
             [listener.tunnel]\nproxy_protocol = true\n{tcp}\n\
             [upstream.site]\nservers = [\"{before}\"]\n\
             [upstream.tunnel]\nservers = [\"{behind}\"]\n\n{plan}"
        );
        let proxy = Proxy::start(&config).await;
        Self {
            proxy,
            server,
            _tunnel: tunnel,
            held: None,
        }
    }

    /// Have a request in flight.
    pub(super) async fn hold(&mut self) {
        let mut held = Raw::connect(self.proxy.address("web")).await;
        held.send("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .expect("sent");
        let desk = self.server.desk.clone();
        desk.until("the held request", |seen| {
            seen.heads.iter().any(|head| head.starts_with("GET /hold "))
        })
        .await;
        self.held = Some(held);
    }

    /// Let it go, and wait for the end of the drain: its receipt.
    pub(super) async fn over(mut self) -> Value {
        let proxy = &self.proxy;
        let desk = self.server.desk.clone();
        // Asked first, answered second: of two connections the admin interface
        // accepts the first one first.
        let asked = proxy.json("/v1/drain?wait=true");
        let let_go = async {
            proxy.get("/v1/status").await;
            desk.release();
        };
        let (receipt, ()) = within("the receipt", async { tokio::join!(asked, let_go) }).await;
        drop(self.held);
        ended(&mut self.proxy).await;
        receipt
    }

    /// A client that stops where `kind` says.
    pub(super) async fn stop(&self, kind: Kind) -> Stopped {
        let address = self.proxy.address(kind.listener());
        let stream = within("a connection", TcpStream::connect(address)).await;
        let stream = stream.expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        let mut peer = stream.local_addr().expect("an address").to_string();
        let certificate = self.proxy.certificate();
        if let Some((header, sent)) = kind.header() {
            let mut stream = stream;
            let (sent, rest) = header.split_at(sent);
            stream.write_all(sent).await.expect("sent");
            let at = if rest.is_empty() {
                NAMED.clone_into(&mut peer);
                At::Open(Raw::over(Box::new(stream)))
            } else {
                At::Header(stream, rest)
            };
            return Stopped { kind, peer, at };
        }
        let at = match kind {
            Kind::SilentTls | Kind::HalfRecord | Kind::HalfHello | Kind::NoFinished => {
                let mut client = certificate.handshake("http/1.1");
                let mut hello = Vec::new();
                client.write_tls(&mut hello).expect("a ClientHello");
                let sent = match kind {
                    Kind::SilentTls => 0,
                    Kind::HalfRecord => 3,
                    Kind::HalfHello => hello.len() / 2,
                    _ => hello.len(),
                };
                let rest = hello.split_off(sent);
                let mut stream = stream;
                stream.write_all(&hello).await.expect("sent");
                if rest.is_empty() {
                    let answer = within("a ServerHello", stream.peek(&mut [0])).await;
                    assert_eq!(answer.expect("bytes"), 1);
                }
                At::Handshake(stream, Box::new(client), rest)
            }
            _ if kind.secure() => {
                let protocol = if kind.http2() { "h2" } else { "http/1.1" };
                At::Open(Raw::over(certificate.shake_hands(stream, protocol).await))
            }
            _ => At::Open(Raw::over(Box::new(stream))),
        };
        let mut stopped = Stopped { kind, peer, at };
        if let At::Open(raw) = &mut stopped.at {
            if kind.second() {
                raw.send(REQUEST).await.expect("sent");
                let answer = raw.read_until("\r\n\r\nok").await.expect("an answer");
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            }
            raw.send(&kind.bytes()[..kind.stops_at()])
                .await
                .expect("sent");
        }
        stopped
    }

    /// One client of each kind, each seen by operators as what it is.
    pub(super) async fn all(&self) -> Vec<Stopped> {
        let mut all = Vec::new();
        for kind in Kind::ALL {
            all.push(self.stop(kind).await);
        }
        let as_they_are = |view: &[Value]| {
            all.iter().all(|stopped| {
                let one = view.iter().find(|one| stopped.is(one));
                one.is_some_and(|one| one["state"] == stopped.kind.state())
            })
        };
        until_connections(&self.proxy, "one of each kind", as_they_are).await;
        all
    }

    /// The value of a metric; one that is not there is zero.
    pub(super) async fn count(&self, name: &str) -> usize {
        let text = self.proxy.get("/metrics").await;
        let line = text.text().lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse().expect("a number"))
    }

    /// Wait until the metric has this value.
    pub(super) async fn until_count(&self, name: &str, wanted: usize) {
        let look = async {
            while self.count(name).await != wanted {
                tokio::time::sleep(LOOK).await;
            }
        };
        within(name, look).await;
    }
}
