//! A file that lists servers, looked at every so often.
//!
//! Invariant: a change is read only when two looks in a row saw the file the same,
//! and when it was the same before and after it was read: one that is being
//! written is left alone. At the start it is read at once.
//!
//! Deliberately absent: inotify, which does not see a file that another machine
//! changes; and a file that is gone as a sign that its servers are: whoever
//! replaces it without `rename` takes it away for a moment.

use super::findings::{Answer, Part};
use crate::config::{Files, Source, listed};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Looks at one file.
#[derive(Debug)]
pub(super) struct Eyes {
    path: PathBuf,
    source: Source,
    /// As it was when it was read.
    acted: Option<Files>,
    last: Option<Files>,
    /// That the list was empty, until it is not: that has to last.
    nothing: Option<Answer>,
}

impl Eyes {
    pub(super) fn of(path: &Path, source: &Source) -> Self {
        Self {
            path: path.to_owned(),
            source: source.clone(),
            acted: None,
            last: None,
            nothing: None,
        }
    }

    /// Look once; `None` if there is nothing new to be said. Blocks on the disk.
    pub(super) fn look(&mut self) -> Option<Answer> {
        let seen = Files::with(&self.path);
        let still = self.last.as_ref() == Some(&seen);
        self.last = Some(seen.clone());
        if self.acted.as_ref() == Some(&seen) {
            return self.nothing.clone();
        }
        if self.acted.is_some() && !still {
            return None;
        }
        let answer = self.read();
        if seen.look() != seen {
            // It was written to meanwhile.
            return None;
        }
        self.acted = Some(seen);
        let empty = matches!(answer, Answer::Nothing { .. });
        self.nothing = empty.then(|| answer.clone());
        Some(answer)
    }

    fn read(&self) -> Answer {
        let servers = match listed(&self.path, self.source.zone.as_ref()) {
            Ok(servers) => servers,
            Err(report) => {
                let why = report.in_lines().join("; ").into();
                return Answer::Outage { why };
            }
        };
        if servers.is_empty() {
            let why = "the file lists no server".into();
            return Answer::Nothing { why, ttl: None };
        }
        let name: Arc<str> = self.source.place.to_string().into();
        let part = Part::from("");
        let servers = servers.into_iter().map(|mut server| {
            server.found_by = Some(Arc::clone(&name));
            (Arc::clone(&part), server)
        });
        Answer::Found {
            servers: servers.collect(),
            silent: Vec::new(),
            ttl: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;
    use std::fs;

    fn eyes(path: &Path) -> Eyes {
        let source = Source {
            place: Place::File(path.to_owned()),
            zone: None,
        };
        Eyes::of(path, &source)
    }

    fn names(answer: Option<Answer>) -> Vec<String> {
        match answer {
            Some(Answer::Found { servers, .. }) => {
                let names = servers.iter().map(|(_, server)| server.name.to_string());
                names.collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_is_read_at_once_and_then_when_it_holds_still() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("servers.txt");
        fs::write(&path, "10.0.0.1:80\n").expect("written");
        let mut eyes = eyes(&path);
        assert_eq!(names(eyes.look()), ["10.0.0.1:80"]);
        assert_eq!(eyes.look(), None);
        fs::write(&path, "10.0.0.1:80\n10.0.0.2:8").expect("half written");
        assert_eq!(eyes.look(), None, "it may be under the pen");
        fs::write(&path, "10.0.0.1:80\n10.0.0.2:8080\n").expect("written");
        assert_eq!(eyes.look(), None, "it was");
        assert_eq!(names(eyes.look()), ["10.0.0.1:80", "10.0.0.2:8080"]);
        let next = folder.path().join("next");
        fs::write(&next, "10.0.0.3:80\n").expect("written");
        fs::rename(&next, &path).expect("replaced");
        assert_eq!(eyes.look(), None);
        assert_eq!(names(eyes.look()), ["10.0.0.3:80"]);
    }

    #[test]
    fn what_is_wrong_or_gone_is_an_outage_and_said_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("servers.txt");
        let mut eyes = eyes(&path);
        let missing = eyes.look();
        assert!(
            matches!(missing, Some(Answer::Outage { .. })),
            "{missing:?}"
        );
        assert_eq!(eyes.look(), None);
        fs::write(&path, "10.0.0.1:80\nnonsense\n").expect("written");
        assert_eq!(eyes.look(), None);
        let Some(Answer::Outage { why }) = eyes.look() else {
            panic!("it was taken");
        };
        assert!(why.contains("servers.txt:2: "), "{why}");
        assert_eq!(eyes.look(), None);
    }

    #[test]
    fn an_empty_list_is_said_again_and_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("servers.txt");
        fs::write(&path, "# none\n").expect("written");
        let mut eyes = eyes(&path);
        for _ in 0..3 {
            assert!(matches!(eyes.look(), Some(Answer::Nothing { .. })));
        }
    }
}
