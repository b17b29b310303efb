//! Routes: which requests go to which upstream.
//!
//! Purpose: each entry of `routes` becomes a [`Route`], in the order of the
//! file, since the first match wins.
//!
//! Invariant: every route can match some request: one that an earlier route
//! leaves nothing for is refused. No route sets a field that frames messages
//! or belongs to a connection.
//!
//! Deliberately absent: matching.

use super::super::file;
use super::super::model::{HostPattern, Route};
use super::super::read::{At, Named, Time, value_or};
use super::super::report::{Fault, Problem, Reported, Span, quote};
use super::{Check, address, all};
use http::{HeaderName, HeaderValue};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

const MOST_RETRIES: u64 = 10;

/// Fields that frame a message or belong to one connection (RFC 9110, section
/// 7.6.1; RFC 9112, section 6): setting them would break either.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
];

impl Check<'_> {
    pub(super) fn routes(
        &self,
        listener: &str,
        written: Vec<At<file::Route>>,
    ) -> Result<Vec<Route>, Reported> {
        let spans: Vec<Span> = written.iter().map(|route| route.span.clone()).collect();
        let routes = all(written.into_iter().enumerate(), |(index, route)| {
            self.route(format!("{listener}/{index}"), route.value?)
        })?;
        self.reachable(routes, &spans)
    }

    /// That each of these, written at `spans`, can match something.
    pub(super) fn reachable(
        &self,
        routes: Vec<Route>,
        spans: &[Span],
    ) -> Result<Vec<Route>, Reported> {
        let reachable = all(1..routes.len(), |late| {
            let Some(early) = (0..late).find(|early| covers(&routes[*early], &routes[late])) else {
                return Ok(());
            };
            let problem = Problem::at(&spans[late], "this route never matches")
                .also(&spans[early], "an earlier route takes them all");
            self.refuse(
                problem.help("the first match wins: put the narrower route first, or delete it"),
            )
        });
        reachable.map(|_| routes)
    }

    fn route(&self, name: String, written: file::Route) -> Result<Route, Reported> {
        if let Some(sni) = written.sni {
            let problem = Problem::at(&sni.span, "`sni` is for routes of a TCP listener");
            return self.refuse(problem.help(
                "requests are routed by `host`; certificates are chosen by SNI without being told",
            ));
        }
        let host = self.parse_or(written.host.as_ref(), HostPattern::Any, host);
        let path = self.parse_or(written.path.as_ref(), "/".to_owned(), path);
        let upstream = self.upstream_id(&written.upstream);
        let fields = value_or(written.set_response_headers, Named::default());
        let fields =
            fields.and_then(|fields| self.fields(fields, "a route", |text| Ok(text.to_owned())));
        let timeout = value_or(written.timeout, Time(Duration::ZERO));
        let retries = self.number("retries", written.retries, (0, MOST_RETRIES), 1);
        let retry = retries.and_then(|retries| self.retry(written.retry, retries));
        let body = written.body.map(|body| body.value).transpose();
        Ok(Route {
            name,
            host: host?,
            path: path?,
            upstream: upstream?,
            set_response_headers: fields?,
            timeout: timeout?.0,
            retries: retries?,
            retry: retry?.map(Arc::new),
            body: body?.map(|size| size.0),
        })
    }

    /// Header fields that `whose` sets, with what stands for each value.
    pub(super) fn fields(
        &self,
        written: Named<String>,
        whose: &str,
        value_of: impl Fn(&str) -> Result<String, Fault>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Reported> {
        let mut seen: Vec<(HeaderName, Span)> = Vec::new();
        all(written.0, |(key, value)| {
            let name = self.parse(&key, |text| field_name(text, whose));
            let value = self.parse(&value, |text| {
                HeaderValue::from_str(&value_of(text)?).map_err(|_| {
                    let what = format!("{} cannot be the value of a header field", quote(text));
                    Fault::new(what, "a value is one line of visible characters")
                })
            });
            let name = name?;
            if let Some((_, first)) = seen.iter().find(|(known, _)| *known == name) {
                let problem = Problem::at(&key.span, format!("`{name}` is set twice"));
                let problem = problem.also(first, "first set here");
                return self.refuse(
                    problem.help("case does not matter in field names; delete one of them"),
                );
            }
            seen.push((name.clone(), key.span));
            Ok((name, value?))
        })
    }
}

fn field_name(text: &str, whose: &str) -> Result<HeaderName, Fault> {
    let name: HeaderName = text.parse().map_err(|_| {
        let what = format!("{} is not the name of a header field", quote(text));
        Fault::new(what, "use letters, digits and `-`, e.g. `x-served-by`")
    })?;
    if FRAMING.contains(&name.as_str()) {
        let what = format!("`{name}` cannot be set by {whose}");
        return Err(Fault::new(
            what,
            "it frames messages or belongs to one connection; delete it",
        ));
    }
    Ok(name)
}

