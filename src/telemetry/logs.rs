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
use tracing_subscriber::layer::{Layer, Layered, SubscriberExt};
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};
use writer::{Output, Writer};

/// The borrowed engines report what we report too, in their own words, and one of
/// them has a warning for each frame that a peer need not have sent: only their
/// errors pass, unless the configured level names them.
const ENGINES: &str = "h2=error,pingora_core=error,pingora_load_balancing=error,pingora_pool=error";

/// Where events go, as the first [`init`] decided.
struct Installed {
    handles: Handles,
    writer: Writer,
    /// The file; none for a stream that was inherited.
    path: Option<PathBuf>,
    /// The access log's own file, if it has one.
    access: Option<(Writer, PathBuf)>,
    /// Whether a person looks at it.
    terminal: bool,
    levels: Mutex<Levels>,
}

impl Installed {
    fn writers(&self) -> impl Iterator<Item = &Writer> {
        let access = self.access.iter().map(|(writer, _)| writer);
        [&self.writer].into_iter().chain(access)
    }

    fn lost(&self) -> u64 {
        self.writers().map(Writer::lost).sum()
    }

    /// What can be opened anew.
    fn files(&self) -> impl Iterator<Item = (&Writer, &PathBuf)> {
        let log = self.path.iter().map(|path| (&self.writer, path));
        let access = self.access.iter().map(|(writer, path)| (writer, path));
        log.chain(access)
    }
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
    let Logging {
        subscriber,
        handles,
        writer,
        terminal,
    } = Logging::of(logs)?;
    let installed = Installed {
        handles,
        writer,
        access: access(logs)?,
        terminal,
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

/// Log at another level, for a while: until [`configure`] or the end of
/// the process. Does nothing where [`init`] was not the one who decided where
/// events go.
///
/// # Errors
/// If the level is no filter.
pub fn set_level(level: &str) -> Result<(), Error> {
    change_level(level, |levels| level.clone_into(&mut levels.in_force))
}

/// Log at the level and in the form that a config asks for; where to is for a
/// new process to change.
///
/// # Errors
/// As [`set_level`].
pub fn configure(logs: &Logs) -> Result<(), Error> {
    change_level(&logs.level, |levels| {
        logs.level.clone_into(&mut levels.configured);
        logs.level.clone_into(&mut levels.in_force);
    })?;
    if let Some(installed) = INSTALLED.get() {
        let lines = lines(logs.format, &installed.writer, installed.terminal);
        // Only a subscriber that is gone refuses: nobody logs any more.
        let _ = installed.handles.lines.reload(lines);
    }
    Ok(())
}

fn change_level(level: &str, note: impl FnOnce(&mut Levels)) -> Result<(), Error> {
    let filter = filter(level)?;
    if let Some(installed) = INSTALLED.get() {
        let mut levels = installed.levels.lock();
        // Only a subscriber that is gone refuses: nobody logs any more.
        let _ = installed.handles.level.reload(filter);
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
    /// The access log's own file, if it has one.
    pub access: Option<PathBuf>,
    /// Lines that could not be written so far.
    pub lost: u64,
}

/// The log as it is now; none where [`init`] did not decide.
#[must_use]
pub fn state() -> Option<State> {
    INSTALLED.get().map(|one| State {
        levels: one.levels.lock().clone(),
        path: one.path.clone(),
        access: one.access.as_ref().map(|(_, path)| path.clone()),
        lost: one.lost(),
    })
}

/// Lines that could not be written so far.
#[must_use]
pub fn lost() -> u64 {
    INSTALLED.get().map_or(0, Installed::lost)
}

/// Open the log's files anew, after they were moved away. Returns their paths;
/// none if logs go to a stream, which has nothing to be opened.
///
/// # Errors
/// The first that cannot be opened; its lines go on to the old file then. The
/// others are opened.
pub async fn reopen() -> Result<Vec<PathBuf>, Error> {
    let files = INSTALLED.get().into_iter().flat_map(Installed::files);
    // Asked for all at once: one disk may be slower than another.
    let asked: Vec<_> = files
        .map(|(writer, path)| (writer.reopen(), path))
        .collect();
    let mut paths = Vec::new();
    let mut failed = None;
    for (opened, path) in asked {
        let opened = opened.await;
        let opened = opened.unwrap_or_else(|_| Err(io::Error::other("its thread is gone")));
        let path = path.clone();
        match opened {
            Ok(()) => paths.push(path),
            Err(cause) => failed = failed.or(Some(Error::Reopen { path, cause })),
        }
    }
    failed.map_or(Ok(paths), Err)
}

/// Write a line of the access log, its end included, where that goes.
pub fn write_access(line: Vec<u8>) {
    if let Some(installed) = INSTALLED.get() {
        let own = installed.access.as_ref().map(|(writer, _)| writer);
        own.unwrap_or(&installed.writer).line(line);
    }
}

/// Whether the log is read on a terminal.
#[must_use]
pub fn by_a_person() -> bool {
    INSTALLED.get().is_some_and(|one| one.terminal)
}

/// Wait until every line is written, for so long at most. To be called last:
/// what is logged later may be lost with the process.
pub fn flush(limit: Duration) {
    let writers = INSTALLED.get().into_iter().flat_map(Installed::writers);
    // Both end at once, mostly; at worst the limit counts for each.
    for writer in writers {
        writer.flush(limit / 2);
    }
}

fn access(logs: &Logs) -> Result<Option<(Writer, PathBuf)>, Error> {
    let path = logs.access.as_ref().and_then(|access| access.file.clone());
    path.map(|path| {
        let (output, _) = open(&LogFile::Path(path.clone()))?;
        let writer = Writer::start(output, Box::new(say_lost)).map_err(Error::Thread)?;
        Ok((writer, path))
    })
    .transpose()
}

/// What events go through, before it is decided on.
struct Logging {
    subscriber: Dispatch,
    handles: Handles,
    writer: Writer,
    terminal: bool,
}

/// What passes the level.
type Passed = Layered<reload::Layer<EnvFilter, Registry>, Registry>;

/// What makes lines of it.
type Lines = Box<dyn Layer<Passed> + Send + Sync>;

/// What can be changed of where events go.
struct Handles {
    level: Handle<EnvFilter, Registry>,
    lines: Handle<Lines, Passed>,
}

impl Logging {
    fn of(logs: &Logs) -> Result<Self, Error> {
        let filter = filter(&logs.level)?;
        let (output, terminal) = open(&logs.file)?;
        let writer = Writer::start(output, Box::new(say_lost)).map_err(Error::Thread)?;
        let (filter, level) = reload::Layer::new(filter);
        let made = lines(logs.format, &writer, terminal);
        let (made, lines) = reload::Layer::new(made);
        Ok(Self {
            subscriber: Registry::default().with(filter).with(made).into(),
            handles: Handles { level, lines },
            writer,
            terminal,
        })
    }
}

/// Lines in a form, to a writer.
fn lines(format: LogFormat, writer: &Writer, terminal: bool) -> Lines {
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(Arc::new(writer.clone()))
        .with_ansi(terminal);
    if is_text(format, terminal) {
        return layer.boxed();
    }
    let json = layer.json().flatten_event(true);
    json.with_current_span(false).with_span_list(false).boxed()
}

const fn is_text(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Json => false,
        LogFormat::Text => true,
        LogFormat::Auto => terminal,
    }
}

fn say_lost(lines: u64) {
    let message = "log lines were lost: the disk was full, or nobody read them fast enough";
    tracing::warn!(event = "log_lines_lost", lines, "{message}");
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
            access: None,
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
        let logging = Logging::of(&logs).expect("opened");
        tracing::dispatcher::with_default(&logging.subscriber, || {
            tracing::info!(event = "stage", stage = "announce", "stage reached");
            tracing::debug!("below the level");
            tracing::warn!(target: "pingora_core::connectors", "in the engine's words");
        });
        assert!(logging.writer.flush(Duration::from_secs(30)));
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
