//! The HTTP health check: one request, and the answer that it must get.
//!
//! Purpose: ask as an exchange would ask, in the upstream's HTTP version, on a
//! connection of its own, and look at the status and the beginning of the body.
//!
//! Invariant: what a server sends is bounded in size here and in time by the
//! caller. `Host` is the server's own address, unless the config writes another.
//!
//! Deliberately absent: redirects, which are answers like any other, and
//! connections that are kept: a check also tests that one can be made.

use super::health::{Bad, CHECK_AGENT, Check};
use super::server::Server;
use super::tls;
use crate::config;
use crate::proxy::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use memchr::memmem;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use std::sync::Arc;

/// How much of a body is searched.
const SEARCHED: usize = 64 * 1024;

/// The check of one server.
pub(super) struct HttpCheck {
    connector: Connector,
    peer: HttpPeer,
    request: RequestHeader,
    status: Vec<u16>,
    body: Option<Box<str>>,
}

impl HttpCheck {
    pub(super) fn new(
        config: &config::Upstream,
        asked: &config::HttpCheck,
        options: &ConnectorOptions,
        (server, peer): (&Server, HttpPeer),
    ) -> Result<Self> {
        let options = options.clone();
        let connector = tls::guarded(&config.name, || Connector::new(Some(options)))?;
        let request = request(asked, &server.authority).map_err(|error| Error::Connect {
            upstream: Arc::clone(&config.name),
            server: Arc::clone(&server.name),
            reason: format!("health check of {:?}: {error}", asked.path),
        })?;
        Ok(Self {
            connector,
            peer,
            request,
            status: asked.status.clone(),
            body: asked.body.clone(),
        })
    }
}

fn request(asked: &config::HttpCheck, authority: &str) -> pingora_core::Result<RequestHeader> {
    let path = asked.path.as_bytes();
    let mut request = RequestHeader::build(asked.method.clone(), path, None)?;
    request.insert_header(HOST, authority)?;
    request.insert_header(USER_AGENT, CHECK_AGENT)?;
    for (name, value) in &asked.headers {
        request.insert_header(name.clone(), value.clone())?;
    }
    Ok(request)
}

#[async_trait]
impl Check for HttpCheck {
    async fn look(&self) -> Result<(), Bad> {
        let (mut exchange, _) = self.connector.get_http_session(&self.peer).await?;
        let options = &self.peer.options;
        exchange.set_write_timeout(options.write_timeout);
        let request = Box::new(self.request.clone());
        exchange.write_request_header(request).await?;
        exchange.finish_request_body().await?;
        exchange.set_read_timeout(options.read_timeout);
        exchange.read_response_header().await?;
        let status = exchange.response_header().map(|head| head.status.as_u16());
        let status = status.ok_or_else(|| Bad::because("it did not answer"))?;
        if !self.status.contains(&status) {
            return Err(Bad::because(format!("HTTP status {status}")));
        }
        let mut searched = Vec::new();
        while let Some(piece) = exchange.read_response_body().await? {
            if self.body.is_none() {
                // Its end is awaited all the same: an answer is a whole one.
                continue;
            }
            gather(&mut searched, &piece);
            if self.found(&searched) {
                return Ok(());
            }
            if searched.len() == SEARCHED {
                break;
            }
        }
        if self.body.is_none() || self.found(&searched) {
            return Ok(());
        }
        Err(Bad::because("the body has not in it what it should have"))
    }
}

impl HttpCheck {
    fn found(&self, searched: &[u8]) -> bool {
        let body = self.body.as_deref().unwrap_or_default();
        memmem::find(searched, body.as_bytes()).is_some()
    }
}

fn gather(searched: &mut Vec<u8>, piece: &Bytes) {
    let room = SEARCHED - searched.len();
    searched.extend_from_slice(&piece[..piece.len().min(room)]);
}
