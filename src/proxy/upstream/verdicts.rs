//! When a server's health changes: so many verdicts in a row.
//!
//! Purpose: one lost packet takes no server out, and one lucky answer brings
//! none back where more is asked for.
//!
//! Invariant: health changes only by `rise` good or `fall` bad verdicts without
//! one of the other kind in between.
//!
//! Deliberately absent: time, and what a verdict was about.

/// The health of one server, and what speaks against it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) struct Verdicts {
    up: bool,
    /// Verdicts in a row that say the opposite.
    against: u32,
}

impl Verdicts {
    /// A server that was up, or not, when it was first looked at.
    pub(super) const fn of(up: bool) -> Self {
        Self { up, against: 0 }
    }

    /// Hear one verdict; the new health, if it changes.
    pub(super) fn hear(&mut self, good: bool, rise: u32, fall: u32) -> Option<bool> {
        if good == self.up {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < if good { rise } else { fall } {
            return None;
        }
        *self = Self::of(good);
        Some(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn health_changes_after_so_many_in_a_row() {
        let mut verdicts = Verdicts::of(true);
        let mut heard = |good| verdicts.hear(good, 2, 3);
        assert_eq!(
            [false, false, true].map(&mut heard),
            [None; 3],
            "not in a row"
        );
        assert_eq!(
            [false, false, false].map(&mut heard),
            [None, None, Some(false)]
        );
        assert_eq!(
            [true, false, true].map(&mut heard),
            [None; 3],
            "not in a row"
        );
        assert_eq!(heard(true), Some(true));
    }

    proptest! {
        #[test]
        fn a_server_that_flaps_faster_than_it_must_fall_stays_up(
            fall in 2_u32..6, bad in prop::collection::vec(1_u32..6, 1..40),
        ) {
            let mut verdicts = Verdicts::of(true);
            for bad in bad {
                for _ in 0..bad.min(fall - 1) {
                    prop_assert_eq!(verdicts.hear(false, 1, fall), None);
                }
                prop_assert_eq!(verdicts.hear(true, 1, fall), None);
            }
        }

        #[test]
        fn every_change_is_the_last_of_its_row(
            rise in 1_u32..5, fall in 1_u32..5, heard in prop::collection::vec(any::<bool>(), 0..200),
        ) {
            let mut verdicts = Verdicts::of(true);
            let mut up = true;
            for (at, good) in heard.iter().enumerate() {
                if let Some(now) = verdicts.hear(*good, rise, fall) {
                    prop_assert_ne!(now, up);
                    up = now;
                    let row = if now { rise } else { fall } as usize;
                    prop_assert!(at + 1 >= row);
                    prop_assert!(heard[at + 1 - row..=at].iter().all(|one| *one == now));
                }
            }
        }
    }
}
