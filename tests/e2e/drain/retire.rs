//! Retire, over HTTP/1.1: nobody loses a request by being sent away.

use super::scene::{Plan, Scene, Via};
use crate::support::clients::{Ended, Raw, connect};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::sleep;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// One request and its answer; whether the connection may be used again.
async fn ask(client: &mut Raw) -> std::io::Result<bool> {
    client.send(REQUEST).await?;
    let answer = client.read_until("\r\n\r\nok").await?.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    Ok(!answer.contains("\r\nconnection: close\r\n"))
}

#[tokio::test]
async fn a_connection_that_answered_lately_may_send_one_request_more() {
    let scene = Scene::start(&Plan {
        last_request: "20s",
        ..Plan::CALM
    })
    .await;
    let mut clients = Vec::new();
    for via in Via::BOTH {
        let mut client = scene.raw(via).await;
        assert!(ask(&mut client).await.expect("an answer"));
        clients.push(client);
    }
    scene.drain().await;
    for mut client in clients {
        assert!(!ask(&mut client).await.expect("an answer"), "told to close");
        assert_eq!(client.rest().await, (Vec::new(), Ended::Fin));
    }
    let sums = scene.over().await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (2, 0, 0));
}

/// Ask now and then until a pause was what it was meant to be, and return when
/// the last request was sent: on a busy machine a client oversleeps.
async fn ask_at_intervals(client: &mut Raw, pause: Duration, most: Duration) -> Instant {
    loop {
        let before = Instant::now();
        assert!(ask(client).await.expect("an answer"));
        sleep(pause).await;
        let sent = Instant::now();
        assert!(ask(client).await.expect("an answer"));
        if before.elapsed() < most {
            return sent;
        }
    }
}

#[tokio::test]
async fn no_connection_is_closed_when_its_client_tends_to_come() {
    let scene = Scene::start(&Plan {
        last_request: "1s",
        ..Plan::CALM
    })
    .await;
    // The next request would be on its way when `last_request` has passed.
    let (pause, most) = (Duration::from_millis(1_050), Duration::from_millis(1_240));
    let (mut clear, mut tls) = (scene.raw(Via::Clear).await, scene.raw(Via::Tls).await);
    let sent = tokio::join!(
        ask_at_intervals(&mut clear, pause, most),
        ask_at_intervals(&mut tls, pause, most)
    );
    let closed = async |client: Raw, sent: Instant| {
        assert_eq!(client.rest().await, (Vec::new(), Ended::Fin));
        let after = sent.elapsed();
        assert!(after >= pause, "closed after {after:?}");
    };
    tokio::join!(scene.drain(), closed(clear, sent.0), closed(tls, sent.1));
    let sums = scene.over().await;
    assert_eq!((sums.farewelled, sums.cut), (0, 0));
}

#[tokio::test]
async fn idle_connections_are_closed_in_order() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut clients = Vec::new();
    for via in Via::BOTH {
        for _ in 0..10 {
            let mut client = scene.raw(via).await;
            assert!(ask(&mut client).await.expect("an answer"));
            clients.push(client);
        }
    }
    // Something holds the exit, or every socket would end with the process.
    let mut held = scene.raw(Via::Clear).await;
    held.send("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");
    let desk = scene.http1.desk.clone();
    desk.until("the request", |seen| seen.requests == 21).await;
    scene.drain().await;
    for client in clients {
        assert_eq!(client.rest().await, (Vec::new(), Ended::Fin));
    }
    desk.release();
    held.read_until("\r\n\r\nheld").await.expect("an answer");
    let sums = scene.over().await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (1, 0, 0));
}

#[tokio::test]
async fn connections_retire_one_by_one_over_the_spread() {
    let scene = Scene::start(&Plan {
        spread: "1s",
        ..Plan::CALM
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = scene.raw(Via::Clear).await;
        assert!(ask(&mut client).await.expect("an answer"));
        clients.push(client);
    }
    scene.proxy.signal(Signal::TERM);
    scene.stage("retire").await;
    // Some are gone, some are there: never all at once.
    scene
        .until_connections("a part of them", |left| (1..50).contains(&left.len()))
        .await;
    for client in clients {
        assert_eq!(client.rest().await, (Vec::new(), Ended::Fin));
    }
    scene.over().await;
}

/// A client that keeps its connection for as long as it may, and connects
/// anew only when it was told to close; until nobody accepts any more.
async fn keep_asking(proxy: Arc<Proxy>, via: Via, answers: Arc<AtomicUsize>) {
    loop {
        let address = proxy.address(match via {
            Via::Clear => "web",
            Via::Tls => "secure",
        });
        // Looked at first, since the harness takes a refusal for a failure.
        let mut client = match (via, TcpStream::connect(address).await) {
            (_, Err(_)) => return,
            (Via::Clear, Ok(stream)) => Raw::over(Box::new(stream)),
            (Via::Tls, Ok(stream)) => {
                let certificate = proxy.certificate();
                Raw::over(certificate.shake_hands(stream, "http/1.1").await)
            }
        };
        loop {
            let again = ask(&mut client).await.expect("a lost request");
            answers.fetch_add(1, Relaxed);
            if !again {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_pause_lose_no_request() {
    for via in Via::BOTH {
        let server = Server::http1().await;
        let plan = Plan {
            spread: "400ms",
            last_request: "2s",
            handshake: "20s",
            ..Plan::CALM
        };
        let address = server.address;
        let config = format!(
            "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\n\
             [listener.secure]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
             tls = {{ cert = \"site.pem\", key = \"site.key\" }}\n\n\
             [upstream.site]\nservers = [\"{address}\"]\n\n{plan}"
        );
        let proxy = Arc::new(Proxy::start(&config).await);
        let answers = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..20)
            .map(|_| keep_asking(Arc::clone(&proxy), via, Arc::clone(&answers)))
            .map(tokio::spawn)
            .collect();
        let desk = server.desk.clone();
        desk.until("many requests", |seen| seen.finished > 200)
            .await;
        proxy.signal(Signal::TERM);
        for client in clients {
            within("a client", client).await.expect("nothing lost");
        }
        let mut proxy = Arc::into_inner(proxy).expect("nobody else has it");
        let sums = super::scene::ended(&mut proxy).await;
        assert_eq!((sums.farewelled, sums.cut), (0, 0), "{sums:?}");
        let seen = server.desk.seen();
        assert_eq!(seen.cancelled, 0, "{seen:?}");
        assert_eq!(answers.load(Relaxed), seen.finished);
    }
}

#[tokio::test]
async fn once_refused_nobody_connects() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut held = scene.tunnel(Via::Clear).await;
    held.send("hello\n").await.expect("sent");
    held.read_until("hello\n").await.expect("a line");
    scene.drain().await;
    for listener in ["web", "secure", "multi", "tcp", "secure_tcp"] {
        let address = scene.address(listener);
        let refused = within("a refusal", TcpStream::connect(address)).await;
        let error = refused.expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    // Only the admin interface is still there.
    connect(scene.proxy.admin()).await;
    drop(held);
    scene.over().await;
}
