//! The judge: the clients' books, the log and the receipt, held against each
//! other.
//!
//! What a client saw is told as lost by itself. Beyond that: nobody was told
//! before it was due, nothing was cut, and the proxy's sums are those of its
//! clients. As to the last: who was *told* is known to both sides alike. What
//! *finished* during a drain begins with a moment that only the proxy knows;
//! its clients know two that are around it, and so two bounds.
//!
//! Deliberately absent: limits on how long anything took.

use super::books::{End, Entry};
use super::script::{Script, Trigger};
use ebbtide::drain::Protocol;
use serde_json::Value;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How long the proxy may take to note the end of an exchange whose last byte
/// its client has: a bound on what may be counted, not on what may happen.
const LAG: Duration = Duration::from_millis(250);

/// What is known of a drain when it is over.
pub(crate) struct Evidence {
    /// Just before it was asked for.
    pub(crate) began: Instant,
    /// When it was seen to have begun.
    pub(crate) seen: Instant,
    pub(crate) took: Duration,
    pub(crate) status: ExitStatus,
    pub(crate) log: Vec<Value>,
    pub(crate) entries: Vec<Entry>,
    /// Where it was asked for.
    pub(crate) receipt: Option<anyhow::Result<Value>>,
    /// For how long its clients stood still at most.
    pub(crate) stood_still: Duration,
}

/// How it was.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) took: Duration,
    /// Exchanges over the whole life of the process.
    pub(crate) exchanges: usize,
    /// Exchanges that were told, and half-open connections.
    pub(crate) told: usize,
    /// Clients and servers stood still for longer than good ones may: what
    /// they complain of may be their own doing.
    pub(crate) void: bool,
    /// Everything that is not as it should be.
    pub(crate) complaints: Vec<String>,
}

/// The sums of some books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sums {
    opened: u64,
    finished: u64,
    farewelled: u64,
    cut: u64,
}

impl Sums {
    fn read(value: &Value) -> Option<Self> {
        let field = |name: &str| value.get(name)?.as_u64();
        Some(Self {
            opened: field("opened")?,
            finished: field("finished")?,
            farewelled: field("farewelled")?,
            cut: field("cut")?,
        })
    }

    fn complaint(self, whose: &str) -> Option<String> {
        let adds_up = self.opened == self.finished + self.farewelled + self.cut;
        (!adds_up || self.cut > 0).then(|| format!("{whose}: {self:?}"))
    }
}

pub(crate) fn verdict(script: &Script, evidence: Evidence) -> Verdict {
    let mut court = Court {
        script,
        evidence,
        complaints: Vec::new(),
    };
    court.clients();
    court.log();
    court.receipt();
    let entries = &court.evidence.entries;
    Verdict {
        took: court.evidence.took,
        exchanges: entries
            .iter()
            .filter(|entry| entry.protocol.is_some())
            .count(),
        told: entries
            .iter()
            .filter(|entry| matches!(entry.end, End::Told(_)))
            .count(),
        void: court.evidence.stood_still > Script::reuse() / 2,
        complaints: court.complaints,
    }
}

struct Court<'a> {
    script: &'a Script,
    evidence: Evidence,
    complaints: Vec<String>,
}

