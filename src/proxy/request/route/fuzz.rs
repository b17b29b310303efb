//! Any table of routes and any requests, beside the rule as the manual has it:
//! from the config's text to the route that is taken.
//!
//! An input is lines: `HOST PATH` of each route, an empty one, and then
//! `AUTHORITY PATH` of each request.

use super::super::head;
use super::takes;
use crate::config::{self, Config, Report};
use crate::fuzz::fuzz;
use std::io;
use std::path::Path;

const MOST: usize = 12;

/// Lines of two words each.
fn pairs(text: &str) -> Vec<(&str, &str)> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.take(MOST).collect()
}

/// A config with these routes, each on a line of its own, the first on the
/// fourth.
fn written(routes: &[(&str, &str)]) -> String {
    let quoted = |text: &str| serde_json::to_string(text).expect("text");
    let entry = |(host, path): &(&str, &str)| {
        let (host, path) = (quoted(host), quoted(path));
        format!("  {{ host = {host}, path = {path}, upstream = \"site\" }},\n")
    };
    format!(
        "[listener.web]\nlisten = \"127.0.0.1:8080\"\nroutes = [\n{}]\n\
         [upstream.site]\nservers = [\"127.0.0.1:1\"]\n",
        routes.iter().map(entry).collect::<String>()
    )
}

fn read(text: &str) -> Result<Config, Report> {
    let nobody = |_: &str, _: u16| Err(io::ErrorKind::NotFound.into());
    config::parse_with(Path::new("routes.toml"), text, &nobody)
}

/// The host in an authority, if it is one: a name or an address, maybe a port
/// (RFC 3986, section 3.2).
fn host(authority: &str) -> Option<&str> {
    let length = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(length);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let inside = host.strip_prefix('[').map(|rest| &rest[..rest.len() - 1]);
    let fits = match inside {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(plain),
    };
    let digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.is_empty() || port.strip_prefix(':').is_some_and(digits);
    (fits && port).then_some(host)
}

/// Whether a route is for this host: "`*`, every host below one, or one".
fn is_for(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.to_lowercase(), host.to_lowercase());
    match pattern.strip_prefix("*.") {
        Some(domain) => host
            .strip_suffix(domain)
            .and_then(|below| below.strip_suffix('.'))
            .is_some_and(|below| !below.is_empty()),
        None => pattern == "*" || pattern == host,
    }
}

/// The first of the routes that fits.
fn model(routes: &[(&str, &str)], host: &str, path: &str) -> Option<usize> {
    let fits = |(pattern, prefix): &(&str, &str)| is_for(pattern, host) && path.starts_with(prefix);
    routes.iter().position(fits)
}

/// What the request `GET path` with this `Host` asks, if it is a request.
fn asked(authority: &str, path: &str) -> Option<(String, String)> {
    let request = http::Request::get(path).header("host", authority);
    let (head, ()) = request.body(()).ok()?.into_parts();
    // A target in another form names a host of its own.
    let here = head.uri.authority().is_none() && path.starts_with('/');
    let host = head::host(&head).ok().filter(|_| here)?;
    Some((host.to_owned(), head.uri.path().to_owned()))
}

fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (routes, requests) = text.split_once("\n\n").unwrap_or((&text, ""));
    let (routes, requests) = (pairs(routes), pairs(requests));
    let text = written(&routes);
    let config = read(&text);
    for (authority, path) in requests {
        let (Some(meant), Some((host, path))) = (host(authority), asked(authority, path)) else {
            continue;
        };
        assert_eq!(host, meant, "the host of {authority:?}");
        let expected = model(&routes, &host, &path);
        match &config {
            Ok(config) => {
                let rules = config.listeners[0].serves.routes();
                let found = rules.iter().position(|rule| takes(rule, &host, &path));
                assert_eq!(found, expected, "{host:?} {path:?}");
            }
            Err(report) => {
                let never = report
                    .iter()
                    .filter(|problem| problem.message() == "this route never matches");
                for problem in never {
                    let start = problem.span().expect("a place").start;
                    let route = text[..start].matches('\n').count() - 3;
                    assert_ne!(
                        expected,
                        Some(route),
                        "refused, but takes {host:?} {path:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_first_route_that_fits_is_taken() {
    fuzz("route", 3_000, |bytes, _| check(bytes));
}

#[test]
fn each_seed_has_requests_that_are_routed() {
    // Else the test above could hold of nothing.
    for seed in [
        include_str!("../../../../tests/fuzz/corpus/route/hosts"),
        include_str!("../../../../tests/fuzz/corpus/route/paths"),
    ] {
        let (routes, requests) = seed.split_once("\n\n").expect("two parts");
        let routes = pairs(routes);
        assert!(read(&written(&routes)).is_ok(), "{routes:?}");
        for (index, (authority, path)) in pairs(requests).into_iter().enumerate() {
            let (host, path) = asked(authority, path).expect("a request");
            let taken = model(&routes, &host, &path);
            assert_eq!(
                taken,
                (index < routes.len()).then_some(index),
                "{host} {path}"
            );
        }
    }
}
