//! What is heard of servers, and what comes of it.
//!
//! Purpose: exchanges report, health checks report, time passes; here it is
//! decided who is ejected, who is going, who comes back and how slowly, and every
//! change is logged once.
//!
//! Invariant: decisions of one upstream are made one after the other, or two
//! workers could eject more servers than may be. Whatever was decided is in the
//! roster before the call returns. An exchange that went well takes no lock.
//!
//! Deliberately absent: how they are decided (see `standing`), and requests: an
//! exchange that failed is sent on by who sent it.

use super::Upstream;
use super::balance::WHOLE;
use super::server::Server;
use super::standing::eject::{Reason, may_eject};
use super::standing::{Record, outliers, ramp};
use crate::clock;
use crate::config::{Eject, SuccessRate};
use crate::drain::Timestamp;
use crate::proxy::registry::Gate;
use http::header::CONNECTION;
use http::{StatusCode, Version, response};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How often the share of a server that warms up is looked at.
const STEP: Duration = Duration::from_millis(100);

impl Upstream {
    /// A server answered with this head. What it says of itself is heard and not
    /// passed on: to who asks this proxy, it would be about the proxy. Whether it is
    /// an answer that its servers worked for, and not a quick refusal.
    pub fn answered(&self, server: usize, head: &mut response::Parts) -> bool {
        let failed = failed(head);
        let known = &self.servers[server];
        let standing = &known.standing;
        standing.did_well(Reason::ConnectErrors);
        standing.did_well(Reason::Resets);
        if failed {
            self.failed(server, Reason::ServerErrors);
        } else {
            standing.did_well(Reason::ServerErrors);
        }
        self.count(known, !failed);
        if let Some(field) = &self.going.header
            && head.headers.remove(field).is_some()
        {
            self.is_going(server, "its answer says that it is going");
        }
        if self.going.closes > 0 && head.version == Version::HTTP_11 {
            self.hear_close(server, head);
        }
        !failed && !refuses(head)
    }

    /// Whether the connection of an answer stays open. That says something of the
    /// server only if it changes, and not in an answer to a request that is at
    /// fault: after some of those a server cannot know where the next one begins.
    fn hear_close(&self, server: usize, head: &response::Parts) {
        let standing = &self.servers[server].standing;
        if !says_close(head) {
            standing.keeps_open();
        } else if of_server(head.status) && standing.closes() == self.going.closes {
            self.is_going(server, "it closes one connection after the other");
        }
    }

    /// A server did not answer, or broke the exchange off.
    pub fn broke_off(&self, server: usize) {
        self.failed(server, Reason::Resets);
        self.count(&self.servers[server], false);
    }

    /// A server had not answered yet when another one had, that was asked later. For
    /// once that says nothing of it; time and again it is not there.
    pub fn outrun(&self, server: usize) {
        self.failed(server, Reason::Resets);
    }

    /// A connection to a server was made, or could not be.
    pub(super) fn dialled(&self, server: usize, well: bool) {
        if well {
            self.servers[server]
                .standing
                .did_well(Reason::ConnectErrors);
        } else if self.servers[server].berth.gate() != Gate::Shut {
            // One that is being drained may refuse.
            self.failed(server, Reason::ConnectErrors);
        }
    }

    /// Whether a server has told all connections to leave, so that it is going.
    pub(super) fn heed_goaway(&self, server: usize) -> bool {
        let told = self.servers[server].standing.take_goaway();
        if told && self.going.goaway {
            self.is_going(server, "it said GOAWAY on every connection");
        }
        told && self.going.goaway
    }

    fn count(&self, server: &Server, well: bool) {
        let eject = self.eject.as_ref();
        if eject.is_some_and(|eject| eject.success_rate.is_some()) {
            server.standing.count(well);
        }
    }

    fn failed(&self, server: usize, reason: Reason) {
        let Some(eject) = &self.eject else { return };
        let enough = match reason {
            Reason::ConnectErrors => eject.connect_errors,
            Reason::Resets => eject.resets,
            Reason::ServerErrors => eject.server_errors,
            Reason::SuccessRate => return,
        };
        let row = self.servers[server].standing.failed(reason);
        // Not at each further one: it may be that no more can be ejected.
        if enough > 0 && row.is_multiple_of(enough) {
            self.eject(server, reason, eject, clock::now());
        }
    }

    /// Give a server nothing for a while, if that may be.
    pub(super) fn eject(&self, server: usize, reason: Reason, eject: &Eject, now: Timestamp) {
        let deciding = self.deciding.lock();
        let ejected = self.servers.iter().filter(|one| one.standing.is_ejected());
        let known = &self.servers[server];
        if known.standing.is_ejected() || !may_eject(ejected.count(), self.servers.len(), eject) {
            return;
        }
        let mut record = known.standing.record.lock();
        let until = record.ejection.begin(eject, now);
        record.why = Some(reason.as_str().into());
        drop(record);
        known.standing.set_ejected(true);
        known.standing.ejected_for(reason);
        drop(deciding);
        self.redraw();
        self.stirred.notify_one();
        let for_ms = until.saturating_since(now).as_millis();
        tracing::warn!(
            target: "ebbtide::health", event = "server_ejected", upstream = &*self.name,
            server = &*known.name, reason = reason.as_str(),
            for_ms = u64::try_from(for_ms).unwrap_or(u64::MAX), "server is ejected"
        );
    }

    fn is_going(&self, server: usize, why: &'static str) {
        let now = clock::now();
        let known = &self.servers[server];
        let news = {
            let _deciding = self.deciding.lock();
            let mut record = known.standing.record.lock();
            record.going = Some((now, now + self.going.time));
            record.why = Some(why.into());
            let news = !known.standing.is_going();
            known.standing.set_going(true);
            news
        };
        if news {
            self.redraw();
            self.stirred.notify_one();
            tracing::warn!(
                target: "ebbtide::health", event = "server_going", upstream = &*self.name,
                server = &*known.name, reason = why, "server is going"
            );
        }
    }

