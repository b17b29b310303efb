//! What was asked and what was done, one after the other, as an observer
//! beside the shell would write it down.

use crate::script::Party;
use ebbtide::drain::{Action, Answer, Event, Timestamp};

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    pub(crate) at: Timestamp,
    pub(crate) what: What,
}

/// What.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// An operator asked, and was answered.
    Asked(Party, Event, Answer),
    /// The group wanted something done.
    Did(Party, Action),
    /// A listener had emptied its accept queue, and closed.
    Closed(usize),
    /// What the group said of the process after a step.
    Stands {
        /// Whether it should get traffic.
        ready: bool,
        /// When it is over at the latest.
        latest: Option<Timestamp>,
    },
}
