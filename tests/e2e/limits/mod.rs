//! Limits: who reaches one is told so, in its protocol, and counted by the
//! limit; whoever is honest beside it is served as before.

mod age;
mod counted;
mod crowds;
mod floods;
mod handshakes;
mod memory;
mod others;
mod requests;
mod room;
mod tunnels;

use crate::drain::scene::{Plan, ended};
use crate::support::clients::{Frames, Raw, connect};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use std::time::Duration;

/// A request in order, and what follows its answer's head.
const HONEST: &str = "GET /honest HTTP/1.1\r\nHost: localhost\r\n\r\n";
const OK: &str = "\r\n\r\nok";

/// A proxy with limits before one server.
struct Scene {
    proxy: Proxy,
    server: Server,
}

impl Scene {
    /// With these settings of the listener `web`.
    async fn with(listener: &str) -> Self {
        Self::and(listener, "").await
    }

    /// And these tables.
    async fn and(listener: &str, tables: &str) -> Self {
        let server = Server::http1().await;
        let proxy = Proxy::start(&config(&server, listener, tables)).await;
        Self { proxy, server }
    }

    async fn raw(&self) -> Raw {
        Raw::connect(self.proxy.address("web")).await
    }

    async fn frames(&self) -> Frames {
        Frames::over(connect(self.proxy.address("web")).await).await
    }

    /// How often a limit of the listener `web` was reached.
    async fn limited(&self, reason: &str) -> u64 {
        limited(&self.proxy, "web", reason).await
    }

    /// Wait until it was so often.
    async fn until_limited(&self, reason: &str, count: u64) {
        let reached = async {
            loop {
                let now = self.limited(reason).await;
                assert!(now <= count, "{reason}: {now}");
                if now == count {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(&format!("{count} times {reason}"), reached).await;
    }

    /// Wait until it was reached at all.
    async fn until_reached(&self, reason: &str) {
        let reached = async {
            while self.limited(reason).await == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(reason, reached).await;
    }

    /// Whoever comes next is served.
    async fn serves(&self, what: &str) {
        let mut honest = self.raw().await;
        honest.send(HONEST).await.expect("sent");
        let answer = honest.read_until(OK).await.expect(what);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{what}: {answer}");
    }

    /// The proxy still drains, and exits well.
    async fn over(mut self) {
        self.proxy.signal(Signal::TERM);
        assert_eq!(ended(&mut self.proxy).await.cut, 0);
    }
}

/// The config of a listener `web` before this server.
fn config(server: &Server, listener: &str, tables: &str) -> String {
    let (address, plan) = (server.address, Plan::CALM);
    format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
         {listener}\n\n[upstream.site]\nservers = [\"{address}\"]\n\n{tables}\n{plan}"
    )
}

/// How often a limit of a listener was reached.
async fn limited(proxy: &Proxy, listener: &str, reason: &str) -> u64 {
    let metrics = proxy.get("/metrics").await;
    let name = format!("ebbtide_limited_total{{listener=\"{listener}\",reason=\"{reason}\"}} ");
    let mut lines = metrics.text().lines();
    let count = lines.find_map(|line| line.strip_prefix(&name));
    count.expect(reason).parse().expect("a number")
}
