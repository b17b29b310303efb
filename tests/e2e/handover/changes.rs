//! A successor with another config.

use super::{ends, house};
use crate::support::clients::{Http1, Raw};
use crate::support::servers::Server;
use crate::support::within;
use http::Method;

#[tokio::test]
async fn listeners_come_go_and_change_with_the_handover() {
    let mut house = house().await;
    let other = Server::http1().await;
    let mut tunnel = Raw::connect(house.proxy.address("tcp")).await;
    tunnel.send("one\n").await.expect("sent");
    tunnel.read_until("\n").await.expect("a line");
    // `tcp` goes, `new` comes, `secure` speaks in clear text, and the server
    // of `web` is another one.
    let config = house
        .config
        .replace(
            "[listener.tcp]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nupstream = \"echo\"",
            "[listener.new]\nlisten = \"127.0.0.1:0\"\nroutes = [{ upstream = \"site\" }]",
        )
        .replace("tls = { cert = \"site.pem\", key = \"site.key\" }\n", "")
        .replace(
            &house.servers.http.address.to_string(),
            &other.address.to_string(),
        );
    let mut next = house.proxy.successor(&config, "next.toml", &[]);
    next.took_over(&config).await;
    for listener in ["web", "secure"] {
        assert_eq!(next.address(listener), house.proxy.address(listener));
        let mut client = Http1::connect(next.address(listener)).await;
        client.get("/").await.expect("an answer");
    }
    let mut client = Http1::connect(next.address("new")).await;
    client.get("/").await.expect("an answer");
    assert!(
        other.desk.seen().heads.len() >= 3,
        "the new server has them"
    );
    // What the successor has no place for is drained as after a reload.
    let at = house.proxy.address("tcp");
    let gone = async {
        while tokio::net::TcpStream::connect(at).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("the listener's end", gone).await;
    tunnel.send("two\n").await.expect("sent");
    assert_eq!(tunnel.read_until("\n").await.expect("a line"), "two\n");
    drop((client, tunnel));
    crate::drain::scene::ended(&mut house.proxy).await;
    ends(next).await;
}

#[tokio::test]
async fn the_number_of_workers_changes_and_every_socket_is_served() {
    let mut house = house().await;
    let base = house.config.clone();
    for (round, workers) in [(1, 1), (2, 4), (3, 2)] {
        let process = format!("[process]\nworkers = {workers}\nlogs = {{ format = \"json\" }}\n");
        house.config = process + &base;
        let mut old = house.next(round).await;
        for _ in 0..40 {
            let mut client = Http1::connect(house.proxy.address("web")).await;
            client.get("/").await.expect("an answer");
        }
        crate::drain::scene::ended(&mut old).await;
    }
    ends(house.proxy).await;
}

#[tokio::test]
async fn a_server_that_is_drained_stays_so() {
    let mut house = house().await;
    let server = house.servers.http.address;
    let path = format!("/v1/upstreams/site/servers/{server}/drain");
    let drained = house.proxy.ask(Method::POST, &path, "").await;
    assert!(drained.status.is_success(), "{}", drained.text());
    drop(house.next(1).await);
    let mut client = Http1::connect(house.proxy.address("web")).await;
    assert_eq!(client.get("/").await.expect("an answer").status, 503);
    let back = house.proxy.ask(Method::DELETE, &path, "").await;
    assert!(back.status.is_success(), "{}", back.text());
    assert_eq!(client.get("/").await.expect("an answer").status, 200);
    drop(client);
    ends(house.proxy).await;
}
