//! One proxy before a server of every kind, and how its drain went.

use crate::support::certificate::Certificate;
use crate::support::clients::{Http2, Raw, connect};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::{Line, SERVICE, Server};
use crate::support::{BoxWire, within};
use bytes::{BufMut, Bytes, BytesMut};
use h2::SendStream;
use h2::client::ResponseFuture;
use http::Request;
use prost::Message;
use rustls_pki_types::ServerName;
use serde_json::Value;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

/// How long to wait between two looks at something that publishes nothing.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// The `[drain]` of a test. By default no stage passes by itself: what a test
/// does not ask for does not happen.
pub(crate) struct Plan {
    pub(crate) announce: &'static str,
    pub(crate) spread: &'static str,
    pub(crate) handshake: &'static str,
    pub(crate) last_request: &'static str,
    pub(crate) http: &'static str,
    pub(crate) grpc: &'static str,
    pub(crate) websocket: &'static str,
    pub(crate) tcp: &'static str,
    pub(crate) farewell: &'static str,
    /// Further keys, as they are written.
    pub(crate) more: &'static str,
}

impl Plan {
    pub(crate) const CALM: Self = Self {
        announce: "0s",
        spread: "0s",
        handshake: "100ms",
        last_request: "100ms",
        http: "60s",
        grpc: "60s",
        websocket: "60s",
        tcp: "60s",
        farewell: "60s",
        more: "",
    };
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "[drain]\ngrace = \"10m\"\nannounce = \"{}\"\nspread = \"{}\"\nhandshake = \"{}\"\n\
             last_request = \"{}\"\nfarewell = \"{}\"\nreceipt = \"receipt.json\"\n\
             finish = {{ http = \"{}\", grpc = \"{}\", websocket = \"{}\", tcp = \"{}\" }}\n{}\n",
            self.announce,
            self.spread,
            self.handshake,
            self.last_request,
            self.farewell,
            self.http,
            self.grpc,
            self.websocket,
            self.tcp,
            self.more
        )
    }
}

/// In clear text, or encrypted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Via {
    Clear,
    Tls,
}

impl Via {
    pub(super) const BOTH: [Self; 2] = [Self::Clear, Self::Tls];
}

/// A proxy, and what is behind it. `web` and `secure` lead to the servers of
/// HTTP/1.1, gRPC and WebSocket by path, `multi` to the one of HTTP/2.
pub(super) struct Scene {
    pub(super) proxy: Proxy,
    pub(super) http1: Server,
    pub(super) http2: Server,
    pub(super) grpc: Server,
    pub(super) websocket: Server,
    pub(super) tcp: Server,
}

/// The sums of a receipt, over exchanges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) finished: u64,
    pub(crate) farewelled: u64,
    pub(crate) cut: u64,
}

impl Scene {
    pub(super) async fn start(plan: &Plan) -> Self {
        Self::start_with(plan, "").await
    }

    /// The same with further tables in the config.
    pub(super) async fn start_with(plan: &Plan, further: &str) -> Self {
        let http1 = Server::http1().await;
        let http2 = Server::http2().await;
        let grpc = Server::grpc().await;
        let websocket = Server::websocket().await;
        let tcp = Server::tcp().await;
        let routes = format!(
            r#"routes = [{{ path = "/{SERVICE}/", upstream = "grpc" }}, {{ path = "/chat", upstream = "websocket" }}, {{ upstream = "http1" }}]"#
        );
        let tls = r#"tls = { cert = "site.pem", key = "site.key" }"#;
        let mut config = format!(
            r#"
[listener.web]
listen = "127.0.0.1:0"
{routes}

[listener.secure]
listen = "127.0.0.1:0"
{tls}
{routes}

[listener.multi]
listen = "127.0.0.1:0"
routes = [{{ upstream = "http2" }}]

[listener.tcp]
listen = "127.0.0.1:0"
protocol = "tcp"
upstream = "tcp"

[listener.secure_tcp]
listen = "127.0.0.1:0"
{tls}
protocol = "tcp"
upstream = "tcp"

{plan}{further}"#
        );
        for (name, server, http) in [
            ("http1", &http1, None),
            ("http2", &http2, Some("h2")),
            ("grpc", &grpc, Some("h2")),
            ("websocket", &websocket, None),
            ("tcp", &tcp, None),
        ] {
            let http = http.map_or(String::new(), |http| format!("http = \"{http}\"\n"));
            let address = server.address;
            write!(
                config,
                "\n[upstream.{name}]\nservers = [\"{address}\"]\nconnect_timeout = \"20s\"\n{http}"
            )
            .expect("a string takes all");
        }
        Self {
            proxy: Proxy::start(&config).await,
            http1,
            http2,
            grpc,
            websocket,
            tcp,
        }
    }

