//! One line per exchange, for operators who ask for it (`logs.access`).
//!
//! Written when the exchange leaves the registry, so it is written whatever
//! happens to it. Where it is off, nothing is copied and nothing is formatted.
//!
//! Invariant: what a client or a server wrote is escaped: a line is one line,
//! a JSON string ends where its value does, and so does a quoted text.

use super::record::Record;
use crate::clock::{self, Rfc3339};
use crate::config::{AccessField, AccessForm, AccessPiece, AccessValue};
use crate::drain::{Outcome, Protocol, Timestamp};
use crate::telemetry::logs;
use crate::telemetry::metrics::RouteMetrics;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use parking_lot::Mutex;
use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What stands for the status of an exchange whose client left before it had
/// one; nginx's word for it.
pub(super) const CLIENT_LEFT: u16 = 499;

/// Bytes that most lines fit in.
const LINE: usize = 512;

/// How exchanges are logged.
#[derive(Debug)]
pub struct AccessLog {
    form: AccessForm,
    /// The fields of requests' heads that lines show.
    headers: Vec<HeaderName>,
}

impl AccessLog {
    /// Lines of this form.
    #[must_use]
    pub fn of(form: AccessForm) -> Arc<Self> {
        let fields: Vec<&AccessField> = match &form {
            AccessForm::Usual => Vec::new(),
            AccessForm::Json(fields) => fields.iter().collect(),
            AccessForm::Text(pieces) => pieces.iter().filter_map(AccessPiece::field).collect(),
        };
        let headers = fields.iter().filter_map(|field| match &field.value {
            AccessValue::Request(header) => Some(header.clone()),
            _ => None,
        });
        let headers = headers.collect();
        Arc::new(Self { form, headers })
    }

    /// What a line will need of a request.
    #[must_use]
    pub fn asked(&self, method: &Method, host: &str, uri: &Uri, fields: &HeaderMap) -> Asked {
        Asked {
            method: method.clone(),
            host: host.into(),
            uri: uri.clone(),
            fields: self
                .headers
                .iter()
                .map(|name| fields.get(name).cloned())
                .collect(),
        }
    }
}

/// What a line says of the request.
#[derive(Debug)]
pub struct Asked {
    method: Method,
    host: Box<str>,
    uri: Uri,
    /// In the order of [`AccessLog::headers`].
    fields: Box<[Option<HeaderValue>]>,
}

/// What is found out on the way of an exchange to its server.
#[derive(Debug, Default)]
pub struct Notes {
    received: AtomicU64,
    way: Mutex<Way>,
}

#[derive(Clone, Debug, Default)]
struct Way {
    server: Option<Arc<str>>,
    tries: u64,
    asked: Option<Timestamp>,
    took: Option<Duration>,
}

impl Notes {
    /// So many bytes of the request's body came.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    /// It goes to this server now.
    pub fn asks(&self, server: &Arc<str>) {
        let mut way = self.way.lock();
        way.server = Some(Arc::clone(server));
        way.tries += 1;
        way.asked = Some(clock::now());
        way.took = None;
    }

    /// The server's response has begun.
    pub fn answered(&self) {
        let mut way = self.way.lock();
        way.took = way.asked.map(|asked| clock::now().saturating_since(asked));
    }
}

/// An exchange that gets a line.
#[derive(Debug)]
pub(super) struct Access {
    log: Arc<AccessLog>,
    asked: Option<Asked>,
    notes: Arc<Notes>,
    /// What the connection had carried before.
    before: [u64; 2],
}

impl Access {
    pub(super) fn new(log: &Arc<AccessLog>, asked: Option<Asked>, record: &Record) -> Self {
        Self {
            log: Arc::clone(log),
            asked,
            notes: Arc::default(),
            before: carried(record),
        }
    }

    pub(super) fn notes(&self) -> &Arc<Notes> {
        &self.notes
    }

    pub(super) fn log(&self, record: &Record, answered: &Answered<'_>) {
        logs::write_access(self.line(record, answered, clock::unix()));
    }

    fn line(&self, record: &Record, answered: &Answered<'_>, now: Duration) -> Vec<u8> {
        let line = Line {
            access: self,
            record,
            answered,
            now,
            way: self.notes.way.lock().clone(),
        };
        let mut text = Vec::with_capacity(LINE);
        match &self.log.form {
            // Resolved before there is a log.
            AccessForm::Usual => {}
            AccessForm::Json(fields) => line.json(fields, &mut text),
            AccessForm::Text(pieces) => line.text(pieces, &mut text),
        }
        text.push(b'\n');
        text
    }
}

/// Bytes from and to the client.
fn carried(record: &Record) -> [u64; 2] {
    [&record.received, &record.sent].map(|count| count.load(Relaxed))
}

/// What a line says of the end.
#[derive(Debug)]
pub(super) struct Answered<'a> {
    pub(super) protocol: Protocol,
    pub(super) code: u16,
    /// Bytes of the response's body.
    pub(super) sent: u64,
    pub(super) took: Duration,
    pub(super) outcome: Outcome,
    pub(super) route: Option<&'a RouteMetrics>,
}

/// A value of a field.
enum Shown<'a> {
    /// There is none.
    Absent,
    Number(u64),
    Text(Cow<'a, str>),
}

