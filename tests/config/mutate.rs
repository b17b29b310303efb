//! Whatever stands in a file, reading it ends in a model or in a report that
//! can be drawn. A failing seed is printed; `EBBTIDE_SEED` replays it.

use crate::fixture::{Fixture, repository_text};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// splitmix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).expect("below a usize")
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Reads `text` and draws the report; what must hold of any text is held.
fn try_text(fixture: &Fixture, text: &str) {
    let Err(report) = fixture.read("full.toml", text.as_bytes()) else {
        return;
    };
    assert!(report.len() >= 1);
    let drawn = report.to_string();
    assert!(drawn.matches("error: ").count() >= report.len(), "{drawn}");
    for problem in &report {
        assert!(!problem.message().is_empty());
        assert!(
            problem.span().is_none_or(|span| text.get(span).is_some()),
            "{problem:?}"
        );
    }
}

#[test]
fn a_file_cut_anywhere_is_survived() {
    let fixture = Fixture::new();
    let full = repository_text("conf/full.toml");
    for end in (0..full.len())
        .step_by(7)
        .filter(|end| full.is_char_boundary(*end))
    {
        try_text(&fixture, &full[..end]);
    }
}

const VALUES: [&str; 16] = [
    "\"\"",
    "0",
    "-1",
    "1.5",
    "true",
    "[]",
    "{}",
    "[1, \"a\"]",
    "\"é\"",
    "\"*\"",
    "1979-05-27",
    "\"unix:\"",
    "\"a\\u0000b\\nc\"",
    "99999999999999999999",
    "[[[]]]",
    "\"0s\"",
];

/// One change of a line or of a character.
fn mutate(random: &mut Random, text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = random.below(lines.len());
    let other = random.below(lines.len());
    let value = random.pick(&VALUES);
    match random.below(7) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(other, lines[at].clone()),
        2 => lines.swap(at, other),
        3 => {
            if let Some((key, _)) = lines[at].split_once('=') {
                lines[at] = format!("{key}= {value}");
            }
        }
        4 => {
            if let Some((_, rest)) = lines[at].split_once('=') {
                lines[at] = format!(
                    "{} ={rest}",
                    random.pick(&["lisen", "\"\"", "a.b", "é", "tls"])
                );
            }
        }
        _ => {
            let mut letters: Vec<char> = lines[at].chars().collect();
            let letter = random.pick(&[
                "\"", "[", "}", "=", "\\", "\t", "\u{0}", "é", "🦀", "7", ".", "#", "\r",
            ]);
            let place = random.below(letters.len() + 1);
            if place < letters.len() && random.below(2) == 0 {
                letters.remove(place);
            }
            letters.splice(place..place, letter.chars());
            lines[at] = letters.into_iter().collect();
        }
    }
    lines.join("\n")
}

#[test]
fn a_file_changed_anyhow_is_survived() {
    let fixture = Fixture::new();
    let full = repository_text("conf/full.toml");
    let replayed = std::env::var("EBBTIDE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seeds = replayed.map_or(0..1_500_u64, |seed| seed..seed + 1);
    for seed in seeds {
        let mut random = Random(seed);
        let mut text = full.clone();
        for _ in 0..=random.below(4) {
            text = mutate(&mut random, &text);
        }
        let survived = catch_unwind(AssertUnwindSafe(|| try_text(&fixture, &text)));
        assert!(survived.is_ok(), "seed {seed} fails on:\n{text}");
    }
}
