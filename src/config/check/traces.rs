//! Traces: where they are sent.
//!
//! Purpose: `[process.traces]` becomes a [`Traces`].
//!
//! Invariant: what the collector's protocol has no place for is refused, not
//! passed over.
//!
//! Deliberately absent: asking the collector. One that is down costs the proxy
//! nothing, and may come later.

use super::super::file;
use super::super::model::{Ratio, Traces, TracesProtocol};
use super::super::read::{At, Named, OneOf, Time, value_or};
use super::super::report::{Fault, Problem, Reported, quote};
use super::super::tls;
use super::Check;
use http::{HeaderName, HeaderValue, Uri};
use std::sync::Arc;
use std::time::Duration;

/// Where HTTP finds the traces of a collector that is named without a path.
const PATH: &str = "/v1/traces";

/// More ended exchanges than anybody should keep.
const MOST_QUEUED: u64 = 1_000_000;

impl Check<'_> {
    pub(super) fn traces(&self, written: At<file::Traces>) -> Result<Traces, Reported> {
        let written = written.value?;
        let protocol = value_or(written.protocol, OneOf(TracesProtocol::default()));
        let otlp = match protocol {
            Ok(OneOf(protocol)) => self.parse(&written.otlp, |text| collector(text, protocol)),
            Err(reported) => Err(reported),
        };
        let ratio = self.ratio(written.ratio);
        let service = self.parse_or(written.service.as_ref(), "ebbtide".to_owned(), |text| {
            if text.trim().is_empty() {
                let help = "write what this proxy is to be called, e.g. `\"edge\"`";
                return Err(Fault::new("`service` cannot be empty", help));
            }
            Ok(text.to_owned())
        });
        let headers = value_or(written.headers, Named::default()).and_then(|fields| {
            let headers = self.fields(fields, "an exporter", |text| self.secret(text))?;
            let hidden = |(name, mut value): (HeaderName, HeaderValue)| {
                value.set_sensitive(true);
                (name, value)
            };
            Ok(headers.into_iter().map(hidden).collect())
        });
        let ca = match (&written.ca, &otlp) {
            (Some(ca), Ok(otlp)) if otlp.scheme_str() == Some("http") => {
                let problem = Problem::at(&ca.span, "`ca` has no use in clear text");
                self.refuse(problem.help("write an `https` URL in `otlp`, or delete `ca`"))
            }
            (Some(ca), _) => self
                .parse(ca, |path| tls::roots(&self.read_path(path)))
                .map(|roots| Some(Arc::new(roots))),
            (None, _) => Ok(None),
        };
        let timeout = self.time("timeout", written.timeout, Duration::from_secs(10));
        let queue = self.number("queue", written.queue, (1, MOST_QUEUED), 4096);
        let flush = value_or(written.flush, Time(Duration::from_secs(1)));
        Ok(Traces {
            otlp: otlp?,
            protocol: protocol?.0,
            ratio: ratio?,
            service: service?,
            headers: headers?,
            ca: ca?,
            timeout: timeout?,
            queue: queue?,
            flush: flush?.0,
        })
    }

    fn ratio(&self, written: Option<At<f64>>) -> Result<Ratio, Reported> {
        let Some(written) = written else {
            return Ok(Ratio::of(0.01));
        };
        let part = written.value?;
        if !(0.0..=1.0).contains(&part) {
            let problem = Problem::at(&written.span, format!("`ratio` cannot be {part}"));
            let help = "write a number from 0, which records only what clients ask for, to 1, which records all";
            return self.refuse(problem.help(help));
        }
        Ok(Ratio::of(part))
    }
}

fn collector(text: &str, protocol: TracesProtocol) -> Result<Uri, Fault> {
    let example = match protocol {
        TracesProtocol::Grpc => "for example `otlp = \"http://127.0.0.1:4317\"`",
        TracesProtocol::Http => "for example `otlp = \"http://127.0.0.1:4318\"`",
    };
    let wrong = || {
        Fault::new(
            format!("{} is not the URL of a collector", quote(text)),
            example,
        )
    };
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let spoken = matches!(uri.scheme_str(), Some("http" | "https"));
    let named = uri.authority().is_some_and(|it| !it.host().is_empty());
    if !spoken || !named {
        return Err(wrong());
    }
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        let what = "a collector's URL cannot name a user";
        return Err(Fault::new(
            what,
            "write `headers = { authorization = \"...\" }`",
        ));
    }
    match (uri.path(), protocol) {
        ("/" | "", TracesProtocol::Http) => {
            let mut parts = uri.into_parts();
            parts.path_and_query = Some(http::uri::PathAndQuery::from_static(PATH));
            Uri::from_parts(parts).map_err(|_| wrong())
        }
        ("/" | "", TracesProtocol::Grpc) | (_, TracesProtocol::Http) => Ok(uri),
        (path, TracesProtocol::Grpc) => {
            let what = format!("{} has no use over gRPC", quote(path));
            Err(Fault::new(
                what,
                "delete the path, or write `protocol = \"http\"`",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_without_a_path_is_asked_where_collectors_listen() {
        let at = |text, protocol| collector(text, protocol).map(|uri| uri.to_string());
        let http = TracesProtocol::Http;
        assert_eq!(
            at("http://a:4318", http).expect("a URL"),
            "http://a:4318/v1/traces"
        );
        assert_eq!(at("https://a/otlp", http).expect("a URL"), "https://a/otlp");
        let grpc = at("http://[::1]:4317", TracesProtocol::Grpc);
        assert_eq!(grpc.expect("a URL"), "http://[::1]:4317/");
        for wrong in ["", "127.0.0.1:4317", "ftp://a", "http://", "/v1/traces"] {
            assert!(at(wrong, http).is_err(), "{wrong}");
        }
        assert!(at("http://me:it@a", http).is_err());
        assert!(at("http://a/v1/traces", TracesProtocol::Grpc).is_err());
    }
}
