//! FLOOR 0: what a drain is, and nothing else.
//!
//! Read it in this order: a [`Plan`] says how long each [`Stage`] may take;
//! the [`Machine`] takes time and [`Event`]s in and gives [`Action`]s out; a
//! [`Group`] is the machines of a process and its listeners, a [`ServerDrain`]
//! that of one server of an upstream;
//! [`Orders`] are what each connection must obey meanwhile; the [`Ledger`]
//! counts how things ended, and the [`Receipt`] says so, with who did not heed
//! what it was told ([`Compliance`]). What would happen if a drain began now is
//! the [`Forecast`]'s to say, by [`History`].
//!
//! Invariant: pure. Nothing here reads a clock, does I/O, waits, or knows of a
//! runtime; each function's result depends on its arguments alone. That makes
//! a drain something that can be tested over thousands of seeds, where a
//! drain of real sockets can be tried a dozen times.
//!
//! Deliberately absent: the shell. Signals, sockets and timers are turned into
//! events, and actions into effects, floors above.

mod accept_filter;
mod compliance;
mod doing;
mod event;
pub mod forecast;
mod group;
mod history;
mod hooked;
mod ledger;
mod machine;
mod orders;
mod phase;
mod plan;
mod policy;
mod protocol;
mod receipt;
mod server;
mod stage;
mod table;
mod time;
mod told;

pub use accept_filter::AcceptFilter;
pub use compliance::{Compliance, Sender, Senders, Watch};
pub use doing::Doing;
pub use event::{Action, Answer, Event, Trigger};
pub use forecast::{Forecast, Verdict};
pub use group::{Group, Member, MemberId, Whom};
pub use history::{ENOUGH, History};
pub use hooked::{HookEnd, HookRan};
pub use ledger::{CutReason, Farewell, Ledger, Outcome};
pub use machine::{CUT_LIMIT, Machine, REFUSE_LIMIT};
pub use orders::Orders;
pub use phase::{Phase, PhaseCell};
pub use plan::{Finish, Plan, PlanError};
pub use policy::{Hopeless, LateRequests};
pub use protocol::{Protocol, Protocols};
pub use receipt::{Accounts, Compared, Course, Foretold, Receipt, StageTimes};
pub use server::ServerDrain;
pub use stage::{Stage, StageSpan};
pub(crate) use table::{Give, Side, Table};
pub use time::Timestamp;
pub use told::{Parting, Told, Why};
