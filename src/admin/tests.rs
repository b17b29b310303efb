//! The interface over real sockets, with a machine of its own at the inbox.

mod asked;
mod client;
mod config_view;
mod drains;
mod events;
mod forecast;
mod fuzz;
mod listeners;
mod metrics;
mod page;
mod schema;
mod servers;

use super::*;
use crate::config::{self, UpstreamHttp};
use crate::control::{self, Inbox};
use crate::drain::{Accounts, Event, Group, Orders, Phase, Plan, Protocol, Receipt, Whom};
use client::{Answer, Client};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// A conductor that has no connections to wait for: it does what the machine
/// says, and ends the drain when it is told that nothing is left.
struct Conductor {
    quiescent: oneshot::Sender<()>,
    done: JoinHandle<Inbox>,
}

impl Conductor {
    async fn let_go(self) -> Inbox {
        self.quiescent.send(()).expect("it runs");
        self.done.await.expect("no panic")
    }
}

fn plan() -> Plan {
    Plan {
        announce: Duration::from_secs(3_600),
        ..Plan::default()
    }
}

fn publish(inbox: &Inbox, group: &Group) {
    let listener = &group.members()[0];
    let machine = listener.machine();
    let listener = control::ListenerStatus {
        name: Arc::clone(listener.name()),
        address: SocketAddr::from(([127, 0, 0, 1], 8080)),
        position: control::Position {
            phase: machine.phase(),
            stage: machine.stage(),
            ready: machine.started().is_none(),
            trigger: machine.trigger(),
            started: machine.started(),
            ..control::Position::new(*machine.plan())
        },
        receipt: None,
    };
    inbox.publish(control::Status {
        process: control::Position {
            phase: group.phase(),
            stage: group.stage(),
            ready: group.ready(),
            trigger: group.trigger(),
            started: group.started(),
            stages: group.timeline(),
            ..control::Position::new(group.followed())
        },
        listeners: vec![listener],
        ..control::Status::new(group.followed())
    });
}

async fn conduct(mut inbox: Inbox, mut quiescent: oneshot::Receiver<()>) -> Inbox {
    let mut group = Group::new(plan());
    let web = Whom::Listener(group.add("web".into(), Vec::new()));
    let active = Event::Reached(Phase::Active);
    group.handle(Whom::Process, active, clock::now());
    publish(&inbox, &group);
    loop {
        tokio::select! {
            _ = &mut quiescent => break,
            Some(request) = inbox.recv() => {
                let asked = match request {
                    control::Request::Command(asked) => asked,
                    control::Request::Server(asked) => {
                        let done = servers::conduct(&inbox, &asked);
                        asked.answer(done);
                        continue;
                    }
                    control::Request::Reload(_) | control::Request::Handover(_) => continue,
                };
                let now = clock::now();
                let whom = match asked.command.listener.as_deref() {
                    None => Whom::Process,
                    Some("web") => web,
                    Some(_) => {
                        asked.answer(Err(control::Refusal::NoListener));
                        continue;
                    }
                };
                let event = asked.command.event();
                let verdict = asked.command.verdict(group.answer(whom, event, now));
                group.handle(whom, event, now);
                publish(&inbox, &group);
                asked.answer(verdict);
            }
        }
    }
    let now = clock::now();
    group.handle(Whom::Process, Event::CutNow, now);
    group.handle(web, Event::Quiescent, now);
    publish(&inbox, &group);
    let unix = Duration::from_secs(1_763_942_400);
    let course = group.course().expect("it began");
    let receipt = Receipt::of(course, unix, now, Accounts::default());
    inbox.publish_receipt(Arc::new(receipt));
    inbox
}

fn upstream(registry: &Registry) -> Arc<Upstream> {
    let name = "127.0.0.1:1".into();
    let address = config::ServerAddress::Inet(([127, 0, 0, 1], 1).into());
    let config = config::Upstream {
        name: "site".into(),
        servers: vec![config::Server {
            name,
            address,
            weight: 1,
            zone: None,
            found_by: None,
        }],
        sources: Vec::new(),
        discover: config::Discover::default(),
        http: UpstreamHttp::H1,
        health: None,
        balance: config::Balance::RoundRobin,
        zone: None,
        spill: 70,
        panic: 0,
        slow_start: Duration::ZERO,
        eject: Some(config::Eject::default()),
        going: config::Going::default(),
        limits: config::UpstreamLimits::default(),
        adaptive: None,
        connect_timeout: Duration::from_secs(1),
        tls: None,
        proxy_protocol: None,
        pool: config::Pool::default(),
    };
    Upstream::new(&config, registry, None).expect("usable")
}

