//! What is under the exchanges: TLS, ALPN, client certificates, Unix sockets,
//! and limits on time.

use super::*;
use crate::config::UpstreamHttp::{self, Auto, H1, H2};
use crate::config::UpstreamTls;
use crate::proxy::Error;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

/// An authority with certificates for `site` and a client, in files.
struct Papers {
    dir: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Papers {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let papers = Self {
            dir: TempDir::new().unwrap(),
            ca,
        };
        papers.write("ca.pem", &papers.ca.pem());
        let (chain, key) = papers.issue("client");
        papers.write("client.pem", &chain.pem());
        papers.write("client.key", &key.serialize_pem());
        papers
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.ca).unwrap(), key)
    }

    fn acceptor(&self, alpn: &[&[u8]], clients: bool) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if clients {
            let mut roots = RootCertStore::empty();
            roots.add(self.ca.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (chain, key) = self.issue("site");
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder
            .with_single_cert(vec![chain.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    fn tls(&self, client: bool) -> UpstreamTls {
        UpstreamTls {
            sni: "site".to_owned(),
            ca: Some(self.path("ca.pem")),
            client: client.then(|| (self.path("client.pem"), self.path("client.key"))),
            verify: true,
            content: 0,
        }
    }
}

/// Answers in the version that ALPN chose; echoes if it chose none.
async fn secure(acceptor: TlsAcceptor) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => {
                        let mut connection = h2::server::handshake(stream).await.unwrap();
                        while let Some(Ok((_, mut respond))) = connection.accept().await {
                            let response = http::Response::new(());
                            respond.send_response(response, true).unwrap();
                        }
                    }
                    Some(b"http/1.1") => {
                        let mut head = [0; 1024];
                        while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                            stream.write_all(answer).await.unwrap();
                        }
                    }
                    _ => {
                        let mut byte = [0];
                        while stream.read_exact(&mut byte).await.is_ok() {
                            stream.write_all(&byte).await.unwrap();
                        }
                    }
                }
            });
        }
    });
    address
}

fn over_tls(address: SocketAddr, http: UpstreamHttp, tls: UpstreamTls) -> config::Upstream {
    let mut config = config(&[address], http);
    config.tls = Some(tls);
    config
}

async fn refused(config: &config::Upstream) -> String {
    let leased = timeout(LIMIT, pool(config).lease(None, &mut Search::new())).await;
    match leased.expect("an answer") {
        Err(Error::Connect { reason, .. }) => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("leased"),
    }
}

/// Whether an exchange works, and whether it went by HTTP/2.
async fn by_http2(pool: &Arc<Pool>) -> bool {
    match lease(pool).await {
        Lease::Http2(mut lease) => {
            let mut head = Request::new(());
            *head.uri_mut() = Uri::from_static("https://site/");
            let (response, _) = lease.send(head, true).unwrap();
            assert_eq!(response.await.unwrap().status(), 200);
            true
        }
        http1 @ Lease::Http1(_) => {
            assert_eq!(exchange(http1).await.0, 200);
            false
        }
    }
}

#[tokio::test]
async fn alpn_decides_the_version() {
    let papers = Papers::new();
    let both: &[&[u8]] = &[b"h2", b"http/1.1"];
    for (offered, http, http2) in [
        (both, Auto, true),
        (&both[1..], Auto, false),
        (&both[..1], H2, true),
        (both, H1, false),
    ] {
        let address = secure(papers.acceptor(offered, false)).await;
        let pool = pool(&over_tls(address, http, papers.tls(false)));
        assert_eq!(pool.upstream().speaks(), http);
        for _ in 0..3 {
            assert_eq!(by_http2(&pool).await, http2, "{http:?}");
        }
        assert!(
            pool.lease_idle(&Search::new())
                .is_some_and(|lease| lease.reused())
        );
    }
    // Many at once, before it is known what the server chooses.
    let address = secure(papers.acceptor(&both[1..], false)).await;
    let pool = pool(&over_tls(address, Auto, papers.tls(false)));
    let leases = futures_util::future::join_all((0..10).map(|_| lease(&pool))).await;
    assert!(leases.iter().all(|lease| matches!(lease, Lease::Http1(_))));
    // HTTP/2 without ALPN is no HTTP/2.
    let address = secure(papers.acceptor(&[], false)).await;
    let reason = refused(&over_tls(address, H2, papers.tls(false))).await;
    assert_eq!(reason, "it does not offer HTTP/2 (ALPN)");
}

#[tokio::test]
async fn a_server_that_the_authority_does_not_vouch_for_is_refused() {
    let (ours, theirs) = (Papers::new(), Papers::new());
    let address = secure(theirs.acceptor(&[], false)).await;
    let reason = refused(&over_tls(address, H1, ours.tls(false))).await;
    assert!(reason.contains("certificate"), "{reason}");
    let mut tls = theirs.tls(false);
    tls.sni = "other".to_owned();
    let reason = refused(&over_tls(address, H1, tls)).await;
    assert!(reason.contains("certificate"), "{reason}");
    by_http2(&pool(&over_tls(
        secure(theirs.acceptor(&[b"http/1.1"], false)).await,
        H1,
        theirs.tls(false),
    )))
    .await;
}

