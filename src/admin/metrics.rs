//! Metrics that are derived at the scrape: what is alive, and what the live
//! table has counted.
//!
//! Invariant: nothing is counted here, so nothing can disagree with what the
//! drain acts upon. A listener's usual series are there from the start, at
//! zero: a series that vanishes cannot be told from a scrape that failed.
//!
//! Deliberately absent: counters by route (see `telemetry::metrics`).

mod books;
mod connections;
mod discovery;
mod drain;
mod retries;
mod room;

use super::Admin;
use super::census::{Count, census};
use crate::drain::{CutReason, Farewell, Phase, Protocol};
use crate::proxy::registry::{
    Berth, Drained, Gate, HandshakeFlaw, HeaderFlaw, Limit, Scope, State,
};
use crate::proxy::upstream::{Position, ServerStatus};
use crate::telemetry::logs;
use crate::telemetry::metrics::{Family, Format};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The protocol of a connection on which none is known yet.
const UNKNOWN: &str = "unknown";

impl Admin {
    /// The whole text of a scrape.
    pub(super) fn metrics_text(&self, format: Format) -> String {
        self.metrics.encode(self.families(), format)
    }

    pub(super) fn families(&self) -> Vec<Family> {
        let counts = census(&self.listener_names(), &self.registry);
        let mut families = vec![
            self.phase_family(),
            self.ready_family(),
            Self::connections_family(&counts),
            self.drained_family(),
            self.farewells_family(),
            self.cuts_family(),
            self.headers_family(),
            self.handshakes_family(),
            self.limited_family(),
            self.memory_family(),
            self.memory_limit_family(),
            self.servers_family(),
            self.server_draining_family(),
            self.server_ejected_family(),
            self.server_going_family(),
            self.server_weight_family(),
            self.ejections_family(),
            self.server_in_flight_family(),
            self.server_told_family(),
            build_family(),
            lost_lines_family(),
        ];
        families.extend(self.retries_families());
        families.extend(self.room_families());
        families.extend(self.upstream_connections_families());
        families.extend(self.discovery_families());
        families.extend(self.books_families());
        families.extend(self.drain_families());
        families
    }

    fn phase_family(&self) -> Family {
        let mut family = Family::gauge(
            "ebbtide_phase",
            "The lifecycle position: 1 for the phase that holds, 0 for the others",
        )
        .labelled(&["phase"])
        .answers("count by (phase) (ebbtide_phase == 1)");
        let holds = self.control.status().process.phase;
        for phase in Phase::ALL {
            let label = ("phase", phase.as_str().to_owned());
            family.add([label], u64::from(phase == holds));
        }
        family
    }

    fn ready_family(&self) -> Family {
        let mut family = Family::gauge(
            "ebbtide_ready",
            "Readiness: whether new traffic should be sent here",
        )
        .answers("ebbtide_ready == 0");
        family.add([], u64::from(self.control.status().process.ready));
        family
    }

    fn connections_family(counts: &[Count]) -> Family {
        let mut family = Family::gauge(
            "ebbtide_connections",
            "Open connections, by what is spoken and where they stand; half-open ones have the \
             states accepted, proxy_header, tls_handshake, preface and head",
        )
        .labelled(&["listener", "protocol", "state"])
        .answers("topk(5, sum by (listener, state) (ebbtide_connections))");
        let spoken = Protocol::ALL.into_iter().map(Some).chain([None]);
        for (count, spoken) in counts
            .iter()
            .flat_map(|one| spoken.clone().map(move |it| (one, it)))
        {
            for state in State::ALL {
                let connections = count.connections(spoken, state);
                if connections == 0 && !usual(spoken, state) {
                    continue;
                }
                let labels = [
                    ("listener", count.listener.to_string()),
                    (
                        "protocol",
                        spoken.map_or(UNKNOWN, Protocol::as_str).to_owned(),
                    ),
                    ("state", state.as_str().to_owned()),
                ];
                family.add(labels, connections);
            }
        }
        family
    }

    fn listener_names(&self) -> Vec<Arc<str>> {
        let status = self.control.status();
        let listeners = status.listeners.iter();
        listeners.map(|one| Arc::clone(&one.name)).collect()
    }

    fn drained_family(&self) -> Family {
        let mut family = Family::counter(
            "app_connections_drained",
            "Connections that ended while draining: of themselves, told at a deadline, or cut",
        )
        .labelled(&["status"])
        .answers("sum by (instance) (app_connections_drained_total{status=\"failed\"}) > 0");
        for how in Drained::ALL {
            let label = ("status", how.as_str().to_owned());
            family.add([label], self.registry.drained_count(how));
        }
        family
    }

    fn farewells_family(&self) -> Family {
        let mut family = Family::counter(
            "ebbtide_farewells",
            "Exchanges and half-open connections ended in their own protocol",
        )
        .labelled(&["kind"])
        .answers("sum by (kind) (increase(ebbtide_farewells_total[1d]))");
        for kind in Farewell::ALL {
            let label = ("kind", kind.as_str().to_owned());
            family.add([label], self.registry.farewells(kind));
        }
        family
    }