    pub(super) fn address(&self, listener: &str) -> SocketAddr {
        self.proxy.address(listener)
    }

    /// A connection for HTTP, `protocol` agreed on where it is encrypted.
    pub(super) async fn wire(&self, via: Via, protocol: &str) -> BoxWire {
        match via {
            Via::Clear => connect(self.address("web")).await,
            Via::Tls => {
                let certificate = self.proxy.certificate();
                certificate.connect(self.address("secure"), protocol).await
            }
        }
    }

    pub(super) async fn http2(&self, via: Via) -> Http2 {
        Http2::over(self.wire(via, "h2").await).await
    }

    pub(super) async fn raw(&self, via: Via) -> Raw {
        Raw::over(self.wire(via, "http/1.1").await)
    }

    /// A tunnel.
    pub(super) async fn tunnel(&self, via: Via) -> Raw {
        Raw::over(match via {
            Via::Clear => connect(self.address("tcp")).await,
            Via::Tls => tls(self.proxy.certificate(), self.address("secure_tcp")).await,
        })
    }

    /// SIGTERM; returns when connections have been told to retire.
    pub(super) async fn drain(&self) {
        retire(&self.proxy).await;
    }

    /// Wait for a stage.
    pub(super) async fn stage(&self, stage: &str) -> Value {
        let line = self
            .proxy
            .until_event("stage", |line| line["stage"] == stage);
        line.await
    }

    /// Wait until the proxy has connections that are as `wanted`.
    pub(super) async fn until_connections(&self, what: &str, wanted: impl Fn(&[Value]) -> bool) {
        until_connections(&self.proxy, what, wanted).await;
    }

    /// Wait for the exit, which is good, and for the books, which balance.
    pub(super) async fn over(mut self) -> Sums {
        ended(&mut self.proxy).await
    }

    /// The same; its receipt.
    pub(super) async fn receipt(mut self) -> Value {
        ended(&mut self.proxy).await;
        kept(&self.proxy)
    }

    /// Wait until so many milliseconds have passed on the drain's own clock.
    pub(super) async fn elapse(&self, millis: f64) {
        elapse(&self.proxy, millis).await;
    }
}

/// Wait until so many milliseconds have passed on the clock of its drain.
pub(crate) async fn elapse(proxy: &Proxy, millis: f64) {
    let elapsed = async || {
        let progress = proxy.json("/v1/drain").await;
        progress["elapsed_ms"].as_f64().expect("a drain")
    };
    let until = elapsed().await + millis;
    let passing = async {
        while elapsed().await < until {
            sleep(LOOK).await;
        }
    };
    within("time to pass", passing).await;
}

/// SIGTERM; returns when connections have been told to retire on every
/// listener. The log tells of a stage when the first of them is there, and one
/// that waits for another is not drained at all yet.
pub(crate) async fn retire(proxy: &Proxy) {
    proxy.signal(Signal::TERM);
    let finish = proxy.until_event("stage", |line| line["stage"] == "finish");
    finish.await;
    let there = |listener: &Value| {
        let told = ["finish", "farewell", "cut"].map(Value::from);
        listener["phase"] != "draining" || told.contains(&listener["stage"])
    };
    let look = async {
        loop {
            let status = proxy.json("/v1/status").await;
            let mut listeners = status["listeners"].as_array().expect("a list").iter();
            if listeners.all(there) {
                return;
            }
            sleep(LOOK).await;
        }
    };
    within("retirement everywhere", look).await;
}

