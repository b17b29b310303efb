//! The house rules that a compiler does not know, held as an ordinary test:
//! floors, words, lengths, the one reader of time.
//!
//! Each check says every offence with file and line. Each is itself tested on
//! a sample that offends, so that a check which finds nothing is not one that
//! can find nothing.

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/proofs.rs"]
mod proofs;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

use imports::{Import, imports, module_of};
use source::{Source, block_end, line_of, product, read};

/// The modules of the crate from the ground up: each imports only what stands
/// before it. The number is the floor.
const FLOORS: &[(&str, u8)] = &[
    ("drain", 0),
    ("clock", 1),
    ("config", 1),
    ("control", 1),
    ("telemetry", 1),
    ("proxy", 2),
    ("admin", 3),
    ("process", 4),
    ("cli", 5),
];

/// The stations of the flow inside `proxy`, last first: each imports only what
/// stands before it.
const FLOW: &[&str] = &["upstream", "request", "connection", "handshake", "listener"];

/// What stands beside the flow: every station reports to it or speaks in it,
/// and it knows none of them.
const BESIDE: &[&str] = &["error", "body", "trickle", "registry"];

/// What floor 0 must not know of: it is handed time and events.
const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "std::io",
    "std::thread",
    "std::env",
    "std::process",
    "Instant",
    "SystemTime",
    "fastrand",
];

const LONGEST_FUNCTION: usize = 70;
const LONGEST_FILE: usize = 500;
const SHORTEST_OPENING: usize = 3;

#[track_caller]
fn none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

fn sample(path: &str, text: &str) -> Source {
    Source {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

// Floors

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|(name, _)| *name == module)
}

/// Why a file of `home` must not import `to`, if so.
fn forbidden(home: &[String], to: &[String]) -> Option<String> {
    let (from, into) = (home.first()?, to.first()?);
    if from != into {
        let into_floor = floor(into)?;
        let Some(from_floor) = floor(from) else {
            return Some(format!("`{from}` has no floor: give it one in FLOORS"));
        };
        return (into_floor >= from_floor)
            .then(|| format!("`{from}` must not import `{into}`, which stands above it"));
    }
    if from != "proxy" {
        return None;
    }
    let (from, into) = (home.get(1)?, to.get(1)?);
    let station = |name: &String| FLOW.iter().position(|one| one == name);
    if from == into || !into.starts_with(char::is_lowercase) || BESIDE.contains(&into.as_str()) {
        return None;
    }
    match (station(from), station(into)) {
        (Some(from), Some(into)) if into < from => None,
        (_, None) => Some(format!(
            "`proxy::{into}` has no place: give it one in FLOW or BESIDE"
        )),
        _ => Some(format!(
            "`proxy::{from}` must not import `proxy::{into}`: the flow goes the other way"
        )),
    }
}

fn floor_offences(source: &Source) -> Vec<String> {
    let home = module_of(&source.path);
    // The crate's root may name every module; it declares them.
    if home.is_empty() {
        return Vec::new();
    }
    let code = source.product_code();
    let mut offences: Vec<String> = imports(&source.path, &code)
        .into_iter()
        .filter_map(|Import { segments, line }| {
            let why = forbidden(&home, &segments)?;
            Some(format!("{}:{line}: {why}", source.path))
        })
        .collect();
    if home.first().is_some_and(|module| module == "drain") {
        for word in IMPURE {
            let hits = code
                .match_indices(word)
                .filter(|(at, _)| whole(&code, *at, word));
            offences.extend(hits.map(|(at, _)| {
                format!(
                    "{}:{}: floor 0 is pure: no {word}",
                    source.path,
                    line_of(&code, at)
                )
            }));
        }
    }
    offences
}

fn whole(code: &str, at: usize, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    !code[..at].ends_with(part) && !code[at + word.len()..].starts_with(part)
}

