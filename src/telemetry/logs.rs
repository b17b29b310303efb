//! Where `tracing` events go: JSON lines, or text on a terminal.
//!
//! A JSON line is flat: the fields of the event stand beside `timestamp`,
//! `level` and `target`, so that a lifecycle event is found by its `event`
//! field without knowing who logged it.
//!
//! Invariant: the first call of [`init`] decides; a later one changes nothing
//! and is no error, so that many runs in one process (tests, the demo) can
//! each ask for logs.
//!
//! Deliberately absent: a thread or queue between an event and its file. A
//! line that was logged is written, also when the process dies right after.

use super::Error;
use crate::config::{LogFile, LogFormat, Logs};
use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::SubscriberInitExt;

/// The borrowed engines report what we report too, in their own words: only
/// their errors pass, unless the configured level names them.
const ENGINES: &str = "pingora_core=error,pingora_load_balancing=error,pingora_pool=error";

/// Send the process's events where `logs` says.
///
/// # Errors
/// If the file cannot be opened or the level is no filter. Not if events go
/// somewhere already: then nothing changes.
pub fn init(logs: &Logs) -> Result<(), Error> {
    let (subscriber, level) = subscriber(logs)?;
    // Refused if events go somewhere already: the first call decides.
    if subscriber.try_init().is_ok() {
        let _ = LEVEL.set(level);
    }
    Ok(())
}

/// Sets the level of the events that go where [`init`] said.
type SetLevel = Box<dyn Fn(EnvFilter) + Send + Sync>;

static LEVEL: OnceLock<SetLevel> = OnceLock::new();

/// Log at another level from now on. Does nothing where [`init`] was not the
/// one who decided where events go.
///
/// # Errors
/// If the level is no filter.
pub fn set_level(level: &str) -> Result<(), Error> {
    let filter = filter(level)?;
    if let Some(set) = LEVEL.get() {
        set(filter);
    }
    Ok(())
}

fn subscriber(logs: &Logs) -> Result<(Dispatch, SetLevel), Error> {
    let filter = filter(&logs.level)?;
    let (writer, terminal) = open(&logs.file)?;
    let text = match logs.format {
        LogFormat::Json => false,
        LogFormat::Text => true,
        LogFormat::Auto => terminal,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(terminal);
    Ok(if text {
        let builder = builder.with_filter_reloading();
        let level = builder.reload_handle();
        (builder.finish().into(), setter(level))
    } else {
        let json = builder.json().flatten_event(true);
        let json = json.with_current_span(false).with_span_list(false);
        let json = json.with_filter_reloading();
        let level = json.reload_handle();
        (json.finish().into(), setter(level))
    })
}

fn setter<S: 'static>(handle: Handle<EnvFilter, S>) -> SetLevel {
    Box::new(move |filter| {
        // Only a subscriber that is gone refuses: nobody logs any more.
        let _ = handle.reload(filter);
    })
}

fn filter(level: &str) -> Result<EnvFilter, Error> {
    // Of two directives for one target the later holds.
    let directives = format!("{ENGINES},{level}");
    EnvFilter::try_new(directives).map_err(|error| Error::Level {
        level: level.to_owned(),
        reason: error.to_string(),
    })
}

/// The writer, and whether a person looks at it.
fn open(file: &LogFile) -> Result<(BoxMakeWriter, bool), Error> {
    Ok(match file {
        LogFile::Stderr => (
            BoxMakeWriter::new(std::io::stderr),
            std::io::stderr().is_terminal(),
        ),
        LogFile::Stdout => (
            BoxMakeWriter::new(std::io::stdout),
            std::io::stdout().is_terminal(),
        ),
        LogFile::Path(path) => (BoxMakeWriter::new(Arc::new(append(path)?)), false),
    })
}

/// Opened for appending, and each line is one write: the lines of two threads
/// do not mix, and nobody waits for a lock.
fn append(path: &Path) -> Result<File, Error> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|cause| Error::File {
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn logs(file: LogFile, level: &str) -> Logs {
        Logs {
            format: LogFormat::Auto,
            file,
            access: false,
            level: level.to_owned(),
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let error = init(&logs(LogFile::Stderr, "ebbtide=loudly")).expect_err("no level");
        assert!(error.to_string().contains("loudly"), "{error}");
        let nowhere = LogFile::Path("/nonexistent/log".into());
        let error = init(&logs(nowhere, "info")).expect_err("no such directory");
        assert!(error.to_string().contains("/nonexistent/log"), "{error}");
    }

    #[test]
    fn a_file_gets_flat_json_lines_of_the_level_asked_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let (subscriber, _) =
            subscriber(&logs(LogFile::Path(path.clone()), "info")).expect("opened");
        tracing::dispatcher::with_default(&subscriber, || {
            tracing::info!(event = "stage", stage = "announce", "stage reached");
            tracing::debug!("below the level");
            tracing::warn!(target: "pingora_core::connectors", "in the engine's words");
        });
        let text = std::fs::read_to_string(&path).expect("written");
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(line["event"], "stage");
        assert_eq!(line["stage"], "announce");
        assert_eq!(line["message"], "stage reached");
        assert_eq!(line["level"], "INFO");
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn a_second_call_is_no_error() {
        for _ in 0..2 {
            init(&logs(LogFile::Stderr, "warn")).expect("usable");
        }
    }
}
