//! Those who listen and do not read.

use super::{Event, Listener};
use crate::drain::scene::{Plan, ended};
use crate::support::clients::Http1;
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use http::Request;
use http_body_util::{BodyExt, Empty};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

/// The most that a listener's socket takes in before its reader reads.
const ROOM: usize = 4 * 1024;

/// Turns of a server's drain: each is news twice, far more than all sockets and
/// the ring hold.
const TURNS: usize = 2_000;

async fn start(server: &Server) -> Proxy {
    let (address, plan) = (server.address, Plan::CALM);
    Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
         [upstream.site]\nservers = [\"{address}\"]\n{plan}"
    ))
    .await
}

/// A listener with little room, whose snapshot has come.
async fn slow(proxy: &Proxy) -> Listener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(ROOM).expect("little room");
    socket.connect(&proxy.admin().into()).expect("connected");
    socket.set_nonblocking(true).expect("non-blocking");
    let stream = TcpStream::from_std(socket.into()).expect("a stream");
    let mut listener = Listener::over(Box::new(stream), &[]).await.expect("let in");
    listener.named("snapshot").await;
    listener
}

/// Have a server drained and taken back, time and again.
async fn turns(proxy: &Proxy, server: &Server) {
    let path = format!("/v1/upstreams/site/servers/{}/drain", server.address);
    let mut client = Http1::connect(proxy.admin()).await;
    for _ in 0..TURNS {
        for method in ["POST", "DELETE"] {
            let request = Request::builder().method(method).uri(&path);
            let request = request.header("host", "localhost");
            let body = Empty::new().boxed_unsync();
            let response = client.send(request.body(body).expect("a request")).await;
            let reply = Http1::whole(response.expect("an answer")).await;
            assert!(reply.expect("a body").status.is_success());
        }
    }
}

#[tokio::test]
async fn who_reads_slowly_is_told_what_was_lost_and_brought_up_to_date() {
    let server = Server::http1().await;
    let mut proxy = start(&server).await;
    let mut listener = slow(&proxy).await;
    turns(&proxy, &server).await;
    let mut next = None;
    let count = loop {
        let event = listener.next().await.expect("an event");
        if event.name == "lost" {
            break event.data["count"].as_u64().expect("a number");
        }
        if let Some(number) = event.number() {
            assert!(next.is_none_or(|next| next == number), "{event:?}");
            next = Some(number + 1);
        }
    };
    assert!(count > 0);
    let snapshot = listener.next().await.expect("an event");
    assert_eq!(snapshot.name, "snapshot", "all that there is to know");
    let after = listener.until("more news", |event| event.number().is_some());
    let after = after.await.number().expect("news");
    assert_eq!(after, next.expect("news before") + count);
    proxy.signal(Signal::TERM);
    let rest = listener.rest().await;
    assert_eq!(rest.last().expect("the last").name, "terminated");
    assert_eq!(ended(&mut proxy).await.cut, 0);
}

#[tokio::test]
async fn who_does_not_read_does_not_hold_the_exit() {
    let server = Server::http1().await;
    let mut proxy = start(&server).await;
    let deaf = slow(&proxy).await;
    turns(&proxy, &server).await;
    proxy.signal(Signal::TERM);
    assert_eq!(ended(&mut proxy).await.cut, 0);
    let waited = |line: &serde_json::Value| line.to_string().contains("left unfinished");
    assert!(!proxy.log().iter().any(waited), "{:?}", proxy.log());
    let told: Vec<Event> = deaf.until_cut().await;
    assert!(told.iter().all(|event| event.name != "terminated"));
}