    fn cuts_family(&self) -> Family {
        let mut family = Family::counter("ebbtide_cuts", "Exchanges ended by force")
            .labelled(&["protocol", "reason"])
            .answers("sum by (instance, protocol) (ebbtide_cuts_total{reason=\"farewell\"}) > 0");
        for protocol in Protocol::ALL {
            for reason in CutReason::ALL {
                let labels = [
                    ("protocol", protocol.as_str().to_owned()),
                    ("reason", reason.as_str().to_owned()),
                ];
                family.add(labels, self.registry.cuts(protocol, reason));
            }
        }
        family
    }

    fn headers_family(&self) -> Family {
        let mut family = Family::counter(
            "ebbtide_proxy_headers_refused",
            "Connections ended for want of a good PROXY header, by what was wrong",
        )
        .labelled(&["listener", "flaw"])
        .answers("sum by (listener, flaw) (increase(ebbtide_proxy_headers_refused_total[1h])) > 0");
        for flaw in HeaderFlaw::ALL {
            let label = ("flaw", flaw.as_str());
            self.by_listener(&mut family, label, |scope| scope.headers_refused(flaw));
        }
        family
    }

    fn handshakes_family(&self) -> Family {
        let mut family = Family::counter(
            "ebbtide_tls_handshakes_failed",
            "TLS handshakes that did not come to their end, by what was wrong",
        )
        .labelled(&["listener", "reason"])
        .answers(
            "sum by (listener, reason) (increase(ebbtide_tls_handshakes_failed_total[1h])) > 0",
        );
        for flaw in HandshakeFlaw::ALL {
            let label = ("reason", flaw.as_str());
            self.by_listener(&mut family, label, |scope| scope.handshakes_failed(flaw));
        }
        family
    }

    fn limited_family(&self) -> Family {
        let mut family = Family::counter(
            "ebbtide_limited",
            "How often a limit refused, ended or held up what a client wanted, by the limit",
        )
        .labelled(&["listener", "reason"])
        .answers("sum by (listener, reason) (increase(ebbtide_limited_total[10m])) > 0");
        for limit in Limit::ALL {
            let label = ("reason", limit.as_str());
            self.by_listener(&mut family, label, |scope| scope.limited_count(limit));
        }
        family
    }

    fn memory_family(&self) -> Family {
        let mut family = Family::gauge(
            "ebbtide_memory_bytes",
            "Resident memory of the process, as `process.memory` bounds it",
        )
        .answers("ebbtide_memory_bytes / ebbtide_memory_limit_bytes > 0.9");
        family.add([], self.registry.memory().0);
        family
    }

    fn memory_limit_family(&self) -> Family {
        let mut family = Family::gauge(
            "ebbtide_memory_limit_bytes",
            "The memory from which on nothing new is let in",
        )
        .answers("ebbtide_memory_limit_bytes");
        family.add([], self.registry.memory().1);
        family
    }

    /// Add a sample for each listener, present or past: the sum over its scopes.
    fn by_listener(
        &self,
        family: &mut Family,
        (label, value): (&'static str, &'static str),
        count: impl Fn(&Scope) -> u64,
    ) {
        let mut counts = BTreeMap::<Arc<str>, u64>::new();
        counts.extend(self.listener_names().into_iter().map(|name| (name, 0)));
        for scope in self.registry.scopes() {
            *counts.entry(Arc::clone(scope.listener())).or_default() += count(&scope);
        }
        for (listener, count) in counts {
            let labels = [
                ("listener", listener.to_string()),
                (label, value.to_owned()),
            ];
            family.add(labels, count);
        }
    }

    fn servers_family(&self) -> Family {
        let mut family = Family::gauge(
            "ebbtide_upstream_server_up",
            "Whether the last health verdict on a server was good; 1 without checks",
        )
        .labelled(&["upstream", "server"])
        .answers("sum by (upstream) (ebbtide_upstream_server_up) / count by (upstream) (ebbtide_upstream_server_up) < 0.5");
        for upstream in self.upstreams.load().iter() {
            for server in upstream.servers() {
                let labels = [
                    ("upstream", upstream.name().to_string()),
                    ("server", server.name.to_string()),
                ];
                family.add(labels, u64::from(server.up));
            }
        }
        family
    }
}

