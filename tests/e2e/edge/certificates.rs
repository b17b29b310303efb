//! What a TLS listener shows, to whom, and what it agrees on.

use super::{failed, until_failed};
use crate::drain::scene::{Plan, ended};
use crate::support::authority::{Authority, Identity, boxed, shake, shown};
use crate::support::clients::{Ended, Http1, Raw};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{DigitallySignedStruct, ProtocolVersion, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::{Arc, Mutex};

/// A listener with three certificates.
struct Scene {
    proxy: Proxy,
    _server: Server,
    authority: Authority,
    identities: Vec<Identity>,
}

impl Scene {
    async fn start(more: &str) -> Self {
        let authority = Authority::new("edge");
        let identities: Vec<_> = [&["first.test"][..], &["a.example.com"], &["*.example.com"]]
            .map(|names| authority.vouch(names))
            .into();
        let server = Server::http1().await;
        let address = server.address;
        let plan = Plan::CALM;
        let config = format!(
            "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
             tls = [{{ cert = \"0.pem\", key = \"0.key\", ocsp = \"0.ocsp\"{more} }},\n\
             {{ cert = \"1.pem\", key = \"1.key\" }}, {{ cert = \"2.pem\", key = \"2.key\" }}]\n\
             [upstream.site]\nservers = [\"{address}\"]\n{plan}"
        );
        let proxy = Proxy::start_in(&config, |directory| {
            for (index, identity) in identities.iter().enumerate() {
                identity.write(directory, &index.to_string());
            }
            std::fs::write(directory.join("0.ocsp"), staple(&identities[0])).expect("0.ocsp");
        })
        .await;
        Self {
            proxy,
            _server: server,
            authority,
            identities,
        }
    }

    async fn over(mut self) {
        self.proxy.signal(Signal::TERM);
        assert_eq!(ended(&mut self.proxy).await.cut, 0);
    }
}

/// An OCSP response as far as a proxy looks into it.
fn staple(identity: &Identity) -> Vec<u8> {
    let inside = [&[0x0a, 1, 0][..], &identity.der].concat();
    let length = u16::try_from(inside.len()).expect("short").to_be_bytes();
    [&[0x30, 0x82][..], &length, &inside].concat()
}

#[tokio::test]
async fn the_name_that_is_asked_for_chooses_the_certificate() {
    let scene = Scene::start("").await;
    let client = scene.authority.client(None, &["http/1.1"]);
    // Looked at, and not judged: the first is for other names.
    let client = Arc::new(looking(client, Arc::default()));
    for (name, index) in [
        ("a.example.com", 1),
        ("A.EXAMPLE.com", 1),
        ("b.example.com", 2),
        ("b.a.example.com", 0),
        ("example.com", 0),
        ("first.test", 0),
        ("127.0.0.1", 0),
    ] {
        let stream = shake(scene.proxy.address("web"), &client, name).await;
        let stream = stream.expect(name);
        assert_eq!(*shown(&stream), scene.identities[index].der, "{name}");
    }
    scene.over().await;
}

#[tokio::test]
async fn both_versions_are_spoken_and_no_older_one() {
    let scene = Scene::start("").await;
    let address = scene.proxy.address("web");
    for (version, number) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let client = scene.authority.client_of(&[version], None, &["http/1.1"]);
        let stream = shake(address, &Arc::new(client), "a.example.com").await;
        let stream = stream.expect("a handshake");
        assert_eq!(stream.get_ref().1.protocol_version(), Some(number));
        let mut client = Http1::over(boxed(stream)).await;
        assert_eq!(client.get("/").await.expect("a reply").text(), "ok");
    }
    // TLS 1.1, with the signature algorithms that rustls wants to see.
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 1]);
    let length = u8::try_from(hello.len()).expect("short");
    let record = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
    let mut client = Raw::connect(address).await;
    client.send(record).await.expect("sent");
    let (told, end) = client.rest().await;
    assert_eq!((told, end), (vec![21, 3, 3, 0, 2, 2, 70], Ended::Fin));
    until_failed(&scene.proxy, "web", "version", 1).await;
    scene.over().await;
}

#[tokio::test]
async fn who_offers_no_protocol_of_ours_is_told_and_counted() {
    let scene = Scene::start("").await;
    let address = scene.proxy.address("web");
    let client = Arc::new(scene.authority.client(None, &["spdy/3"]));
    let refused = shake(address, &client, "a.example.com").await;
    let refused = refused.expect_err("an alert").to_string();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    until_failed(&scene.proxy, "web", "protocol", 1).await;
    // A client that does not trust us says so.
    let stranger = Arc::new(Authority::new("other").client(None, &["h2"]));
    shake(address, &stranger, "a.example.com")
        .await
        .expect_err("no trust");
    until_failed(&scene.proxy, "web", "alert", 1).await;
    // Without ALPN it is HTTP/1.1.
    let client = Arc::new(scene.authority.client(None, &[]));
    let stream = shake(address, &client, "a.example.com")
        .await
        .expect("shaken");
    let mut client = Http1::over(boxed(stream)).await;
    assert_eq!(client.get("/").await.expect("a reply").text(), "ok");
    drop(client);
    assert_eq!(failed(&scene.proxy, "web", "other").await, 0);
    scene.over().await;
}

#[tokio::test]
async fn an_ocsp_response_is_shown_with_its_certificate() {
    let scene = Scene::start("").await;
    for version in [&TLS12, &TLS13] {
        let stapled = Arc::default();
        let client = scene.authority.client_of(&[version], None, &["http/1.1"]);
        let client = Arc::new(looking(client, Arc::clone(&stapled)));
        for (name, response) in [
            ("first.test", staple(&scene.identities[0])),
            ("a.example.com", Vec::new()),
        ] {
            let stream = shake(scene.proxy.address("web"), &client, name).await;
            stream.expect(name);
            assert_eq!(*stapled.lock().expect("a lock"), response, "{name}");
        }
    }
    // A new one counts without a restart.
    let renewed = [&staple(&scene.identities[0])[..], b"renewed"].concat();
    std::fs::write(scene.proxy.path("0.ocsp"), &renewed).expect("0.ocsp");
    let reply = scene.proxy.ask(http::Method::POST, "/v1/reload", "").await;
    assert!(
        reply.text().contains("changes listener web: tls"),
        "{}",
        reply.text()
    );
    let stapled = Arc::default();
    let client = scene.authority.client(None, &["http/1.1"]);
    let client = Arc::new(looking(client, Arc::clone(&stapled)));
    let stream = shake(scene.proxy.address("web"), &client, "first.test").await;
    stream.expect("a handshake");
    assert_eq!(*stapled.lock().expect("a lock"), renewed);
    scene.over().await;
}

#[tokio::test]
async fn secrets_are_written_only_when_asked_for() {
    for (more, written) in [("", false), (", keylog = true", true)] {
        let scene = Scene::start(more).await;
        let client = Arc::new(scene.authority.client(None, &["http/1.1"]));
        let stream = shake(scene.proxy.address("web"), &client, "a.example.com").await;
        let mut client = Http1::over(boxed(stream.expect("a handshake"))).await;
        assert_eq!(client.get("/").await.expect("a reply").text(), "ok");
        drop(client);
        let keys = std::fs::read_to_string(scene.proxy.path("keys.log"));
        assert_eq!(keys.is_ok(), written, "{more}");
        if written {
            let keys = keys.expect("read");
            assert!(keys.contains("CLIENT_TRAFFIC_SECRET_0 "), "{keys}");
            let warned = |line: &serde_json::Value| line["owner"] == "web";
            scene.proxy.until_event("keylog", warned).await;
        }
        scene.over().await;
    }
}

/// A client that takes any certificate, and notes what is stapled to it.
fn looking(mut config: rustls::ClientConfig, stapled: Arc<Mutex<Vec<u8>>>) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let any = Authority::new("any").vouch(&["any.test"]).der;
    roots.add(any).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let looker = Looker(inner.build().expect("a verifier"), stapled);
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(looker));
    config
}

#[derive(Debug)]
struct Looker(Arc<WebPkiServerVerifier>, Arc<Mutex<Vec<u8>>>);

impl ServerCertVerifier for Looker {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.1.lock().expect("a lock") = ocsp.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
