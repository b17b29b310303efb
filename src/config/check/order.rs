//! Which listener is drained after which.
//!
//! Purpose: names in `after` must be those of other listeners, must not lead in
//! a circle, and what they make of the drain must fit its grace.
//!
//! Invariant: the order that leaves here can be kept, in the time there is.
//!
//! Deliberately absent: how long a row of listeners takes. The group of drains
//! says so, in `drain`, as it is the one that will keep the order.

use super::super::file::Listener;
use super::super::model;
use super::super::read::{At, Named, nearest};
use super::super::report::{Problem, Reported, quote};
use super::Check;
use crate::drain::{Group, Plan};
use std::sync::Arc;

impl Check<'_> {
    /// The names in one listener's `after`.
    pub(super) fn after(
        &self,
        listener: &str,
        written: Option<At<Vec<At<String>>>>,
    ) -> Result<Vec<Arc<str>>, Reported> {
        let Some(written) = written else {
            return Ok(Vec::new());
        };
        super::all(written.value?, |key| {
            let name = key.get()?;
            if name == listener {
                let problem = Problem::at(&key.span, "a listener cannot come after itself");
                return self.refuse(problem.help("write the names of other listeners"));
            }
            if self.listener_names.iter().any(|known| known == name) {
                return Ok(Arc::from(name.as_str()));
            }
            let known: Vec<_> = self.listener_names.iter().map(String::as_str).collect();
            let help = nearest(name, &known).map_or_else(
                || "write the name of a listener of this file".to_owned(),
                |near| format!("did you mean `\"{near}\"`?"),
            );
            let what = format!("there is no listener {}", quote(name));
            self.refuse(Problem::at(&key.span, what).help(help))
        })
    }

    /// Whether the order as a whole can be kept, and in time.
    pub(super) fn order(
        &self,
        written: &[(String, Option<super::Span>)],
        listeners: &[model::Listener],
        plan: &Plan,
    ) -> Result<(), Reported> {
        let span_of = |name: &str| {
            let mut named = written.iter().filter(|(known, _)| known == name);
            named.next().and_then(|(_, span)| span.clone())
        };
        if let Some(first) = listeners.iter().find(|one| in_circle(one, listeners)) {
            let what = format!("listener {} waits for itself", quote(&first.name));
            let span = span_of(&first.name).unwrap_or_default();
            let problem = Problem::at(&span, what).label("these lead back to it");
            return self.refuse(problem.help("take one name out of the circle of `after`"));
        }
        let mut group = Group::new(*plan);
        for listener in listeners {
            group.add(Arc::clone(&listener.name), listener.after.clone());
        }
        let turns = u32::try_from(group.turns()).unwrap_or(u32::MAX);
        let total = plan.total_in(turns);
        let last = listeners.iter().rev().find(|one| !one.after.is_empty());
        let span = last.and_then(|one| span_of(&one.name));
        let Some(span) = span.filter(|_| turns > 1 && total > plan.grace) else {
            return Ok(());
        };
        let (total, grace) = (total.as_secs_f64(), plan.grace.as_secs_f64());
        let what = format!(
            "listeners are drained in {turns} turns, which can take {total}s, but `grace` is {grace}s"
        );
        let problem = Problem::at(&span, what).label("each turn has the longest `finish`");
        self.refuse(problem.help("raise `grace`, lower `finish`, or order fewer listeners"))
    }
}

/// Whether a listener comes, by way of others, after itself.
fn in_circle(listener: &model::Listener, all: &[model::Listener]) -> bool {
    let mut seen: Vec<&str> = Vec::new();
    let mut next: Vec<&str> = listener.after.iter().map(|name| &**name).collect();
    while let Some(name) = next.pop() {
        if *name == *listener.name {
            return true;
        }
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let named = all.iter().filter(|one| &*one.name == name);
        next.extend(named.flat_map(|one| one.after.iter().map(|name| &**name)));
    }
    false
}

/// Each listener's name, and where its `after` is written.
pub(super) fn written(
    listeners: Option<&At<Named<Listener>>>,
) -> Vec<(String, Option<super::Span>)> {
    let listeners = listeners.and_then(|listeners| listeners.get().ok());
    let listeners = listeners.map_or(&[][..], |listeners| &listeners.0);
    let named = listeners.iter().filter_map(|(name, listener)| {
        let after = listener.get().ok().and_then(|one| one.after.as_ref());
        Some((
            name.get().ok()?.clone(),
            after.map(|after| after.span.clone()),
        ))
    });
    named.collect()
}
