//! TLS to an admin interface.
//!
//! Invariant: the other side proves its name by the authority that was given,
//! whatever is asked: who speaks to somebody else gives away a token that can
//! end a process.
//!
//! Deliberately absent: the system's authorities. An admin interface has no
//! certificate of theirs, as a rule; who has one names its authority.

use super::args::Remote;
use anyhow::{Context, anyhow};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Shake hands with who is at `host`, which is `HOST:PORT`.
///
/// # Errors
/// If a file cannot be used, or the other side cannot prove its name.
pub(super) async fn shake_hands(
    remote: &Remote,
    host: &str,
    stream: TcpStream,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let config = config(remote)?;
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(name.to_owned())
        .with_context(|| format!("{name:?} is no name that a certificate can have"))?;
    let connector = TlsConnector::from(Arc::new(config));
    let shaken = connector.connect(name, stream).await;
    shaken.with_context(|| format!("no TLS with {}", remote.admin))
}

fn config(remote: &Remote) -> anyhow::Result<ClientConfig> {
    let ca = remote.ca.as_deref().ok_or_else(|| {
        anyhow!("https needs the authority of the interface's certificate: set EBBTIDE_CA, or --ca")
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        let added = roots.add(certificate);
        added.with_context(|| format!("{} cannot be used", ca.display()))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let (Some(cert), Some(key)) = (&remote.cert, &remote.key) else {
        return Ok(builder.with_no_client_auth());
    };
    let secret = PrivateKeyDer::from_pem_file(key);
    let secret = secret.with_context(|| format!("{} holds no private key", key.display()))?;
    let config = builder.with_client_auth_cert(certificates(cert)?, secret);
    config.with_context(|| format!("{} and its key cannot be used", cert.display()))
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.with_context(|| format!("{} cannot be read", path.display()))?;
    if read.is_empty() {
        return Err(anyhow!("{} holds no certificate", path.display()));
    }
    Ok(read)
}
