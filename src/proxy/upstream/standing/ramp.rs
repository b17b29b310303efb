//! Slow start: a server that came back has its weight only in part.
//!
//! Purpose: caches, pools and compilers of a fresh server are cold; its share
//! grows with time instead of being all there at once.
//!
//! Invariant: the part grows from a tenth to the whole, and never shrinks.
//!
//! Deliberately absent: a clock, and when it came back.

use crate::proxy::upstream::balance::WHOLE;
use std::time::Duration;

/// What a server begins with.
const LEAST: u32 = WHOLE / 10;

/// The part of its weight that counts for a server that serves since `elapsed`,
/// with a slow start of this length.
pub(in crate::proxy::upstream) fn part(elapsed: Duration, length: Duration) -> u32 {
    if elapsed >= length {
        return WHOLE;
    }
    let part = elapsed.as_micros() * u128::from(WHOLE) / length.as_micros();
    u32::try_from(part).unwrap_or(WHOLE).clamp(LEAST, WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn without_a_slow_start_all_counts_at_once() {
        assert_eq!(part(Duration::ZERO, Duration::ZERO), WHOLE);
    }

    #[test]
    fn a_tenth_is_where_it_begins_and_half_is_half() {
        let length = Duration::from_secs(30);
        assert_eq!(part(Duration::ZERO, length), LEAST);
        assert_eq!(part(length / 2, length), WHOLE / 2);
        assert_eq!(part(length, length), WHOLE);
    }

    proptest! {
        #[test]
        fn it_only_grows(one in 0_u64..100_000, other in 0_u64..100_000, length in 0_u64..60_000) {
            let part = |elapsed| part(Duration::from_millis(elapsed), Duration::from_millis(length));
            prop_assert!(part(one.min(other)) <= part(one.max(other)));
            prop_assert!((LEAST..=WHOLE).contains(&part(one)));
        }
    }
}
