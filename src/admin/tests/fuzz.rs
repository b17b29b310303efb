//! Any request, by anybody, beside the rules of who may do what: nothing is
//! done that was not asked for in so many words, by who may ask.
//!
//! An input is text: the method and the target, a line for each field, an empty
//! one, the body.

use super::*;
use crate::admin::api::Reply;
use crate::admin::auth::Way;
use crate::control::{Reloaded, Request as Wanted, ServerName, ServerRefusal, ServerWish, Wish};
use crate::drain::Trigger;
use crate::fuzz::fuzz;
use bytes::Bytes;
use fastrand::Rng;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use std::pin::pin;

const OPERATOR: &str = "s3cret";
const READER: &str = "l00k";

/// The request that an input is, if it is one.
fn request(input: &[u8]) -> Option<Request<Full<Bytes>>> {
    let end = input.windows(2).position(|two| two == b"\n\n");
    let (head, body) = input.split_at(end.unwrap_or(input.len()));
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.splitn(2, |byte| *byte == b' ');
    let request = Request::builder().method(words.next()?).uri(words.next()?);
    let body = Bytes::copy_from_slice(body.get(2..).unwrap_or_default());
    let mut request = request.body(Full::new(body)).ok()?;
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}

/// What was done at a request's wish.
#[derive(PartialEq, Debug)]
enum Done {
    Drain(Option<String>),
    Cancel(Option<String>),
    Extend(Option<String>),
    Reload,
    Handover,
    Server(bool, ServerName),
}

/// A process with a listener `web` and a server, to which all is welcome.
fn conduct(inbox: &Inbox, draining: &Group, wanted: Wanted) -> Option<Done> {
    match wanted {
        Wanted::Command(asked) => {
            let listener = asked.command.listener.as_deref().map(str::to_owned);
            if listener.as_deref().is_some_and(|name| name != "web") {
                asked.answer(Err(control::Refusal::NoListener));
                return None;
            }
            let wish = asked.command.wish;
            if matches!(wish, Wish::Drain(_)) {
                publish(inbox, draining);
            }
            asked.answer(Ok(()));
            Some(match wish {
                Wish::Drain(_) => Done::Drain(listener),
                Wish::Cancel => Done::Cancel(listener),
                Wish::Extend(_) => Done::Extend(listener),
                Wish::Cut => panic!("nobody can ask for a cut"),
            })
        }
        Wanted::Reload(reload) => {
            let done = (!reload.dry_run).then_some(Done::Reload);
            reload.answer(Ok(Reloaded {
                applied: done.is_some(),
                changes: Vec::new(),
                untouched: 0,
                drains: Vec::new(),
                servers: Vec::new(),
            }));
            done
        }
        Wanted::Handover(answer) => {
            answer.send(Ok(1)).expect("it waits");
            Some(Done::Handover)
        }
        Wanted::Server(asked) => {
            let name = asked.name.clone();
            if (name.upstream.as_str(), name.server.as_str()) != ("site", "127.0.0.1:1") {
                asked.answer(Err(ServerRefusal::Unknown("there is another".to_owned())));
                return None;
            }
            let drains = matches!(asked.wish, ServerWish::Drain { .. });
            let done = servers::conduct(inbox, &asked);
            asked.answer(done);
            Some(Done::Server(drains, name))
        }
    }
}

/// Whether the one `Authorization` is this token.
fn has_token(fields: &HeaderMap, token: &str) -> bool {
    let given: Vec<_> = fields.get_all("authorization").iter().collect();
    let [only] = given[..] else {
        return false;
    };
    let text = String::from_utf8_lossy(only.as_bytes()).into_owned();
    let scheme = text.get(..7).unwrap_or_default();
    scheme.eq_ignore_ascii_case("bearer ") && text[7..].trim_ascii() == token
}

/// Whether a host is one that no page can be made to have.
fn is_address(host: &str) -> bool {
    let bare = match host.rfind(':') {
        Some(at) if host[at + 1..].bytes().all(|byte| byte.is_ascii_digit()) => &host[..at],
        _ => host,
    };
    let four: Result<std::net::Ipv4Addr, _> = bare.parse();
    let six = bare.starts_with('[') && bare.ends_with(']') && {
        let inside: Result<std::net::Ipv6Addr, _> = bare[1..bare.len() - 1].parse();
        inside.is_ok()
    };
    four.is_ok() || six || bare.to_lowercase() == "localhost"
}

/// Who may ask, by the rules that the manual gives.
struct Rules {
    guarded: bool,
    way: Way,
}

