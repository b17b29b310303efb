//! Whether a drain fits the time that the orchestrator really gives.
//!
//! Purpose: `grace` is what the config believes; `--grace` is what stands in the
//! manifest or unit. A plan that needs more than that ends in SIGKILL, with
//! nobody told.
//!
//! Invariant: what is added up here is what the exit waits for: the stages,
//! in as many turns as listeners take, then hooks that still run and `linger`.
//!
//! Deliberately absent: who gives the time.

use super::model::Config;
use super::report::{Problem, Report};
use super::units::show;
use crate::drain::Group;
use std::sync::Arc;
use std::time::Duration;

impl Config {
    /// From the beginning of a drain to the exit, at most.
    #[must_use]
    pub fn longest_exit(&self) -> Duration {
        let mut group = Group::new(self.plan);
        for listener in &self.listeners {
            group.add(Arc::clone(&listener.name), listener.after.clone());
        }
        let turns = u32::try_from(group.turns()).unwrap_or(u32::MAX);
        let total = self.plan.total_in(turns);
        let hooks = self.hooks.iter().filter_map(|hook| {
            let starts = hook.on.latest(&self.plan, total)?;
            Some(starts.saturating_add(hook.timeout))
        });
        let lingers = total.saturating_add(self.admin.linger);
        hooks.fold(lingers, Duration::max)
    }

    /// Hold the plan to the time that is `given`, if that is known.
    ///
    /// # Errors
    /// The [`Report`] that it does not fit.
    pub(super) fn within(self, given: Option<Duration>) -> Result<Self, Report> {
        let needs = self.longest_exit();
        let Some(time) = given.filter(|given| *given < needs) else {
            return Ok(Self { given, ..self });
        };
        let message = format!(
            "a drain can take {}, but SIGKILL comes after {}",
            show(needs),
            show(time)
        );
        let problem = Problem::whole(message).help(
            "lower `announce`, `finish`, `farewell`, `linger` or the `timeout` of late hooks; or \
             have more given (terminationGracePeriodSeconds, TimeoutStopSec) and say so by --grace",
        );
        Err(Report::of(&self.source, "", problem))
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use std::path::Path;

    fn config(more: &str) -> Config {
        let text = format!(
            "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
             [upstream.site]\nservers = [\"127.0.0.1:1\"]\n{more}"
        );
        parse(Path::new("test.toml"), &text).expect("good")
    }

    fn seconds(more: &str) -> u64 {
        config(more).longest_exit().as_secs()
    }

    #[test]
    fn the_exit_waits_for_stages_turns_linger_and_late_hooks() {
        assert_eq!(seconds(""), 27);
        assert_eq!(seconds("[admin]\nlinger = \"2s\"\n"), 29);
        let other = "[listener.db]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n\
                     upstream = \"site\"\nafter = [\"web\"]\n[drain]\ngrace = \"60s\"\n";
        assert_eq!(seconds(other), 49);
        let hook = |on: &str, timeout: &str| {
            format!("[[hook]]\non = \"{on}\"\nexec = [\"true\"]\ntimeout = \"{timeout}\"\n")
        };
        // It runs beside the stages that follow.
        assert_eq!(seconds(&hook("announce", "20s")), 27);
        assert_eq!(seconds(&hook("announce", "40s")), 40);
        assert_eq!(seconds(&hook("finish", "30s")), 35);
        assert_eq!(seconds(&hook("farewell", "9s")), 34);
        assert_eq!(seconds(&hook("cut", "9s")), 36);
        assert_eq!(seconds(&hook("terminated", "9s")), 36);
        assert_eq!(seconds(&hook("reload", "9m")), 27);
    }

    #[test]
    fn a_plan_that_outlasts_what_is_given_is_refused() {
        let given = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(config("").within(None).expect("not asked").given, None);
        let fits = config("").within(given(27)).expect("just so");
        assert_eq!(fits.given, given(27));
        let report = config("").within(given(26)).expect_err("a second more");
        let drawn = report.to_string();
        assert!(
            drawn.contains("a drain can take 27s, but SIGKILL comes after 26s"),
            "{drawn}"
        );
        assert!(drawn.contains("terminationGracePeriodSeconds"), "{drawn}");
    }
}
