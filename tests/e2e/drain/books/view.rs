//! What the process says of itself in one place, held against the others.

use super::held::Held;
use crate::support::proxy::Proxy;
use serde_json::Value;
use std::collections::BTreeMap;

/// Sums by protocol.
pub(super) type Sums = BTreeMap<String, u64>;

pub(super) struct View {
    metrics: String,
    status: Value,
    table: Vec<Value>,
}

impl View {
    /// Taken one after the other, so at a time when nothing changes.
    pub(super) async fn of(proxy: &Proxy) -> Self {
        let metrics = proxy.get("/metrics").await.text().to_owned();
        let status = proxy.json("/v1/status").await;
        let table = proxy.json("/v1/connections").await["connections"].take();
        let Value::Array(table) = table else {
            panic!("no list: {table}");
        };
        Self {
            metrics,
            status,
            table,
        }
    }

    pub(super) fn connections(&self) -> u64 {
        self.table.len() as u64
    }

    pub(super) fn in_flight(&self) -> Sums {
        let sums = self.status["in_flight"].as_object().expect("an object");
        let sums = sums.iter();
        sums.map(|(protocol, sum)| (protocol.clone(), number(sum)))
            .collect()
    }

    /// Fail unless all three say the same.
    pub(super) fn agrees(&self, seed: u64) {
        let connections = self.connections();
        assert_eq!(
            number(&self.status["connections"]),
            connections,
            "seed {seed}"
        );
        let gauge: u64 = self.samples("ebbtide_connections").values().sum();
        assert_eq!(gauge, connections, "seed {seed}");
        let in_flight = self.in_flight();
        let by_connection: u64 = self.table.iter().map(|one| number(&one["in_flight"])).sum();
        assert_eq!(
            by_connection,
            in_flight.values().sum::<u64>(),
            "seed {seed}"
        );
        let gauges = self.samples("ebbtide_requests_in_flight");
        for (protocol, sum) in in_flight {
            let label = format!("protocol=\"{protocol}\"");
            let all = gauges.iter().filter(|(labels, _)| labels.contains(&label));
            let gauge: u64 = all.map(|(_, value)| *value).sum();
            assert_eq!(gauge, sum, "seed {seed}: {protocol}");
        }
    }

    /// The samples of a family, by their labels.
    fn samples(&self, family: &str) -> BTreeMap<&str, u64> {
        let samples = self.metrics.lines().filter_map(|line| {
            let (labels, value) = line.strip_prefix(family)?.rsplit_once(' ')?;
            let labels = labels.strip_prefix('{')?;
            Some((labels, value.parse().expect("a number")))
        });
        samples.collect()
    }
}

/// Fail unless every book of the receipt balances, counts what was there when
/// the drain began, and names each end that was not the exchange's own.
pub(super) fn adds_up(receipt: &Value, held: &Held, seed: u64) {
    assert_eq!(receipt["complete"], true, "seed {seed}");
    let connections = &receipt["connections"];
    balances(connections, seed);
    assert_eq!(
        number(&connections["opened"]),
        held.connections(),
        "seed {seed}"
    );
    let (mut farewelled, mut cut) = (0, 0);
    for (protocol, sum) in held.in_flight() {
        let book = &receipt["requests"][&protocol];
        if sum == 0 {
            assert_eq!(*book, Value::Null, "seed {seed}: {protocol}");
            continue;
        }
        balances(book, seed);
        assert_eq!(number(&book["opened"]), sum, "seed {seed}: {protocol}");
        farewelled += number(&book["farewelled"]);
        cut += number(&book["cut"]);
    }
    assert!(farewelled > 0, "some stayed until they were told");
    assert_eq!(number(&receipt["lost"]), cut, "seed {seed}");
    assert_eq!(number(&receipt["told_omitted"]), 0);
    let told = receipt["told"].as_array().expect("a list");
    let half_open = ["fin", "tls_alert", "half_head"];
    let without_work = |one: &&Value| half_open.iter().any(|kind| one["what"] == *kind);
    let named = |outcome: &str| {
        let all = told.iter().filter(|one| one["outcome"] == outcome);
        all.filter(|one| !without_work(one)).count() as u64
    };
    assert_eq!(named("farewelled"), farewelled, "seed {seed}: {receipt:#}");
    // One that came to no request may be cut as well, if it was slow to leave.
    let all = farewelled + cut + held.half_open();
    assert_eq!(told.len() as u64, all, "seed {seed}: {receipt:#}");
}

/// The exchanges of a receipt: finished, farewelled, cut.
pub(super) fn sums(receipt: &Value) -> [u64; 3] {
    let books = receipt["requests"].as_object().expect("an object");
    ["finished", "farewelled", "cut"].map(|end| books.values().map(|book| number(&book[end])).sum())
}

fn balances(book: &Value, seed: u64) {
    let [opened, finished, farewelled, cut] =
        ["opened", "finished", "farewelled", "cut"].map(|end| number(&book[end]));
    assert_eq!(opened, finished + farewelled + cut, "seed {seed}: {book}");
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}
