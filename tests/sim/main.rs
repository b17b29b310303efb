//! Drains simulated from seeds: the whole pure core, a shell with a virtual
//! clock, operators who change their minds, and clients that behave, dawdle,
//! race, ignore, attack, and stay half-open.
//!
//! A seed determines everything, so a failure is replayed by
//! `EBBTIDE_SEED=<seed> cargo test --test sim`. `EBBTIDE_SEEDS` says how many
//! seeds to run, on all cores; `make soak` runs a million. That each invariant
//! can be violated at all is tested too, by shells with one fault each.
//!
//! Deliberately absent: sockets and time. What real ones do is for the
//! end-to-end tests.

mod books;
mod connection;
mod course;
mod history;
mod invariants;
mod judge;
mod post;
mod rng;
mod sabotage;
mod script;
mod seen;
mod soak;
mod world;

use sabotage::Sabotage;
use seen::Seen;
use world::World;

/// What `make test` runs.
const SEEDS: u64 = 1_000;
/// So often each thing must have been seen, or it proves nothing.
const OFTEN: usize = 10;

/// Live through a seed and judge it.
fn judge(seed: u64, tally: &mut Seen) {
    let world = World::run(seed, Sabotage::None, false);
    match invariants::check(&world) {
        Ok(judge) => tally.add(&world, &judge),
        Err(violation) => {
            let again = World::run(seed, Sabotage::None, true);
            let trace = again.trace().join("\n");
            panic!(
                "seed {seed}: {violation}\n{:#?}\n{:#?}\n{trace}\n\
                 seed {seed}: {violation}\nreplay: EBBTIDE_SEED={seed} cargo test --test sim",
                again.script.plan, again.script.listeners
            );
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

#[test]
fn every_seed_keeps_the_invariants() {
    if let Some(seed) = number("EBBTIDE_SEED") {
        judge(seed, &mut Seen::default());
        return;
    }
    let seen = soak::run(number("EBBTIDE_SEEDS").unwrap_or(SEEDS));
    let rare = seen.rarer_than(OFTEN);
    assert!(rare.is_empty(), "too seldom to prove anything: {rare:?}");
}

#[test]
fn a_seed_determines_everything() {
    for seed in [0, 7, 4_711] {
        let once = World::run(seed, Sabotage::None, true);
        let again = World::run(seed, Sabotage::None, true);
        assert_eq!(once.trace(), again.trace());
        assert!(!once.trace().is_empty());
    }
}

#[test]
fn every_fault_of_a_shell_is_found() {
    for (fault, found) in Sabotage::FOUND {
        let mut others = Vec::new();
        let hit = (0..SEEDS).any(|seed| {
            let world = World::run(seed, fault, false);
            let violation = invariants::check(&world).err().unwrap_or_default();
            let hit = violation.contains(found);
            if !violation.is_empty() && others.len() < 3 {
                others.push(violation);
            }
            hit
        });
        assert!(hit, "{fault:?} goes unnoticed, but for {others:#?}");
    }
}
