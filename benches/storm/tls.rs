//! A certificate for `localhost`, made on the spot, and clients that trust it.

use super::cast::Tls;
use anyhow::Result;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use std::fs;
use std::path::Path;
use std::sync::Arc;

pub(crate) struct Certificate {
    pem: String,
    key: String,
    roots: Arc<RootCertStore>,
}

impl Certificate {
    pub(crate) fn make() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        Ok(Self {
            pem: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            roots: Arc::new(roots),
        })
    }

    /// Leave `site.pem` and `site.key` in `folder`.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::write(folder.join("site.pem"), &self.pem)?;
        Ok(fs::write(folder.join("site.key"), &self.key)?)
    }

    pub(crate) fn clients(&self) -> Result<Tls> {
        Ok(Tls {
            http1: self.client(&["http/1.1"])?,
            http2: self.client(&["h2"])?,
            none: self.client(&[])?,
        })
    }

    fn client(&self, protocols: &[&str]) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        let protocols = protocols.iter();
        config.alpn_protocols = protocols.map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }
}
