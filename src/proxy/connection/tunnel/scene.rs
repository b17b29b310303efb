//! What the tests of tunnels share: an exchange that a test can end.
//!
//! Deliberately absent: sockets. Each test brings the kind that it needs.

use crate::config::Limits;
use crate::drain::{Ledger, Orders, Protocol, Protocols};
use crate::proxy::registry::{ConnectionGuard, Limit, Registry, RequestGuard};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long a test waits for what must come; far beyond what it takes.
const LIMIT: Duration = Duration::from_secs(60);

/// A live table with one connection in it.
#[derive(Debug)]
pub(in crate::proxy::connection) struct Scene {
    pub registry: Arc<Registry>,
    connection: ConnectionGuard,
    protocol: Protocol,
}

impl Scene {
    pub(in crate::proxy::connection) fn new(protocol: Protocol) -> Self {
        let registry = Registry::new();
        let scope = registry.scope("web".into(), Orders::default());
        let connection = registry.enter(&scope, ([127, 0, 0, 1], 9).into());
        connection.set_protocol(protocol);
        Self {
            registry,
            connection,
            protocol,
        }
    }

    pub(in crate::proxy::connection) fn exchange(&self) -> RequestGuard {
        self.connection.begin(self.protocol)
    }

    /// The protocol's deadline comes.
    pub(in crate::proxy::connection) fn farewell(&self) {
        self.publish(Orders {
            farewell: Protocols::EMPTY.with(self.protocol),
            ..Orders::default()
        });
    }

    /// The cut comes.
    pub(in crate::proxy::connection) fn cut(&self) {
        let only = Protocols::EMPTY.with(self.protocol);
        self.publish(Orders {
            farewell: only,
            cut: only,
            ..Orders::default()
        });
    }

    /// Put orders in force.
    pub(in crate::proxy::connection) fn publish(&self, orders: Orders) {
        self.registry.publish(self.connection.scope(), orders);
    }

    /// Another connection.
    pub(in crate::proxy::connection) fn enter(&self) -> ConnectionGuard {
        let scope = self.connection.scope();
        self.registry.enter(scope, ([127, 0, 0, 1], 9).into())
    }

    /// Have these limits hold.
    pub(in crate::proxy::connection) fn limit(&self, limits: &Limits) {
        self.connection.scope().set_tunnels(limits);
    }

    /// How often a limit was reached.
    pub(in crate::proxy::connection) fn limited(&self, limit: Limit) -> u64 {
        self.connection.scope().limited_count(limit)
    }

    /// How the exchanges ended.
    pub(in crate::proxy::connection) fn ledger(&self) -> Ledger {
        self.registry.sums().exchanges[self.protocol as usize]
    }
}

/// Wait for what must come.
pub(in crate::proxy::connection) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future)
        .await
        .expect("it comes in time")
}

/// Wait for a task that must end.
pub(in crate::proxy::connection) async fn ended<T>(task: JoinHandle<T>) -> T {
    soon(task).await.expect("no panic")
}

/// Read so many bytes.
pub(in crate::proxy::connection) async fn read<R>(from: &mut R, length: usize) -> Vec<u8>
where
    R: AsyncRead + Unpin,
{
    let mut bytes = vec![0; length];
    soon(from.read_exact(&mut bytes)).await.expect("bytes");
    bytes
}

/// Read to the end.
pub(in crate::proxy::connection) async fn read_all<R>(from: &mut R) -> Vec<u8>
where
    R: AsyncRead + Unpin,
{
    let mut bytes = Vec::new();
    soon(from.read_to_end(&mut bytes)).await.expect("an end");
    bytes
}

/// Whether there is nothing to read, not even an end.
pub(in crate::proxy::connection) async fn silent<R>(from: &mut R) -> bool
where
    R: AsyncRead + Unpin,
{
    settle().await;
    let mut byte = [0];
    poll_fn(|cx| Poll::Ready(pin!(from.read(&mut byte)).poll(cx).is_pending())).await
}

/// Two ends of a TCP connection.
pub(in crate::proxy::connection) async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.expect("connected"), far.expect("accepted").0)
}

/// Let every task that can run do so many turns.
pub(in crate::proxy::connection) async fn settle() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}
