//! FLOOR 2: the way of the data.
//!
//! Read the modules in this order and you go with a byte: [`listener`] accepts
//! it, `handshake` finds out what is spoken, `connection` runs the
//! connection, [`request`] decides where an exchange goes and relays it,
//! [`upstream`] has the connections to servers. Each imports only what comes
//! after it, and the three that stand beside the flow: [`registry`], where
//! everything alive is entered, [`body`] and [`error`].

pub mod body;
mod connection;
pub mod error;
mod handshake;
pub mod listener;
pub mod registry;
pub mod request;
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
    let settings = listener.tls.as_ref();
    settings
        .map(|tls| handshake::server_config(&listener.name, tls, &listener.serves))
        .transpose()
}
