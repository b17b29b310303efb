//! Short handshakes: with tickets a client that comes again needs no full one,
//! whichever worker it meets.

use crate::drain::scene::{Plan, ended};
use crate::support::authority::{Authority, boxed, resumed, shake};
use crate::support::clients::Http1;
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use std::net::SocketAddr;
use std::sync::Arc;

/// More than enough for both workers to be met: the chance that one is not is
/// that of as many equal tosses of a coin.
const MANY: usize = 30;

fn config(server: SocketAddr, tls: &str, route: &str) -> String {
    let plan = Plan::CALM;
    format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\"{route} }}]\n\
         tls = {{ cert = \"edge.pem\", key = \"edge.key\"{tls} }}\n\
         [upstream.site]\nservers = [\"{server}\"]\n{plan}"
    )
}

struct Scene {
    proxy: Proxy,
    server: Server,
    authority: Authority,
}

impl Scene {
    async fn start(tls: &str) -> Self {
        let authority = Authority::new("edge");
        let server = Server::http1().await;
        let proxy = Proxy::start_in(&config(server.address, tls, ""), |directory| {
            authority.vouch(&["localhost"]).write(directory, "edge");
        })
        .await;
        Self {
            proxy,
            server,
            authority,
        }
    }

    fn clients(&self) -> [Arc<ClientConfig>; 2] {
        [&TLS12, &TLS13].map(|version| {
            let client = self.authority.client_of(&[version], None, &["http/1.1"]);
            Arc::new(client)
        })
    }

    /// Connect, ask, leave; whether the handshake was a short one.
    async fn come(&self, client: &Arc<ClientConfig>) -> bool {
        let address = self.proxy.address("web");
        let stream = shake(address, client, "localhost").await.expect("shaken");
        let short = resumed(&stream);
        // Tickets of TLS 1.3 come after the handshake.
        let mut client = Http1::over(boxed(stream)).await;
        assert_eq!(client.get("/").await.expect("a reply").text(), "ok");
        short
    }

    async fn reload(&self, tls: &str, route: &str, changes: &str) {
        self.proxy
            .write_config(&config(self.server.address, tls, route));
        let reply = self.proxy.ask(http::Method::POST, "/v1/reload", "").await;
        assert!(reply.text().contains(changes), "{}", reply.text());
    }

    async fn over(mut self) {
        self.proxy.signal(Signal::TERM);
        assert_eq!(ended(&mut self.proxy).await.cut, 0);
    }
}

#[tokio::test]
async fn a_ticket_is_good_at_every_worker() {
    let scene = Scene::start("").await;
    for client in scene.clients() {
        assert!(!scene.come(&client).await, "the first is a full one");
        for time in 0..MANY {
            assert!(scene.come(&client).await, "time {time}");
        }
    }
    scene.over().await;
}

#[tokio::test]
async fn a_reload_that_keeps_the_certificate_keeps_the_tickets() {
    let scene = Scene::start("").await;
    let clients = scene.clients();
    for client in &clients {
        assert!(!scene.come(client).await);
    }
    let header = ", set_response_headers = { x-gen = \"2\" }";
    scene
        .reload("", header, "changes listener web: routes")
        .await;
    for client in &clients {
        assert!(scene.come(client).await, "after a change of routes");
    }
    // Whatever its sessions were worth, another certificate begins anew.
    let identity = scene.authority.vouch(&["localhost"]);
    identity.write(scene.proxy.directory(), "edge");
    scene.reload("", header, "changes listener web: tls").await;
    for client in &clients {
        assert!(!scene.come(client).await, "after a change of TLS");
        assert!(scene.come(client).await, "and then again");
    }
    scene.over().await;
}

#[tokio::test]
async fn without_tickets_each_handshake_is_a_full_one() {
    let scene = Scene::start(", tickets = false").await;
    for client in scene.clients() {
        for _ in 0..4 {
            assert!(!scene.come(&client).await);
        }
    }
    scene.over().await;
}
