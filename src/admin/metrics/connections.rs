//! What a scrape says of connections to servers, by upstream.
//!
//! Invariant: each reason and each state is there from the start, at zero.
//!
//! Deliberately absent: which server it was: that would be a series for each
//! reason and server, and servers come and go.

use crate::admin::Admin;
use crate::proxy::upstream::Closed;
use crate::telemetry::metrics::Family;

impl Admin {
    /// How many are open, were made, and ended, and why.
    pub(super) fn upstream_connections_families(&self) -> [Family; 3] {
        let mut open = Family::gauge(
            "ebbtide_upstream_connections",
            "Open connections to servers: `idle` ones wait in a pool for the next request, the \
             others are `in_use`, tunnels too; without those of health checks",
        )
        .labelled(&["upstream", "state"])
        .answers("sum by (upstream, state) (ebbtide_upstream_connections)");
        let mut made = Family::counter(
            "ebbtide_upstream_connections_made",
            "Connections to servers that were made",
        )
        .labelled(&["upstream"])
        .answers(
            "sum by (upstream) (rate(ebbtide_upstream_connections_made_total[5m])) / sum by \
             (upstream) (rate(ebbtide_requests_total[5m]))",
        );
        let mut closed = Family::counter(
            "ebbtide_upstream_connections_closed",
            "Connections to servers that ended, by why: `server` closed it or it broke, with its \
             `exchange`, `idle` for too long, `excess` of those kept, its `age` or `requests` \
             reached, no answer to a `ping`, or the `drain` of the server or the process",
        )
        .labelled(&["upstream", "reason"])
        .answers(
            "sum by (upstream) (increase(ebbtide_upstream_connections_closed_total{reason=\"ping\"}[1h])) > 0",
        );
        for upstream in self.upstreams.load().iter() {
            let name = || ("upstream", upstream.name().to_string());
            let connections = upstream.connections();
            let idle = connections.idle();
            let in_use = connections.open().saturating_sub(idle);
            for (state, count) in [("idle", idle), ("in_use", in_use)] {
                let count = u64::try_from(count).unwrap_or(u64::MAX);
                open.add([name(), ("state", state.to_owned())], count);
            }
            made.add([name()], connections.made());
            for why in Closed::ALL {
                let label = ("reason", why.as_str().to_owned());
                closed.add([name(), label], connections.closed(why));
            }
        }
        [open, made, closed]
    }
}
