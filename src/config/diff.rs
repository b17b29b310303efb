//! What tells two configurations apart: the plan of a reload.
//!
//! Purpose: from the running config and a new one, what is to be added, drained
//! and changed, by name, and what cannot be changed without a new process.
//!
//! Invariant: two configs whose [`Diff`] is empty run alike. Names are compared,
//! not positions; the content of certificates, not their paths.
//!
//! Deliberately absent: doing any of it, and counting connections.

use super::model::{Config, Listener, Logs, Route, Serves, Upstream};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// What becomes of one thing that has a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone: what it has in flight is drained.
    Removed,
    /// It is another under the same name: the new one is added, the old one
    /// removed.
    Replaced,
    /// These of its settings are others.
    Changed(Vec<&'static str>),
}

/// What tells a new configuration from the running one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Diff {
    /// Listeners, by name.
    pub listeners: Vec<(Arc<str>, Change)>,
    /// Upstreams, by name.
    pub upstreams: Vec<(Arc<str>, Change)>,
    /// Servers that an upstream that stays has no more: upstream, server.
    pub servers_gone: Vec<(Arc<str>, Arc<str>)>,
    /// What holds for the process and can change while it runs.
    pub process: Vec<&'static str>,
    /// What cannot: a sentence for each, with what to do instead.
    pub refused: Vec<String>,
}

