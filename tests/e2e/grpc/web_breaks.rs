//! gRPC-Web whose server falls silent within a message, or dies between two.

use super::web_client::{Answer, Form};
use crate::support::clients::{Http1, Http2};
use crate::support::proxy::Proxy;
use crate::support::within;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use std::future::pending;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// A whole message, `hi`.
const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";

/// A server that begins to answer with so many bytes of a message, and does
/// nothing from then on.
async fn begins(length: usize) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("an address");
    let serving = async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut connection = h2::server::handshake(stream).await.expect("handshake");
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let response = Response::builder().header("content-type", "application/grpc");
                    let response = response.body(()).expect("a response");
                    let mut stream = respond.send_response(response, false).expect("sent");
                    let data = Bytes::from_static(&MESSAGE[..length]);
                    stream.send_data(data, false).expect("room");
                    tokio::spawn(async move {
                        let _open = stream;
                        pending::<()>().await;
                    });
                }
            });
        }
    };
    (address, tokio::spawn(serving))
}

async fn proxy(server: SocketAddr) -> Proxy {
    Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\ngrpc_web = true\n\
         routes = [{{ upstream = \"site\" }}]\n\n\
         [upstream.site]\nservers = [\"{server}\"]\nhttp = \"h2\"\n"
    ))
    .await
}

fn call(uri: &str, form: Form, timeout: &str) -> http::request::Builder {
    Request::post(uri)
        .header("host", "localhost")
        .header("content-type", form.kind())
        .header("grpc-timeout", timeout)
}

#[tokio::test]
async fn within_a_message_there_is_no_last_frame_and_no_end_in_order() {
    let (server, serving) = begins(MESSAGE.len() - 1).await;
    let proxy = proxy(server).await;
    for form in Form::BOTH {
        let mut http1 = Http1::connect(proxy.address("web")).await;
        let request = call("/x.Y/Z", form, "200m").body(Empty::new().boxed_unsync());
        let response = http1.send(request.expect("a request")).await;
        let whole = Http1::whole(response.expect("a head")).await;
        whole.expect_err("never made to look complete");
        let http2 = Http2::connect(proxy.address("web")).await;
        let request = call("http://localhost/x.Y/Z", form, "200m").body(());
        let opened = http2.open(request.expect("a request"), true).await;
        let (response, _) = opened.expect("a stream");
        let response = within("a head", response).await.expect("a head");
        let error = Http2::whole(response).await.expect_err("cut short");
        assert!(error.is_reset(), "{error:?}");
    }
    serving.abort();
}

#[tokio::test]
async fn a_server_that_dies_between_messages_is_told_of_in_the_last_frame() {
    for form in Form::BOTH {
        let (server, serving) = begins(MESSAGE.len()).await;
        let proxy = proxy(server).await;
        let mut http1 = Http1::connect(proxy.address("web")).await;
        let request = call("/x.Y/Z", form, "20S").body(Empty::new().boxed_unsync());
        let first = http1.send(request.expect("a request")).await;
        let mut first = first.expect("a head");
        let http2 = Http2::connect(proxy.address("web")).await;
        let request = call("http://localhost/x.Y/Z", form, "20S").body(());
        let opened = http2.open(request.expect("a request"), true).await;
        let (response, _) = opened.expect("a stream");
        let mut second = within("a head", response).await.expect("a head");
        // The message is there before its server is gone.
        let begun = within("a message", first.body_mut().frame()).await;
        assert!(begun.expect("a frame").is_ok());
        let begun = within("a message", second.body_mut().data()).await;
        assert!(begun.expect("data").is_ok());
        serving.abort();
        for reply in [
            Http1::whole(first).await.expect("in order"),
            Http2::whole(second).await.expect("in order"),
        ] {
            let answer = Answer::of(&reply, form);
            assert_eq!((answer.status(), answer.messages.len()), ("14", 0));
            assert!(answer.trailer("grpc-message").is_some());
        }
    }
}
