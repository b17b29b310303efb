//! Inputs that nobody thought of, for whoever reads bytes from outside.
//!
//! [`fuzz`] shows a check every seed of `tests/fuzz/corpus/NAME` as it is, and
//! then mutations of them: as many as asked for, or as many as two seconds
//! have. Each mutation comes of its number alone, so that a failure names all
//! that is needed to see it again; `EBBTIDE_FUZZ_SECONDS` lets a run go on for
//! so long, and `EBBTIDE_SEED` plays one number.
//!
//! An input that failed is left in a file, to become a seed with its mend.
//!
//! Deliberately absent: guidance by coverage (decision 0023). What finds the
//! corners is the seeds: an input that once failed is kept as one.

use fastrand::Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// No input is longer.
const LONGEST: usize = 8192;

/// How long the mutations of a run may take that nobody gave a time.
const USUAL: Duration = Duration::from_secs(2);

/// Check the corpus of this name and up to `runs` mutations of it. What the
/// check draws from its generator, as where it cuts, comes of the same number.
#[track_caller]
pub(crate) fn fuzz(name: &str, runs: u64, check: impl Fn(&[u8], &mut Rng)) {
    let seeds = corpus(name);
    let try_input = |number: u64, input: &[u8]| {
        let mut random = Rng::with_seed(number);
        let held = catch_unwind(AssertUnwindSafe(|| check(input, &mut random)));
        if held.is_err() {
            let kept = keep(name, number, input);
            panic!(
                "{name}: EBBTIDE_SEED={number} fails on b\"{}\", kept in {}",
                input.escape_ascii(),
                kept.display()
            );
        }
    };
    for seed in &seeds {
        for number in 0..(runs / 100).clamp(1, 64) {
            try_input(number, seed);
        }
    }
    let asked = |key: &str| std::env::var(key).ok().and_then(|value| value.parse().ok());
    if let Some(number) = asked("EBBTIDE_SEED") {
        return try_input(number, &mutation(&seeds, number));
    }
    let given = asked("EBBTIDE_FUZZ_SECONDS").map(Duration::from_secs);
    let until = Instant::now() + given.unwrap_or(USUAL);
    let more = |number: u64| Instant::now() < until && (given.is_some() || number < runs);
    for number in (0..).take_while(|number| more(*number)) {
        try_input(number, &mutation(&seeds, number));
    }
}

/// Leave an input where it is found again.
fn keep(name: &str, number: u64, input: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz");
    let file = path.join(format!("{name}-{number}"));
    // The input is told of in any case.
    let _ = std::fs::create_dir_all(&path).and_then(|()| std::fs::write(&file, input));
    file
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
    let read = |file: &PathBuf| std::fs::read(file).expect("a seed");
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
