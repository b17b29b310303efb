//! FLOOR 2: the way of the data.
//!
//! Read the modules in this order and you go with a byte: [`listener`] accepts
//! it, `handshake` finds out what is spoken, `connection` runs the
//! connection, [`request`] decides where an exchange goes and relays it,
//! [`upstream`] has the connections to servers. Each imports only what comes
//! after it, and the four that stand beside the flow: [`registry`], where
//! everything alive is entered, [`body`], [`trickle`] and [`error`].

pub mod body;
mod connection;
pub mod error;
mod handshake;
pub mod listener;
pub mod registry;
pub mod request;
pub mod trickle;
pub mod upstream;

pub use error::{Error, Result};

use crate::config as model;
use rustls::ServerConfig;
use std::sync::Arc;

/// The TLS settings of a listener, if it has any.
///
/// # Errors
/// [`Error::Tls`] if they cannot be used.
pub fn tls(listener: &model::Listener) -> Result<Option<Arc<ServerConfig>>> {
    let protocols: &[&str] = match listener.serves {
        model::Serves::Http { .. } => &["h2", "http/1.1"],
        // Whatever is spoken, it is not ours to agree on.
        model::Serves::Tcp { .. } => &[],
    };
    let settings = listener.tls.as_ref();
    settings
        .map(|tls| tls_of(&listener.name, tls, protocols))
        .transpose()
}

/// The TLS settings of anything else that ends TLS, for these protocols.
///
/// # Errors
/// [`Error::Tls`] if they cannot be used.
pub fn tls_of(
    owner: &Arc<str>,
    tls: &model::ListenerTls,
    protocols: &[&str],
) -> Result<Arc<ServerConfig>> {
    handshake::server_config(owner, tls, protocols)
}
