//! Load of every kind, for what nobody may notice.
//!
//! Servers, the listeners before them, and clients that ask until they are
//! told to stop. Whatever was sent must be answered, whatever is open stays
//! open. Where connections may be retired, a client that was told opens
//! another one; where they may not, being told is a failure.

use super::certificate;
use super::clients::{Grpc, Http1, Http2, Raw, WebSocket};
use super::proxy::Proxy;
use super::servers::{Line, Server};
use super::within;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

/// What must have been answered before the next thing happens.
const SOME: u64 = 8;

/// A server of each kind.
pub(crate) struct Servers {
    pub(crate) http: Server,
    tcp: Server,
    websocket: Server,
    grpc: Server,
}

impl Servers {
    pub(crate) async fn start() -> Self {
        Self {
            http: Server::http1().await,
            tcp: Server::tcp().await,
            websocket: Server::websocket().await,
            grpc: Server::grpc().await,
        }
    }

    /// Listeners `web`, `secure`, `tcp`, `chat`, `calls`, and their upstreams.
    pub(crate) fn tables(&self) -> String {
        let Self {
            http,
            tcp,
            websocket,
            grpc,
        } = self;
        format!(
            r#"
[listener.web]
listen = "127.0.0.1:0"
routes = [{{ upstream = "site" }}]

[listener.secure]
listen = "127.0.0.1:0"
tls = {{ cert = "site.pem", key = "site.key" }}
routes = [{{ upstream = "site" }}]

[listener.tcp]
listen = "127.0.0.1:0"
protocol = "tcp"
upstream = "echo"

[listener.chat]
listen = "127.0.0.1:0"
routes = [{{ upstream = "chat" }}]

[listener.calls]
listen = "127.0.0.1:0"
routes = [{{ upstream = "calls" }}]

[upstream.site]
servers = ["{}"]
health = {{ http = "/", every = "1s" }}

[upstream.echo]
servers = ["{}"]

[upstream.chat]
servers = ["{}"]

[upstream.calls]
servers = ["{}"]
http = "h2"
"#,
            http.address, tcp.address, websocket.address, grpc.address
        )
    }
}

/// Clients of every kind.
#[derive(Clone)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    /// Whether connections may be told to take no more requests.
    retired: bool,
}

impl Load {
    /// For where connections are not touched.
    pub(crate) fn untouched() -> Self {
        Self {
            stop: Arc::default(),
            served: Arc::default(),
            retired: false,
        }
    }

    /// For where connections may be retired.
    pub(crate) fn retired() -> Self {
        Self {
            retired: true,
            ..Self::untouched()
        }
    }

    /// A client of every kind.
    pub(crate) fn everything(&self, proxy: &Proxy) -> Vec<JoinHandle<()>> {
        let at = |listener| proxy.address(listener);
        vec![
            tokio::spawn(self.clone().keep_alive(at("web"))),
            tokio::spawn(self.clone().keep_alive(at("web"))),
            tokio::spawn(self.clone().anew(at("web"))),
            tokio::spawn(self.clone().anew_encrypted(at("secure"))),
            tokio::spawn(self.clone().streams(at("web"))),
            tokio::spawn(self.clone().tunnels(at("tcp"))),
            tokio::spawn(self.clone().one_websocket(at("chat"))),
            tokio::spawn(self.clone().one_call(at("calls"))),
        ]
    }

    /// Wait until some more was answered.
    pub(crate) async fn some_more(&self, tasks: &[JoinHandle<()>]) {
        let before = self.served.load(SeqCst);
        while self.served.load(SeqCst) < before + SOME && Self::is_well(tasks) {
            tokio::task::yield_now().await;
        }
    }

    /// Whether nobody has given up.
    pub(crate) fn is_well(tasks: &[JoinHandle<()>]) -> bool {
        !tasks.iter().any(JoinHandle::is_finished)
    }

    /// No more requests; everyone must have been served.
    pub(crate) async fn stop(&self, tasks: Vec<JoinHandle<()>>) {
        self.stop.store(true, SeqCst);
        for task in tasks {
            task.await.expect("everyone was served");
        }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(SeqCst)
    }

    fn served(&self) {
        self.served.fetch_add(1, SeqCst);
    }

    async fn keep_alive(self, address: SocketAddr) {
        while self.goes_on() {
            let mut client = Http1::connect(address).await;
            // One that was told to close has done so at the next request.
            while self.goes_on() {
                let reply = client.get("/").await.expect("an answer");
                assert_eq!((reply.status.as_u16(), reply.text()), (200, "ok"));
                self.served();
                if reply.header("connection") == Some("close") {
                    assert!(self.retired, "nobody was to be told");
                    break;
                }
            }
        }
    }

    async fn anew(self, address: SocketAddr) {
        while self.goes_on() {
            let mut client = Http1::connect(address).await;
            assert_eq!(client.get("/").await.expect("an answer").status, 200);
            self.served();
        }
    }

    /// New TLS connections, whatever the certificate is by now.
    async fn anew_encrypted(self, address: SocketAddr) {
        while self.goes_on() {
            let wire = certificate::connect_to_anyone(address, "http/1.1").await;
            let mut client = Http1::over(wire).await;
            assert_eq!(client.get("/").await.expect("an answer").status, 200);
            self.served();
        }
    }

    /// A stream that could be opened must be answered; GOAWAY only keeps new
    /// ones from being opened.
    async fn streams(self, address: SocketAddr) {
        while self.goes_on() {
            let client = Http2::connect(address).await;
            while self.goes_on()
                && let Ok((answer, _)) = client.open(Http2::request("/"), true).await
            {
                let answer = within("an answer", answer).await.expect("a head");
                assert_eq!(answer.status(), 200);
                Http2::whole(answer).await.expect("a body");
                self.served();
            }
            assert!(self.retired || !self.goes_on(), "nobody was to be told");
        }
    }

    async fn tunnels(self, address: SocketAddr) {
        while self.goes_on() {
            let mut client = Raw::connect(address).await;
            for _ in 0..5 {
                client.send("line\n").await.expect("sent");
                let line = client.read_until("\n").await.expect("a line");
                assert_eq!(line, "line\n");
            }
            client.finish().await.expect("FIN");
            self.served();
        }
    }

    /// One WebSocket, from beginning to end.
    async fn one_websocket(self, address: SocketAddr) {
        let mut client = WebSocket::connect(address, "/chat").await;
        while self.goes_on() {
            assert_eq!(client.echo("hello").await.expect("an echo"), "hello");
            self.served();
        }
        client.close().await.expect("a Close");
    }

    /// One gRPC stream, from beginning to end.
    async fn one_call(self, address: SocketAddr) {
        let client = Grpc::connect(address).await;
        let (say, said) = mpsc::channel(1);
        let line = Line {
            text: "hello".to_owned(),
            number: 0,
        };
        say.send(line.clone()).await.expect("there is room");
        let mut chat = client
            .chat(ReceiverStream::new(said))
            .await
            .expect("a stream");
        while self.goes_on() {
            let heard = within("a line", chat.message()).await.expect("no status");
            assert_eq!(heard.as_ref(), Some(&line));
            self.served();
            say.send(line.clone()).await.expect("it is open");
        }
        drop(say);
        let rest = async { while chat.message().await.expect("status 0").is_some() {} };
        within("the end", rest).await;
    }
}
