//! Where a request goes: the first route whose host and path fit.
//!
//! A [`Site`] is one listener as one worker sees it: its policy, its routes
//! and, behind them, this worker's pools. It is shared by the worker's
//! connections of that listener, and made anew by a reload that changes it.

use super::head;
use super::sites::Sites;
use crate::config::{self as model, HostPattern};
use crate::drain::Protocol;
use crate::proxy::registry::{
    AccessLog, Asked, Berth, ConnectionGuard, Ends, Memo, Record, RequestGuard,
};
use crate::proxy::upstream::Pool;
use crate::telemetry::metrics::{Metrics, RouteMetrics};
use crate::telemetry::traces::Tracer;
use http::request::Parts;
use rustls::ServerConfig;
use std::sync::{Arc, Weak};

/// One listener, as one worker sees it.
#[derive(Debug)]
pub struct Site {
    listener: Arc<model::Listener>,
    tls: Option<Arc<ServerConfig>>,
    routes: Vec<Route>,
    /// Counts what no route took.
    unrouted: Arc<RouteMetrics>,
    /// How each exchange is logged, if it is.
    access: Option<Arc<AccessLog>>,
    /// Which exchanges are recorded, if any.
    tracer: Option<Arc<Tracer>>,
    /// Where its successor will be.
    home: Weak<Sites>,
}

/// A match, and what it leads to.
#[derive(Debug)]
pub struct Route {
    pub(super) rule: model::Route,
    pub(super) pool: Arc<Pool>,
    pub(super) metrics: Arc<RouteMetrics>,
}

impl Route {
    /// The client, where the route's servers are told who it is.
    pub(super) fn names(&self, record: &Record) -> Option<Box<Ends>> {
        let ends = self.pool.upstream().names_clients();
        ends.then(|| record.client.ends().map(Box::new)).flatten()
    }
}

/// A tunnel that is about to begin.
pub(in crate::proxy) struct TcpExchange {
    pub(in crate::proxy) exchange: RequestGuard,
    pub(in crate::proxy) pool: Arc<Pool>,
}

impl Site {
    /// Build a listener's site over this worker's pools, which are in the
    /// order of the config's upstreams.
    #[must_use]
    pub fn new(
        listener: Arc<model::Listener>,
        tls: Option<Arc<ServerConfig>>,
        pools: &[&Arc<Pool>],
        metrics: &Metrics,
        (access, tracer): (Option<Arc<AccessLog>>, Option<Arc<Tracer>>),
    ) -> Self {
        let rules = listener.serves.routes().iter().cloned();
        let routes = rules
            .map(|rule| {
                let pool = Arc::clone(pools[rule.upstream.0]);
                let upstream = pool.upstream().name();
                let metrics = metrics.route(&listener.name, &rule.name, upstream);
                Route {
                    rule,
                    pool,
                    metrics,
                }
            })
            .collect();
        let unrouted = metrics.route(&listener.name, "", "");
        Self {
            listener,
            tls,
            routes,
            unrouted,
            access,
            tracer,
            home: Weak::new(),
        }
    }

    /// The same, found from now on through these.
    pub(super) fn at(mut self, home: Weak<Sites>) -> Self {
        self.home = home;
        self
    }

    /// Where the site is found that serves now, this one or a later one.
    pub(super) fn home(&self) -> Option<Arc<Sites>> {
        self.home.upgrade()
    }

