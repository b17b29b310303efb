//! Traces: which exchanges are recorded, and the way of their spans to a
//! collector (OpenTelemetry, OTLP).
//!
//! A span is put together when what it tells of has ended, from what is known
//! of it anyway; until then an exchange that is recorded has a name and a few
//! notes, and one that is not has nothing. What has ended is handed over to the
//! thread in `export`, which makes spans of it and sends them.
//!
//! Invariant: an exchange that is not recorded costs one branch where traces
//! are off, and no lock, allocation or formatting where they are on.
//!
//! Deliberately absent: what spans say, which those know who made them; and
//! spans of `tracing`, which would be made on the way of the data.

mod collector;
mod context;
mod counts;
mod drain;
mod export;
mod span;

pub use context::{Ids, Parent, SpanId, TRACEPARENT, TRACESTATE, TraceId, traceparent};
pub use counts::{Counts, Dropped};
pub use drain::DrainTrace;
pub use export::Spans;
pub use span::{Kind, Span, short};

use crate::config::{self, Ratio};
use context::tracestate;
use export::Exporter;
use http::HeaderMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The way of spans to the collector, of one process.
#[derive(Debug)]
pub struct Traces {
    counts: Arc<Counts>,
    /// Started by the first config that wants traces.
    exporter: OnceLock<Exporter>,
}

impl Traces {
    /// No spans are sent yet.
    #[must_use]
    pub fn new(counts: &Arc<Counts>) -> Arc<Self> {
        Arc::new(Self {
            counts: Arc::clone(counts),
            exporter: OnceLock::new(),
        })
    }

    /// Send spans there from now on, or nowhere.
    pub fn send_to(&self, settings: Option<&config::Traces>) {
        if settings.is_some() && self.exporter.get().is_none() {
            match Exporter::start(Arc::clone(&self.counts)) {
                // Only one task configures, so that nobody was quicker.
                Ok(exporter) => drop(self.exporter.set(exporter)),
                Err(error) => {
                    tracing::error!(event = "traces", %error, "traces are off: no thread for them");
                }
            }
        }
        if let Some(exporter) = self.exporter.get() {
            exporter.send_to(settings);
        }
    }

    /// Hand over what has ended.
    pub fn offer(&self, spans: Box<dyn Spans>) {
        match self.exporter.get() {
            Some(exporter) => exporter.offer(spans),
            None => self.counts.dropped(Dropped::Off, spans.count() as u64),
        }
    }

    /// The process exits: send what waits, without further tries. Over when it is
    /// sent or let go, or when `limit` has passed.
    pub async fn finish(&self, limit: Duration) {
        let Some(exporter) = self.exporter.get() else {
            return;
        };
        if tokio::time::timeout(limit, exporter.flush()).await.is_err() {
            let waiting = exporter.waiting();
            tracing::warn!(
                event = "traces",
                waiting,
                "the collector did not take the last spans in time"
            );
        }
    }
}

/// Decides what is recorded, by one config.
#[derive(Debug)]
pub struct Tracer {
    traces: Arc<Traces>,
    ratio: Ratio,
}

/// A span that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Its names.
    pub ids: Ids,
    /// Who asked for it, elsewhere.
    pub parent: Option<Parent>,
    /// What systems on the way said.
    pub state: Option<String>,
}

impl Begun {
    /// What is passed on of flags.
    #[must_use]
    pub fn flags(&self) -> u8 {
        self.parent.map_or(1, Parent::flags)
    }
}

impl Tracer {
    /// Decide by these settings, and hand over there.
    #[must_use]
    pub fn new(traces: &Arc<Traces>, settings: &config::Traces) -> Arc<Self> {
        Arc::new(Self {
            traces: Arc::clone(traces),
            ratio: settings.ratio,
        })
    }

    /// Where what has ended is handed over.
    #[must_use]
    pub fn traces(&self) -> &Arc<Traces> {
        &self.traces
    }

    /// Begin a span that nobody asked for, if chance has it.
    #[must_use]
    pub fn begin(&self) -> Option<Begun> {
        let low = fastrand::u64(1..);
        self.ratio.has(low).then(|| begun(low))
    }

    /// Begin the span of a request, if who asks records, or nobody says and
    /// chance has it. Its head is left alone but where it says what is not to
    /// be passed on.
    pub fn asked(&self, fields: &mut HeaderMap) -> Option<Begun> {
        let Some(parent) = Parent::of(fields) else {
            let begun = self.begin()?;
            fields.remove(TRACESTATE);
            return Some(begun);
        };
        if !parent.is_sampled() {
            return None;
        }
        let state = tracestate(fields);
        if state.is_none() {
            fields.remove(TRACESTATE);
        }
        Some(Begun {
            ids: Ids {
                trace: parent.ids.trace,
                span: SpanId::draw(),
            },
            parent: Some(parent),
            state,
        })
    }
}

/// A span in a trace of its own, whose id ends in this.
fn begun(low: u64) -> Begun {
    Begun {
        ids: Ids {
            trace: TraceId::of(entropy(), low),
            span: SpanId::draw(),
        },
        parent: None,
        state: None,
    }
}

/// The system's own, so that traces of many processes are told apart.
fn entropy() -> u64 {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => fastrand::u64(..),
    }
}

#[cfg(test)]
mod tests;
