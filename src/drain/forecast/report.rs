//! The forecast as programs (serde) and people
//! ([`Display`](std::fmt::Display)) read it.
//!
//! Invariant: its sums are over everything in flight; the list is bounded, and
//! those least likely to finish stand first in it.
//!
//! Deliberately absent: times of the clock. All count from the forecast.

use super::judge::{Basis, Prediction, Verdict};
use super::{InFlight, Predicted};
use crate::drain::doing::Doing;
use crate::drain::ledger::Farewell;
use crate::drain::plan::Plan;
use crate::drain::protocol::Protocol;
use crate::drain::table::{Give, Side, Table, wrap};
use crate::drain::time::{Brief, millis::in_millis};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How many exchanges a forecast lists.
const LISTED: usize = 1_000;

/// What a drain would do if it began now, or will do from here.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Forecast {
    /// Whether the drain is under way.
    pub draining: bool,
    /// The plan that is assumed.
    pub plan: Plan,
    /// The sums over all protocols.
    pub all: Outlook,
    /// The sums of each protocol that has anything in flight.
    pub protocols: BTreeMap<Protocol, Outlook>,
    /// How long the drain lasts from here, more likely than not; exchanges of
    /// which nothing is known do not count.
    pub duration_ms: f64,
    /// How long it lasts from here at most.
    pub at_most_ms: f64,
    /// The exchanges, those least likely to finish first.
    pub exchanges: Vec<Foreseen>,
    /// How many more there are than `exchanges` has room for.
    pub exchanges_omitted: u64,
}

/// How many would come to which end.
#[derive(Copy, Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Outlook {
    /// In flight.
    pub in_flight: u64,
    /// Would finish.
    pub finish: u64,
    /// Would be ended in their own protocol.
    pub farewell: u64,
    /// Would be ended by force.
    pub cut: u64,
    /// Of which nothing is known.
    pub unknown: u64,
    /// How many are to be expected not to finish: the sum of their chances,
    /// of those that are known. Many unlikely ones make some certain.
    pub expected: f64,
}

impl Outlook {
    pub(in crate::drain) fn count(&mut self, prediction: &Prediction) {
        self.in_flight += 1;
        match prediction.verdict {
            Verdict::Finish => self.finish += 1,
            Verdict::Farewell => self.farewell += 1,
            Verdict::Cut => self.cut += 1,
            Verdict::Unknown => self.unknown += 1,
        }
        self.expected += prediction.outlives.unwrap_or_default();
    }

    fn rounded(self) -> Self {
        Self {
            expected: round(self.expected),
            ..self
        }
    }
}

/// One exchange in flight, and what would become of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Foreseen {
    /// The id of its connection.
    pub connection: u64,
    /// The listener that accepted it.
    pub listener: String,
    /// The client's address.
    pub peer: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// The route that it took.
    pub route: String,
    /// What it is doing.
    pub doing: Doing,
    /// How long ago it began.
    pub age_ms: f64,
    /// Until its deadline.
    pub deadline_ms: f64,
    /// When it is as likely as not that it ends, if that is in sight.
    pub ends_in_ms: Option<f64>,
    /// The chance that it outlives its deadline, if that is known.
    pub outlives: Option<f64>,
    /// What this rests on.
    pub basis: Basis,
    /// What would become of it.
    pub verdict: Verdict,
    /// What its client would be told if it outlives its deadline.
    pub told: Farewell,
    /// For how long nothing has passed through it, if it is a tunnel.
    pub silent_ms: Option<f64>,
}

impl Foreseen {
    fn of(exchange: &InFlight, prediction: &Prediction) -> Self {
        Self {
            connection: exchange.connection,
            listener: exchange.listener.to_string(),
            peer: exchange.peer.to_string(),
            protocol: exchange.protocol,
            route: exchange.route.to_string(),
            doing: exchange.doing,
            age_ms: in_millis(exchange.age),
            deadline_ms: in_millis(prediction.left),
            ends_in_ms: prediction.ends_in.map(in_millis),
            outlives: prediction.outlives.map(round),
            basis: prediction.basis,
            verdict: prediction.verdict,
            told: prediction.told,
            silent_ms: exchange.silent_for.map(in_millis),
        }
    }

    fn row(&self) -> [String; 9] {
        let (verdict, told) = match self.verdict {
            Verdict::Finish => ("finish", ""),
            Verdict::Farewell => ("farewell", self.told.meaning()),
            Verdict::Cut => ("cut", "its client does not read"),
            Verdict::Unknown => ("unknown", ""),
        };
        [
            self.listener.clone(),
            self.peer.clone(),
            self.protocol.as_str().to_owned(),
            self.route.clone(),
            self.doing.meaning().to_owned(),
            age(self.age_ms / 1e3),
            self.outlives.map_or_else(
                || "?".to_owned(),
                |chance| format!("{:.0} %", chance * 100.0),
            ),
            self.basis.meaning().to_owned(),
            format!("{verdict}: {told}")
                .trim_end_matches(": ")
                .to_owned(),
        ]
    }
}

/// An age in seconds, in larger units where it has many of them.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole seconds of an age, which is no less than 0"
)]
pub(super) fn age(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..100 => format!("{seconds:.1} s"),
        100..6_000 => format!("{} min", whole / 60),
        6_000..172_800 => format!("{} h", whole / 3_600),
        _ => format!("{} d", whole / 86_400),
    }
}

