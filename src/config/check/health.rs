//! Health checks: what is asked of servers, and what is a good answer.
//!
//! Purpose: each `health` becomes a [`Health`].
//!
//! Invariant: a check that can never be good is refused, and a key that the
//! check does not look at as well.
//!
//! Deliberately absent: the checks themselves.

use super::super::file;
use super::super::model::{Health, HealthCheck, HttpCheck};
use super::super::read::{At, Named, OneOrMore, Percent, value_or};
use super::super::report::{Fault, Problem, Reported, Span, quote};
use super::{Check, Choice, all};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};

/// More checks in a row than anybody waits for.
const MOST_IN_A_ROW: u64 = 100;

/// The keys that only a check by `http` has.
struct OnlyHttp {
    method: Option<At<String>>,
    status: Option<At<OneOrMore<u64>>>,
    body: Option<At<String>>,
    headers: Option<At<Named<String>>>,
}

impl OnlyHttp {
    fn spans(&self) -> [(&'static str, Option<&Span>); 4] {
        [
            ("method", self.method.as_ref().map(|key| &key.span)),
            ("status", self.status.as_ref().map(|key| &key.span)),
            ("body", self.body.as_ref().map(|key| &key.span)),
            ("headers", self.headers.as_ref().map(|key| &key.span)),
        ]
    }
}

impl Check<'_> {
    pub(super) fn health(
        &self,
        written: At<file::Health>,
        speaks_h2: bool,
    ) -> Result<Health, Reported> {
        let span = written.span;
        let written = written.value?;
        // What is asked does not matter to the defaults.
        let usual = Health::by(HealthCheck::Tcp);
        let every = self.time("every", written.every, usual.every);
        let timeout = self.time("timeout", written.timeout, usual.timeout);
        let jitter = value_or(written.jitter, Percent(usual.jitter));
        let in_a_row = (1, MOST_IN_A_ROW);
        let rise = self.number("rise", written.rise, in_a_row, usual.rise);
        let fall = self.number("fall", written.fall, in_a_row, usual.fall);
        let only_http = OnlyHttp {
            method: written.method,
            status: written.status,
            body: written.body,
            headers: written.headers,
        };
        let choice = (written.http, written.grpc, written.tcp);
        let check = match self.choose(&span, "`http`, `grpc` and `tcp`", choice)? {
            Choice::First(path) => self.http_check(&path, only_http).map(HealthCheck::Http),
            Choice::Second(service) if !speaks_h2 => {
                let problem = Problem::at(&service.span, "a gRPC health check needs HTTP/2");
                self.refuse(
                    problem
                        .help("add `http = \"h2\"` to this upstream, or check by `http` or `tcp`"),
                )
            }
            Choice::Second(service) => self
                .without(&only_http, "grpc")
                .and_then(|()| service.value.map(|service| HealthCheck::Grpc { service })),
            Choice::Third(tcp) if tcp.value? => {
                self.without(&only_http, "tcp").map(|()| HealthCheck::Tcp)
            }
            Choice::Third(tcp) => {
                let problem = Problem::at(&tcp.span, "`tcp` can only be true");
                self.refuse(problem.help("delete `health` to take the servers' health for granted"))
            }
        };
        Ok(Health {
            check: check?,
            every: every?,
            jitter: jitter?.0,
            timeout: timeout?,
            rise: rise?,
            fall: fall?,
        })
    }

    fn http_check(&self, path: &At<String>, keys: OnlyHttp) -> Result<HttpCheck, Reported> {
        let path = self.parse(path, health_path);
        let method = self.parse_or(keys.method.as_ref(), Method::GET, method);
        let status = self.statuses(keys.status);
        let body = keys.body.map(|body| self.wanted(&body)).transpose();
        let headers = self.check_headers(keys.headers);
        Ok(HttpCheck {
            path: path?,
            method: method?,
            status: status?,
            body: body?,
            headers: headers?,
        })
    }

    fn without(&self, keys: &OnlyHttp, check: &str) -> Result<(), Reported> {
        let written = keys.spans().into_iter();
        let written = written.filter_map(|(key, span)| Some((key, span?)));
        all(written, |(key, span)| {
            let message = format!("`{key}` means nothing to a check by `{check}`");
            let problem = Problem::at(span, message);
            self.refuse::<()>(problem.help("delete it, or check by `http`"))
        })
        .map(drop)
    }

    fn statuses(&self, written: Option<At<OneOrMore<u64>>>) -> Result<Vec<u16>, Reported> {
        let Some(key) = written else {
            return Ok(vec![200]);
        };
        let OneOrMore(written) = key.value?;
        if written.is_empty() {
            let problem = Problem::at(&key.span, "`status` is empty");
            return self.refuse(problem.help("write at least one, e.g. `status = [200, 204]`"));
        }
        all(written, |status| {
            self.number("status", Some(status), (200, 599), 200)
        })
    }

    fn wanted(&self, key: &At<String>) -> Result<Box<str>, Reported> {
        let text = key.get()?;
        if text.is_empty() {
            let problem = Problem::at(&key.span, "`body` is empty");
            return self
                .refuse(problem.help("write what the answer must have in it, or delete it"));
        }
        Ok(text.as_str().into())
    }

    fn check_headers(&self, written: Option<At<Named<String>>>) -> Result<HeaderMap, Reported> {
        let Some(key) = written else {
            return Ok(HeaderMap::new());
        };
        let Named(written) = key.value?;
        let fields = all(written, |(name, value)| {
            let name = self.parse(&name, field_name);
            let value = self.parse(&value, |text| {
                let value = HeaderValue::from_str(text).map(|mut value| {
                    // It may be how a check proves who it is.
                    value.set_sensitive(true);
                    value
                });
                value.map_err(|_| {
                    let what = format!("{} cannot stand in a field", quote(text));
                    Fault::new(what, "write visible ASCII characters and spaces")
                })
            });
            Ok((name?, value?))
        });
        fields.map(HeaderMap::from_iter)
    }
}

fn field_name(text: &str) -> Result<HeaderName, Fault> {
    let help = "write the name of a field, e.g. `X-Check`; those of the framing are the proxy's";
    let name = text.parse::<HeaderName>();
    let name = name.map_err(|_| Fault::new(format!("{} names no field", quote(text)), help))?;
    if [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name) {
        let what = format!("a check cannot have the field {}", quote(text));
        return Err(Fault::new(what, help));
    }
    Ok(name)
}

fn method(text: &str) -> Result<Method, Fault> {
    let method = Method::from_bytes(text.as_bytes()).ok();
    let fits = |method: &Method| *method != Method::CONNECT;
    method.filter(fits).ok_or_else(|| {
        let what = format!("a check cannot ask by {}", quote(text));
        Fault::new(
            what,
            "write a method without a body, e.g. `\"GET\"` or `\"HEAD\"`",
        )
    })
}

fn health_path(text: &str) -> Result<String, Fault> {
    let path = text.parse::<PathAndQuery>().is_ok() && text.starts_with('/');
    if !path {
        let what = format!("{} is not the path of a health check", quote(text));
        return Err(Fault::new(
            what,
            "a path begins with `/`, e.g. `\"/healthz\"`; the host is each server's own",
        ));
    }
    Ok(text.to_owned())
}
