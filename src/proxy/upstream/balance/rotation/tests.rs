use super::super::roster::{Entry, Fitness, Policy, Roster};
use super::*;
use proptest::prelude::*;

fn roster(weights: &[u32]) -> Roster {
    let entries = weights.iter().map(|weight| Entry {
        fitness: Fitness::Fit,
        open: true,
        weight: *weight,
        ramp: WHOLE,
        local: false,
    });
    Roster::draw(&entries.collect::<Vec<_>>(), Policy::default())
}

proptest! {
    #[test]
    fn after_a_whole_cycle_each_has_had_its_exact_share(
        weights in prop::collection::vec(1_u32..8, 1..8),
    ) {
        let roster = roster(&weights);
        let rotation = Rotation::new(weights.len(), 0);
        let cycle: u32 = weights.iter().sum();
        let mut shares = vec![0; weights.len()];
        for _ in 0..cycle {
            shares[rotation.next((0, &roster.tiers[0]), |_| true).expect("one")] += 1;
        }
        if weights.windows(2).any(|two| two[0] != two[1]) {
            prop_assert_eq!(shares, weights);
        }
    }

    #[test]
    fn nobody_is_far_from_its_share_at_any_moment(
        weights in prop::collection::vec(1_u32..20, 2..8), choices in 1_usize..200,
    ) {
        let roster = roster(&weights);
        let rotation = Rotation::new(weights.len(), 0);
        let total: u32 = weights.iter().sum();
        let mut shares = vec![0_u32; weights.len()];
        for chosen in 1..=choices {
            shares[rotation.next((0, &roster.tiers[0]), |_| true).expect("one")] += 1;
            for (share, weight) in shares.iter().zip(&weights) {
                let due = f64::from(u32::try_from(chosen).expect("few")) * f64::from(*weight)
                    / f64::from(total);
                let most = f64::from(u32::try_from(weights.len()).expect("few"));
                prop_assert!((f64::from(*share) - due).abs() < most);
            }
        }
    }

    #[test]
    fn weights_that_change_on_the_way_take_effect_at_once(
        first in prop::collection::vec(1_u32..20, 3), second in prop::collection::vec(1_u32..20, 3),
        before in 0_usize..50,
    ) {
        let rotation = Rotation::new(3, 0);
        let (old, new) = (roster(&first), roster(&second));
        for _ in 0..before {
            rotation.next((0, &old.tiers[0]), |_| true);
        }
        let mut shares = [0_u32; 3];
        for _ in 0..10 * second.iter().sum::<u32>() {
            shares[rotation.next((0, &new.tiers[0]), |_| true).expect("one")] += 1;
        }
        for (share, weight) in shares.iter().zip(&second) {
            // What the old weights had left is at most a round of theirs.
            prop_assert!(share.abs_diff(10 * weight) <= 3 + 20, "{shares:?} of {second:?}");
        }
    }
}

proptest! {
    #[test]
    fn among_many_nobody_is_far_from_its_share_either(
        weights in prop::collection::vec(1_u32..20, FEW + 1..100), skip in 0_usize..4,
    ) {
        let roster = roster(&weights);
        let rotation = Rotation::new(weights.len(), skip);
        let total: u32 = weights.iter().sum();
        let mut shares = vec![0_u32; weights.len()];
        for _ in 0..total {
            shares[rotation.next((0, &roster.tiers[0]), |_| true).expect("one")] += 1;
        }
        for (share, weight) in shares.iter().zip(&weights) {
            prop_assert!(share.abs_diff(*weight) <= 6, "{share} of {weight}");
        }
    }

    #[test]
    fn among_many_who_is_passed_over_leaves_its_turns_to_all(
        weights in prop::collection::vec(1_u32..20, FEW + 1..100), out in any::<u64>(),
    ) {
        let roster = roster(&weights);
        let rotation = Rotation::new(weights.len(), 0);
        let may = |server: usize| out >> (server % 64) & 1 == 0;
        let left: u32 = (0..weights.len()).filter(|one| may(*one)).map(|one| weights[one]).sum();
        prop_assume!(left > 0);
        let mut shares = vec![0_u32; weights.len()];
        for _ in 0..10 * left {
            let chosen = rotation.next((0, &roster.tiers[0]), may).expect("one");
            prop_assert!(may(chosen));
            shares[chosen] += 1;
        }
        if left * 2 > weights.iter().sum() {
            for (server, share) in shares.iter().enumerate().filter(|(one, _)| may(*one)) {
                let due = 10 * weights[server];
                prop_assert!(share.abs_diff(due) <= 60 + due / 4, "{share} of {due}");
            }
        }
    }
}

#[test]
fn a_part_of_all_stays_in_the_zone() {
    let rotation = Rotation::new(1, 0);
    let stayed = (0..1000).filter(|_| rotation.stays(250)).count();
    assert_eq!(stayed, 250);
    assert!((0..10).all(|_| rotation.stays(WHOLE)));
    assert!((0..10).all(|_| !rotation.stays(0)));
}
