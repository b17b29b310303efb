//! Many seeds on all cores, with a line now and then for whoever waits.

use crate::judge;
use crate::seen::Seen;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

/// So many seeds between two looks at what others do.
const BATCH: u64 = 50;
/// So many seeds between two lines; fewer are not worth one.
const LINE: u64 = 50_000;

/// Judge the seeds below `seeds`; what was seen. The first violation panics,
/// and says which seed it was.
pub(crate) fn run(seeds: u64) -> Seen {
    let next = AtomicU64::new(0);
    let seen = Mutex::new(Seen::default());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores)
            .map(|_| {
                scope.spawn(|| {
                    let _stop = Stop(&next, seeds);
                    let mut own = Seen::default();
                    work(seeds, &next, &mut own);
                    seen.lock().expect("nobody panics with it").merge(&own);
                })
            })
            .collect();
        for worker in workers {
            if let Err(violation) = worker.join() {
                std::panic::resume_unwind(violation);
            }
        }
    });
    seen.into_inner().expect("nobody panicked with it")
}

/// Where one panics, the others need not go on.
struct Stop<'a>(&'a AtomicU64, u64);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(self.1, Relaxed);
        }
    }
}

fn work(seeds: u64, next: &AtomicU64, seen: &mut Seen) {
    loop {
        let first = next.fetch_add(BATCH, Relaxed);
        if first >= seeds {
            return;
        }
        if first > 0 && first.is_multiple_of(LINE) {
            progress(first, seeds);
        }
        for seed in first..seeds.min(first + BATCH) {
            judge(seed, seen);
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "whoever waits for a million seeds wants to see them pass"
)]
fn progress(done: u64, seeds: u64) {
    eprintln!("{done} of {seeds} seeds");
}
