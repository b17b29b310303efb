//! What is new between two looks at the process.
//!
//! Pure: two [`Look`]s come in, the news between them go out, in the order in
//! which they came about. So nothing that happened between two looks is passed
//! over, and nothing is told twice.
//!
//! Invariant: stages are told in their order, each once in a drain, and the
//! phase that a stage brings about right before it. Who was told to leave is
//! said before the phase that has nobody left.
//!
//! Deliberately absent: when looks are taken (see `tell`).

use super::look::{Course, Look, ServerLook};
use crate::control::ServerName;
use crate::drain::{Phase, Stage, Trigger};
use serde::Serialize;
use std::collections::BTreeMap;

/// Something that has happened.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub(in crate::admin) enum News {
    /// The process is in another phase.
    Phase { phase: Phase },
    /// A drain began: of the process, or of one listener.
    Drain {
        listener: Option<String>,
        trigger: Option<Trigger>,
    },
    /// A stage began: for the process when the first listener is there, and for
    /// each listener that gets there later or alone.
    Stage {
        listener: Option<String>,
        stage: Stage,
    },
    /// A drain was taken back.
    Cancelled { listener: Option<String> },
    /// What is in flight was given more time.
    Extended {
        listener: Option<String>,
        by_ms: u64,
    },
    /// A listener's own drain is over.
    Drained { listener: String },
    /// A server is another than before.
    Server {
        #[serde(flatten)]
        name: ServerName,
        #[serde(flatten)]
        now: ServerLook,
        /// Whether a config has it.
        removed: bool,
    },
    /// Servers of an upstream were found, or are not any more.
    Discovery {
        upstream: String,
        found: Vec<String>,
        gone: Vec<String>,
    },
    /// A reload was asked for, and what became of it.
    Reload { result: String, text: String },
    /// Another process has taken over.
    Handover { successor: u32 },
    /// A process that went before has work in flight, or has left.
    Predecessor { pid: u32, gone: bool },
    /// How many were told to leave, and cut, since this was last said.
    Ended {
        farewells: BTreeMap<&'static str, u64>,
        cuts: BTreeMap<&'static str, u64>,
    },
}

impl News {
    /// The name of the event.
    pub(in crate::admin) const fn as_str(&self) -> &'static str {
        match self {
            Self::Phase { .. } => "phase",
            Self::Drain { .. } => "drain",
            Self::Stage { .. } => "stage",
            Self::Cancelled { .. } => "cancelled",
            Self::Extended { .. } => "extended",
            Self::Drained { .. } => "drained",
            Self::Server { .. } => "server",
            Self::Discovery { .. } => "discovery",
            Self::Reload { .. } => "reload",
            Self::Handover { .. } => "handover",
            Self::Predecessor { .. } => "predecessor",
            Self::Ended { .. } => "ended",
        }
    }
}

/// What is new in `now`.
pub(super) fn between(before: &Look, now: &Look) -> Vec<News> {
    let mut news = Vec::new();
    if let Some(successor) = now.successor.filter(|_| before.successor != now.successor) {
        news.push(News::Handover { successor });
    }
    course(&before.process, &now.process, None, &[], &mut news);
    let of_process: Vec<Stage> = news.iter().filter_map(stage_of).collect();
    for (name, position) in &now.listeners {
        let fresh = Course::default();
        let known = before.listeners.iter().find(|(known, _)| known == name);
        let known = known.map_or(&fresh, |(_, known)| known);
        // A drain of the process is that of each listener; so is its end.
        let own = position.alone || known.alone;
        let said: &[Stage] = if own { &[] } else { &of_process };
        let mut about = Vec::new();
        course(known, position, Some(name), said, &mut about);
        about.retain(|one| own || matches!(one, News::Stage { .. }));
        news.extend(about);
    }
    servers(before, now, &mut news);
    let gone = |one: &Look, other: &Look| -> Vec<u32> {
        let left = one.predecessors.iter();
        left.filter(|pid| !other.predecessors.contains(pid))
            .copied()
            .collect()
    };
    let here = gone(now, before).into_iter().map(|pid| (pid, false));
    let left = gone(before, now).into_iter().map(|pid| (pid, true));
    news.extend(
        here.chain(left)
            .map(|(pid, gone)| News::Predecessor { pid, gone }),
    );
    if let Some(ended) = ended(before, now) {
        news.insert(end_of(&news), ended);
    }
    news
}

