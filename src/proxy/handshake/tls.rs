//! The server's side of TLS: its settings, and certificates by name.
//!
//! TLS 1.2 and 1.3 only, keys already loaded and matched by the config floor.
//! The certificate is chosen by SNI: an exact name first, then a wildcard of
//! its parent, then the first certificate given.

use crate::config::{Certificate, ClientAuth, ListenerTls};
use crate::proxy::error::{Error, Result};
use rustls::crypto::aws_lc_rs;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{KeyLogFile, ServerConfig};
use std::collections::HashMap;
use std::sync::Arc;

/// The TLS settings of one listener, for these protocols (ALPN), the first
/// preferred; a client that offers only others is refused by an alert (RFC 7301,
/// section 3.2).
///
/// # Errors
/// [`Error::Tls`] if the client CAs or the ticket keys cannot be used.
pub(in crate::proxy) fn server_config(
    owner: &Arc<str>,
    tls: &ListenerTls,
    protocols: &[&str],
) -> Result<Arc<ServerConfig>> {
    let unusable = |reason: String| Error::Tls {
        owner: Arc::clone(owner),
        reason,
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider);
            let verifier = match tls.client_auth {
                ClientAuth::Require => verifier.build(),
                ClientAuth::Request => verifier.allow_unauthenticated().build(),
            };
            builder
                .with_client_cert_verifier(verifier.map_err(|error| unusable(error.to_string()))?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName::new(&tls.certificates)));
    let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
    config.alpn_protocols = protocols.collect();
    if tls.keylog {
        tracing::warn!(
            event = "keylog",
            %owner,
            "the secrets of TLS connections are written to the file in SSLKEYLOGFILE: \
             whoever has it can read the traffic"
        );
        config.key_log = Arc::new(KeyLogFile::new());
    }
    if tls.tickets {
        // The library makes new keys every six hours, and takes the last ones
        // for another six.
        config.ticketer =
            aws_lc_rs::Ticketer::new().map_err(|error| unusable(error.to_string()))?;
    } else {
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(Arc::new(config))
}

/// Certificates by the names that they are good for.
#[derive(Debug)]
struct ByName {
    names: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl ByName {
    fn new(certificates: &[Certificate]) -> Self {
        let mut names = HashMap::new();
        for certificate in certificates {
            for name in &certificate.names {
                let key = Arc::clone(&certificate.key);
                names.entry(name.to_ascii_lowercase()).or_insert(key);
            }
        }
        Self {
            names,
            first: certificates.first().map(|first| Arc::clone(&first.key)),
        }
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        self.names.get(name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.names.get(format!("*.{parent}").as_str())
        })
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.find(name));
        named.or(self.first.as_ref()).cloned()
    }
}