impl<'a> From<&'a str> for Shown<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Shown<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl<'a, T: Into<Shown<'a>>> From<Option<T>> for Shown<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

impl From<u64> for Shown<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

struct Line<'a> {
    access: &'a Access,
    record: &'a Record,
    answered: &'a Answered<'a>,
    now: Duration,
    way: Way,
}

impl Line<'_> {
    fn json(&self, fields: &[AccessField], to: &mut Vec<u8>) {
        // Writing into memory cannot fail.
        let _ = write!(
            to,
            "{{\"timestamp\":\"{}\",\"event\":\"access\"",
            Rfc3339(self.now)
        );
        for field in fields {
            let shown = self.value(&field.value);
            if matches!(shown, Shown::Absent) {
                continue;
            }
            to.push(b',');
            let _ = serde_json::to_writer(&mut *to, &field.name);
            to.push(b':');
            let _ = match shown {
                Shown::Absent => Ok(()),
                Shown::Number(number) => serde_json::to_writer(&mut *to, &number),
                Shown::Text(text) => serde_json::to_writer(&mut *to, &*text),
            };
        }
        to.push(b'}');
    }

    fn text(&self, pieces: &[AccessPiece], to: &mut Vec<u8>) {
        for piece in pieces {
            match piece {
                AccessPiece::Plain(plain) => to.extend_from_slice(plain.as_bytes()),
                AccessPiece::Field(field) => match self.value(&field.value) {
                    Shown::Absent => to.push(b'-'),
                    Shown::Number(number) => drop(write!(to, "{number}")),
                    Shown::Text(text) if text.is_empty() => to.push(b'-'),
                    Shown::Text(text) => escape(&text, to),
                },
            }
        }
    }

    fn value(&self, of: &AccessValue) -> Shown<'_> {
        let asked = self.access.asked.as_ref();
        let answered = self.answered;
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        match of {
            AccessValue::Time => Rfc3339(self.now).to_string().into(),
            AccessValue::Connection => self.record.id.into(),
            AccessValue::Listener => (&**self.record.listener()).into(),
            AccessValue::Client => self
                .record
                .client
                .address()
                .ip()
                .to_canonical()
                .to_string()
                .into(),
            AccessValue::Peer => self.record.client.address().to_string().into(),
            AccessValue::Protocol => answered.protocol.as_str().into(),
            AccessValue::Method => asked.map(|asked| asked.method.as_str()).into(),
            AccessValue::Host => asked.map(|asked| &*asked.host).into(),
            AccessValue::Path => {
                let target = asked.and_then(|asked| asked.uri.path_and_query());
                target.map(http::uri::PathAndQuery::as_str).into()
            }
            AccessValue::Status => Some(u64::from(answered.code))
                .filter(|code| *code > 0)
                .into(),
            AccessValue::Received => self.bytes().map(|[received, _]| received).into(),
            AccessValue::Sent => self.bytes().map(|[_, sent]| sent).into(),
            AccessValue::Took => micros(answered.took).into(),
            AccessValue::Route => named(answered.route.map(|route| &**route.route())),
            AccessValue::Upstream => named(answered.route.map(|route| &**route.upstream())),
            AccessValue::Server => self.way.server.as_deref().into(),
            AccessValue::UpstreamTook => self.way.took.map(micros).into(),
            AccessValue::Tries => self.way.tries.into(),
            AccessValue::Outcome => answered.outcome.as_str().into(),
            AccessValue::What => what(answered).into(),
            AccessValue::Request(name) => {
                let names = &self.access.log.headers;
                let at = names.iter().position(|known| known == name);
                let value = at
                    .zip(asked)
                    .and_then(|(at, asked)| asked.fields[at].as_ref());
                value.map_or(Shown::Absent, |value| {
                    Shown::Text(String::from_utf8_lossy(value.as_bytes()))
                })
            }
        }
    }

    /// Of bodies; through a tunnel that has its connection for itself, what
    /// that carried. A tunnel on a stream of HTTP/2 is not counted.
    fn bytes(&self) -> Option<[u64; 2]> {
        match self.answered.protocol {
            Protocol::Tcp | Protocol::WebSocket => {
                let alone = self.record.protocol() != Some(Protocol::Http2);
                let now = carried(self.record);
                let before = self.access.before;
                alone.then(|| [0, 1].map(|way| now[way].saturating_sub(before[way])))
            }
            _ => {
                let received = self.access.notes.received.load(Relaxed);
                Some([received, self.answered.sent])
            }
        }
    }
}

/// A name, unless there was none.
fn named(name: Option<&str>) -> Shown<'_> {
    name.filter(|name| !name.is_empty()).into()
}

fn what(answered: &Answered<'_>) -> Option<&'static str> {
    match answered.outcome {
        Outcome::Farewelled(farewell) => Some(farewell.as_str()),
        Outcome::Cut(reason) => Some(reason.as_str()),
        Outcome::Finished => (answered.code == CLIENT_LEFT).then_some("client_left"),
    }
}

/// As nginx writes them: what is no plain character, a quote or a backslash is
/// `\xHH`, byte by byte.
fn escape(text: &str, to: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => drop(write!(to, "\\x{byte:02X}")),
            plain => to.push(plain),
        }
    }
}

#[cfg(test)]
mod tests;
