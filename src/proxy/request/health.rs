//! `grpc.health.v1.Health`, answered by the proxy itself.
//!
//! A call is answered as if a server had: its answer is a response like any
//! other, so it is relayed, translated and ended like any other. The empty
//! service is the listener, a name is what its routes lead to: a route's
//! service (the first segment of its path), the service by which an upstream's
//! servers are checked, or an upstream's name. Other listeners' upstreams are
//! not told of here.
//!
//! Invariant: nothing serves from announce on, whatever its servers do, and a
//! Watch hears of it before it ends. A Watch is no work: it ends when its
//! connection is told to retire, so it never holds an exit.
//!
//! Deliberately absent: a drain that follows a handover. The successor answers
//! at the same address: clients go there because they are told to retire, not
//! because nothing serves.

use super::forward::{Carrier, Forwarded};
use super::route::Site;
use super::sites::Sites;
use super::{answer, grpc, head};
use crate::drain::{Orders, Protocol};
use crate::proxy::body::{Body, Made, Pulled};
use crate::proxy::error::{Error, Result};
use crate::proxy::registry::{Limit, Record};
use crate::proxy::upstream::Upstream;
use crate::proxy::upstream::health_message::{self as message, Serving};
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::timeout;

const SERVICE: &str = "/grpc.health.v1.Health/";

/// The most that a request may hold, in bytes: a name of any sane length.
const MOST: usize = 4096;

/// Whether a call is one that the proxy answers itself.
pub(super) fn is_asked(site: &Site, head: &Parts, protocol: Protocol) -> bool {
    site.listener().grpc_health
        && protocol == Protocol::Grpc
        && head.uri.path().starts_with(SERVICE)
}

/// Whether it is one that stays open.
pub(super) fn is_watch(head: &Parts) -> bool {
    method(head) == Some("Watch")
}

fn method(head: &Parts) -> Option<&str> {
    head.uri.path().strip_prefix(SERVICE)
}

/// Answer a call.
///
/// # Errors
/// If its client breaks the request off, or is too slow with it.
pub(super) async fn answer(
    site: Arc<Site>,
    record: Arc<Record>,
    head: &Parts,
    body: Body,
) -> Result<Forwarded> {
    let host = head::fields(head, &site.listener().limits).and_then(|()| head::host(head));
    let host = match host {
        Ok(host) => host,
        Err((code, _)) => {
            answer::count(&record, code);
            return Ok(status(grpc::INTERNAL, "the head of the request is wrong"));
        }
    };
    let limit = site.listener().limits.body_idle;
    let Ok(read) = timeout(limit, read(body)).await else {
        record.scope().limited(Limit::BodyIdle);
        return Err(Error::Timeout("the request body"));
    };
    let Some(asked) = read? else {
        return Ok(status(grpc::RESOURCE_EXHAUSTED, "the request is too large"));
    };
    if asked.first().is_some_and(|compressed| *compressed != 0) {
        let says = "compressed messages are not taken";
        return Ok(status(grpc::UNIMPLEMENTED, says));
    }
    let (Some(service), Some(sites)) = (message::asked(&asked), site.home()) else {
        return Ok(status(grpc::INTERNAL, "the message is malformed"));
    };
    let health = Health {
        sites,
        record,
        host: host.to_owned(),
        service,
    };
    let serves = serves(&health.record.scope().orders());
    Ok(match method(head) {
        Some("Check") => match health.now(&site, serves) {
            Serving::Unknown => status(grpc::NOT_FOUND, "no such service here"),
            known => once(message::response(known)),
        },
        Some("List") => once(health.list(&site, serves)),
        Some("Watch") => begun(Body::Made(Box::new(Watch::new(health)))),
        _ => status(grpc::UNIMPLEMENTED, "no such method"),
    })
}

