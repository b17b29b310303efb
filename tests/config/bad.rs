//! Files that must be refused, each with the report that an operator gets.
//!
//! `bad/NN-name.toml` is refused with exactly `bad/NN-name.txt`. Run with
//! `EBBTIDE_BLESS=1` to write the reports anew, then read what changed.

use crate::fixture::Fixture;
use ebbtide::config::load;
use std::fs;
use std::path::{Path, PathBuf};

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/bad");
    let entries = fs::read_dir(directory).expect("the directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_bad_file_prints_what_an_operator_needs() {
    let fixture = Fixture::new();
    let bless = std::env::var_os("EBBTIDE_BLESS").is_some();
    let files = files();
    assert!(files.len() >= 22, "only {} bad files", files.len());
    let mut different = Vec::new();
    for path in files {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let content = fs::read(&path).expect(name);
        let report = match fixture.read(name, &content) {
            Ok(config) => panic!("{name} was accepted: {config:?}"),
            Err(report) => report,
        };
        let drawn = fixture.draw(&report) + "\n";
        let expected = path.with_extension("txt");
        if bless {
            fs::write(&expected, &drawn).expect("the report");
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if drawn != expected {
            different.push(format!(
                "--- {name}: expected\n{expected}\n--- {name}: drawn\n{drawn}"
            ));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn every_problem_says_how_to_mend_it() {
    let fixture = Fixture::new();
    for path in files() {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let content = fs::read(&path).expect(name);
        let report = fixture.read(name, &content).expect_err(name);
        assert!(report.len() >= 1);
        for problem in &report {
            assert!(
                problem.help_text().is_some_and(|help| !help.is_empty()),
                "{name}: {problem:?}"
            );
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_a_report() {
    let fixture = Fixture::new();
    let report = load(&fixture.path("missing.toml")).expect_err("there is no file");
    let drawn = fixture.draw(&report);
    assert!(drawn.contains("cannot read the configuration"), "{drawn}");
    assert!(drawn.contains("missing.toml"), "{drawn}");
    let directory = load(&fixture.path("certs")).expect_err("a directory");
    assert_eq!(directory.len(), 1);
}
