//! The trace of a drain: its name from the beginning, its spans at the end.
//!
//! One span for the drain as a whole, with the sums of its receipt, and below it
//! one for each stage and each hook. Exchanges that it ended point to it, and it
//! to the first of them.
//!
//! Invariant: a drain whose trace has a name becomes spans once: when it is
//! over, or when it was taken back.
//!
//! Deliberately absent: deciding what is recorded. A drain always is.

use super::books::Opening;
use crate::clock;
use crate::drain::{HookEnd, HookRan, Receipt, Stage, StageTimes};
use crate::telemetry::traces::{DrainTrace, Ids, Kind, Span, SpanId, Spans, Traces};
use std::sync::Arc;
use std::time::Duration;

/// A drain that is recorded.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    trace: Arc<DrainTrace>,
    id: Arc<str>,
    traces: Arc<Traces>,
}

impl Recording {
    /// A drain begins.
    pub(super) fn begin(traces: &Arc<Traces>) -> Self {
        let trace = DrainTrace::begin();
        Self {
            id: trace.ids().trace.to_string().into(),
            trace,
            traces: Arc::clone(traces),
        }
    }

    /// Another one begins.
    pub(super) fn again(&self) -> Self {
        Self::begin(&self.traces)
    }

    /// The id of its trace.
    pub(super) const fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// What exchanges point to.
    pub(super) const fn trace(&self) -> &Arc<DrainTrace> {
        &self.trace
    }
}

/// A drain that is over, or was taken back.
struct Over {
    trace: Arc<DrainTrace>,
    began: Duration,
    ended: Duration,
    listener: Option<String>,
    server: Option<String>,
    stages: Vec<StageTimes>,
    /// What it did; nothing if it was taken back.
    receipt: Option<Arc<Receipt>>,
}

impl Opening {
    /// Hand over the spans of the drain that has this receipt.
    pub(super) fn record(&self, receipt: &Arc<Receipt>) {
        let Some(recording) = &self.recording else {
            return;
        };
        recording.traces.offer(Box::new(Over {
            trace: Arc::clone(&recording.trace),
            began: self.unix,
            ended: self.unix + millis(receipt.duration_ms),
            listener: receipt.listener.clone(),
            server: receipt.server.clone(),
            stages: receipt.stages.clone(),
            receipt: Some(Arc::clone(receipt)),
        }));
    }

    /// Hand over those of a drain that was taken back: of a listener, of a
    /// server, or of the process.
    pub(super) fn record_taken_back(&self, listener: Option<&str>, server: Option<&str>) {
        let Some(recording) = &self.recording else {
            return;
        };
        let ended = clock::unix();
        // Only a server can be taken back later, and it announces nothing.
        let announce = StageTimes {
            stage: Stage::Announce,
            began_ms: 0.0,
            ended_ms: ended.saturating_sub(self.unix).as_secs_f64() * 1000.0,
        };
        recording.traces.offer(Box::new(Over {
            trace: Arc::clone(&recording.trace),
            began: self.unix,
            ended,
            listener: listener.map(str::to_owned),
            server: server.map(str::to_owned),
            stages: server.is_none().then_some(announce).into_iter().collect(),
            receipt: None,
        }));
    }
}

impl Over {
    fn hooks(&self) -> &[HookRan] {
        self.receipt.as_ref().map_or(&[], |receipt| &receipt.hooks)
    }

    fn say(&self, span: &mut Span) {
        if let Some(listener) = &self.listener {
            span.text("ebbtide.listener", listener);
        }
        if let Some(server) = &self.server {
            span.text("ebbtide.server", server);
        }
        let Some(receipt) = &self.receipt else {
            return span.text("ebbtide.drain.outcome", "cancelled");
        };
        let sums = receipt.exchanges();
        span.text("ebbtide.drain.outcome", "completed");
        span.text("ebbtide.drain.trigger", receipt.trigger.as_str());
        span.number("ebbtide.drain.connections", receipt.connections.opened);
        span.number("ebbtide.drain.opened", sums.opened);
        span.number("ebbtide.drain.finished", sums.finished);
        span.number("ebbtide.drain.farewelled", sums.farewelled);
        span.number("ebbtide.drain.cut", sums.cut);
        if receipt.lost > 0 {
            span.failed("exchanges were cut");
        }
    }

    fn part(&self, name: &str, began_ms: f64, ended_ms: f64) -> Span {
        let ids = Ids {
            trace: self.trace.ids().trace,
            span: SpanId::draw(),
        };
        let times = (self.began + millis(began_ms), self.began + millis(ended_ms));
        let mut span = Span::new(ids, Kind::Internal, name, times).under(self.trace.ids().span);
        span.holds("shutdown_initiated");
        span
    }

    fn hook(&self, hook: &HookRan) -> Span {
        let ended = hook.at_ms + hook.took_ms.unwrap_or_default();
        let mut span = self.part("hook", hook.at_ms, ended);
        span.text("ebbtide.hook.on", &hook.on);
        span.text("ebbtide.hook.run", &hook.run);
        span.text("ebbtide.hook.result", hook.end.as_str());
        if hook.end != HookEnd::Done {
            span.failed(hook.end.as_str());
        }
        span
    }
}

impl Spans for Over {
    fn count(&self) -> usize {
        1 + self.stages.len() + self.hooks().len()
    }

    fn make(self: Box<Self>, to: &mut Vec<Span>) {
        let times = (self.began, self.ended);
        let mut root = Span::new(self.trace.ids(), Kind::Internal, "drain", times);
        root.holds("shutdown_initiated");
        self.say(&mut root);
        self.trace.link(&mut root);
        to.push(root);
        to.extend(self.stages.iter().map(|one| {
            let mut span = self.part(one.stage.as_str(), one.began_ms, one.ended_ms);
            span.text("ebbtide.drain.stage", one.stage.as_str());
            span
        }));
        to.extend(self.hooks().iter().map(|hook| self.hook(hook)));
    }
}

fn millis(millis: f64) -> Duration {
    Duration::from_secs_f64(millis.max(0.0) / 1000.0)
}
