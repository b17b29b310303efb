//! A certificate for `localhost`, made on the spot, and clients that trust it.

use super::{BoxWire, within};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A self-signed certificate and its key.
pub(crate) struct Certificate {
    pem: String,
    key_pem: String,
    der: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        Self {
            pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
            der: made.cert.der().clone(),
            key: PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key"),
        }
    }

    /// Leave `site.pem` and `site.key` in `directory`.
    pub(crate) fn write(&self, directory: &Path) {
        fs::write(directory.join("site.pem"), &self.pem).expect("write site.pem");
        fs::write(directory.join("site.key"), &self.key_pem).expect("write site.key");
    }

    /// The TLS of a client that offers `protocols` by ALPN.
    pub(crate) fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a root");
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Arc::new(config)
    }

    /// The TLS of a server that takes `protocols` by ALPN.
    pub(crate) fn server(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_no_client_auth()
                .with_single_cert(vec![self.der.clone()], self.key.clone_key())
                .expect("certificate and key");
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Arc::new(config)
    }

    /// A TLS connection on which `protocol` was agreed by ALPN.
    pub(crate) async fn connect(&self, address: SocketAddr, protocol: &str) -> BoxWire {
        self.offer(address, &[protocol]).await
    }

    /// A TLS connection without ALPN, for what is no HTTP.
    pub(crate) async fn connect_raw(&self, address: SocketAddr) -> BoxWire {
        self.offer(address, &[]).await
    }

    async fn offer(&self, address: SocketAddr, protocols: &[&str]) -> BoxWire {
        let stream = within("a connection", TcpStream::connect(address))
            .await
            .expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        self.offer_over(stream, protocols).await
    }

    /// The same over a connection that is there.
    pub(crate) async fn shake_hands(&self, stream: TcpStream, protocol: &str) -> BoxWire {
        self.offer_over(stream, &[protocol]).await
    }

    async fn offer_over(&self, stream: TcpStream, protocols: &[&str]) -> BoxWire {
        let config = self.client(protocols);
        let client = ClientConnection::new(Arc::clone(&config), name()).expect("a client");
        shaken(config, stream, client, protocols.first()).await
    }

    /// A handshake that is not on any wire yet.
    pub(crate) fn handshake(&self, protocol: &str) -> ClientConnection {
        ClientConnection::new(self.client(&[protocol]), name()).expect("a client")
    }

    /// Go on with a handshake whose beginning is sent.
    pub(crate) async fn go_on(
        &self,
        stream: TcpStream,
        client: ClientConnection,
        protocol: &str,
    ) -> BoxWire {
        shaken(self.client(&[protocol]), stream, client, Some(&protocol)).await
    }

    /// Offer `protocol`, which the other side must refuse: what it says.
    pub(crate) async fn refused(&self, stream: TcpStream, protocol: &str) -> String {
        let connector = TlsConnector::from(self.client(&[protocol]));
        let shaken = within("a refusal", connector.connect(name(), stream)).await;
        format!("{:?}", shaken.expect_err("a refusal"))
    }

    /// The first flight of a TLS handshake, for those that stop half-way.
    pub(crate) fn client_hello(&self) -> Vec<u8> {
        let config = self.client(&["h2", "http/1.1"]);
        let mut connection = ClientConnection::new(config, name()).expect("a client");
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).expect("a ClientHello");
        hello
    }
}

async fn shaken(
    config: Arc<ClientConfig>,
    stream: TcpStream,
    client: ClientConnection,
    wanted: Option<&&str>,
) -> BoxWire {
    let connector = TlsConnector::from(config);
    let shaken = connector.connect_with(name(), stream, |fresh| *fresh = client);
    let stream = within("a TLS handshake", shaken).await.expect("handshake");
    let agreed = stream.get_ref().1.alpn_protocol();
    assert_eq!(agreed, wanted.map(|name| name.as_bytes()), "ALPN");
    Box::new(stream)
}

/// A TLS connection to whoever is there: for clients that look for something
/// else than who it is.
pub(crate) async fn connect_to_anyone(address: SocketAddr, protocol: &str) -> BoxWire {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let config = Arc::new(config);
    let stream = within("a connection", TcpStream::connect(address))
        .await
        .expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    let client = ClientConnection::new(Arc::clone(&config), name()).expect("a client");
    shaken(config, stream, client, Some(&protocol)).await
}

/// Takes any certificate.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}
