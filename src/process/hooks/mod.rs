//! Hooks: what the operator wants done when a drain reaches a stage, is taken
//! back or over, and when a reload is done.
//!
//! Run beside the drain, never in its way: each has its own limit on time,
//! and one that fails is logged, counted, and in the receipt. The exit waits
//! for those still running, and for no longer than their limits: a
//! deregistration that is cut short is worse than none.
//!
//! Invariant: what a hook came to is told of the drain that started it, and
//! of no later one. What undoes (`cancelled`) begins when what it undoes has
//! ended, and the other way round; otherwise there is no order among hooks.
//!
//! Deliberately absent: trying again.

mod exec;
mod news;
mod request;
mod turn;

pub(super) use news::{Bound, News, Outcome};

use crate::clock;
use crate::config::{Hook, HookRun, Occasion, Word};
use crate::drain::{HookEnd, HookRan, Timestamp};
use crate::telemetry::metrics::Metrics;
use bytes::Bytes;
use parking_lot::Mutex;
use request::Wanted;
use std::io;
use std::sync::Arc;
use tokio::task::JoinSet;
use turn::Turn;

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    System(#[from] io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the program ended with {0}")]
    Program(std::process::ExitStatus),
    #[error("the server answered {0}")]
    Status(http::StatusCode),
    #[error("the URL is not usable: {0}")]
    Url(String),
    #[error("its time was over")]
    Timeout,
}

pub(super) struct Hooks {
    known: Vec<Arc<Hook>>,
    running: JoinSet<()>,
    metrics: Arc<Metrics>,
    turn: Turn,
    /// The drain under way, and what its hooks came to.
    drain: Option<Arc<Ran>>,
}

/// The hooks of one drain.
struct Ran {
    began: Timestamp,
    hooks: Mutex<Vec<HookRan>>,
}

impl Hooks {
    pub(super) fn new(hooks: &[Hook], metrics: &Arc<Metrics>) -> Self {
        let mut new = Self {
            known: Vec::new(),
            running: JoinSet::new(),
            metrics: Arc::clone(metrics),
            turn: Turn::default(),
            drain: None,
        };
        new.replace(hooks);
        new
    }

    /// Run others from now on; those that run already run on.
    pub(super) fn replace(&mut self, hooks: &[Hook]) {
        self.known = hooks.iter().cloned().map(Arc::new).collect();
        for hook in hooks {
            for end in [HookEnd::Done, HookEnd::Failed, HookEnd::Timeout] {
                self.metrics.hook_may_end(hook.on.word(), end.as_str());
            }
        }
    }

    /// A drain begins.
    pub(super) fn drain_begins(&mut self) {
        self.drain = Some(Arc::new(Ran {
            began: clock::now(),
            hooks: Mutex::default(),
        }));
    }

    /// The drain is taken back.
    pub(super) fn drain_cancelled(&mut self) {
        self.drain = None;
    }

    /// Whether an occasion starts any.
    pub(super) fn any(&self, on: Occasion) -> bool {
        self.known.iter().any(|hook| hook.on == on)
    }

    /// Start the hooks of an occasion.
    pub(super) fn run(&mut self, on: Occasion, news: &Bytes) {
        self.turn.passes_to(on == Occasion::Cancelled);
        let due = self.known.iter().filter(|hook| hook.on == on);
        for hook in due.cloned() {
            let began = clock::now();
            let place = self.drain.clone().map(|drain| {
                let after = began.saturating_since(drain.began);
                let ran = HookRan::begins(on.word(), hook.run.to_string(), after);
                let mut hooks = drain.hooks.lock();
                hooks.push(ran);
                let index = hooks.len() - 1;
                drop(hooks);
                (drain, index)
            });
            let (news, metrics) = (news.clone(), Arc::clone(&self.metrics));
            let turn = self.turn.join();
            self.running.spawn(async move {
                let _held = turn.begin().await;
                let (end, error) = carry_out(&hook, news).await;
                metrics.hook_ended(on.word(), end.as_str());
                if let Some((drain, index)) = place
                    && let Some(ran) = drain.hooks.lock().get_mut(index)
                {
                    ran.ends(clock::now().saturating_since(began), end, error);
                }
            });
        }
    }

    /// What the hooks of the drain came to so far.
    pub(super) fn ran(&self) -> Vec<HookRan> {
        let drain = self.drain.as_ref();
        drain.map_or_else(Vec::new, |drain| drain.hooks.lock().clone())
    }

    /// Wait for those still running; each is bounded.
    pub(super) async fn finish(&mut self) {
        while self.running.join_next().await.is_some() {}
    }

    /// End those still running at once.
    pub(super) fn abandon(&mut self) {
        while self.running.try_join_next().is_some() {}
        if self.running.is_empty() {
            return;
        }
        let hooks = self.running.len();
        tracing::warn!(event = "hook", hooks, "hooks abandoned: cut by an operator");
        self.running.abort_all();
        if let Some(drain) = &self.drain {
            drain
                .hooks
                .lock()
                .iter_mut()
                .for_each(HookRan::is_abandoned);
        }
    }
}

