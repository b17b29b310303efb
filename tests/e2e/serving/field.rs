//! The proxy with clients and servers of every version around it.
//!
//! One proxy, two listeners (`clear` and `tls`), and an upstream for each
//! kind of server; the host of a request says which: `h1.test`, `h2s.test`.

use super::client::Client;
use crate::support::certificate::Certificate;
use crate::support::clients::{Http1, Http2, connect};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use std::fmt::Write as _;
use std::net::SocketAddr;
use tempfile::TempDir;

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http1Tls,
    Http2,
    Http2Tls,
}

impl Speaks {
    pub(crate) const ALL: [Self; 4] = [Self::Http1, Self::Http1Tls, Self::Http2, Self::Http2Tls];
    pub(crate) const CLEAR: [Self; 2] = [Self::Http1, Self::Http2];

    pub(crate) fn secure(self) -> bool {
        matches!(self, Self::Http1Tls | Self::Http2Tls)
    }
}

/// The sites in clear text.
pub(crate) const CLEAR: [&str; 2] = ["h1", "h2"];

/// Every client with every one of `sites`.
pub(crate) fn pairs(
    clients: &[Speaks],
    sites: &[&'static str],
) -> impl Iterator<Item = (Speaks, &'static str)> {
    clients
        .iter()
        .flat_map(move |client| sites.iter().map(move |site| (*client, *site)))
}

/// A client's connection to `proxy`.
pub(crate) async fn client(proxy: &Proxy, speaks: Speaks) -> Client {
    let (clear, tls) = (proxy.address("clear"), proxy.address("tls"));
    let certificate = proxy.certificate();
    match speaks {
        Speaks::Http1 => Client::Http1(Http1::over(connect(clear).await).await),
        Speaks::Http1Tls => {
            let wire = certificate.connect(tls, "http/1.1").await;
            Client::Http1(Http1::over(wire).await)
        }
        Speaks::Http2 => Client::Http2(Http2::connect(clear).await),
        Speaks::Http2Tls => Client::Http2(Http2::over(certificate.connect(tls, "h2").await).await),
    }
}

/// A config with an upstream for each `(site, server, further keys)`, reached
/// under the host `SITE.test` over both listeners, and `further` keys of the
/// listeners.
pub(crate) fn config(further: &str, upstreams: &[(&str, SocketAddr, &str)]) -> String {
    let mut text = String::new();
    let tls = "tls = { cert = \"site.pem\", key = \"site.key\" }";
    for (listener, tls) in [("clear", ""), ("tls", tls)] {
        write!(
            text,
            "[listener.{listener}]\nlisten = \"127.0.0.1:0\"\n{further}\n{tls}\nroutes = ["
        )
        .expect("text");
        for (site, ..) in upstreams {
            write!(
                text,
                "\n  {{ host = \"{site}.test\", upstream = \"{site}\" }},"
            )
            .expect("text");
        }
        text.push_str("\n]\n\n");
    }
    for (site, server, keys) in upstreams {
        write!(
            text,
            "[upstream.{site}]\nservers = [\"{server}\"]\n{keys}\n\n"
        )
        .expect("text");
    }
    text
}

/// One proxy, four servers.
pub(crate) struct Field {
    pub(crate) proxy: Proxy,
    servers: [(&'static str, Server); 4],
    _trusted: TempDir,
}

impl Field {
    pub(crate) const SITES: [&'static str; 4] = ["h1", "h1s", "h2", "h2s"];

    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// With `further` keys of the listeners.
    pub(crate) async fn with(further: &str) -> Self {
        let certificate = Certificate::new();
        let trusted = tempfile::tempdir().expect("a directory");
        certificate.write(trusted.path());
        let ca = trusted.path().join("site.pem");
        let tls = format!("tls = {{ sni = \"localhost\", ca = \"{}\" }}", ca.display());
        let servers = [
            ("h1", Server::http1().await),
            (
                "h1s",
                Server::http1_tls(certificate.server(&["http/1.1"])).await,
            ),
            ("h2", Server::http2().await),
            ("h2s", Server::http2_tls(certificate.server(&["h2"])).await),
        ];
        let upstreams = servers.each_ref().map(|(site, server)| {
            let http = &site[..2];
            let tls = if site.ends_with('s') {
                tls.as_str()
            } else {
                ""
            };
            (*site, server.address, format!("http = \"{http}\"\n{tls}"))
        });
        let upstreams = upstreams
            .each_ref()
            .map(|(site, address, keys)| (*site, *address, keys.as_str()));
        Self {
            proxy: Proxy::start(&config(further, &upstreams)).await,
            servers,
            _trusted: trusted,
        }
    }

    pub(crate) async fn client(&self, speaks: Speaks) -> Client {
        client(&self.proxy, speaks).await
    }

    pub(crate) fn server(&self, site: &str) -> &Server {
        let found = self.servers.iter().find(|(name, _)| *name == site);
        &found.expect("a server").1
    }

    /// The head that the server of `site` saw last.
    pub(crate) fn last_head(&self, site: &str) -> String {
        let seen = self.server(site).desk.seen();
        seen.heads.last().cloned().expect("a request")
    }
}
