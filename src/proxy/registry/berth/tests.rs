//! Who is aboard, exactly, and whom a server's orders reach.

use super::*;
use crate::drain::{CutReason, Farewell, Hopeless, Plan, ServerDrain, Stage, Trigger, Why};
use crate::proxy::registry::{ConnectionGuard, Registry, State};
use std::thread;
use std::time::Duration;

struct Scene {
    registry: Arc<Registry>,
    connection: Arc<ConnectionGuard>,
    berths: [Arc<Mooring>; 2],
}

impl Scene {
    fn new(protocol: Protocol) -> Self {
        let registry = Registry::new();
        let scope = registry.scope("web".into(), Orders::default());
        let connection = registry.enter(&scope, ([127, 0, 0, 1], 9).into());
        connection.set_protocol(protocol);
        let berth = |server: &str| Mooring::new(&registry.berth(&"site".into(), &server.into()));
        Self {
            berths: [berth("one"), berth("two")],
            connection: Arc::new(connection),
            registry,
        }
    }

    /// The deadline of this protocol comes on a server, or its cut as well.
    fn order(&self, berth: usize, protocol: Protocol, cut: bool) {
        let only = Protocols::EMPTY.with(protocol);
        let orders = Orders {
            stage: Some(Stage::Farewell),
            farewell: only,
            cut: if cut { only } else { Protocols::EMPTY },
            ..Orders::default()
        };
        self.registry.publish_to(&self.berths[berth], orders);
    }
}

#[test]
fn who_is_aboard_is_counted_until_its_end_or_until_it_goes_elsewhere() {
    let scene = Scene::new(Protocol::Http2);
    let [one, two] = &scene.berths;
    let exchange = scene.connection.begin(Protocol::Grpc);
    assert_eq!((one.in_flight(), two.in_flight()), (0, 0));
    assert!(exchange.board(one));
    assert_eq!(one.in_flight_of(Protocol::Grpc), 1);
    assert!(scene.registry.oldest_on(one).is_some());
    assert!(exchange.board(two));
    assert_eq!((one.in_flight(), two.in_flight()), (0, 1));
    assert!(scene.registry.oldest_on(one).is_none());
    drop(exchange);
    assert_eq!((one.in_flight(), two.in_flight()), (0, 0));
    let sums = two.sums();
    assert_eq!(sums.exchanges[Protocol::Grpc as usize].finished, 1);
}

#[test]
fn a_server_that_is_shut_takes_nobody_and_keeps_whom_it_has() {
    let scene = Scene::new(Protocol::Http1);
    let [one, two] = &scene.berths;
    let before = scene.connection.begin(Protocol::Http1);
    assert!(before.board(one));
    one.shut();
    let after = scene.connection.begin(Protocol::Http1);
    assert!(!after.board(one));
    assert!(after.board(two), "it goes elsewhere");
    assert_eq!((one.in_flight(), two.in_flight()), (1, 1));
    one.open();
    assert!(after.board(one));
    one.leave();
    assert!(after.board(one), "what began before may still come");
    drop((before, after));
    assert_eq!(one.in_flight(), 0);
    let books = one.sums().exchanges[Protocol::Http1 as usize];
    assert_eq!((books.opened, books.balanced()), (3, true));
}

#[test]
fn after_shut_returned_nobody_boards_however_many_try() {
    const ROUNDS: usize = 200;
    for _ in 0..ROUNDS {
        let registry = Registry::new();
        let berth = registry.berth(&"site".into(), &"one".into());
        let boarding: Vec<_> = (0..4)
            .map(|_| {
                let berth = Arc::clone(&berth);
                thread::spawn(move || (0..50).filter(|_| berth.enter(Protocol::Http1)).count())
            })
            .collect();
        berth.shut();
        // Whoever is counted from here on was let aboard before.
        let at_most = berth.in_flight();
        let aboard: usize = boarding
            .into_iter()
            .map(|one| one.join().expect("no panic"))
            .sum();
        assert!(
            aboard as u64 <= at_most,
            "{aboard} aboard, {at_most} were counted"
        );
        assert_eq!(berth.in_flight(), aboard as u64);
        for _ in 0..aboard {
            berth.exit(Protocol::Http1, Outcome::Finished, false);
        }
        assert!(berth.sums().exchanges[Protocol::Http1 as usize].balanced());
    }
}

#[test]
fn orders_of_a_server_reach_those_aboard_and_nobody_else() {
    let scene = Scene::new(Protocol::Http2);
    let begin = |protocol, berth: usize| {
        let exchange = scene.connection.begin(protocol);
        assert!(exchange.board(&scene.berths[berth]));
        exchange
    };
    // More than there is room for in one shelf.
    let here: Vec<_> = (0..20).map(|_| begin(Protocol::Grpc, 0)).collect();
    let sibling = begin(Protocol::Grpc, 1);
    let other_protocol = begin(Protocol::Http2, 0);
    let nowhere = scene.connection.begin(Protocol::Grpc);
    scene.order(0, Protocol::Grpc, false);
    assert!(
        here.iter()
            .all(super::super::RequestGuard::is_due_with_server)
    );
    for spared in [&sibling, &other_protocol, &nowhere] {
        assert!(!spared.is_due());
    }
    // Asked second: one that comes when the deadline has passed.
    let late = begin(Protocol::Grpc, 0);
    assert!(late.is_due());
    // What was told on one server is void on another.
    assert!(late.board(&scene.berths[1]));
    assert!(!late.is_due());
    drop(here);
    // A place that is used again has nothing of what was there before.
    let next: Vec<_> = (0..20).map(|_| begin(Protocol::Grpc, 1)).collect();
    assert!(!next.iter().any(super::super::RequestGuard::is_due));
}

