//! What a scrape says of the room at upstreams: how much is in flight, who waits,
//! who was refused.
//!
//! Invariant: each reason is there from the start, at zero.
//!
//! Deliberately absent: servers. What is in flight on each is another family.

use crate::admin::Admin;
use crate::proxy::registry::Full;
use crate::telemetry::metrics::Family;

impl Admin {
    /// What is in flight, waits, and was refused, by upstream.
    pub(super) fn room_families(&self) -> [Family; 5] {
        let mut in_flight = Family::gauge(
            "ebbtide_upstream_requests_in_flight",
            "Requests, streams and tunnels that have their place at an upstream, also while they \
             are between two servers",
        )
        .labelled(&["upstream"])
        .answers("ebbtide_upstream_requests_in_flight / (ebbtide_upstream_requests_limit > 0)");
        let mut queued = Family::gauge(
            "ebbtide_upstream_requests_queued",
            "Requests that wait until one in flight to their upstream ends",
        )
        .labelled(&["upstream"])
        .answers("ebbtide_upstream_requests_queued > 0");
        let mut most = Family::gauge(
            "ebbtide_upstream_requests_limit",
            "How many may be in flight to an upstream at once; 0 is any number",
        )
        .labelled(&["upstream"])
        .answers("ebbtide_upstream_requests_limit");
        let mut waited = Family::counter(
            "ebbtide_upstream_requests_waited",
            "Requests that had to wait for others to end",
        )
        .labelled(&["upstream"])
        .answers(
            "sum by (upstream) (rate(ebbtide_upstream_requests_waited_total[5m])) / sum by \
             (upstream) (rate(ebbtide_requests_total[5m]))",
        );
        let mut refused = Family::counter(
            "ebbtide_upstream_requests_refused",
            "Requests that were not sent, since their upstream had no room for them, by the limit",
        )
        .labelled(&["upstream", "reason"])
        .answers(
            "sum by (upstream, reason) (increase(ebbtide_upstream_requests_refused_total[5m])) > 0",
        );
        for upstream in self.upstreams.load().iter() {
            let name = || ("upstream", upstream.name().to_string());
            let seats = upstream.seats();
            in_flight.add([name()], seats.in_flight());
            queued.add([name()], seats.waiting());
            most.add([name()], seats.most().unwrap_or_default());
            waited.add([name()], seats.waited());
            for why in Full::ALL {
                let reason = ("reason", why.as_str().to_owned());
                refused.add([name(), reason], seats.refused(why));
            }
        }
        [in_flight, queued, most, waited, refused]
    }
}
