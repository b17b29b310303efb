//! Outcomes as numbers that grow with how bad they are, so that the worst of
//! several is the greatest.
//!
//! Deliberately absent: where they are kept.

use crate::drain::{CutReason, Farewell, Outcome};

/// The first code of a cut; codes below it are farewells, zero is finished.
const CUT: u8 = 128;

pub(super) fn encode(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Finished => 0,
        Outcome::Farewelled(farewell) => 1 + farewell as u8,
        Outcome::Cut(reason) => CUT + reason as u8,
    }
}

pub(super) fn decode(code: u8) -> Outcome {
    match code {
        0 => Outcome::Finished,
        farewell if farewell < CUT => Farewell::ALL
            .get(usize::from(farewell - 1))
            .map_or(Outcome::Finished, |kind| Outcome::Farewelled(*kind)),
        cut => CutReason::ALL
            .get(usize::from(cut - CUT))
            .map_or(Outcome::Finished, |reason| Outcome::Cut(*reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_survive_the_coding() {
        let all = Farewell::ALL
            .into_iter()
            .map(Outcome::Farewelled)
            .chain(CutReason::ALL.into_iter().map(Outcome::Cut))
            .chain([Outcome::Finished]);
        for outcome in all {
            assert_eq!(decode(encode(outcome)), outcome);
        }
    }
}
