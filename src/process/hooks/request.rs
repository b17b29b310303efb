//! An HTTP request as a hook.
//!
//! Invariant: any 2xx is good, and nothing but the status is waited for.
//!
//! Deliberately absent: TLS, redirects, and connections that are kept.

use super::Failure;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, Uri};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A request as the config has it.
pub(super) struct Wanted<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a Uri,
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
    pub(super) body: Option<&'a str>,
}

/// Send it, with the news unless it has a body of its own.
pub(super) async fn request(wanted: &Wanted<'_>, news: Bytes) -> Result<(), Failure> {
    let url = wanted.url;
    let authority = url
        .authority()
        .ok_or_else(|| Failure::Url(url.to_string()))?;
    let port = authority.port_u16().unwrap_or(80);
    let host = authority.host();
    // An IPv6 address stands in brackets there.
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    let socket = TcpStream::connect((host, port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let mut request = http::Request::builder()
        .method(wanted.method)
        .uri(url.path_and_query().map_or("/", |target| target.as_str()))
        .header(HOST, authority.as_str())
        .body(Full::new(body(wanted, news)))
        .map_err(|error| Failure::Url(error.to_string()))?;
    let fields = request.headers_mut();
    if wanted.body.is_none() && takes_body(wanted.method) {
        fields.insert(CONTENT_TYPE, JSON);
    }
    for (name, value) in wanted.headers {
        fields.insert(name, value.clone());
    }
    let answering = async move {
        // With its status read and the sender gone, the connection is done:
        // a server that would keep it alive is not waited for.
        let answer = sender.send_request(request).await;
        answer.map(|answer| answer.status())
    };
    let (status, _) = tokio::join!(answering, connection);
    match status? {
        status if status.is_success() => Ok(()),
        status => Err(Failure::Status(status)),
    }
}

/// What is sent for other methods has no meaning (RFC 9110, section 9.3).
fn takes_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

fn body(wanted: &Wanted<'_>, news: Bytes) -> Bytes {
    match wanted.body {
        _ if !takes_body(wanted.method) => Bytes::new(),
        Some(own) => Bytes::copy_from_slice(own.as_bytes()),
        None => news,
    }
}
