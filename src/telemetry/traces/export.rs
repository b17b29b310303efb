//! The thread that sends spans, and the bounded queue before it.
//!
//! Whoever ends an exchange hands over what is known of it and goes on; spans
//! are put together here. Batches go out one after another. A batch that fails
//! in passing is sent again, a few times, while the queue fills; then it is let
//! go and counted.
//!
//! Invariant: what waits is bounded, and whatever the collector does, nobody
//! waits for it but this thread; an exit waits for the time that it was given
//! and no longer.
//!
//! Deliberately absent: spans on disk. Traces are a sample, and so is what is
//! left of them where a collector is down for long.

use super::collector::{Collector, Failure};
use super::counts::{Counts, Dropped};
use super::span::{Span, attribute};
use crate::config;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

/// Spans from which on a batch is sent at once.
const BATCH: usize = 512;

/// How long a batch waits to become full.
const LINGER: Duration = Duration::from_secs(1);

/// The pauses before a batch is sent again.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Something that spans can be made of.
pub trait Spans: Send {
    /// How many there will be.
    fn count(&self) -> usize;

    /// Make them.
    fn make(self: Box<Self>, to: &mut Vec<Span>);
}

/// What is asked of the thread.
enum Message {
    Spans(Box<dyn Spans>),
    Send(Option<Box<config::Traces>>),
    Flush(oneshot::Sender<()>),
}

#[derive(Debug)]
struct Shared {
    waiting: AtomicUsize,
    most: AtomicUsize,
    counts: Arc<Counts>,
    /// The process exits: nothing is tried again.
    hurried: watch::Sender<bool>,
}

/// The near end of the queue.
#[derive(Debug)]
pub(super) struct Exporter {
    queue: UnboundedSender<Message>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Message")
    }
}

impl Exporter {
    /// Start the thread. It ends when its exporter is gone.
    pub(super) fn start(counts: Arc<Counts>) -> io::Result<Self> {
        let (queue, inbox) = unbounded_channel();
        let shared = Arc::new(Shared {
            waiting: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            counts,
            hurried: watch::Sender::new(false),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let hand = Hand {
            inbox,
            shared: Arc::clone(&shared),
            target: None,
            failing: false,
        };
        std::thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || runtime.block_on(hand.run()))?;
        Ok(Self { queue, shared })
    }

    /// Send what comes from now on there, or nowhere.
    pub(super) fn send_to(&self, settings: Option<&config::Traces>) {
        let most = settings.map_or(0, |settings| settings.queue);
        self.shared.most.store(most, Relaxed);
        let settings = settings.map(|settings| Box::new(settings.clone()));
        // Only a thread that panicked takes nothing; then nothing is sent.
        let _ = self.queue.send(Message::Send(settings));
    }

    /// Hand over, if there is room.
    pub(super) fn offer(&self, spans: Box<dyn Spans>) {
        let shared = &self.shared;
        let count = spans.count() as u64;
        let most = shared.most.load(Relaxed);
        if shared.waiting.fetch_add(1, Relaxed) >= most {
            shared.waiting.fetch_sub(1, Relaxed);
            let why = if most == 0 {
                Dropped::Off
            } else {
                Dropped::QueueFull
            };
            return shared.counts.dropped(why, count);
        }
        if self.queue.send(Message::Spans(spans)).is_err() {
            shared.waiting.fetch_sub(1, Relaxed);
            shared.counts.dropped(Dropped::Failed, count);
        }
    }

    /// Begin to send what waits, without further tries; told when it is sent,
    /// or let go.
    pub(super) fn flush(&self) -> oneshot::Receiver<()> {
        let (done, flushed) = oneshot::channel();
        self.shared.hurried.send_replace(true);
        let _ = self.queue.send(Message::Flush(done));
        flushed
    }

    /// What still waits.
    pub(super) fn waiting(&self) -> usize {
        self.shared.waiting.load(Relaxed)
    }
}

/// Where spans go, and what is said of them all.
struct Target {
    collector: Collector,
    resource: Resource,
    timeout: Duration,
}

impl Target {
    fn of(settings: &config::Traces) -> Self {
        let text = |key, text: &str| attribute(key, Value::StringValue(text.to_owned()));
        let attributes: Vec<KeyValue> = vec![
            text("service.name", &settings.service),
            text("service.version", env!("CARGO_PKG_VERSION")),
            attribute("process.pid", Value::IntValue(std::process::id().into())),
        ];
        Self {
            collector: Collector::of(settings),
            resource: Resource {
                attributes,
                ..Resource::default()
            },
            timeout: settings.timeout,
        }
    }

