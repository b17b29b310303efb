//! Connections that cannot carry a request yet, and floods of them.

use super::{OK, Scene};
use crate::drain::scene::until_connections;
use crate::support::clients::{Ended, Raw};
use crate::support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TLS: &str = "tls = { cert = \"site.pem\", key = \"site.key\" }\nproxy_protocol = true\n";

/// What a client's TLS begins with.
fn hello(scene: &Scene) -> Vec<u8> {
    let mut client = scene.proxy.certificate().handshake("http/1.1");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a ClientHello");
    hello
}

fn header(client: &str) -> String {
    format!("PROXY TCP4 {client} 192.0.2.1 4711 443\r\n")
}

#[tokio::test]
async fn the_oldest_half_open_connection_makes_room_for_the_newest() {
    let scene = Scene::with("limits = { handshakes = 3 }").await;
    let there = async |count| {
        until_connections(&scene.proxy, "them", |there| there.len() == count).await;
    };
    let silent = scene.raw().await;
    there(1).await;
    let mut head = scene.raw().await;
    there(2).await;
    head.send("GET / HTTP/1.1\r\n").await.expect("sent");
    let mut preface = scene.raw().await;
    preface.send("PRI * HTTP").await.expect("sent");
    let half_open = |status: &serde_json::Value| {
        let all = status.as_array().expect("a list");
        all.iter().any(|one| one["state"] == "head")
            && all.iter().any(|one| one["state"] == "preface")
    };
    scene
        .proxy
        .until_json("/v1/connections", |all| half_open(&all["connections"]))
        .await;
    scene.serves("one more").await;
    assert_eq!(silent.rest().await, (Vec::new(), Ended::Fin));
    scene.until_limited("handshakes", 1).await;
    let newest = scene.raw().await;
    there(3).await;
    // Whoever has been served is not half-open.
    let mut honest = Vec::new();
    for _ in 0..4 {
        let mut raw = scene.raw().await;
        raw.send(super::HONEST).await.expect("sent");
        raw.read_until(OK).await.expect("an answer");
        honest.push(raw);
    }
    let (answer, end) = head.rest().await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("Retry-After: 1"), "{answer}");
    assert_eq!(end, Ended::Fin);
    for raw in &mut honest {
        raw.send(super::HONEST).await.expect("sent");
        raw.read_until(OK).await.expect("an answer");
    }
    scene.until_limited("handshakes", 2).await;
    drop((preface, newest, honest));
    scene.over().await;
}

#[tokio::test]
async fn half_a_tls_handshake_that_makes_room_hears_an_alert() {
    let scene = Scene::with(&format!("{TLS}limits = {{ handshakes = 1 }}")).await;
    let mut half = scene.raw().await;
    let hello = hello(&scene);
    half.send(header("192.0.2.7")).await.expect("sent");
    half.send(&hello[..hello.len() / 2]).await.expect("sent");
    let shaking = |all: &serde_json::Value| {
        let all = all["connections"].as_array().expect("a list");
        all.iter().any(|one| one["state"] == "tls_handshake")
    };
    scene.proxy.until_json("/v1/connections", shaking).await;
    let mut stream = TcpStream::connect(scene.proxy.address("web"))
        .await
        .expect("connected");
    let named = header("192.0.2.8");
    stream.write_all(named.as_bytes()).await.expect("sent");
    let certificate = scene.proxy.certificate();
    let mut honest = Raw::over(certificate.shake_hands(stream, "http/1.1").await);
    honest.send(super::HONEST).await.expect("sent");
    honest.read_until(OK).await.expect("an answer");
    let (alerts, end) = half.rest().await;
    assert_eq!((alerts.first(), end), (Some(&21), Ended::Fin));
    scene.until_limited("handshakes", 1).await;
    drop(honest);
    scene.over().await;
}

/// Begin handshakes of this client until one is refused.
async fn flood(scene: &Scene, client: &str) {
    let hello = hello(scene);
    for _ in 0..100 {
        let mut stream = TcpStream::connect(scene.proxy.address("web"))
            .await
            .expect("connected");
        let bytes = [header(client).as_bytes(), &hello].concat();
        stream.write_all(&bytes).await.expect("sent");
        let first = within("a word", stream.read_u8()).await.expect("a word");
        // A ServerHello, or an alert.
        if first == 21 {
            return;
        }
        assert_eq!(first, 22);
    }
    panic!("nobody was refused");
}

/// A connection over TLS of this client, which has been answered.
async fn shaken(scene: &Scene, client: &str) -> Raw {
    let mut stream = TcpStream::connect(scene.proxy.address("web"))
        .await
        .expect("connected");
    let named = header(client);
    stream.write_all(named.as_bytes()).await.expect("sent");
    let certificate = scene.proxy.certificate();
    let mut raw = Raw::over(certificate.shake_hands(stream, "http/1.1").await);
    raw.send(super::HONEST).await.expect("sent");
    raw.read_until(OK).await.expect("an answer");
    raw
}

#[tokio::test]
async fn a_client_that_floods_handshakes_holds_up_itself() {
    let limits = "limits = { client_handshake_rate = 1, head_time = \"1s\" }";
    let scene = Scene::with(&format!("{TLS}{limits}")).await;
    let mut there = shaken(&scene, "192.0.2.7").await;
    flood(&scene, "192.0.2.7").await;
    scene.until_reached("client_handshake_rate").await;
    assert_eq!(scene.limited("handshake_rate").await, 0);
    let other = shaken(&scene, "192.0.2.8").await;
    there.send(super::HONEST).await.expect("sent");
    there.read_until(OK).await.expect("an answer");
    drop((there, other));
    scene.over().await;
}

#[tokio::test]
async fn a_flood_of_handshakes_leaves_who_is_there_alone() {
    let limits = "limits = { handshake_rate = 1, head_time = \"1s\" }";
    let scene = Scene::with(&format!("{TLS}{limits}")).await;
    let mut there = shaken(&scene, "192.0.2.7").await;
    flood(&scene, "192.0.2.8").await;
    scene.until_reached("handshake_rate").await;
    assert_eq!(scene.limited("client_handshake_rate").await, 0);
    there.send(super::HONEST).await.expect("sent");
    there.read_until(OK).await.expect("an answer");
    // Whoever is patient has its turn.
    let mut patient = None;
    for _ in 0..100 {
        let mut stream = TcpStream::connect(scene.proxy.address("web"))
            .await
            .expect("connected");
        let bytes = [header("192.0.2.9").as_bytes(), &hello(&scene)].concat();
        stream.write_all(&bytes).await.expect("sent");
        if within("a word", stream.read_u8()).await.expect("a word") == 22 {
            patient = Some(stream);
            break;
        }
        // Whoever is turned away takes no turn; a pause between two tries.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(patient.is_some(), "nobody had a turn");
    drop((there, patient));
    scene.over().await;
}
