//! The configuration file as it is written.
//!
//! Purpose: the shape of the file: every table, every key, its type and its
//! documentation, from which both the reader and the JSON Schema come.
//!
//! Invariant: each value here has the right type and unit, or an [`At`] that
//! proves its problem was reported; nothing else is known about it.
//!
//! Deliberately absent: defaults as values and the meaning of anything. The
//! defaults named for the schema are held equal to those that `check` fills
//! in by the tests on `conf/full.toml`.

mod access;
mod admin;
mod balance;
mod discover;
mod eject;
mod health;
mod hook;
mod limits;
mod listener;
mod pool;
mod retry;
mod traces;
mod upstream;

pub(super) use access::{Access, AccessTable, Template};
pub(super) use admin::Admin;
pub(super) use balance::{Balance, Method};
pub(super) use discover::{Discover, Server, ServerTable};
pub(super) use eject::{Eject, Going, SuccessRate};
pub(super) use health::Health;
pub(super) use hook::{Hook, HookFile, HookHttp};
pub(super) use limits::{Adaptive, UpstreamLimits};
pub(super) use listener::{
    Keepalive, Limits, Listener, ListenerTls, Protocol, ProxyProtocol, Route,
};
pub(super) use pool::{Ping, Pool, TcpKeepalive};
pub(super) use retry::Retry;
pub(super) use traces::Traces;
pub(super) use upstream::{Upstream, UpstreamTls};

use super::model::LogFormat;
use super::read::{At, Named, Node, OneOf, Read, Size, Table, Time};
use super::report::{Problems, Reported};
use crate::drain::{Hopeless, LateRequests};
use schemars::JsonSchema;
use toml::de::DeTable;

/// The whole file.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Ebbtide configuration", deny_unknown_fields)]
pub(super) struct File {
    /// The admin API, metrics and readiness.
    pub(super) admin: Option<At<Admin>>,
    /// Worker threads and logs.
    pub(super) process: Option<At<Process>>,
    /// Bound sockets and what is served on them, by name; at least one.
    pub(super) listener: Option<At<Named<Listener>>>,
    /// Pools of servers, by name.
    pub(super) upstream: Option<At<Named<Upstream>>>,
    /// How a successor takes over.
    pub(super) handover: Option<At<Handover>>,
    /// The timeline of a drain.
    pub(super) drain: Option<At<Drain>>,
    /// What runs when a drain reaches a stage.
    pub(super) hook: Option<At<Vec<At<Hook>>>>,
}

impl File {
    /// Reads the whole file from its parsed tree.
    pub(super) fn read(root: &DeTable<'_>, problems: &Problems) -> Self {
        Table::read(root, 0..0, "this file", problems, |table| Self {
            admin: table.key("admin"),
            process: table.key("process"),
            listener: table.key("listener"),
            upstream: table.key("upstream"),
            handover: table.key("handover"),
            drain: table.key("drain"),
            hook: table.key("hook"),
        })
    }
}

/// What holds for the process as a whole.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Process {
    /// Worker threads; 0 is one per core.
    #[schemars(extend("default" = 0))]
    pub(super) workers: Option<At<u64>>,
    /// Open connections of clients on all listeners together; 0 is half of the
    /// descriptors that the process may have, since each may need one to a server.
    #[schemars(extend("default" = 0))]
    pub(super) connections: Option<At<u64>>,
    /// Open tunnels (WebSocket) on all listeners together, each of which may need a
    /// descriptor that no connection of a client stands for; 0 is three quarters of
    /// `connections`.
    #[schemars(extend("default" = 0))]
    pub(super) tunnels: Option<At<u64>>,
    /// Memory of the process, from which on nothing new is let in; 0 is four fifths
    /// of what its control group, or else the machine, has.
    #[schemars(extend("default" = 0))]
    pub(super) memory: Option<At<Size>>,
    /// The zone that this process is in, so that servers of the same zone are
    /// preferred; without it zones are not looked at.
    pub(super) zone: Option<At<String>>,
    /// How often the config and the files that it names are looked at; when they
    /// have changed, it is read anew. 0 is never.
    #[schemars(extend("default" = "0s"))]
    pub(super) watch: Option<At<Time>>,
    /// How and where it logs.
    pub(super) logs: Option<At<Logs>>,
    /// Where it sends traces; without it there are none.
    pub(super) traces: Option<At<Traces>>,
}

impl Read for Process {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`[process]`", |table| Self {
            workers: table.key("workers"),
            connections: table.key("connections"),
            tunnels: table.key("tunnels"),
            memory: table.key("memory"),
            zone: table.key("zone"),
            watch: table.key("watch"),
            logs: table.key("logs"),
            traces: table.key("traces"),
        })
    }
}

