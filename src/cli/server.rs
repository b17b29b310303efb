//! `drain --server`: one server of an upstream, and how its drain is shown.
//!
//! Invariant: as for any command that asks a running proxy, see `remote`.
//!
//! Deliberately absent: which servers there are. A name that the proxy does not
//! know is answered with those that it knows.

use super::args;
use super::args::{Drain, ServerName};
use super::client::{Patience, ask, ask_with};
use super::output::Done;
use super::remote::{in_flight_text, read};
use super::text::span_ms;
use super::wait::{self, Look, Waited};
use crate::admin::view::{ServerProgress, ServerState};
use http::Method;
use serde_json::json;
use std::fmt::Write as _;

pub(super) fn drain(what: &Drain, name: &ServerName) -> anyhow::Result<Done> {
    let remote = &what.remote;
    let path = path(&name.upstream, &name.server);
    let content = match &what.finish {
        Some(finish) => json!({ "finish": finish }).to_string(),
        None => String::new(),
    };
    if what.wait {
        let waited = Waited {
            path: format!("{path}?wait=true"),
            content,
            progress: path,
            look: Look::of_server,
            foreseen: false,
            again: format!("ebbtide drain --server {name} --wait"),
        };
        return wait::wait(remote, &waited);
    }
    let method = if what.cancel {
        Method::DELETE
    } else {
        Method::POST
    };
    let body = ask_with(remote, method, &path, content, Patience::Short)?;
    Ok(read(remote, &body, progress_text)?.1)
}

/// Wait until a server that a reload took away has drained.
pub(super) fn wait_for(remote: &args::Remote, upstream: &str, server: &str) -> anyhow::Result<()> {
    let path = format!("{}?wait=true", path(upstream, server));
    ask(remote, Method::GET, &path, Patience::Endless)?;
    Ok(())
}

/// Where its drain is asked for.
pub(super) fn path(upstream: &str, server: &str) -> String {
    let (upstream, server) = (encode(upstream), encode(server));
    format!("/v1/upstreams/{upstream}/servers/{server}/drain")
}

/// A part of a path; what is not plain is percent-encoded (RFC 3986, section
/// 2.1).
fn encode(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // A string takes all.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn progress_text(progress: &ServerProgress) -> String {
    let name = format!(
        "server {} of upstream {}",
        progress.server, progress.upstream
    );
    let in_flight = in_flight_text(&progress.in_flight);
    let oldest = progress.oldest_ms;
    let oldest = oldest.map_or_else(String::new, |age| {
        format!(", the oldest for {}", span_ms(age))
    });
    match (progress.state, &progress.deadlines) {
        (ServerState::Draining, Some(deadlines)) => {
            let told = deadlines.farewell_in_ms.values().min();
            let told = span_ms(told.copied().unwrap_or_default());
            let over = span_ms(deadlines.cut_in_ms);
            format!(
                "{name} is draining: no new requests\nin flight: {in_flight}{oldest}\n\
                 the first are told in {told}, over in {over} at the latest"
            )
        }
        (ServerState::Returning, _) => {
            format!("{name} returns when those have left who were told to\nin flight: {in_flight}")
        }
        (ServerState::Serving, _) => format!("{name} is serving\nin flight: {in_flight}{oldest}"),
        _ => format!("{name} is drained, and stays out until it is taken back (--cancel)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::Deadlines;
    use crate::drain::{Plan, Protocol, Trigger};

    #[test]
    fn names_go_into_paths() {
        assert_eq!(
            path("site", "unix:/run/a.sock"),
            "/v1/upstreams/site/servers/unix:%2Frun%2Fa.sock/drain"
        );
        assert_eq!(
            path("site", "[::1]:80"),
            "/v1/upstreams/site/servers/%5B::1%5D:80/drain"
        );
    }

    #[test]
    fn progress_is_readable() {
        let mut progress = ServerProgress {
            trace: None,
            upstream: "site".into(),
            server: "10.0.0.1:80".into(),
            state: ServerState::Draining,
            up: true,
            removed: false,
            stage: None,
            trigger: Some(Trigger::Api),
            elapsed_ms: Some(1_000.5),
            in_flight: [(Protocol::Tcp, 1), (Protocol::Grpc, 0)].into(),
            oldest_ms: Some(61_000),
            deadlines: Some(Deadlines {
                refuse_in_ms: 0,
                farewell_in_ms: [(Protocol::Tcp, 20_000), (Protocol::WebSocket, 10_000)].into(),
                cut_in_ms: 22_000,
            }),
            plan: Plan::default(),
            receipt: None,
        };
        assert_eq!(
            progress_text(&progress),
            "server 10.0.0.1:80 of upstream site is draining: no new requests\n\
             in flight: 1 tcp, the oldest for 1m01s\n\
             the first are told in 10s, over in 22s at the latest"
        );
        progress.deadlines = None;
        for (state, says) in [
            (ServerState::Returning, "returns when those have left"),
            (ServerState::Serving, "is serving"),
            (ServerState::Drained, "until it is taken back"),
        ] {
            progress.state = state;
            let text = progress_text(&progress);
            assert!(text.contains(says), "{text}");
        }
    }
}
