//! What a scrape says of the books: opened, and how it ended, by listener.
//!
//! Invariant: in one scrape `opened = finished + farewelled + cut + in flight`,
//! per listener and protocol, under any load: all of it is one reading of one
//! set of counters. Scopes of one name are one series, so that what was counted
//! of a listener that a reload took away and another brought back goes on.
//!
//! Deliberately absent: connections by where they stand, which nothing counts
//! and a look at each has to tell (see `census`).

use crate::admin::Admin;
use crate::drain::{Ledger, Protocol};
use crate::proxy::registry::Sums;
use crate::telemetry::metrics::{Family, Labels};
use std::collections::BTreeMap;
use std::sync::Arc;

type Books = BTreeMap<Arc<str>, Sums>;

impl Admin {
    /// The families of the books, and what they say is in flight.
    pub(super) fn books_families(&self) -> [Family; 5] {
        let books = self.books();
        [
            in_flight(&books),
            connections_opened(&books),
            connections_closed(&books),
            requests_opened(&books),
            requests_closed(&books),
        ]
    }

    /// By listener, present or past.
    fn books(&self) -> Books {
        let mut books = Books::new();
        let names = self.listener_names().into_iter();
        books.extend(names.map(|name| (name, Sums::default())));
        for scope in self.registry.scopes() {
            let sums = books.entry(Arc::clone(scope.listener())).or_default();
            *sums = sums.plus(&scope.sums());
        }
        books
    }
}

/// Every listener's books over exchanges, by protocol.
fn exchanges(books: &Books) -> impl Iterator<Item = (Labels, &Ledger)> {
    books.iter().flat_map(|(listener, sums)| {
        Protocol::ALL.into_iter().map(move |protocol| {
            let labels = Labels::from([
                ("listener", listener.to_string()),
                ("protocol", protocol.as_str().to_owned()),
            ]);
            (labels, &sums.exchanges[protocol as usize])
        })
    })
}

fn connections(books: &Books) -> impl Iterator<Item = (Labels, &Ledger)> {
    books.iter().map(|(listener, sums)| {
        let labels = Labels::from([("listener", listener.to_string())]);
        (labels, &sums.connections)
    })
}

fn ends(ledger: &Ledger) -> [(&'static str, u64); 3] {
    [
        ("finished", ledger.finished),
        ("farewelled", ledger.farewelled),
        ("cut", ledger.cut),
    ]
}

fn in_flight(books: &Books) -> Family {
    let mut family = Family::gauge(
        "ebbtide_requests_in_flight",
        "Started, unfinished requests, streams and tunnels",
    )
    .labelled(&["listener", "protocol"])
    .answers("sum by (protocol) (ebbtide_requests_in_flight and on (instance) ebbtide_ready == 0)");
    for (labels, ledger) in exchanges(books) {
        family.add(labels, ledger.open());
    }
    family
}

fn connections_opened(books: &Books) -> Family {
    let mut family = Family::counter(
        "ebbtide_connections_opened",
        "Connections that were accepted",
    )
    .labelled(&["listener"])
    .answers("sum by (listener) (rate(ebbtide_connections_opened_total[5m]))");
    for (labels, ledger) in connections(books) {
        family.add(labels, ledger.opened);
    }
    family
}

fn connections_closed(books: &Books) -> Family {
    let mut family = Family::counter(
        "ebbtide_connections_closed",
        "Connections that have ended, by the worst that came to what was on them",
    )
    .labelled(&["listener", "outcome"])
    .answers(
        "sum by (instance) (ebbtide_connections_opened_total) - sum by (instance) \
         (ebbtide_connections_closed_total)",
    );
    for (labels, ledger) in connections(books) {
        for (outcome, count) in ends(ledger) {
            let outcome = ("outcome", outcome.to_owned());
            family.add(labels.clone().and(outcome), count);
        }
    }
    family
}

fn requests_opened(books: &Books) -> Family {
    let mut family = Family::counter(
        "ebbtide_requests_opened",
        "Requests, streams and tunnels that were begun",
    )
    .labelled(&["listener", "protocol"])
    .answers("sum by (protocol) (rate(ebbtide_requests_opened_total[5m]))");
    for (labels, ledger) in exchanges(books) {
        family.add(labels, ledger.opened);
    }
    family
}

fn requests_closed(books: &Books) -> Family {
    let mut family = Family::counter(
        "ebbtide_requests_closed",
        "Requests, streams and tunnels that have ended: of themselves, told at a deadline, or cut",
    )
    .labelled(&["listener", "protocol", "outcome"])
    .answers("sum by (outcome) (increase(ebbtide_requests_closed_total[1h]))");
    for (labels, ledger) in exchanges(books) {
        for (outcome, count) in ends(ledger) {
            let outcome = ("outcome", outcome.to_owned());
            family.add(labels.clone().and(outcome), count);
        }
    }
    family
}
