//! The drain's timeline.
//!
//! Purpose: `[drain]` becomes a [`Plan`], and every way in which the plan
//! does not fit is drawn on the key that is to blame.
//!
//! Invariant: a plan that leaves here fits its own grace.
//!
//! Deliberately absent: what fits. The plan itself says so, in `drain`,
//! so that whatever else makes a plan is held to the same.

use super::super::file::{Drain, Finish};
use super::super::read::{At, OneOf, Time, value_or};
use super::super::report::{Fault, Problem, Reported, Span};
use super::{Check, all};
use crate::drain::{self, Plan};
use std::path::PathBuf;

impl Check<'_> {
    /// Where the receipt is kept, if anywhere.
    pub(super) fn receipt(&self, written: Option<&At<Drain>>) -> Result<Option<PathBuf>, Reported> {
        let Some(written) = written else {
            return Ok(None);
        };
        let Some(key) = &written.get()?.receipt else {
            return Ok(None);
        };
        let path = self.parse(key, |text| {
            if text.is_empty() {
                return Err(Fault::new(
                    "`receipt` cannot be empty",
                    "write the path of a file, or leave the key out",
                ));
            }
            let in_file = "the receipt is a file; write its path, e.g. `\"run/receipt.json\"`";
            self.file("receipt", text, in_file)
        });
        path.map(Some)
    }

    pub(super) fn plan(&self, written: Option<At<Drain>>) -> Result<Plan, Reported> {
        let Some(written) = written else {
            return Ok(Plan::default());
        };
        let whole = written.span;
        let written = written.value?;
        let spans = Spans::of(&written, whole);
        let default = Plan::default();
        let time = |key: Option<At<Time>>, default| value_or(key, Time(default)).map(|time| time.0);
        let finish = value_or(written.finish, Finish::default())?;
        let finish = drain::Finish {
            http: time(finish.http, default.finish.http)?,
            grpc: time(finish.grpc, default.finish.grpc)?,
            websocket: time(finish.websocket, default.finish.websocket)?,
            tcp: time(finish.tcp, default.finish.tcp)?,
        };
        let default = Plan { finish, ..default }.with_room();
        let plan = Plan {
            grace: time(written.grace, default.grace)?,
            announce: time(written.announce, default.announce)?,
            spread: time(written.spread, default.spread)?,
            handshake: time(written.handshake, default.handshake)?,
            last_request: time(written.last_request, default.last_request)?,
            finish,
            farewell: time(written.farewell, default.farewell)?,
            handover_finish: time(written.handover_finish, default.handover_finish)?,
            late_requests: value_or(written.late_requests, OneOf(default.late_requests))?.0,
            hopeless: value_or(written.hopeless, OneOf(default.hopeless))?.0,
        };
        all(plan.check(), |error| {
            let (span, written) = spans.of_key(error.key());
            // The plan says what is wrong and, after the last semicolon, what
            // to do about it.
            let said = error.to_string();
            let (what, help) = said.rsplit_once("; ").unwrap_or((&said, ""));
            let mut problem = Problem::at(span, what);
            if !help.is_empty() {
                problem = problem.help(help);
            }
            if !written {
                problem = problem.label(format!("`{}` has its default", error.key()));
            }
            self.refuse::<()>(problem)
        })?;
        Ok(plan)
    }
}

/// Where the keys of `[drain]` are written.
struct Spans {
    whole: Span,
    keys: Vec<(&'static str, Span)>,
}

impl Spans {
    fn of(written: &Drain, whole: Span) -> Self {
        let finish = written.finish.as_ref();
        let inner = finish.and_then(|finish| finish.get().ok());
        let keys = [
            ("grace", written.grace.as_ref()),
            ("announce", written.announce.as_ref()),
            ("spread", written.spread.as_ref()),
            ("handshake", written.handshake.as_ref()),
            ("last_request", written.last_request.as_ref()),
            ("farewell", written.farewell.as_ref()),
            ("finish.http", inner.and_then(|inner| inner.http.as_ref())),
            ("finish.grpc", inner.and_then(|inner| inner.grpc.as_ref())),
            (
                "finish.websocket",
                inner.and_then(|inner| inner.websocket.as_ref()),
            ),
            ("finish.tcp", inner.and_then(|inner| inner.tcp.as_ref())),
        ];
        let keys = keys
            .into_iter()
            .filter_map(|(name, key)| Some((name, key?.span.clone())));
        let finish = finish.map(|finish| ("finish", finish.span.clone()));
        Self {
            whole,
            keys: keys.chain(finish).collect(),
        }
    }

    /// Where `key` is written, or the nearest table around it and `false`.
    fn of_key(&self, key: &str) -> (&Span, bool) {
        let find = |name: &str| self.keys.iter().find(|(known, _)| *known == name);
        let table = key.split('.').next().unwrap_or(key);
        match (find(key), find(table)) {
            (Some((_, span)), _) => (span, true),
            (None, Some((_, span))) => (span, false),
            (None, None) => (&self.whole, false),
        }
    }
}
