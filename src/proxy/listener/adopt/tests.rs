//! Sockets from outside, of every number and kind.

use super::super::{Queue, socket};
use super::*;
use crate::drain::{AcceptFilter, Orders};
use crate::proxy::registry::Registry;
use socket2::{SockFilter, Socket};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

fn listener(listen: &str) -> model::Listener {
    let text = format!(
        "[listener.web]\nlisten = \"{listen}\"\nroutes = [{{ upstream = \"site\" }}]\n\
         [upstream.site]\nservers = [\"127.0.0.1:1\"]\n"
    );
    let config = crate::config::parse(Path::new("test.toml"), &text).expect("good");
    config.listeners[0].clone()
}

/// Sockets of one group, as a predecessor has them.
fn group(count: usize) -> Vec<TcpListener> {
    let first = socket("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let address = first.local_addr().expect("known");
    let mut sockets = vec![first];
    sockets.extend((1..count).map(|_| socket(address).expect("bound")));
    sockets
}

/// A socket that is nobody's sibling, blocking and inheritable.
fn alone() -> TcpListener {
    let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
    SockRef::from(&socket).set_cloexec(false).expect("set");
    socket
}

/// Clients, by their addresses; they go on living.
fn clients(address: SocketAddr, count: usize) -> (Vec<TcpStream>, BTreeSet<SocketAddr>) {
    let connect = |_| TcpStream::connect(address).expect("connected");
    let clients: Vec<_> = (0..count).map(connect).collect();
    let addresses = clients.iter().map(|one| one.local_addr().expect("known"));
    let addresses = addresses.collect();
    (clients, addresses)
}

/// Everybody who is accepted until the sockets are closed, each once.
async fn emptied(sockets: Vec<TcpListener>) -> BTreeSet<SocketAddr> {
    let accepted = RefCell::<BTreeSet<SocketAddr>>::default();
    let enter = |_, peer, _| assert!(accepted.borrow_mut().insert(peer), "twice");
    let scope = Registry::new().scope("web".into(), Orders::default());
    let queue = |socket| Queue::new(socket, &scope, enter).expect("watched");
    let queues: Vec<_> = sockets.into_iter().map(queue).collect();
    let ends = queues
        .into_iter()
        .map(|queue| queue.empty(std::future::pending()));
    futures_util::future::join_all(ends).await;
    accepted.into_inner()
}

#[tokio::test]
async fn every_queue_of_a_larger_group_is_served() {
    let before = group(5);
    let address = before[0].local_addr().expect("known");
    let (_clients, expected) = clients(address, 100);
    let bound = adopt(&listener("127.0.0.1:0"), before, 2).expect("adopted");
    assert_eq!((bound.address, bound.sockets.len()), (address, 5));
    assert_eq!(bound.gates.shut(), AcceptFilter::Attached);
    assert_eq!(emptied(bound.sockets).await, expected);
    let refused = TcpStream::connect(address).expect_err("closed");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_smaller_group_is_shared() {
    let before = group(2);
    let address = before[0].local_addr().expect("known");
    let (_first, mut expected) = clients(address, 20);
    let bound = adopt(&listener("127.0.0.1:0"), before, 4).expect("adopted");
    let places: BTreeSet<_> = bound.sockets.iter().map(cookie).collect();
    assert_eq!((bound.sockets.len(), places.len()), (4, 2));
    let (_second, more) = clients(address, 80);
    expected.extend(more);
    assert_eq!(bound.gates.shut(), AcceptFilter::Attached);
    assert_eq!(emptied(bound.sockets).await, expected);
}

/// What tells a socket from its descriptors.
fn cookie(socket: &TcpListener) -> u64 {
    SockRef::from(socket).cookie().expect("it has one")
}

#[tokio::test]
async fn a_socket_without_siblings_is_shared_by_all_workers() {
    let socket = alone();
    let address = socket.local_addr().expect("known");
    let (_clients, expected) = clients(address, 50);
    let bound = adopt(&listener(&address.to_string()), vec![socket], 3).expect("adopted");
    let places: BTreeSet<_> = bound.sockets.iter().map(cookie).collect();
    assert_eq!((bound.sockets.len(), places.len()), (3, 1));
    for socket in &bound.sockets {
        let seen = SockRef::from(socket);
        assert!(seen.nonblocking().expect("told"));
        let flags = rustix::io::fcntl_getfd(socket).expect("told");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
    assert_eq!(bound.gates.shut(), AcceptFilter::Attached);
    assert_eq!(emptied(bound.sockets).await, expected);
    let refused = TcpStream::connect(address).expect_err("closed");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn who_comes_to_a_borrowed_socket_waits_for_the_next_process() {
    let kept = alone();
    let address = kept.local_addr().expect("known");
    let (_first, expected) = clients(address, 3);
    let lent = vec![kept.try_clone().expect("cloned")];
    let bound = borrow(&listener(&address.to_string()), lent, 2).expect("borrowed");
    assert_eq!(bound.gates.shut(), AcceptFilter::LeftOpen);
    assert_eq!(emptied(bound.sockets).await, expected);
    let (_second, expected) = clients(address, 3);
    let bound = borrow(&listener(&address.to_string()), vec![kept], 2).expect("borrowed");
    assert_eq!(emptied(bound.sockets).await, expected);
}

#[test]
fn without_sockets_there_is_one_to_bind_and_none_to_borrow() {
    let bound = adopt(&listener("127.0.0.1:0"), vec![], 2).expect("bound");
    assert_eq!(bound.sockets.len(), 2);
    let error = borrow(&listener("127.0.0.1:0"), vec![], 2).expect_err("none");
    assert!(error.to_string().ends_with("there is none"), "{error}");
}

#[test]
fn a_filter_that_was_left_behind_is_taken_off() {
    let socket = alone();
    let address = socket.local_addr().expect("known");
    let drop_all = [SockFilter::new(0x06, 0, 0, 0)];
    let seen = SockRef::from(&socket);
    seen.attach_filter(&drop_all).expect("attached");
    let _bound = adopt(&listener(&address.to_string()), vec![socket], 1).expect("adopted");
    TcpStream::connect_timeout(&address, Duration::from_secs(20)).expect("let in");
}

#[test]
fn what_is_no_socket_of_this_listener_is_told_apart() {
    let refused = |listen: &str, sockets: Vec<TcpListener>| {
        let error = adopt(&listener(listen), sockets, 2).expect_err("refused");
        let text = error.to_string();
        let start = "listener web: the socket that was handed over cannot be used: ";
        text.strip_prefix(start).expect(start).to_owned()
    };
    let socket = alone();
    let at = socket.local_addr().expect("known");
    assert_eq!(
        refused("127.0.0.1:1", vec![socket]),
        format!("it listens on {at}, the config says 127.0.0.1:1; let both say the same")
    );
    let others = [alone(), alone()];
    let at = [0, 1].map(|index: usize| others[index].local_addr().expect("known"));
    assert_eq!(
        refused("127.0.0.1:0", others.into()),
        format!("one listens on {}, another on {}", at[0], at[1])
    );
    let udp = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let udp = TcpListener::from(OwnedFd::from(udp));
    assert_eq!(refused("127.0.0.1:0", vec![udp]), "it is no TCP socket");
    let folder = tempfile::tempdir().expect("a folder");
    let unix = UnixListener::bind(folder.path().join("socket")).expect("bound");
    let unix = TcpListener::from(OwnedFd::from(unix));
    assert_eq!(refused("127.0.0.1:0", vec![unix]), "it is no TCP socket");
    let file = tempfile::tempfile().expect("a file");
    let file = TcpListener::from(OwnedFd::from(file));
    assert_eq!(refused("127.0.0.1:0", vec![file]), "it is no TCP socket");
    let silent = Socket::new(socket2::Domain::IPV4, Type::STREAM, None).expect("made");
    assert_eq!(
        refused("127.0.0.1:0", vec![silent.into()]),
        "it does not listen"
    );
}

#[test]
fn what_is_refused_is_left_as_it_was() {
    let socket = alone();
    let again = socket.try_clone().expect("cloned");
    SockRef::from(&again).set_cloexec(false).expect("set");
    adopt(&listener("127.0.0.1:1"), vec![socket], 1).expect_err("another address");
    assert!(!SockRef::from(&again).nonblocking().expect("told"));
}