/// Where what exchanges came to stands: behind the stages that brought it
/// about, before the phase in which there is nothing left.
fn end_of(news: &[News]) -> usize {
    let last = News::Phase {
        phase: Phase::Terminated,
    };
    news.iter()
        .position(|one| *one == last)
        .unwrap_or(news.len())
}

fn stage_of(news: &News) -> Option<Stage> {
    match news {
        News::Stage { stage, .. } => Some(*stage),
        _ => None,
    }
}

/// What is new of the process, or of a listener; `said` are stages that were
/// told a moment ago.
fn course(
    before: &Course,
    now: &Course,
    listener: Option<&String>,
    said: &[Stage],
    news: &mut Vec<News>,
) {
    let listener = listener.cloned();
    let same = before.started == now.started;
    if before.started.is_some() && !same && before.phase != Phase::Terminated {
        news.push(News::Cancelled {
            listener: listener.clone(),
        });
    }
    if now.started.is_some() && !same {
        news.push(News::Drain {
            listener: listener.clone(),
            trigger: now.trigger,
        });
    }
    let mut phase = before.phase;
    let mut enter = |to: Phase, news: &mut Vec<News>| {
        if listener.is_none() && phase < to {
            phase = to;
            news.push(News::Phase { phase });
        }
    };
    if now.phase < Phase::Draining {
        enter(now.phase, news);
    }
    let known: &[Stage] = if same { &before.stages } else { &[] };
    for stage in now.stages.iter().filter(|stage| !known.contains(stage)) {
        if *stage >= Stage::Refuse {
            enter(now.phase.min(Phase::Draining), news);
        }
        if !said.contains(stage) {
            let (listener, stage) = (listener.clone(), *stage);
            news.push(News::Stage { listener, stage });
        }
    }
    enter(now.phase, news);
    if let Some(listener) = listener
        && before.phase != now.phase
        && now.phase == Phase::Terminated
        && now.started.is_some()
    {
        news.push(News::Drained { listener });
    }
}

fn servers(before: &Look, now: &Look, news: &mut Vec<News>) {
    for (name, server) in &now.servers {
        let known = before.servers.iter().find(|(known, _)| known == name);
        // The first look is the snapshot's; a server that a reload brought is
        // in the reload's line.
        if known.is_some_and(|(_, known)| known != server) {
            news.push(News::Server {
                name: name.clone(),
                now: server.clone(),
                removed: false,
            });
        }
    }
    for (name, server) in &before.servers {
        if now.servers.iter().all(|(known, _)| known != name) {
            news.push(News::Server {
                name: name.clone(),
                now: server.clone(),
                removed: true,
            });
        }
    }
}

