//! systemd: it is told where the process stands (`sd_notify(3)`), and passes
//! and keeps listening sockets (`sd_listen_fds(3)`, `FDSTORE=1`).
//!
//! Sockets that a listener bound itself are kept with systemd while it
//! serves: when the process crashes, clients wait in their queues for the
//! next one. A drain takes them back before it shuts them, since whoever would
//! wait there then would wait in vain.
//!
//! The watchdog is fed by the conductor, and only if each worker has answered
//! since the last time: a process that is there but does not serve is none.
//!
//! Invariant: without systemd in the environment nothing of this has any
//! effect. Deliberately absent: asking systemd for anything.

mod assign;
mod notify;
mod passed;
mod standing;

pub(super) use passed::Passed;
pub(super) use standing::Standing;

use super::Error;
use crate::clock;
use crate::config::Config;
use crate::drain::Timestamp;
use notify::{DESCRIPTORS, Notifier};
use standing::Told;
use std::env;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::time::Duration;

/// What the names of stored sockets begin with; no listener's does.
const STORED: &str = "stored@";

/// How often a drain says how far it is.
const PROGRESS: Duration = Duration::from_secs(1);

/// What is set for this process alone, and not for the programs of hooks.
pub(super) const ENVIRONMENT: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// What of it a successor must not take for its own; it is a process of the
/// same service, but not this one.
pub(super) const OF_THIS_PROCESS: [&str; 4] =
    ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub(super) struct Systemd {
    notifier: Option<Notifier>,
    /// How often the watchdog is fed.
    watchdog: Option<Duration>,
    told: Told,
    /// When there is something to tell again.
    next: Option<Timestamp>,
    reloading: bool,
}

impl Systemd {
    /// The one that started this process, and what it passes.
    ///
    /// # Errors
    /// When a passed socket cannot be used.
    pub(super) fn of_environment(config: &Config) -> Result<(Self, Passed), Error> {
        let notifier = env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let notifier = Notifier::to(&name);
            let failed = |error| {
                tracing::warn!(event = "systemd", ?name, %error, "systemd cannot be told");
            };
            notifier.map_err(failed).ok()
        });
        let mut passed = Passed::from_environment(config)?;
        let systemd = Self {
            watchdog: notifier.as_ref().and_then(|_| watchdog()),
            notifier,
            ..Self::default()
        };
        for listener in passed.gone.drain(..) {
            tracing::info!(event = "systemd", listener, "a stored socket is let go of");
            systemd.forget(&listener);
        }
        Ok((systemd, passed))
    }

    /// Whether there is somebody to tell.
    pub(super) const fn listens(&self) -> bool {
        self.notifier.is_some()
    }

    /// Everything is accepted and served.
    pub(super) fn ready(&mut self) {
        self.tell("READY=1\n");
        self.next = self.watchdog.map(|_| clock::now());
    }

    /// This process is the service now, in place of another: what it said of
    /// itself before was not believed.
    pub(super) fn succeed(&mut self) {
        let watchdog = self.watchdog.map(|quarter| (quarter * 4).as_micros());
        let watchdog = watchdog.map(|time| format!("WATCHDOG_USEC={time}\nWATCHDOG=1\n"));
        self.tell(&format!("READY=1\n{}", watchdog.unwrap_or_default()));
    }

    /// A reload begins.
    pub(super) fn reloading(&mut self) {
        self.reloading = true;
        let now = clock::monotonic().as_micros();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}\n"));
    }

    /// No reload is under way any more; what is to be said of the last one.
    pub(super) fn reloaded(&mut self, remark: Option<&str>) {
        if !std::mem::take(&mut self.reloading) {
            return;
        }
        let remark = remark.map(|remark| self.told.remark(remark));
        self.tell(&format!("READY=1\n{}", remark.unwrap_or_default()));
    }

    /// Another process is the service from now on. Nothing is told any more:
    /// that this one ends is no end of the service. The watchdog is sent home,
    /// as the other may not know of it.
    pub(super) fn main_pid(&mut self, pid: u32) {
        let rest = self.watchdog.map_or("", |_| "WATCHDOG_USEC=0\n");
        self.tell(&format!("MAINPID={pid}\n{rest}"));
        *self = Self::default();
    }

    /// Tell what has changed of where the process stands.
    pub(super) fn follow(&mut self, standing: &Standing) {
        let now = clock::now();
        let lines = self.told.lines(standing, now);
        if !lines.is_empty() {
            self.tell(&lines);
        }
        if standing.stage.is_some() && self.listens() {
            let soon = now + PROGRESS;
            self.next = Some(self.next.map_or(soon, |next| next.min(soon)));
        }
    }

    /// Wait until something is to be told again; for ever if nothing is.
    pub(super) async fn due(&self) {
        match self.next {
            Some(at) => tokio::time::sleep_until(clock::instant(at)).await,
            None => std::future::pending().await,
        }
    }

    /// The process lives: `well` says whether all of it does.
    pub(super) fn beat(&mut self, well: bool) {
        if self.watchdog.is_some() && well {
            self.tell("WATCHDOG=1\n");
        }
        let progress = self.told.is_leaving().then_some(PROGRESS);
        let period = self.watchdog.into_iter().chain(progress).min();
        self.next = period.map(|period| clock::now() + period);
    }

    /// Go on to feed the watchdog, for ever.
    pub(super) async fn beat_on(&mut self) {
        loop {
            self.due().await;
            self.beat(true);
        }
    }

    /// Keep a listener's sockets, beside us.
    pub(super) fn store(&self, listener: &str, sockets: &[TcpListener]) {
        let Some(notifier) = &self.notifier else {
            return;
        };
        let lines = format!("FDSTORE=1\nFDPOLL=0\nFDNAME={STORED}{listener}\n");
        for sockets in sockets.chunks(DESCRIPTORS) {
            let descriptors: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
            notifier.tell(&lines, &descriptors);
        }
    }

    /// Let go of what was kept for a listener.
    pub(super) fn forget(&self, listener: &str) {
        self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={STORED}{listener}\n"));
    }

    fn tell(&self, lines: &str) {
        if let Some(notifier) = &self.notifier {
            notifier.tell(lines, &[]);
        }
    }
}

/// How often the watchdog is to be fed: four times in the time that it waits,
/// so that one missing answer of a worker is none too many.
fn watchdog() -> Option<Duration> {
    let number = |key| env::var(key).ok().and_then(|text| text.parse::<u64>().ok());
    let ours = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(std::process::id()));
    let time = number("WATCHDOG_USEC").filter(|time| ours && *time > 0)?;
    Some(Duration::from_micros(time) / 4)
}
