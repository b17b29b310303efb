//! What a TCP listener serves: one upstream, or several by the name in SNI.
//!
//! Purpose: `upstream` or `routes` of a listener with `protocol = "tcp"`
//! becomes its routes. A single upstream is a route that takes all.
//!
//! Invariant: as for the routes of HTTP, each can match some connection.
//!
//! Deliberately absent: reading a `ClientHello`.

use super::super::file;
use super::super::model::{HostPattern, Route, Serves, UpstreamId};
use super::super::read::At;
use super::super::report::{Fault, Problem, Reported, Span, quote};
use super::{Check, address, all};
use std::time::Duration;

/// `upstream` and `routes` as they were written.
type Written = (Option<At<String>>, Option<At<Vec<At<file::Route>>>>);

impl Check<'_> {
    pub(super) fn tcp(
        &self,
        listener: &str,
        span: &Span,
        ends_tls: Option<&Span>,
        written: Written,
    ) -> Result<Serves, Reported> {
        let routes = match written {
            (Some(upstream), None) => {
                let upstream = self.upstream_id(&upstream)?;
                vec![tunnels(format!("{listener}/0"), HostPattern::Any, upstream)]
            }
            (None, Some(routes)) => self.by_name(listener, ends_tls, routes)?,
            (Some(upstream), Some(routes)) => {
                let message = "a TCP listener takes `upstream` or `routes`, not both";
                let problem = Problem::at(&upstream.span, message).also(&routes.span, "the routes");
                return self.refuse(
                    problem.help("a route without `sni` takes what no other one takes: write `{ upstream = \"NAME\" }` as the last of `routes`"),
                );
            }
            (None, None) => {
                let problem = Problem::at(span, "a TCP listener needs `upstream`")
                    .label("`upstream` is missing");
                return self.refuse(problem.help(
                    "add `upstream = \"NAME\"`, or `routes = [{ sni = \"HOST\", upstream = \"NAME\" }]`",
                ));
            }
        };
        Ok(Serves::Tcp { routes })
    }

    fn by_name(
        &self,
        listener: &str,
        ends_tls: Option<&Span>,
        routes: At<Vec<At<file::Route>>>,
    ) -> Result<Vec<Route>, Reported> {
        let span = routes.span;
        let written = routes.value?;
        if written.is_empty() {
            let problem =
                Problem::at(&span, "`routes` is empty").label("no connection could be served");
            return self.refuse(problem.help("write `upstream = \"NAME\"` instead"));
        }
        if let Some(tls) = ends_tls {
            let message = "TLS that is routed by SNI cannot end here";
            let problem = Problem::at(tls, message).also(&span, "routed by SNI");
            return self.refuse(problem.help(
                "delete `tls`, so that servers end it, or write `upstream` instead of `routes`",
            ));
        }
        let spans: Vec<Span> = written.iter().map(|route| route.span.clone()).collect();
        let routes = all(written.into_iter().enumerate(), |(index, route)| {
            let route = route.value?;
            self.of_http(&route)?;
            let name = self.parse_or(route.sni.as_ref(), HostPattern::Any, sni);
            let upstream = self.upstream_id(&route.upstream);
            Ok(tunnels(format!("{listener}/{index}"), name?, upstream?))
        })?;
        self.reachable(routes, &spans)
    }

    /// Refuse what only requests have.
    fn of_http(&self, route: &file::Route) -> Result<(), Reported> {
        let keys = [
            ("host", route.host.as_ref().map(|key| &key.span)),
            ("path", route.path.as_ref().map(|key| &key.span)),
            (
                "set_response_headers",
                route.set_response_headers.as_ref().map(|key| &key.span),
            ),
            ("timeout", route.timeout.as_ref().map(|key| &key.span)),
            ("retries", route.retries.as_ref().map(|key| &key.span)),
            ("retry", route.retry.as_ref().map(|key| &key.span)),
            ("body", route.body.as_ref().map(|key| &key.span)),
        ];
        let mut written = keys
            .into_iter()
            .filter_map(|(name, span)| Some((name, span?)));
        let Some((name, span)) = written.next() else {
            return Ok(());
        };
        let problem = Problem::at(span, format!("`{name}` is for routes of requests"));
        let help = match name {
            "host" => "bytes have no host; the name that a TLS client asks for is `sni`",
            _ => "opaque bytes have none of that: a TCP route has `sni` and `upstream`",
        };
        self.refuse(problem.help(help))
    }
}

fn tunnels(name: String, host: HostPattern, upstream: UpstreamId) -> Route {
    Route {
        name,
        host,
        path: String::new(),
        upstream,
        set_response_headers: Vec::new(),
        timeout: Duration::ZERO,
        retries: 0,
        retry: None,
        body: None,
    }
}

/// Reads a name that TLS clients ask for (RFC 6066, section 3): never an
/// address, and never with a dot at its end.
fn sni(text: &str) -> Result<HostPattern, Fault> {
    let name = text.to_ascii_lowercase();
    let pattern = match name.strip_prefix('*') {
        Some(rest) if rest.strip_prefix('.').is_some_and(address::host_name) => {
            Some(HostPattern::Suffix(rest.to_owned()))
        }
        None if address::host_name(&name) => Some(HostPattern::Exact(name)),
        _ => None,
    };
    pattern.filter(|_| !text.ends_with('.')).ok_or_else(|| {
        let what = format!("{} is not a name that TLS clients ask for", quote(text));
        let help = match text {
            "*" => "a route that takes all has no `sni`: delete it",
            _ => "write a host (`a.example.com`), or every host below one (`*.example.com`)",
        };
        Fault::new(what, help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        let exact = HostPattern::Exact("a.example.com".into());
        assert_eq!(sni("A.example.com"), Ok(exact));
        let suffix = HostPattern::Suffix(".example.com".into());
        assert_eq!(sni("*.Example.com"), Ok(suffix));
    }

    #[test]
    fn what_no_client_asks_for_is_refused() {
        for (text, part) in [
            ("*", "no `sni`"),
            ("a.*.com", "*.example.com"),
            ("*example.com", "*.example.com"),
            ("10.0.0.1", "*.example.com"),
            ("a.example.com.", "*.example.com"),
            ("a.example.com:443", "*.example.com"),
            ("", "*.example.com"),
        ] {
            let fault = sni(text).expect_err(text);
            assert!(fault.help.contains(part), "{text}: {fault:?}");
        }
    }
}
