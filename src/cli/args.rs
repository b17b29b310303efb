//! The arguments: what can be asked of the program, and in which words.
//!
//! Invariant: an argument that has a value has been understood; nobody parses
//! it again. Absent: commands that this version cannot do, rather than stubs
//! that say so.

mod address;
mod fleet;

pub(super) use address::Address;
pub(super) use fleet::Fleet;

use super::list::By;
use crate::config;
use crate::drain::Protocol;
use crate::proxy::registry::State;
use clap::{Args, Parser, Subcommand};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// A reverse proxy for the moment when things stop: drain it under load, and
/// no client notices.
#[derive(Debug, Parser)]
#[command(name = "ebbtide", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 good; 1 failed; 2 usage; \
    3 drained, but something was cut (drain --wait); 64 bad config; \
    130 interrupted (drain --wait; the drain goes on)";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the proxy until it has drained
    Run(Run),
    /// See it drain: servers, clients and a proxy in one process, no config needed
    Demo,
    /// Say everything that is wrong with a config
    Check(File),
    /// Print the JSON Schema of the config file
    Schema,
    /// Show a running proxy at a glance, or a whole fleet
    Status(Status),
    /// Show every connection and what it waits for
    Connections(Connections),
    /// Watch a running proxy in the terminal, live, and drain it from there
    Top(Top),
    /// Drain a running proxy, or a fleet one by one
    Drain(Drain),
    /// Show what a drain would cut short if it began now
    Forecast(Forecast),
    /// Show what the drain did
    Receipt(Receipt),
    /// Have a running proxy read its config anew
    Reload(Reload),
    /// Show the config that a running proxy runs by, every default written out
    Config(Remote),
    /// Let a new program take over the sockets of the running one
    Handover(Handover),
}

/// What to run.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) file: File,
    /// Take over the sockets of the running process, which drains once this
    /// one serves; its handover socket is that of the config unless given
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, require_equals = true)]
    #[expect(
        clippy::option_option,
        reason = "how clap reads a value that may be left out"
    )]
    pub(super) takeover: Option<Option<PathBuf>>,
    /// Get ready, and take over when the running process gets SIGQUIT or
    /// `ebbtide handover`
    #[arg(long, requires = "takeover")]
    pub(super) standby: bool,
}

/// Who is to take over.
#[derive(Debug, Args)]
pub(super) struct Handover {
    /// Start this program, and wait until it serves; without, the successor
    /// that waits gets the word
    #[arg(long, value_name = "PROGRAM")]
    pub(super) exec: Option<PathBuf>,
    /// The successor's config [default: the running process's]
    #[arg(requires = "exec")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// A config, and what its drain has to fit.
#[derive(Debug, Args)]
pub(super) struct File {
    /// The config file [default: /etc/ebbtide/ebbtide.toml, else ./ebbtide.toml]
    pub(super) config: Option<PathBuf>,
    /// What the orchestrator gives between SIGTERM and SIGKILL, e.g. 30s: a drain
    /// that can take longer is refused
    #[arg(long, value_name = "TIME", env = "EBBTIDE_GRACE", value_parser = config::duration)]
    pub(super) grace: Option<Duration>,
}

/// Whose status to show.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Many at once, in place of --admin: dns:NAME:PORT, ADDR,ADDR or
    /// <file:PATH>, an address a line
    #[arg(long, value_name = "FLEET")]
    pub(super) fleet: Option<Fleet>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// Which connections to show, and in which order.
#[derive(Debug, Args)]
pub(super) struct Connections {
    /// What stands first
    #[arg(long, value_name = "BY", value_enum, default_value_t)]
    pub(super) sort: By,
    /// Turn the order about
    #[arg(long, short)]
    pub(super) reverse: bool,
    /// Only those of this listener
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(super) listener: Option<String>,
    /// Only those that speak this
    #[arg(long, value_name = "PROTOCOL", value_parser = Protocol::ALL.map(Protocol::as_str))]
    pub(super) protocol: Option<String>,
    /// Only those in this state
    #[arg(long, value_name = "STATE", value_parser = State::ALL.map(State::as_str))]
    pub(super) state: Option<String>,
    /// No more than this many
    #[arg(long, value_name = "COUNT")]
    pub(super) limit: Option<usize>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// Whose receipt to show.
#[derive(Debug, Args)]
pub(super) struct Receipt {
    /// That of this listener, which was drained alone
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(super) listener: Option<String>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// How to watch.
#[derive(Debug, Args)]
pub(super) struct Top {
    /// Print one picture as text, and leave
    #[arg(long)]
    pub(super) once: bool,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// What to do about a drain.
#[derive(Debug, Args)]
pub(super) struct Drain {
    /// Wait until it is over, telling how far it is, and print the receipt; exit with 3
    /// if something was cut. Ctrl-C ends the waiting, not the drain
    #[arg(long)]
    pub(super) wait: bool,
    /// Take back a drain that is still announcing, or that of a server at any time
    #[arg(long, conflicts_with = "wait")]
    pub(super) cancel: bool,
    /// Give what is in flight this much more time, e.g. 30s
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["wait", "cancel"])]
    pub(super) extend: Option<String>,
    /// Only this listener, not the process
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(super) listener: Option<String>,
    /// Only this server of an upstream, as in site/10.0.0.1:8080
    #[arg(long, value_name = "UPSTREAM/SERVER", value_parser = server,
          conflicts_with_all = ["listener", "extend"])]
    pub(super) server: Option<ServerName>,
    /// What a server's exchanges have to finish, as in 30s; the plan's times if left out
    #[arg(long, value_name = "TIME", value_parser = time, requires = "server", conflicts_with = "cancel")]
    pub(super) finish: Option<String>,
    #[command(flatten)]
    pub(super) walk: Walk,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// How to drain a fleet.
#[derive(Debug, Args)]
pub(super) struct Walk {
    /// One after the other, in place of --admin: dns:NAME:PORT, ADDR,ADDR or
    /// <file:PATH>, an address a line. The next is drained when the successors of
    /// those before it are ready, which somebody else has to start
    #[arg(long, value_name = "FLEET",
          conflicts_with_all = ["cancel", "extend", "listener", "server", "finish"])]
    pub(super) fleet: Option<Fleet>,
    /// How many of the fleet may be away at once
    #[arg(long, value_name = "COUNT", default_value = "1", requires = "fleet")]
    pub(super) max_concurrent: NonZeroUsize,
    /// How long a successor may take to be ready
    #[arg(long, value_name = "TIME", default_value = "5m", requires = "fleet",
          value_parser = config::duration)]
    pub(super) ready_timeout: Duration,
}

