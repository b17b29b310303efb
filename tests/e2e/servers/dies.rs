//! A server that dies with a gRPC stream open: its client is told in words of
//! gRPC, and not of HTTP/2.

use super::{config, plan};
use crate::drain::scene::{call, ended};
use crate::support::clients::Http2;
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use h2::Reason;
use http::Response;
use socket2::SockRef;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// How it ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Fin,
    TcpReset,
    StreamReset,
}

/// A server that begins to answer each call, and ends so when it is told to.
async fn dying(end: End) -> (SocketAddr, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let go = Arc::new(Notify::new());
    let told = Arc::clone(&go);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, end, Arc::clone(&told)));
        }
    });
    (address, go)
}

async fn serve(stream: TcpStream, end: End, go: Arc<Notify>) {
    if matches!(end, End::TcpReset) {
        let linger = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        linger.expect("SO_LINGER");
    }
    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
    let Some(Ok((_, mut respond))) = connection.accept().await else {
        return;
    };
    let head = Response::builder().header("content-type", "application/grpc");
    let head = head.body(()).expect("a response");
    let mut sink = respond.send_response(head, false).expect("sent");
    let told = async {
        go.notified().await;
        if matches!(end, End::StreamReset) {
            sink.send_reset(Reason::INTERNAL_ERROR);
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = told => {}
        _ = connection.accept() => {}
    }
}

async fn told(end: End) -> Result<http::HeaderMap, h2::Error> {
    let (address, go) = dying(end).await;
    // Only its address is asked for.
    let stand_in = Server::grpc().await;
    let text = config(&[&stand_in], "http = \"h2\"", &plan("60s"));
    let text = text.replace(&stand_in.address.to_string(), &address.to_string());
    let mut proxy = Proxy::start(&text).await;
    let client = Http2::connect(proxy.address("web")).await;
    let (response, _upload) = call(&client, "Watch").await;
    let response = within("a head", response).await.expect("a head");
    go.notify_one();
    let whole = within("the end", Http2::whole(response)).await;
    drop(client);
    proxy.signal(Signal::TERM);
    ended(&mut proxy).await;
    whole.map(|reply| reply.trailers.expect("trailers"))
}

#[tokio::test]
async fn its_client_gets_status_14() {
    for end in [End::Fin, End::TcpReset] {
        let trailers = told(end).await.expect("an end in order");
        assert_eq!(trailers["grpc-status"], "14", "{end:?}");
        let message = trailers["grpc-message"].to_str().expect("text");
        assert!(message.contains("server was lost"), "{message}");
    }
}

#[tokio::test]
async fn a_reset_by_the_server_itself_is_passed_on() {
    let error = told(End::StreamReset).await.expect_err("a reset");
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
}
