//! An exchange on a second server, beside the one that it is on.
//!
//! Purpose: for as long as a request is at two servers, it is in flight on both:
//! drains count it, and so does who chooses a server; and it has two seats at its
//! upstream. The exchange is one all the same, and obeys the orders of the server
//! that it boarded.
//!
//! Invariant: counted from the making to the drop, or to the moment in which the
//! exchange changes over, which is the same moment for both servers.
//!
//! Deliberately absent: orders of the second server. Who is there beside is not
//! needed, and leaves as soon as that server is not open any more.

use super::berth::{Gate, Mooring};
use super::guard::RequestGuard;
use super::seats::Seat;
use crate::drain::{Outcome, Protocol};
use std::future::pending;
use std::sync::Arc;

/// A stay on a second server.
#[derive(Debug)]
pub struct Beside {
    mooring: Option<Arc<Mooring>>,
    protocol: Protocol,
    /// Free again when all else is over.
    _seat: Seat,
}

impl RequestGuard {
    /// Be on this server too, by this seat; `None` if it takes none.
    #[must_use]
    pub fn board_beside(&self, mooring: &Arc<Mooring>, seat: Seat) -> Option<Beside> {
        let protocol = self.protocol();
        let open = mooring.gate() == Gate::Open && mooring.enter(protocol);
        open.then(|| Beside {
            mooring: Some(Arc::clone(mooring)),
            protocol,
            _seat: seat,
        })
    }

    /// Be on the second server alone from now on.
    pub fn change_over(&self, mut beside: Beside) {
        if let Some(mooring) = beside.mooring.take() {
            self.move_to(mooring);
        }
    }
}

impl Beside {
    /// Wait until its server takes no more exchanges.
    pub async fn unwelcome(&self) {
        let Some(mooring) = &self.mooring else {
            return pending().await;
        };
        // Before the look, or a turn between the two goes unnoticed.
        let mut turns = mooring.turns();
        while mooring.gate() == Gate::Open {
            if turns.changed().await.is_err() {
                return pending().await;
            }
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(mooring) = self.mooring.take() {
            mooring.exit(self.protocol, Outcome::Finished, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Orders;
    use crate::proxy::registry::{Registry, RequestGuard, Row, SeatLimits, Seats};
    use std::time::Duration;

    /// Two seats.
    fn row() -> (Arc<Seats>, Arc<Row>) {
        let seats = Seats::new("site".into());
        seats.set(&SeatLimits {
            requests: 2,
            share: 0,
            queue: 0,
            queue_time: Duration::ZERO,
            adaptive: None,
        });
        let row = Row::new(&seats);
        (seats, row)
    }

    fn exchange() -> (Arc<Registry>, [Arc<Mooring>; 2], RequestGuard) {
        let registry = Registry::new();
        let scope = registry.scope("web".into(), Orders::default());
        let guard = registry.enter(&scope, ([127, 0, 0, 1], 9).into());
        let exchange = guard.begin(Protocol::Http2);
        let berth = |server: &str| Mooring::new(&registry.berth(&"site".into(), &server.into()));
        let moorings = ["one", "two"].map(berth);
        drop(guard);
        (registry, moorings, exchange)
    }

    fn in_flight(moorings: &[Arc<Mooring>; 2]) -> [u64; 2] {
        let each = |one: &Arc<Mooring>| {
            assert_eq!(one.in_flight(), one.aboard());
            one.in_flight()
        };
        [each(&moorings[0]), each(&moorings[1])]
    }

    #[test]
    fn who_is_on_two_servers_is_in_flight_on_both_and_then_on_one() {
        let (_registry, moorings, exchange) = exchange();
        let (seats, row) = row();
        assert!(exchange.take_seat(&row, true).expect("it is free"));
        let beside = || {
            let seat = row.spare(true).expect("it is free");
            let beside = exchange.board_beside(&moorings[1], seat);
            beside.expect("it is open")
        };
        assert!(exchange.board(&moorings[0]));
        let first = beside();
        assert_eq!((in_flight(&moorings), seats.in_flight()), ([1, 1], 2));
        assert!(row.spare(true).is_none(), "there are but two");
        drop(first);
        assert_eq!((in_flight(&moorings), seats.in_flight()), ([1, 0], 1));
        exchange.change_over(beside());
        assert_eq!((in_flight(&moorings), seats.in_flight()), ([0, 1], 1));
        drop(exchange);
        assert_eq!((in_flight(&moorings), seats.in_flight()), ([0, 0], 0));
        assert_eq!(seats.refused_in_all(), 0);
    }

    #[tokio::test]
    async fn who_is_beside_leaves_when_that_server_is_drained() {
        let (_registry, moorings, exchange) = exchange();
        let (_seats, row) = row();
        let seat = || row.spare(true).expect("it is free");
        assert!(exchange.board(&moorings[0]));
        let beside = exchange.board_beside(&moorings[1], seat());
        let beside = beside.expect("it is open");
        let (left, ()) = tokio::join!(
            async {
                beside.unwelcome().await;
                drop(beside);
            },
            async { moorings[1].shut() }
        );
        let () = left;
        assert_eq!(in_flight(&moorings), [1, 0]);
        assert!(exchange.board_beside(&moorings[1], seat()).is_none());
    }
}
