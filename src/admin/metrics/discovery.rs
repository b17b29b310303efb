//! What a scrape says of sources of servers, by upstream and source.
//!
//! Invariant: a source has each of its series from the first question on.
//!
//! Deliberately absent: the servers one by one, which are in the families of
//! upstreams.

use crate::admin::Admin;
use crate::clock;
use crate::control::Sought;
use crate::telemetry::metrics::Family;

impl Admin {
    /// How sources of servers get on.
    pub(super) fn discovery_families(&self) -> [Family; 3] {
        let mut lookups = Family::counter(
            "ebbtide_discovery_lookups",
            "Questions to a source of servers, by what came of them; in an outage the last good \
             servers stay",
        )
        .labelled(&["upstream", "source", "result"])
        .answers(
            "sum by (upstream, source) (increase(ebbtide_discovery_lookups_total{result=\"outage\"}[10m])) > 0",
        );
        let mut servers = Family::gauge("ebbtide_discovery_servers", "Servers that a source has")
            .labelled(&["upstream", "source"])
            .answers("ebbtide_discovery_servers == 0");
        let mut answered = Family::gauge(
            "ebbtide_discovery_answer_timestamp_seconds",
            "When a source was last known to be as it is, since the Unix epoch; 0 if never",
        )
        .labelled(&["upstream", "source"])
        .answers("time() - ebbtide_discovery_answer_timestamp_seconds > 600");
        for status in self.sources.load().iter() {
            let labels = || {
                [
                    ("upstream", status.upstream.to_string()),
                    ("source", status.source.to_string()),
                ]
            };
            for sought in Sought::ALL {
                let [upstream, source] = labels();
                let result = ("result", sought.as_str().to_owned());
                lookups.add([upstream, source, result], status.count(sought));
            }
            let state = status.state();
            servers.add(labels(), u64::try_from(state.servers).unwrap_or(u64::MAX));
            let at = state.answered.map_or(0, |at| clock::unix_at(at).as_secs());
            answered.add(labels(), at);
        }
        [lookups, servers, answered]
    }
}
