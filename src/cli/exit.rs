//! What the exit codes mean. 0 is good: for `run`, a drain that ran to its
//! plan, whatever its clients did.
//!
//! Invariant: scripts rely on these; a code never changes its meaning.
//! Deliberately absent: codes by kind of failure. Standard error says which.

/// It did not work.
pub const FAILED: u8 = 1;

/// The arguments were not understood.
pub const USAGE: u8 = 2;

/// `drain --wait`: it drained, and something was cut.
pub const CUT: u8 = 3;

/// The config was refused (`EX_USAGE` in sysexits.h).
pub const CONFIG: u8 = 64;

/// `drain --wait`: Ctrl-C ended the waiting, not the drain (128 and the number
/// of SIGINT, as shells have it).
pub const INTERRUPTED: u8 = 130;