fn config() -> Config {
    let text = "[admin]\ntoken = \"s3cret\"\n[listener.web]\nlisten = \"127.0.0.1:8080\"\n\
                routes = [{ upstream = \"site\" }]\n[upstream.site]\nservers = [\"127.0.0.1:1\"]\n";
    config::parse("conf/test.toml".as_ref(), text).expect("good")
}

/// An interface that answers on a free port, its conductor, and the end of it.
struct House {
    address: AdminAddr,
    registry: Arc<Registry>,
    conductor: Conductor,
    stop: mpsc::Sender<AdminListener>,
    serving: JoinHandle<()>,
}

impl House {
    async fn open(token: Option<&str>) -> Self {
        Self::open_at(AdminAddr::Inet(([127, 0, 0, 1], 0).into()), token).await
    }

    async fn open_at(address: AdminAddr, token: Option<&str>) -> Self {
        let registry = Registry::new();
        let (control, inbox) = control::channel(control::Status::new(plan()));
        let metrics = Metrics::new();
        metrics.route("web", "web/0", "site").record(
            Protocol::Http2,
            200,
            Duration::from_millis(3),
        );
        let (quiescent, told) = oneshot::channel();
        let conductor = Conductor {
            quiescent,
            done: tokio::spawn(conduct(inbox, told)),
        };
        let admin = Admin::new(
            control.clone(),
            Arc::clone(&registry),
            vec![upstream(&registry)],
            metrics,
            Doorman::with_tokens(token.map(str::to_owned).into_iter().collect(), Vec::new()),
        );
        admin.runs_by(&config());
        while control.status().process.phase != Phase::Active {
            tokio::task::yield_now().await;
        }
        let listener = AdminListener::bind(&address).await.expect("bound");
        let address = listener.address().expect("known");
        let (stop, listeners) = mpsc::channel(1);
        stop.send(listener).await.expect("there is room");
        let serving = tokio::spawn(admin.serve(listeners));
        Self {
            address,
            registry,
            conductor,
            stop,
            serving,
        }
    }

    fn client(&self) -> Client {
        Client::to(&self.address)
    }

    async fn get(&self, path: &str) -> Answer {
        self.client().ask("GET", path, "", "").await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.client().ask("POST", path, "", body).await
    }
}

