//! An authority of a test's own, what it vouches for, and clients that trust it.

use super::{BoxWire, within};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType,
};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Signs certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) der: CertificateDer<'static>,
    key: KeyPair,
    pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        Self { issuer }
    }

    /// Leave its certificate in `directory` as `name`.
    pub(crate) fn write(&self, directory: &Path, name: &str) {
        fs::write(directory.join(name), self.issuer.as_ref().pem()).expect(name);
    }

    /// Vouch for these names.
    pub(crate) fn vouch(&self, names: &[&str]) -> Identity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.sign(&CertificateParams::new(names).expect("names"))
    }

    /// Vouch for a client with this common name, URI and DNS name.
    pub(crate) fn vouch_for_client(&self, common: &str, uri: &str, dns: &str) -> Identity {
        let mut params = CertificateParams::new(vec![dns.to_owned()]).expect("a name");
        let uri = SanType::URI(uri.try_into().expect("a URI"));
        params.subject_alt_names.push(uri);
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = &mut params.distinguished_name;
        name.push(DnType::OrganizationName, "Example");
        name.push(DnType::CommonName, common);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            der: signed.der().clone(),
            pem: signed.pem(),
            key,
        }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let root = self.issuer.as_ref().der().clone();
        roots.add(root).expect("a root");
        roots
    }

    /// The TLS of a client that trusts it, has this identity and offers
    /// `protocols` by ALPN.
    pub(crate) fn client(&self, identity: Option<&Identity>, protocols: &[&str]) -> ClientConfig {
        self.client_of(rustls::DEFAULT_VERSIONS, identity, protocols)
    }

    /// The same for some versions of TLS only.
    pub(crate) fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
        protocols: &[&str],
    ) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(self.roots());
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(one) => builder
                .with_client_auth_cert(vec![one.der.clone()], one.key())
                .expect("an identity"),
        };
        config.alpn_protocols = wire(protocols);
        config
    }

    /// The TLS of a server with this identity; with `asks`, for clients that
    /// this authority vouches for.
    pub(crate) fn server(
        &self,
        identity: &Identity,
        protocols: &[&str],
        asks: bool,
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = if asks {
            let roots = Arc::new(self.roots());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder
            .with_single_cert(vec![identity.der.clone()], identity.key())
            .expect("certificate and key");
        config.alpn_protocols = wire(protocols);
        Arc::new(config)
    }
}

impl Identity {
    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key")
    }

    /// Leave `name.pem` and `name.key` in `directory`.
    pub(crate) fn write(&self, directory: &Path, name: &str) {
        fs::write(directory.join(format!("{name}.pem")), &self.pem).expect(name);
        let key = self.key.serialize_pem();
        fs::write(directory.join(format!("{name}.key")), key).expect(name);
    }
}

/// Shake hands with whoever is at `address`, asking for `name`.
pub(crate) async fn shake(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = within("a connection", TcpStream::connect(address)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connector = TlsConnector::from(Arc::clone(config));
    within("a TLS handshake", connector.connect(name, stream)).await
}

/// The certificate that the other side showed.
pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> &CertificateDer<'static> {
    let certificates = stream.get_ref().1.peer_certificates();
    certificates
        .and_then(|all| all.first())
        .expect("a certificate")
}

/// Whether the handshake was a short one.
pub(crate) fn resumed(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

/// As a byte stream of any kind.
pub(crate) fn boxed(stream: TlsStream<TcpStream>) -> BoxWire {
    Box::new(stream)
}

fn wire(protocols: &[&str]) -> Vec<Vec<u8>> {
    protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect()
}
