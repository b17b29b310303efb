//! What a scrape says of requests that were sent again, by upstream.
//!
//! Invariant: each reason is there from the start, at zero.
//!
//! Deliberately absent: which route it was: a budget is its upstream's.

use crate::admin::Admin;
use crate::proxy::upstream::{Forgone, Retried};
use crate::telemetry::metrics::Family;

impl Admin {
    /// How often requests were sent again, and were not.
    pub(super) fn retries_families(&self) -> [Family; 2] {
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
        for upstream in self.upstreams.load().iter() {
            let name = || ("upstream", upstream.name().to_string());
            let retries = upstream.retries();
            for reason in Retried::ALL {
                let label = ("reason", reason.as_str().to_owned());
                again.add([name(), label], retries.count(reason));
            }
            for why in Forgone::ALL {
                let label = ("reason", why.as_str().to_owned());
                forgone.add([name(), label], retries.count_forgone(why));
            }
        }
        [again, forgone]
    }
}
