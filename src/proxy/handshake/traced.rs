//! A TLS handshake as a span.
//!
//! It is in a trace of its own, since it was shaken before anybody asked for
//! anything; the exchanges of its connection point to it.
//!
//! Invariant: a handshake that is recorded becomes a span, whether it came to
//! its end or not.
//!
//! Deliberately absent: handshakes that a server is to end, of which nothing is
//! decrypted.

use super::{Ended, flaw};
use crate::clock;
use crate::drain::Timestamp;
use crate::proxy::registry::{ConnectionGuard, DRAINING, HandshakeFlaw, Moment};
use crate::proxy::request::Site;
use crate::telemetry::traces::{Begun, Kind, Span, Spans, Tracer};
use rustls::{CipherSuite, HandshakeKind, ProtocolVersion, ServerConnection};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A handshake that is recorded.
pub(super) struct Recording {
    tracer: Arc<Tracer>,
    begun: Begun,
    began: Timestamp,
}

/// What is handed over of it.
struct Shaken {
    begun: Begun,
    began: Timestamp,
    ended: Moment,
    connection: u64,
    listener: Arc<str>,
    client: SocketAddr,
    in_drain: bool,
    agreed: Result<Agreed, &'static str>,
}

struct Agreed {
    version: Option<ProtocolVersion>,
    suite: Option<CipherSuite>,
    protocol: Option<Vec<u8>>,
    name: Option<String>,
    resumed: bool,
    certificate: bool,
}

impl Agreed {
    fn of(connection: &ServerConnection) -> Self {
        Self {
            version: connection.protocol_version(),
            suite: connection.negotiated_cipher_suite().map(|it| it.suite()),
            protocol: connection.alpn_protocol().map(<[u8]>::to_vec),
            name: connection.server_name().map(str::to_owned),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            certificate: connection.peer_certificates().is_some(),
        }
    }
}

impl Recording {
    /// A handshake begins; it is recorded if chance has it.
    pub(super) fn begin(site: &Site) -> Option<Self> {
        let tracer = site.tracer()?;
        Some(Self {
            begun: tracer.begin()?,
            tracer: Arc::clone(tracer),
            began: clock::now(),
        })
    }

    /// It is over, and this came of it.
    pub(super) fn end(self, guard: &ConnectionGuard, shaken: &Result<TlsStream<TcpStream>, Ended>) {
        let agreed = match shaken {
            Ok(stream) => Ok(Agreed::of(stream.get_ref().1)),
            Err(Ended::Broken(error)) => Err(flaw::of(error).as_str()),
            Err(Ended::Due(_)) if guard.scope().orders().draining() => Err("drained"),
            Err(Ended::Due(_)) => Err(HandshakeFlaw::Timeout.as_str()),
        };
        guard.record().set_handshake(self.begun.ids);
        self.tracer.traces().offer(Box::new(Shaken {
            agreed,
            began: self.began,
            ended: Moment::now(),
            connection: guard.id,
            listener: Arc::clone(guard.listener()),
            client: guard.client.address(),
            in_drain: guard.scope().drained_since(self.began),
            begun: self.begun,
        }));
    }
}

impl Spans for Shaken {
    fn count(&self) -> usize {
        1
    }

    fn make(self: Box<Self>, to: &mut Vec<Span>) {
        let times = (self.ended.unix(self.began), self.ended.unix_now());
        let mut span = Span::new(self.begun.ids, Kind::Internal, "tls_handshake", times);
        if self.in_drain {
            span.holds(DRAINING);
        }
        let client = self.client.ip().to_canonical().to_string();
        span.text("client.address", client);
        span.number("client.port", self.client.port());
        span.number("ebbtide.connection", self.connection);
        span.text("ebbtide.listener", &self.listener);
        match &self.agreed {
            Ok(agreed) => say(&mut span, agreed),
            Err(why) => {
                span.text("error.type", why);
                span.failed(why);
            }
        }
        to.push(span);
    }
}

fn say(span: &mut Span, agreed: &Agreed) {
    span.holds("tls.established");
    span.text("tls.protocol.name", "tls");
    let version = match agreed.version {
        Some(ProtocolVersion::TLSv1_2) => Some("1.2"),
        Some(ProtocolVersion::TLSv1_3) => Some("1.3"),
        _ => None,
    };
    if let Some(version) = version {
        span.text("tls.protocol.version", version);
    }
    if let Some(suite) = agreed.suite.and_then(|suite| suite.as_str()) {
        span.text("tls.cipher", suite);
    }
    if let Some(protocol) = &agreed.protocol {
        span.text("tls.next_protocol", String::from_utf8_lossy(protocol));
    }
    if let Some(name) = &agreed.name {
        span.text("tls.client.server_name", name);
    }
    if agreed.resumed {
        span.holds("tls.resumed");
    }
    if agreed.certificate {
        span.holds("ebbtide.client_certificate");
    }
}