#[tokio::test]
async fn the_client_certificate_is_shown() {
    let papers = Papers::new();
    let address = secure(papers.acceptor(&[b"h2"], true)).await;
    assert!(by_http2(&pool(&over_tls(address, H2, papers.tls(true)))).await);
    // TLS 1.3 tells a client that it is refused only after its handshake.
    let reason = refused(&over_tls(address, H2, papers.tls(false))).await;
    assert!(reason.to_lowercase().contains("certificate"), "{reason}");
}

#[tokio::test]
async fn checks_go_over_tls_as_exchanges_do() {
    let papers = Papers::new();
    let address = secure(papers.acceptor(&[b"http/1.1"], true)).await;
    for check in [
        config::HealthCheck::Tcp,
        config::HealthCheck::Http(config::HttpCheck::of("/")),
    ] {
        for known in [true, false] {
            let mut config = over_tls(address, H1, papers.tls(known));
            if !known {
                // An authority that vouches for somebody else.
                papers.write("other.pem", &Papers::new().ca.pem());
                config.tls.as_mut().unwrap().ca = Some(papers.path("other.pem"));
            }
            config.health = Some(config::Health::by(check.clone()));
            let upstream = fresh(&config).unwrap();
            // Two rounds without a pause: as many as a fall takes.
            upstream.check_all(Duration::ZERO).await;
            upstream.check_all(Duration::ZERO).await;
            assert_eq!(upstream.servers()[0].up, known, "{check:?}");
        }
    }
}

#[tokio::test]
async fn a_tunnel_over_tls_offers_no_alpn() {
    let papers = Papers::new();
    // This server refuses whoever offers only protocols that it has not.
    let address = secure(papers.acceptor(&[b"postgresql"], false)).await;
    let pool = pool(&over_tls(address, H1, papers.tls(false)));
    let (mut stream, server) = pool.dial(None, &mut Search::new()).await.unwrap();
    assert_eq!(server, 0);
    stream.write_all(b"q").await.unwrap();
    stream.flush().await.unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"q");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_times_out() {
    let papers = Papers::new();
    let (_listener, address) = listen().await;
    let mut config = over_tls(address, H1, papers.tls(false));
    config.connect_timeout = Duration::from_millis(50);
    let pool = pool(&config);
    let mut tried = Search::new();
    let errors = [
        timeout(LIMIT, pool.lease(None, &mut tried))
            .await
            .unwrap()
            .err(),
        timeout(LIMIT, pool.dial(None, &mut Search::new()))
            .await
            .unwrap()
            .err(),
    ];
    for error in errors {
        match error {
            Some(Error::ConnectTimeout { limit, server, .. }) => {
                assert_eq!(limit, config.connect_timeout);
                assert_eq!(&*server, address.to_string());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn unix_sockets_are_dialled_and_checked() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("web.sock");
    let mut config = config(&[], H1);
    config.servers = vec![config::Server {
        name: "unix:web.sock".into(),
        address: config::ServerAddress::Unix(path.clone()),
        weight: 1,
        zone: None,
        found_by: None,
    }];
    config.health = Some(config::Health::by(config::HealthCheck::Tcp));
    let reason = refused(&config).await;
    assert!(!reason.is_empty());
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 1024];
                while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    let upstream = fresh(&config).unwrap();
    let pool = upstream.pool();
    let lease = lease(&pool).await;
    assert_eq!(&**lease.server(), "unix:web.sock");
    assert_eq!(exchange(lease).await.0, 200);
    upstream.check_all(Duration::ZERO).await;
    upstream.check_all(Duration::ZERO).await;
    assert!(upstream.servers()[0].up);
}

#[test]
fn tls_settings_that_would_weaken_it_are_refused() {
    let papers = Papers::new();
    papers.write("empty.pem", "");
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let refuse = |tls: UpstreamTls| match fresh(&over_tls(address, H1, tls)) {
        Err(Error::Tls { owner, reason }) => {
            assert_eq!(&*owner, "site");
            reason
        }
        other => panic!("{other:?}"),
    };
    let mut tls = papers.tls(true);
    tls.sni = String::new();
    assert!(
        refuse(tls).contains("sni"),
        "it would switch verification off"
    );
    for name in ["empty.pem", "none.pem", "client.key"] {
        let mut tls = papers.tls(true);
        tls.ca = Some(papers.path(name));
        assert!(refuse(tls).contains(name));
        let mut tls = papers.tls(true);
        tls.client = Some((papers.path(name), papers.path("client.key")));
        assert!(refuse(tls).contains(name));
    }
    let mut tls = papers.tls(true);
    tls.client = Some((papers.path("client.pem"), papers.path("ca.pem")));
    assert!(refuse(tls).contains("ca.pem"), "holds no key");
}
