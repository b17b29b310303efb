//! The dialler of an upstream, with its TLS settings loaded once.
//!
//! Purpose: build pingora's connectors so that CA and client certificate are
//! part of their one cached TLS configuration.
//!
//! Invariant: nothing but `verify = false` weakens verification, and that is
//! warned of. An empty name would switch it
//! off in the connector, so it is refused here, and a client certificate file
//! without a certificate would be passed over in silence, so that is too.
//!
//! Deliberately absent: reloading. New files mean a new upstream.

use crate::config::UpstreamTls;
use crate::proxy::{Error, Result};
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use pingora_core::upstreams::peer::PeerOptions;
use pingora_core::utils::tls::{WrappedX509, parse_x509};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// Holds no certificate. Clear text needs none; without a file the connector
/// would read and parse the system's whole store for nothing.
const NO_CERTIFICATES: &str = "/dev/null";

/// What a connector is made from: checked, and free of surprises for it.
///
/// # Errors
/// [`Error::Tls`] if a file cannot be used or the name is not one.
pub(super) fn options(owner: &Arc<str>, tls: Option<&UpstreamTls>) -> Result<ConnectorOptions> {
    let mut options = ConnectorOptions::new(1);
    let Some(tls) = tls else {
        options.ca_file = Some(NO_CERTIFICATES.to_owned());
        return Ok(options);
    };
    let refuse = |reason: String| Error::Tls {
        owner: Arc::clone(owner),
        reason,
    };
    if let Err(error) = ServerName::try_from(tls.sni.as_str()) {
        return Err(refuse(format!("sni {:?}: {error}", tls.sni)));
    }
    if !tls.verify {
        tracing::warn!(
            event = "unverified",
            upstream = %owner,
            "servers need not prove who they are: whoever is between can read and change all"
        );
        // Nobody is asked; the system's store may even be empty.
        options.ca_file = Some(NO_CERTIFICATES.to_owned());
    }
    if let Some(ca) = &tls.ca {
        check_authorities(ca).map_err(refuse)?;
        options.ca_file = Some(text(ca).map_err(refuse)?);
    }
    if let Some((chain, key)) = &tls.client {
        check_client(chain, key).map_err(refuse)?;
        options.cert_key_file = Some((text(chain).map_err(refuse)?, text(key).map_err(refuse)?));
    }
    Ok(options)
}

/// A dialler that has these settings in its one TLS configuration.
///
/// # Errors
/// [`Error::Tls`] if the settings cannot be used.
pub(super) fn connector(
    owner: &Arc<str>,
    options: &ConnectorOptions,
) -> Result<TransportConnector> {
    let options = options.clone();
    guarded(owner, || TransportConnector::new(Some(options)))
}

/// Run a constructor that panics where it should return an error: pingora
/// unwraps what it reads from certificate files and from the system's store.
///
/// # Errors
/// [`Error::Tls`] if it panicked.
pub(super) fn guarded<T>(owner: &Arc<str>, build: impl FnOnce() -> T) -> Result<T> {
    // Nothing outlives the closure but its result, so nothing half-made does.
    catch_unwind(AssertUnwindSafe(build)).map_err(|_| Error::Tls {
        owner: Arc::clone(owner),
        reason: "the certificates, or the system's own, cannot be loaded".to_owned(),
    })
}

/// Let peers with these options take whoever answers.
///
/// The connector heeds that only where it makes a configuration for one
/// connection, as it does for a peer with authorities of its own: so there is
/// one, whose key nobody has. The price is a full handshake each time.
///
/// # Errors
/// [`Error::Tls`] if the authority cannot be made.
pub(super) fn verify_nothing(owner: &Arc<str>, options: &mut PeerOptions) -> Result<()> {
    let made = rcgen::generate_simple_self_signed(["nobody.invalid".to_owned()]);
    let made = made.map_err(|error| Error::Tls {
        owner: Arc::clone(owner),
        reason: error.to_string(),
    })?;
    let nobody = made.cert.der().to_vec();
    options.ca = Some(Arc::new([WrappedX509::new(nobody, parse_x509)]));
    options.verify_cert = false;
    options.verify_hostname = false;
    Ok(())
}

fn text(path: &Path) -> Result<String, String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("{}: the path is not UTF-8", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    if found.is_empty() {
        return Err(format!("{}: holds no certificate", path.display()));
    }
    Ok(found)
}

fn check_authorities(path: &Path) -> Result<(), String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store
            .add(certificate)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn check_client(chain: &Path, key: &Path) -> Result<(), String> {
    certificates(chain)?;
    PrivateKeyDer::from_pem_file(key)
        .map(drop)
        .map_err(|error| format!("{}: {error}", key.display()))
}
