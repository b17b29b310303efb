//! Certificates, keys and authorities, loaded from their files.
//!
//! Purpose: what TLS needs is read and tried when the configuration is
//! loaded, so that a wrong file is a line in a report, not a failed handshake
//! at night.
//!
//! Invariant: a [`Certificate`] has a chain whose first certificate belongs
//! to its key. Key material is never part of a message.
//!
//! Deliberately absent: validity in time and trust in the chain, of OCSP
//! responses too: clients judge those, and a certificate may be renewed before
//! it counts.

use super::der::find;
use super::model::Certificate;
use super::names::{dns_names, serial};
use super::report::{Fault, quote};
use rustls::crypto::aws_lc_rs;
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, DnsName, PrivateKeyDer};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What most of these files are.
const PEM: &str = "a PEM file";

/// The most that is read of a PEM file: a bundle of all public authorities
/// has a quarter of it.
const LARGEST: u64 = 1 << 20;

/// Reads the certificate chain in `path`.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let pem = read(path, PEM)?;
    let chain = certificates(path, &pem)?;
    match chain
        .iter()
        .find_map(|cert| ParsedCertificate::try_from(cert).err())
    {
        Some(error) => Err(Fault::new(
            format!(
                "{} holds a certificate that cannot be used: {error}",
                shown(path)
            ),
            "make the certificate anew",
        )),
        None => Ok(chain),
    }
}

/// Reads the private key in `path`.
pub(super) fn key(path: &Path) -> Result<Arc<dyn SigningKey>, Fault> {
    let pem = read(path, PEM)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let what = format!("{} holds no private key", shown(path));
        let help = if holds(&pem, "BEGIN ENCRYPTED PRIVATE KEY") {
            "it is encrypted: decrypt it, e.g. with `openssl pkey`"
        } else if holds(&pem, "BEGIN CERTIFICATE") {
            "it holds a certificate; were `cert` and `key` swapped?"
        } else {
            "a key in PEM form begins with `-----BEGIN PRIVATE KEY-----`"
        };
        Fault::new(what, help)
    })?;
    let provider = aws_lc_rs::default_provider();
    provider.key_provider.load_private_key(key).map_err(|_| {
        let what = format!("{} holds a private key that cannot be used", shown(path));
        Fault::new(
            what,
            "use an RSA key of 2048 bits or more, ECDSA P-256, P-384 or P-521, or Ed25519",
        )
    })
}

/// Reads the OCSP response in `path` (RFC 6960, section 4.2.1).
pub(super) fn ocsp(path: &Path) -> Result<Vec<u8>, Fault> {
    const SEQUENCE: u8 = 0x30;
    const ENUMERATED: u8 = 0x0a;
    const SUCCESSFUL: &[u8] = &[0];
    let response = read(path, "an OCSP response")?;
    let help = "write it in DER form, as `openssl ocsp -respout FILE` does";
    let Some(inside) = find(&response, SEQUENCE) else {
        let what = format!("{} is no OCSP response", shown(path));
        return Err(Fault::new(what, help));
    };
    if find(inside, ENUMERATED) == Some(SUCCESSFUL) {
        return Ok(response);
    }
    let what = format!("{} is not the answer of an OCSP responder", shown(path));
    Err(Fault::new(
        what,
        "its status is an error: ask the responder again",
    ))
}

/// Whether an OCSP response speaks of the first certificate in `chain`.
pub(super) fn speaks_of(response: &[u8], chain: &[CertificateDer<'static>]) -> bool {
    let serial = chain.first().and_then(|cert| serial(cert));
    serial.is_some_and(|serial| {
        let mut windows = response.windows(serial.len().max(1));
        windows.any(|part| part == serial)
    })
}

/// Joins a chain and a key that belong together, and what is to be stapled.
pub(super) fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
    ocsp: Option<Vec<u8>>,
) -> Result<Certificate, Fault> {
    let names = chain
        .first()
        .map(|cert| dns_names(cert))
        .unwrap_or_default();
    let mut pair = CertifiedKey::new(chain, key);
    pair.ocsp = ocsp;
    match pair.keys_match() {
        // A key that cannot tell its public half is not a wrong key.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok(Certificate {
                key: Arc::new(pair),
                names,
            })
        }
        Err(_) => Err(Fault::new(
            "this key does not belong to the certificate",
            "the certificate must come first in its file; compare both by `openssl x509 -pubkey` and `openssl pkey -pubout`",
        )),
    }
}

/// Reads the authorities in `path`.
pub(super) fn roots(path: &Path) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for cert in certificates(path, &read(path, PEM)?)? {
        roots.add(cert).map_err(|error| {
            let what = format!(
                "{} holds an authority that cannot be used: {error}",
                shown(path)
            );
            Fault::new(
                what,
                "take the authority's certificate from its owner again",
            )
        })?;
    }
    Ok(roots)
}

/// A number for the content of files. Files that cannot be read were reported
/// when they were loaded.
pub(super) fn content<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        std::fs::read(path).unwrap_or_default().hash(&mut hasher);
    }
    hasher.finish()
}

/// Reads a name that TLS can ask a server for (RFC 6066, section 3).
pub(super) fn sni(text: &str) -> Result<String, Fault> {
    DnsName::try_from(text)
        .map(|name| name.to_lowercase_owned().as_ref().to_owned())
        .map_err(|_| {
            let what = format!("{} is not a name that TLS can ask for", quote(text));
            Fault::new(
                what,
                "write the host name in the server's certificate, e.g. `\"site.internal\"`",
            )
        })
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|_| {
        let what = format!("{} is damaged: not all of its PEM can be read", shown(path));
        Fault::new(
            what,
            "copy the file again; every block has a BEGIN, base64 lines and an END",
        )
    })?;
    if found.is_empty() {
        let help = if holds(pem, "PRIVATE KEY-----") {
            "it holds a private key; were `cert` and `key` swapped?"
        } else {
            "a certificate in PEM form begins with `-----BEGIN CERTIFICATE-----`"
        };
        return Err(Fault::new(
            format!("{} holds no certificate", shown(path)),
            help,
        ));
    }
    Ok(found)
}

fn holds(pem: &[u8], part: &str) -> bool {
    pem.windows(part.len())
        .any(|window| window == part.as_bytes())
}

/// Reads a file that is `kind`, as far as anybody knows, and not larger than
/// such a file may be.
pub(super) fn read(path: &Path, kind: &str) -> Result<Vec<u8>, Fault> {
    let mut content = Vec::new();
    let file = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut content));
    let wrong = |what: &str, help: &str| Err(Fault::new(format!("{what} {}", shown(path)), help));
    match file.map_err(|error| error.kind()) {
        Ok(length) if length as u64 > LARGEST => wrong(
            &format!("too large to be {kind}:"),
            &format!("write the path of {kind}"),
        ),
        Ok(_) => Ok(content),
        Err(ErrorKind::NotFound) => wrong(
            "there is no file",
            "a relative path starts at the directory of this file",
        ),
        Err(ErrorKind::PermissionDenied) => wrong(
            "no permission to read",
            "let the user that the proxy runs as read it",
        ),
        Err(ErrorKind::IsADirectory) => wrong(
            "a directory, not a file:",
            &format!("write the path of {kind}"),
        ),
        Err(error) => wrong(
            &format!("cannot read ({error})"),
            &format!("write the path of {kind}"),
        ),
    }
}

fn shown(path: &Path) -> String {
    format!("`{}`", path.display().to_string().escape_debug())
}
