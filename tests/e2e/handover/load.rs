//! Handovers under load: nobody notices.

use super::{ends, house_with};
use crate::drain::scene::ended;
use crate::support::clients::{Http1, Http2, Raw, WebSocket};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use crate::support::within;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use tokio::task::JoinHandle;

/// How often a process takes over from the one before.
const HANDOVERS: usize = 50;

/// Clients that ask until they are told to stop. Whatever was sent must be
/// answered; a client that was told to leave opens another connection.
#[derive(Clone, Default)]
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
}

impl Load {
    /// A client of every kind.
    pub(super) fn everything(&self, proxy: &Proxy) -> Vec<JoinHandle<()>> {
        let (web, tcp) = (proxy.address("web"), proxy.address("tcp"));
        vec![
            self.keep_alive(web),
            self.keep_alive(web),
            self.anew(web),
            self.streams(web),
            self.tunnels(tcp),
        ]
    }

    pub(super) async fn stop(&self, tasks: Vec<JoinHandle<()>>) {
        self.stop.store(true, SeqCst);
        for task in tasks {
            task.await.expect("every request was served");
        }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(SeqCst)
    }

    fn keep_alive(&self, address: SocketAddr) -> JoinHandle<()> {
        let load = self.clone();
        tokio::spawn(async move {
            while load.goes_on() {
                let mut client = Http1::connect(address).await;
                // One that was told to close has done so at the next request.
                while load.goes_on() {
                    let reply = client.get("/").await.expect("an answer");
                    assert_eq!((reply.status.as_u16(), reply.text()), (200, "ok"));
                    load.served.fetch_add(1, SeqCst);
                    if reply.header("connection") == Some("close") {
                        break;
                    }
                }
            }
        })
    }

    fn anew(&self, address: SocketAddr) -> JoinHandle<()> {
        let load = self.clone();
        tokio::spawn(async move {
            while load.goes_on() {
                let mut client = Http1::connect(address).await;
                assert_eq!(client.get("/").await.expect("an answer").status, 200);
                load.served.fetch_add(1, SeqCst);
            }
        })
    }

    /// A stream that could be opened must be answered; GOAWAY only keeps new
    /// ones from being opened.
    fn streams(&self, address: SocketAddr) -> JoinHandle<()> {
        let load = self.clone();
        tokio::spawn(async move {
            while load.goes_on() {
                let client = Http2::connect(address).await;
                while load.goes_on()
                    && let Ok((answer, _)) = client.open(Http2::request("/"), true).await
                {
                    let answer = within("an answer", answer).await.expect("a head");
                    assert_eq!(answer.status(), 200);
                    Http2::whole(answer).await.expect("a body");
                    load.served.fetch_add(1, SeqCst);
                }
            }
        })
    }

    fn tunnels(&self, address: SocketAddr) -> JoinHandle<()> {
        let load = self.clone();
        tokio::spawn(async move {
            while load.goes_on() {
                let mut client = Raw::connect(address).await;
                for _ in 0..5 {
                    client.send("line\n").await.expect("sent");
                    let line = client.read_until("\n").await.expect("a line");
                    assert_eq!(line, "line\n");
                }
                client.finish().await.expect("FIN");
                load.served.fetch_add(1, SeqCst);
            }
        })
    }

    async fn some_more(&self, tasks: &[JoinHandle<()>]) {
        let before = self.served.load(SeqCst);
        while self.served.load(SeqCst) < before + 8 && !tasks.iter().any(JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn no_request_is_lost_however_often_a_new_process_takes_over() {
    let chat = Server::websocket().await;
    let mut house = house_with(&format!(
        "[listener.chat]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"chat\" }}]\n\n\
         [upstream.chat]\nservers = [\"{}\"]\n",
        chat.address
    ))
    .await;
    let chat = house.proxy.address("chat");
    let mut first = WebSocket::connect(chat, "/chat").await;
    first.echo("hello").await.expect("an echo");
    let load = Load::default();
    let tasks = load.everything(&house.proxy);
    let mut left = Vec::new();
    for round in 0..HANDOVERS {
        left.push(house.next(round).await);
        load.some_more(&tasks).await;
        if round == 10 {
            first.echo("still here").await.expect("ten processes later");
        }
    }
    first
        .echo("still here")
        .await
        .expect("fifty processes later");
    first.close().await.expect("a Close");
    load.stop(tasks).await;
    for mut proxy in left {
        ended(&mut proxy).await;
    }
    ends(house.proxy).await;
}
