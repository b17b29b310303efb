//! Whose turn it is: those that do, or those that undo.
//!
//! A service that was taken out of discovery and put back within a moment
//! must end up in it, so the two must not overtake each other.
//!
//! Invariant: a turn begins when all of the one before have ended.
//!
//! Deliberately absent: a limit on time; each hook has its own.

use std::sync::Arc;
use tokio::sync::watch::{Receiver, Sender, channel};

/// The turn that is open. It is over when nobody holds it and the next one is.
#[derive(Debug)]
pub(super) struct Turn {
    undoes: bool,
    held: Receiver<()>,
    over: Arc<Sender<()>>,
    before: Option<Arc<Sender<()>>>,
}

/// A place in a turn.
#[derive(Debug)]
pub(super) struct Place {
    held: Receiver<()>,
    before: Option<Arc<Sender<()>>>,
}

impl Default for Turn {
    fn default() -> Self {
        Self::after(None, false)
    }
}

impl Turn {
    fn after(before: Option<Arc<Sender<()>>>, undoes: bool) -> Self {
        let (over, held) = channel(());
        Self {
            undoes,
            held,
            over: Arc::new(over),
            before,
        }
    }

    /// Open the next turn, unless it is these ones' already.
    pub(super) fn passes_to(&mut self, undoes: bool) {
        if self.undoes != undoes {
            let before = Arc::clone(&self.over);
            *self = Self::after(Some(before), undoes);
        }
    }

    /// Take a place in it.
    pub(super) fn join(&self) -> Place {
        Place {
            held: self.held.clone(),
            before: self.before.clone(),
        }
    }
}

impl Place {
    /// Wait until the turn before is over; this one is held by what is
    /// returned.
    pub(super) async fn begin(self) -> Receiver<()> {
        if let Some(before) = &self.before {
            before.closed().await;
        }
        self.held
    }
}