async fn carry_out(hook: &Hook, news: Bytes) -> (HookEnd, Option<String>) {
    let on = hook.on.word();
    let done = tokio::time::timeout(hook.timeout, run(hook, news)).await;
    match done.unwrap_or(Err(Failure::Timeout)) {
        Ok(()) => {
            tracing::info!(event = "hook", on, run = %hook.run, "hook done");
            (HookEnd::Done, None)
        }
        Err(error) => {
            tracing::warn!(event = "hook", on, run = %hook.run, %error, "hook failed");
            let end = match error {
                Failure::Timeout => HookEnd::Timeout,
                _ => HookEnd::Failed,
            };
            (end, Some(error.to_string()))
        }
    }
}

async fn run(hook: &Hook, news: Bytes) -> Result<(), Failure> {
    match &hook.run {
        HookRun::Exec { command } => exec::exec(command, hook.on.word(), news).await,
        HookRun::Http {
            method,
            url,
            headers,
            body,
        } => {
            let wanted = Wanted {
                method,
                url,
                headers,
                body: body.as_deref(),
            };
            request::request(&wanted, news).await
        }
        HookRun::File { path, content } => {
            let content = content.as_deref().unwrap_or_default();
            Ok(tokio::fs::write(path, content).await?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Stage;
    use std::time::Duration;

    const ANNOUNCE: Occasion = Occasion::Stage(Stage::Announce);

    fn hooks(run: HookRun) -> Hooks {
        let hook = Hook {
            on: ANNOUNCE,
            run,
            timeout: Duration::from_secs(5),
        };
        Hooks::new(&[hook], &Metrics::new())
    }

    fn program(words: &[&str]) -> HookRun {
        HookRun::Exec {
            command: words.iter().map(|&word| word.to_owned()).collect(),
        }
    }

    #[tokio::test]
    async fn an_occasion_runs_its_own_hooks_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("told");
        let mut hooks = hooks(HookRun::File {
            path: file.clone(),
            content: Some("draining\n".into()),
        });
        hooks.run(Occasion::Stage(Stage::Refuse), &Bytes::new());
        hooks.run(Occasion::Terminated, &Bytes::new());
        hooks.finish().await;
        assert!(!file.exists());
        hooks.run(ANNOUNCE, &Bytes::new());
        hooks.finish().await;
        assert_eq!(
            std::fs::read_to_string(file).expect("the file"),
            "draining\n"
        );
    }

    #[tokio::test]
    async fn what_a_hook_came_to_is_told_of_its_own_drain() {
        let mut hooks = hooks(program(&["false"]));
        hooks.run(ANNOUNCE, &Bytes::new());
        assert_eq!(hooks.ran(), [], "no drain began");
        hooks.drain_begins();
        hooks.run(ANNOUNCE, &Bytes::new());
        assert_eq!(hooks.ran()[0].end, HookEnd::Running);
        hooks.finish().await;
        let ran = hooks.ran();
        let [one] = &ran[..] else {
            panic!("not one: {ran:?}");
        };
        assert_eq!(
            (one.on.as_str(), one.run.as_str()),
            ("announce", "exec false")
        );
        assert_eq!(one.end, HookEnd::Failed);
        assert!(one.took_ms.is_some());
        assert!(
            one.error
                .as_ref()
                .is_some_and(|error| error.contains("exit status: 1"))
        );
        hooks.drain_cancelled();
        hooks.drain_begins();
        assert_eq!(hooks.ran(), []);
    }

    #[tokio::test]
    async fn what_undoes_waits_for_what_it_undoes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let (go, log) = (path("go"), path("log"));
        let [go_on, log_in] = [&go, &log].map(|path| path.display().to_string());
        let script = |on: Occasion, script: String| Hook {
            on,
            run: program(&["sh", "-c", &script]),
            timeout: Duration::from_secs(20),
        };
        let waits = format!("until [ -e {go_on} ]; do sleep 0.01; done; echo done >> {log_in}");
        let undoes = format!("echo undone >> {log_in}");
        let all = [script(ANNOUNCE, waits), script(Occasion::Cancelled, undoes)];
        let mut hooks = Hooks::new(&all, &Metrics::new());
        for on in [ANNOUNCE, Occasion::Cancelled, ANNOUNCE, Occasion::Cancelled] {
            hooks.run(on, &Bytes::new());
        }
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            assert!(!log.exists(), "it did not wait");
        }
        std::fs::write(go, "").expect("written");
        hooks.finish().await;
        let told = std::fs::read_to_string(log).expect("written");
        assert_eq!(told, "done\nundone\ndone\nundone\n");
    }

    #[tokio::test]
    async fn those_that_are_cut_are_said_to_be() {
        let mut hooks = hooks(program(&["sleep", "600"]));
        hooks.drain_begins();
        hooks.run(ANNOUNCE, &Bytes::new());
        hooks.abandon();
        assert_eq!(hooks.ran()[0].end, HookEnd::Abandoned);
        hooks.finish().await;
    }
}