#[test]
fn modules_import_lower_floors_only() {
    none(
        &product()
            .iter()
            .flat_map(floor_offences)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn an_import_of_a_higher_floor_is_found() {
    let offends = |path: &str, text: &str| !floor_offences(&sample(path, text)).is_empty();
    assert!(offends("src/drain/plan.rs", "use crate::config::Config;"));
    assert!(offends(
        "src/config/mod.rs",
        "use crate::{drain::Plan, proxy::{self, body}};"
    ));
    assert!(offends(
        "src/config/mod.rs",
        "fn f() { crate::cli::demo::run(); }"
    ));
    assert!(offends("src/drain/mod.rs", "use super::clock;"));
    assert!(offends("src/drain/plan.rs", "use tokio::time::sleep;"));
    assert!(offends(
        "src/proxy/upstream/pool.rs",
        "use super::super::request::Route;"
    ));
    assert!(offends(
        "src/proxy/registry/mod.rs",
        "use crate::proxy::connection::http1;"
    ));
    assert!(offends(
        "src/proxy/upstream.rs",
        "mod inner { use super::super::listener; }"
    ));
    assert!(!offends(
        "src/proxy/upstream/pool.rs",
        "use super::super::body::Body; use crate::proxy::Error;"
    ));
    assert!(!offends(
        "src/proxy/listener.rs",
        "use super::{handshake, registry::Registry}; // crate::cli"
    ));
    assert!(!offends(
        "src/drain/plan.rs",
        "#[cfg(test)] mod tests { use crate::clock; }"
    ));
    assert!(!offends(
        "src/cli/run.rs",
        "pub(crate) fn f(at: crate::drain::Timestamp) { crate::process::run() }"
    ));
}

// Words

fn word_offences(source: &Source) -> Vec<String> {
    let lines = source.text.lines().enumerate();
    lines
        .flat_map(|(number, line)| {
            words::offences(&source.path, line)
                .into_iter()
                .map(move |banned| {
                    let words = banned.words.join(" ");
                    format!(
                        "{}:{}: `{words}` is not our word; write {}",
                        source.path,
                        number + 1,
                        banned.instead
                    )
                })
        })
        .collect()
}

#[test]
fn banned_words_stand_nowhere() {
    let sources = read(&[
        "src",
        "docs",
        "conf",
        "benches",
        "README.md",
        "CHANGELOG.md",
    ]);
    none(&sources.iter().flat_map(word_offences).collect::<Vec<_>>());
}

#[test]
fn a_banned_word_is_found() {
    let offends = |text: &str| !word_offences(&sample("src/proxy/mod.rs", text)).is_empty();
    assert!(offends("fn begin_graceful_shutdown() {}"));
    assert!(offends("struct GracefulShutdown;"));
    assert!(offends("// three sessions are left"));
    assert!(offends("/// Aborts the request."));
    assert!(!offends("connection.graceful_shutdown();"));
    assert!(!offends("handle.abort();"));
    assert!(!offends("// obsession, restarted"));
}

// Lengths

/// Where a function's body opens, or the `;` of one without.
fn body(signature: &str) -> Option<usize> {
    let mut depth = 0_usize;
    signature.find(|c| {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && matches!(c, '{' | ';')
    })
}

fn function_lengths(source: &Source) -> Vec<(String, usize, usize)> {
    let code = source.code();
    let starts = code
        .match_indices("fn ")
        .filter(|(at, _)| whole(&code, *at, "fn"));
    starts
        .filter_map(|(at, _)| {
            let rest = &code[at + 3..];
            let name: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let open = body(rest)?;
            if name.is_empty() || rest[open..].starts_with(';') {
                return None;
            }
            let end = block_end(&code, at + 3 + open);
            let (first, last) = (line_of(&code, at), line_of(&code, end));
            Some((name, first, last + 1 - first))
        })
        .collect()
}

#[test]
fn functions_are_short() {
    let sources = read(&["src", "tests", "benches"]);
    let rust = sources.iter().filter(|source| source.is_rust());
    let offences: Vec<String> = rust
        .flat_map(|source| {
            let long = function_lengths(source)
                .into_iter()
                .filter(|(.., lines)| *lines > LONGEST_FUNCTION);
            long.map(|(name, line, lines)| {
                format!("{}:{line}: fn {name} has {lines} lines", source.path)
            })
        })
        .collect();
    none(&offences);
}

#[test]
fn a_function_is_measured_from_its_name_to_its_brace() {
    let text = "fn one(a: [u8; 2])\nwhere\n    (): Sized,\n{\n    let _ = \"}\"; // }\n    if true {}\n}\ntrait T { fn two(); }\n";
    let lengths = function_lengths(&sample("src/lib.rs", text));
    assert_eq!(lengths, [("one".to_owned(), 1, 7)]);
}

#[test]
fn files_are_short() {
    let offences: Vec<String> = read(&["src", "tests", "benches"])
        .iter()
        .filter(|source| source.is_rust())
        .filter_map(|source| {
            let lines = source.text.lines().count();
            (lines > LONGEST_FILE).then(|| format!("{}: {lines} lines", source.path))
        })
        .collect();
    none(&offences);
}

#[test]
fn every_module_opens_with_what_it_is_for() {
    let offences: Vec<String> = product()
        .iter()
        .filter_map(|source| {
            let lines = source
                .text
                .lines()
                .take_while(|line| line.starts_with("//!"))
                .count();
            (lines < SHORTEST_OPENING)
                .then(|| format!("{}: opens with {lines} lines of //!", source.path))
        })
        .collect();
    none(&offences);
}

// Proofs

#[test]
fn the_tests_that_the_docs_name_are_there() {
    let page = read(&["docs/testing.md"]);
    let file = |path: &str| read(&[path]).pop().map(|source| source.text);
    let offences = page.iter().map(|page| proofs::offences(&page.text, file));
    let offences: Vec<_> = offences.flatten().collect();
    assert_eq!(page.len(), 1);
    none(&offences);
}

#[test]
fn a_test_that_is_missing_is_found() {
    let code = "#[tokio::test]\nasync fn here() {}\nfn helper() {}\n";
    let file = |path: &str| (path == "tests/e2e/a.rs").then(|| code.to_owned());
    let row = |stage: &str, cell: &str| format!("| {stage} |{}\n", format!(" {cell} |").repeat(6));
    let page = |cell: &str| {
        let stages = ["announce", "refuse", "retire", "finish", "farewell", "cut"];
        stages.map(|stage| row(stage, cell)).concat()
    };
    let offends = |text: &str| !proofs::offences(text, file).is_empty();
    let good = page("[`a.rs::here`](../tests/e2e/a.rs)");
    assert_eq!(proofs::offences(&good, file), [""; 0]);
    assert!(offends(&page("[`a.rs::helper`](../tests/e2e/a.rs)")));
    assert!(offends(&page("[`b.rs::here`](../tests/e2e/b.rs)")));
    assert!(offends(&page("[`b.rs::here`](../tests/e2e/a.rs)")));
    assert!(offends(&page("-")));
    assert!(offends(&good.replace("| cut |", "| cut | - |").replace(
        "cut | - | [`a.rs::here`](../tests/e2e/a.rs)",
        "cut | -"
    )));
}

// Time, panics, stubs

/// Every place in `code` where one of `needles` stands.
fn mentions(path: &str, code: &str, needles: &[&str], why: &str) -> Vec<String> {
    needles
        .iter()
        .flat_map(|needle| code.match_indices(needle))
        .map(|(at, needle)| format!("{path}:{}: {needle}: {why}", line_of(code, at)))
        .collect()
}

#[test]
fn the_clock_alone_reads_the_time() {
    let needles = ["Instant::now", "SystemTime::now", "UNIX_EPOCH.elapsed"];
    let sources = read(&["src"]);
    let others = sources
        .iter()
        .filter(|source| source.is_rust() && source.path != "src/clock.rs");
    let offences =
        others.flat_map(|source| mentions(&source.path, &source.code(), &needles, "ask `clock`"));
    none(&offences.collect::<Vec<_>>());
}

#[test]
fn nothing_unwraps_outside_tests() {
    let offences = product().into_iter().flat_map(|source| {
        mentions(
            &source.path,
            &source.product_code(),
            &[".unwrap()"],
            "return an error, or say why it cannot be",
        )
    });
    none(&offences.collect::<Vec<_>>());
}

#[test]
fn nothing_is_a_stub() {
    let needles = ["todo!", "unimplemented!", "#[ignore"];
    let sources = read(&["src", "tests", "benches"]);
    let rust = sources.iter().filter(|source| source.is_rust());
    none(
        &rust
            .flat_map(|source| mentions(&source.path, &source.code(), &needles, "a stub"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn comments_strings_and_tests_are_not_code() {
    let text = "let a = 'x'; let b: &'static str = r#\"\"x.unwrap()\"#; /* /* */ todo! */ '\\'';\n\
                #[cfg(test)]\nmod tests { fn f() { x.unwrap(); } }\nfn g() { y.unwrap(); }";
    let code = sample("src/lib.rs", text).product_code();
    assert_eq!(
        mentions("f", &code, &[".unwrap()"], "w"),
        ["f:4: .unwrap(): w"]
    );
    assert!(mentions("f", &code, &["todo!"], "w").is_empty());
    assert!(code.contains("&'static str"));
}
