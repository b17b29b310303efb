//! Tunnels: two peers, and bytes that are theirs alone.
//!
//! A [`Tunnel`] is two [`Direction`]s over two sockets in one task. It passes
//! bytes and half-closes until both peers have ended. When its protocol's
//! deadline comes it takes its farewell: each direction is brought to a
//! boundary and told, then both peers have until the cut to leave. What a
//! boundary is depends on the [`Grammar`]; opaque bytes have one everywhere
//! and no last words but the half-close. The same is done to a tunnel through
//! which nothing has passed for `limits.tunnel_idle`: one of its peers may be
//! gone without a word, and nobody would ever know.
//!
//! Invariant: an exchange counts as farewelled only once both peers left. If
//! the cut is ordered before, both sockets are closed at once and it was cut.
//! One that ends for its silence has finished.
//!
//! Deliberately absent: counting bytes (the client's edge does), limits on how
//! slowly they pass, and the connection's own guard, which is the caller's.

mod buffer;
mod direction;
mod stream;

pub(super) use direction::{Grammar, Why};
pub(super) use stream::Stream;

use super::pace::Alarm;
use crate::clock;
use crate::drain::{Doing, Farewell, Outcome, Timestamp};
use crate::proxy::registry::{Limit, RequestGuard, Scope};
use bytes::Bytes;
use direction::Direction;
use std::future::{pending, poll_fn};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long a peer that has said its last words may take to close its socket.
/// Only there so that bytes which crossed ours on the way are read: a close
/// over unread bytes is a reset, and may destroy what was said last.
const LINGER: Duration = Duration::from_millis(250);

/// Bytes that were read from each side before the tunnel began.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Early {
    /// For the server.
    pub from_client: Bytes,
    /// For the client.
    pub from_server: Bytes,
}

/// Relay bytes both ways until both sides have ended, half-closes passed on as
/// they come. Ends earlier by the orders for the exchange's protocol. Both
/// streams are closed when it returns, and the exchange has ended.
pub(in crate::proxy) async fn opaque<D, U>(
    exchange: RequestGuard,
    client: D,
    server: U,
    early: Early,
) where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let tunnel = Tunnel::new(client, server, early, [Opaque, Opaque]);
    tunnel.run(exchange).await;
}

/// How long peers that were told to leave are waited for: without a drain, which
/// cuts them, as long as its farewell may take.
async fn patience(why: Why, scope: &Scope) {
    match why {
        Why::Due => pending().await,
        Why::Idle => tokio::time::sleep(scope.orders().plan.farewell).await,
    }
}

/// The grammar of bytes that mean nothing here.
#[derive(Debug)]
struct Opaque;

impl Grammar for Opaque {
    const TOLD: Farewell = Farewell::HalfClose;

    fn pass(&mut self, _: &[u8]) {}

    fn pass_to_boundary(&mut self, _: &[u8]) -> usize {
        0
    }

    fn at_boundary(&self) -> bool {
        true
    }

    fn closed(&self) -> bool {
        false
    }

    fn last_words(&self, _: Why) -> Option<Bytes> {
        None
    }
}

/// Two sockets and the two ways between them.
#[derive(Debug)]
pub(super) struct Tunnel<D, U, G> {
    client: D,
    server: U,
    /// From the client to the server.
    up: Direction<G>,
    /// From the server to the client.
    down: Direction<G>,
    /// When a byte last came or went.
    moved: Timestamp,
    silence: Alarm,
}

/// How a tunnel has passed all that it will.
enum Passed {
    /// Both peers have ended.
    Ended,
    /// They are silent.
    Idle,
}

