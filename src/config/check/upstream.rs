//! Upstreams: named pools of servers and how they are spoken to.
//!
//! Purpose: each `[upstream.NAME]` becomes an [`Upstream`].
//!
//! Invariant: what a client certificate needs is there in pairs, and nothing that
//! verifies stands beside what verifies nothing.
//!
//! Deliberately absent: servers (see `servers`), dialling, choosing and health
//! checking.

use super::super::file;
use super::super::file::Method;
use super::super::model::{Balance, HashBy, Listener, Upstream, UpstreamHttp, UpstreamTls};
use super::super::read::{At, OneOf, Percent, Time, value_or};
use super::super::report::{Fault, Problem, Reported, quote};
use super::super::tls;
use super::pool::{Written, warm_spans};
use super::{Check, all};
use http::HeaderName;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

impl Check<'_> {
    pub(super) fn upstreams(
        &self,
        written: Written,
        listeners: &Result<Vec<Listener>, Reported>,
    ) -> Result<Vec<Upstream>, Reported> {
        let warm = warm_spans(&written);
        let checked = all(written?, |(name, upstream)| self.upstream(&name, upstream));
        self.asked_ahead(checked?, &warm, listeners)
    }

    fn upstream(
        &self,
        key: &At<String>,
        written: At<file::Upstream>,
    ) -> Result<Upstream, Reported> {
        let name = self.name("an upstream", key);
        let written = written.value?;
        let servers = self.servers(written.servers);
        let sources = servers.as_ref().map(|(_, sources)| sources.as_slice());
        let discover = self.discover(written.discover, sources.map_err(|reported| *reported));
        let balance = self.balance(written.balance);
        let spill = value_or(written.spill, Percent(70));
        let panic = value_or(written.panic, Percent(0));
        let slow_start = value_or(written.slow_start, Time(Duration::ZERO));
        let eject = self.eject(written.eject);
        let going = self.going(written.going);
        let limits = self.upstream_limits(written.limits);
        let adaptive = self.adaptive(written.adaptive);
        let connect_timeout =
            self.time("connect_timeout", written.connect_timeout, CONNECT_TIMEOUT);
        let secure = written.tls.is_some();
        let tls = written
            .tls
            .as_ref()
            .map(|tls| self.upstream_tls(tls.get()?))
            .transpose();
        let http = value_or(written.http, OneOf(UpstreamHttp::default())).map(|http| http.0);
        let speaks_h2 = match http {
            Ok(UpstreamHttp::H1) => false,
            Ok(UpstreamHttp::Auto) => secure,
            Ok(UpstreamHttp::H2) | Err(_) => true,
        };
        let alone = written.proxy_protocol.as_ref().map(|key| key.span.clone());
        let proxy_protocol = written.proxy_protocol.map(|key| key.value).transpose();
        let pool = self.pool(written.pool, alone.as_ref());
        let health = written
            .health
            .map(|health| self.health(health, speaks_h2))
            .transpose();
        let (servers, sources) = servers?;
        Ok(Upstream {
            name: Arc::from(name?),
            servers,
            sources,
            discover: discover?,
            http: http?,
            health: health?,
            balance: balance?,
            zone: None,
            spill: spill?.0,
            panic: panic?.0,
            slow_start: slow_start?.0,
            eject: eject?,
            going: going?,
            limits: limits?,
            adaptive: adaptive?,
            connect_timeout: connect_timeout?,
            tls: tls?,
            proxy_protocol: proxy_protocol?.map(|version| version.0),
            pool: pool?,
        })
    }

    fn balance(&self, key: Option<At<file::Balance>>) -> Result<Balance, Reported> {
        let Some(key) = key else {
            return Ok(Balance::default());
        };
        match key.value? {
            file::Balance::Word(Method::RoundRobin) => Ok(Balance::RoundRobin),
            file::Balance::Word(Method::LeastInFlight) => Ok(Balance::LeastInFlight),
            file::Balance::Word(Method::Hash) => Ok(Balance::Hash(HashBy::Client)),
            file::Balance::By(table) => self.parse(&table.hash, hash_by).map(Balance::Hash),
        }
    }

    fn upstream_tls(&self, written: &file::UpstreamTls) -> Result<UpstreamTls, Reported> {
        let sni = self.parse(&written.sni, tls::sni);
        let ca = written.ca.as_ref().map(|ca| {
            self.parse(ca, |path| tls::roots(&self.read_path(path)))?;
            ca.get().map(|path| self.path(path))
        });
        let client = match (&written.cert, &written.key) {
            (Some(cert), Some(key)) => self.client(cert, key).map(Some),
            (None, None) => Ok(None),
            (Some(lone), None) => self.lone(lone, "cert", "key"),
            (None, Some(lone)) => self.lone(lone, "key", "cert"),
        };
        let verify = self.verify(written);
        let (ca, client) = (ca.transpose()?, client?);
        let pair = client.iter().flat_map(|(cert, key)| [cert, key]);
        let content = tls::content(ca.iter().chain(pair));
        Ok(UpstreamTls {
            sni: sni?,
            ca,
            client,
            verify: verify?,
            content,
        })
    }

    fn verify(&self, written: &file::UpstreamTls) -> Result<bool, Reported> {
        let Some(verify) = &written.verify else {
            return Ok(true);
        };
        if *verify.get()? {
            return Ok(true);
        }
        let beside = [("ca", &written.ca), ("cert", &written.cert)];
        let mut beside = beside
            .into_iter()
            .filter_map(|(name, key)| Some((name, key.as_ref()?)));
        let Some((name, key)) = beside.next() else {
            return Ok(false);
        };
        let problem = Problem::at(
            &verify.span,
            format!("`verify = false` contradicts `{name}`"),
        );
        let problem = problem.also(
            &key.span,
            match name {
                "ca" => "nothing would be verified by it",
                _ => "anybody who answers would be shown it",
            },
        );
        self.refuse(problem.help(format!(
            "delete `verify`, or `{name}` with what goes with it"
        )))
    }

    fn client(&self, cert: &At<String>, key: &At<String>) -> Result<(PathBuf, PathBuf), Reported> {
        self.pair(cert, key, None)?;
        Ok((self.path(cert.get()?), self.path(key.get()?)))
    }

    fn lone<T>(&self, written: &At<String>, name: &str, missing: &str) -> Result<T, Reported> {
        let problem = Problem::at(&written.span, format!("`{name}` needs `{missing}`"));
        self.refuse(problem.help(format!(
            "a client certificate has two files: add `{missing}`, or delete `{name}`"
        )))
    }
}

fn hash_by(text: &str) -> Result<HashBy, Fault> {
    let wrong = |what: &str| {
        Fault::new(
            what.to_owned(),
            "a server is chosen by `\"client\"`, `\"header:NAME\"` or `\"cookie:NAME\"`",
        )
    };
    if text == "client" {
        return Ok(HashBy::Client);
    }
    if let Some(name) = text.strip_prefix("header:") {
        let name = name.parse().map(HashBy::Header);
        return name.map_err(|_| wrong(&format!("{} names no field", quote(text))));
    }
    if let Some(name) = text.strip_prefix("cookie:") {
        // A token, as the name of a field is (RFC 6265, section 4.1.1); case counts.
        let token = HeaderName::from_bytes(name.as_bytes()).is_ok();
        let name = token.then(|| HashBy::Cookie(name.into()));
        return name.ok_or_else(|| wrong(&format!("{} names no cookie", quote(text))));
    }
    Err(wrong(&format!("`hash` cannot be {}", quote(text))))
}
