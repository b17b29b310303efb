//! How far a drain is, in a line.
//!
//! Invariant: pure; a line is no longer than it may be, and says least where
//! there is least room, but always the stage. Absent: colour.

use crate::admin::view::{Progress, ServerProgress, ServerState};
use crate::cli::remote::in_flight_text;
use crate::cli::text::span;
use crate::drain::{Protocol, Stage};
use std::collections::BTreeMap;
use std::time::Duration;

/// How wide the bar is.
const BAR: usize = 20;

/// What was seen of a drain that is under way.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::cli) struct Look {
    /// The stages that have begun, in their order.
    pub(super) stages: Vec<Stage>,
    /// The one that the last of what is in flight is in.
    pub(super) stage: Option<Stage>,
    pub(super) in_flight: BTreeMap<Protocol, u64>,
    pub(super) elapsed: Duration,
    /// When it is over at the latest, from now.
    pub(super) over_in: Duration,
    /// When it is thought to be over, from now.
    pub(super) foreseen: Option<Duration>,
}

fn elapsed(millis: Option<f64>) -> Duration {
    Duration::try_from_secs_f64(millis.unwrap_or_default() / 1e3).unwrap_or_default()
}

impl Look {
    /// What the process, or a listener, says of its drain.
    pub(in crate::cli) fn of_progress(body: &[u8]) -> Option<Self> {
        let progress: Progress = serde_json::from_slice(body).ok()?;
        let deadlines = progress.deadlines.filter(|_| progress.draining)?;
        let last = |furthest| deadlines.stage_of_the_last(furthest, &progress.in_flight);
        Some(Self {
            stages: progress.stages.iter().map(|one| one.stage).collect(),
            stage: progress.stage.map(last),
            in_flight: progress.in_flight,
            elapsed: elapsed(progress.elapsed_ms),
            over_in: Duration::from_millis(deadlines.cut_in_ms),
            foreseen: None,
        })
    }

    /// What a server says of its drain.
    pub(in crate::cli) fn of_server(body: &[u8]) -> Option<Self> {
        let progress: ServerProgress = serde_json::from_slice(body).ok()?;
        let draining = progress.state == ServerState::Draining;
        let deadlines = progress.deadlines.filter(|_| draining)?;
        let last = |furthest| deadlines.stage_of_the_last(furthest, &progress.in_flight);
        Some(Self {
            stages: progress.stage.into_iter().collect(),
            stage: progress.stage.map(last),
            in_flight: progress.in_flight,
            elapsed: elapsed(progress.elapsed_ms),
            over_in: Duration::from_millis(deadlines.cut_in_ms),
            foreseen: None,
        })
    }

    fn stage(&self) -> &'static str {
        self.stage.map_or("-", Stage::as_str)
    }

    fn sum(&self) -> u64 {
        self.in_flight.values().sum()
    }

    /// As in `3 in flight (2 http1, 1 grpc)`.
    fn detail(&self) -> String {
        match self.sum() {
            0 => "nothing in flight".to_owned(),
            sum => format!("{sum} in flight ({})", in_flight_text(&self.in_flight)),
        }
    }

    /// As in `9s of 27s at most, about 16s left`.
    fn clocks(&self) -> String {
        let seconds = |time: Duration| span(Duration::from_secs(time.as_secs()));
        // Parts of it are rounded down, so the sum is to the nearest.
        let all = self.elapsed + self.over_in + Duration::from_millis(500);
        let (elapsed, all) = (seconds(self.elapsed), seconds(all));
        let clocks = format!("{elapsed} of {all} at most").replace("0ms", "0s");
        match self.foreseen {
            Some(left) if left < Duration::from_secs(1) => format!("{clocks}, about to end"),
            Some(left) => format!("{clocks}, about {} left", seconds(left)),
            None => clocks,
        }
    }

    fn bar(&self) -> String {
        let all = (self.elapsed + self.over_in).as_millis().max(1);
        let done = self.elapsed.as_millis() * BAR as u128 / all;
        let done = usize::try_from(done).unwrap_or(BAR).min(BAR);
        format!("[{}{}]", "#".repeat(done), "-".repeat(BAR - done))
    }
}

