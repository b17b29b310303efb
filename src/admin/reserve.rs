//! Descriptors set aside for who asks, so that the interface answers while the
//! way of the data has used up all others.
//!
//! Each is the null device, held open. When nothing can be accepted for want of
//! a descriptor, one is given up and what waits takes its place at once; when
//! connections have ended, the reserve is filled again before the workers, who
//! pause when they find none, look for one.
//!
//! Invariant: never more than [`DESCRIPTORS`] are held.
//!
//! Deliberately absent: certainty. Another thread may take what was given up;
//! then the next one is.

use rustix::io::Errno;
use std::fs::File;
use std::io;

/// How many are set aside: a probe, a scrape and an operator at once, and some
/// to lose.
const DESCRIPTORS: usize = 16;

const NOTHING: &str = "/dev/null";

/// Descriptors that can be given up.
#[derive(Debug, Default)]
pub(super) struct Reserve(Vec<File>);

impl Reserve {
    /// A reserve that is as full as it can be.
    pub(super) fn new() -> Self {
        let mut reserve = Self::default();
        reserve.refill();
        reserve
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= DESCRIPTORS
    }

    /// Take what there is, up to the full number.
    pub(super) fn refill(&mut self) {
        while !self.is_full() {
            match File::open(NOTHING) {
                Ok(file) => self.0.push(file),
                Err(_) => return,
            }
        }
    }

    /// Give one up for this error; whether that may help.
    pub(super) fn give_up_for(&mut self, error: &io::Error) -> bool {
        let wants = [Errno::MFILE, Errno::NFILE];
        let wants = wants.map(|errno| Some(errno.raw_os_error()));
        wants.contains(&error.raw_os_error()) && self.0.pop().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_given_up_for_each_want_and_for_nothing_else() {
        let mut reserve = Reserve::new();
        assert!(reserve.is_full());
        assert!(!reserve.give_up_for(&io::ErrorKind::ConnectionAborted.into()));
        assert!(reserve.is_full());
        let want = io::Error::from_raw_os_error(Errno::MFILE.raw_os_error());
        for _ in 0..DESCRIPTORS {
            assert!(reserve.give_up_for(&want));
            assert!(!reserve.is_full());
        }
        assert!(!reserve.give_up_for(&want), "nothing is left");
        reserve.refill();
        assert!(reserve.is_full());
    }
}