#[test]
fn what_its_server_cut_is_counted_and_told_as_that() {
    let scene = Scene::new(Protocol::Http2);
    let exchange = scene.connection.begin(Protocol::Grpc);
    assert!(exchange.board(&scene.berths[0]));
    let mut told = scene.connection.begin(Protocol::Grpc);
    assert!(told.board(&scene.berths[0]));
    scene.order(0, Protocol::Grpc, true);
    assert!(!scene.connection.is_over(), "siblings may go on");
    told.conclude(Outcome::Farewelled(Farewell::GrpcTrailers));
    drop((exchange, told));
    let drained = CutReason::ServerDrained;
    assert_eq!(scene.registry.cuts(Protocol::Grpc, drained), 1);
    assert_eq!(scene.berths[0].ended(), [("farewelled", 1), ("cut", 1)]);
    let (told, _) = scene.registry.told();
    for one in &told {
        assert_eq!(one.server.as_deref(), Some("site/one"));
        assert_eq!(one.why, Why::ServerDrained);
    }
    assert_eq!(told.len(), 2);
}

#[test]
fn an_http1_connection_is_over_with_the_exchange_that_its_server_cut() {
    let scene = Scene::new(Protocol::Http1);
    let exchange = scene.connection.begin(Protocol::Http1);
    assert!(exchange.board(&scene.berths[0]));
    scene.order(0, Protocol::Http1, false);
    assert!(!scene.connection.is_over());
    scene.order(0, Protocol::Http1, true);
    assert!(scene.connection.is_over());
    drop(exchange);
    assert!(!scene.connection.is_over(), "the next request is another");
    assert_eq!(scene.connection.state(), State::Idle);
}

#[test]
fn the_earlier_deadline_wins_and_the_listeners_is_named() {
    let scene = Scene::new(Protocol::Http2);
    let exchange = scene.connection.begin(Protocol::Http2);
    assert!(exchange.board(&scene.berths[0]));
    let listeners = Orders {
        farewell: Protocols::EMPTY.with(Protocol::Http2),
        ..Orders::default()
    };
    scene.order(0, Protocol::Http2, false);
    assert!(exchange.is_due() && exchange.is_due_with_server());
    scene.registry.publish(scene.connection.scope(), listeners);
    assert!(exchange.is_due() && !exchange.is_due_with_server());
}

#[test]
fn hopeless_calls_are_told_at_once_where_the_plan_says_so() {
    let scene = Scene::new(Protocol::Http2);
    let begin = |seconds| {
        let mut exchange = scene.connection.begin(Protocol::Grpc);
        exchange.set_own_deadline(exchange.began() + Duration::from_secs(seconds));
        assert!(exchange.board(&scene.berths[0]));
        exchange
    };
    let (hopeless, may_finish) = (begin(3_600), begin(1));
    let plan = Plan {
        hopeless: Hopeless::End,
        ..Plan::default()
    };
    let plan = ServerDrain::plan(&plan, Some(Duration::from_secs(60)));
    let drain = ServerDrain::begin(plan, Trigger::Api, crate::clock::now());
    scene.registry.publish_to(&scene.berths[0], drain.orders());
    assert!(hopeless.is_due());
    assert!(!may_finish.is_due());
}

#[tokio::test]
async fn who_waits_for_a_deadline_is_woken_by_its_servers() {
    let scene = Scene::new(Protocol::WebSocket);
    let exchange = scene.connection.begin(Protocol::WebSocket);
    assert!(exchange.board(&scene.berths[0]));
    let waiting = tokio::spawn(async move {
        exchange.due().await;
        exchange.cut().await;
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    scene.order(1, Protocol::WebSocket, true);
    assert!(!waiting.is_finished(), "that was another server");
    scene.order(0, Protocol::WebSocket, false);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished(), "it is told, and not cut");
    scene.order(0, Protocol::WebSocket, true);
    let woken = tokio::time::timeout(Duration::from_secs(60), waiting);
    woken.await.expect("woken").expect("no panic");
}

#[tokio::test]
async fn who_waits_for_the_last_to_leave_is_told() {
    let scene = Scene::new(Protocol::Http2);
    let exchange = scene.connection.begin(Protocol::Http2);
    assert!(exchange.board(&scene.berths[0]));
    scene.berths[0].shut();
    let (registry, berth) = (Arc::clone(&scene.registry), Arc::clone(&scene.berths[0]));
    let waiting = tokio::spawn(async move { registry.until(|| berth.in_flight() == 0).await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    drop(exchange);
    let told = tokio::time::timeout(Duration::from_secs(60), waiting);
    told.await.expect("told").expect("no panic");
}

#[test]
fn a_server_that_comes_back_gets_what_is_left_of_it() {
    let registry = Registry::new();
    let place = |upstream: &str| registry.berth(&upstream.into(), &"one".into());
    let first = place("site");
    first.leave();
    let again = place("site");
    assert!(Arc::ptr_eq(&first, &again), "somebody holds it");
    assert_eq!(again.gate(), Gate::Leaving, "its drain opens it");
    assert!(!Arc::ptr_eq(&first, &place("other")));
    drop((first, again));
    assert_eq!(place("site").gate(), Gate::Open, "it is another one");
}
