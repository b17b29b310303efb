//! What a seed says: the plan, the trigger, its moment, and who is there.
//!
//! Everything that a drain of the storm leaves to chance is drawn here, from
//! one generator, so that a seed alone says what is tried. What the kernel and
//! the machine add to it (the order of packets and of tasks) no seed can say.
//!
//! Deliberately absent: anything that happens. See `drain` and `cast`.

use fastrand::Rng;
use std::fmt::{self, Display};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The window after its last request in which an idle HTTP/1.1 connection may
/// still be used, see [`Script::reuse`].
const LAST_REQUEST: Duration = Duration::from_millis(300);
const SPREAD: Duration = Duration::from_millis(200);
const HANDSHAKE: Duration = Duration::from_secs(1);
const FINISH: Duration = Duration::from_secs(1);
const FAREWELL: Duration = Duration::from_secs(1);

/// How the drain is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// SIGTERM.
    Signal,
    /// `POST /v1/drain`.
    Api,
    /// `ebbtide drain --wait --json`, which returns with the receipt.
    Command,
}

/// One drain, as its seed has it.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) trigger: Trigger,
    pub(crate) announce: Duration,
    /// From the first client to the drain.
    pub(crate) moment: Duration,
    /// Whether there are clients that stay until they are sent away.
    pub(crate) endless: bool,
    /// Every port of the proxy is on it, so that no port of another drain,
    /// past or to come, can be taken for one of this.
    pub(crate) host: Ipv4Addr,
    /// What the cast is drawn from.
    pub(crate) rng: Rng,
}

impl Script {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        // Seven bits of the seed each, clear of what ends in 0, 1 or 255.
        let part = |shift: u32| u8::try_from((seed >> shift) & 0x7f).unwrap_or_default();
        Self {
            seed,
            // By turns.
            trigger: match seed % 3 {
                0 => Trigger::Signal,
                1 => Trigger::Api,
                _ => Trigger::Command,
            },
            announce: Duration::from_millis(rng.u64(0..=300)),
            moment: Duration::from_millis(rng.u64(20..=450)),
            endless: rng.u8(0..3) > 0,
            host: Ipv4Addr::new(127, 16 + part(14) / 2, part(7), part(0) + 2),
            rng,
        }
    }

    /// The earliest that anybody may be turned away, from the asking.
    pub(crate) fn refuses_after(&self) -> Duration {
        self.announce
    }

    /// The earliest that an exchange may be told to end, from the asking.
    pub(crate) fn deadline_after(&self) -> Duration {
        self.announce + FINISH
    }

    /// For how long after it sent a request a client of HTTP/1.1 may take its
    /// connection for usable, once a drain may be under way: the half of the
    /// window, since the answer and the next request need time on their way.
    pub(crate) fn reuse() -> Duration {
        LAST_REQUEST / 2
    }

    /// How long a half-open connection has.
    pub(crate) const fn handshake() -> Duration {
        HANDSHAKE
    }
}

/// Where the servers are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Servers {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) websocket: SocketAddr,
    pub(crate) tcp: SocketAddr,
}

/// The config of one drain.
pub(crate) struct Config<'a>(pub(crate) &'a Script, pub(crate) Servers);

impl Display for Config<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(script, servers) = self;
        let host = script.host;
        let routes = "routes = [{ path = \"/storm.Lines/\", upstream = \"grpc\" }, \
                      { path = \"/chat\", upstream = \"chat\" }, { upstream = \"site\" }]";
        let tls = r#"tls = { cert = "site.pem", key = "site.key" }"#;
        write!(f, "[admin]\nlisten = \"{host}:0\"\n\n")?;
        f.write_str(
            "[process]\nworkers = 2\nlogs = { format = \"json\", level = \"info,ebbtide=debug\" }\n\n",
        )?;
        write!(f, "[listener.web]\nlisten = \"{host}:0\"\n{routes}\n\n")?;
        write!(
            f,
            "[listener.secure]\nlisten = \"{host}:0\"\n{tls}\n{routes}\n\n"
        )?;
        for (name, more) in [("tcp", ""), ("secure_tcp", tls)] {
            write!(
                f,
                "[listener.{name}]\nlisten = \"{host}:0\"\nprotocol = \"tcp\"\nupstream = \"tcp\"\n{more}\n\n"
            )?;
        }
        for (name, address, more) in [
            ("site", servers.http, ""),
            ("grpc", servers.grpc, "http = \"h2\"\n"),
            ("chat", servers.websocket, ""),
            ("tcp", servers.tcp, ""),
        ] {
            write!(f, "[upstream.{name}]\nservers = [\"{address}\"]\n{more}\n")?;
        }
        write!(
            f,
            "[drain]\ngrace = \"10s\"\nannounce = \"{}ms\"\nspread = \"{}ms\"\nhandshake = \"{}ms\"\n\
             last_request = \"{}ms\"\nfarewell = \"{}ms\"\n\
             finish = {{ http = \"{finish}ms\", grpc = \"{finish}ms\", websocket = \"{finish}ms\", tcp = \"{finish}ms\" }}\n",
            script.announce.as_millis(),
            SPREAD.as_millis(),
            HANDSHAKE.as_millis(),
            LAST_REQUEST.as_millis(),
            FAREWELL.as_millis(),
            finish = FINISH.as_millis(),
        )
    }
}
