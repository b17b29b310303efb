//! The end of an accept queue, over real sockets.

use super::super::gates::tests::drop_last_segments;
use super::super::{Room, bind};
use super::*;
use crate::drain::{AcceptFilter, Orders};
use crate::proxy::registry::Registry;
use std::cell::{Cell, RefCell};
use std::net::TcpStream as Client;
use std::path::Path;
use std::sync::{Arc, Barrier};
use tokio::sync::Notify;

/// How long nobody has to wait; what is tested is that nobody does.
const LONG: Duration = Duration::from_secs(20);

const CONFIG: &str = r#"
[listener.web]
listen = "127.0.0.1:0"
routes = [{ upstream = "site" }]

[upstream.site]
servers = ["127.0.0.1:1"]
"#;

fn scope() -> Arc<Scope> {
    Registry::new().scope("web".into(), Orders::default())
}

fn rooms(limit: usize) -> Rooms {
    Rooms {
        own: Room::new(limit),
        process: Room::new(0),
    }
}

fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    listener.set_nonblocking(true).expect("set");
    let address = listener.local_addr().expect("known");
    (listener, address)
}

/// Empty the queue while `meanwhile` happens: who was accepted.
async fn emptied(listener: TcpListener, meanwhile: impl Future<Output = ()>) -> Vec<SocketAddr> {
    let accepted = RefCell::<Vec<SocketAddr>>::default();
    let enter = |_, peer, _| accepted.borrow_mut().push(peer);
    let scope = scope();
    let queue = Queue::new(listener, &scope, enter).expect("watched");
    tokio::join!(queue.empty(std::future::pending()), meanwhile);
    accepted.into_inner()
}

#[tokio::test]
async fn who_waits_is_accepted_and_the_socket_closed() {
    let (listener, address) = listening();
    let clients: Vec<Client> = (0..100)
        .map(|_| Client::connect(address).expect("connected"))
        .collect();
    let accepted = emptied(listener, async {}).await;
    let mut expected: Vec<SocketAddr> = clients
        .iter()
        .map(|client| client.local_addr().expect("known"))
        .collect();
    expected.sort_unstable();
    let mut came = accepted;
    came.sort_unstable();
    assert_eq!(came, expected);
    let refused = Client::connect(address).expect_err("closed");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

/// Connect until nobody listens: how often that succeeded.
fn storm(address: SocketAddr, began: &Barrier) -> usize {
    let mut connected = Vec::new();
    began.wait();
    // One whose SYN is dropped would try again in a second, in vain.
    while let Ok(client) = Client::connect_timeout(&address, Duration::from_millis(60)) {
        connected.push(client);
    }
    connected.len()
}

/// Close a group of two sockets under a storm: how many connected, and how
/// many were accepted.
async fn closed_under_a_storm() -> (usize, usize) {
    let config = crate::config::parse(Path::new("test.toml"), CONFIG).expect("good");
    let listener = &config.listeners[0];
    let mut bound = bind(listener, 2).expect("bound");
    let room = rooms(0);
    let began = Arc::new(Barrier::new(3));
    let storms = [(); 2].map(|()| {
        let (address, began) = (bound.address, Arc::clone(&began));
        std::thread::spawn(move || storm(address, &began))
    });
    let (accepted, scope) = (Cell::new(0), scope());
    let enter = |_, _, _| accepted.set(accepted.get() + 1);
    let mut queue =
        || Queue::new(bound.sockets.pop().expect("two"), &scope, enter).expect("watched");
    let mut queues = [queue(), queue()];
    began.wait();
    while accepted.get() < 100 {
        let _ = tokio::time::timeout(Duration::from_millis(1), queues[0].admit(Some(&room))).await;
        let _ = tokio::time::timeout(Duration::from_millis(1), queues[1].admit(Some(&room))).await;
    }
    assert_eq!(bound.gates.shut(), AcceptFilter::Attached);
    let [first, second] = queues.map(|queue| queue.empty(std::future::pending()));
    tokio::join!(first, second);
    let connected = storms.map(|storm| storm.join().expect("no panic"));
    (connected.iter().sum(), accepted.get())
}

#[tokio::test]
async fn no_connection_is_lost_in_a_storm() {
    for _ in 0..20 {
        let (connected, accepted) = closed_under_a_storm().await;
        assert_eq!(connected, accepted);
    }
}

#[tokio::test]
async fn room_is_not_taken_by_who_has_nobody_to_accept() {
    let (room, scope) = (rooms(1), scope());
    let ((idle, _), (busy, address)) = (listening(), listening());
    let came = Notify::new();
    let nobody = |_, _, _| unreachable!("nobody connects there");
    let somebody = |_, _, _| came.notify_one();
    let mut idle = Queue::new(idle, &scope, nobody).expect("watched");
    let mut busy = Queue::new(busy, &scope, somebody).expect("watched");
    let comes = async {
        tokio::task::yield_now().await;
        let _client = TcpStream::connect(address).await.expect("connected");
        came.notified().await;
    };
    tokio::select! {
        () = idle.admit(Some(&room)) => {}
        () = busy.admit(Some(&room)) => {}
        came = tokio::time::timeout(LONG, comes) => came.expect("accepted"),
    }
}

#[tokio::test]
async fn a_client_far_away_is_waited_for() {
    let (listener, address) = listening();
    let gate = listener.try_clone().expect("a hold");
    drop_last_segments(&gate);
    // For the client this is a connection; its last segment is lost on us.
    let client = Client::connect(address).expect("connected");
    let meanwhile = async {
        tokio::time::sleep(FIRST_WAIT * 2).await;
        socket2::SockRef::from(&gate)
            .detach_filter()
            .expect("detached");
        drop(gate);
        // Whatever it sends completes the handshake, as the last segment does.
        io::Write::write_all(&mut &client, b"x").expect("sent");
    };
    let accepted = emptied(listener, meanwhile).await;
    assert_eq!(accepted, [client.local_addr().expect("known")]);
}

#[tokio::test]
async fn a_client_that_never_completes_holds_nobody_for_long() {
    let (listener, address) = listening();
    drop_last_segments(&listener);
    let client = Client::connect(address).expect("connected");
    let accepted = tokio::time::timeout(LONG, emptied(listener, async {})).await;
    assert_eq!(accepted.expect("in time"), []);
    drop(client);
}