/// The whole request; `None` if it is larger than any can be.
async fn read(mut body: Body) -> Result<Option<Bytes>> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| Error::Broken)?.into_data() {
            if whole.len() + data.len() > MOST {
                return Ok(None);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(Some(whole.freeze()))
}

fn begun(body: Body) -> Forwarded {
    let mut response = Response::new(());
    let fields = response.headers_mut();
    fields.insert(http::header::CONTENT_TYPE, grpc::KIND);
    Forwarded {
        head: response.into_parts().0,
        body,
        carrier: Carrier::None,
    }
}

fn once(message: Bytes) -> Forwarded {
    let trailers = grpc::status_fields(grpc::OK, "");
    begun(Body::Made(Box::new(Once(Some(message), Some(trailers)))))
}

fn status(code: grpc::Code, says: &'static str) -> Forwarded {
    let mut answer = begun(Body::Empty);
    answer.head.headers.extend(grpc::status_fields(code, says));
    answer
}

/// Whether a listener takes calls, as far as its drain is concerned.
fn serves(orders: &Orders) -> bool {
    orders.stage.is_none() || orders.handed_over
}

/// What is asked, and where that is known.
struct Health {
    sites: Arc<Sites>,
    record: Arc<Record>,
    host: String,
    service: String,
}

impl Health {
    fn now(&self, site: &Site, serves: bool) -> Serving {
        let up = match self.service.as_str() {
            "" => true,
            service => match upstream(site, &self.host, service) {
                Some(upstream) => upstream.takes_exchanges(),
                None => return Serving::Unknown,
            },
        };
        serving(up && serves)
    }

    fn list(&self, site: &Site, serves: bool) -> Bytes {
        let mut all = vec![("", serving(serves))];
        let routes = site.routes_of(&self.host).flat_map(|route| {
            let upstream = route.pool.upstream();
            let names = [
                service_of(&route.rule.path),
                upstream.health_service(),
                Some(&**upstream.name()),
            ];
            names.into_iter().flatten()
        });
        for name in routes {
            if let Some(upstream) = upstream(site, &self.host, name)
                && !all.iter().any(|(known, _)| *known == name)
            {
                all.push((name, serving(serves && upstream.takes_exchanges())));
            }
        }
        message::list(all.into_iter())
    }

    /// What is to be said next, other than what was `said` last; `None` once
    /// nothing more is, for the connection retires.
    async fn next(&self, said: Option<Serving>) -> Option<Serving> {
        loop {
            let scope = self.record.scope();
            let version = scope.version();
            let site = self.sites.now();
            let upstream = upstream(&site, &self.host, &self.service);
            // Enlisted before the look, or a verdict between the two is lost.
            let mut changes = upstream.map(|upstream| upstream.changes());
            let now = self.now(&site, serves(&scope.orders()));
            if said != Some(now) {
                return Some(now);
            }
            if self.record.is_retired() {
                return None;
            }
            let other_health = async {
                match &mut changes {
                    Some(changes) => changes.next().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                _ = scope.changed(version) => {}
                () = other_health => {}
                () = self.sites.other_than(&site) => {}
                () = self.record.retirement() => {}
            }
        }
    }
}

fn serving(yes: bool) -> Serving {
    if yes { Serving::Yes } else { Serving::No }
}

/// The service that a route's path names.
fn service_of(path: &str) -> Option<&str> {
    let (service, _) = path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty()).then_some(service)
}

/// Whose health a service's is, on the routes of a host: the likelier meaning
/// of a name first.
fn upstream<'a>(site: &'a Site, host: &'a str, service: &str) -> Option<&'a Arc<Upstream>> {
    let all = || {
        site.routes_of(host)
            .map(|route| (route, route.pool.upstream()))
    };
    let by_path = all().find(|(route, _)| service_of(&route.rule.path) == Some(service));
    let by_check = || all().find(|(_, upstream)| upstream.health_service() == Some(service));
    let by_name = || all().find(|(_, upstream)| **upstream.name() == *service);
    let found = by_path.or_else(by_check).or_else(by_name);
    found.map(|(_, upstream)| upstream)
}

/// The body of a unary answer.
#[derive(Debug)]
struct Once(Option<Bytes>, Option<HeaderMap>);

impl Made for Once {
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Pulled> {
        let message = self.0.take().map(Frame::data);
        let frame = message.or_else(|| self.1.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none() && self.1.is_none()
    }
}

type Next = Pin<Box<dyn Future<Output = Option<Serving>> + Send>>;

/// The body of a Watch's answer.
struct Watch {
    health: Arc<Health>,
    next: Option<Next>,
}

impl Watch {
    fn new(health: Health) -> Self {
        let mut watch = Self {
            health: Arc::new(health),
            next: None,
        };
        watch.await_other_than(None);
        watch
    }

    fn await_other_than(&mut self, said: Option<Serving>) {
        let health = Arc::clone(&self.health);
        self.next = Some(Box::pin(async move { health.next(said).await }));
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.health.service).finish()
    }
}

impl Made for Watch {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let frame = if let Some(serving) = ready!(next.as_mut().poll(cx)) {
            self.await_other_than(Some(serving));
            Frame::data(message::response(serving))
        } else {
            self.next = None;
            let says = "this connection takes no more requests; watch on another";
            Frame::trailers(grpc::status_fields(grpc::UNAVAILABLE, says))
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Stage;

    #[test]
    fn a_path_that_ends_its_first_segment_names_a_service() {
        assert_eq!(service_of("/orders.v1.Orders/"), Some("orders.v1.Orders"));
        assert_eq!(
            service_of("/orders.v1.Orders/Get"),
            Some("orders.v1.Orders")
        );
        // A prefix of more than one service's path.
        assert_eq!(service_of("/orders.v1.Orders"), None);
        assert_eq!(service_of("/"), None);
        assert_eq!(service_of("//x"), None);
    }

    #[test]
    fn nothing_serves_from_announce_on_but_under_a_successor() {
        let mut orders = Orders::default();
        assert!(serves(&orders));
        orders.stage = Some(Stage::Announce);
        assert!(!serves(&orders));
        orders.handed_over = true;
        assert!(serves(&orders));
    }
}
