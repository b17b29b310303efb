//! How connections to servers are kept.
//!
//! Purpose: each `pool` becomes a [`Pool`].
//!
//! Invariant: what a system call takes in whole seconds is written in whole
//! seconds, and nothing is kept warm that would not be kept.
//!
//! Deliberately absent: whether `close` fits in `grace`: servers that take their
//! end take no time for it, and the others lose nothing if it is cut short.

use super::super::file;
use super::super::model::{Listener, Ping, Pool, Serves, TcpKeepalive, Upstream};
use super::super::read::{At, Percent, SwitchOr, Time, value_or};
use super::super::report::{Problem, Reported, Span};
use super::super::units::show;
use super::Check;
use std::time::Duration;

/// More connections than a worker can have descriptors for.
const MOST: u64 = 100_000;

/// With each stream's window, as many fill what one connection may be sent.
const MOST_STREAMS: u64 = 1000;

/// What Linux takes for `TCP_KEEPIDLE` and `TCP_KEEPINTVL`, in seconds, and for
/// `TCP_KEEPCNT`.
const LONGEST: Duration = Duration::from_secs(32_767);
const MOST_PROBES: u64 = 127;

/// The upstreams of a file.
pub(super) type Written = Result<Vec<(At<String>, At<file::Upstream>)>, Reported>;

/// Where it is written that servers are kept warm, by the place of the upstream.
pub(super) fn warm_spans(written: &Written) -> Vec<Option<Span>> {
    let span = |(_, upstream): &(At<String>, At<file::Upstream>)| {
        let pool = upstream.get().ok()?.pool.as_ref()?.get().ok()?;
        Some(pool.warm.as_ref()?.span.clone())
    };
    written.iter().flatten().map(span).collect()
}

impl Check<'_> {
    /// Refuse what is kept warm for nobody: a tunnel has a connection of its own.
    pub(super) fn asked_ahead(
        &self,
        upstreams: Vec<Upstream>,
        warm: &[Option<Span>],
        listeners: &Result<Vec<Listener>, Reported>,
    ) -> Result<Vec<Upstream>, Reported> {
        let Ok(listeners) = listeners else {
            return Ok(upstreams);
        };
        let over_http = |index| {
            let mut http = listeners
                .iter()
                .filter(|one| matches!(one.serves, Serves::Http { .. }));
            http.any(|one| {
                let mut routes = one.serves.routes().iter();
                routes.any(|route| route.upstream.0 == index)
            })
        };
        for (index, upstream) in upstreams.iter().enumerate() {
            let Some(Some(span)) = warm.get(index) else {
                continue;
            };
            if upstream.pool.warm > 0 && !over_http(index) {
                let what = "no request comes to what `warm` would keep open";
                let problem = Problem::at(span, what);
                let problem = problem.help(
                    "a tunnel has a connection of its own: delete `warm`, or have a listener \
                     with HTTP route to this upstream",
                );
                return self.refuse(problem);
            }
        }
        Ok(upstreams)
    }

    /// `alone` says where it is written that each exchange has a connection of
    /// its own, if so.
    pub(super) fn pool(
        &self,
        written: Option<At<file::Pool>>,
        alone: Option<&Span>,
    ) -> Result<Pool, Reported> {
        let written = value_or(written, file::Pool::default())?;
        let usual = Pool::default();
        let idle = self.time("idle", written.idle, usual.idle);
        let max_idle = self.number("max_idle", written.max_idle, (0, MOST), usual.max_idle);
        let warm_at = written.warm.as_ref().map(|key| key.span.clone());
        let warm = self.number("warm", written.warm, (0, MOST), usual.warm);
        let max_age = value_or(written.max_age, Time(usual.max_age));
        let jitter = value_or(written.jitter, Percent(usual.jitter));
        let requests = (0, u64::from(u32::MAX));
        let max_requests = self.number(
            "max_requests",
            written.max_requests,
            requests,
            usual.max_requests,
        );
        let streams = (1, MOST_STREAMS);
        let streams = self.number("streams", written.streams, streams, usual.streams);
        let ping = self.ping(written.ping);
        let keepalive = self.tcp_keepalive(written.keepalive);
        let user_timeout = value_or(written.user_timeout, Time(usual.user_timeout));
        let close = self.time("close", written.close, usual.close);
        let pool = Pool {
            idle: idle?,
            max_idle: max_idle?,
            warm: warm?,
            max_age: max_age?.0,
            jitter: jitter?.0,
            max_requests: max_requests?,
            streams: streams?,
            ping: ping?,
            keepalive: keepalive?,
            user_timeout: user_timeout?.0,
            close: close?,
        };
        match warm_at {
            Some(warm_at) if pool.warm > 0 => self.warm(pool, &warm_at, alone),
            _ => Ok(pool),
        }
    }

    fn warm(&self, pool: Pool, warm_at: &Span, alone: Option<&Span>) -> Result<Pool, Reported> {
        if pool.warm > pool.max_idle {
            let what = format!(
                "`warm` is {}, but only {} are kept",
                pool.warm, pool.max_idle
            );
            let problem = Problem::at(warm_at, what);
            return self.refuse(problem.help("lower `warm` or raise `max_idle`"));
        }
        let Some(alone) = alone else { return Ok(pool) };
        let problem = Problem::at(warm_at, "`warm` contradicts `proxy_protocol`");
        let problem = problem.also(alone, "each request has a connection of its own");
        self.refuse(problem.help("delete one of them"))
    }

    fn ping(&self, written: Option<At<SwitchOr<file::Ping>>>) -> Result<Option<Ping>, Reported> {
        let written = match written.map(|written| written.value).transpose()? {
            Some(SwitchOr::Switch(false)) => return Ok(None),
            Some(SwitchOr::With(table)) => table,
            Some(SwitchOr::Switch(true)) | None => file::Ping::default(),
        };
        let usual = Ping::default();
        let after = self.time("after", written.after, usual.after);
        let answer = self.time("answer", written.answer, usual.answer);
        Ok(Some(Ping {
            after: after?,
            answer: answer?,
        }))
    }

    fn tcp_keepalive(
        &self,
        written: Option<At<file::TcpKeepalive>>,
    ) -> Result<TcpKeepalive, Reported> {
        let written = value_or(written, file::TcpKeepalive::default())?;
        let usual = TcpKeepalive::default();
        let idle = self.seconds("idle", written.idle, usual.idle);
        let interval = self.seconds("interval", written.interval, usual.interval);
        let count = self.number("count", written.count, (1, MOST_PROBES), usual.count);
        Ok(TcpKeepalive {
            idle: idle?,
            interval: interval?,
            count: count?,
        })
    }

    /// What the system takes in whole seconds.
    fn seconds(
        &self,
        name: &str,
        key: Option<At<Time>>,
        default: Duration,
    ) -> Result<Duration, Reported> {
        let Some(key) = key else { return Ok(default) };
        let time = key.value?.0;
        if time.subsec_nanos() == 0 && !time.is_zero() && time <= LONGEST {
            return Ok(time);
        }
        let problem = Problem::at(&key.span, format!("`{name}` cannot be {}", show(time)));
        let help = format!(
            "the system counts in whole seconds: write one from `\"1s\"` to `\"{}\"`",
            show(LONGEST)
        );
        self.refuse(problem.help(help))
    }
}
