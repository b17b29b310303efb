//! `status --fleet`: who is there, who drains, and how far.
//!
//! Invariant: one row for each address, in the fleet's order; with `--json`
//! what each answered stands as it came. The exit code is 1 if one could not
//! be asked.
//!
//! Deliberately absent: sums. What a fleet carries is its monitoring's to say.

use super::{Member, members};
use crate::admin::view::{Progress, Status};
use crate::cli::args::{Fleet, Remote};
use crate::cli::client::{Patience, exchange, runtime};
use crate::cli::exit;
use crate::cli::output::Done;
use crate::cli::remote::in_flight_text;
use crate::cli::text::{Flush, columns, span_ms};
use anyhow::Context;
use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What a member answered.
struct Seen {
    address: String,
    answer: anyhow::Result<(Answer<Status>, Answer<Progress>)>,
}

/// An answer as it came, and as it is understood.
struct Answer<T> {
    raw: Value,
    value: T,
}

pub(in crate::cli) fn status(fleet: &Fleet, remote: &Remote) -> anyhow::Result<Done> {
    runtime()?.block_on(async {
        let members = members(fleet, remote).await?;
        let seen = join_all(members.iter().map(see)).await;
        Ok(told(&seen, remote.json))
    })
}

async fn see(member: &Member) -> Seen {
    let answer = async {
        let status = get(member, "/v1/status").await?;
        let progress = get(member, "/v1/drain").await?;
        Ok((understood(&status)?, understood(&progress)?))
    };
    Seen {
        address: member.admin.to_string(),
        answer: answer.await,
    }
}

async fn get(member: &Member, path: &str) -> anyhow::Result<Bytes> {
    exchange(member, Method::GET, path, String::new(), Patience::Short).await
}

fn understood<T: serde::de::DeserializeOwned>(body: &[u8]) -> anyhow::Result<Answer<T>> {
    let other = "the answer is not what this version expects; is the proxy of another one?";
    let raw: Value = serde_json::from_slice(body).context(other)?;
    let value = serde_json::from_slice(body).context(other)?;
    Ok(Answer { raw, value })
}

fn told(seen: &[Seen], as_json: bool) -> Done {
    let result = if as_json {
        json_of(seen).to_string()
    } else {
        table(seen)
    };
    let silent = seen.iter().filter(|one| one.answer.is_err()).count();
    if silent == 0 {
        return Done::with(result);
    }
    let complaint = format!("ebbtide: {silent} of {} could not be asked", seen.len());
    Done {
        result,
        ..Done::failed(exit::FAILED, complaint)
    }
}

fn json_of(seen: &[Seen]) -> Value {
    let one = |seen: &Seen| match &seen.answer {
        Ok((status, progress)) => json!({
            "address": seen.address, "status": status.raw, "drain": progress.raw, "error": null,
        }),
        Err(error) => json!({
            "address": seen.address, "status": null, "drain": null, "error": format!("{error:#}"),
        }),
    };
    json!({ "instances": seen.iter().map(one).collect::<Vec<_>>() })
}

fn table(seen: &[Seen]) -> String {
    let header = ["ADDRESS", "PROCESS", "UP", "PHASE", "IN FLIGHT"];
    let flush = [Flush::Left, Flush::Right, Flush::Right];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let mut silent = String::new();
    for one in seen {
        match &one.answer {
            Ok((status, progress)) => {
                rows.push(row(&one.address, &status.value, &progress.value));
            }
            Err(error) => {
                let cells = [&one.address, "-", "-", "unreachable"];
                rows.push(cells.map(str::to_owned).to_vec());
                // A string takes all.
                let _ = writeln!(silent, "{}: {error:#}", one.address);
            }
        }
    }
    let ready = |seen: &&Seen| matches!(&seen.answer, Ok((status, _)) if status.value.ready);
    let ready = seen.iter().filter(ready).count();
    let count = match seen.len() {
        1 => "1 process".to_owned(),
        count => format!("{count} processes"),
    };
    format!("{}{count}, {ready} ready\n{silent}", columns(&flush, &rows))
}

fn row(address: &str, status: &Status, progress: &Progress) -> Vec<String> {
    vec![
        address.to_owned(),
        status.pid.to_string(),
        span_ms(status.uptime_ms),
        phase(status, progress),
        in_flight_text(&status.in_flight),
    ]
}

fn phase(status: &Status, progress: &Progress) -> String {
    let deadlines = progress.deadlines.as_ref().filter(|_| progress.draining);
    match (deadlines, status.ready) {
        (Some(deadlines), _) => {
            let stage = progress.stage.map_or("-", |stage| stage.as_str());
            let left = span_ms(deadlines.cut_in_ms);
            format!("draining: {stage}, {left} at most")
        }
        (None, true) => format!("{}, ready", status.phase.as_str()),
        (None, false) => format!("{}, not ready", status.phase.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample;
    use anyhow::anyhow;

    fn seen(address: &str, draining: bool) -> Seen {
        let (status, progress) = (sample::status(draining), sample::progress(draining));
        let raw = json!({ "as": "it came" });
        let status = Answer {
            raw: raw.clone(),
            value: status,
        };
        let progress = Answer {
            raw,
            value: progress,
        };
        Seen {
            address: address.to_owned(),
            answer: Ok((status, progress)),
        }
    }

    #[test]
    fn each_has_a_row_and_who_is_silent_is_said() {
        let silent = Seen {
            address: "10.0.0.3:9900".to_owned(),
            answer: Err(anyhow!("no proxy answers")),
        };
        let fleet = [
            seen("10.0.0.1:9900", false),
            seen("10.0.0.2:9900", true),
            silent,
        ];
        let done = told(&fleet, false);
        let expected = "\
ADDRESS        PROCESS     UP  PHASE                          IN FLIGHT
10.0.0.1:9900     4711  3m12s  active, ready                  2 http1, 1 grpc
10.0.0.2:9900     4711  3m12s  draining: finish, 18s at most  2 http1, 1 grpc
10.0.0.3:9900        -      -  unreachable
3 processes, 1 ready
10.0.0.3:9900: no proxy answers
";
        assert_eq!(done.result, expected);
        assert_eq!(done.complaint, "ebbtide: 1 of 3 could not be asked");
        assert_eq!(done.code, exit::FAILED);
        let document: Value = serde_json::from_str(&told(&fleet, true).result).expect("JSON");
        let instances = document["instances"].as_array().expect("an array");
        assert_eq!(instances.len(), 3);
        assert_eq!(instances[0]["status"]["as"], "it came");
        assert_eq!(instances[2]["error"], "no proxy answers");
        assert_eq!(told(&fleet[..2], false).code, 0);
    }
}
