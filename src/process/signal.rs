//! Signals, installed before anything else and read in order of priority.
//!
//! First drain (SIGTERM, SIGINT), then reload and the like, then questions;
//! first in, first out within one priority. The kernel merges repeats of one
//! signal while nobody reads them, which is right: a repeat has one effect.

use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use nix::sys::signal::{SigSet, SigmaskHow};
use std::io;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What handlers are installed for.
const ALL: [nix::sys::signal::Signal; 6] = [SIGTERM, SIGINT, SIGHUP, SIGUSR2, SIGQUIT, SIGUSR1];

/// The main thread's runtime, and the signals that it watches.
#[derive(Debug)]
pub struct Signals {
    pub(super) runtime: Runtime,
    pub(super) streams: Option<Streams>,
}

/// What the operator wants, by signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    /// SIGTERM: drain.
    Terminate,
    /// SIGINT: drain; again: cut.
    Interrupt,
    /// SIGHUP: reload.
    Reload,
    /// SIGUSR2: open log files anew.
    Reopen,
    /// SIGQUIT: hand over to a successor.
    Handover,
    /// SIGUSR1: write the state to the log.
    Dump,
}

#[derive(Debug)]
pub(super) struct Streams {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
    reopen: Signal,
    handover: Signal,
    dump: Signal,
}

/// Install the handlers. To be called first: until then a signal has its
/// default effect, which ends the process at once.
///
/// # Errors
/// What the system said.
pub fn install() -> io::Result<Signals> {
    // Held back meanwhile: one that came when the system knew the handler, but
    // the handler not yet whom to tell, would be lost.
    let held = ALL.iter().copied().collect::<SigSet>();
    let before = held.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let signals = installed();
    before.thread_set_mask()?;
    signals
}

fn installed() -> io::Result<Signals> {
    let mut signals = none()?;
    let inside = signals.runtime.enter();
    let streams = Streams {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        reload: signal(SignalKind::hangup())?,
        reopen: signal(SignalKind::user_defined2())?,
        handover: signal(SignalKind::quit())?,
        dump: signal(SignalKind::user_defined1())?,
    };
    drop(inside);
    signals.streams = Some(streams);
    Ok(signals)
}

impl Signals {
    /// Wait for what `work` does, unless a signal ends the process before:
    /// then there is nothing to do.
    pub(super) fn unless_ended<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = super::conductor::ending(&mut self.streams) => None,
                done = work => Some(done),
            }
        })
    }
}

/// No handlers: for a proxy inside of another program, which keeps its own.
///
/// # Errors
/// What the system said.
pub fn none() -> io::Result<Signals> {
    Ok(Signals {
        runtime: Builder::new_current_thread().enable_all().build()?,
        streams: None,
    })
}

impl Streams {
    /// The next wish, the most urgent first.
    pub(super) async fn next(&mut self) -> Wish {
        tokio::select! {
            biased;
            Some(()) = self.terminate.recv() => Wish::Terminate,
            Some(()) = self.interrupt.recv() => Wish::Interrupt,
            Some(()) = self.reload.recv() => Wish::Reload,
            Some(()) = self.reopen.recv() => Wish::Reopen,
            Some(()) = self.handover.recv() => Wish::Handover,
            Some(()) = self.dump.recv() => Wish::Dump,
            else => std::future::pending().await,
        }
    }
}
