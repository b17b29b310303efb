//! Handovers, as clients and operators see them: who takes over, what stays,
//! and that nobody is lost, whoever dies.

mod changes;
mod load;
mod rollback;
mod takes_over;

use crate::support::load::Servers;
use crate::support::proxy::{Proxy, Signal};

/// Where a successor asks, and a drain that waits for what is in flight.
const DRAIN: &str = r#"
[handover]
socket = "handover.sock"

[drain]
grace = "10m"
announce = "0s"
spread = "50ms"
handshake = "1s"
last_request = "1s"
farewell = "60s"
finish = { http = "60s", grpc = "60s", websocket = "60s", tcp = "60s" }
"#;

/// A proxy with servers behind it.
struct House {
    proxy: Proxy,
    servers: Servers,
    config: String,
}

async fn house() -> House {
    let servers = Servers::start().await;
    let config = format!("{}{DRAIN}", servers.tables());
    let proxy = Proxy::start(&config).await;
    House {
        proxy,
        servers,
        config,
    }
}

impl House {
    /// The next process, which serves; the one before drains.
    async fn next(&mut self, round: usize) -> Proxy {
        next(&mut self.proxy, &self.config, round).await
    }
}

/// The next process in the place of this one, which drains and is returned.
async fn next(proxy: &mut Proxy, config: &str, round: usize) -> Proxy {
    let name = format!("ebbtide-{round}.toml");
    let mut next = proxy.successor(config, &name, &[]);
    next.took_over(config).await;
    for listener in ["web", "secure", "tcp"] {
        let address = next.address(listener);
        assert_eq!(address, proxy.address(listener), "the same socket");
    }
    std::mem::replace(proxy, next)
}

/// SIGTERM; the exit is good and the books balance.
async fn ends(mut proxy: Proxy) {
    proxy.signal(Signal::TERM);
    crate::drain::scene::ended(&mut proxy).await;
}
