use super::*;
use proptest::prelude::*;

fn entry() -> impl Strategy<Value = Entry> {
    let fitness = prop_oneof![
        Just(Fitness::Fit),
        Just(Fitness::Doubtful),
        Just(Fitness::Out)
    ];
    (
        fitness,
        any::<bool>(),
        1_u32..=100,
        1_u32..=WHOLE,
        any::<bool>(),
    )
        .prop_map(|(fitness, open, weight, ramp, local)| Entry {
            fitness,
            open,
            weight,
            ramp,
            local,
        })
}

proptest! {
    #[test]
    fn each_is_in_one_tier_unless_it_is_out(
        entries in prop::collection::vec(entry(), 1..20),
        spill in prop::option::of(0_u32..=100),
        panic in 0_u32..=100,
    ) {
        let roster = Roster::draw(&entries, Policy { spill, panic });
        for (index, entry) in entries.iter().enumerate() {
            let places = roster.tiers.iter().flat_map(Tier::places);
            let times = places.filter(|place| place.server == index).count();
            let expected = usize::from(roster.panicking || entry.fitness != Fitness::Out);
            prop_assert_eq!(times, expected);
        }
        prop_assert!(roster.stays <= WHOLE);
        for tier in &roster.tiers {
            let sum: u64 = tier.places().iter().map(|place| place.weight).sum();
            prop_assert_eq!(sum, tier.total());
        }
    }

    #[test]
    fn a_number_falls_on_the_place_whose_part_it_is_in(
        weights in prop::collection::vec(1_u64..50, 1..10),
    ) {
        let tier = Tier::of(weights.iter().copied().enumerate());
        let mut hits = vec![0; weights.len()];
        for number in 0..tier.total() {
            hits[tier.at(number).expect("a place").server] += 1;
        }
        prop_assert_eq!(hits, weights);
        prop_assert!(tier.at(tier.total()).is_none());
    }

    #[test]
    fn the_more_is_fit_here_the_more_stays(
        weights in prop::collection::vec(1_u32..=100, 2..10), spill in 1_u32..=100,
    ) {
        let entry = |weight: &u32| Entry {
            fitness: Fitness::Out, open: true, weight: *weight, ramp: WHOLE, local: true,
        };
        let mut entries: Vec<_> = weights.iter().map(entry).collect();
        entries.push(Entry { fitness: Fitness::Fit, local: false, ..entry(&1) });
        let policy = Policy { spill: Some(spill), panic: 0 };
        let mut before = 0;
        for index in 0..weights.len() {
            prop_assert_eq!(Roster::draw(&entries, policy).stays, before);
            entries[index].fitness = Fitness::Fit;
            let now = Roster::draw(&entries, policy).stays;
            prop_assert!(now >= before);
            before = now;
        }
        prop_assert_eq!(before, WHOLE, "all are fit");
    }
}

#[test]
fn a_drained_server_is_none_that_the_zone_can_count_on() {
    let entry = |open, local| Entry {
        fitness: Fitness::Fit,
        open,
        weight: 1,
        ramp: WHOLE,
        local,
    };
    let policy = Policy {
        spill: Some(100),
        panic: 0,
    };
    let all = [entry(true, true), entry(true, true), entry(true, false)];
    assert_eq!(Roster::draw(&all, policy).stays, WHOLE);
    let one = [entry(true, true), entry(false, true), entry(true, false)];
    assert_eq!(Roster::draw(&one, policy).stays, WHOLE / 2);
    let here = [entry(true, true), entry(false, true)];
    assert_eq!(
        Roster::draw(&here, policy).stays,
        WHOLE,
        "there is no elsewhere"
    );
}
