//! The access log, parsed: what a line is made of.
//!
//! Invariant: each [`AccessField`] is one that can be written; a template
//! holds no character that would end its line.
//!
//! Deliberately absent: writing a line (see `proxy::registry`).

use http::HeaderName;
use std::path::PathBuf;

/// The access log: a line for each exchange that has ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Access {
    /// Where the lines go; none for where the log goes. A relative path has
    /// been resolved, and its folder was there.
    pub file: Option<PathBuf>,
    /// What a line is.
    pub form: AccessForm,
}

/// What a line of the access log is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccessForm {
    /// The usual fields, in the form of the log's lines.
    Usual,
    /// A JSON object of these.
    Json(Vec<AccessField>),
    /// Text with fields in it.
    Text(Vec<AccessPiece>),
}

/// A piece of a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccessPiece {
    /// As it is.
    Plain(String),
    /// What this is of the exchange.
    Field(AccessField),
}

/// Something that is known of an exchange, and the name that it is asked for
/// by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccessField {
    /// As it is written in a template.
    pub name: String,
    /// What is meant.
    pub value: AccessValue,
}

/// What is known of an exchange.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccessValue {
    /// When it ended, as RFC 3339 has it.
    Time,
    /// The number of its connection.
    Connection,
    /// The listener's name.
    Listener,
    /// The client's IP address.
    Client,
    /// The same with its port.
    Peer,
    /// What was spoken.
    Protocol,
    /// The method.
    Method,
    /// The host asked, without its port.
    Host,
    /// Path and query.
    Path,
    /// The status sent; 499 if the client left before there was one.
    Status,
    /// Bytes of the request's body, or from the client through a tunnel.
    Received,
    /// Bytes of the response's body, or to the client through a tunnel.
    Sent,
    /// Microseconds from its beginning to its end.
    Took,
    /// The route's name.
    Route,
    /// The upstream's name.
    Upstream,
    /// The server that answered, or was last asked.
    Server,
    /// Microseconds from the choice of that server to its response's head.
    UpstreamTook,
    /// How often it was sent to a server.
    Tries,
    /// Finished, farewelled or cut.
    Outcome,
    /// Which farewell, or why it was cut.
    What,
    /// The trace that it is a part of.
    Trace,
    /// A field of the request's head; the first of its name.
    Request(HeaderName),
}

impl AccessValue {
    /// Every name but those of a request's own fields.
    pub const NAMES: [(&'static str, Self); 21] = [
        ("time", Self::Time),
        ("connection", Self::Connection),
        ("listener", Self::Listener),
        ("client", Self::Client),
        ("peer", Self::Peer),
        ("protocol", Self::Protocol),
        ("method", Self::Method),
        ("host", Self::Host),
        ("path", Self::Path),
        ("status", Self::Status),
        ("received", Self::Received),
        ("sent", Self::Sent),
        ("took_us", Self::Took),
        ("route", Self::Route),
        ("upstream", Self::Upstream),
        ("server", Self::Server),
        ("upstream_us", Self::UpstreamTook),
        ("tries", Self::Tries),
        ("outcome", Self::Outcome),
        ("what", Self::What),
        ("trace", Self::Trace),
    ];

    /// Names for fields of a request's head that operators often want.
    pub const HEADERS: [(&'static str, HeaderName); 4] = [
        ("user_agent", http::header::USER_AGENT),
        ("referer", http::header::REFERER),
        ("request_id", HeaderName::from_static("x-request-id")),
        ("traceparent", HeaderName::from_static("traceparent")),
    ];
}

impl AccessField {
    /// The field of this name, if there is one; `request.NAME` is any field
    /// of the request's head.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let known = || {
            let mut values = AccessValue::NAMES.into_iter();
            let value = values.find(|(known, _)| *known == name);
            value.map(|(_, value)| value)
        };
        let often = || {
            let mut often = AccessValue::HEADERS.into_iter();
            let header = often.find(|(known, _)| *known == name);
            header.map(|(_, header)| AccessValue::Request(header))
        };
        let other = || {
            let header = name.strip_prefix("request.")?;
            header.parse().ok().map(AccessValue::Request)
        };
        Some(Self {
            name: name.to_owned(),
            value: known().or_else(often).or_else(other)?,
        })
    }

    /// The usual fields of a line, as JSON.
    #[must_use]
    pub fn usual() -> Vec<Self> {
        const NAMES: [&str; 21] = [
            "connection",
            "listener",
            "peer",
            "protocol",
            "method",
            "host",
            "path",
            "status",
            "received",
            "sent",
            "took_us",
            "route",
            "upstream",
            "server",
            "upstream_us",
            "tries",
            "outcome",
            "what",
            "trace",
            "request_id",
            "traceparent",
        ];
        NAMES.iter().filter_map(|name| Self::named(name)).collect()
    }
}

impl AccessPiece {
    /// The field, if it is one.
    #[must_use]
    pub const fn field(&self) -> Option<&AccessField> {
        match self {
            Self::Field(field) => Some(field),
            Self::Plain(_) => None,
        }
    }
}

impl AccessForm {
    /// The usual fields as a line of text.
    pub const USUAL_TEXT: &'static str = "{time} {peer} {protocol} \"{method} {host}{path}\" \
         {status} {received} {sent} {took_us}us {upstream} {server} {upstream_us}us {outcome} {what}";
}
