//! Any bytes end in a config that is the same when it is loaded as it is shown,
//! or in a report of which each place can be pointed at.

use crate::driver::fuzz;
use crate::fixture::Fixture;
use crate::shown::loads_again;
use ebbtide::config::{Diff, Report};

/// That a report says of each problem what and where, within this text.
fn can_be_drawn(report: &Report, text: &str) {
    let drawn = report.to_string();
    assert!(report.len() >= 1);
    assert!(drawn.matches("error: ").count() >= report.len(), "{drawn}");
    for problem in report {
        assert!(!problem.message().is_empty(), "{problem:?}");
        if let Some(span) = problem.span() {
            assert!(text.get(span).is_some(), "{problem:?} of {text:?}");
        }
    }
}

#[test]
fn any_bytes_are_a_config_that_loads_again_or_a_report_that_can_be_drawn() {
    let fixture = Fixture::new();
    fuzz("config", 1_500, |bytes, _| {
        match fixture.read("any.toml", bytes) {
            Ok(config) => {
                assert!(Diff::between(&config, &config).is_empty());
                loads_again(&fixture, &config);
            }
            Err(report) => can_be_drawn(&report, &String::from_utf8_lossy(bytes)),
        }
    });
}

#[test]
fn most_seeds_are_configs() {
    // Else nothing would be loaded again above.
    let fixture = Fixture::new();
    for seed in ["drain", "limits", "most", "names", "served", "small"] {
        let file = format!("tests/fuzz/corpus/config/{seed}.toml");
        fixture.good(&crate::fixture::repository_text(&file));
    }
}
