//! The demo's clients and servers against each other, without a proxy: what
//! they report of a drain is worth what they report of plain traffic.
//!
//! Each client runs until it has completed a few operations, then its permit
//! is withdrawn, as by a balancer. The other half are the ways to be told and
//! to lose, each by a peer that does just that.

use super::account::{Account, Sums};
use super::backends::{self, COUNT, COUNTED, ECHO, STREAMED_CHUNK, STREAMED_CHUNKS, WATCH};
use super::clients::{self, Call, Permit, Question, Target};
use crate::drain::Protocol;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(1);

/// Run a client until `enough`, withdraw its permit, and wait for its end if
/// it is one that ends.
async fn run<F>(
    client: impl FnOnce(Arc<Account>, Permit) -> F,
    enough: fn(Sums) -> bool,
) -> Arc<Account>
where
    F: Future<Output = ()> + Send + 'static,
{
    let account = Account::new("test", Protocol::Http1);
    let (publish, ready) = watch::channel(true);
    let client = tokio::spawn(client(Arc::clone(&account), Permit::new(ready)));
    let reached = async {
        while !enough(account.sums()) {
            sleep(PAUSE).await;
        }
    };
    timeout(LIMIT, reached)
        .await
        .expect("the client got nowhere");
    publish.send_replace(false);
    // Nothing is in flight; a kept connection may stay open for ever.
    let settled = async {
        while account.sums().in_flight() > 0 {
            sleep(PAUSE).await;
        }
    };
    timeout(LIMIT, settled)
        .await
        .expect("something stayed in flight");
    client.abort();
    account
}

fn three(sums: Sums) -> bool {
    sums.completed >= 3
}

fn nothing_lost(account: &Account) {
    assert_eq!(account.losses(), Vec::<String>::new());
    assert_eq!(account.told().len(), 0);
}

#[tokio::test]
async fn http1_completes() {
    let target = Target::clear(backends::start().await.expect("servers").http);
    let quick = Question::new("/", *b"ok\n");
    let keep = |account, permit| clients::keep_alive(account, target.clone(), quick, PAUSE, permit);
    nothing_lost(&*run(keep, three).await);
    let streamed = Question::new("/stream", STREAMED_CHUNK.repeat(STREAMED_CHUNKS));
    let one = |account, _| clients::one_request(account, target.clone(), streamed);
    nothing_lost(&*run(one, |sums| sums.completed == 1).await);
    let slow = Question::new("/slow/20", *b"slow\n");
    let one = |account, _| clients::one_request(account, target.clone(), slow);
    nothing_lost(&*run(one, |sums| sums.completed == 1).await);
}

#[tokio::test]
async fn a_wrong_answer_is_lost() {
    let target = Target::clear(backends::start().await.expect("servers").http);
    let wrong = Question::new("/", *b"something else\n");
    let account = run(
        |account, _| clients::one_request(account, target.clone(), wrong),
        |sums| sums.lost == 1,
    )
    .await;
    assert_eq!(account.losses(), ["200 with 3 bytes, not 15"]);
    let missing = Question::new("/missing", *b"ok\n");
    let account = run(
        |account, _| clients::one_request(account, target, missing),
        |sums| sums.lost == 1,
    )
    .await;
    assert_eq!(account.losses(), ["status 404 Not Found"]);
}

#[tokio::test]
async fn grpc_completes() {
    let target = Target::clear(backends::start().await.expect("servers").grpc);
    for (method, messages) in [(ECHO, 1), (COUNT, COUNTED)] {
        let call = Call { method, messages };
        let client = |account, permit| clients::calls(account, target.clone(), call, PAUSE, permit);
        nothing_lost(&*run(client, three).await);
    }
    let unknown = Call {
        method: "/demo.Echo/Unknown",
        messages: 1,
    };
    let client = |account, permit| clients::calls(account, target.clone(), unknown, PAUSE, permit);
    let account = run(client, |sums| sums.lost > 0).await;
    assert_eq!(account.losses()[0], "grpc-status 12 ");
}

#[tokio::test]
async fn websocket_and_tcp_complete_when_they_end_themselves() {
    let servers = backends::start().await.expect("servers");
    let (chat, db) = (Target::clear(servers.websocket), Target::clear(servers.tcp));
    let client = |account, permit| clients::chat(account, chat, PAUSE, permit);
    let account = run(client, |sums| sums.begun == 1).await;
    nothing_lost(&account);
    assert_eq!(account.sums().completed, 1);
    let client = |account, permit| clients::echo(account, db, PAUSE, permit);
    let account = run(client, |sums| sums.begun == 1).await;
    nothing_lost(&account);
    assert_eq!(account.sums().completed, 1);
}

