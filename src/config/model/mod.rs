//! The checked configuration: what the rest of Ebbtide runs from.
//!
//! Purpose: one value, [`Config`], built by [`load`](super::load) or
//! [`parse`](super::parse), in which everything has been read, checked and
//! loaded: references are indices, units are types, certificates are parsed
//! and match their keys, host names are addresses.
//!
//! Invariant: a `Config` that exists can be run. Whoever holds one need not
//! check it again; in particular every [`UpstreamId`] indexes
//! [`Config::upstreams`], every upstream has a server or a source of them, and
//! the drain plan fits its grace.
//!
//! Deliberately absent: the text that the values came from and its spans
//! (see `file`), defaults (see `check`, where the file becomes the model),
//! and any use of the values: nothing here binds, dials or waits.

mod access;
mod discover;
mod eject;
mod hook;
mod limits;
mod listener;
mod pool;
mod retry;
mod traces;
mod upstream;

pub use access::{Access, AccessField, AccessForm, AccessPiece, AccessValue};
pub use discover::{Discover, Family, Place, Source};
pub use eject::{Eject, Going, SuccessRate};
pub use hook::{Hook, HookRun, Occasion};
pub use limits::{Adaptive, UpstreamLimits};
pub use listener::{
    Certificate, ClientAuth, HostPattern, Keepalive, Limits, Listener, ListenerTls, ProxyProtocol,
    Route, Serves,
};
pub use pool::{Ping, Pool, TcpKeepalive};
pub use retry::Retry;
pub use traces::{Ratio, Traces, TracesProtocol};
pub use upstream::{
    Balance, HashBy, Health, HealthCheck, HttpCheck, ProxyVersion, Server, ServerAddress, Upstream,
    UpstreamHttp, UpstreamId, UpstreamTls,
};

use super::files::Files;
use super::words::Word;
use crate::drain::Plan;
use serde_json::Value;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A whole configuration, checked and loaded.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from, as it was named.
    pub source: PathBuf,
    /// It and the files that were read for it, as they were before that.
    pub files: Files,
    /// Where the admin API listens.
    pub admin: Admin,
    /// Worker threads and logs.
    pub process: Process,
    /// At least one listener, in the order of the file.
    pub listeners: Vec<Listener>,
    /// The named pools, in the order of the file.
    pub upstreams: Vec<Upstream>,
    /// How a successor takes over.
    pub handover: Handover,
    /// The timeline of a drain; it fits its own grace.
    pub plan: Plan,
    /// Where the receipt of the process's drain is kept, if anywhere; a
    /// relative path has been resolved. Its folder was there.
    pub receipt: Option<PathBuf>,
    /// What runs when a drain reaches a stage, in the order of the file.
    pub hooks: Vec<Hook>,
    /// From SIGTERM to SIGKILL, if the process was told; the drain fits it.
    pub given: Option<Duration>,
    /// The file with every default written out, and no secret.
    pub shown: Arc<Value>,
}

impl Config {
    /// The upstream that `id` names.
    ///
    /// # Panics
    /// If `id` was made for another configuration.
    #[must_use]
    pub fn upstream(&self, id: UpstreamId) -> &Upstream {
        &self.upstreams[id.0]
    }
}

/// The admin API: its address and who may use it.
#[derive(Clone, PartialEq)]
pub struct Admin {
    /// Where it listens; `127.0.0.1:9900` unless told otherwise.
    pub listen: AdminAddr,
    /// Its TLS, or clear text.
    pub tls: Option<ListenerTls>,
    /// The bearer tokens of which every request must carry one (RFC 6750,
    /// section 2.1). When `listen` can be reached from other machines there is
    /// one, or client certificates are asked for.
    pub tokens: Vec<String>,
    /// Those with which one may look and change nothing.
    pub read_tokens: Vec<String>,
    /// How long it stays when the drain is over, unless `/metrics` is read
    /// before; with the drain it fits the grace.
    pub linger: Duration,
}

/// Shows how many tokens there are, never a token: this value is logged.
impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("listen", &self.listen)
            .field("tls", &self.tls)
            .field("tokens", &format_args!("{} (hidden)", self.tokens.len()))
            .field(
                "read_tokens",
                &format_args!("{} (hidden)", self.read_tokens.len()),
            )
            .field("linger", &self.linger)
            .finish()
    }
}

/// An address of the admin API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AdminAddr {
    /// `host:port`, the host an IP address.
    Inet(SocketAddr),
    /// `unix:PATH`; a relative path has been resolved.
    Unix(PathBuf),
}

impl fmt::Display for AdminAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How a successor takes over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Handover {
    /// Where it asks for the sockets.
    pub socket: HandoverSocket,
    /// How long it may take to prove itself.
    pub ready: Duration,
}

/// Where a successor asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HandoverSocket {
    /// Where both sides look by themselves: beside the admin socket, or under
    /// the admin's address in the runtime directory.
    Auto,
    /// Nowhere.
    Off,
    /// A path; a relative one has been resolved.
    Path(PathBuf),
}

/// What holds for the process as a whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Process {
    /// Worker threads, one runtime each; 0 means one per core.
    pub workers: usize,
    /// Open connections of clients, on all listeners; 0 means by the number of
    /// descriptors.
    pub connections: usize,
    /// Open tunnels, save of TCP, on all listeners; 0 means by the number of
    /// connections.
    pub tunnels: usize,
    /// Bytes of memory from which on nothing new is let in; 0 means by the
    /// system's limits.
    pub memory: u64,
    /// The zone that it is in, if one is named.
    pub zone: Option<Arc<str>>,
    /// How often the files of the config are looked at; zero is never.
    pub watch: Duration,
    /// How and where it logs.
    pub logs: Logs,
    /// Where traces are sent, if anywhere.
    pub traces: Option<Traces>,
}

/// How and where the process logs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Logs {
    /// The form of a log line.
    pub format: LogFormat,
    /// Where the lines go.
    pub file: LogFile,
    /// The access log, if every exchange gets a line.
    pub access: Option<Access>,
    /// A `tracing` filter, e.g. `info` or `info,ebbtide::proxy=debug`.
    pub level: String,
}

/// The form of a log line.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// Text for people.
    Text,
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("json", Self::Json),
        ("text", Self::Text),
    ];
}

/// Where log lines go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum LogFile {
    /// Standard error.
    #[default]
    Stderr,
    /// Standard output.
    Stdout,
    /// A file that is appended to; a relative path has been resolved.
    Path(PathBuf),
}