/// The line that a terminal of this width shows.
pub(super) fn line(look: &Look, width: usize) -> String {
    let (stage, clocks) = (format!("{:<8}", look.stage()), look.clocks());
    let (bar, detail) = (look.bar(), look.detail());
    let sum = format!("{} in flight", look.sum());
    let forms = [
        format!("{stage}  {bar}  {clocks}; {detail}"),
        format!("{stage}  {bar}  {clocks}; {sum}"),
        format!("{stage}  {clocks}; {detail}"),
        format!("{stage}  {clocks}; {sum}"),
        format!("{stage}  {sum}"),
    ];
    // The last column stays free: some terminals go on in the next row when it
    // is written to.
    let room = width.saturating_sub(1);
    let fits = forms.into_iter().find(|form| form.chars().count() <= room);
    fits.unwrap_or_else(|| look.stage().chars().take(room).collect())
}

/// Which stages were told of.
#[derive(Debug, Default)]
pub(super) struct Account {
    told: Vec<Stage>,
}

impl Account {
    /// A line for each stage that is new.
    pub(super) fn news(&mut self, look: &Look) -> Vec<String> {
        let mut lines = Vec::new();
        for stage in &look.stages {
            if !self.told.contains(stage) {
                self.told.push(*stage);
                let (clocks, detail) = (look.clocks(), look.detail());
                lines.push(format!("{}: {clocks}; {detail}", stage.as_str()));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample;

    fn look() -> Look {
        let body = serde_json::to_vec(&sample::progress(true)).expect("plain");
        let look = Look::of_progress(&body).expect("it drains");
        Look {
            foreseen: Some(Duration::from_millis(16_400)),
            ..look
        }
    }

    #[test]
    fn a_line_says_less_where_there_is_less_room() {
        for (width, expected) in [
            (
                100,
                "finish    [######--------------]  9s of 27s at most, about 16s left; \
                 3 in flight (2 http1, 1 grpc)",
            ),
            (
                81,
                "finish    [######--------------]  9s of 27s at most, about 16s left; 3 in flight",
            ),
            (
                80,
                "finish    9s of 27s at most, about 16s left; 3 in flight (2 http1, 1 grpc)",
            ),
            (
                60,
                "finish    9s of 27s at most, about 16s left; 3 in flight",
            ),
            (40, "finish    3 in flight"),
            (6, "finis"),
        ] {
            assert_eq!(line(&look(), width), expected, "{width}");
        }
        for width in 0..120 {
            assert!(line(&look(), width).chars().count() <= width);
        }
    }

    #[test]
    fn the_bar_fills_and_never_bursts() {
        let at = |elapsed, over_in| {
            let look = Look {
                elapsed: Duration::from_secs(elapsed),
                over_in: Duration::from_secs(over_in),
                ..look()
            };
            look.bar()
        };
        assert_eq!(at(0, 0), format!("[{}]", "-".repeat(BAR)));
        assert_eq!(at(0, 10), format!("[{}]", "-".repeat(BAR)));
        assert_eq!(
            at(5, 5),
            format!("[{0}{1}]", "#".repeat(10), "-".repeat(10))
        );
        assert_eq!(at(30, 0), format!("[{}]", "#".repeat(BAR)));
    }

    #[test]
    fn clocks_say_what_is_known() {
        let mut look = look();
        look.elapsed = Duration::from_millis(200);
        look.foreseen = None;
        assert_eq!(look.clocks(), "0s of 18s at most");
        look.foreseen = Some(Duration::from_millis(300));
        assert_eq!(look.clocks(), "0s of 18s at most, about to end");
        look.in_flight.clear();
        assert_eq!(look.detail(), "nothing in flight");
    }

    #[test]
    fn each_stage_is_told_once() {
        let mut account = Account::default();
        let mut seen = look();
        let all = std::mem::take(&mut seen.stages);
        seen.stages = all[..1].to_vec();
        let announce = "announce: 9s of 27s at most, about 16s left; \
            3 in flight (2 http1, 1 grpc)";
        assert_eq!(account.news(&seen), [announce]);
        assert!(account.news(&seen).is_empty());
        seen.stages = all;
        let told = account.news(&seen);
        let stages: Vec<&str> = told
            .iter()
            .filter_map(|line| line.split(':').next())
            .collect();
        assert_eq!(stages, ["refuse", "retire", "finish"]);
    }

    #[test]
    fn what_does_not_drain_has_nothing_to_tell() {
        let body = serde_json::to_vec(&sample::progress(false)).expect("plain");
        assert_eq!(Look::of_progress(&body), None);
        assert_eq!(Look::of_server(b"{}"), None);
    }
}