#[cfg(test)]
impl Default for Walk {
    fn default() -> Self {
        Self {
            fleet: None,
            max_concurrent: NonZeroUsize::MIN,
            ready_timeout: Duration::from_secs(300),
        }
    }
}

/// What to do about a config.
#[derive(Debug, Args)]
pub(super) struct Reload {
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Wait until what the config has no place for any more has drained
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) wait: bool,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// A duration, passed on as it is written.
fn time(text: &str) -> Result<String, String> {
    config::duration(text).map(|_| text.to_owned())
}

/// A listener's name, as the config has them.
fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("a listener's name has letters, digits, `_`, `-` and `.`".to_owned())
}

/// A server, by its names in the config.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) struct ServerName {
    pub(super) upstream: String,
    pub(super) server: String,
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.upstream, self.server)
    }
}

fn server(text: &str) -> Result<ServerName, String> {
    // Only the first: what follows may be the path of a socket.
    match text.split_once('/') {
        Some((upstream, server)) if !upstream.is_empty() && !server.is_empty() => Ok(ServerName {
            upstream: upstream.to_owned(),
            server: server.to_owned(),
        }),
        _ => {
            Err("a server is named by its upstream and itself, as in site/10.0.0.1:8080".to_owned())
        }
    }
}

/// What a forecast assumes.
#[derive(Debug, Args)]
pub(super) struct Forecast {
    /// What everything in flight would have to finish, as in 30s; the plan's times if left out
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) finish: Option<String>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// How to reach a running proxy, and how to show its answer.
#[derive(Clone, Debug, Args)]
pub(super) struct Remote {
    /// Its admin interface: HOST:PORT, <https://HOST:PORT>, or unix:PATH
    #[arg(
        long,
        value_name = "ADDR",
        env = "EBBTIDE_ADMIN",
        default_value = "127.0.0.1:9900"
    )]
    pub(super) admin: Address,
    /// The admin token, if its config has one; arguments can be read by other
    /// users of the machine, the environment cannot
    #[arg(long, env = "EBBTIDE_TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,
    /// The authority of its certificate, a PEM file, where it has TLS
    #[arg(long, value_name = "FILE", env = "EBBTIDE_CA")]
    pub(super) ca: Option<PathBuf>,
    /// A client certificate to show there, a PEM file
    #[arg(long, value_name = "FILE", env = "EBBTIDE_CERT", requires = "key")]
    pub(super) cert: Option<PathBuf>,
    /// The private key of that certificate, a PEM file
    #[arg(long, value_name = "FILE", env = "EBBTIDE_KEY", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[cfg(test)]
mod tests;
