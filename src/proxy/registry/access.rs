//! One line per exchange, for operators who ask for it (`logs.access`).
//!
//! Written when the exchange leaves the registry, so it is written whatever
//! happens to it. Where it is off, nothing is copied and nothing is formatted.
//!
//! Invariant: what a client or a server wrote is escaped: a line is one line,
//! a JSON string ends where its value does, and so does a quoted text.

use super::memo::{Answered, Memo, Way};
use super::record::Record;
use crate::clock::{self, Rfc3339};
use crate::config::{AccessField, AccessForm, AccessPiece, AccessValue};
use crate::telemetry::logs;
use crate::telemetry::traces::{Parent, TRACEPARENT, TraceId};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that most lines fit in.
const LINE: usize = 512;

/// How exchanges are logged.
#[derive(Debug)]
pub struct AccessLog {
    form: AccessForm,
    /// The fields of requests' heads that lines show.
    headers: Vec<HeaderName>,
    /// Of JSON, what stands before each value.
    names: Vec<Vec<u8>>,
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
            AccessValue::Trace => Some(TRACEPARENT),
            _ => None,
        });
        let headers = headers.collect();
        let names = fields.iter().map(|field| {
            let mut name = vec![b','];
            quote(&field.name, &mut name);
            name.push(b':');
            name
        });
        let names = names.collect();
        Arc::new(Self {
            form,
            headers,
            names,
        })
    }

    /// What a line will need of a request's fields.
    pub(super) fn fields(&self, fields: &HeaderMap) -> Box<[Option<HeaderValue>]> {
        let headers = self.headers.iter();
        headers.map(|name| fields.get(name).cloned()).collect()
    }
}

impl Memo {
    /// Write the line, if there is one.
    pub(super) fn log(&self, record: &Record, answered: &Answered<'_>) {
        if let Some(log) = &self.log {
            logs::write_access(self.line(log, record, answered, clock::unix()));
        }
    }

    fn line(
        &self,
        log: &AccessLog,
        record: &Record,
        answered: &Answered<'_>,
        now: Duration,
    ) -> Vec<u8> {
        let line = Line {
            log,
            memo: self,
            record,
            answered,
            now,
            way: self.notes.way(),
        };
        let mut text = Vec::with_capacity(LINE);
        match &log.form {
            // Resolved before there is a log.
            AccessForm::Usual => {}
            AccessForm::Json(fields) => line.json(fields, &mut text),
            AccessForm::Text(pieces) => line.text(pieces, &mut text),
        }
        text.push(b'\n');
        text
    }
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
    log: &'a AccessLog,
    memo: &'a Memo,
    record: &'a Record,
    answered: &'a Answered<'a>,
    now: Duration,
    way: Way,
}

impl Line<'_> {
    fn json(&self, fields: &[AccessField], to: &mut Vec<u8>) {
        to.extend_from_slice(b"{\"timestamp\":\"");
        to.extend_from_slice(&Rfc3339(self.now).text());
        to.extend_from_slice(b"\",\"event\":\"access\"");
        for (field, name) in fields.iter().zip(&self.log.names) {
            let shown = self.value(&field.value);
            if matches!(shown, Shown::Absent) {
                continue;
            }
            to.extend_from_slice(name);
            match shown {
                Shown::Absent => {}
                // Writing into memory cannot fail.
                Shown::Number(number) => drop(serde_json::to_writer(&mut *to, &number)),
                Shown::Text(text) => quote(&text, to),
            }
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
        let asked = self.memo.asked.as_ref();
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
            AccessValue::What => answered.what().into(),
            AccessValue::Trace => self.trace().map(|trace| trace.to_string()).into(),
            AccessValue::Request(name) => self.field(name).map_or(Shown::Absent, |value| {
                Shown::Text(String::from_utf8_lossy(value.as_bytes()))
            }),
        }
    }

    fn bytes(&self) -> Option<[u64; 2]> {
        self.memo.bytes(self.record, self.answered)
    }

    /// A field of the request's head.
    fn field(&self, name: &HeaderName) -> Option<&HeaderValue> {
        let at = self.log.headers.iter().position(|known| known == name)?;
        self.memo.asked.as_ref()?.fields.get(at)?.as_ref()
    }

    /// The trace in which it is recorded, or else the one that its client named.
    fn trace(&self) -> Option<TraceId> {
        if let Some((_, begun)) = &self.memo.trace {
            return Some(begun.ids.trace);
        }
        let parent = Parent::read(self.field(&TRACEPARENT)?.as_bytes())?;
        Some(parent.ids.trace)
    }
}

/// A name, unless there was none.
fn named(name: Option<&str>) -> Shown<'_> {
    name.filter(|name| !name.is_empty()).into()
}

/// A string of JSON; few texts have anything to escape.
fn quote(text: &str, to: &mut Vec<u8>) {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if text.as_bytes().iter().all(plain) {
        to.push(b'"');
        to.extend_from_slice(text.as_bytes());
        to.push(b'"');
    } else {
        // Writing into memory cannot fail.
        drop(serde_json::to_writer(to, text));
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
