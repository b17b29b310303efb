//! What the demo needs before it can begin: a certificate, and a config.
//!
//! The certificate is made on the spot for `localhost` and lives in a
//! directory of its own that is removed when the demo ends. The config is the
//! text that a user would write, and goes through the same checks.
//!
//! Deliberately absent: fixed ports. Everything listens where the kernel says.

use super::backends::Addresses;
use anyhow::{Context as _, Result};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs, process};

/// A directory that is removed with everything in it when this is dropped.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new() -> Result<Self> {
        let path = env::temp_dir().join(format!(
            "ebbtide-demo-{}-{:08x}",
            process::id(),
            fastrand::u32(..)
        ));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed from a temporary directory stays there.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A certificate for `localhost`, written down for the proxy; and what the
/// clients trust.
pub(super) struct Certificate {
    roots: Arc<RootCertStore>,
}

impl Certificate {
    /// Make one and leave `site.pem` and `site.key` in `directory`.
    pub(super) fn make(directory: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        fs::write(directory.join("site.pem"), made.cert.pem())?;
        fs::write(directory.join("site.key"), made.signing_key.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        Ok(Self {
            roots: Arc::new(roots),
        })
    }

    /// The TLS of a client that speaks `protocol`, by its ALPN name.
    pub(super) fn client(&self, protocol: &str) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Ok(Arc::new(config))
    }
}

/// The config, as a user would write it.
pub(super) fn config(servers: &Addresses) -> String {
    let Addresses {
        http,
        grpc,
        websocket,
        tcp,
    } = servers;
    format!(
        r#"[admin]
listen = "127.0.0.1:0"

[process]
workers = 2
logs    = {{ level = "warn" }}

[listener.web]
listen = "127.0.0.1:0"
routes = [
  {{ path = "/demo.Echo/", upstream = "grpc" }},
  {{ path = "/chat", upstream = "chat" }},
  {{ upstream = "site" }},
]

[listener.secure]
listen = "127.0.0.1:0"
tls    = {{ cert = "site.pem", key = "site.key" }}
routes = [
  {{ path = "/chat", upstream = "chat" }},
  {{ upstream = "site" }},
]

[listener.db]
listen   = "127.0.0.1:0"
protocol = "tcp"
upstream = "db"

[upstream.site]
servers = ["{http}"]

[upstream.grpc]
servers = ["{grpc}"]
http    = "h2"

[upstream.chat]
servers = ["{websocket}"]

[upstream.db]
servers = ["{tcp}"]

[drain]
grace        = "10s"
announce     = "1s"
spread       = "500ms"
handshake    = "1s"
last_request = "500ms"
finish       = {{ http = "5s", grpc = "3s", websocket = "2s", tcp = "3s" }}
farewell     = "1s"
"#
    )
}
