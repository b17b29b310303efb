//! Who is let in: the limits that a connection meets before it has said a word.
//!
//! Each is asked for in one place of the flow, by whoever knows the config in
//! force: the listener after the accept, the handshake once the client is known
//! and before a TLS handshake begins. A limit that a reload lowers concerns
//! who comes from then on.
//!
//! Invariant: what is counted here is uncounted when the connection leaves,
//! whatever became of it.
//!
//! Deliberately absent: a word to the client, and waiting.

use super::crowd::Who;
use super::guard::ConnectionGuard;
use super::limit::Limit;
use super::paced::Pace;
use super::scope::Scope;
use crate::clock;
use crate::config::Limits;
use std::time::Duration;

/// A listener's handshakes that may begin at once after a pause, as the time
/// that they count for.
const BURST: Duration = Duration::from_secs(1);

/// The same of one client: a page, and everybody behind one address, may come
/// back at once.
const CLIENT_BURST: Duration = Duration::from_secs(5);

impl Scope {
    /// How many connections have not been able to carry a request yet.
    #[must_use]
    pub fn half_open(&self) -> usize {
        self.half_open.count()
    }

    /// See that no more are half-open than `most`, 0 being any number: the
    /// oldest are told to leave.
    pub(in crate::proxy) fn hold_half_open(&self, most: usize) {
        if most > 0 && self.half_open.count() > most {
            self.shed_half_open(self.half_open.count() - most, Limit::Handshakes);
        }
    }

    /// Tell the oldest of those who are half-open to leave, for this limit.
    pub(in crate::proxy) fn shed_half_open(&self, number: usize, limit: Limit) {
        for _ in 0..number {
            match self.half_open.oldest() {
                Some(record) => record.shed(limit),
                None => return,
            }
        }
    }
}

impl ConnectionGuard {
    /// Count it as one of its client, who is known by now and may have `most`,
    /// 0 being any number; `false` if that is one too many.
    #[must_use]
    pub(in crate::proxy) fn admit(&self, most: usize) -> bool {
        let Some(who) = Who::at(self.client.address().ip()) else {
            return true;
        };
        let admitted = self.scope().crowd.enter(who, most);
        if admitted {
            // Once for each connection.
            let _ = self.record.counted.set(who);
        }
        admitted
    }

    /// How long its TLS handshake is to wait for its turn, no longer than
    /// `patience`.
    ///
    /// # Errors
    /// The limit for which it gets none.
    pub(in crate::proxy) fn handshake_turn(
        &self,
        limits: &Limits,
        patience: Duration,
    ) -> Result<Duration, Limit> {
        let (scope, now) = (self.scope(), clock::now());
        let mut wait = Duration::ZERO;
        if let Some(who) = Who::at(self.client.address().ip()) {
            let pace = Pace {
                rate: limits.client_handshake_rate,
                burst: CLIENT_BURST,
            };
            let turn = scope.client_turns.of(who).take(now, pace, patience);
            wait = turn.ok_or(Limit::ClientHandshakeRate)?;
            if !wait.is_zero() {
                scope.limited(Limit::ClientHandshakeRate);
            }
        }
        let pace = Pace {
            rate: limits.handshake_rate,
            burst: BURST,
        };
        let turn = scope.turns.take(now, pace, patience);
        let turn = turn.ok_or(Limit::HandshakeRate)?;
        if !turn.is_zero() {
            scope.limited(Limit::HandshakeRate);
        }
        Ok(wait.max(turn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Orders;
    use crate::proxy::registry::Registry;

    #[test]
    fn a_client_is_uncounted_when_its_connection_leaves() {
        let registry = Registry::new();
        let scope = registry.scope("web".into(), Orders::default());
        let enter = || registry.enter(&scope, ([192, 0, 2, 7], 9).into());
        let (one, other) = (enter(), enter());
        assert!(one.admit(1));
        assert!(!other.admit(1));
        drop(other);
        assert_eq!(scope.crowd.clients(), 1);
        assert!(!enter().admit(1), "one is there still");
        drop(one);
        assert_eq!(scope.crowd.clients(), 0);
        assert!(enter().admit(1));
    }

    #[test]
    fn one_client_waits_for_its_own_turns_only() {
        let registry = Registry::new();
        let scope = registry.scope("web".into(), Orders::default());
        let enter = |last| registry.enter(&scope, ([192, 0, 2, last], 9).into());
        let limits = Limits {
            client_handshake_rate: 1,
            handshake_rate: 0,
            ..Limits::default()
        };
        let turn = |last| enter(last).handshake_turn(&limits, Duration::from_secs(2));
        let turns: Vec<_> = (0..20).map(|_| turn(7)).collect();
        let refused = turns.iter().filter(|turn| turn.is_err()).count();
        assert_eq!(turns.last(), Some(&Err(Limit::ClientHandshakeRate)));
        assert!(refused >= 11, "{turns:?}");
        assert_eq!(turn(8), Ok(Duration::ZERO));
        let held_up = scope.limited_count(Limit::ClientHandshakeRate);
        assert!(held_up >= 1);
        let here = registry.enter(&scope, ([127, 0, 0, 1], 9).into());
        for _ in 0..100 {
            let turn = here.handshake_turn(&limits, Duration::ZERO);
            assert_eq!(turn, Ok(Duration::ZERO));
        }
    }
}
