//! The receipt on disk (`[drain] receipt`).
//!
//! Invariant: at any moment, also when the power fails, the file holds one
//! whole receipt: it is written beside, synced, and renamed into place. A disk
//! that fails or hangs is logged; it changes no exit code and holds the exit
//! for [`LIMIT`] at most.
//!
//! Deliberately absent: old receipts. The file is the last drain's.

use crate::drain::Receipt;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the exit waits for the disk.
pub(super) const LIMIT: Duration = Duration::from_secs(2);

/// Who may read it: its owner and its group.
const MODE: u32 = 0o640;

/// Keeps the receipt, if a path is configured.
#[derive(Debug)]
pub(super) struct Keeper {
    path: Option<PathBuf>,
    writing: Option<oneshot::Receiver<io::Result<()>>>,
}

impl Keeper {
    pub(super) const fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            writing: None,
        }
    }

    /// Begin to write, on a thread of its own: one that hangs dies with the
    /// process, where a runtime would wait for it.
    pub(super) fn keep(&mut self, receipt: &Arc<Receipt>) {
        let Some(path) = self.path.clone() else {
            return;
        };
        let receipt = Arc::clone(receipt);
        let (done, writing) = oneshot::channel();
        let thread = std::thread::Builder::new().name("receipt".into());
        let begun = thread.spawn(move || {
            // Nobody listens once the limit has passed.
            let _ = done.send(write(&path, &receipt));
        });
        match begun {
            Ok(_) => self.writing = Some(writing),
            Err(error) => self.failed(&error),
        }
    }

    /// Wait until it is written, but not for long.
    pub(super) async fn finish(&mut self) {
        let Some(writing) = self.writing.take() else {
            return;
        };
        let late = || io::Error::from(ErrorKind::TimedOut);
        let written = tokio::time::timeout(LIMIT, writing).await;
        match written.map_err(|_| late()) {
            Ok(Ok(Ok(()))) => {
                let path = self.path.as_deref().unwrap_or(Path::new(""));
                tracing::info!(event = "receipt", path = %path.display(), "receipt kept");
            }
            Ok(Ok(Err(error))) | Err(error) => self.failed(&error),
            Ok(Err(_)) => self.failed(&io::Error::other("its thread panicked")),
        }
    }

    fn failed(&self, error: &io::Error) {
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        tracing::error!(event = "receipt", path = %path.display(), %error, "the receipt could not be kept");
    }
}

/// Replace the file at `path` by this receipt, or leave it as it is.
fn write(path: &Path, receipt: &Receipt) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(receipt)?;
    text.push(b'\n');
    let beside = beside(path);
    // What a crash left behind under the same process id.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let replaced = fill(&beside, &text).and_then(|()| fs::rename(&beside, path));
    if replaced.is_err() {
        // Nothing of a failure is left lying about; if that fails as well,
        // the first error says more.
        let _ = fs::remove_file(&beside);
        return replaced;
    }
    // The name is as durable as the bytes only with its folder synced.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn fill(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(MODE).open(path)?;
    // Whatever the mask of the process says.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(text)?;
    file.sync_all()
}

/// A hidden name in the same folder, so that a rename is enough.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::{Accounts, Event, Machine, Phase, Plan, Timestamp, Trigger};

    fn receipt() -> Arc<Receipt> {
        let mut machine = Machine::new(Plan::default());
        machine.handle(Event::Reached(Phase::Active), Timestamp::ZERO);
        machine.handle(Event::Drain(Trigger::Api), Timestamp::ZERO);
        let accounts = Accounts::default();
        let course = machine.course(None).expect("a drain has begun");
        Arc::new(Receipt::of(
            course,
            Duration::ZERO,
            Timestamp::ZERO,
            accounts,
        ))
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn it_replaces_the_last_one_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("receipt.json");
        fs::write(&path, "the last one").expect("written");
        fs::write(beside(&path), "left by a crash").expect("written");
        let mut keeper = Keeper::new(Some(path.clone()));
        keeper.keep(&receipt());
        keeper.finish().await;
        let text = fs::read_to_string(&path).expect("there");
        let read: Receipt = serde_json::from_str(&text).expect("a receipt");
        assert_eq!(read, *receipt());
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert_eq!(names(folder.path()), ["receipt.json"]);
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let gone = folder.path().join("gone/receipt.json");
        write(&gone, &receipt()).expect_err("there is no folder");
        let taken = folder.path().join("taken");
        fs::create_dir_all(taken.join("inside")).expect("made");
        write(&taken, &receipt()).expect_err("a folder is in its place");
        assert_eq!(names(folder.path()), ["taken"]);
    }

    #[tokio::test]
    async fn without_a_path_nothing_is_written_and_nothing_waits() {
        let mut keeper = Keeper::new(None);
        keeper.keep(&receipt());
        keeper.finish().await;
        assert!(keeper.writing.is_none());
    }
}
