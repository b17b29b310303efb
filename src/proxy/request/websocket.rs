//! The opening handshake of a WebSocket, in the words of either version.
//!
//! Within the proxy it has one shape, that of HTTP/1.1 (RFC 6455, section 4):
//! GET, `Upgrade` and a key, answered by 101 and what the key becomes. An end
//! that speaks HTTP/2 is translated where it is met: the client's extended
//! CONNECT on its way in ([`ask`], [`accepted`]), the server's on its way out
//! ([`over_http2`]), as RFC 8441, section 5, has it.
//!
//! Invariant: a client is told of success only if its server agreed in full:
//! where the key is ours, so is the check of what it became. Subprotocol and
//! extensions are the peers' to negotiate and pass as they are.
//!
//! Deliberately absent: frames. What was agreed on goes to the connection,
//! which runs the tunnel.

use super::forward::{Carrier, Failed, Forwarded, copy, unprocessed};
use super::{head, headers, interim};
use crate::proxy::body::Body;
use crate::proxy::error::{Error, Result};
use crate::proxy::registry::RequestGuard;
use crate::proxy::upstream::Http2Lease;
use bytes::Bytes;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use http::request::Parts;
use http::{Method, Request, StatusCode, response};
use hyper::upgrade::OnUpgrade;
use std::pin::Pin;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// A tunnel that was agreed on and is to be run.
pub(in crate::proxy) struct Agreed<C> {
    pub(in crate::proxy) exchange: RequestGuard,
    pub(in crate::proxy) client: C,
    pub(in crate::proxy) server: ServerEnd,
}

/// How the connection of an HTTP/2 stream runs a tunnel over it.
pub(in crate::proxy) type Run = fn(Agreed<StreamEnd>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A peer's end of a tunnel that is an HTTP/2 stream.
pub(in crate::proxy) struct StreamEnd {
    pub(in crate::proxy) source: RecvStream,
    pub(in crate::proxy) sink: SendStream<Bytes>,
}

/// The server's end of a tunnel.
pub(in crate::proxy) enum ServerEnd {
    /// Its connection, once the engine has let go of it.
    Http1(OnUpgrade),
    /// A stream, and the slot that it has until the tunnel's end.
    Http2(Box<(StreamEnd, Http2Lease)>),
}

impl ServerEnd {
    /// What a server gave along with its 101.
    pub(super) fn of(head: &mut response::Parts, carrier: Carrier) -> Option<Self> {
        match carrier {
            Carrier::WebSocket(end) => Some(Self::Http2(end)),
            _ => head.extensions.remove().map(Self::Http1),
        }
    }
}

/// The key that was made for a client which has none.
pub(super) struct Key(HeaderValue);

/// Make a client's extended CONNECT a handshake; its head has been prepared
/// for the server otherwise.
pub(super) fn ask(head: &mut Parts) -> Result<Key> {
    if head.headers.contains_key(CONTENT_LENGTH) {
        return Err(Error::Asked("a CONNECT has no content, so no length"));
    }
    let key = HeaderValue::try_from(generate_key()).map_err(|_| Error::Asked("no key"))?;
    head.method = Method::GET;
    head.extensions.remove::<Protocol>();
    head.headers.remove(SEC_WEBSOCKET_ACCEPT);
    head.headers.insert(SEC_WEBSOCKET_KEY, key.clone());
    Ok(Key(key))
}

/// What a server said to a handshake of ours.
pub(super) enum Said {
    /// It agreed; the head is the answer to the client's CONNECT.
    Yes(response::Parts, ServerEnd),
    /// It declined, in an ordinary answer.
    No(Forwarded),
}

/// Judge a server's answer to a handshake as a client must (RFC 6455, section
/// 4.1), and make it one to a CONNECT.
pub(super) fn accepted(forwarded: Forwarded, key: &Key) -> Result<Said> {
    let status = forwarded.head.status;
    if status != StatusCode::SWITCHING_PROTOCOLS {
        if status.is_success() {
            // To a CONNECT that would be a yes.
            return Err(Error::Agreed("an answer of success, but not 101"));
        }
        return Ok(Said::No(forwarded));
    }
    let Forwarded {
        mut head, carrier, ..
    } = forwarded;
    let server = ServerEnd::of(&mut head, carrier).ok_or(Error::Agreed("no connection"))?;
    if matches!(server, ServerEnd::Http1(_))
        && let Some(wrong) = wrong(&head, key)
    {
        return Err(Error::Agreed(wrong));
    }
    head.status = StatusCode::OK;
    head.headers.remove(SEC_WEBSOCKET_ACCEPT);
    head.headers.remove(CONTENT_LENGTH);
    Ok(Said::Yes(head, server))
}

fn wrong(head: &response::Parts, key: &Key) -> Option<&'static str> {
    let is = |name, wanted: &[u8]| {
        let value: Option<&HeaderValue> = head.headers.get(name);
        value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(wanted))
    };
    let accept = head.headers.get(SEC_WEBSOCKET_ACCEPT);
    if !is(UPGRADE, b"websocket") {
        Some("101 without Upgrade: websocket")
    } else if !head::lists(&head.headers, "upgrade") {
        Some("101 without Connection: upgrade")
    } else if accept.is_none_or(|accept| *accept != *derive_accept_key(key.0.as_bytes())) {
        Some("Sec-WebSocket-Accept does not fit the key")
    } else {
        None
    }
}