impl Rules {
    fn may_look(&self, head: &http::request::Parts) -> bool {
        let fields = &head.headers;
        let token = self.guarded && (has_token(fields, OPERATOR) || has_token(fields, READER));
        let mut hosts: Vec<String> = fields
            .get_all("host")
            .iter()
            .map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned())
            .collect();
        hosts.extend(head.uri.authority().map(ToString::to_string));
        let named = self.way.inet && !self.way.tls && !hosts.iter().all(|host| is_address(host));
        token || !(self.guarded || named)
    }

    fn may_change(&self, head: &http::request::Parts) -> bool {
        let operator = !self.guarded || has_token(&head.headers, OPERATOR);
        let of_page = ["origin", "sec-fetch-site"]
            .iter()
            .any(|name| head.headers.contains_key(*name));
        self.may_look(head) && operator && (!of_page || self.is_own_page(&head.headers))
    }

    /// Whether all that a browser says of a page speaks for the page served here.
    fn is_own_page(&self, fields: &HeaderMap) -> bool {
        let all = |name: &str| -> Vec<String> {
            let values = fields.get_all(name).iter();
            values
                .map(|value| String::from_utf8_lossy(value.as_bytes()).to_lowercase())
                .collect()
        };
        let hosts = all("host");
        let [host] = &hosts[..] else { return false };
        let scheme = if self.way.tls { "https" } else { "http" };
        let site = all("sec-fetch-site");
        all("origin") == [format!("{scheme}://{host}")]
            && all("x-ebbtide-page") == ["1"]
            && (site == ["same-origin"] || (site.is_empty() && self.guarded))
            && (self.way.tls || self.guarded || is_address(host))
    }
}

/// What a request may do at most, by its method and path alone.
fn meant(head: &http::request::Parts, body: &[u8]) -> Option<Done> {
    let query = head.uri.query().unwrap_or_default();
    let mut named: Vec<String> = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("listener="))
        .map(str::to_owned)
        .collect();
    let body = String::from_utf8_lossy(body);
    let object: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    // A name that is there twice in a body is as unclear as two names.
    named.extend(vec![
        "?".to_owned();
        body.matches("\"listener\"").count().saturating_sub(1)
    ]);
    named.extend(object["listener"].as_str().map(str::to_owned));
    named.dedup();
    assert!(named.len() <= 1, "done, though unclear for whom: {named:?}");
    let of = named.pop();
    let dry = query.split('&').any(|pair| pair == "dry_run=true");
    assert!(!dry, "done, though it was only to be told");
    let server = || ServerName {
        upstream: "site".to_owned(),
        server: "127.0.0.1:1".to_owned(),
    };
    let path = head.uri.path();
    match (head.method.as_str(), path) {
        ("POST", "/v1/drain") => Some(Done::Drain(of)),
        ("DELETE", "/v1/drain") => Some(Done::Cancel(of)),
        ("POST", "/v1/drain/extend") => Some(Done::Extend(of)),
        // What is meant for a listener is no wish about anything else.
        _ if of.is_some() => None,
        ("POST", "/v1/reload") => Some(Done::Reload),
        ("POST", "/v1/handover") => Some(Done::Handover),
        ("POST", _) if path.starts_with("/v1/upstreams/") => Some(Done::Server(true, server())),
        ("DELETE", _) if path.starts_with("/v1/upstreams/") => Some(Done::Server(false, server())),
        _ => None,
    }
}

