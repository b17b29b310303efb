//! What is asked about one server of an upstream.
//!
//! Invariant: who names a server that is not there learns which there are.
//!
//! Deliberately absent: doing it (see `control`).

use super::Admin;
use super::api::{Answer, Call, json};
use super::ask::{Query, members};
use super::problem::Problem;
use crate::config::duration;
use crate::control::{ServerName, ServerRefusal, ServerWish};
use http::StatusCode;
use std::time::Duration;

impl Admin {
    /// Do what is asked about the server whose names stand in `places`.
    pub(super) async fn of_server(
        &self,
        call: Call,
        places: Vec<String>,
        query: &Query,
        body: &[u8],
    ) -> Answer {
        only_wait(query)?;
        let name = server(places)?;
        match call {
            Call::DrainServer => self.drain_server(name, query, finish_in(body)?).await,
            Call::TakeBackServer => {
                nothing_in(body)?;
                self.take_back_server(name).await
            }
            _ => self.server_progress(&name, query).await,
        }
    }

    async fn server_progress(&self, name: &ServerName, query: &Query) -> Answer {
        if query.wait {
            let drained = self.control.status().server(name).is_some();
            if self.server_view(name).is_some() && !drained {
                return Err(Problem::conflict("this server is not being drained"));
            }
            if drained {
                return self.wait_for_server(name).await;
            }
        }
        self.server_progress_of(StatusCode::OK, name)
    }

    async fn drain_server(
        &self,
        name: ServerName,
        query: &Query,
        finish: Option<Duration>,
    ) -> Answer {
        let wish = ServerWish::Drain { finish };
        let asked = self.control.server(name.clone(), wish).await;
        asked.map_err(refused)?;
        if query.wait {
            return self.wait_for_server(&name).await;
        }
        self.server_progress_of(StatusCode::ACCEPTED, &name)
    }

    async fn take_back_server(&self, name: ServerName) -> Answer {
        let asked = self.control.server(name.clone(), ServerWish::TakeBack);
        let status = asked.await.map_err(refused)?;
        // One that some are still leaving returns when they have.
        let code = match status.server(&name) {
            Some(_) => StatusCode::ACCEPTED,
            None => StatusCode::OK,
        };
        self.server_progress_of(code, &name)
    }

    fn server_progress_of(&self, status: StatusCode, name: &ServerName) -> Answer {
        let view = self.server_view(name).ok_or_else(|| self.unknown(name))?;
        json(status, &view)
    }

    async fn wait_for_server(&self, name: &ServerName) -> Answer {
        match self.control.server_over(name).await {
            Some(receipt) => json(StatusCode::OK, &*receipt),
            None => Err(Problem::conflict(
                "the drain was taken back, or ended with the process",
            )),
        }
    }

    fn unknown(&self, name: &ServerName) -> Problem {
        let upstreams = self.upstreams_view().upstreams.into_iter();
        let known = upstreams.flat_map(|upstream| {
            let servers = upstream.servers.into_iter();
            servers.map(move |server| format!("{}/{}", upstream.name, server.name))
        });
        let known: Vec<_> = known.collect();
        Problem::not_found(format!(
            "there is no server {name}; there are: {}",
            known.join(", ")
        ))
    }
}

/// The server that a path names.
fn server(places: Vec<String>) -> Result<ServerName, Problem> {
    let Ok([upstream, server]) = <[String; 2]>::try_from(places) else {
        return Err(Problem::bad_request("the path names no server"));
    };
    Ok(ServerName { upstream, server })
}

fn only_wait(query: &Query) -> Result<(), Problem> {
    if query.listener.is_some() || query.dry_run {
        return Err(Problem::bad_request(
            "for the drain of a server the query may have wait=true only; nothing was done",
        ));
    }
    Ok(())
}

/// That a body says nothing: to take back there is nothing to be said.
fn nothing_in(body: &[u8]) -> Result<(), Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    let members =
        members(body).map_err(|what| Problem::bad_request(format!("{what}; nothing was done")))?;
    match members.keys().next() {
        None => Ok(()),
        Some(name) => Err(Problem::bad_request(format!(
            "the body has an unknown member {name:?}; to take back needs none; nothing was done"
        ))),
    }
}

