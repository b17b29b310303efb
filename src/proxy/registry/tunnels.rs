//! Tunnels: how many are open, how many may be, and how long one may be silent.
//!
//! A WebSocket over HTTP/2 needs a connection to a server like one over HTTP/1.1,
//! and has none of its own to be counted by: so tunnels are counted as such, in
//! the process, on their listener and of their client. One of a TCP listener is
//! its connection, and counted with those.
//!
//! Invariant: who was let in is counted until its exchange ends, whatever became
//! of it; who was not is not counted.
//!
//! Deliberately absent: what one too many is told.

use super::Registry;
use super::crowd::Who;
use super::guard::RequestGuard;
use super::limit::Limit;
use super::scope::Scope;
use crate::config::Limits;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Places for tunnels; more than there are may be taken after a reload.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: AtomicUsize,
    /// 0 is any number.
    most: AtomicUsize,
}

impl Places {
    fn set(&self, most: usize) {
        self.most.store(most, Relaxed);
    }

    /// Take one, if there is one.
    fn take(&self) -> bool {
        let most = self.most.load(Relaxed);
        let one_more = |taken| (most == 0 || taken < most).then_some(taken + 1);
        let taken = self.taken.fetch_update(Relaxed, Relaxed, one_more);
        taken.is_ok()
    }

    fn leave(&self) {
        self.taken.fetch_sub(1, Relaxed);
    }
}

/// What holds for the tunnels of one listener.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    places: Places,
    /// In milliseconds; 0 is for ever.
    idle: AtomicU64,
}

impl Registry {
    /// From now on there may be so many tunnels on all listeners; 0 is any
    /// number. Who is there stays.
    pub fn set_tunnels(&self, most: usize) {
        self.tunnels.set(most);
    }
}

impl Scope {
    /// From now on these limits hold for its tunnels. Who is there stays, and may
    /// be as silent as they say.
    pub fn set_tunnels(&self, limits: &Limits) {
        self.tunnels.places.set(limits.tunnels);
        let idle = u64::try_from(limits.tunnel_idle.as_millis()).unwrap_or(u64::MAX);
        self.tunnels.idle.store(idle, Relaxed);
    }

    /// How long nothing may pass through a tunnel; `None` is for ever.
    pub(in crate::proxy) fn tunnel_idle(&self) -> Option<Duration> {
        let idle = self.tunnels.idle.load(Relaxed);
        (idle > 0).then(|| Duration::from_millis(idle))
    }
}

impl RequestGuard {
    /// Count it as a tunnel, until its end. Its client may have `per_client`, 0
    /// being any number.
    ///
    /// # Errors
    /// The limit for which it may not become one. It is counted there.
    pub(in crate::proxy) fn take_tunnel(&mut self, per_client: usize) -> Result<(), Limit> {
        let scope = self.record.scope();
        let who = Who::at(self.record.client.address().ip());
        let admitted = if who.is_some_and(|who| !scope.tunnel_crowd.enter(who, per_client)) {
            Err(Limit::ClientTunnels)
        } else if !scope.tunnels.places.take() {
            leave(scope, who);
            Err(Limit::Tunnels)
        } else if !self.registry.tunnels.take() {
            scope.tunnels.places.leave();
            leave(scope, who);
            Err(Limit::ProcessTunnels)
        } else {
            Ok(())
        };
        if let Err(limit) = admitted {
            scope.limited(limit);
        }
        self.tunnels |= admitted.is_ok();
        admitted
    }

    /// It is none any more.
    pub(super) fn leave_tunnel(&self) {
        let scope = self.record.scope();
        self.registry.tunnels.leave();
        scope.tunnels.places.leave();
        leave(scope, Who::at(self.record.client.address().ip()));
    }
}

fn leave(scope: &Scope, who: Option<Who>) {
    if let Some(who) = who {
        scope.tunnel_crowd.leave(who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::{Orders, Protocol};
    use crate::proxy::registry::ConnectionGuard;
    use std::sync::Arc;

    struct Scene {
        registry: Arc<Registry>,
        scope: Arc<Scope>,
    }

    impl Scene {
        fn new(most: usize, in_all: usize) -> Self {
            let registry = Registry::new();
            registry.set_tunnels(in_all);
            let scope = registry.scope("web".into(), Orders::default());
            let scene = Self { registry, scope };
            scene.may(most);
            scene
        }

        fn may(&self, most: usize) {
            self.scope.set_tunnels(&Limits {
                tunnels: most,
                ..Limits::default()
            });
        }

        fn client(&self, last: u8) -> ConnectionGuard {
            self.registry
                .enter(&self.scope, ([192, 0, 2, last], 9).into())
        }

        fn taken(&self) -> [usize; 3] {
            let of = |places: &Places| places.taken.load(Relaxed);
            let clients = self.scope.tunnel_crowd.clients();
            [
                of(&self.registry.tunnels),
                of(&self.scope.tunnels.places),
                clients,
            ]
        }
    }

    /// An exchange of this client, as a tunnel if it may be one.
    fn begin(client: &ConnectionGuard, per_client: usize) -> Result<RequestGuard, Limit> {
        let mut exchange = client.begin(Protocol::WebSocket);
        exchange.take_tunnel(per_client).map(|()| exchange)
    }

    #[test]
    fn one_too_many_is_told_which_limit_it_is_and_takes_no_place() {
        let scene = Scene::new(3, 4);
        let (one, other) = (scene.client(7), scene.client(8));
        let two = [begin(&one, 2), begin(&one, 2)];
        assert!(two.iter().all(Result::is_ok));
        assert_eq!(begin(&one, 2).err(), Some(Limit::ClientTunnels));
        let third = begin(&other, 2);
        assert!(third.is_ok());
        assert_eq!(begin(&other, 2).err(), Some(Limit::Tunnels));
        scene.may(0);
        let fourth = begin(&other, 0);
        assert!(fourth.is_ok());
        assert_eq!(begin(&other, 0).err(), Some(Limit::ProcessTunnels));
        assert_eq!(scene.taken(), [4, 4, 2]);
        for limit in [Limit::ClientTunnels, Limit::Tunnels, Limit::ProcessTunnels] {
            assert_eq!(scene.scope.limited_count(limit), 1, "{}", limit.as_str());
        }
        drop((two, third, fourth));
        assert_eq!(scene.taken(), [0, 0, 0]);
    }

    #[test]
    fn a_lower_limit_sends_nobody_away_and_holds_for_who_comes() {
        let scene = Scene::new(2, 0);
        let client = scene.client(7);
        let two = [begin(&client, 0), begin(&client, 0)];
        scene.may(1);
        assert!(two.iter().all(Result::is_ok));
        let [first, second] = two;
        drop(first);
        assert_eq!(begin(&client, 0).err(), Some(Limit::Tunnels));
        drop(second);
        assert!(begin(&client, 0).is_ok());
    }

    #[test]
    fn what_never_became_a_tunnel_leaves_the_places_as_they_were() {
        let scene = Scene::new(1, 1);
        let client = scene.client(7);
        drop(client.begin(Protocol::Http1));
        assert_eq!(scene.taken(), [0, 0, 0]);
        let here = scene
            .registry
            .enter(&scene.scope, ([127, 0, 0, 1], 9).into());
        let tunnel = begin(&here, 1);
        assert_eq!(scene.taken(), [1, 1, 0], "who is here is nobody's crowd");
        drop(tunnel);
        assert_eq!(scene.taken(), [0, 0, 0]);
    }
}