/// To a thousandth.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

impl Predicted {
    /// The sums by protocol.
    #[must_use]
    pub fn outlooks(&self) -> BTreeMap<Protocol, Outlook> {
        let mut sums = BTreeMap::<_, Outlook>::new();
        for (exchange, prediction) in &self.exchanges {
            sums.entry(exchange.protocol).or_default().count(prediction);
        }
        sums
    }

    /// What an operator reads; `draining` if it has begun.
    #[must_use]
    pub fn forecast(&self, draining: bool) -> Forecast {
        let mut order: Vec<&(InFlight, Prediction)> = self.exchanges.iter().collect();
        // What nobody can tell stands after what is likely not to finish, and
        // of two alike the older first.
        let rank = |(exchange, prediction): &(InFlight, Prediction)| {
            (prediction.outlives.unwrap_or(0.5), exchange.age)
        };
        order.sort_by(|one, other| {
            let ((one, first), (other, second)) = (rank(one), rank(other));
            other.total_cmp(&one).then(second.cmp(&first))
        });
        let listed = order.iter().take(LISTED);
        Forecast {
            exchanges: listed
                .map(|(exchange, prediction)| Foreseen::of(exchange, prediction))
                .collect(),
            exchanges_omitted: order.len().saturating_sub(LISTED) as u64,
            ..self.sums(draining)
        }
    }

    /// The same, naming nobody.
    #[must_use]
    pub fn sums(&self, draining: bool) -> Forecast {
        let mut all = Outlook::default();
        for (_, prediction) in &self.exchanges {
            all.count(prediction);
        }
        Forecast {
            draining,
            plan: self.horizon.plan,
            all: all.rounded(),
            protocols: self
                .outlooks()
                .into_iter()
                .map(|(protocol, sums)| (protocol, sums.rounded()))
                .collect(),
            duration_ms: in_millis(self.lasts),
            at_most_ms: in_millis(self.at_most),
            exchanges: Vec::new(),
            exchanges_omitted: self.exchanges.len() as u64,
        }
    }

    /// The exchanges that have been in flight longest, so many at most.
    #[must_use]
    pub fn oldest(&self, most: usize) -> Vec<Foreseen> {
        let mut order: Vec<&(InFlight, Prediction)> = self.exchanges.iter().collect();
        order.sort_by_key(|(exchange, _)| Reverse(exchange.age));
        let oldest = order.iter().take(most);
        oldest
            .map(|(exchange, prediction)| Foreseen::of(exchange, prediction))
            .collect()
    }
}

impl Forecast {
    fn table(&self, of: impl Fn(&Foreseen) -> bool) -> Table {
        let mut table = Table::new([
            ("Listener", Side::Left),
            ("client", Side::Left),
            ("protocol", Side::Left),
            ("route", Side::Left),
            ("doing", Side::Left),
            ("age", Side::Right),
            ("outlives", Side::Right),
            ("by", Side::Left),
            ("would", Side::Left),
        ])
        .gives("would", Give::Shortened(14))
        .gives("route", Give::LeftOut(5))
        .gives("by", Give::LeftOut(4))
        .gives("outlives", Give::LeftOut(2))
        .gives("Listener", Give::LeftOut(3))
        .gives("doing", Give::LeftOut(1));
        for exchange in self.exchanges.iter().filter(|one| of(one)) {
            table.row(exchange.row());
        }
        table
    }

    fn opening(&self) -> String {
        let finish = &self.plan.finish;
        let same = [finish.grpc, finish.websocket, finish.tcp];
        let spans = if same.iter().all(|one| *one == finish.http) {
            Brief(finish.http).to_string()
        } else {
            let brief = |span: Duration| Brief(span).to_string();
            format!(
                "http {}, grpc {}, websocket {}, tcp {}",
                brief(finish.http),
                brief(finish.grpc),
                brief(finish.websocket),
                brief(finish.tcp)
            )
        };
        if self.draining {
            format!("The drain that is under way, with finish {spans}:")
        } else {
            format!("If it drained now, with finish {spans}:")
        }
    }
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = f.width();
        let all = &self.all;
        let told = all.farewell + all.cut;
        writeln!(f, "{}", wrap(&self.opening(), width))?;
        let sums = format!(
            "{} in flight: {} would finish, {} be told to leave, {} be cut, {} unknown; \
             {:.1} expected not to finish",
            all.in_flight, all.finish, all.farewell, all.cut, all.unknown, all.expected
        );
        writeln!(f, "{}", wrap(&sums, width))?;
        writeln!(
            f,
            "over in about {:.1} s, in {:.1} s at most",
            self.duration_ms / 1e3,
            self.at_most_ms / 1e3
        )?;
        if told + all.unknown > 0 {
            write!(
                f,
                "\n{}",
                self.table(|one| one.verdict != Verdict::Finish)
                    .within(width)
            )?;
        }
        let listed = |verdict: &Foreseen| verdict.verdict != Verdict::Finish;
        let shown = self.exchanges.iter().filter(|one| listed(one)).count() as u64;
        let more = (told + all.unknown).saturating_sub(shown);
        if more > 0 {
            writeln!(f, "... and {more} more")?;
        }
        Ok(())
    }
}