/// What a body gives exchanges to finish.
fn finish_in(body: &[u8]) -> Result<Option<Duration>, Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let members =
        members(body).map_err(|what| Problem::bad_request(format!("{what}; nothing was done")))?;
    let mut finish = None;
    for (name, value) in members {
        match (name.as_str(), value.as_str()) {
            ("finish", Some(text)) => {
                let time = duration(text).map_err(|what| {
                    Problem::bad_request(format!("`finish`: {what}; nothing was done"))
                })?;
                finish = Some(time);
            }
            ("finish", None) => {
                return Err(Problem::bad_request(
                    "the member \"finish\" of the body must be a string, as in \"30s\"; nothing was done",
                ));
            }
            _ => {
                return Err(Problem::bad_request(format!(
                    "the body has an unknown member {name:?}; known is finish; nothing was done"
                )));
            }
        }
    }
    Ok(finish)
}

fn refused(refusal: ServerRefusal) -> Problem {
    match refusal {
        ServerRefusal::Unknown(says) => Problem::not_found(says),
        refusal => Problem::conflict(refusal.to_string()),
    }
}

/// The parts of a path that stand where `template` has names in braces, or
/// `None` if it is another path. They are percent-decoded (RFC 3986, section
/// 2.1).
pub(super) fn places(template: &str, path: &str) -> Option<Vec<String>> {
    let (mut wanted, mut there) = (template.split('/'), path.split('/'));
    let mut places = Vec::new();
    loop {
        match (wanted.next(), there.next()) {
            (None, None) => return Some(places),
            (Some(name), Some(part)) if name.starts_with('{') => {
                places.push(decode(part).filter(|part| !part.is_empty())?);
            }
            (Some(name), Some(part)) if name == part => {}
            _ => return None,
        }
    }
}

fn decode(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else {
            return None;
        };
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let value = digit(high)? << 4 | digit(low)?;
        bytes.push(u8::try_from(value).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "/v1/upstreams/{upstream}/servers/{server}/drain";

    #[test]
    fn places_are_taken_from_a_path_and_decoded() {
        let found = |path: &str| places(TEMPLATE, path);
        let strings = |parts: [&str; 2]| Some(parts.map(str::to_owned).to_vec());
        assert_eq!(
            found("/v1/upstreams/site/servers/10.0.0.1:80/drain"),
            strings(["site", "10.0.0.1:80"])
        );
        assert_eq!(
            found("/v1/upstreams/site/servers/unix:%2Frun%2Fa.sock/drain"),
            strings(["site", "unix:/run/a.sock"])
        );
        assert_eq!(
            found("/v1/upstreams/site/servers/%5B::1%5D:80/drain"),
            strings(["site", "[::1]:80"])
        );
        for other in [
            "/v1/upstreams/site/servers/a/drain/",
            "/v1/upstreams/site/servers//drain",
            "/v1/upstreams/site/servers/a",
            "/v1/upstreams/site/servers/a/b/drain",
            "/v1/upstreams/site/servers/%4/drain",
            "/v1/upstreams/site/servers/%zz/drain",
            "/v1/upstreams/site/servers/%ff/drain",
            "/v1/status",
        ] {
            assert_eq!(found(other), None, "{other}");
        }
        assert_eq!(places("/livez", "/livez"), Some(Vec::new()));
    }

    #[test]
    fn a_body_says_a_time_or_nothing() {
        assert_eq!(finish_in(b" ").ok().flatten(), None);
        assert_eq!(finish_in(b"{}").ok().flatten(), None);
        let thirty = Some(Duration::from_secs(30));
        assert_eq!(finish_in(b"{\"finish\":\"30s\"}").ok().flatten(), thirty);
        for (wrong, says) in [
            ("[]", "no JSON object"),
            ("{\"finish\":30}", "must be a string"),
            ("{\"finish\":\"30\"}", "`finish`"),
            ("{\"finish\":\"30s\",\"finish\":\"9s\"}", "twice"),
            ("{\"listener\":\"web\"}", "unknown member"),
        ] {
            let problem = finish_in(wrong.as_bytes()).expect_err(wrong);
            assert!(problem.detail.contains(says), "{problem:?}");
        }
    }
}
