//! Which servers fail so much oftener than the others.
//!
//! Purpose: a server that fails every third request never fails many in a row.
//! Held against the others it shows: who lies more than so many standard
//! deviations below the mean rate of success is an outlier, as Envoy has it.
//!
//! Invariant: who has too few requests is neither judged nor a measure for
//! others, and with too few of those that have enough nobody is judged.
//!
//! Deliberately absent: what a failure is, and when to look.

use crate::config::SuccessRate;

/// What one server did in an interval.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::proxy::upstream) struct Done {
    pub(in crate::proxy::upstream) requests: u64,
    pub(in crate::proxy::upstream) failures: u64,
}

impl Done {
    /// What came after `before`.
    pub(in crate::proxy::upstream) fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(before.requests),
            failures: self.failures.saturating_sub(before.failures),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 in an interval")]
    fn rate(self) -> f64 {
        1.0 - self.failures as f64 / self.requests as f64
    }
}

/// The outliers among these, by index.
pub(in crate::proxy::upstream) fn outliers(done: &[Done], settings: &SuccessRate) -> Vec<usize> {
    let rates: Vec<_> = done
        .iter()
        .enumerate()
        .filter(|(_, done)| done.requests >= u64::from(settings.requests.max(1)))
        .map(|(index, done)| (index, done.rate()))
        .collect();
    let Ok(count) = u32::try_from(rates.len()) else {
        return Vec::new();
    };
    if count < settings.servers.max(2) {
        return Vec::new();
    }
    let count = f64::from(count);
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let variance = rates
        .iter()
        .map(|(_, rate)| (rate - mean).powi(2))
        .sum::<f64>()
        / count;
    let least = mean - variance.sqrt() * f64::from(settings.deviations) / 100.0;
    let below = rates.into_iter().filter(|(_, rate)| *rate < least);
    below.map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings() -> SuccessRate {
        SuccessRate {
            servers: 5,
            requests: 100,
            deviations: 190,
            ..SuccessRate::default()
        }
    }

    fn done(failures: &[u64]) -> Vec<Done> {
        let done = failures.iter().map(|failures| Done {
            requests: 1000,
            failures: *failures,
        });
        done.collect()
    }

    #[test]
    fn the_one_that_fails_far_oftener_is_found() {
        assert_eq!(outliers(&done(&[0, 10, 0, 5, 300, 0]), &settings()), [4]);
    }

    #[test]
    fn when_all_fail_alike_nobody_is_one() {
        assert!(outliers(&done(&[500; 6]), &settings()).is_empty());
        assert!(outliers(&done(&[0; 6]), &settings()).is_empty());
    }

    #[test]
    fn too_few_servers_or_requests_say_nothing() {
        assert!(outliers(&done(&[0, 0, 0, 1000]), &settings()).is_empty());
        let mut few = done(&[0, 0, 0, 0, 0, 0]);
        few[2] = Done {
            requests: 99,
            failures: 99,
        };
        assert!(outliers(&few, &settings()).is_empty());
    }

    proptest! {
        #[test]
        fn an_outlier_is_worse_than_every_one_that_is_none(
            failures in prop::collection::vec(0_u64..=1000, 0..20),
        ) {
            let done = done(&failures);
            let found = outliers(&done, &settings());
            prop_assert!(found.len() < failures.len().max(1), "never all");
            for (index, failed) in failures.iter().enumerate() {
                if !found.contains(&index) {
                    prop_assert!(found.iter().all(|bad| failures[*bad] > *failed));
                }
            }
        }
    }
}
