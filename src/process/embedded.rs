//! A whole process on a thread of another program: the demo, and tests.
//!
//! The same as [`run`](super::run) but for the signals, which stay with the
//! program. It ends as any process of ours does: by a drain, asked for over
//! the admin interface.

use super::{Error, Process, signal};
use crate::config::{AdminAddr, Config};
use crate::control::Control;
use crate::drain::Receipt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

/// A process that runs on a thread.
#[derive(Debug)]
pub struct Handle {
    listeners: Vec<(Arc<str>, SocketAddr)>,
    admin: AdminAddr,
    control: Control,
    thread: JoinHandle<Result<(), Error>>,
}

/// Bind everything and begin to serve.
///
/// # Errors
/// Any [`Error`]; nothing was accepted then.
pub fn start(config: Config) -> Result<Handle, Error> {
    // Only a signal ends it before, and there is none.
    let process = Process::begin(config, signal::none()?, None)?.ok_or(Error::NoReceipt)?;
    let listeners = process.listeners();
    let admin = process.admin_address().clone();
    let control = process.control();
    let thread = std::thread::Builder::new()
        .name("ebbtide".to_owned())
        .spawn(move || process.run())?;
    Ok(Handle {
        listeners,
        admin,
        control,
        thread,
    })
}

impl Handle {
    /// The address of a listener.
    #[must_use]
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        let mut named = self.listeners.iter();
        named
            .find(|(name, _)| &**name == listener)
            .map(|(_, address)| *address)
    }

    /// The address of the admin interface.
    #[must_use]
    pub fn admin(&self) -> &AdminAddr {
        &self.admin
    }

    /// Wait for the drain to be over; its receipt.
    ///
    /// # Errors
    /// If the process ended without one.
    pub fn join(self) -> Result<Arc<Receipt>, Error> {
        let ended = self.thread.join();
        match (ended, self.control.receipt()) {
            (Ok(Ok(())), Some(receipt)) => Ok(receipt),
            (Ok(Err(error)), _) => Err(error),
            _ => Err(Error::NoReceipt),
        }
    }
}
