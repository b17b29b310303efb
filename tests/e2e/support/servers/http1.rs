//! HTTP/1.1, by hyper.

use super::super::BoxWire;
use super::super::seen::Desk;
use super::answer::answer;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;

pub(super) async fn connection(stream: BoxWire, desk: Desk) {
    let service = service_fn(|request| {
        let desk = desk.clone();
        async { Ok::<_, Infallible>(answer(request, desk).await) }
    });
    // How the connection ended shows in what became of its requests.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
