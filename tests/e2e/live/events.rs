//! What is told, in which order, and to whom.

use super::{Event, Listener};
use crate::drain::scene::{Plan, ended};
use crate::support::clients::Http1;
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use http::Method;
use serde_json::json;

fn config(servers: &[&Server], admin: &str, plan: &Plan) -> String {
    let addresses: Vec<_> = servers.iter().map(|one| one.address.to_string()).collect();
    format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n{admin}\n\
         [listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
         [upstream.site]\nservers = {addresses:?}\nhealth = {{ tcp = true, every = \"50ms\" }}\n{plan}"
    )
}

/// A request that the server holds.
async fn hold(proxy: &Proxy, server: &Server) -> tokio::task::JoinHandle<u16> {
    let mut client = Http1::connect(proxy.address("web")).await;
    let held =
        tokio::spawn(async move { client.get("/hold").await.expect("told").status.as_u16() });
    let there = async {
        while server.desk.seen().requests == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    within("the request", there).await;
    held
}

/// End a proxy that announces for long.
async fn interrupt(proxy: &mut Proxy) {
    // Of two signals at one moment the second may not be seen as another.
    let interrupts = async {
        while !proxy.has_exited() {
            proxy.signal(Signal::INT);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    within("the exit", interrupts).await;
    assert_eq!(ended(proxy).await.cut, 0);
}

fn words(events: &[Event]) -> Vec<String> {
    events.iter().filter_map(Event::word).collect()
}

#[tokio::test]
async fn the_course_of_a_drain_is_told_in_its_order_and_to_its_end() {
    let server = Server::http1().await;
    let plan = Plan {
        http: "300ms",
        ..Plan::CALM
    };
    let mut proxy = Proxy::start(&config(&[&server], "", &plan)).await;
    let held = hold(&proxy, &server).await;
    let mut listener = Listener::to(&proxy).await;
    let snapshot = listener.next().await.expect("an event");
    assert_eq!((snapshot.name.as_str(), &snapshot.id), ("snapshot", &None));
    let picture = &snapshot.data["picture"];
    assert_eq!(picture["holders"][0]["doing"], "awaiting", "{picture:#}");
    assert_eq!(picture["forecast"]["all"]["in_flight"], 1);
    assert_eq!(
        picture["connections"],
        json!([{ "listener": "web", "protocol": "http1", "state": "in_flight", "count": 1 }])
    );
    proxy.signal(Signal::TERM);
    let told = listener.rest().await;
    let expected = [
        "drain",
        "announce",
        "draining",
        "refuse",
        "retire",
        "finish",
        "farewell",
        "ended",
        "terminated",
        "receipt",
        "terminated",
    ];
    let words = words(&told);
    assert_eq!(words, expected);
    let numbers: Vec<u64> = told.iter().filter_map(Event::number).collect();
    assert_eq!(
        numbers.len(),
        expected.len(),
        "news are numbered, views are not"
    );
    assert!(
        numbers.windows(2).all(|two| two[0] + 1 == two[1]),
        "{numbers:?}"
    );
    let named = |name: &str| told.iter().rfind(|event| event.name == name).expect("told");
    assert_eq!(named("drain").data["trigger"], "sigterm");
    assert_eq!(named("ended").data["farewells"], json!({ "unanswered": 1 }));
    let receipt = &named("receipt").data;
    assert_eq!(receipt["told"][0]["what"], "unanswered", "{receipt:#}");
    let last = told.last().expect("there is one");
    assert_eq!(last.name, "terminated");
    assert_eq!(last.data["exchanges"]["farewelled"], 1);
    assert_eq!(
        (&last.data["lost"], &last.data["duration_ms"]),
        (&json!(0), &receipt["duration_ms"])
    );
    assert_eq!(held.await.expect("no panic"), 503);
    assert_eq!(ended(&mut proxy).await.farewelled, 1);
}

#[tokio::test]
async fn progress_comes_at_most_four_times_a_second() {
    let server = Server::http1().await;
    let mut proxy = Proxy::start(&config(&[&server], "", &Plan::CALM)).await;
    let held = hold(&proxy, &server).await;
    let mut listener = Listener::to(&proxy).await;
    proxy.signal(Signal::TERM);
    let mut before = listener.named("progress").await.data;
    for _ in 0..4 {
        let now = listener.named("progress").await.data;
        let elapsed =
            |progress: &serde_json::Value| progress["elapsed_ms"].as_f64().expect("it drains");
        // Each is made a look after the one before, or later.
        assert!(elapsed(&now) - elapsed(&before) >= 240.0, "{before} {now}");
        assert_eq!(now["in_flight"]["http1"], 1);
        before = now;
    }
    server.desk.release();
    assert_eq!(held.await.expect("no panic"), 200);
    let last = listener.rest().await;
    assert_eq!(
        last.last().expect("the end").data["exchanges"]["finished"],
        1
    );
    assert_eq!(ended(&mut proxy).await.finished, 1);
}

#[tokio::test]
async fn a_server_that_goes_or_is_drained_is_told() {
    let (one, two) = (Server::http1().await, Server::http1().await);
    let mut proxy = Proxy::start(&config(&[&one, &two], "", &Plan::CALM)).await;
    let mut listener = Listener::to(&proxy).await;
    listener.named("snapshot").await;
    one.stop_accepting();
    let down = listener.named("server").await.data;
    assert_eq!(down["server"], one.address.to_string());
    assert_eq!(
        (&down["up"], &down["state"]),
        (&json!(false), &json!("serving"))
    );
    let path = format!("/v1/upstreams/site/servers/{}/drain", two.address);
    assert_eq!(proxy.ask(Method::POST, &path, "").await.status, 202);
    let of_two = listener.until("the other", |event| {
        event.name == "server" && event.data["server"] == two.address.to_string()
    });
    let state = of_two.await.data["state"].clone();
    assert!(state == "draining" || state == "drained", "{state}");
    assert_eq!(proxy.ask(Method::DELETE, &path, "").await.status, 200);
    listener
        .until("its return", |event| event.data["state"] == "serving")
        .await;
    proxy.signal(Signal::TERM);
    assert_eq!(ended(&mut proxy).await.cut, 0);
}

#[tokio::test]
async fn a_drain_taken_back_and_a_reload_are_told() {
    let server = Server::http1().await;
    let plan = Plan {
        announce: "60s",
        ..Plan::CALM
    };
    let mut proxy = Proxy::start(&config(&[&server], "", &plan)).await;
    let mut listener = Listener::to(&proxy).await;
    listener.named("snapshot").await;
    assert_eq!(proxy.ask(Method::POST, "/v1/drain", "").await.status, 202);
    let extended = proxy
        .ask(Method::POST, "/v1/drain/extend", "{\"by\":\"5s\"}")
        .await;
    assert_eq!(extended.status, 200, "{}", extended.text());
    assert_eq!(proxy.ask(Method::DELETE, "/v1/drain", "").await.status, 200);
    proxy.write_config(&config(&[&server], "linger = \"1ms\"", &plan));
    let reloaded = proxy.ask(Method::POST, "/v1/reload", "").await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    proxy.write_config("nonsense");
    assert_eq!(proxy.ask(Method::POST, "/v1/reload", "").await.status, 422);
    let mut told = Vec::new();
    while told
        .iter()
        .filter(|event: &&Event| event.name == "reload")
        .count()
        < 2
    {
        told.push(listener.next().await.expect("an event"));
    }
    let expected = [
        "drain",
        "announce",
        "extended",
        "cancelled",
        "reload",
        "reload",
    ];
    assert_eq!(words(&told), expected);
    let results: Vec<_> = told.iter().filter(|event| event.name == "reload").collect();
    assert_eq!(results[0].data["result"], "applied");
    assert_eq!(results[1].data["result"], "invalid");
    let text = results[1].data["text"].as_str().expect("text");
    assert!(text.contains("nonsense"), "{text}");
    assert_eq!(
        proxy
            .ask(Method::POST, "/v1/drain?wait=false", "")
            .await
            .status,
        202
    );
    interrupt(&mut proxy).await;
}

#[tokio::test]
async fn a_read_token_hears_and_another_does_not() {
    let server = Server::http1().await;
    let tokens = "token = \"file:token\"\nread_token = \"look\"";
    let mut proxy = Proxy::start_in(&config(&[&server], tokens, &Plan::CALM), |directory| {
        std::fs::write(directory.join("token"), "operate\n").expect("written");
    })
    .await;
    let with = |token: &'static str| [("authorization", token)];
    for wrong in [&[][..], &with("Bearer wrong")] {
        assert_eq!(Listener::with(&proxy, wrong).await.err(), Some(401));
    }
    let mut reader = Listener::with(&proxy, &with("Bearer look"))
        .await
        .expect("let in");
    assert_eq!(reader.named("snapshot").await.data["role"], "reader");
    std::fs::write(proxy.path("token"), "another\n").expect("written");
    proxy.signal(Signal::HUP);
    // Whose token it was is not remembered: everybody shows theirs again.
    assert_eq!(
        reader
            .rest()
            .await
            .iter()
            .filter(|one| one.name == "terminated")
            .count(),
        0
    );
    Listener::with(&proxy, &with("Bearer look"))
        .await
        .expect("let in");
    proxy.signal(Signal::TERM);
    assert_eq!(ended(&mut proxy).await.cut, 0);
}

#[tokio::test]
async fn who_comes_back_hears_what_was_missed() {
    let server = Server::http1().await;
    let plan = Plan {
        announce: "60s",
        ..Plan::CALM
    };
    let mut proxy = Proxy::start(&config(&[&server], "", &plan)).await;
    let mut listener = Listener::to(&proxy).await;
    listener.named("snapshot").await;
    assert_eq!(proxy.ask(Method::POST, "/v1/drain", "").await.status, 202);
    let heard = listener.named("drain").await;
    drop(listener);
    assert_eq!(proxy.ask(Method::DELETE, "/v1/drain", "").await.status, 200);
    let last = heard.id.expect("news have one");
    let back = [("last-event-id", last.as_str())];
    let mut listener = Listener::with(&proxy, &back).await.expect("let in");
    let snapshot = listener.next().await.expect("an event");
    assert_eq!(snapshot.data["resumed"], true);
    let missed = [listener.next().await, listener.next().await].map(|one| one.expect("missed"));
    assert_eq!(words(&missed), ["announce", "cancelled"]);
    assert_eq!(
        snapshot.data["last_event_id"],
        *missed[1].id.as_ref().expect("an id")
    );
    let of_another = [("last-event-id", "7-1")];
    let mut listener = Listener::with(&proxy, &of_another).await.expect("let in");
    assert_eq!(
        listener.next().await.expect("an event").data["resumed"],
        false
    );
    interrupt(&mut proxy).await;
}