/// Reads the hosts that a route takes.
fn host(text: &str) -> Result<HostPattern, Fault> {
    let name = text.to_ascii_lowercase();
    if name == "*" {
        return Ok(HostPattern::Any);
    }
    if let Some(rest) = name.strip_prefix('*')
        && let Some(domain) = rest.strip_prefix('.')
        && address::host_name(domain)
    {
        return Ok(HostPattern::Suffix(rest.to_owned()));
    }
    let bracketed = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ipv6 = bracketed.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
    if address::host_name(&name) || name.parse::<Ipv4Addr>().is_ok() || ipv6 {
        return Ok(HostPattern::Exact(name));
    }
    let help = match name.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() && !host.contains(':') => {
            format!("leave the port out: `\"{host}\"` matches on any port")
        }
        _ if !name.is_ascii() => "write an internationalised name in its `xn--` form".into(),
        _ => {
            "write a host (`api.example.com`), every host below one (`*.example.com`) or all (`*`)"
                .into()
        }
    };
    Err(Fault::new(format!("{} is not a host", quote(text)), help))
}

/// Reads the path prefix that a route takes.
fn path(text: &str) -> Result<String, Fault> {
    let wrong = |help: String| {
        Err(Fault::new(
            format!("{} is not a path prefix", quote(text)),
            help,
        ))
    };
    if !text.starts_with('/') {
        return wrong("a path begins with `/`".into());
    }
    if let Some(prefix) = text.strip_suffix('*') {
        return wrong(format!(
            "a path is a plain prefix already: write `\"{prefix}\"`"
        ));
    }
    if text.contains(['?', '#']) {
        return wrong(
            "requests are matched without their query: end the path before `?` or `#`".into(),
        );
    }
    if !text.chars().all(|c| c.is_ascii_graphic()) {
        return wrong(
            "write spaces and other letters as they are sent: percent-encoded, e.g. `%20`".into(),
        );
    }
    Ok(text.to_owned())
}

/// Whether `early` takes every request that `late` would.
fn covers(early: &Route, late: &Route) -> bool {
    let host = match (&early.host, &late.host) {
        (HostPattern::Any, _) => true,
        (HostPattern::Exact(a), HostPattern::Exact(b)) => a == b,
        (HostPattern::Suffix(a), HostPattern::Exact(b) | HostPattern::Suffix(b)) => b.ends_with(a),
        _ => false,
    };
    host && late.path.starts_with(&early.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UpstreamId;

    fn route(host: HostPattern, path: &str) -> Route {
        Route {
            name: "web/0".into(),
            host,
            path: path.into(),
            upstream: UpstreamId(0),
            set_response_headers: Vec::new(),
            timeout: Duration::ZERO,
            retries: 1,
            retry: None,
            body: None,
        }
    }

    #[test]
    fn hosts_are_read() {
        assert_eq!(host("*"), Ok(HostPattern::Any));
        assert_eq!(
            host("API.example.com"),
            Ok(HostPattern::Exact("api.example.com".into()))
        );
        assert_eq!(
            host("*.Example.com"),
            Ok(HostPattern::Suffix(".example.com".into()))
        );
        assert_eq!(host("10.0.0.1"), Ok(HostPattern::Exact("10.0.0.1".into())));
        assert_eq!(host("[::1]"), Ok(HostPattern::Exact("[::1]".into())));
    }

    #[test]
    fn what_is_no_host_is_answered() {
        let cases = [
            ("example.com:443", "`\"example.com\"`"),
            ("bücher.example", "xn--"),
            ("api.*.com", "*.example.com"),
            ("*example.com", "*.example.com"),
            ("", "*.example.com"),
            ("http://example.com", "*.example.com"),
        ];
        for (text, part) in cases {
            let fault = host(text).expect_err(text);
            assert!(fault.help.contains(part), "{text}: {fault:?}");
        }
    }

    #[test]
    fn what_is_no_path_is_answered() {
        let cases = [
            ("api/", "begins with"),
            ("/api/*", "`\"/api/\"`"),
            ("/a?b", "query"),
            ("/a b", "%20"),
        ];
        for (text, part) in cases {
            let fault = path(text).expect_err(text);
            assert!(fault.help.contains(part), "{text}: {fault:?}");
        }
        assert_eq!(
            path("/orders.v1.Orders/").as_deref(),
            Ok("/orders.v1.Orders/")
        );
    }

    #[test]
    fn a_route_covers_what_it_takes_all_of() {
        let exact = |name: &str| HostPattern::Exact(name.into());
        let suffix = |name: &str| HostPattern::Suffix(name.into());
        let cases = [
            (HostPattern::Any, "/", exact("a.b"), "/x", true),
            (HostPattern::Any, "/x", HostPattern::Any, "/", false),
            (exact("a.b"), "/", HostPattern::Any, "/", false),
            (exact("a.b"), "/", exact("a.b"), "/", true),
            (exact("a.b"), "/", exact("c.b"), "/", false),
            (suffix(".b"), "/", exact("a.b"), "/", true),
            (suffix(".b"), "/", exact("b"), "/", false),
            (suffix(".b"), "/", suffix(".a.b"), "/", true),
            (suffix(".a.b"), "/", suffix(".b"), "/", false),
        ];
        for (a, x, b, y, expected) in cases {
            let (early, late) = (route(a, x), route(b, y));
            assert_eq!(covers(&early, &late), expected, "{early:?} {late:?}");
        }
    }
}
