//! Sockets that systemd keeps: a crash loses nobody, a drain leaves nobody.

use super::{plan, web};
use crate::support::clients::{Http1, Raw};
use crate::support::manager::Manager;
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};

const ANY: &str = "127.0.0.1:0";

async fn start(manager: &Manager, text: &str) -> Proxy {
    let command = manager.command(&[]);
    Proxy::start_as(text, command).ready(text).await
}

/// Start it again as systemd does: with what is stored.
async fn again(manager: &Manager, text: &str) -> Proxy {
    let store = manager.store();
    let passed: Vec<_> = store
        .iter()
        .map(|(name, one)| (name.as_str(), one))
        .collect();
    Proxy::start_as(text, manager.passing(&passed))
        .ready(text)
        .await
}

async fn is_served(address: SocketAddr) {
    let mut client = Http1::connect(address).await;
    assert_eq!(client.get("/").await.expect("an answer").status, 200);
}

#[tokio::test]
async fn who_connects_after_a_crash_waits_for_the_next_process() {
    let (manager, server) = (Manager::new(), Server::http1().await);
    let text = web(ANY, &server, "");
    let mut proxy = start(&manager, &text).await;
    manager.heard("READY=1").await;
    assert_eq!(manager.stored(), ["stored@web"; 2], "one for each worker");
    let address = proxy.address("web");
    proxy.signal(Signal::KILL);
    proxy.exit().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Raw::connect(address).await;
        let request = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
        client.send(request).await.expect("sent");
        clients.push(client);
    }
    let next = again(&manager, &text).await;
    assert_eq!(next.address("web"), address);
    for client in &mut clients {
        client.read_until("HTTP/1.1 200 ").await.expect("an answer");
    }
}

#[tokio::test]
async fn a_drain_takes_them_back_so_that_nobody_waits_in_vain() {
    let (manager, server) = (Manager::new(), Server::http1().await);
    let text = web(ANY, &server, &plan("0s"));
    let mut proxy = start(&manager, &text).await;
    manager.heard("READY=1").await;
    let address = proxy.address("web");
    is_served(address).await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    manager.heard("STATUS=drained").await;
    assert_eq!(manager.stored(), [""; 0]);
    let told = manager.told();
    let at = |line: &str| told.iter().position(|one| one == line).expect("told");
    assert!(at("FDSTOREREMOVE=1") < at("STOPPING=1"));
    let refused = TcpStream::connect(address).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_reload_keeps_the_store_in_step() {
    let (manager, server) = (Manager::new(), Server::http1().await);
    let other = "[listener.other]\nlisten = \"127.0.0.1:0\"\nroutes = [{ upstream = \"site\" }]\n";
    let proxy = start(&manager, &web(ANY, &server, &plan("0s"))).await;
    proxy.write_config(&web(ANY, &server, &(other.to_owned() + &plan("0s"))));
    proxy.signal(Signal::HUP);
    let stored = |wanted: &'static [&'static str]| {
        let manager = &manager;
        move |_: &[String]| {
            let mut stored = manager.stored();
            stored.sort();
            stored == wanted
        }
    };
    let both = &["stored@other", "stored@other", "stored@web", "stored@web"];
    manager.until("both stored", stored(both)).await;
    // Another address under the same name: the old sockets go, the new stay.
    let first = proxy.address("web");
    proxy.write_config(&web("127.0.0.2:0", &server, &plan("0s")));
    proxy.signal(Signal::HUP);
    let drained = |name: &'static str| {
        let log = &proxy;
        async move {
            log.until_event("listener_drained", |line| line["listener"] == name)
                .await;
        }
    };
    drained("web").await;
    drained("other").await;
    let web = &["stored@web", "stored@web"];
    manager.until("the new one alone", stored(web)).await;
    let store = manager.store().into_iter().map(|(_, one)| one);
    for socket in store.map(std::net::TcpListener::from) {
        let at = socket.local_addr().expect("known");
        assert_ne!(at, first);
        assert_eq!(at.ip().to_string(), "127.0.0.2");
    }
}

#[tokio::test]
async fn what_was_stored_for_a_listener_that_is_gone_is_let_go_of() {
    let (manager, server) = (Manager::new(), Server::http1().await);
    let other = "[listener.other]\nlisten = \"127.0.0.1:0\"\nroutes = [{ upstream = \"site\" }]\n";
    let mut proxy = start(
        &manager,
        &web(ANY, &server, &(other.to_owned() + &plan("0s"))),
    )
    .await;
    manager.heard("READY=1").await;
    let address = proxy.address("web");
    proxy.signal(Signal::KILL);
    proxy.exit().await;
    let next = again(&manager, &web(ANY, &server, &plan("0s"))).await;
    assert_eq!(next.address("web"), address);
    let gone = |_: &[String]| !manager.stored().contains(&"stored@other".to_owned());
    manager.until("it is let go of", gone).await;
    is_served(address).await;
}
