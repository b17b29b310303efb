//! Tables as terminals of several widths have them.

use super::*;
use crate::admin::view::{Connection, ServerState, Source};
use crate::cli::sample;
use crate::cli::text::fitted;

/// In the midst of a handover, with names that are long.
fn busy() -> Status {
    let mut status = sample::status(true);
    status.upstreams[0].servers[0].state = ServerState::Draining;
    status.upstreams[0].servers[1].name = "unix:/run/services/a-site-of-ours/listener.sock".into();
    status.successor = Some(4712);
    status.predecessors = vec![Predecessor {
        pid: 41,
        version: "1.2.2".into(),
        admin: Some("unix:/run/e.sock.41".into()),
        phase: Phase::Draining,
        stage: Some(Stage::Finish),
        connections: 3,
        in_flight: [(Protocol::WebSocket, 3)].into(),
        latest_in_ms: 3_540_000,
    }];
    status
}

/// The usual ones, and one whose every cell is long.
fn many_kinds() -> Connections {
    let mut all = sample::connections();
    all.connections.push(Connection {
        id: 1_000_000,
        listener: "a-listener-with-a-long-name".into(),
        peer: "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535".into(),
        balancer: None,
        protocol: Some(Protocol::WebSocket),
        state: "tls_handshake".into(),
        since_ms: 90_000_000,
        age_ms: 90_000_000,
        requests: 1_000_000,
        in_flight: 0,
        received: u64::MAX,
        sent: u64::MAX,
        waits_for: "the client's part of the TLS handshake".into(),
    });
    all
}

#[test]
fn status_on_a_terminal() {
    insta::assert_snapshot!(status(&busy(), Some(80)));
}

#[test]
fn status_in_a_file() {
    insta::assert_snapshot!(status(&busy(), None));
}

#[test]
fn sources_are_listed_with_what_came_of_them() {
    let mut known = sample::status(false);
    assert!(!status(&known, None).contains("SOURCE"));
    let source = |name: &str, answered_ms, why: Option<&str>| Source {
        name: name.into(),
        servers: 2,
        last: Some(if why.is_some() { "outage" } else { "found" }.into()),
        why: why.map(str::to_owned),
        answered_ms,
        next_in_ms: 900,
    };
    known.upstreams[0].sources = vec![
        source("file:servers.txt", Some(61_000), None),
        source("dns:a.b:80", None, Some("no answer in 3s")),
    ];
    let shown = status(&known, None);
    let rows: Vec<Vec<&str>> = shown
        .lines()
        .skip_while(|line| !line.contains("SOURCE"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[1][..3], ["site", "file:servers.txt", "2"], "{shown}");
    assert_eq!(rows[1].last(), Some(&"found"), "{shown}");
    assert_eq!(
        rows[2],
        [
            "site",
            "dns:a.b:80",
            "2",
            "never",
            "outage:",
            "no",
            "answer",
            "in",
            "3s"
        ]
    );
}

#[test]
fn connections_on_a_terminal() {
    insta::assert_snapshot!(connections(&sample::connections(), Some(80)));
}

#[test]
fn long_connections_on_a_terminal() {
    insta::assert_snapshot!(connections(&many_kinds(), Some(80)));
}

#[test]
fn connections_on_a_wide_terminal() {
    insta::assert_snapshot!(connections(&many_kinds(), Some(160)));
}

#[test]
fn connections_in_a_file() {
    insta::assert_snapshot!(connections(&many_kinds(), None));
}

#[test]
fn forecast_on_a_terminal() {
    insta::assert_snapshot!(fitted(&sample::forecast(false), Some(80)));
}

#[test]
fn forecast_in_a_file() {
    insta::assert_snapshot!(fitted(&sample::forecast(false), None));
}

#[test]
fn receipt_on_a_terminal() {
    insta::assert_snapshot!(fitted(&sample::receipt(2), Some(60)));
}

#[test]
fn no_table_is_wider_than_its_terminal() {
    for width in [40, 60, 80, 100, 132, 200] {
        for text in [
            connections(&many_kinds(), Some(width)),
            listeners(&busy()).within(Some(width)).to_string(),
            servers(&busy()).within(Some(width)).to_string(),
        ] {
            for line in text.lines().filter(|line| !line.starts_with("(no room")) {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
}

#[test]
fn nothing_is_coloured() {
    for text in [
        status(&busy(), Some(80)),
        connections(&many_kinds(), Some(80)),
    ] {
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