fn ended(before: &Look, now: &Look) -> Option<News> {
    let since = |before: &BTreeMap<&'static str, u64>, now: &BTreeMap<&'static str, u64>| {
        let more = now.iter().map(|(name, count)| {
            let known = before.get(name).copied().unwrap_or_default();
            (*name, count.saturating_sub(known))
        });
        more.filter(|(_, count)| *count > 0).collect()
    };
    let farewells: BTreeMap<_, _> = since(&before.farewells, &now.farewells);
    let cuts: BTreeMap<_, _> = since(&before.cuts, &now.cuts);
    let any = !farewells.is_empty() || !cuts.is_empty();
    any.then_some(News::Ended { farewells, cuts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Timestamp;
    use std::time::Duration;

    fn active() -> Look {
        let process = Course {
            phase: Phase::Active,
            ..Course::default()
        };
        Look {
            listeners: vec![
                ("web".into(), process.clone()),
                ("db".into(), process.clone()),
            ],
            process,
            ..Look::default()
        }
    }

    fn drained(phase: Phase, stages: &[Stage]) -> Course {
        Course {
            phase,
            started: Some(Timestamp::from_start(Duration::from_secs(1))),
            trigger: Some(Trigger::Api),
            stages: stages.to_vec(),
            alone: false,
        }
    }

    fn words(before: &Look, now: &Look) -> Vec<String> {
        let news = between(before, now);
        let word = |one: &News| match one {
            News::Phase { phase } => phase.as_str().to_owned(),
            News::Stage {
                listener: None,
                stage,
            } => stage.as_str().to_owned(),
            News::Stage {
                listener: Some(name),
                stage,
            } => format!("{name} {}", stage.as_str()),
            News::Drain {
                listener: Some(name),
                ..
            } => format!("{name} drain"),
            other => other.as_str().to_owned(),
        };
        news.iter().map(word).collect()
    }

    #[test]
    fn nothing_is_new_of_what_is_the_same() {
        assert_eq!(between(&active(), &active()), []);
    }

    #[test]
    fn what_happened_between_two_looks_is_told_in_its_order() {
        let mut gone = active();
        gone.process = drained(Phase::Terminated, &Stage::ALL);
        let told = words(&active(), &gone);
        let expected = [
            "drain",
            "announce",
            "draining",
            "refuse",
            "retire",
            "finish",
            "farewell",
            "cut",
            "terminated",
        ];
        assert_eq!(told, expected);
        assert_eq!(words(&gone, &gone), [""; 0]);
    }

    #[test]
    fn a_drain_that_is_taken_back_and_asked_for_again_is_three_news() {
        let mut first = active();
        first.process = drained(Phase::Active, &[Stage::Announce]);
        let mut second = first.clone();
        second.process.started = Some(Timestamp::from_start(Duration::from_secs(2)));
        assert_eq!(words(&first, &second), ["cancelled", "drain", "announce"]);
        assert_eq!(words(&first, &active()), ["cancelled"]);
    }

    #[test]
    fn a_listener_tells_what_the_process_does_not() {
        let mut together = active();
        together.process = drained(Phase::Draining, &[Stage::Announce, Stage::Refuse]);
        together.listeners[0].1 = together.process.clone();
        together.listeners[1].1 = drained(Phase::Active, &[Stage::Announce]);
        let told = words(&active(), &together);
        assert_eq!(told, ["drain", "announce", "draining", "refuse"]);
        let mut later = together.clone();
        later.listeners[1].1 = together.process.clone();
        assert_eq!(words(&together, &later), ["db refuse"]);
    }

    #[test]
    fn a_listener_alone_has_a_drain_of_its_own() {
        let mut alone = active();
        alone.listeners[1].1 = Course {
            alone: true,
            ..drained(Phase::Terminated, &[Stage::Announce, Stage::Refuse])
        };
        let told = words(&active(), &alone);
        assert_eq!(told, ["db drain", "db announce", "db refuse", "drained"]);
    }

    #[test]
    fn farewells_and_cuts_are_what_was_added() {
        let mut before = active();
        before.farewells.insert("reset", 2);
        before.cuts.insert("farewell", 1);
        let mut now = before.clone();
        now.farewells.insert("reset", 5);
        now.farewells.insert("fin", 0);
        let told = between(&before, &now);
        let expected = News::Ended {
            farewells: BTreeMap::from([("reset", 3)]),
            cuts: BTreeMap::new(),
        };
        assert_eq!(told, [expected]);
    }

    #[test]
    fn who_was_told_is_said_before_the_end() {
        let mut gone = active();
        gone.process = drained(Phase::Terminated, &Stage::ALL[..5]);
        gone.farewells.insert("unanswered", 1);
        let told = words(&active(), &gone);
        assert_eq!(told[told.len() - 3..], ["farewell", "ended", "terminated"]);
    }

    #[test]
    fn a_server_is_told_when_it_changes_or_goes() {
        use crate::admin::view::ServerState;
        let name = |server: &str| ServerName {
            upstream: "site".into(),
            server: server.into(),
        };
        let look = |up, state| ServerLook {
            up,
            state,
            standing: if up { "serving" } else { "down" }.to_owned(),
        };
        let mut before = active();
        before.servers = vec![
            (name("a"), look(true, ServerState::Serving)),
            (name("b"), look(true, ServerState::Serving)),
            (name("c"), look(true, ServerState::Serving)),
        ];
        let mut now = active();
        now.servers = vec![
            (name("a"), look(false, ServerState::Serving)),
            (name("b"), look(true, ServerState::Serving)),
            (name("d"), look(true, ServerState::Serving)),
        ];
        let told = between(&before, &now);
        let written: Vec<_> = told
            .iter()
            .map(|one| serde_json::to_string(one).expect("JSON"))
            .collect();
        assert_eq!(
            written,
            [
                r#"{"upstream":"site","server":"a","up":false,"state":"serving","standing":"down","removed":false}"#,
                r#"{"upstream":"site","server":"c","up":true,"state":"serving","standing":"serving","removed":true}"#,
            ]
        );
    }

    #[test]
    fn a_successor_is_told_before_the_drain_that_it_brings() {
        let mut after = active();
        after.successor = Some(7);
        after.process = drained(Phase::Draining, &[Stage::Retire]);
        let told = words(&active(), &after);
        assert_eq!(told, ["handover", "drain", "draining", "retire"]);
        let mut heir = active();
        heir.predecessors = vec![3];
        assert_eq!(words(&active(), &heir), ["predecessor"]);
    }
}
