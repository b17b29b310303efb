//! The handover: where a successor asks, and how long it may take.
//!
//! Invariant: a path that leaves here fits into a socket's address.
//!
//! Deliberately absent: where `auto` is. That depends on the environment of
//! the process, and the process floor finds it.

use super::super::file;
use super::super::model::{Handover, HandoverSocket};
use super::super::read::{At, value_or};
use super::super::report::{Fault, Reported};
use super::{Check, address};
use std::time::Duration;

/// How long a successor may take to prove itself unless told otherwise.
const READY: Duration = Duration::from_secs(30);

impl Check<'_> {
    pub(super) fn handover(
        &self,
        written: Option<At<file::Handover>>,
    ) -> Result<Handover, Reported> {
        let written = value_or(written, file::Handover::default())?;
        let default = HandoverSocket::Auto;
        let socket = self.parse_or(written.socket.as_ref(), default, |text| match text {
            "auto" => Ok(HandoverSocket::Auto),
            "off" => Ok(HandoverSocket::Off),
            "" => Err(Fault::new(
                "`socket` cannot be empty",
                "write `auto`, `off` or the path of a Unix socket",
            )),
            path => {
                let path = path.strip_prefix("unix:").unwrap_or(path);
                address::unix_fits(self.path(path)).map(HandoverSocket::Path)
            }
        });
        let ready = self.time("ready", written.ready, READY);
        Ok(Handover {
            socket: socket?,
            ready: ready?,
        })
    }
}
