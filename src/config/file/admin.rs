//! The admin API as it is written.
//!
//! Purpose: the table `[admin]`.
//!
//! Invariant: as in the module above: types and units are right, or reported.
//!
//! Deliberately absent: which addresses need a token.

use super::super::read::{At, Node, OneOrMore, Read, Time};
use super::super::report::Reported;
use super::ListenerTls;
use schemars::JsonSchema;

/// The admin API, metrics and readiness.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Admin {
    /// Where it listens: an IP address and port, or `unix:PATH`.
    #[schemars(extend("default" = "127.0.0.1:9900"))]
    pub(in crate::config) listen: Option<At<String>>,
    /// TLS, as of a listener; with `client_ca` a client certificate takes the
    /// place of a token. An address that other machines can reach needs either.
    pub(in crate::config) tls: Option<At<OneOrMore<ListenerTls>>>,
    /// The bearer token that every request must carry, or `file:PATH` of a file
    /// of them, one on each line, of which each is good.
    #[schemars(extend("writeOnly" = true))]
    pub(in crate::config) token: Option<At<String>>,
    /// The same, for who may look and change nothing.
    #[schemars(extend("writeOnly" = true))]
    pub(in crate::config) read_token: Option<At<String>>,
    /// How long the interface stays when the drain is over, for one scrape of
    /// the final metrics; that scrape ends it at once.
    #[schemars(extend("default" = "0s"))]
    pub(in crate::config) linger: Option<At<Time>>,
}

impl Read for Admin {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`[admin]`", |table| Self {
            listen: table.key("listen"),
            tls: table.key("tls"),
            token: table.key("token"),
            read_token: table.key("read_token"),
            linger: table.key("linger"),
        })
    }
}
