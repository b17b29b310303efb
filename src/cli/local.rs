//! Commands that need no running proxy: `run`, `check`, `schema`.
//!
//! Invariant: `run` and `check` read a config in the same way, so that what
//! `check` accepts, `run` starts from. Absent: any reading of it here.

use super::args::File;
use super::output::Done;
use super::{args, exit, output, text};
use crate::config::{self, Config};
use crate::process::{self, signal::Signals};
use crate::telemetry::logs;
use anyhow::Context;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a config is looked for when none is named.
const PLACES: [&str; 2] = ["/etc/ebbtide/ebbtide.toml", "ebbtide.toml"];

/// How long the exit waits for the last log lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

pub(super) fn run(what: args::Run, signals: Option<io::Result<Signals>>) -> anyhow::Result<Done> {
    let signals = signals
        .unwrap_or_else(process::signal::install)
        .context("cannot watch for signals")?;
    let config = match load(&what.file) {
        Ok(config) => config,
        Err(refused) => return Ok(refused),
    };
    logs::init(&config.process.logs)?;
    let ran = match what.takeover {
        None => process::run(config, signals),
        Some(from) => {
            let standby = what.standby;
            let takeover = process::Takeover { from, standby };
            process::take_over(config, takeover, signals)
        }
    };
    logs::flush(LAST_LINES);
    ran?;
    Ok(Done::default())
}

pub(super) fn check(file: &File) -> Done {
    match load(file) {
        Ok(config) => Done::with(verdict(&config)),
        Err(refused) => refused,
    }
}

pub(super) fn schema() -> anyhow::Result<Done> {
    let text = serde_json::to_string_pretty(&config::schema())?;
    Ok(Done::with(text))
}

/// The config, or everything that is wrong with it.
fn load(file: &File) -> Result<Config, Done> {
    let named = file.config.clone();
    let path = named.or_else(|| find(&PLACES)).ok_or_else(|| {
        let [system, local] = PLACES;
        let complaint =
            format!("ebbtide: no config was named, and there is neither {system} nor ./{local}");
        Done::failed(exit::CONFIG, complaint)
    })?;
    config::load_within(&path, file.grace).map_err(|report| {
        let complaint = report.render(output::is_watched());
        Done::failed(exit::CONFIG, complaint)
    })
}

fn find(places: &[&str]) -> Option<PathBuf> {
    let found = places.iter().map(Path::new).find(|path| path.exists());
    found.map(Path::to_owned)
}

fn verdict(config: &Config) -> String {
    let plan = &config.plan;
    let needs = config.longest_exit();
    let given = config.given.map_or_else(String::new, |given| {
        let spare = text::span(given.saturating_sub(needs));
        format!(
            ", and the {} that are given with {spare}",
            text::span(given)
        )
    });
    format!(
        "ok: {}, {}, the drain fits grace ({}) with {} to spare{given}",
        text::many(config.listeners.len(), "listener"),
        text::many(config.upstreams.len(), "upstream"),
        text::span(plan.grace),
        text::span(plan.grace.saturating_sub(needs)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const GOOD: &str = r#"
        [listener.web]
        listen = "127.0.0.1:0"
        routes = [{ upstream = "site" }]

        [upstream.site]
        servers = ["127.0.0.1:8080"]

        [drain]
        grace = "40s"
    "#;

    fn file(path: &Path, grace: Option<u64>) -> File {
        File {
            config: Some(path.to_owned()),
            grace: grace.map(Duration::from_secs),
        }
    }

    #[test]
    fn a_good_config_is_summed_up() {
        let config = config::parse(Path::new("test.toml"), GOOD).expect("good");
        let fits = "ok: 1 listener, 1 upstream, the drain fits grace (40s) with 13s to spare";
        assert_eq!(verdict(&config), fits);
        let given = Some(Duration::from_secs(30));
        let config = Config { given, ..config };
        let both = format!("{fits}, and the 30s that are given with 3s");
        assert_eq!(verdict(&config), both);
    }

    #[test]
    fn check_exits_by_what_it_finds() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ebbtide.toml");
        fs::write(&path, GOOD).expect("written");
        let good = check(&file(&path, None));
        assert_eq!((good.code, good.complaint.as_str()), (0, ""));
        assert!(good.result.starts_with("ok: "), "{}", good.result);
        fs::write(&path, "[listener.web]\nlisten = 1\n").expect("written");
        let bad = check(&file(&path, None));
        assert_eq!((bad.code, bad.result.as_str()), (exit::CONFIG, ""));
        assert!(
            bad.complaint.contains("ebbtide.toml:2"),
            "{}",
            bad.complaint
        );
        fs::remove_file(&path).expect("removed");
        assert_eq!(check(&file(&path, None)).code, exit::CONFIG);
    }

    #[test]
    fn a_drain_that_outlasts_what_is_given_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ebbtide.toml");
        fs::write(&path, GOOD).expect("written");
        assert_eq!(check(&file(&path, Some(27))).code, 0);
        let refused = check(&file(&path, Some(26)));
        assert_eq!(refused.code, exit::CONFIG);
        let said = refused.complaint;
        assert!(said.contains("SIGKILL comes after 26s"), "{said}");
    }

    #[test]
    fn run_refuses_what_check_refuses() {
        let nowhere = || file(Path::new("/nonexistent/ebbtide.toml"), None);
        let what = args::Run {
            file: nowhere(),
            takeover: None,
            standby: false,
        };
        let refused = run(what, None).expect("no failure, a refusal");
        assert_eq!(refused, check(&nowhere()));
        assert_eq!(refused.code, exit::CONFIG);
    }

    #[test]
    fn the_first_place_that_exists_is_taken() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (first, second) = (path("first"), path("second"));
        assert_eq!(find(&[&first, &second]), None);
        fs::write(&second, "").expect("written");
        assert_eq!(find(&[&first, &second]), Some(second.clone().into()));
        fs::write(&first, "").expect("written");
        assert_eq!(find(&[&first, &second]), Some(first.into()));
    }
}
