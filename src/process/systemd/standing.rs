//! What systemd is told of where the process stands: pure text and arithmetic.
//!
//! `STOPPING=1` is told at refuse: until then a drain may be taken back, and
//! systemd knows no way back. `EXTEND_TIMEOUT_USEC` names the time that the
//! plan has left, `extend` included, and what comes behind it; it is told
//! again only if it became another, so a process that hangs is not waited for.
//!
//! Deliberately absent: the socket.

use crate::drain::{Phase, Stage, Timestamp};
use std::fmt::Write;
use std::time::Duration;

/// Where the process stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::process) struct Standing {
    pub(in crate::process) phase: Phase,
    /// The furthest stage of the drain under way, if any.
    pub(in crate::process) stage: Option<Stage>,
    /// When nothing is left of the drain, and of what comes behind it.
    pub(in crate::process) latest: Option<Timestamp>,
    pub(in crate::process) listeners: usize,
    pub(in crate::process) connections: usize,
    pub(in crate::process) in_flight: u64,
}

/// What was told last, so that nothing is told twice.
#[derive(Debug, Default)]
pub(super) struct Told {
    status: String,
    stopping: bool,
    latest: Option<Timestamp>,
}

impl Told {
    /// The lines to tell now; none if all is told.
    pub(super) fn lines(&mut self, standing: &Standing, now: Timestamp) -> String {
        let mut lines = String::new();
        if standing.phase >= Phase::Draining && !std::mem::replace(&mut self.stopping, true) {
            lines.push_str("STOPPING=1\n");
        }
        if std::mem::replace(&mut self.latest, standing.latest) != standing.latest
            && let Some(latest) = standing.latest
        {
            let left = latest.saturating_since(now).as_micros().max(1);
            // Writing to a string does not fail.
            let _ = writeln!(lines, "EXTEND_TIMEOUT_USEC={left}");
        }
        let status = status(standing, now);
        if status != self.status {
            let _ = writeln!(lines, "STATUS={status}");
            self.status = status;
        }
        lines
    }

    /// Whether a drain is under way, by what was told.
    pub(super) const fn is_leaving(&self) -> bool {
        self.latest.is_some()
    }

    /// The line with this status in front, whatever was told last.
    pub(super) fn remark(&mut self, remark: &str) -> String {
        // A status is one line, whatever an error says.
        let line = remark.lines().next().unwrap_or_default();
        line.clone_into(&mut self.status);
        format!("STATUS={line}\n")
    }
}

fn status(standing: &Standing, now: Timestamp) -> String {
    let Some((stage, latest)) = standing.stage.zip(standing.latest) else {
        let (phase, listeners) = (standing.phase.as_str(), standing.listeners);
        return match listeners {
            1 => format!("{phase}, 1 listener"),
            _ => format!("{phase}, {listeners} listeners"),
        };
    };
    if standing.phase == Phase::Terminated {
        return "drained".to_owned();
    }
    let left = latest.saturating_since(now);
    // Whole seconds, and none of them while there is something left.
    let left = left.as_secs() + u64::from(left > Duration::from_secs(left.as_secs()));
    format!(
        "draining ({}): {} in flight, {} connections, at most {left} s left",
        stage.as_str(),
        standing.in_flight,
        standing.connections,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    fn serving() -> Standing {
        Standing {
            phase: Phase::Active,
            stage: None,
            latest: None,
            listeners: 2,
            connections: 7,
            in_flight: 3,
        }
    }

    fn draining(phase: Phase, stage: Stage, latest: u64) -> Standing {
        Standing {
            phase,
            stage: Some(stage),
            latest: Some(at(latest)),
            ..serving()
        }
    }

    #[test]
    fn a_drain_is_told_step_by_step_and_nothing_twice() {
        let mut told = Told::default();
        assert_eq!(
            told.lines(&serving(), at(0)),
            "STATUS=active, 2 listeners\n"
        );
        assert_eq!(told.lines(&serving(), at(9)), "");
        let announcing = draining(Phase::Active, Stage::Announce, 40);
        assert_eq!(
            told.lines(&announcing, at(10)),
            "EXTEND_TIMEOUT_USEC=30000000\n\
             STATUS=draining (announce): 3 in flight, 7 connections, at most 30 s left\n",
        );
        let finishing = draining(Phase::Draining, Stage::Finish, 40);
        assert_eq!(
            told.lines(&finishing, at(15)),
            "STOPPING=1\n\
             STATUS=draining (finish): 3 in flight, 7 connections, at most 25 s left\n",
        );
        assert_eq!(told.lines(&finishing, at(15)), "");
    }

    #[test]
    fn more_time_for_the_drain_is_more_time_from_systemd_and_no_more_than_that() {
        let mut told = Told::default();
        told.lines(&draining(Phase::Draining, Stage::Finish, 40), at(10));
        let later = told.lines(&draining(Phase::Draining, Stage::Finish, 40), at(20));
        assert!(!later.contains("EXTEND"), "{later}");
        let extended = told.lines(&draining(Phase::Draining, Stage::Finish, 70), at(20));
        assert!(
            extended.starts_with("EXTEND_TIMEOUT_USEC=50000000\n"),
            "{extended}"
        );
        let over = told.lines(&draining(Phase::Draining, Stage::Cut, 10), at(20));
        assert!(over.starts_with("EXTEND_TIMEOUT_USEC=1\n"), "{over}");
    }

    #[test]
    fn a_drain_that_is_taken_back_is_never_a_stop() {
        let mut told = Told::default();
        told.lines(&draining(Phase::Active, Stage::Announce, 40), at(10));
        let back = told.lines(&serving(), at(11));
        assert_eq!(back, "STATUS=active, 2 listeners\n");
        let again = told.lines(&draining(Phase::Active, Stage::Announce, 52), at(22));
        assert!(
            again.starts_with("EXTEND_TIMEOUT_USEC=30000000\n"),
            "{again}"
        );
    }

    #[test]
    fn a_remark_is_one_line_and_gives_way_to_the_next_status() {
        let mut told = Told::default();
        told.lines(&serving(), at(0));
        assert_eq!(told.remark("not so\nand more"), "STATUS=not so\n");
        assert_eq!(
            told.lines(&serving(), at(1)),
            "STATUS=active, 2 listeners\n"
        );
    }
}
