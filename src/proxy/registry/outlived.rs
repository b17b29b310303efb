//! A connection whose exchanges have outlived it: it was retired for its age,
//! and they are still there.
//!
//! They are told as a drain tells them, by the same marks on the record; that
//! it is for the age is noted beside, for the words that clients get and for
//! receipts, which name only who was told by a drain.
//!
//! Deliberately absent: when (see `connection::age`).

use super::record::Record;
use crate::drain::{Protocol, Protocols};
use std::sync::atomic::Ordering::Relaxed;

impl Record {
    /// Every exchange on it is past its deadline, for the connection's age.
    pub(in crate::proxy) fn outlive(&self) {
        self.outlived.store(true, Relaxed);
        self.farewell.fetch_or(Protocols::ALL.bits(), Relaxed);
        self.wake();
    }

    /// What is left is closed by force, for the same reason.
    pub(in crate::proxy) fn outstay(&self) {
        self.cut.fetch_or(Protocols::ALL.bits(), Relaxed);
        self.wake();
    }

    /// Whether an exchange of this protocol is past its deadline for that
    /// reason alone.
    pub(super) fn is_outlived(&self, protocol: Protocol) -> bool {
        self.outlived.load(Relaxed) && !self.scope.orders().farewell.contains(protocol)
    }
}
