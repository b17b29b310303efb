//! gRPC by tonic, through the proxy to tonic.

use super::field::config;
use crate::support::clients::Grpc;
use crate::support::proxy::Proxy;
use crate::support::servers::{Line, SERVICE, Server};
use crate::support::within;
use std::time::Duration;
use tonic::{Code, Streaming};

struct Calls {
    server: Server,
    proxy: Proxy,
}

impl Calls {
    async fn new() -> Self {
        let server = Server::grpc().await;
        let text = config("", &[("grpc", server.address, "http = \"h2\"")]);
        // tonic says its peer's address as the authority.
        let text = text.replace("host = \"grpc.test\"", &format!("path = \"/{SERVICE}/\""));
        Self {
            server,
            proxy: Proxy::start(&text).await,
        }
    }

    /// In clear text and over TLS.
    async fn clients(&self) -> [Grpc; 2] {
        let tls = self.proxy.address("tls");
        [
            Grpc::connect(self.proxy.address("clear")).await,
            Grpc::connect_tls(tls, self.proxy.certificate()).await,
        ]
    }
}

fn line(text: &str, number: u32) -> Line {
    Line {
        text: text.to_owned(),
        number,
    }
}

async fn next(lines: &mut Streaming<Line>) -> Option<Line> {
    let next = within("a line", lines.message()).await;
    next.expect("no status but 0")
}

#[tokio::test]
async fn all_four_kinds_of_call_pass() {
    let calls = Calls::new().await;
    for client in calls.clients().await {
        assert_eq!(client.echo("hello").await.expect("a line").text, "hello");
        let mut counted = client.count(100).await.expect("a stream");
        for number in 0..100 {
            assert_eq!(next(&mut counted).await.expect("a line").number, number);
        }
        assert_eq!(next(&mut counted).await, None);
        let sent = || tokio_stream::iter([line("a", 0), line("b", 0), line("c", 0)]);
        let joined = client.collect(sent()).await.expect("a line");
        assert_eq!(joined, line("abc", 3));
        let mut chat = client.chat(sent()).await.expect("a stream");
        for text in ["a", "b", "c"] {
            assert_eq!(next(&mut chat).await, Some(line(text, 0)));
        }
        assert_eq!(next(&mut chat).await, None);
    }
    calls
        .server
        .desk
        .until("eight ends", |seen| seen.finished == 8)
        .await;
}

#[tokio::test]
async fn a_conversation_goes_to_and_fro() {
    let calls = Calls::new().await;
    for client in calls.clients().await {
        let (say, lines) = tokio::sync::mpsc::channel(1);
        let lines = tokio_stream::wrappers::ReceiverStream::new(lines);
        // The server's head may come with its first line only.
        let chat = tokio::spawn(async move { client.chat(lines).await });
        say.send(line("first", 0)).await.expect("it is taken");
        let mut chat = chat.await.expect("the task").expect("a stream");
        assert_eq!(next(&mut chat).await, Some(line("first", 0)));
        for number in 1..50 {
            say.send(line("more", number)).await.expect("it is taken");
            assert_eq!(next(&mut chat).await, Some(line("more", number)));
        }
        drop(say);
        assert_eq!(next(&mut chat).await, None);
    }
}

#[tokio::test]
async fn a_server_s_status_arrives_with_its_message() {
    let calls = Calls::new().await;
    for client in calls.clients().await {
        let status = client.call("Nothing", "x", None).await;
        let status = status.expect_err("no such method");
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unimplemented, "Nothing")
        );
        assert_eq!(client.echo("again").await.expect("a line").text, "again");
    }
}

#[tokio::test]
async fn a_deadline_ends_the_call_at_the_server_too() {
    let calls = Calls::new().await;
    for (number, client) in (1..).zip(calls.clients().await) {
        let deadline = Some(Duration::from_millis(100));
        let status = client.call("Hold", "x", deadline).await;
        let status = status.expect_err("it is held");
        let late = [Code::DeadlineExceeded, Code::Cancelled];
        assert!(late.contains(&status.code()), "{status:?}");
        calls
            .server
            .desk
            .until("the call's end", |seen| seen.cancelled == number)
            .await;
        assert_eq!(client.echo("again").await.expect("a line").text, "again");
    }
}

#[tokio::test]
async fn a_stream_that_its_client_drops_ends_at_the_server() {
    let calls = Calls::new().await;
    for (number, client) in (1..).zip(calls.clients().await) {
        let mut endless = client.watch().await.expect("a stream");
        assert_eq!(next(&mut endless).await.expect("a line").number, 0);
        drop(endless);
        calls
            .server
            .desk
            .until("its end", |seen| seen.cancelled == number)
            .await;
    }
}

#[tokio::test]
async fn no_route_is_unimplemented_and_no_server_unavailable() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = gone.local_addr().expect("address");
    drop(gone);
    let text = config("", &[("grpc", address, "http = \"h2\"")]);
    let proxy = Proxy::start(&text).await;
    let client = Grpc::connect(proxy.address("clear")).await;
    let status = client.echo("x").await.expect_err("no route");
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");

    let text = text.replace("host = \"grpc.test\"", "path = \"/\"");
    let proxy = Proxy::start(&text).await;
    let client = Grpc::connect(proxy.address("clear")).await;
    let status = client.echo("x").await.expect_err("no server");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}