    fn batch(&self, spans: &[Span]) -> ExportTraceServiceRequest {
        let scope = InstrumentationScope {
            name: "ebbtide".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let of_scope = ScopeSpans {
            scope: Some(scope),
            spans: spans.iter().map(|span| span.0.clone()).collect(),
            ..ScopeSpans::default()
        };
        let of_resource = ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![of_scope],
            ..ResourceSpans::default()
        };
        ExportTraceServiceRequest {
            resource_spans: vec![of_resource],
        }
    }

    async fn send(&mut self, spans: &[Span]) -> Result<u64, Failure> {
        let batch = self.batch(spans);
        let sent = timeout(self.timeout, self.collector.send(batch)).await;
        sent.unwrap_or_else(|_| {
            self.collector.forget();
            Err(Failure {
                why: format!("no answer within {:?}", self.timeout),
                passing: true,
            })
        })
    }
}

/// The far end.
struct Hand {
    inbox: UnboundedReceiver<Message>,
    shared: Arc<Shared>,
    target: Option<Target>,
    /// The last batch was not taken, and the log says so.
    failing: bool,
}

impl Hand {
    async fn run(mut self) {
        while let Some(message) = self.inbox.recv().await {
            let mut next = Some(message);
            while let Some(message) = next.take() {
                next = self.take(message).await;
            }
        }
    }

    /// Do as asked; what was asked next, if that ended a batch.
    async fn take(&mut self, message: Message) -> Option<Message> {
        match message {
            Message::Send(settings) => {
                self.target = settings.map(|settings| Target::of(&settings));
                self.failing = false;
                None
            }
            Message::Flush(done) => {
                // Who asked may have lost its patience.
                let _ = done.send(());
                None
            }
            Message::Spans(first) => {
                let mut batch = Vec::new();
                self.unpack(first, &mut batch);
                let next = self.gather(&mut batch).await;
                self.export(&batch).await;
                next
            }
        }
    }

    fn unpack(&self, spans: Box<dyn Spans>, batch: &mut Vec<Span>) {
        self.shared.waiting.fetch_sub(1, Relaxed);
        spans.make(batch);
    }

    /// Fill a batch until it is full, has waited, or something else is asked.
    async fn gather(&mut self, batch: &mut Vec<Span>) -> Option<Message> {
        let linger = sleep(LINGER);
        tokio::pin!(linger);
        while batch.len() < BATCH {
            tokio::select! {
                biased;
                message = self.inbox.recv() => match message? {
                    Message::Spans(spans) => self.unpack(spans, batch),
                    other => return Some(other),
                },
                () = &mut linger => return None,
            }
        }
        None
    }

    async fn export(&mut self, batch: &[Span]) {
        let count = batch.len() as u64;
        let counts = Arc::clone(&self.shared.counts);
        let Some(target) = &mut self.target else {
            return counts.dropped(Dropped::Off, count);
        };
        let mut hurried = self.shared.hurried.subscribe();
        let mut pauses = PAUSES.into_iter();
        loop {
            let failure = match target.send(batch).await {
                Ok(rejected) => {
                    let rejected = rejected.min(count);
                    counts.exported(count - rejected);
                    counts.dropped(Dropped::Rejected, rejected);
                    return self.told_good(rejected);
                }
                Err(failure) => failure,
            };
            let pause = pauses.next().filter(|_| failure.passing);
            match pause {
                Some(pause) if !*hurried.borrow() => {
                    tokio::select! {
                        () = sleep(pause) => {}
                        _ = hurried.wait_for(|hurried| *hurried) => {}
                    }
                }
                _ => {
                    counts.dropped(Dropped::Failed, count);
                    return self.told_bad(&failure);
                }
            }
        }
    }

    fn told_good(&mut self, rejected: u64) {
        if rejected > 0 {
            tracing::warn!(event = "traces", rejected, "the collector rejected spans");
        } else if std::mem::take(&mut self.failing) {
            tracing::info!(event = "traces", "the collector takes spans again");
        }
    }

    /// Once, until it is good again: the counter says how many more there are.
    fn told_bad(&mut self, failure: &Failure) {
        let Some(target) = self.target.as_ref().filter(|_| !self.failing) else {
            return;
        };
        self.failing = true;
        let collector = target.collector.uri();
        tracing::warn!(
            event = "traces",
            %collector,
            error = failure.why,
            "spans are not taken, and let go"
        );
    }
}
