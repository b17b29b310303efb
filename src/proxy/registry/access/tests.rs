//! Lines, and what hostile peers write into them.

use super::*;
use crate::config;
use crate::drain::{CutReason, Farewell, Orders, Outcome, Protocol, Timestamp};
use crate::proxy::registry::{Asked, ConnectionGuard, Registry};
use crate::telemetry::metrics::RouteMetrics;
use serde_json::Value;
use std::sync::atomic::Ordering::Relaxed;

const NOW: Duration = Duration::from_micros(1_763_942_400_000_250);

struct Scene {
    guard: ConnectionGuard,
    route: Arc<RouteMetrics>,
}

impl Scene {
    fn new() -> Self {
        let registry = Registry::new();
        let web = registry.scope("web".into(), Orders::default());
        Self {
            guard: registry.enter(&web, ([192, 0, 2, 7], 4711).into()),
            route: RouteMetrics::new("web", "web/0", "site"),
        }
    }

    fn memo(&self, form: AccessForm, request: &http::Request<()>) -> Box<Memo> {
        let log = AccessLog::of(form);
        let host = request.uri().host().unwrap_or_default();
        let (head, ()) = request.clone().into_parts();
        let asked = Asked::of(&head, host, false, Some(&log));
        Memo::new(Some(&log), None, Some(asked), self.guard.record())
    }

    fn line(&self, memo: &Memo, code: u16, outcome: Outcome) -> String {
        let answered = Answered {
            protocol: Protocol::Http1,
            code,
            sent: 2,
            began: Timestamp::ZERO,
            took: Duration::from_micros(1_500),
            outcome,
            route: Some(&self.route),
        };
        let line = written(memo, self.guard.record(), &answered);
        String::from_utf8(line).expect("text")
    }
}

fn written(memo: &Memo, record: &Record, answered: &Answered<'_>) -> Vec<u8> {
    let log = memo.log.as_deref().expect("a log");
    memo.line(log, record, answered, NOW)
}

fn template(text: &str) -> AccessForm {
    let text = format!(
        "[process]\nlogs = {{ access = {{ template = {} }} }}\n[listener.web]\nlisten = \
         \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n[upstream.site]\nservers = \
         [\"127.0.0.1:1\"]\n",
        Value::from(text)
    );
    let config = config::parse("test.toml".as_ref(), &text).expect("good");
    config.process.logs.access.expect("there").form
}

fn hostile() -> http::Request<()> {
    let value =
        HeaderValue::from_bytes(b"\"},{\"status\":200,\"x\":\"\xff\xc3\xa9\t\\").expect("let in");
    let request = http::Request::get("http://site.example/a\"b?c={d}\\e");
    let request = request.header("user-agent", value);
    request.header("x-tenant", "").body(()).expect("good")
}

#[test]
fn the_usual_line_says_what_operators_ask_for() {
    let scene = Scene::new();
    let request = http::Request::post("http://site.example/a?b=c")
        .header("x-request-id", "4711")
        .body(())
        .expect("good");
    let memo = scene.memo(config::usual_access(false), &request);
    memo.notes.received(7);
    memo.notes.asks(&"10.0.0.1:80".into(), None);
    memo.notes.asks(&"10.0.0.2:80".into(), None);
    memo.notes.answered(200);
    let line = scene.line(&memo, 200, Outcome::Finished);
    let mut line: Value = serde_json::from_str(&line).expect("JSON");
    let took = line["upstream_us"].take();
    assert!(took.is_u64(), "{took}");
    let expected = serde_json::json!({
        "timestamp": "2025-11-24T00:00:00.000250Z",
        "event": "access",
        "connection": 1,
        "listener": "web",
        "peer": "192.0.2.7:4711",
        "protocol": "http1",
        "method": "POST",
        "host": "site.example",
        "path": "/a?b=c",
        "status": 200,
        "received": 7,
        "sent": 2,
        "took_us": 1500,
        "route": "web/0",
        "upstream": "site",
        "server": "10.0.0.2:80",
        "upstream_us": null,
        "tries": 2,
        "outcome": "finished",
        "request_id": "4711",
    });
    assert_eq!(line, expected);
}

#[test]
fn a_line_says_why_an_exchange_ended() {
    let scene = Scene::new();
    let memo = scene.memo(template("{status} {outcome} {what}"), &hostile());
    for (code, outcome, line) in [
        (200, Outcome::Finished, "200 finished -\n"),
        (499, Outcome::Finished, "499 finished client_left\n"),
        (
            503,
            Outcome::Farewelled(Farewell::Unanswered),
            "503 farewelled unanswered\n",
        ),
        (200, Outcome::Cut(CutReason::Operator), "200 cut operator\n"),
    ] {
        assert_eq!(scene.line(&memo, code, outcome), line);
    }
}

#[test]
fn hostile_values_stay_within_their_json_string() {
    let scene = Scene::new();
    let fields = [
        "path",
        "user_agent",
        "request.x-tenant",
        "referer",
        "status",
    ];
    let fields = fields.map(|name| AccessField::named(name).expect(name));
    let memo = scene.memo(AccessForm::Json(fields.to_vec()), &hostile());
    let line = scene.line(&memo, 404, Outcome::Finished);
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["path"], "/a\"b?c={d}\\e");
    assert_eq!(
        line["user_agent"],
        "\"},{\"status\":200,\"x\":\"\u{fffd}é\t\\"
    );
    assert_eq!(line["status"], 404);
    assert_eq!(line["request.x-tenant"], "");
    assert!(line.get("referer").is_none());
    assert_eq!(line.as_object().expect("one").len(), 6);
}

#[test]
fn hostile_values_stay_within_their_quotes() {
    let scene = Scene::new();
    let form = template("{client} \"{path}\" \"{user_agent}\" {request.x-tenant} {referer}");
    let memo = scene.memo(form, &hostile());
    let line = scene.line(&memo, 404, Outcome::Finished);
    let expected = "192.0.2.7 \"/a\\x22b?c={d}\\x5Ce\" \
                    \"\\x22},{\\x22status\\x22:200,\\x22x\\x22:\\x22\\xEF\\xBF\\xBD\\xC3\\xA9\\x09\\x5C\" - -\n";
    assert_eq!(line, expected);
}

#[test]
fn a_tunnel_says_what_its_connection_carried() {
    let scene = Scene::new();
    let log = AccessLog::of(template("{protocol} {method} {status} {received} {sent}"));
    let record = scene.guard.record();
    record.received.fetch_add(100, Relaxed);
    let memo = Memo::new(Some(&log), None, None, record);
    record.received.fetch_add(5, Relaxed);
    record.sent.fetch_add(9, Relaxed);
    let answered = Answered {
        protocol: Protocol::Tcp,
        code: 0,
        sent: 0,
        began: Timestamp::ZERO,
        took: Duration::ZERO,
        outcome: Outcome::Finished,
        route: None,
    };
    let line = written(&memo, record, &answered);
    assert_eq!(String::from_utf8_lossy(&line), "tcp - - 5 9\n");
}

#[test]
fn a_line_names_the_trace_that_its_client_named() {
    let scene = Scene::new();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    for (parent, said) in [
        (format!("00-{trace}-b7ad6b7169203331-00"), trace),
        (format!("00-{trace}-b7ad6b7169203331-0"), "-"),
    ] {
        let request = http::Request::get("http://a/").header("traceparent", parent);
        let request = request.body(()).expect("good");
        let memo = scene.memo(template("{trace}"), &request);
        assert_eq!(
            scene.line(&memo, 200, Outcome::Finished),
            format!("{said}\n")
        );
    }
}
