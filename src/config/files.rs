//! The files that a configuration was made from, and whether they are as they
//! were.
//!
//! Purpose: who watches them must not miss a change that came while they were
//! read, so each is marked before it is read.
//!
//! Invariant: a file that was replaced or written to has another mark, also
//! behind a symbolic link that leads elsewhere now.
//!
//! Deliberately absent: contents, and waiting.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells one state of a file from another.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
struct Mark {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

impl Mark {
    /// `None` if there is no such file, or it cannot be looked at.
    fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

/// Files, each as it was when it was looked at.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Files(Vec<(PathBuf, Option<Mark>)>);

impl Files {
    /// Look at this one.
    #[must_use]
    pub fn with(path: &Path) -> Self {
        Self(vec![(path.to_owned(), Mark::of(path))])
    }

    /// Look at one more.
    pub(super) fn add(&mut self, path: &Path) {
        self.0.push((path.to_owned(), Mark::of(path)));
    }

    /// The same files as they are now. Blocks on the disk.
    #[must_use]
    pub fn look(&self) -> Self {
        let paths = self.0.iter().map(|(path, _)| path);
        Self(paths.map(|path| (path.clone(), Mark::of(path))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_written_replaced_or_linked_elsewhere_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("one"), "1").expect("written");
        fs::write(path("two"), "2").expect("written");
        // As Kubernetes mounts a ConfigMap.
        symlink(path("one"), path("link")).expect("linked");
        let mut files = Files::with(&path("link"));
        files.add(&path("missing"));
        assert_eq!(files.look(), files);
        let before = files.look();
        fs::write(path("one"), "longer").expect("written");
        assert_ne!(files.look(), before);
        let before = files.look();
        symlink(path("two"), path("other")).expect("linked");
        fs::rename(path("other"), path("link")).expect("replaced");
        assert_ne!(files.look(), before);
        let before = files.look();
        fs::write(path("missing"), "").expect("written");
        assert_ne!(files.look(), before);
    }
}
