//! A server that breaks off whatever is asked of it, in one of several ways.

use socket2::SockRef;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it says before it resets the connection.
const PARTS: [&str; 4] = [
    "",
    "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n",
    "no HTTP at all\r\n\r\n",
];

pub(super) struct Breaker {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Breaker {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let accepting = tokio::spawn(async move {
            for part in PARTS.iter().cycle() {
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(break_off(stream, part));
                }
            }
        });
        Self { address, accepting }
    }

    /// Listeners that lead to it: HTTP to HTTP/1.1, HTTP to HTTP/2, bytes.
    pub(super) fn config(&self) -> String {
        let address = self.address;
        let mut config = String::new();
        for (name, http) in [("breaks", "h1"), ("breaks_h2", "h2")] {
            write!(
                config,
                "\n[listener.{name}]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"{name}\" }}]\n\
                 [upstream.{name}]\nservers = [\"{address}\"]\nhttp = \"{http}\"\n"
            )
            .expect("a string takes all");
        }
        config
            + "\n[listener.breaks_tcp]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n\
               upstream = \"breaks\"\n"
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn break_off(mut stream: TcpStream, part: &str) {
    let mut asked = [0; 1024];
    let _ = stream.read(&mut asked).await;
    let _ = stream.write_all(part.as_bytes()).await;
    // Closing with this set is a reset.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}
