//! Half-open connections: seen, bounded in everyday life, and never able to
//! hold an exit.
//!
//! Each [`Kind`] is a client that stopped at one place on the way to its first
//! request, and may later go on.

mod kind;
mod sea;
mod stopped;

use super::scene::{Plan, ended, kept, retire, until_connections};
use crate::support::clients::{Ended, Raw};
use crate::support::proxy::Signal;
use crate::support::within;
use http::Method;
use kind::{Kind, REQUEST};
use sea::Sea;
use serde_json::Value;
use stopped::Stopped;

#[tokio::test]
async fn each_kind_is_seen_with_its_age() {
    let sea = Sea::new("", &Plan::CALM).await;
    let all = sea.all().await;
    let view = sea.proxy.json("/v1/connections").await;
    for one in view["connections"].as_array().expect("a list") {
        let number = |field: &str| one[field].as_u64().expect(field);
        assert!(number("since_ms") <= number("age_ms"), "{one}");
    }
    for listener in ["web", "secure", "proxied", "proxied_secure", "tunnel"] {
        for state in [
            "accepted",
            "proxy_header",
            "tls_handshake",
            "preface",
            "head",
        ] {
            let here = |stopped: &&Stopped| {
                stopped.kind.listener() == listener && stopped.kind.state() == state
            };
            let mut seen = 0;
            for protocol in ["unknown", "http1", "http2"] {
                let labels = format!(
                    "{{listener=\"{listener}\",protocol=\"{protocol}\",state=\"{state}\"}}"
                );
                seen += sea.count(&format!("ebbtide_connections{labels}")).await;
            }
            assert_eq!(seen, all.iter().filter(here).count(), "{listener} {state}");
        }
    }
    // They grow old.
    let old = |view: &[Value]| view.iter().all(|one| one["since_ms"].as_u64() > Some(30));
    until_connections(&sea.proxy, "an age", old).await;
}

