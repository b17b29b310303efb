//! Retries of what a server may have processed.
//!
//! Purpose: each `retry` of a route becomes a [`Retry`].
//!
//! Invariant: it is on a route that has retries. What is kept of a body is
//! bounded.
//!
//! Deliberately absent: a relation between `backoff` and `longest`: the shorter
//! one holds.

use super::super::file;
use super::super::model::Retry;
use super::super::read::{At, Percent, Time, value_or};
use super::super::report::{Fault, Problem, Reported, quote};
use super::{Check, all};
use http::Method;
use std::time::Duration;

/// Retries in a second beyond which there is no budget any more.
const MOST_IN_A_SECOND: u64 = 100_000;

/// What a body may take in memory, as long as its exchange waits.
const LARGEST: u64 = 16 << 20;

impl Check<'_> {
    /// The policy of a route with this number of retries.
    pub(super) fn retry(
        &self,
        written: Option<At<file::Retry>>,
        retries: u32,
    ) -> Result<Option<Retry>, Reported> {
        let Some(At { span, value }) = written else {
            return Ok(None);
        };
        let written = value?;
        if retries == 0 {
            let problem = Problem::at(&span, "`retry` says what is sent again, and `retries` is 0");
            return self.refuse(problem.help("write how often, e.g. `retries = 2`, or delete it"));
        }
        let usual = Retry::default();
        let status = self.numbers("status", written.status, (400, 599), usual.status);
        let grpc = self.numbers("grpc", written.grpc, (1, 16), usual.grpc);
        let methods = value_or(written.methods, Vec::new())
            .and_then(|methods| all(methods, |method| self.parse(&method, method_name)));
        let try_timeout = value_or(written.try_timeout, Time(usual.try_timeout));
        let hedge = self.hedge(written.hedge, &try_timeout);
        let backoff = value_or(written.backoff, Time(usual.backoff));
        let longest = value_or(written.longest, Time(usual.longest));
        let budget = value_or(written.budget, Percent(usual.budget));
        let least = self.number("least", written.least, (0, MOST_IN_A_SECOND), usual.least);
        let buffer = self.size("buffer", written.buffer, (0, LARGEST), usual.buffer);
        Ok(Some(Retry {
            status: status?,
            grpc: grpc?,
            methods: methods?,
            try_timeout: try_timeout?.0,
            hedge: hedge?,
            backoff: backoff?.0,
            longest: longest?.0,
            budget: budget?.0,
            least: least?,
            buffer: buffer?,
        }))
    }

    /// When a second request goes out beside the first: while that is still tried.
    fn hedge(
        &self,
        written: Option<At<Time>>,
        try_timeout: &Result<Time, Reported>,
    ) -> Result<Duration, Reported> {
        let Some(At { span, value }) = written else {
            return Ok(Retry::default().hedge);
        };
        let hedge = value?.0;
        let over = matches!(try_timeout, Ok(Time(limit)) if !limit.is_zero() && hedge >= *limit);
        if over {
            let problem = Problem::at(&span, "`hedge` is not shorter than `try_timeout`");
            return self
                .refuse(problem.help("the first try is over by then: write a shorter time"));
        }
        Ok(hedge)
    }

    fn numbers(
        &self,
        name: &str,
        written: Option<At<Vec<At<u64>>>>,
        range: (u64, u64),
        usual: Vec<u16>,
    ) -> Result<Vec<u16>, Reported> {
        let Some(key) = written else {
            return Ok(usual);
        };
        all(key.value?, |number| {
            self.number(name, Some(number), range, 0)
        })
    }
}

fn method_name(text: &str) -> Result<Method, Fault> {
    let wrong = |help: String| {
        let what = format!("{} is no method that can be sent again", quote(text));
        Err(Fault::new(what, help))
    };
    let upper = text.to_ascii_uppercase();
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => wrong("a tunnel cannot be begun again: delete it".into()),
        Ok(_) if text != upper => wrong(format!("case matters in methods: write `\"{upper}\"`")),
        Ok(method) => Ok(method),
        Err(_) => wrong("write the name of a method, e.g. `\"POST\"`".into()),
    }
}