    /// A check that began at `began` found a server well, or changed its health.
    pub(super) fn was_checked(
        &self,
        server: usize,
        began: Timestamp,
        changed: Option<(bool, String)>,
    ) {
        let known = &self.servers[server];
        if changed.is_none() && !known.standing.is_going() {
            return;
        }
        let _deciding = self.deciding.lock();
        let mut record = known.standing.record.lock();
        match changed {
            Some((true, _)) => {
                known.standing.set_up(true);
                record.since = Some(clock::now());
            }
            Some((false, why)) => {
                known.standing.set_up(false);
                record.why = Some(why.into());
            }
            None => {}
        }
        if known.standing.up() && record.going.is_some_and(|(said, _)| said < began) {
            self.stays(known, &mut record);
        }
        drop(record);
        self.redraw();
        self.stirred.notify_one();
    }

    fn stays(&self, known: &Server, record: &mut Record) {
        record.going = None;
        record.since = Some(clock::now());
        known.standing.set_going(false);
        tracing::info!(
            target: "ebbtide::health", event = "server_stays", upstream = &*self.name,
            server = &*known.name, "server is not going any more"
        );
    }

    /// Do what is due at `now`; when to come again, if anything is to come.
    pub(super) fn tend(&self, now: Timestamp) -> Option<Timestamp> {
        let deciding = self.deciding.lock();
        let mut next = None;
        let mut at =
            |time: Timestamp| next = Some(next.map_or(time, |next: Timestamp| next.min(time)));
        let mut changed = false;
        let mut back = Vec::new();
        for known in self.servers.iter() {
            let standing = &known.standing;
            let mut record = standing.record.lock();
            match record.ejection.until() {
                Some(until) if until <= now => {
                    record.ejection.end(now);
                    record.since = Some(now);
                    standing.set_ejected(false);
                    changed = true;
                    back.push(&known.name);
                }
                Some(until) => at(until),
                None => {}
            }
            match record.going {
                Some((_, until)) if until <= now => {
                    self.stays(known, &mut record);
                    changed = true;
                }
                Some((_, until)) => at(until),
                None => {}
            }
            let warm = record.since.filter(|_| !self.slow_start.is_zero());
            let part = warm.map_or(WHOLE, |since| {
                ramp::part(now.saturating_since(since), self.slow_start)
            });
            if part < WHOLE {
                at(now + STEP.min(self.slow_start));
            }
            changed |= standing.set_ramp(part);
        }
        drop(deciding);
        if changed {
            self.redraw();
        }
        // Said when it is true: who reads it may send at once.
        for server in back {
            tracing::info!(
                target: "ebbtide::health", event = "server_returned", upstream = &*self.name,
                server = &**server, "server is given requests again"
            );
        }
        next
    }

    /// Tend for ever.
    pub(super) async fn tend_for_ever(&self) {
        loop {
            let now = clock::now();
            let due = self.tend(now);
            let sleeping = async {
                match due {
                    Some(due) => sleep(due.saturating_since(now)).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = sleeping => {}
                () = self.stirred.notified() => {}
            }
        }
    }

    /// Look for outliers for ever, if they are to be ejected.
    pub(super) async fn find_outliers_for_ever(&self) {
        let Some((eject, settings)) = self
            .eject
            .as_ref()
            .and_then(|eject| Some((eject, eject.success_rate.as_ref()?)))
        else {
            return;
        };
        let mut ticks = interval(settings.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.find_outliers(eject, settings, clock::now());
        }
    }

    pub(super) fn find_outliers(&self, eject: &Eject, settings: &SuccessRate, now: Timestamp) {
        let done: Vec<_> = self
            .servers
            .iter()
            .map(|server| {
                let done = server.standing.done();
                let mut record = server.standing.record.lock();
                done.since(std::mem::replace(&mut record.before, done))
            })
            .collect();
        for server in outliers::outliers(&done, settings) {
            self.eject(server, Reason::SuccessRate, eject, now);
        }
    }

    /// Why a server is not given its share, if it is not.
    pub(super) fn why(known: &Server) -> Option<Arc<str>> {
        let record = known.standing.record.lock();
        let against =
            !known.standing.up() || known.standing.is_ejected() || known.standing.is_going();
        record.why.clone().filter(|_| against)
    }
}

/// Whether its connection is to be closed (RFC 9112, section 9.6).
fn says_close(head: &response::Parts) -> bool {
    head.headers.get_all(CONNECTION).iter().any(|field| {
        let mut options = field.as_bytes().split(|byte| *byte == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}

/// Whether a status tells nothing against the request.
fn of_server(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection() || status == StatusCode::SERVICE_UNAVAILABLE
}

/// Whether an answer says that its server failed: 5xx, or a gRPC status that
/// stands for one, where nothing but it was said.
/// Whether it says that too much is asked: 429, or `RESOURCE_EXHAUSTED`.
fn refuses(head: &response::Parts) -> bool {
    let status = head.headers.get("grpc-status");
    head.status == StatusCode::TOO_MANY_REQUESTS || status.is_some_and(|status| status == "8")
}

fn failed(head: &response::Parts) -> bool {
    if head.status.is_server_error() {
        return head.status != StatusCode::NOT_IMPLEMENTED
            && head.status != StatusCode::HTTP_VERSION_NOT_SUPPORTED;
    }
    // INTERNAL, UNAVAILABLE, DATA_LOSS.
    let status = head.headers.get("grpc-status");
    status.is_some_and(|status| matches!(status.as_bytes(), b"13" | b"14" | b"15"))
}