/// A server that reads a little, says `last`, and ends in order.
async fn says(last: &'static [u8]) -> SocketAddr {
    peer(move |mut stream| async move {
        let mut some = [0; 16];
        let _ = stream.read(&mut some).await;
        let _ = stream.write_all(last).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

async fn peer<F>(connection: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream));
        }
    });
    address
}

fn told(account: &Account) -> Vec<String> {
    assert_eq!(account.losses(), Vec::<String>::new());
    account.told().into_keys().collect()
}

#[tokio::test]
async fn a_503_with_retry_after_is_told_and_one_without_is_lost() {
    let question = Question::new("/", *b"ok\n");
    let target =
        Target::clear(says(b"HTTP/1.1 503 x\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n").await);
    let client = |account, _| clients::one_request(account, target, question.clone());
    let account = run(client, |sums| sums.told == 1).await;
    assert_eq!(told(&account), ["503 Service Unavailable, Retry-After: 1"]);

    let target = Target::clear(says(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n").await);
    let client = |account, _| clients::one_request(account, target, question.clone());
    let account = run(client, |sums| sums.lost == 1).await;
    assert_eq!(account.losses(), ["status 503 Service Unavailable"]);

    let target = Target::clear(says(b"HTTP/1.1 200 x\r\nContent-Length: 3\r\n\r\no").await);
    let client = |account, _| clients::one_request(account, target, question);
    assert_eq!(run(client, |sums| sums.lost == 1).await.sums().lost, 1);
}

#[tokio::test]
async fn an_ordered_end_tells_a_tcp_client_and_a_reset_does_not() {
    let target = Target::clear(says(b"").await);
    let client = |account, _: Permit| {
        let (_, never) = watch::channel(true);
        clients::echo(account, target, PAUSE, Permit::new(never).late())
    };
    let account = run(client, |sums| sums.told == 1).await;
    assert_eq!(told(&account), ["end of stream (FIN), in order"]);

    // Closed with bytes unread, a socket sends RST.
    let reset = peer(|stream| async move { drop(stream.readable().await) }).await;
    let client = |account, permit| clients::echo(account, Target::clear(reset), PAUSE, permit);
    assert_eq!(run(client, |sums| sums.lost == 1).await.sums().told, 0);
}

#[tokio::test]
async fn close_1001_tells_a_websocket_client_and_an_eof_does_not() {
    use tokio_tungstenite::accept_async;
    use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
    let away = peer(|stream| async move {
        let mut socket = accept_async(stream).await.expect("handshake");
        let code = CloseCode::Away;
        let _ = socket
            .close(Some(CloseFrame {
                code,
                reason: "draining".into(),
            }))
            .await;
        while let Some(Ok(_)) = futures_util::StreamExt::next(&mut socket).await {}
    })
    .await;
    let client =
        |account, permit: Permit| clients::chat(account, Target::clear(away), PAUSE, permit.late());
    let account = run(client, |sums| sums.told == 1).await;
    assert_eq!(told(&account), ["Close 1001 going away, \"draining\""]);

    let silent = peer(|stream| async move { drop(accept_async(stream).await) }).await;
    let client = |account, permit: Permit| {
        clients::chat(account, Target::clear(silent), PAUSE, permit.late())
    };
    assert_eq!(run(client, |sums| sums.lost == 1).await.sums().told, 0);
}

#[tokio::test]
async fn status_14_that_names_the_drain_tells_a_grpc_client() {
    let farewell = peer(|stream| async move {
        let mut connection = h2::server::handshake(stream).await.expect("handshake");
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut stream = respond
                .send_response(http::Response::new(()), false)
                .expect("head");
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", "14".parse().expect("value"));
            trailers.insert(
                "grpc-message",
                "the proxy is draining".parse().expect("value"),
            );
            stream.send_trailers(trailers).expect("trailers");
        }
    })
    .await;
    let client = |account, _| clients::watch(account, Target::clear(farewell), WATCH);
    let account = run(client, |sums| sums.told == 1).await;
    assert_eq!(
        told(&account),
        ["grpc-status 14 UNAVAILABLE, \"the proxy is draining\""]
    );

    let reset = peer(|stream| async move { drop(h2::server::handshake(stream).await) }).await;
    let client = |account, _| clients::watch(account, Target::clear(reset), WATCH);
    assert_eq!(run(client, |sums| sums.lost == 1).await.sums().told, 0);
}