impl Court<'_> {
    /// What clients saw, one by one.
    fn clients(&mut self) {
        let began = self.evidence.began;
        for entry in &self.evidence.entries {
            let due = began
                + match entry.protocol {
                    Some(_) => self.script.deadline_after(),
                    None => self.script.refuses_after(),
                };
            let why = match &entry.end {
                End::Finished => continue,
                End::Told(_) if entry.ended >= due => continue,
                End::Told(words) => format!("told before it was due: {words}"),
                End::Lost(what) => what.clone(),
            };
            self.complaints.push(format!(
                "{} from port {}, {} to {} ms: {why}",
                entry.kind,
                entry.port,
                since(began, entry.began),
                since(began, entry.ended),
            ));
        }
    }

    fn log(&mut self) {
        let log = &self.evidence.log;
        let mut complaints = Vec::new();
        if self.evidence.status.code() != Some(0) {
            complaints.push(format!("it exited with {}", self.evidence.status));
        }
        for line in log {
            let text = line.to_string();
            if line["level"] == "ERROR" || text.contains("panicked") {
                complaints.push(format!("its log: {text}"));
            }
        }
        let of = |event: &'static str| log.iter().filter(move |line| line["event"] == event);
        let trigger = match self.script.trigger {
            Trigger::Signal => "sigterm",
            Trigger::Api | Trigger::Command => "api",
        };
        if !of("shutdown_start").any(|line| line["trigger"] == trigger) {
            complaints.push(format!("its log: no drain that {trigger} began"));
        }
        let completed: Vec<_> = of("SHUTDOWN_COMPLETED").collect();
        match completed[..] {
            [line] => match Sums::read(line) {
                Some(sums) => {
                    complaints.extend(sums.complaint("SHUTDOWN_COMPLETED"));
                    complaints.extend(self.agree("SHUTDOWN_COMPLETED", None, sums));
                }
                None => complaints.push(format!("SHUTDOWN_COMPLETED without sums: {line}")),
            },
            _ => complaints.push(format!("SHUTDOWN_COMPLETED {} times", completed.len())),
        }
        self.complaints.extend(complaints);
    }

    fn receipt(&mut self) {
        let receipt = match &self.evidence.receipt {
            Some(Ok(receipt)) => receipt,
            Some(Err(error)) => return self.complaints.push(format!("{error:#}")),
            None => return,
        };
        let mut complaints = Vec::new();
        if receipt["complete"] != true || receipt["lost"] != 0 {
            complaints.push("its receipt: not complete, or something lost".to_owned());
        }
        match Sums::read(&receipt["connections"]) {
            Some(sums) => complaints.extend(sums.complaint("its receipt, connections")),
            None => complaints.push("its receipt: no connections".to_owned()),
        }
        for protocol in Protocol::ALL {
            let whose = format!("its receipt, {}", protocol.as_str());
            let ledger = &receipt["requests"][protocol.as_str()];
            let none = Sums {
                opened: 0,
                finished: 0,
                farewelled: 0,
                cut: 0,
            };
            let sums = Sums::read(ledger).unwrap_or(none);
            complaints.extend(sums.complaint(&whose));
            complaints.extend(self.agree(&whose, Some(protocol), sums));
        }
        self.complaints.extend(complaints);
    }

    /// Whether the proxy's sums over a protocol, or over all, can be what its
    /// clients saw.
    fn agree(&self, whose: &str, protocol: Option<Protocol>, sums: Sums) -> Option<String> {
        let Evidence { began, seen, .. } = self.evidence;
        let deadline = began + self.script.deadline_after();
        let exchanges = || {
            let entries = self.evidence.entries.iter();
            entries.filter(move |entry| {
                entry.protocol.is_some() && (protocol.is_none() || entry.protocol == protocol)
            })
        };
        let count = |so: &dyn Fn(&Entry) -> bool| exchanges().filter(|entry| so(entry)).count();
        let finished = |entry: &Entry| entry.end == End::Finished;
        let told = count(&|entry| matches!(entry.end, End::Told(_)));
        // Its last bytes were on their way when its deadline came: the proxy
        // may have taken it for one, its client for the other.
        let late = count(&|entry| finished(entry) && entry.ended >= deadline);
        let during = count(&|entry| finished(entry) && entry.began >= seen);
        let perhaps = count(&|entry| finished(entry) && entry.ended + LAG >= began);
        let within = |number: u64, least: usize, most: usize| {
            usize::try_from(number).is_ok_and(|number| (least..=most).contains(&number))
        };
        let agree = within(sums.farewelled, told, told + late)
            && within(sums.finished, during.saturating_sub(late), perhaps);
        (!agree).then(|| {
            format!(
                "{whose}: {} finished and {} farewelled, its clients say {during} to {perhaps} \
                 and {told} to {}",
                sums.finished,
                sums.farewelled,
                told + late
            )
        })
    }
}

/// Milliseconds from `began`, negative before it.
fn since(began: Instant, at: Instant) -> String {
    let millis = |span: Duration| span.as_millis();
    if at >= began {
        format!("+{}", millis(at - began))
    } else {
        format!("-{}", millis(began - at))
    }
}
