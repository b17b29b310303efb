//! What a successor and its predecessor say to each other.
//!
//! Invariant: fields are added, never changed, so that a program can hand over
//! to its next version and back; [`PROTOCOL`] is raised if that cannot be kept.
//!
//! Deliberately absent: when it is said (see `give` and `take`).

use crate::control::Predecessor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The version of the conversation.
pub(super) const PROTOCOL: u32 = 1;

/// Said by the process that takes over.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum FromSuccessor {
    /// It is there, and wants the sockets.
    Hello {
        /// Its [`PROTOCOL`].
        protocol: u32,
        /// Its process id.
        pid: u32,
        /// Its version.
        version: String,
        /// Whether it waits for the word to take over, once it is ready.
        standby: bool,
    },
    /// It has what came with the last message.
    Received {
        /// How many descriptors it counted.
        descriptors: usize,
    },
    /// It has proved itself.
    Ready(Kept),
    /// It accepts.
    Serving,
    /// Said by an operator's command: start this program, to take over.
    Start {
        /// The program, from the root.
        program: PathBuf,
        /// Its config, from the root.
        config: PathBuf,
    },
    /// It cannot.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What a successor goes on with.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::process) struct Kept {
    /// Listeners, by the predecessor's names.
    pub(in crate::process) listeners: Vec<String>,
    /// Whether the admin socket is among it.
    pub(in crate::process) admin: bool,
    /// Whether the socket on which successors ask is.
    pub(in crate::process) door: bool,
}

/// Said by the process that hands over.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum FromPredecessor {
    /// Descriptors are beside this.
    Sockets {
        /// What they are.
        kind: Kind,
        /// The listener's name.
        name: String,
        /// Where it listens.
        address: String,
        /// Whether another holds them too, and goes on holding them.
        #[serde(default)]
        lent: bool,
        /// How many there are.
        descriptors: usize,
    },
    /// That was all.
    Offered {
        /// Which upstreams have a server that is up.
        upstreams: BTreeMap<String, bool>,
        /// Servers that were found.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        found: Vec<Found>,
    },
    /// Take over.
    Go {
        /// Servers that are drained, and are to stay so: upstream, server.
        #[serde(default)]
        drained: Vec<(String, String)>,
    },
    /// No, or no more: all stays as it was.
    Refused {
        /// Why.
        reason: String,
    },
    /// The program that a command asked for is started.
    Started {
        /// Its process id.
        pid: u32,
    },
    /// It serves.
    Served,
    /// How it gets on with what it has in flight.
    News(Predecessor),
}

/// Servers that a source of an upstream has.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(in crate::process) struct Found {
    /// The upstream.
    pub(in crate::process) upstream: String,
    /// The source, as it is named in logs and metrics.
    pub(in crate::process) source: String,
    /// Address, weight, zone, and the part of an answer in which it stands.
    pub(in crate::process) servers: Vec<(String, u32, Option<String>, String)>,
}

/// What descriptors are.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::process) enum Kind {
    /// Sockets of one listener.
    Listener,
    /// The admin socket.
    Admin,
    /// The socket on which successors ask.
    Door,
    /// A channel on which an earlier predecessor tells how it gets on.
    Predecessor,
}