/// Send a handshake to a server that speaks HTTP/2: as an extended CONNECT, if
/// the server takes it.
pub(super) async fn over_http2(
    mut lease: Http2Lease,
    request: Request<Body>,
    secure: bool,
) -> Result<Forwarded, Failed> {
    if !lease.takes_extended_connect() {
        return Err(Failed::of(Error::NoWebSocket));
    }
    if !matches!(request.body(), Body::Empty) {
        return Err(Failed::of(Error::Asked("it has a body")));
    }
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY).cloned() else {
        return Err(Failed::of(Error::Asked("Sec-WebSocket-Key is missing")));
    };
    let again = copy(&request);
    let Some(connect) = connect(request, secure) else {
        return Err(Failed::of(Error::Target));
    };
    let (answer, mut sink) = match lease.send(connect, false) {
        Ok(sent) => sent,
        Err(error) => {
            return Err(Failed {
                error: error.into(),
                request: Some(Box::new(again)),
            });
        }
    };
    let (mut head, source) = match interim::answer(answer, &mut None, None).await {
        Ok(answer) => answer.into_parts(),
        Err(error) => {
            let unprocessed = unprocessed(&error);
            if unprocessed {
                lease.retire();
            }
            return Err(Failed {
                error,
                request: unprocessed.then(|| Box::new(again)),
            });
        }
    };
    if !head.status.is_success() {
        // No tunnel, so nothing more comes from here.
        let _ = sink.send_data(Bytes::new(), true);
        let carrier = Carrier::Http2 {
            _slot: lease,
            upload: None,
        };
        let body = Body::Http2(source);
        return Ok(Forwarded {
            head,
            body,
            carrier,
        });
    }
    head.status = StatusCode::SWITCHING_PROTOCOLS;
    head.headers.remove(CONTENT_LENGTH);
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) {
        head.headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok(Forwarded {
        head,
        body: Body::Empty,
        carrier: Carrier::WebSocket(Box::new((StreamEnd { source, sink }, lease))),
    })
}

/// A handshake as an extended CONNECT.
fn connect(mut request: Request<Body>, secure: bool) -> Option<Request<()>> {
    headers::to_http2(&mut request, secure)?;
    *request.method_mut() = Method::CONNECT;
    let protocol = Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    let headers = request.headers_mut();
    headers.remove(CONNECTION);
    headers.remove(UPGRADE);
    headers.remove(SEC_WEBSOCKET_KEY);
    Some(request.map(|_| ()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{HOST, SEC_WEBSOCKET_PROTOCOL};
    use http::{Response, Version};

    // The key and what it becomes are those of RFC 6455, section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn judged(fields: &[(&str, &str)]) -> Option<&'static str> {
        let mut answer = Response::builder().status(101);
        for (name, value) in fields {
            answer = answer.header(*name, *value);
        }
        let head = answer.body(()).expect("an answer").into_parts().0;
        wrong(&head, &Key(HeaderValue::from_static(KEY)))
    }

    #[test]
    fn an_agreement_is_judged_as_a_client_must() {
        let accept = ("sec-websocket-accept", ACCEPT);
        let upgrade = ("upgrade", "WebSocket");
        let connection = ("connection", "keep-alive, Upgrade");
        assert_eq!(judged(&[accept, upgrade, connection]), None);
        assert!(judged(&[accept, upgrade]).is_some());
        assert!(judged(&[accept, connection]).is_some());
        assert!(judged(&[upgrade, connection]).is_some());
        assert!(judged(&[accept, ("upgrade", "h2c"), connection]).is_some());
        let other = ("sec-websocket-accept", KEY);
        assert!(judged(&[other, upgrade, connection]).is_some());
    }

    #[test]
    fn an_extended_connect_becomes_a_handshake_and_back() {
        let mut asked = Request::new(());
        *asked.method_mut() = Method::CONNECT;
        *asked.uri_mut() = "https://a/chat?x=1".parse().expect("a target");
        asked
            .extensions_mut()
            .insert(Protocol::from_static("websocket"));
        let chat = HeaderValue::from_static("chat");
        asked.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chat);
        let (mut head, ()) = asked.into_parts();
        let Key(key) = ask(&mut head).expect("a handshake");
        assert_eq!(head.method, Method::GET);
        assert_eq!(head.headers[SEC_WEBSOCKET_KEY], key);
        assert_eq!(key.len(), 24, "16 bytes");
        assert!(head.extensions.get::<Protocol>().is_none());
        let mut asked = Request::from_parts(head, Body::Empty);
        for name in [CONNECTION, UPGRADE] {
            let value = HeaderValue::from_static("upgrade");
            asked.headers_mut().insert(name, value);
        }
        headers::to_http1(&mut asked);
        let asked = connect(asked, false).expect("a host");
        assert_eq!(asked.method(), Method::CONNECT);
        assert_eq!(asked.version(), Version::HTTP_2);
        assert_eq!(*asked.uri(), "http://a/chat?x=1");
        let protocol = asked.extensions().get().map(Protocol::as_str);
        assert_eq!(protocol, Some("websocket"));
        assert_eq!(asked.headers()[SEC_WEBSOCKET_PROTOCOL], "chat");
        assert_eq!(asked.headers().len(), 1, "{:?}", asked.headers());
        assert!(!asked.headers().contains_key(HOST));
    }

    #[test]
    fn a_connect_with_a_length_is_refused() {
        let asked = Request::builder().header(CONTENT_LENGTH, "5").body(());
        let mut head = asked.expect("a request").into_parts().0;
        assert!(matches!(ask(&mut head), Err(Error::Asked(_))));
    }
}