/// How and where the process logs.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Logs {
    /// The form of a line; `auto` is text on a terminal and JSON elsewhere.
    #[schemars(extend("default" = "auto"))]
    pub(super) format: Option<At<OneOf<LogFormat>>>,
    /// `stderr`, `stdout` or the path of a file.
    #[schemars(extend("default" = "stderr"))]
    pub(super) file: Option<At<String>>,
    /// Whether every request gets a line, or what that is; none if left out.
    pub(super) access: Option<At<Access>>,
    /// What is logged: a level, or `target=level` pairs with commas between.
    #[schemars(extend("default" = "info"))]
    pub(super) level: Option<At<String>>,
}

impl Read for Logs {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`logs`", |table| Self {
            format: table.key("format"),
            file: table.key("file"),
            access: table.key("access"),
            level: table.key("level"),
        })
    }
}

/// How a successor takes over from the running process.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Handover {
    /// Where a successor asks: `auto`, `off`, or the path of a Unix socket.
    #[schemars(extend("default" = "auto"))]
    pub(super) socket: Option<At<String>>,
    /// How long a successor may take to prove itself; then all stays as it was.
    #[schemars(extend("default" = "30s"))]
    pub(super) ready: Option<At<Time>>,
}

impl Read for Handover {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`[handover]`", |table| Self {
            socket: table.key("socket"),
            ready: table.key("ready"),
        })
    }
}

/// The timeline of a drain.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Drain {
    /// The time that the orchestrator gives before SIGKILL.
    #[schemars(extend("default" = "30s"))]
    pub(super) grace: Option<At<Time>>,
    /// How long readiness fails while everything is still accepted.
    #[schemars(extend("default" = "5s"))]
    pub(super) announce: Option<At<Time>>,
    /// The time over which connections are told to take no more requests.
    #[schemars(extend("default" = "2s"))]
    pub(super) spread: Option<At<Time>>,
    /// What a half-open connection gets, from its accept, to carry a request.
    #[schemars(extend("default" = "2s"))]
    pub(super) handshake: Option<At<Time>>,
    /// What an idle HTTP/1.1 connection gets for one more request.
    #[schemars(extend("default" = "1s"))]
    pub(super) last_request: Option<At<Time>>,
    /// How long work in flight runs on, by protocol.
    pub(super) finish: Option<At<Finish>>,
    /// What a peer gets to leave after its farewell, before it is cut.
    #[schemars(extend("default" = "2s"))]
    pub(super) farewell: Option<At<Time>>,
    /// What work in flight has when a successor has taken over, of every
    /// protocol: nobody waits for the exit then.
    #[schemars(extend("default" = "1h"))]
    pub(super) handover_finish: Option<At<Time>>,
    /// What becomes of requests on connections that were told to retire.
    #[schemars(extend("default" = "serve"))]
    pub(super) late_requests: Option<At<OneOf<LateRequests>>>,
    /// What becomes of requests whose own deadline (`grpc-timeout`) lies beyond
    /// the drain's.
    #[schemars(extend("default" = "wait"))]
    pub(super) hopeless: Option<At<OneOf<Hopeless>>>,
    /// A file in which the receipt is kept, as JSON; none if left out.
    pub(super) receipt: Option<At<String>>,
}

impl Read for Drain {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`[drain]`", |table| Self {
            grace: table.key("grace"),
            announce: table.key("announce"),
            spread: table.key("spread"),
            handshake: table.key("handshake"),
            last_request: table.key("last_request"),
            finish: table.key("finish"),
            farewell: table.key("farewell"),
            handover_finish: table.key("handover_finish"),
            late_requests: table.key("late_requests"),
            hopeless: table.key("hopeless"),
            receipt: table.key("receipt"),
        })
    }
}

/// How long work in flight runs on, by protocol.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Finish {
    /// HTTP/1.1 and HTTP/2 requests.
    #[schemars(extend("default" = "20s"))]
    pub(super) http: Option<At<Time>>,
    /// gRPC calls.
    #[schemars(extend("default" = "20s"))]
    pub(super) grpc: Option<At<Time>>,
    /// WebSocket tunnels.
    #[schemars(extend("default" = "10s"))]
    pub(super) websocket: Option<At<Time>>,
    /// TCP tunnels.
    #[schemars(extend("default" = "20s"))]
    pub(super) tcp: Option<At<Time>>,
}

impl Read for Finish {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`finish`", |table| Self {
            http: table.key("http"),
            grpc: table.key("grpc"),
            websocket: table.key("websocket"),
            tcp: table.key("tcp"),
        })
    }
}
