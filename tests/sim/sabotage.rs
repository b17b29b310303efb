//! Faults of a shell, for the invariants to find.
//!
//! An invariant that no fault violates proves nothing.

/// A fault put into the shell.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Sabotage {
    None,
    /// Connections accepted after refuse obey the first orders they read.
    LateOnesReadOrdersOnce,
    /// Idle HTTP/1.1 connections get no `last_request` window.
    IdleOnesCloseAtOnce,
    /// Each byte of a handshake gives it more time.
    HalfOpenOnesCountFromTheirLastByte,
    /// Cut exchanges do not get into the books.
    CutsAreNotCounted,
    /// Listeners close with connections in their accept queues.
    QueuesAreDropped,
    /// Nobody says when all is quiet.
    QuietIsNotNoticed,
    /// That one listener is quiet is told to all.
    QuietIsToldToAll,
    /// A cancel that comes too late opens the listeners again.
    RefuseIsTakenBack,
    /// Listeners do not wait for those they come after.
    NobodyWaits,
    /// Orders that an extension changed are not published.
    ExtensionsAreNotPublished,
    /// What one listener's connections must obey is told to another's.
    OrdersGoToAnother,
    /// The drain of one listener shuts the gates of all.
    AllGatesAreShut,
    /// The process exits with the first listener that is gone.
    TheFirstEndIsTheLast,
}

impl Sabotage {
    /// Each fault, and what the invariants say of it.
    pub(crate) const FOUND: [(Self, &'static str); 13] = [
        (Self::LateOnesReadOrdersOnce, "stayed beyond"),
        (Self::IdleOnesCloseAtOnce, "ended before"),
        (Self::HalfOpenOnesCountFromTheirLastByte, "stayed beyond"),
        (Self::CutsAreNotCounted, "does not balance"),
        (Self::QueuesAreDropped, "lost in an accept queue"),
        (Self::QuietIsNotNoticed, "the last one left at"),
        (Self::QuietIsToldToAll, "was due at"),
        (Self::RefuseIsTakenBack, "connected after refuse"),
        (Self::NobodyWaits, "before those it waits for"),
        (Self::ExtensionsAreNotPublished, "was promised"),
        (Self::OrdersGoToAnother, "ended before"),
        (Self::AllGatesAreShut, "was turned away"),
        (Self::TheFirstEndIsTheLast, "never terminates"),
    ];
}