/// That an answer is whole and of its kind.
fn is_well_formed(answer: &Response<Full<Bytes>>, body: &[u8]) {
    let status = answer.status().as_u16();
    let field = |name: &str| {
        answer
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    assert!(
        (200..500).contains(&status),
        "{status}: {}",
        body.escape_ascii()
    );
    assert_eq!(field("cache-control"), Some("no-store"));
    if status >= 400 {
        assert_eq!(field("content-type"), Some("application/problem+json"));
        let problem: Problem = serde_json::from_slice(body).expect("a problem");
        assert_eq!(problem.status, status);
        assert!(!problem.detail.is_empty() && !problem.title.is_empty());
        assert!(status != 401 || field("www-authenticate").is_some());
        assert!(status != 405 || field("allow").is_some());
    } else if field("content-type") == Some("application/json") {
        let _: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    }
}

struct Office {
    runtime: tokio::runtime::Runtime,
    inbox: Inbox,
    /// How it is before each request, and in a drain.
    serving: Group,
    draining: Group,
    /// One that lets anybody in, and one that asks for tokens.
    admins: [Arc<Admin>; 2],
}

impl Office {
    fn open() -> Self {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build();
        let (control, inbox) = control::channel(control::Status::new(plan()));
        let group = |events: &[Event]| {
            let mut group = Group::new(plan());
            group.add("web".into(), Vec::new());
            for event in events {
                group.handle(Whom::Process, *event, clock::now());
            }
            group
        };
        let active = Event::Reached(Phase::Active);
        let admin = |doorman| {
            let registry = Registry::new();
            let upstreams = vec![upstream(&registry)];
            let admin = Admin::new(
                control.clone(),
                registry,
                upstreams,
                Metrics::new(),
                doorman,
            );
            admin.runs_by(&config());
            admin
        };
        let tokens = [OPERATOR, READER].map(|token| vec![token.to_owned()]);
        let [operator, reader] = tokens;
        Self {
            runtime: runtime.expect("a runtime"),
            inbox,
            serving: group(&[active]),
            draining: group(&[active, Event::Drain(Trigger::Api)]),
            admins: [
                admin(Doorman::default()),
                admin(Doorman::with_tokens(operator, reader)),
            ],
        }
    }

    /// The answer, if it is not awaited longer, and all that was done.
    fn ask(
        &mut self,
        admin: usize,
        request: Request<Full<Bytes>>,
        way: Way,
    ) -> (Option<Reply>, Vec<Done>) {
        publish(&self.inbox, &self.serving);
        let (admin, inbox) = (&self.admins[admin], &mut self.inbox);
        let draining = &self.draining;
        self.runtime.block_on(async {
            let mut done = Vec::new();
            let mut answer = pin!(admin.answer(request, way));
            loop {
                if let Some(answer) = answer.as_mut().now_or_never() {
                    return (Some(answer), done);
                }
                let Some(Some(wanted)) = inbox.recv().now_or_never() else {
                    return (None, done);
                };
                done.extend(conduct(inbox, draining, wanted));
            }
        })
    }
}

fn check(office: &mut Office, input: &[u8], random: &mut Rng) -> Option<u16> {
    let request = request(input)?;
    let (head, body) = request.clone().into_parts();
    let body = body.collect().now_or_never()?.ok()?.to_bytes();
    let way = Way {
        inet: random.bool(),
        tls: random.bool(),
        certificate: random.bool(),
    };
    let guarded = random.bool();
    let rules = Rules { guarded, way };
    let (answer, done) = office.ask(usize::from(guarded), request, way);
    if !done.is_empty() {
        assert!(rules.may_change(&head), "{done:?} by a stranger");
        assert_eq!(done.len(), 1, "{done:?} by one request");
        assert_eq!(done.into_iter().next(), meant(&head, &body));
        let good = |answer: &Reply| match answer {
            Reply::Whole(answer) => answer.status().is_success(),
            Reply::Events(_) => false,
        };
        assert!(answer.as_ref().is_none_or(good), "it was done, but refused");
    }
    let answer = match answer {
        Some(Reply::Events(_)) => {
            assert!(rules.may_look(&head), "told to a stranger");
            assert_eq!(
                (&head.method, head.uri.path()),
                (&Method::GET, "/v1/events")
            );
            return Some(200);
        }
        Some(Reply::Whole(answer)) => Some(answer),
        None => None,
    };
    let Some(answer) = answer else {
        let query = head.uri.query().unwrap_or_default();
        assert!(query.contains("wait=true"), "it waits unasked");
        return None;
    };
    let open = ["/", "/livez", "/readyz"].contains(&head.uri.path());
    let may = if head.method.is_safe() {
        open || rules.may_look(&head)
    } else {
        rules.may_change(&head)
    };
    assert!(may || !answer.status().is_success(), "told to a stranger");
    let status = answer.status().as_u16();
    let told = answer.clone().into_body().collect().now_or_never()?.ok()?;
    is_well_formed(&answer, &told.to_bytes());
    Some(status)
}

#[test]
fn nothing_is_done_unasked_or_for_strangers() {
    let office = std::cell::RefCell::new(Office::open());
    fuzz("admin", 6_000, |input, random| {
        check(&mut office.borrow_mut(), input, random);
    });
}

#[test]
fn who_may_ask_in_plain_words_is_served() {
    // Else a door that lets nobody in would pass.
    let mut office = Office::open();
    let ask = |office: &mut Office, seed: &[u8], seen: &mut Vec<Done>| {
        let request = request(seed).expect("a request");
        let (answer, done) = office.ask(1, request, Way::default());
        let good = |answer| matches!(answer, Reply::Whole(answer) if answer.status().is_success());
        assert!(answer.is_none_or(good));
        seen.extend(done);
    };
    let mut seen = Vec::new();
    for seed in [
        &include_bytes!("../../../tests/fuzz/corpus/admin/drain")[..],
        include_bytes!("../../../tests/fuzz/corpus/admin/drain-query"),
        include_bytes!("../../../tests/fuzz/corpus/admin/drain-all"),
        include_bytes!("../../../tests/fuzz/corpus/admin/cancel"),
        include_bytes!("../../../tests/fuzz/corpus/admin/extend"),
        include_bytes!("../../../tests/fuzz/corpus/admin/handover"),
        include_bytes!("../../../tests/fuzz/corpus/admin/server"),
        include_bytes!("../../../tests/fuzz/corpus/admin/server-back"),
        include_bytes!("../../../tests/fuzz/corpus/admin/page-own"),
    ] {
        ask(&mut office, seed, &mut seen);
    }
    assert_eq!(seen.len(), 9, "{seen:?}");
}