impl<D, U, G> Tunnel<D, U, G>
where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
    G: Grammar,
{
    /// The grammars are the client's, then the server's.
    pub(super) fn new(client: D, server: U, early: Early, [up, down]: [G; 2]) -> Self {
        Self {
            client,
            server,
            up: Direction::new(up, early.from_client),
            down: Direction::new(down, early.from_server),
            moved: clock::now(),
            silence: Alarm::default(),
        }
    }

    /// From the first byte to the last, or to the cut.
    pub(super) async fn run(mut self, mut exchange: RequestGuard) {
        exchange.enter(Doing::Tunnel);
        let scope = exchange.record().scope();
        let why = tokio::select! {
            biased;
            () = exchange.due() => Why::Due,
            passed = poll_fn(|cx| self.poll_pass(cx, scope)) => match passed {
                Passed::Idle => Why::Idle,
                Passed::Ended => {
                    exchange.conclude(Outcome::Finished);
                    return;
                }
            },
        };
        if why == Why::Idle {
            scope.limited(Limit::TunnelIdle);
        }
        self.up.part(why);
        self.down.part(why);
        tokio::select! {
            biased;
            // Without a word: that is what the guard takes for a cut.
            () = exchange.cut() => return,
            () = poll_fn(|cx| self.poll_part(cx, Self::left)) => {
                let outcome = match why {
                    Why::Due => self.outcome(),
                    Why::Idle => Outcome::Finished,
                };
                exchange.conclude(outcome);
            }
            () = patience(why, scope) => {
                exchange.conclude(Outcome::Finished);
                return;
            }
        }
        tokio::select! {
            biased;
            () = exchange.cut() => {}
            () = poll_fn(|cx| self.poll_part(cx, Self::closed)) => {}
            () = tokio::time::sleep(LINGER) => {}
        }
    }

    fn poll_pass(&mut self, cx: &mut Context<'_>, scope: &Scope) -> Poll<Passed> {
        let up = self.up.poll_pass(cx, &mut self.client, &mut self.server);
        let down = self.down.poll_pass(cx, &mut self.server, &mut self.client);
        let news = self.learn(cx);
        if up.is_ready() && down.is_ready() && !news {
            return Poll::Ready(Passed::Ended);
        }
        if self.up.take_moved() | self.down.take_moved() {
            self.moved = clock::now();
        }
        let idle = scope.tunnel_idle().map(|idle| (self.moved + idle, ()));
        match self.silence.poll(cx, idle) {
            Some(()) => Poll::Ready(Passed::Idle),
            None => Poll::Pending,
        }
    }

    fn poll_part(&mut self, cx: &mut Context<'_>, done: fn(&Self) -> bool) -> Poll<()> {
        // Both are listened to before either is told, since what is heard on
        // one side decides what is done on the other in the same turn.
        self.up.listen(cx, &mut self.client, &mut self.server);
        self.down.listen(cx, &mut self.server, &mut self.client);
        self.up.tell(cx, &mut self.server, self.down.heard());
        self.down.tell(cx, &mut self.client, self.up.heard());
        let news = self.learn(cx);
        if done(self) && !news {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Let each direction know what the other found out about a peer.
    fn learn(&mut self, cx: &mut Context<'_>) -> bool {
        let up = self.up.learn(&self.down);
        let down = self.down.learn(&self.up);
        if up || down {
            cx.waker().wake_by_ref();
        }
        up || down
    }

    /// Whether both peers were told, and have answered.
    fn left(&self) -> bool {
        [&self.up, &self.down]
            .iter()
            .all(|way| way.sink_done() && way.heard())
    }

    /// Whether both peers have closed their sockets.
    fn closed(&self) -> bool {
        [&self.up, &self.down]
            .iter()
            .all(|way| way.sink_done() && way.source_done())
    }

    /// What the client was told.
    fn outcome(&self) -> Outcome {
        if self.down.spoke() {
            Outcome::Farewelled(G::TOLD)
        } else if self.down.closed() || !self.down.told() {
            // The server had taken its leave itself, or the client was gone
            // before anything could be said to it.
            Outcome::Finished
        } else {
            Outcome::Farewelled(Farewell::HalfClose)
        }
    }
}

#[cfg(test)]
pub(super) mod scene;
#[cfg(test)]
mod tests;
