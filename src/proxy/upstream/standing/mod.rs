//! How one server stands: what speaks against giving it exchanges.
//!
//! Purpose: health checks, exchanges and the server itself each have a word. All
//! of it is kept here, apart from the upstream, so that it outlives a reload.
//!
//! Invariant: what a choice reads is atomic and was decided before; what is
//! decided is decided under one lock, that an exchange takes only when it has
//! seen the last straw.
//!
//! Deliberately absent: the decisions themselves (see `eject`, `ramp` and
//! `outliers`, which are pure) and who calls for them (see `watch`).

pub(super) mod eject;
pub(super) mod outliers;
pub(super) mod ramp;

use super::balance::{Fitness, WHOLE};
use crate::drain::Timestamp;
use eject::{Ejection, Reason};
use outliers::Done;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed,
};

/// Its last health check took it down.
const DOWN: u8 = 1;
/// It was ejected.
const EJECTED: u8 = 2;
/// It said that it is going.
const GOING: u8 = 4;

/// Where a server stands, for people.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Position {
    /// It is given its share.
    Serving,
    /// It is given a share that grows.
    Warming,
    /// It was ejected.
    Ejected,
    /// It said that it is going.
    Going,
    /// Its health checks say so.
    Down,
}

impl Position {
    /// The name used in text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Warming => "warming",
            Self::Ejected => "ejected",
            Self::Going => "going",
            Self::Down => "down",
        }
    }
}

/// What changes now and then, and is decided upon.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) ejection: Ejection,
    /// When it said that it is going, and until when that holds without a good
    /// health check.
    pub(super) going: Option<(Timestamp, Timestamp)>,
    /// Since when it is back, while that makes a difference.
    pub(super) since: Option<Timestamp>,
    /// What it had done when the last interval began.
    pub(super) before: Done,
    /// Why it is not given exchanges.
    pub(super) why: Option<Arc<str>>,
}

/// One server's standing.
#[derive(Debug)]
pub(super) struct Standing {
    flags: AtomicU8,
    ramp: AtomicU32,
    /// Failures in a row, by [`Reason`].
    streaks: [AtomicU32; 3],
    requests: AtomicU64,
    failures: AtomicU64,
    ejections: [AtomicU64; Reason::ALL.len()],
    /// HTTP/2 connections to it that may take streams.
    connections: AtomicUsize,
    /// The last of them was told to take no more.
    said_goaway: AtomicBool,
    /// It has kept an HTTP/1.1 connection open.
    kept_open: AtomicBool,
    /// Answers in a row that said `Connection: close` since.
    closes: AtomicU32,
    pub(super) record: Mutex<Record>,
}

impl Standing {
    /// Of a server that serves; since `now`, if it was added to others.
    pub(super) fn new(added: Option<Timestamp>) -> Arc<Self> {
        Arc::new(Self {
            flags: AtomicU8::new(0),
            ramp: AtomicU32::new(WHOLE),
            streaks: Default::default(),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            ejections: Default::default(),
            connections: AtomicUsize::new(0),
            said_goaway: AtomicBool::new(false),
            kept_open: AtomicBool::new(false),
            closes: AtomicU32::new(0),
            record: Mutex::new(Record {
                since: added,
                ..Record::default()
            }),
        })
    }

    pub(super) fn fitness(&self) -> Fitness {
        match self.flags.load(Relaxed) {
            0 => Fitness::Fit,
            flags if flags & DOWN == 0 => Fitness::Doubtful,
            _ => Fitness::Out,
        }
    }

    fn set(&self, flag: u8, on: bool) {
        if on {
            self.flags.fetch_or(flag, Relaxed);
        } else {
            self.flags.fetch_and(!flag, Relaxed);
        }
    }

    /// Whether its health checks are content with it.
    pub(super) fn up(&self) -> bool {
        self.flags.load(Relaxed) & DOWN == 0
    }

    pub(super) fn set_up(&self, up: bool) {
        self.set(DOWN, !up);
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.flags.load(Relaxed) & EJECTED != 0
    }

    pub(super) fn set_ejected(&self, ejected: bool) {
        self.set(EJECTED, ejected);
    }

    pub(super) fn is_going(&self) -> bool {
        self.flags.load(Relaxed) & GOING != 0
    }

    pub(super) fn set_going(&self, going: bool) {
        self.set(GOING, going);
    }

    /// The part of its weight that counts.
    pub(super) fn ramp(&self) -> u32 {
        self.ramp.load(Relaxed)
    }

    /// Whether that has changed.
    pub(super) fn set_ramp(&self, part: u32) -> bool {
        self.ramp.swap(part, Relaxed) != part
    }

    pub(super) fn position(&self) -> Position {
        let flags = self.flags.load(Relaxed);
        if flags & DOWN != 0 {
            Position::Down
        } else if flags & GOING != 0 {
            Position::Going
        } else if flags & EJECTED != 0 {
            Position::Ejected
        } else if self.ramp() < WHOLE {
            Position::Warming
        } else {
            Position::Serving
        }
    }

    /// A failure; how many in a row that makes.
    pub(super) fn failed(&self, reason: Reason) -> u32 {
        let streak = self.streaks.get(reason as usize);
        streak.map_or(0, |streak| streak.fetch_add(1, Relaxed) + 1)
    }

    /// What ends a row: an answer, or a connection.
    pub(super) fn did_well(&self, reason: Reason) {
        if let Some(streak) = self.streaks.get(reason as usize)
            && streak.load(Relaxed) != 0
        {
            streak.store(0, Relaxed);
        }
    }

    /// An exchange is over, for its rate of success.
    pub(super) fn count(&self, well: bool) {
        self.requests.fetch_add(1, Relaxed);
        if !well {
            self.failures.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn done(&self) -> Done {
        Done {
            requests: self.requests.load(Relaxed),
            failures: self.failures.load(Relaxed),
        }
    }

    /// It was ejected once more for this reason.
    pub(super) fn ejected_for(&self, reason: Reason) {
        self.ejections[reason as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn ejections(&self, reason: Reason) -> u64 {
        self.ejections[reason as usize].load(Relaxed)
    }

    /// An HTTP/2 connection to it was opened.
    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Relaxed);
        self.said_goaway.store(false, Relaxed);
    }

    /// One takes no more streams; `told` if the server said so, and for no fault.
    pub(super) fn disconnected(&self, told: bool) {
        let last = self.connections.fetch_sub(1, Relaxed) == 1;
        if last && told {
            self.said_goaway.store(true, Relaxed);
        }
    }

    /// It keeps the connection of an answer open.
    pub(super) fn keeps_open(&self) {
        if !self.kept_open.load(Relaxed) {
            self.kept_open.store(true, Relaxed);
        }
        if self.closes.load(Relaxed) != 0 {
            self.closes.store(0, Relaxed);
        }
    }

    /// It closes the connection of an answer; how many in a row that makes. Zero
    /// of a server that has never done otherwise.
    pub(super) fn closes(&self) -> u32 {
        if !self.kept_open.load(Relaxed) {
            return 0;
        }
        self.closes.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// Whether every connection to it is gone, the last one by its GOAWAY. Said
    /// once.
    pub(super) fn take_goaway(&self) -> bool {
        self.said_goaway.load(Relaxed) && self.said_goaway.swap(false, Relaxed)
    }
}
