//! A directory with the certificates that the configurations name, made on
//! the spot, and a resolver that asks nobody.

use ebbtide::config::{Config, Report, load, parse_with};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The directory; it is gone when this is dropped.
pub(crate) struct Fixture(TempDir);

impl Fixture {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let fixture = Self(directory);
        fs::create_dir(fixture.path("certs")).expect("certs/");
        let pairs = [
            ("site", "site.example"),
            ("other", "*.example.com"),
            ("client", "client"),
            ("ca", "authority"),
        ];
        for (file, name) in pairs {
            fixture.pair(
                &format!("certs/{file}.pem"),
                &format!("certs/{file}.key"),
                name,
            );
        }
        // An OCSP response as far as it is looked into: a status, and something
        // that has the certificate's number.
        let site = fs::read(fixture.path("certs/site.pem")).expect("site.pem");
        let site = CertificateDer::from_pem_slice(&site).expect("a certificate");
        let inside = [&[0x0a, 1, 0][..], &site].concat();
        let length = u16::try_from(inside.len()).expect("short").to_be_bytes();
        let response = [&[0x30, 0x82][..], &length, &inside].concat();
        fixture.write("certs/site.ocsp", &response);
        fixture.write("certs/error.ocsp", &[0x30, 3, 0x0a, 1, 6]);
        fixture.write("certs/read.token", b"two\n\nthree\n");
        fixture.write("certs/spaced", b"good\nnot good\n");
        fixture.pair("c.pem", "k.pem", "site.example");
        fixture.pair("ca.pem", "ca.key", "authority");
        fixture.write("certs/not.pem", b"this is no PEM file\n");
        let damaged = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END RSA KEY-----\n";
        fixture.write("certs/damaged.pem", damaged.as_bytes());
        fixture
    }

    fn pair(&self, cert: &str, key: &str, name: &str) {
        let secret = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let made = params.self_signed(&secret).expect("a certificate");
        self.write(cert, made.pem().as_bytes());
        self.write(key, secret.serialize_pem().as_bytes());
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).expect(name);
    }

    /// Reads `content` as if it stood in the directory as `name`.
    pub(crate) fn read(&self, name: &str, content: &[u8]) -> Result<Config, Report> {
        let path = self.path(name);
        if let Ok(text) = std::str::from_utf8(content) {
            return parse_with(&path, text, &resolve);
        }
        self.write(name, content);
        load(&path)
    }

    /// Reads `text`, which must be good.
    pub(crate) fn good(&self, text: &str) -> Config {
        match self.read("good.toml", text.as_bytes()) {
            Ok(config) => config,
            Err(report) => panic!("{report}"),
        }
    }

    /// The report as it would be drawn if the directory were the current one.
    pub(crate) fn draw(&self, report: &Report) -> String {
        let prefix = format!("{}/", self.0.path().display());
        report.to_string().replace(&prefix, "")
    }
}

/// Knows `db.internal`, which has an IPv6 address first, and nothing else.
fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if host == "db.internal" {
        let six = SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 1], port));
        return Ok(vec![six, SocketAddr::from(([10, 9, 8, 7], port))]);
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "name not known"))
}

/// A file of the repository.
pub(crate) fn repository(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name)
}

/// A text file of the repository.
pub(crate) fn repository_text(name: &str) -> String {
    String::from_utf8(repository(name)).expect(name)
}
