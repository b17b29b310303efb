//! How much memory the process has, how much it may have, and when that is
//! too much.
//!
//! The resident memory is looked at a few times in a second, far from the way
//! of the data. From the limit on nothing new is let in, until a twentieth less
//! is used: with one line for both it would go to and fro.
//!
//! An allocator does not always give back what is freed. So if it stays where
//! it is, not far above the limit, the door is opened again after a while, as
//! long as what is used does not grow: what was freed is used again then. Far
//! above it stays shut.
//!
//! Invariant: the decision is pure; time and numbers come in.
//!
//! Deliberately absent: what becomes of who comes (see `registry::pressure`).

use crate::clock;
use crate::drain::Timestamp;
use crate::proxy::registry::Registry;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// After this the door is tried again, although nothing was given back.
const BREATHER: Duration = Duration::from_secs(2);

/// Decides whether it is too much.
#[derive(Debug, Default)]
struct Judge {
    /// Since when it has been.
    tight: Option<Timestamp>,
    /// What was used when the door was tried again.
    tried_at: Option<u64>,
}

impl Judge {
    /// So much is used of so much: whether that is too much.
    fn judge(&mut self, now: Timestamp, used: u64, limit: u64) -> bool {
        if used < limit - limit / 20 {
            *self = Self::default();
            return false;
        }
        if let Some(since) = self.tight {
            let near = used < limit.saturating_add(limit / 10);
            if near && now.saturating_since(since) >= BREATHER {
                (self.tight, self.tried_at) = (None, Some(used));
            }
        } else {
            let line = match self.tried_at {
                Some(tried) => limit.max(tried.saturating_add(limit / 100)),
                None => limit,
            };
            if used >= line {
                self.tight = Some(now);
            }
        }
        self.tight.is_some()
    }
}

/// Look at the memory for ever, and say what is found.
pub(super) async fn watch(registry: Arc<Registry>, limit: Arc<AtomicU64>) {
    let mut judge = Judge::default();
    let mut was = false;
    loop {
        if let Some(used) = resident() {
            let limit = limit.load(Relaxed);
            let tight = judge.judge(clock::now(), used, limit);
            registry.measured(used, limit, tight);
            if tight != was {
                was = tight;
                say(tight, used, limit);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn say(tight: bool, used: u64, limit: u64) {
    if tight {
        tracing::warn!(
            event = "memory",
            used,
            limit,
            "short of memory: nothing new is let in; what is in flight goes on"
        );
    } else {
        tracing::info!(event = "memory", used, limit, "there is memory again");
    }
}

/// The resident memory in bytes (proc(5), `VmRSS`).
fn resident() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The value of a line such as `VmRSS:  1234 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

/// The limit for what the config says: as it is written, or four fifths of
/// what the process may have by its control groups, or of the machine's.
pub(super) fn limit(written: u64) -> u64 {
    if written > 0 {
        return written;
    }
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = of_groups(&groups, Path::new("/sys/fs/cgroup"));
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| kibibytes(&text, "MemTotal:"));
    let most = group.into_iter().chain(machine).min();
    // Where nothing is known there is no limit.
    most.map_or(u64::MAX, |most| most / 5 * 4)
}

/// The least limit of the process's control groups and those around them
/// (cgroups(7)): of version 2 in `memory.max`, of version 1 in
/// `memory.limit_in_bytes`. In a container its own group may be the root.
fn of_groups(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (kinds, path) = (parts.next()?, parts.next()?);
        let (root, file) = match kinds {
            "" => (root.to_owned(), "memory.max"),
            kinds if kinds.split(',').any(|kind| kind == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let own = root.join(path.trim_start_matches('/'));
        let around = own.ancestors().take_while(|group| group.starts_with(&root));
        let read = |group: &Path| fs::read_to_string(group.join(file)).ok();
        let limits = around.filter_map(|group| read(group)?.trim().parse().ok());
        limits.min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn the_door_shuts_at_the_limit_and_opens_well_below_it() {
        let mut judge = Judge::default();
        let seen = [(0, 999), (1, 1_000), (2, 990), (3, 950), (4, 949), (5, 999)];
        let tight: Vec<_> = seen
            .map(|(time, used)| judge.judge(at(time), used, 1_000))
            .into();
        assert_eq!(tight, [false, true, true, true, false, false]);
    }

    #[test]
    fn memory_that_is_not_given_back_does_not_shut_the_door_for_good() {
        let mut judge = Judge::default();
        let mut judge = |millis, used| judge.judge(at(millis), used, 1_000);
        assert!(judge(0, 1_050));
        assert!(judge(1_999, 1_050));
        assert!(!judge(2_000, 1_050), "it is tried");
        assert!(!judge(9_000, 1_059), "and goes on while nothing grows");
        assert!(judge(9_250, 1_060), "but no further");
        assert!(judge(9_500, 1_060));
        assert!(!judge(11_250, 1_060), "it is tried once more");
        assert!(judge(11_500, 1_099));
        assert!(judge(20_000, 1_100), "far above it stays shut");
        assert!(judge(90_000, 1_100));
        assert!(!judge(90_250, 900));
        assert!(judge(90_500, 1_000), "as if nothing had been");
    }

    #[test]
    fn what_is_read_is_in_bytes() {
        let text = "VmHWM:\t  99 kB\nVmRSS:\t    1234 kB\n";
        assert_eq!(kibibytes(text, "VmRSS:"), Some(1_263_616));
        assert_eq!(kibibytes(text, "VmSwap:"), None);
        assert!(resident().expect("Linux") > 1_000_000);
        assert_eq!(limit(7), 7);
        assert!(limit(0) > 1_000_000);
    }

    #[test]
    fn the_least_limit_around_the_process_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        };
        write("pod/memory.max", "4096\n");
        write("pod/one/memory.max", "max\n");
        write("memory/old/memory.limit_in_bytes", "8192\n");
        let of = |groups| of_groups(groups, root.path());
        assert_eq!(of("0::/pod/one\n"), Some(4096));
        assert_eq!(of("5:cpu,memory:/old\n0::/\n"), Some(8192));
        assert_eq!(of("5:cpu:/old\n0::/elsewhere\n"), None);
        assert_eq!(of(""), None);
    }
}