impl Diff {
    /// What has to be done to run `new` in place of `old`.
    #[must_use]
    pub fn between(old: &Config, new: &Config) -> Self {
        let mut diff = Self {
            listeners: changes(
                &old.listeners,
                &new.listeners,
                |one| &one.name,
                |a, b| listener((old, a), (new, b)),
            ),
            upstreams: changes(&old.upstreams, &new.upstreams, |one| &one.name, upstream),
            servers_gone: servers_gone(&old.upstreams, &new.upstreams),
            ..Self::default()
        };
        diff.compare_process(old, new);
        diff
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn compare_process(&mut self, old: &Config, new: &Config) {
        let settings = [
            ("the drain plan", old.plan != new.plan),
            ("`handover.ready`", old.handover.ready != new.handover.ready),
            ("hooks", old.hooks != new.hooks),
            ("where the receipt is kept", old.receipt != new.receipt),
            (
                "the log level",
                old.process.logs.level != new.process.logs.level,
            ),
            (
                "the log format",
                old.process.logs.format != new.process.logs.format,
            ),
            (
                "the access log",
                old.process.logs.access != new.process.logs.access,
            ),
            (
                "the admin tokens",
                (&old.admin.tokens, &old.admin.read_tokens)
                    != (&new.admin.tokens, &new.admin.read_tokens),
            ),
            ("`admin.tls`", old.admin.tls != new.admin.tls),
            ("`process.zone`", old.process.zone != new.process.zone),
            ("`process.watch`", old.process.watch != new.process.watch),
            (
                "`process.connections`",
                old.process.connections != new.process.connections,
            ),
            (
                "`process.tunnels`",
                old.process.tunnels != new.process.tunnels,
            ),
            ("`process.memory`", old.process.memory != new.process.memory),
            ("`admin.linger`", old.admin.linger != new.admin.linger),
            ("traces", old.process.traces != new.process.traces),
        ];
        let changed = settings.into_iter().filter(|(_, changed)| *changed);
        self.process = changed.map(|(name, _)| name).collect();
        let (logs, other_logs) = (&old.process.logs, &new.process.logs);
        let fixed = [
            ("`admin.listen`", old.admin.listen != new.admin.listen),
            (
                "`process.workers`",
                old.process.workers != new.process.workers,
            ),
            ("`logs.file`", logs.file != other_logs.file),
            (
                "`handover.socket`",
                old.handover.socket != new.handover.socket,
            ),
            (
                "`logs.access.file`",
                access_file(logs) != access_file(other_logs),
            ),
        ];
        let fixed = fixed.into_iter().filter(|(_, changed)| *changed);
        self.refused = fixed
            .map(|(name, _)| {
                format!(
                    "{name} cannot change while the process runs: hand over to a new one \
                     (`ebbtide handover --exec PATH`)"
                )
            })
            .collect();
    }
}

fn access_file(logs: &Logs) -> Option<&Path> {
    logs.access.as_ref()?.file.as_deref()
}

/// What changed between two lists of named things, in the order of the new
/// one, and then what is gone.
fn changes<T>(
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &Arc<str>,
    compare: impl Fn(&T, &T) -> Option<Change>,
) -> Vec<(Arc<str>, Change)> {
    let mut found = Vec::new();
    for one in new {
        let before = old.iter().find(|before| name(before) == name(one));
        let change = before.map_or(Some(Change::Added), |before| compare(before, one));
        found.extend(change.map(|change| (Arc::clone(name(one)), change)));
    }
    for one in old {
        if !new.iter().any(|after| name(after) == name(one)) {
            found.push((Arc::clone(name(one)), Change::Removed));
        }
    }
    found
}

fn listener(
    (old, before): (&Config, &Listener),
    (new, after): (&Config, &Listener),
) -> Option<Change> {
    let kind = |one: &Listener| (one.tls.is_some(), matches!(one.serves, Serves::Http { .. }));
    if before.listen != after.listen || kind(before) != kind(after) {
        return Some(Change::Replaced);
    }
    let settings = [
        ("routes", !same_routes((old, before), (new, after))),
        ("tls", before.tls != after.tls),
        ("idle", before.idle != after.idle),
        ("limits", before.limits != after.limits),
        ("max_age", before.max_age != after.max_age),
        ("max_age_grace", before.max_age_grace != after.max_age_grace),
        ("keepalive", before.keepalive != after.keepalive),
        ("after", before.after != after.after),
        (
            "proxy_protocol",
            before.proxy_protocol != after.proxy_protocol,
        ),
        ("grpc_health", before.grpc_health != after.grpc_health),
        ("grpc_web", before.grpc_web != after.grpc_web),
    ];
    changed(&settings)
}

fn changed(settings: &[(&'static str, bool)]) -> Option<Change> {
    let names = settings.iter().filter(|(_, changed)| *changed);
    let names: Vec<_> = names.map(|(name, _)| *name).collect();
    (!names.is_empty()).then_some(Change::Changed(names))
}

fn same_routes((old, before): (&Config, &Listener), (new, after): (&Config, &Listener)) -> bool {
    // What is served, HTTP or bytes, was compared before.
    let (before, after) = (before.serves.routes(), after.serves.routes());
    let mut pairs = before.iter().zip(after);
    before.len() == after.len()
        && pairs.all(|(before, after)| same_route((old, before), (new, after)))
}

fn same_route((old, before): (&Config, &Route), (new, after): (&Config, &Route)) -> bool {
    before.host == after.host
        && before.path == after.path
        && before.set_response_headers == after.set_response_headers
        && before.timeout == after.timeout
        && before.retries == after.retries
        && before.retry == after.retry
        && before.body == after.body
        && old.upstream(before.upstream).name == new.upstream(after.upstream).name
}

fn upstream(before: &Upstream, after: &Upstream) -> Option<Change> {
    let settings = [
        (
            "servers",
            (&before.servers, &before.sources) != (&after.servers, &after.sources),
        ),
        ("discover", before.discover != after.discover),
        ("http", before.http != after.http),
        ("health", before.health != after.health),
        ("balance", before.balance != after.balance),
        ("zone", before.zone != after.zone),
        ("spill", before.spill != after.spill),
        ("panic", before.panic != after.panic),
        ("slow_start", before.slow_start != after.slow_start),
        ("eject", before.eject != after.eject),
        ("going", before.going != after.going),
        ("limits", before.limits != after.limits),
        ("adaptive", before.adaptive != after.adaptive),
        (
            "connect_timeout",
            before.connect_timeout != after.connect_timeout,
        ),
        ("tls", before.tls != after.tls),
        (
            "proxy_protocol",
            before.proxy_protocol != after.proxy_protocol,
        ),
        ("pool", before.pool != after.pool),
    ];
    changed(&settings)
}

fn servers_gone(old: &[Upstream], new: &[Upstream]) -> Vec<(Arc<str>, Arc<str>)> {
    let mut gone = Vec::new();
    for before in old {
        let Some(after) = new.iter().find(|after| after.name == before.name) else {
            continue;
        };
        let missing = before.servers.iter().filter(|server| {
            let mut left = after.servers.iter();
            !left.any(|other| other.address == server.address)
        });
        gone.extend(missing.map(|server| (Arc::clone(&before.name), Arc::clone(&server.name))));
    }
    gone
}

impl fmt::Display for Diff {
    /// A line for each change, in words for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, changes) in [("listener", &self.listeners), ("upstream", &self.upstreams)] {
            for (name, change) in changes {
                match change {
                    Change::Added => writeln!(f, "adds {kind} {name}")?,
                    Change::Removed => writeln!(f, "drains {kind} {name} and takes it away")?,
                    Change::Replaced => writeln!(f, "adds the new {kind} {name}, drains the old")?,
                    Change::Changed(what) => {
                        writeln!(f, "changes {kind} {name}: {}", what.join(", "))?;
                    }
                }
            }
        }
        for (upstream, server) in &self.servers_gone {
            writeln!(f, "drains server {server} of upstream {upstream}")?;
        }
        if !self.process.is_empty() {
            writeln!(f, "changes {}", self.process.join(", "))?;
        }
        for sentence in &self.refused {
            writeln!(f, "refused: {sentence}")?;
        }
        if self.is_empty() {
            writeln!(f, "changes nothing")?;
        }
        Ok(())
    }
}