/// Wait until `proxy` has connections that are as `wanted`.
pub(crate) async fn until_connections(
    proxy: &Proxy,
    what: &str,
    wanted: impl Fn(&[Value]) -> bool,
) {
    let look = async {
        loop {
            let view = proxy.json("/v1/connections").await;
            if wanted(view["connections"].as_array().expect("a list")) {
                return;
            }
            sleep(LOOK).await;
        }
    };
    within(what, look).await;
}

/// The same for a proxy alone.
pub(crate) async fn ended(proxy: &mut Proxy) -> Sums {
    assert_eq!(proxy.exit().await.code(), Some(0));
    let log = proxy.log();
    let mut last = log
        .iter()
        .filter(|line| line["event"] == "SHUTDOWN_COMPLETED");
    let line = last.next().expect("SHUTDOWN_COMPLETED");
    assert_eq!(last.next(), None, "said once");
    let panicked = log
        .iter()
        .find(|line| line.to_string().contains("panicked"));
    assert_eq!(panicked, None);
    let number = |field: &str| line[field].as_u64().expect(field);
    let sums = Sums {
        finished: number("finished"),
        farewelled: number("farewelled"),
        cut: number("cut"),
    };
    assert_eq!(
        number("opened"),
        sums.finished + sums.farewelled + sums.cut,
        "{line}"
    );
    assert_eq!(number("lost"), sums.cut, "{line}");
    let unkept = |line: &Value| line["event"] == "receipt" && line["level"] == "ERROR";
    if let Some(line) = log.iter().find(|line| unkept(line)) {
        // Nothing can be written by a process that may not open a file.
        assert!(line["error"].to_string().contains("os error 24"), "{line}");
        return sums;
    }
    let config = std::fs::read_to_string(proxy.path("ebbtide.toml")).expect("the config");
    if config.contains("receipt =") {
        agrees(&kept(proxy), sums);
    }
    sums
}

/// The receipt and the log say the same.
fn agrees(receipt: &Value, sums: Sums) {
    let told = receipt["told"].as_array().expect("a list");
    // Half-open connections are told as well, and are no exchanges.
    let named = told.len() as u64 + receipt["told_omitted"].as_u64().expect("a number");
    assert!(named >= sums.farewelled + sums.cut, "{receipt:#}");
    let protocols = receipt["requests"].as_object().expect("books");
    for (field, sum) in [
        ("finished", sums.finished),
        ("farewelled", sums.farewelled),
        ("cut", sums.cut),
    ] {
        let books = protocols.values().map(|one| one[field].as_u64());
        let all: u64 = books.map(|count| count.expect(field)).sum();
        assert_eq!(all, sum, "{field}: {receipt:#}");
    }
}

/// The receipt that the process left behind.
pub(crate) fn kept(proxy: &Proxy) -> Value {
    let text = std::fs::read(proxy.path("receipt.json")).expect("the receipt");
    serde_json::from_slice(&text).expect("a receipt")
}

async fn tls(certificate: &Certificate, address: SocketAddr) -> BoxWire {
    let stream = within("a connection", TcpStream::connect(address)).await;
    let connector = TlsConnector::from(certificate.client(&[]));
    let name = ServerName::try_from("localhost").expect("a name");
    let shaken = connector.connect(name, stream.expect("connect"));
    Box::new(within("a handshake", shaken).await.expect("handshake"))
}

/// A gRPC call, as it is on the wire; its request is not at its end.
pub(crate) async fn call(client: &Http2, method: &str) -> (ResponseFuture, SendStream<Bytes>) {
    let request = Request::post(format!("http://localhost/{SERVICE}/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let (response, mut upload) = client.open(request, false).await.expect("a stream");
    upload.send_data(message(), false).expect("a message");
    (response, upload)
}

/// One message of a gRPC stream.
pub(super) fn message() -> Bytes {
    let line = Line {
        text: "line".to_owned(),
        number: 1_000,
    };
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(line.encoded_len().try_into().expect("a short message"));
    line.encode(&mut bytes).expect("room");
    bytes.freeze()
}
