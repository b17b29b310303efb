//! Inputs that nobody thought of, for whoever reads bytes from outside.
//!
//! [`fuzz`] shows a check every seed of `tests/fuzz/corpus/NAME` as it is, and
//! then as many mutations of them as asked for. Each mutation comes of its
//! number alone, so that a run is the same everywhere and a failure names all
//! that is needed to see it again; `EBBTIDE_FUZZ_SECONDS` lets it go on for so
//! long, and `EBBTIDE_SEED` plays one number.
//!
//! Deliberately absent: guidance by coverage, which needs an instrumented
//! build. What finds the corners is the seeds: an input that once failed is
//! kept as one.

use fastrand::Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// No input is longer.
const LONGEST: usize = 8192;

/// Check the corpus of this name and `runs` mutations of it. What the check
/// draws from its generator, as where it cuts, comes of the same number.
#[track_caller]
pub(crate) fn fuzz(name: &str, runs: u64, check: impl Fn(&[u8], &mut Rng)) {
    let seeds = corpus(name);
    let try_input = |number: u64, input: &[u8]| {
        let mut random = Rng::with_seed(number);
        let held = catch_unwind(AssertUnwindSafe(|| check(input, &mut random)));
        assert!(
            held.is_ok(),
            "{name}: EBBTIDE_SEED={number} fails on b\"{}\"",
            input.escape_ascii()
        );
    };
    for seed in &seeds {
        for number in 0..64 {
            try_input(number, seed);
        }
    }
    let asked = |key: &str| std::env::var(key).ok().and_then(|value| value.parse().ok());
    if let Some(number) = asked("EBBTIDE_SEED") {
        return try_input(number, &mutation(&seeds, number));
    }
    let until =
        asked("EBBTIDE_FUZZ_SECONDS").map(|secs| Instant::now() + Duration::from_secs(secs));
    let more = |number: u64| number < runs || until.is_some_and(|until| Instant::now() < until);
    for number in (0..).take_while(|number| more(*number)) {
        try_input(number, &mutation(&seeds, number));
    }
}

/// Where to cut an input of this length, in order, its end included: now byte
/// by byte, now in a few pieces.
pub(crate) fn cuts(random: &mut Rng, length: usize) -> Vec<usize> {
    if random.u8(..4) == 0 {
        return (1..=length).collect();
    }
    let mut cuts: Vec<_> = (0..random.usize(..6))
        .map(|_| random.usize(..=length))
        .collect();
    cuts.push(length);
    cuts.sort_unstable();
    cuts
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let entries = std::fs::read_dir(path.join(name)).expect(name);
    let mut files: Vec<_> = entries.map(|entry| entry.expect(name).path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has no seeds");
    let read = |file: &std::path::PathBuf| std::fs::read(file).expect("a seed");
    files.iter().map(read).collect()
}

fn mutation(seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    let random = &mut Rng::with_seed(number);
    let mut input = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(1..6) {
        let other = &seeds[random.usize(..seeds.len())];
        mutate(random, &mut input, other);
    }
    input.truncate(LONGEST);
    input
}

/// A part of these bytes, short as a rule.
fn part(random: &mut Rng, length: usize) -> std::ops::Range<usize> {
    let start = random.usize(..=length);
    let most = if random.bool() { 4 } else { length };
    start..(start + random.usize(..=most)).min(length)
}

/// One change: a byte, a part of it or of another seed, or its end.
fn mutate(random: &mut Rng, input: &mut Vec<u8>, other: &[u8]) {
    let telling = b"\r\n\0\t :;=,\"\\_-09afxX/#\x7f\x80\xff";
    let at = random.usize(..=input.len());
    match random.u8(..9) {
        0 => drop(input.drain(part(random, input.len()))),
        1 => {
            let again = input[part(random, input.len())].to_vec();
            input.splice(at..at, again);
        }
        2 => drop(input.splice(at..at, other[part(random, other.len())].iter().copied())),
        3 => input.insert(at, telling[random.usize(..telling.len())]),
        4 => input.insert(at, random.u8(..)),
        5 => input.truncate(at),
        6 => input.extend_from_slice(other),
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte = match random.u8(..4) {
                    0 => telling[random.usize(..telling.len())],
                    1 => *byte ^ (1 << random.u8(..8)),
                    2 => byte.wrapping_add(1),
                    _ => random.u8(..),
                };
            }
        }
    }
}
