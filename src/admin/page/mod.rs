//! The live page: `GET /`.
//!
//! One HTML document, style and script within, that needs nothing else but
//! `/v1/events` and the paths that change something. Its parts are files of their
//! own here and are joined when this is compiled, the scripts in the order in
//! which they build on each other.
//!
//! Invariant: the browser runs what stands in this binary and nothing else. The
//! policy (W3C Content Security Policy, Level 3) names style and script by their
//! hashes, allows no connection but to this interface, no frame around it and no
//! text that becomes markup.
//!
//! Deliberately absent: anything about the process. The page is the same for
//! everybody, and is given to everybody: it is how a token is asked for.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response};
use http_body_util::Full;
use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use std::sync::LazyLock;

macro_rules! style {
    () => {
        include_str!("page.css")
    };
}

macro_rules! script {
    () => {
        concat!(
            "\n(() => {\n\"use strict\";\n",
            include_str!("words.js"),
            include_str!("state.js"),
            include_str!("stream.js"),
            include_str!("dom.js"),
            include_str!("timeline.js"),
            include_str!("picture.js"),
            include_str!("receipt.js"),
            include_str!("acts.js"),
            include_str!("main.js"),
            "})();\n",
        )
    };
}

/// The document, from its first byte to its last.
const DOCUMENT: &str = concat!(
    include_str!("head.html"),
    "<style>",
    style!(),
    "</style>\n</head>\n",
    include_str!("body.html"),
    "<script>",
    script!(),
    "</script>\n</body>\n</html>\n",
);

/// What a browser is told of it besides.
const FIELDS: [(HeaderName, &str); 7] = [
    (CONTENT_TYPE, "text/html; charset=utf-8"),
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // For browsers that do not know `frame-ancestors`.
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let policy = policy(&hash(style!()), &hash(script!()));
    HeaderValue::from_str(&policy).ok()
});

/// The page.
pub(super) fn page() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(DOCUMENT.as_bytes())));
    let headers = response.headers_mut();
    for (name, value) in FIELDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // It is made of text that can stand in a field, so it is there.
    let policy = POLICY.clone();
    let nothing = || HeaderValue::from_static("default-src 'none'");
    headers.insert(CONTENT_SECURITY_POLICY, policy.unwrap_or_else(nothing));
    response
}

fn policy(style: &str, script: &str) -> String {
    format!(
        "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

/// The source expression that stands for this text and no other.
fn hash(text: &str) -> String {
    // The TLS library's SHA-256, by way of a cipher suite that has it.
    match TLS13_AES_128_GCM_SHA256 {
        SupportedCipherSuite::Tls13(suite) => {
            let digest = suite.common.hash_provider.hash(text.as_bytes());
            format!("'sha256-{}'", BASE64_STANDARD.encode(digest))
        }
        // Then nothing of it may run.
        SupportedCipherSuite::Tls12(_) => "'none'".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-4's example "abc", in base64.
        let known = "'sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='";
        assert_eq!(hash("abc"), known);
    }

    #[test]
    fn the_policy_is_of_what_stands_in_the_document() {
        let page = page();
        let policy = &page.headers()[CONTENT_SECURITY_POLICY];
        let policy = policy.to_str().expect("text");
        let between = |open: &str, close: &str| {
            let (_, rest) = DOCUMENT.split_once(open).expect("it begins");
            let (text, rest) = rest.split_once(close).expect("it ends");
            assert!(!rest.contains(open), "there is one {open}");
            text
        };
        let (style, script) = (
            between("<style>", "</style>"),
            between("<script>", "</script>"),
        );
        assert!(policy.contains(&format!("style-src {};", hash(style))));
        assert!(policy.contains(&format!("script-src {};", hash(script))));
        assert!(!policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn the_document_needs_nothing_from_elsewhere() {
        // Attributes by which a document has something fetched or run.
        for banned in [
            " src=",
            "@import",
            "url(",
            "http://",
            "https://",
            " onclick=",
            " style=",
        ] {
            assert!(!DOCUMENT.contains(banned), "{banned}");
        }
        let links: Vec<_> = DOCUMENT.match_indices(" href=\"").collect();
        for (at, _) in links {
            let target = &DOCUMENT[at + " href=\"".len()..];
            assert!(
                target.starts_with(['#', '/']) || target.starts_with("data:"),
                "{}",
                &target[..20]
            );
        }
    }
}