#[tokio::test]
async fn probes_follow_the_readiness() {
    let house = House::open(None).await;
    assert_eq!(house.get("/livez").await.status, 200);
    let ready = house.get("/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    assert_eq!(house.post("/v1/drain", "").await.status, 202);
    let not_ready = house.get("/readyz").await;
    let detail = not_ready.problem(503);
    assert!(detail.contains("announce"), "{detail}");
    assert_eq!(house.get("/livez").await.status, 200, "still works");
}

#[tokio::test]
async fn wrong_paths_and_methods_are_problems() {
    let house = House::open(None).await;
    for path in ["/page", "/v1", "/v1/drain/", "/metrics/x", "/v1/drain/more"] {
        house.get(path).await.problem(404);
    }
    for (method, path, allow) in [
        ("POST", "/metrics", "GET, HEAD"),
        ("PUT", "/v1/drain", "GET, POST, DELETE, HEAD"),
        ("FETCH", "/v1/drain/receipt", "GET, HEAD"),
    ] {
        let answer = house.client().ask(method, path, "", "").await;
        assert_eq!(answer.field("allow"), Some(allow), "{method} {path}");
        answer.problem(405);
    }
    let head = house.client().ask("HEAD", "/v1/status", "", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_token_guards_all_but_the_probes() {
    let house = House::open(Some("s3cret")).await;
    assert_eq!(house.get("/livez").await.status, 200);
    assert_eq!(house.get("/readyz").await.status, 200);
    for path in ["/metrics", "/v1/status", "/v1/drain", "/nowhere"] {
        let answer = house.get(path).await;
        assert!(
            answer
                .field("www-authenticate")
                .is_some_and(|one| one.starts_with("Bearer"))
        );
        answer.problem(401);
    }
    house.post("/v1/drain", "").await.problem(401);
    house.post("/livez", "").await.problem(401);
    let right = "authorization: Bearer s3cret\r\n";
    assert_eq!(
        house
            .client()
            .ask("GET", "/metrics", right, "")
            .await
            .status,
        200
    );
    let wrong = "authorization: Bearer s3creT\r\n";
    house
        .client()
        .ask("GET", "/metrics", wrong, "")
        .await
        .problem(401);
}

#[tokio::test]
async fn a_web_page_cannot_begin_a_drain() {
    let house = House::open(None).await;
    let page = "origin: http://elsewhere.example\r\n";
    house
        .client()
        .ask("POST", "/v1/drain", page, "")
        .await
        .problem(403);
    assert_eq!(house.get("/v1/drain").await.json()["draining"], false);
}

#[tokio::test]
async fn connections_say_what_they_wait_for() {
    let house = House::open(None).await;
    let web = house.registry.scope("web".into(), Orders::default());
    let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
    let half_open = house.registry.enter(&web, peer);
    let busy = house.registry.enter(&web, peer);
    busy.set_protocol(Protocol::Http2);
    let _streams = [
        busy.begin(Protocol::Grpc),
        busy.begin(Protocol::Grpc),
        busy.begin(Protocol::Http2),
    ];
    let view = house.get("/v1/connections").await.schema("Connections");
    let list = view["connections"].as_array().expect("a list");
    assert_eq!(list.len(), 2);
    assert_eq!(list[0]["state"], "accepted");
    assert_eq!(list[0]["protocol"], json!(null));
    assert_eq!(list[0]["waits_for"], "the client's first byte");
    assert_eq!(list[1]["protocol"], "http2");
    assert_eq!(list[1]["in_flight"], 3);
    assert_eq!(list[1]["waits_for"], "1 http2 and 2 grpc in flight");
    assert_eq!(list[1]["peer"], "192.0.2.7:4711");
    drop(half_open);
    let status = house.get("/v1/status").await.schema("Status");
    assert_eq!(status["connections"], 1);
    assert_eq!(status["in_flight"]["grpc"], 2);
    assert_eq!(status["in_flight"]["tcp"], 0);
    assert_eq!(status["listeners"][0]["address"], "127.0.0.1:8080");
    assert_eq!(status["upstreams"][0]["servers"][0]["name"], "127.0.0.1:1");
}

#[tokio::test]
async fn the_description_lists_what_there_is() {
    let house = House::open(None).await;
    let description = house.get("/openapi.json").await.json();
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    let listed = description["paths"].as_object().expect("paths");
    assert_eq!(listed.len(), api::ROUTES.len());
    for (path, calls) in api::ROUTES {
        let mut described: Vec<String> = listed[path]
            .as_object()
            .expect("methods")
            .keys()
            .map(|method| method.to_uppercase())
            .collect();
        let mut there: Vec<String> = calls.iter().map(|(one, _)| one.to_string()).collect();
        described.sort();
        there.sort();
        assert_eq!(described, there, "{path}");
    }
}

#[tokio::test]
async fn a_unix_socket_serves_the_same() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("admin.sock");
    let house = House::open_at(AdminAddr::Unix(path.clone()), None).await;
    assert_eq!(house.get("/readyz").await.status, 200);
    drop(house.stop);
    house.serving.await.expect("it returned");
    assert!(!path.exists());
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_the_stop() {
    let house = House::open(None).await;
    let mut idle = house.client();
    idle.send("GET", "/livez", "", "").await;
    assert_eq!(idle.receive().await.status, 200);
    let mut silent = house.client();
    silent.connect().await;
    drop(house.stop);
    house.serving.await.expect("it returned");
    assert!(idle.is_closed().await);
    assert!(silent.is_closed().await);
}
