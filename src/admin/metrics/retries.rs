//! What a scrape says of requests that were sent again, by upstream.
//!
//! Invariant: each reason is there from the start, at zero.
//!
//! Deliberately absent: which route it was: a budget is its upstream's.

use crate::admin::Admin;
use crate::proxy::upstream::{Forgone, Hedged, Retried};
use crate::telemetry::metrics::Family;

impl Admin {
    /// How often requests were sent again, and were not.
    pub(super) fn retries_families(&self) -> [Family; 3] {
        let mut again = Family::counter(
            "ebbtide_upstream_retries",
            "Requests that were sent again, by what for",
        )
        .labelled(&["upstream", "reason"])
        .answers(
            "sum by (upstream) (rate(ebbtide_upstream_retries_total[5m])) / sum by (upstream) \
             (rate(ebbtide_requests_total[5m]))",
        );
        let mut forgone = Family::counter(
            "ebbtide_upstream_retries_forgone",
            "Requests that failed and were not sent again on a route that retries, by why; \
             `budget` is that too many were already",
        )
        .labelled(&["upstream", "reason"])
        .answers(
            "sum by (upstream) (increase(ebbtide_upstream_retries_forgone_total{reason=\"budget\"}[5m])) > 0",
        );
        let mut hedged = Family::counter(
            "ebbtide_upstream_hedges",
            "Second requests beside a first that was not answered for a while, by what came of \
             them; `forgone` is that too many requests were sent again already",
        )
        .labelled(&["upstream", "result"])
        .answers(
            "sum by (upstream) (rate(ebbtide_upstream_hedges_total{result=\"won\"}[5m])) / sum by \
             (upstream) (rate(ebbtide_upstream_hedges_total[5m]))",
        );
        for upstream in self.upstreams.load().iter() {
            let name = || ("upstream", upstream.name().to_string());
            let retries = upstream.retries();
            for reason in Retried::ALL {
                let label = ("reason", reason.as_str().to_owned());
                again.add([name(), label], retries.count(reason));
            }
            for came in Hedged::ALL {
                let label = ("result", came.as_str().to_owned());
                hedged.add([name(), label], retries.count_hedged(came));
            }
            for why in Forgone::ALL {
                let label = ("reason", why.as_str().to_owned());
                forgone.add([name(), label], retries.count_forgone(why));
            }
        }
        [again, forgone, hedged]
    }
}