/// What a drain says of the half-open connections: so many of each farewell.
fn farewells(all: &[Stopped]) -> [(&'static str, usize); 3] {
    ["fin", "tls_alert", "half_head"].map(|name| {
        let of_it = all.iter().filter(|one| one.kind.farewell() == name);
        (name, of_it.count())
    })
}

#[tokio::test]
async fn in_a_drain_each_kind_is_told_in_its_own_way() {
    let mut sea = Sea::new("", &Plan::CALM).await;
    sea.hold().await;
    let all = sea.all().await;
    let names: Vec<_> = all.iter().map(|one| (one.peer.clone(), one.kind)).collect();
    let counts = farewells(&all);
    let number = all.len();
    sea.proxy.signal(Signal::TERM);
    for stopped in all {
        stopped.told().await;
    }
    for (name, count) in counts {
        let metric = format!("ebbtide_farewells_total{{kind=\"{name}\"}}");
        sea.until_count(&metric, count).await;
    }
    let receipt = sea.over().await;
    let told = receipt["told"].as_array().expect("a list");
    assert_eq!(told.len(), number, "{receipt}");
    for (peer, kind) in names {
        let mut of_it = told.iter().filter(|one| one["peer"] == peer.as_str());
        let one = of_it.find(|one| one["listener"] == kind.listener());
        let one = one.unwrap_or_else(|| panic!("{peer} is not in {receipt}"));
        assert_eq!(one["what"], kind.farewell(), "{one}");
    }
    let books = &receipt["connections"];
    let count = |field: &str| books[field].as_u64().expect(field);
    assert_eq!(count("farewelled"), number as u64, "{books}");
    assert_eq!((count("finished"), count("cut")), (1, 0), "{books}");
}

/// Who is older than `handshake` when connections retire ends at once, and
/// whoever is younger lives on: here, for longer than the test may take.
#[tokio::test]
async fn the_time_counts_from_the_accept() {
    let plan = Plan {
        handshake: "1s",
        ..Plan::CALM
    };
    let mut sea = Sea::new("", &plan).await;
    sea.hold().await;
    // A head on a connection that has served before is as old as itself.
    let first = |kind: &Kind| !kind.second();
    let mut old = Vec::new();
    for kind in Kind::ALL.into_iter().filter(first) {
        old.push(sea.stop(kind).await);
    }
    let aged = |view: &[Value]| {
        let half_open = view.iter().filter(|one| one["state"] != "in_flight");
        half_open.clone().count() == old.len()
            && half_open
                .clone()
                .all(|one| one["age_ms"].as_u64() > Some(1_100))
    };
    until_connections(&sea.proxy, "an age", aged).await;
    let mut young = Vec::new();
    for kind in Kind::ALL.into_iter().filter(first) {
        young.push(sea.stop(kind).await);
    }
    sea.proxy.signal(Signal::TERM);
    for stopped in old.into_iter().chain(young) {
        stopped.told().await;
    }
    let receipt = sea.over().await;
    let handshake = 1_000.0;
    for one in receipt["told"].as_array().expect("a list") {
        let number = |field: &str| one[field].as_f64().expect(field);
        // Nobody is told before its time, which for the old is the drain's
        // beginning.
        assert!(number("age_ms") >= handshake, "{one}");
    }
}

#[tokio::test]
async fn while_announcing_they_have_the_time_of_every_day() {
    let plan = Plan {
        announce: "60s",
        ..Plan::CALM
    };
    let mut sea = Sea::new("", &plan).await;
    let all = sea.all().await;
    let asked = sea.proxy.ask(Method::POST, "/v1/drain", "").await;
    assert_eq!(asked.status, 202);
    // Older than `handshake`, and there.
    let aged = |view: &[Value]| {
        view.len() == all.len() && view.iter().all(|one| one["age_ms"].as_u64() > Some(200))
    };
    until_connections(&sea.proxy, "their age", aged).await;
    assert_eq!(sea.count("ebbtide_farewells_total{kind=\"fin\"}").await, 0);
    let back = sea.proxy.ask(Method::DELETE, "/v1/drain", "").await;
    assert_eq!(back.status, 200);
    drop(all);
    until_connections(&sea.proxy, "no connection", <[Value]>::is_empty).await;
    // Straight to the cut: announce would last.
    sea.proxy.signal(Signal::INT);
    sea.proxy
        .until_event("shutdown_start", |line| line["trigger"] == "sigint")
        .await;
    sea.proxy.signal(Signal::INT);
    ended(&mut sea.proxy).await;
}

#[tokio::test]
async fn a_second_interrupt_cuts_each_kind() {
    let plan = Plan {
        handshake: "60s",
        ..Plan::CALM
    };
    let mut sea = Sea::new("", &plan).await;
    let all = sea.all().await;
    sea.proxy.signal(Signal::INT);
    let finish = |line: &Value| line["stage"] == "finish";
    sea.proxy.until_event("stage", finish).await;
    sea.proxy.signal(Signal::INT);
    ended(&mut sea.proxy).await;
    let receipt = kept(&sea.proxy);
    // Who has the time to hear that it is over, hears it.
    let books = &receipt["connections"];
    let count = |field: &str| books[field].as_u64().expect(field);
    assert_eq!(count("finished"), 0, "{books}");
    assert_eq!(
        count("farewelled") + count("cut"),
        all.len() as u64,
        "{books}"
    );
    let told = receipt["told"].as_array().expect("a list");
    for stopped in &all {
        let one = told.iter().find(|one| stopped.is(one));
        let one = one.unwrap_or_else(|| panic!("{:?} is not in {receipt}", stopped.kind));
        assert_ne!(one["outcome"], "finished", "{one}");
    }
}

#[tokio::test]
async fn one_that_becomes_a_request_in_time_is_served_and_retired() {
    let plan = Plan {
        handshake: "60s",
        last_request: "20s",
        ..Plan::CALM
    };
    let mut sea = Sea::new("", &plan).await;
    sea.hold().await;
    let all = sea.all().await;
    retire(&sea.proxy).await;
    let number = all.len();
    for stopped in all {
        stopped.served(sea.proxy.certificate()).await;
    }
    let receipt = sea.over().await;
    assert_eq!(receipt["told"], Value::Array(Vec::new()), "{receipt}");
    let finished = receipt["connections"]["finished"].as_u64();
    assert_eq!(finished, Some(number as u64 + 1), "{receipt}");
}

#[tokio::test]
async fn a_handshake_done_is_no_longer_half_open() {
    let plan = Plan {
        last_request: "20s",
        ..Plan::CALM
    };
    let mut sea = Sea::new("", &plan).await;
    sea.hold().await;
    let address = sea.proxy.address("secure");
    let certificate = sea.proxy.certificate();
    let mut unused = Raw::connect_tls(address, certificate, "http/1.1").await;
    let idle = |view: &[Value]| view.iter().any(|one| one["state"] == "idle");
    until_connections(&sea.proxy, "an idle connection", idle).await;
    retire(&sea.proxy).await;
    // Older than `handshake` or not: it may send its last request.
    unused.send(REQUEST).await.expect("sent");
    let (bytes, end) = unused.rest().await;
    let answer = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(end, Ended::Fin);
    sea.over().await;
}

#[tokio::test]
async fn a_hundred_half_hellos_hold_the_exit_for_handshake_and_no_longer() {
    let plan = Plan {
        handshake: "500ms",
        ..Plan::CALM
    };
    let mut sea = Sea::new("", &plan).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(sea.stop(Kind::HalfHello).await);
    }
    let all = |view: &[Value]| {
        let stopped = view.iter().filter(|one| one["state"] == "tls_handshake");
        stopped.count() == 100
    };
    until_connections(&sea.proxy, "all of them", all).await;
    // `finish` is a minute: the end within this test is theirs to allow.
    let ask = sea.proxy.ask(Method::POST, "/v1/drain?wait=true", "");
    let reply = within("the receipt", ask).await;
    let receipt: Value = serde_json::from_slice(&reply.body).expect("a receipt");
    ended(&mut sea.proxy).await;
    assert_eq!(receipt["connections"]["farewelled"], 100, "{receipt}");
    for stopped in crowd {
        stopped.told().await;
    }
}

/// Those who have not spoken have `idle`, those who have `head_time`.
#[tokio::test]
async fn without_a_drain_each_kind_is_bounded_too() {
    let quiet = |kind: Kind| kind.state() == "accepted";
    for (limits, ends) in [
        ("idle = \"300ms\"\nlimits = { head_time = \"60s\" }", true),
        ("idle = \"60s\"\nlimits = { head_time = \"300ms\" }", false),
    ] {
        let sea = Sea::new(limits, &Plan::CALM).await;
        let mut all = Vec::new();
        for kind in Kind::ALL {
            all.push(sea.stop(kind).await);
        }
        let (ended, left): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|one| quiet(one.kind) == ends);
        for stopped in ended {
            stopped.bounded().await;
        }
        let there = |view: &[Value]| {
            view.len() == left.len()
                && left.iter().all(|one| {
                    let found = view.iter().find(|seen| one.is(seen));
                    found.is_some_and(|seen| seen["state"] == one.kind.state())
                })
        };
        until_connections(&sea.proxy, "the others", there).await;
        assert_eq!(sea.count("ebbtide_farewells_total{kind=\"fin\"}").await, 0);
    }
}
