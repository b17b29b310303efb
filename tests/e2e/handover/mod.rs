//! Handovers, as clients and operators see them: who takes over, what stays,
//! and that nobody is lost, whoever dies.

mod changes;
mod load;
mod rollback;
mod takes_over;

use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use std::net::SocketAddr;

/// A config with a listener of every kind, and a place to ask.
fn config(http: SocketAddr, tcp: SocketAddr) -> String {
    format!(
        r#"
[handover]
socket = "handover.sock"

[listener.web]
listen = "127.0.0.1:0"
routes = [{{ upstream = "site" }}]

[listener.secure]
listen = "127.0.0.1:0"
tls = {{ cert = "site.pem", key = "site.key" }}
routes = [{{ upstream = "site" }}]

[listener.tcp]
listen = "127.0.0.1:0"
protocol = "tcp"
upstream = "echo"

[upstream.site]
servers = ["{http}"]
health = {{ http = "/", every = "1s" }}

[upstream.echo]
servers = ["{tcp}"]

[drain]
grace = "10m"
announce = "0s"
spread = "50ms"
handshake = "1s"
last_request = "1s"
farewell = "60s"
finish = {{ http = "60s", grpc = "60s", websocket = "60s", tcp = "60s" }}
"#
    )
}

/// A proxy with servers behind it.
struct House {
    proxy: Proxy,
    http: Server,
    _tcp: Server,
    config: String,
}

async fn house() -> House {
    house_with("").await
}

/// With these tables more.
async fn house_with(more: &str) -> House {
    let (http, tcp) = (Server::http1().await, Server::tcp().await);
    let config = format!("{}\n{more}", config(http.address, tcp.address));
    let proxy = Proxy::start(&config).await;
    House {
        proxy,
        http,
        _tcp: tcp,
        config,
    }
}

impl House {
    /// The next process, which serves; the one before drains.
    async fn next(&mut self, round: usize) -> Proxy {
        let name = format!("ebbtide-{round}.toml");
        let mut next = self.proxy.successor(&self.config, &name, &[]);
        next.took_over(&self.config).await;
        for listener in ["web", "secure", "tcp"] {
            let address = next.address(listener);
            assert_eq!(address, self.proxy.address(listener), "the same socket");
        }
        std::mem::replace(&mut self.proxy, next)
    }
}

/// SIGTERM; the exit is good and the books balance.
async fn ends(mut proxy: Proxy) {
    proxy.signal(Signal::TERM);
    crate::drain::scene::ended(&mut proxy).await;
}
