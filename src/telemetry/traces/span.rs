//! A span as it is exported, put together on the exporter's thread.
//!
//! Invariant: what a client or a server wrote is cut to a length that does no
//! harm, and a link or an attribute costs nothing that is not sent.
//!
//! Deliberately absent: what spans say. That is known where what they tell of
//! happened.

use super::context::{Ids, SpanId};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{self as proto, SpanFlags, Status};
use std::time::Duration;

/// Bytes of a text that are kept.
pub(super) const LONGEST: usize = 1024;

/// Which side of an exchange a span is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It answers.
    Server,
    /// It asks.
    Client,
    /// Neither: it happens here.
    Internal,
}

/// A span.
#[derive(Debug)]
pub struct Span(pub(super) proto::Span);

impl Span {
    /// What lasted from `began` to `ended`, both since the Unix epoch.
    #[must_use]
    pub fn new(ids: Ids, kind: Kind, name: &str, (began, ended): (Duration, Duration)) -> Self {
        let kind = match kind {
            Kind::Server => SpanKind::Server,
            Kind::Client => SpanKind::Client,
            Kind::Internal => SpanKind::Internal,
        };
        Self(proto::Span {
            trace_id: ids.trace.bytes().to_vec(),
            span_id: ids.span.bytes().to_vec(),
            flags: SpanFlags::ContextHasIsRemoteMask as u32 | 1,
            name: short(name).to_owned(),
            kind: kind.into(),
            start_time_unix_nano: nanos(began),
            end_time_unix_nano: nanos(ended.max(began)),
            ..proto::Span::default()
        })
    }

    /// A part of this one, which was here.
    #[must_use]
    pub fn under(mut self, parent: SpanId) -> Self {
        self.0.parent_span_id = parent.bytes().to_vec();
        self
    }

    /// A part of this one, which was elsewhere, where systems on the way said
    /// `state`.
    #[must_use]
    pub fn asked_by(mut self, parent: SpanId, state: &str) -> Self {
        self.0.flags |= SpanFlags::ContextIsRemoteMask as u32;
        state.clone_into(&mut self.0.trace_state);
        self.under(parent)
    }

    /// Say a text.
    pub fn text(&mut self, key: &str, text: impl AsRef<str>) {
        let text = short(text.as_ref()).to_owned();
        self.say(key, Value::StringValue(text));
    }

    /// Say a number.
    pub fn number(&mut self, key: &str, number: impl Into<u64>) {
        let number = i64::try_from(number.into()).unwrap_or(i64::MAX);
        self.say(key, Value::IntValue(number));
    }

    /// Say that something holds.
    pub fn holds(&mut self, key: &str) {
        self.say(key, Value::BoolValue(true));
    }

    fn say(&mut self, key: &str, value: Value) {
        self.0.attributes.push(attribute(key, value));
    }

    /// Say that something happened at this time since the Unix epoch.
    pub fn event(&mut self, name: &str, at: Duration) {
        self.0.events.push(Event {
            time_unix_nano: nanos(at),
            name: name.to_owned(),
            ..Event::default()
        });
    }

    /// Point to another span; `what` says what that is to this one.
    pub fn link(&mut self, to: Ids, what: &str) {
        let what = Value::StringValue(what.to_owned());
        self.0.links.push(Link {
            trace_id: to.trace.bytes().to_vec(),
            span_id: to.span.bytes().to_vec(),
            attributes: vec![attribute("ebbtide.link", what)],
            flags: 1,
            ..Link::default()
        });
    }

    /// Say how many more there were to point to.
    pub fn links_left_out(&mut self, count: u64) {
        self.0.dropped_links_count = u32::try_from(count).unwrap_or(u32::MAX);
    }

    /// It failed, for this reason.
    pub fn failed(&mut self, why: &str) {
        self.0.status = Some(Status {
            message: short(why).to_owned(),
            code: StatusCode::Error.into(),
        });
    }
}

pub(super) fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// The beginning of a text, in whole characters: what a span says of it.
#[must_use]
pub fn short(text: &str) -> &str {
    let mut end = LONGEST.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn nanos(since: Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(short("short"), "short");
        assert_eq!(short(&"é".repeat(LONGEST)).len(), LONGEST);
        let odd = format!("a{}", "é".repeat(LONGEST));
        assert_eq!(short(&odd).len(), LONGEST - 1);
    }
}
