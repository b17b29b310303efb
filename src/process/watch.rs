//! Reloads without anybody's asking: the files of the config are looked at
//! every so often (`[process] watch`), as where they are mounted into a
//! container and nobody can send a signal.
//!
//! Invariant: a file is read only when two looks in a row saw it the same, so
//! that one which is being written is left alone; a half of it could be a
//! config in which listeners are missing.
//!
//! Deliberately absent: reading the files, and inotify, which does not see a
//! file that another machine changes.

use crate::config::{Config, Files};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Looks at files, if that is configured, until dropped.
#[derive(Debug, Default)]
pub(super) struct Watch {
    changed: Arc<Notify>,
    looking: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watch the files of this config. To be called on a runtime.
    pub(super) fn of(config: &Config) -> Self {
        let changed = Arc::new(Notify::new());
        let every = config.process.watch;
        let looking = (!every.is_zero()).then(|| {
            let eyes = Eyes::of(config.files.clone());
            tokio::spawn(look(eyes, every, Arc::clone(&changed)))
        });
        Self { changed, looking }
    }

    /// Wait until they have changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(looking) = &self.looking {
            looking.abort();
        }
    }
}

async fn look(mut eyes: Eyes, every: Duration, changed: Arc<Notify>) {
    loop {
        tokio::time::sleep(every).await;
        let files = eyes.acted.clone();
        // A thread that panicked has seen nothing.
        let seen = tokio::task::spawn_blocking(move || files.look()).await;
        if seen.is_ok_and(|seen| eyes.see(seen)) {
            changed.notify_one();
        }
    }
}

/// What was seen.
#[derive(Debug)]
struct Eyes {
    /// As they were when they were read, or were to be read.
    acted: Files,
    last: Files,
}

impl Eyes {
    fn of(files: Files) -> Self {
        Self {
            acted: files.clone(),
            last: files,
        }
    }

    /// Whether to read them now.
    fn see(&mut self, seen: Files) -> bool {
        if seen != self.last {
            self.last = seen;
            return false;
        }
        if seen == self.acted {
            return false;
        }
        self.acted = seen;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn config(path: &Path, idle: &str) -> Config {
        let text = format!(
            "[listener.web]\nlisten = \"127.0.0.1:0\"\nidle = \"{idle}\"\n\
             routes = [{{ upstream = \"site\" }}]\n\
             [upstream.site]\nservers = [\"127.0.0.1:1\"]\n"
        );
        fs::write(path, text).expect("written");
        crate::config::load(path).expect("good")
    }

    #[test]
    fn a_file_is_read_once_it_holds_still_and_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ebbtide.toml");
        let files = config(&path, "1s").files;
        let mut eyes = Eyes::of(files.clone());
        assert!(!eyes.see(files.look()), "it is as it was read");
        config(&path, "20s");
        assert!(!eyes.see(files.look()), "it may be under the pen");
        config(&path, "300s");
        assert!(!eyes.see(files.look()), "it was");
        assert!(eyes.see(files.look()));
        assert!(!eyes.see(files.look()), "it was read");
        fs::remove_file(&path).expect("removed");
        assert!(!eyes.see(files.look()));
        assert!(eyes.see(files.look()), "that it is gone is to be said");
    }
}