/// The labels of a server, and what is counted of it by further labels.
type Labels = [(&'static str, String); 2];

impl Admin {
    fn server_draining_family(&self) -> Family {
        let mut family = Family::gauge(
            "ebbtide_upstream_server_draining",
            "Whether a server is held out of rotation by its drain, under way or over",
        )
        .labelled(&["upstream", "server"])
        .answers("ebbtide_upstream_server_draining == 1");
        for upstream in self.upstreams.load().iter() {
            for server in upstream.servers() {
                let shut = server.berth.gate() != Gate::Open;
                family.add(labels(&server.berth), u64::from(shut));
            }
        }
        family
    }

    fn server_ejected_family(&self) -> Family {
        let mut family = Family::gauge(
            "ebbtide_upstream_server_ejected",
            "Whether a server is given nothing for a while, since exchanges on it failed",
        )
        .labelled(&["upstream", "server"])
        .answers("ebbtide_upstream_server_ejected == 1");
        self.by_server(&mut family, |server| {
            u64::from(server.position == Position::Ejected)
        });
        family
    }

    fn server_going_family(&self) -> Family {
        let mut family = Family::gauge(
            "ebbtide_upstream_server_going",
            "Whether a server is given nothing, since it said that it is going",
        )
        .labelled(&["upstream", "server"])
        .answers("ebbtide_upstream_server_going == 1");
        self.by_server(&mut family, |server| {
            u64::from(server.position == Position::Going)
        });
        family
    }

    fn server_weight_family(&self) -> Family {
        let mut family = Family::gauge(
            "ebbtide_upstream_server_weight_milli",
            "The weight of a server in thousandths, as far as it counts: less in a slow start",
        )
        .labelled(&["upstream", "server"])
        .answers("ebbtide_upstream_server_weight_milli");
        self.by_server(&mut family, |server| server.weight_milli);
        family
    }

    fn ejections_family(&self) -> Family {
        let mut family = Family::counter(
            "ebbtide_upstream_ejections",
            "How often a server was ejected, by the kind of failure",
        )
        .labelled(&["upstream", "server", "reason"])
        .answers("sum by (upstream, server, reason) (increase(ebbtide_upstream_ejections_total[1h])) > 0");
        for upstream in self.upstreams.load().iter() {
            for server in upstream.servers() {
                for (reason, count) in server.ejections {
                    let [upstream, server] = labels(&server.berth);
                    let reason = ("reason", reason.as_str().to_owned());
                    family.add([upstream, server, reason], count);
                }
            }
        }
        family
    }

    fn by_server(&self, family: &mut Family, value: impl Fn(&ServerStatus) -> u64) {
        for upstream in self.upstreams.load().iter() {
            for server in upstream.servers() {
                family.add(labels(&server.berth), value(&server));
            }
        }
    }

    fn server_in_flight_family(&self) -> Family {
        let mut family = Family::gauge(
            "ebbtide_upstream_in_flight",
            "Started, unfinished requests, streams and tunnels on a server",
        )
        .labelled(&["upstream", "server"])
        .answers("topk(5, ebbtide_upstream_in_flight)");
        for (labels, berths) in self.berths_by_labels() {
            let in_flight = berths.iter().map(|berth| berth.in_flight()).sum::<u64>();
            family.add(labels, in_flight);
        }
        family
    }

    fn server_told_family(&self) -> Family {
        let mut family = Family::counter(
            "ebbtide_upstream_drained",
            "Exchanges that the drain of their server ended, by how",
        )
        .labelled(&["upstream", "server", "outcome"])
        .answers("increase(ebbtide_upstream_drained_total{outcome=\"cut\"}[1h]) > 0");
        for ([upstream, server], berths) in self.berths_by_labels() {
            for index in 0..2 {
                let ended = berths.iter().map(|berth| berth.ended()[index]);
                let (outcome, count) =
                    ended.fold(("", 0), |(_, sum), (outcome, count)| (outcome, sum + count));
                let outcome = ("outcome", outcome.to_owned());
                family.add([upstream.clone(), server.clone(), outcome], count);
            }
        }
        family
    }

    /// The servers of the config, and those that a reload took away while
    /// something is in flight on them. One that was put back meanwhile is one
    /// series with what is left of it.
    fn berths_by_labels(&self) -> BTreeMap<Labels, Vec<Arc<Berth>>> {
        let mut all = BTreeMap::<Labels, Vec<Arc<Berth>>>::new();
        for upstream in self.upstreams.load().iter() {
            for server in upstream.servers() {
                let of = all.entry(labels(&server.berth)).or_default();
                of.push(server.berth);
            }
        }
        for berth in self.registry.berths() {
            let of = all.get(&labels(&berth)).into_iter().flatten();
            let known = of.into_iter().any(|known| Arc::ptr_eq(known, &berth));
            if !known && berth.in_flight() > 0 {
                all.entry(labels(&berth)).or_default().push(berth);
            }
        }
        all
    }
}

fn labels(berth: &Berth) -> Labels {
    [
        ("upstream", berth.upstream().to_string()),
        ("server", berth.server().to_string()),
    ]
}

fn lost_lines_family() -> Family {
    let mut family = Family::counter(
        "ebbtide_log_lines_lost",
        "Log lines that were not written: the disk was full, or nobody read them fast enough",
    )
    .answers("increase(ebbtide_log_lines_lost_total[10m]) > 0");
    family.add([], logs::lost());
    family
}

fn build_family() -> Family {
    let mut family = Family::gauge("ebbtide_build", "Always 1; the version is the label")
        .labelled(&["version"])
        .answers("count by (version) (ebbtide_build)");
    let version = env!("CARGO_PKG_VERSION").to_owned();
    family.add([("version", version)], 1);
    family
}

/// Whether a listener has this pair at least at zero.
fn usual(spoken: Option<Protocol>, state: State) -> bool {
    spoken.is_none() == state.half_open()
}
