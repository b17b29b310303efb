//! An application over HTTP/1.1, on hyper: a GET is answered `ok`, a POST by its
//! body, both after a moment's thought.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// Answer whoever comes, each after up to `thought`.
pub(crate) async fn serve(listener: TcpListener, thought: Duration) {
    while let Ok((stream, _)) = listener.accept().await {
        // An option that could not be set costs speed, nothing else.
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            // How it ends is for its client to judge.
            let _ = http1::Builder::new()
                .serve_connection(
                    TokioIo::new(stream),
                    service_fn(move |request| answer(request, thought)),
                )
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    thought: Duration,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let get = request.method() == Method::GET;
    let body = request.into_body().collect().await?.to_bytes();
    if !thought.is_zero() {
        sleep(thought.mul_f64(fastrand::f64())).await;
    }
    let answer = if get { Bytes::from_static(b"ok") } else { body };
    Ok(Response::new(Full::new(answer)))
}