    /// The listener's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.listener.name
    }

    /// The listener's policy.
    #[must_use]
    pub fn listener(&self) -> &model::Listener {
        &self.listener
    }

    /// Its TLS settings, if it has any.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<ServerConfig>> {
        self.tls.as_ref()
    }

    /// Decides what is recorded, if anything is.
    pub(in crate::proxy) fn tracer(&self) -> Option<&Arc<Tracer>> {
        self.tracer.as_ref()
    }

    /// Whether clients speak TLS to this listener.
    #[must_use]
    pub fn secure(&self) -> bool {
        self.listener.tls.is_some()
    }

    /// Whether a request can be sent to this server from here.
    #[must_use]
    pub fn leads_to(&self, berth: &Arc<Berth>) -> bool {
        let mut routes = self.routes.iter();
        routes.any(|route| {
            let there = route.pool.upstream().berth(berth.server());
            there.is_some_and(|there| Arc::ptr_eq(there, berth))
        })
    }

    /// Whether gRPC-Web is made gRPC here.
    pub(super) fn speaks_web(&self) -> bool {
        self.listener.grpc_web
    }

    pub(super) fn unrouted(&self) -> &Arc<RouteMetrics> {
        &self.unrouted
    }

    /// The first route that fits; `host` without its port.
    pub(super) fn route(&self, host: &str, path: &str) -> Option<&Route> {
        let mut routes = self.routes.iter();
        routes.find(|route| takes(&route.rule, host, path))
    }

    /// Every route that a host has, in their order.
    pub(super) fn routes_of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Route> {
        let routes = self.routes.iter();
        routes.filter(move |route| fits(&route.rule.host, host))
    }

    /// Note what is asked, if the exchange is to be told of. Who records it is
    /// named in its head from here on.
    pub(super) fn note(&self, head: &mut Parts, exchange: &mut RequestGuard) {
        let begun = self.tracer.as_ref().and_then(|tracer| {
            let begun = tracer.asked(&mut head.headers)?;
            Some((Arc::clone(tracer), begun))
        });
        if self.access.is_some() || begun.is_some() {
            let host = head::host(head).unwrap_or_default();
            let asked = Asked::of(head, host, self.secure(), self.access.as_deref());
            let access = self.access.as_ref();
            exchange.remember(Memo::new(access, begun, Some(asked), exchange.record()));
        }
    }

    /// The same of a tunnel, in which nothing is asked.
    fn note_tunnel(&self, exchange: &mut RequestGuard) {
        let begun = self.tracer.as_ref().and_then(|tracer| {
            let begun = tracer.begin()?;
            Some((Arc::clone(tracer), begun))
        });
        if self.access.is_some() || begun.is_some() {
            let access = self.access.as_ref();
            exchange.remember(Memo::new(access, begun, None, exchange.record()));
        }
    }

    /// Whether a TCP listener has a route for who asks for this name, or for
    /// none.
    pub(in crate::proxy) fn takes(&self, name: Option<&str>) -> bool {
        self.route(name.unwrap_or_default(), "").is_some()
    }

    /// Begin a tunnel on a TCP listener, for who asks for this name; `None` if
    /// no route takes it.
    pub(in crate::proxy) fn begin_tcp(
        &self,
        guard: &ConnectionGuard,
        name: Option<&str>,
    ) -> Option<TcpExchange> {
        let route = self.route(name.unwrap_or_default(), "")?;
        let mut exchange = guard.begin(Protocol::Tcp);
        exchange.routed(&route.metrics);
        self.note_tunnel(&mut exchange);
        Some(TcpExchange {
            exchange,
            pool: Arc::clone(&route.pool),
        })
    }
}

/// Whether a route is for requests to this host with this path.
fn takes(rule: &model::Route, host: &str, path: &str) -> bool {
    fits(&rule.host, host) && path.starts_with(&rule.path)
}

fn fits(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Any => true,
        HostPattern::Exact(name) => name.eq_ignore_ascii_case(host),
        HostPattern::Suffix(suffix) => host
            .len()
            .checked_sub(suffix.len())
            .filter(|cut| *cut > 0)
            .and_then(|cut| host.get(cut..))
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix)),
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_fit_without_regard_to_case() {
        let exact = HostPattern::Exact("api.example.com".into());
        assert!(fits(&exact, "API.example.com"));
        assert!(!fits(&exact, "xapi.example.com"));
        let suffix = HostPattern::Suffix(".example.com".into());
        assert!(fits(&suffix, "a.b.Example.com"));
        assert!(!fits(&suffix, ".example.com"));
        assert!(!fits(&suffix, "example.com"));
        assert!(!fits(&suffix, "example.org"));
        assert!(fits(&HostPattern::Any, ""));
    }
}
