//! Where `tracing` events go: JSON lines, or text on a terminal.
//!
//! A JSON line is flat: the fields of the event stand beside `timestamp`,
//! `level` and `target`, so that a lifecycle event is found by its `event`
//! field without knowing who logged it.
//!
//! Lines go through a bounded queue to a thread (`writer`): a disk that is full
//! or a pipe that nobody reads costs lines, which are counted, and holds up
//! nobody. Who ends the process calls [`flush`].
//!
//! Invariant: the first call of [`init`] decides; a later one changes nothing
//! and is no error, so that many runs in one process (tests, the demo) can
//! each ask for logs.
//!
//! Deliberately absent: rotation. Whoever rotates moves the file away and has
//! it opened anew ([`reopen`]).

mod writer;

use super::Error;
use crate::config::{LogFile, LogFormat, Logs};
use parking_lot::Mutex;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::SubscriberInitExt;
use writer::{Output, Writer};

/// The borrowed engines report what we report too, in their own words: only
/// their errors pass, unless the configured level names them.
const ENGINES: &str = "pingora_core=error,pingora_load_balancing=error,pingora_pool=error";

/// Sets the level of the events that go where [`init`] said.
type SetLevel = Box<dyn Fn(EnvFilter) + Send + Sync>;

/// Where events go, as the first [`init`] decided.
struct Installed {
    set_level: SetLevel,
    writer: Writer,
    /// The file; none for a stream that was inherited.
    path: Option<PathBuf>,
    levels: Mutex<Levels>,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// At which level is logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Levels {
    /// By the config.
    pub configured: String,
    /// Now.
    pub in_force: String,
}

/// Send the process's events where `logs` says.
///
/// # Errors
/// If the file cannot be opened or the level is no filter. Not if events go
/// somewhere already: then nothing changes.
pub fn init(logs: &Logs) -> Result<(), Error> {
    let (subscriber, set_level, writer) = subscriber(logs)?;
    let installed = Installed {
        set_level,
        writer,
        path: match &logs.file {
            LogFile::Path(path) => Some(path.clone()),
            LogFile::Stderr | LogFile::Stdout => None,
        },
        levels: Mutex::new(Levels {
            configured: logs.level.clone(),
            in_force: logs.level.clone(),
        }),
    };
    // Refused if events go somewhere already: the first call decides.
    if subscriber.try_init().is_ok() {
        let _ = INSTALLED.set(installed);
    }
    Ok(())
}

/// Log at another level, for a while: until [`configure_level`] or the end of
/// the process. Does nothing where [`init`] was not the one who decided where
/// events go.
///
/// # Errors
/// If the level is no filter.
pub fn set_level(level: &str) -> Result<(), Error> {
    change_level(level, |levels| level.clone_into(&mut levels.in_force))
}

/// Log at the level that a config asks for.
///
/// # Errors
/// As [`set_level`].
pub fn configure_level(level: &str) -> Result<(), Error> {
    change_level(level, |levels| {
        level.clone_into(&mut levels.configured);
        level.clone_into(&mut levels.in_force);
    })
}

fn change_level(level: &str, note: impl FnOnce(&mut Levels)) -> Result<(), Error> {
    let filter = filter(level)?;
    if let Some(installed) = INSTALLED.get() {
        let mut levels = installed.levels.lock();
        (installed.set_level)(filter);
        note(&mut levels);
    }
    Ok(())
}

/// The log as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// At which level is logged.
    pub levels: Levels,
    /// The file; none for a stream.
    pub path: Option<PathBuf>,
    /// Lines that could not be written so far.
    pub lost: u64,
}

/// The log as it is now; none where [`init`] did not decide.
#[must_use]
pub fn state() -> Option<State> {
    INSTALLED.get().map(|one| State {
        levels: one.levels.lock().clone(),
        path: one.path.clone(),
        lost: one.writer.lost(),
    })
}

/// Lines that could not be written so far.
#[must_use]
pub fn lost() -> u64 {
    INSTALLED.get().map_or(0, |one| one.writer.lost())
}

/// Open the log file anew, after it was moved away. Returns its path; none if
/// logs go to a stream, which has nothing to be opened.
///
/// # Errors
/// If it cannot be opened; lines go on to the old file then.
pub async fn reopen() -> Result<Option<PathBuf>, Error> {
    let file = INSTALLED
        .get()
        .and_then(|one| Some((&one.writer, one.path.as_ref()?)));
    let Some((writer, path)) = file else {
        return Ok(None);
    };
    let opened = writer.reopen().await;
    let opened = opened.unwrap_or_else(|_| Err(io::Error::other("its thread is gone")));
    opened.map_err(|cause| Error::Reopen {
        path: path.clone(),
        cause,
    })?;
    Ok(Some(path.clone()))
}

/// Wait until every line is written, for so long at most. To be called last:
/// what is logged later may be lost with the process.
pub fn flush(limit: Duration) {
    if let Some(installed) = INSTALLED.get() {
        installed.writer.flush(limit);
    }
}

fn subscriber(logs: &Logs) -> Result<(Dispatch, SetLevel, Writer), Error> {
    let filter = filter(&logs.level)?;
    let (output, terminal) = open(&logs.file)?;
    let writer = Writer::start(output, Box::new(say_lost)).map_err(Error::Thread)?;
    let text = match logs.format {
        LogFormat::Json => false,
        LogFormat::Text => true,
        LogFormat::Auto => terminal,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Arc::new(writer.clone()))
        .with_ansi(terminal);
    let (subscriber, level) = if text {
        let builder = builder.with_filter_reloading();
        let level = builder.reload_handle();
        (builder.finish().into(), setter(level))
    } else {
        let json = builder.json().flatten_event(true);
        let json = json.with_current_span(false).with_span_list(false);
        let json = json.with_filter_reloading();
        let level = json.reload_handle();
        (json.finish().into(), setter(level))
    };
    Ok((subscriber, level, writer))
}

fn say_lost(lines: u64) {
    let message = "log lines were lost: the disk was full, or nobody read them fast enough";
    tracing::warn!(event = "log_lines_lost", lines, "{message}");
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

/// What is written to, and whether a person looks at it.
fn open(file: &LogFile) -> Result<(Output, bool), Error> {
    // A handle of its own: a thread that waits within the standard one holds
    // its lock, and with it whoever wants to say why the process ends.
    let stream = |stream: &dyn AsFd| {
        let copied = stream.as_fd().try_clone_to_owned();
        let copied = copied.map_err(Error::Stream)?;
        Ok(Output {
            file: File::from(copied),
            path: None,
        })
    };
    Ok(match file {
        LogFile::Stderr => (stream(&io::stderr())?, io::stderr().is_terminal()),
        LogFile::Stdout => (stream(&io::stdout())?, io::stdout().is_terminal()),
        LogFile::Path(path) => {
            let opened = Output::append(path).map_err(|cause| Error::File {
                path: path.clone(),
                cause,
            });
            (opened?, false)
        }
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
        let logs = logs(LogFile::Path(path.clone()), "info");
        let (subscriber, _, writer) = subscriber(&logs).expect("opened");
        tracing::dispatcher::with_default(&subscriber, || {
            tracing::info!(event = "stage", stage = "announce", "stage reached");
            tracing::debug!("below the level");
            tracing::warn!(target: "pingora_core::connectors", "in the engine's words");
        });
        assert!(writer.flush(Duration::from_secs(30)));
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
