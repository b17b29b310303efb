//! A process that is short of memory, and connections with many requests.

use super::{HONEST, OK, Scene, config};
use crate::drain::scene::until_connections;
use crate::support::clients::{Ended, Http1, Http2};
use crate::support::within;
use h2::Reason;
use http::{Method, Request};

/// Have another limit; the log says that it acts.
async fn limit(scene: &Scene, size: &str, says: &str) {
    let process = format!("[process]\nmemory = \"{size}\"\nlogs = {{ format = \"json\" }}\n");
    scene
        .proxy
        .write_config(&config(&scene.server, "", &process));
    let lines = |log: &[serde_json::Value]| {
        let of_memory = |line: &&serde_json::Value| {
            line["event"] == "memory"
                && line["message"].as_str().is_some_and(|it| it.contains(says))
        };
        log.iter().filter(of_memory).count()
    };
    let before = lines(&scene.proxy.log());
    let done = scene.proxy.ask(Method::POST, "/v1/reload", "").await;
    assert_eq!(done.status, 200, "{}", done.text());
    scene.proxy.until(says, |log| lines(log) > before).await;
}

#[tokio::test]
async fn short_of_memory_nothing_begins_and_what_has_begun_goes_on() {
    let process = "[process]\nlogs = { format = \"json\" }\n";
    let scene = Scene::and("", process).await;
    let mut there = Http1::connect(scene.proxy.address("web")).await;
    assert_eq!(there.get("/").await.expect("an answer").status, 200);
    let many = Http2::connect(scene.proxy.address("web")).await;
    let (held, _) = many
        .open(Http2::request("/hold"), true)
        .await
        .expect("a stream");
    let desk = scene.server.desk.clone();
    desk.until("the request", |seen| seen.requests == 2).await;
    let half_open = scene.raw().await;
    until_connections(&scene.proxy, "three", |there| there.len() == 3).await;

    limit(&scene, "1MiB", "short of memory").await;
    let refused = there.get("/").await.expect("an answer");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("connection"), Some("close"));
    assert!(refused.text().contains("memory"), "{}", refused.text());
    assert_eq!(many.get("/").await.expect("an answer").status, 503);
    let call = Request::post("http://localhost/a.B/C")
        .header("content-type", "application/grpc")
        .body(())
        .expect("a request");
    let (answer, _) = many.open(call, true).await.expect("a stream");
    let answer = within("an answer", answer).await.expect("an answer");
    assert_eq!(answer.headers()["grpc-status"], "14");
    assert_eq!(half_open.rest().await.1, Ended::Fin);
    // Three requests, and who was half-open.
    scene.until_limited("memory", 4).await;
    let mut waiting = scene.raw().await;
    waiting.send(HONEST).await.expect("sent");
    scene.until_limited("memory", 5).await;
    assert_eq!(scene.proxy.get("/readyz").await.status, 200);
    desk.release();
    let held = within("an answer", held).await.expect("an answer");
    assert_eq!(held.status(), 200);

    limit(&scene, "1024GiB", "there is memory again").await;
    waiting.read_until(OK).await.expect("an answer");
    assert_eq!(many.get("/").await.expect("an answer").status, 200);
    scene.serves("as before").await;

    // A drain lets in who waits, as ever.
    limit(&scene, "1MiB", "short of memory").await;
    let last = scene.raw().await;
    scene.until_limited("memory", 6).await;
    drop((waiting, many, held));
    let over = scene.over();
    let ((), (_, end)) = tokio::join!(over, last.rest());
    assert_eq!(end, Ended::Fin);
}

#[tokio::test]
async fn a_connection_has_so_many_requests_and_no_more() {
    let scene = Scene::with("limits = { requests = 3 }").await;
    let mut client = Http1::connect(scene.proxy.address("web")).await;
    let mut answered = 0;
    loop {
        let reply = client.get("/").await.expect("an answer");
        assert_eq!(reply.status, 200);
        answered += 1;
        if reply.header("connection") == Some("close") {
            break;
        }
    }
    // The last one may say so only after the limit.
    assert!((3..=4).contains(&answered), "{answered}");
    scene.until_limited("requests", 1).await;
    let client = Http2::connect(scene.proxy.address("web")).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.expect("an answer").status, 200);
    }
    let away = client.goaways(1).await;
    assert_eq!(away[0].reason, Reason::NO_ERROR);
    scene.until_limited("requests", 2).await;
    drop(client);
    scene.serves("the next").await;
    scene.over().await;
}
