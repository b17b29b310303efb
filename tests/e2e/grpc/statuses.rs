//! Every way in which a server can fail a call, in words of gRPC.

use crate::support::clients::{Http2, Reply};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use crate::support::within;
use bytes::Bytes;
use h2::Reason;
use http::{Request, Response};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A server that resets streams, for the reason in the path; `/late/N` once it
/// has begun to answer.
async fn resetting(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut connection = h2::server::handshake(stream).await.expect("handshake");
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let path = request.uri().path().to_owned();
                let (early, reason) = path.rsplit_once('/').expect("a reason");
                let reason = Reason::from(reason.parse::<u32>().expect("a number"));
                if early == "/late" {
                    let response = Response::builder().header("content-type", "application/grpc");
                    let response = response.body(()).expect("a response");
                    let mut stream = respond.send_response(response, false).expect("sent");
                    stream
                        .send_data(Bytes::from_static(&[0; 5]), false)
                        .expect("room");
                    // It must be out before the reset, or it is thrown away.
                    tokio::spawn(async move {
                        request.into_body().data().await;
                        stream.send_reset(reason);
                    });
                } else {
                    respond.send_reset(reason);
                }
            }
        });
    }
}

async fn proxy(server: SocketAddr) -> Proxy {
    Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\", retries = 0, set_response_headers = {{ x-gen = \"1\" }} }}]\n\n\
         [upstream.site]\nservers = [\"{server}\"]\nhttp = \"h2\"\n"
    ))
    .await
}

fn call(path: &str) -> Request<()> {
    Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request")
}

async fn ask(client: &Http2, path: &str) -> Result<Reply, h2::Error> {
    let (response, mut upload) = client.open(call(path), false).await?;
    // Refused where the answer was quicker.
    let _ = upload.send_data(Bytes::from_static(&[0; 5]), true);
    Http2::whole(within("a head", response).await?).await
}

#[tokio::test]
async fn an_answer_that_is_no_grpc_has_the_status_that_http_s_stands_for() {
    let server = Server::http2().await;
    let proxy = proxy(server.address).await;
    let client = Http2::connect(proxy.address("web")).await;
    for (http, grpc) in [
        (400, "13"),
        (401, "16"),
        (403, "7"),
        (404, "12"),
        (429, "14"),
        (502, "14"),
        (503, "14"),
        (504, "14"),
        (301, "2"),
        (500, "2"),
    ] {
        let reply = ask(&client, &format!("/status/{http}")).await;
        let reply = reply.expect("in order");
        assert_eq!(reply.status, 200, "{http}");
        assert_eq!(reply.header("content-type"), Some("application/grpc"));
        assert_eq!(reply.header("grpc-status"), Some(grpc), "{http}");
        assert!(reply.body.is_empty() && reply.trailers.is_none());
        let message = reply.header("grpc-message").expect("a message");
        assert!(message.contains(&http.to_string()), "{message}");
        assert_eq!(reply.header("x-gen"), Some("1"), "as on any answer");
    }
    let plain = client.get("/status/503").await.expect("a reply");
    assert_eq!(
        (plain.status.as_u16(), plain.header("grpc-status")),
        (503, None)
    );
    let page = proxy.get("/metrics").await;
    let counted = page.text().lines().any(|line| {
        line.starts_with("ebbtide_requests_total")
            && line.contains("protocol=\"grpc\"")
            && line.contains("code=\"502\"")
    });
    assert!(counted, "counted as what the server said");
}

#[tokio::test]
async fn a_reset_before_the_answer_is_a_status_and_after_it_a_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(resetting(listener));
    let proxy = proxy(address).await;
    let client = Http2::connect(proxy.address("web")).await;
    for (reason, grpc) in [
        (Reason::NO_ERROR, "13"),
        (Reason::PROTOCOL_ERROR, "13"),
        (Reason::INTERNAL_ERROR, "13"),
        (Reason::CANCEL, "1"),
        (Reason::ENHANCE_YOUR_CALM, "8"),
        (Reason::INADEQUATE_SECURITY, "7"),
    ] {
        let code = u32::from(reason);
        let reply = ask(&client, &format!("/early/{code}")).await;
        let reply = reply.expect("in order");
        assert_eq!(reply.header("grpc-status"), Some(grpc), "{reason:?}");
        let call = call(&format!("/late/{code}"));
        let (response, mut upload) = client.open(call, false).await.expect("a stream");
        let response = within("a head", response).await.expect("a head");
        upload
            .send_data(Bytes::from_static(&[0; 5]), false)
            .expect("room");
        let error = Http2::whole(response).await.expect_err("cut short");
        let passed = error.reason().expect("a reason");
        // A reset that gives no error is one all the same.
        let wanted = if reason == Reason::NO_ERROR {
            Reason::INTERNAL_ERROR
        } else {
            reason
        };
        assert_eq!(passed, wanted);
    }
    // It may be tried again: that no connection was at fault is known.
    let reply = ask(
        &client,
        &format!("/early/{}", u32::from(Reason::REFUSED_STREAM)),
    )
    .await;
    assert_eq!(reply.expect("in order").header("grpc-status"), Some("14"));
    server.abort();
}
