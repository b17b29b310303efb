//! The drain of one server of an upstream: what its clients see, what those of
//! the other server do not see, and what an operator can do about it.
//!
//! Every scene has two servers of a kind. What is in flight is first on one of
//! them, then on the other; the one that is drained is named by the test.

mod command;
mod dies;
mod farewell;
mod keep;
mod load;
mod reload;
mod returns;

use crate::drain::scene::{Sums, ended};
use crate::support::clients::{Raw, Reply};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use http::Method;
use serde_json::Value;
use std::time::Duration;
use tokio::time::sleep;

/// How long to wait between two looks at something that publishes nothing.
const LOOK: Duration = Duration::from_millis(5);

/// A plan in which nothing comes to its deadline, and a farewell of `farewell`.
fn plan(farewell: &str) -> String {
    format!(
        "[drain]\ngrace = \"10m\"\nannounce = \"0s\"\nspread = \"0s\"\nhandshake = \"100ms\"\n\
         last_request = \"100ms\"\nfarewell = \"{farewell}\"\nreceipt = \"receipt.json\"\n\
         finish = {{ http = \"60s\", grpc = \"60s\", websocket = \"60s\", tcp = \"60s\" }}\n"
    )
}

/// A config with a listener for HTTP and one for TCP before these servers;
/// `more` is of the upstream.
fn config(servers: &[&Server], more: &str, plan: &str) -> String {
    let addresses: Vec<_> = servers.iter().map(|one| one.address.to_string()).collect();
    format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\n\
         [listener.tcp]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nupstream = \"site\"\n\n\
         [upstream.site]\nservers = {addresses:?}\n{more}\n\n{plan}"
    )
}

/// Each worker gives its servers turns of its own.
const ONE_WORKER: &str =
    "[process]\nworkers = 1\nlogs = { format = \"json\", level = \"info,ebbtide=debug\" }\n\n";

/// A proxy before two servers.
struct Pair {
    proxy: Proxy,
    servers: [Server; 2],
}

/// The proxy's address of each kind of question about the drain of a server.
fn path_of(server: &Server) -> String {
    format!("/v1/upstreams/site/servers/{}/drain", server.address)
}

/// What was answered, as JSON.
#[track_caller]
fn json(reply: &Reply, status: u16) -> Value {
    assert_eq!(reply.status, status, "{}", reply.text());
    serde_json::from_slice(&reply.body).expect("JSON")
}

impl Pair {
    /// Nothing comes to a deadline that no test asked for.
    async fn start(servers: [Server; 2], more: &str) -> Self {
        Self::start_with(servers, more, "60s").await
    }

    /// The same with one worker, so that its turns are those of all connections:
    /// the third is on the first's server again.
    async fn in_turn(servers: [Server; 2], more: &str) -> Self {
        let [one, two] = &servers;
        let config = config(&[one, two], more, &plan("60s"));
        let proxy = Proxy::start(&format!("{ONE_WORKER}{config}")).await;
        Self { proxy, servers }
    }

    /// The same with another time for the farewell.
    async fn start_with(servers: [Server; 2], more: &str, farewell: &str) -> Self {
        let [one, two] = &servers;
        let proxy = Proxy::start(&config(&[one, two], more, &plan(farewell))).await;
        Self { proxy, servers }
    }

    async fn http1() -> Self {
        Self::start([Server::http1().await, Server::http1().await], "").await
    }

    /// The server that has so many requests, once one of them has.
    async fn with_requests(&self, count: usize) -> &Server {
        let [one, two] = &self.servers;
        let look = async {
            loop {
                if let Some(found) = [one, two]
                    .into_iter()
                    .find(|server| server.desk.seen().requests == count)
                {
                    return found;
                }
                sleep(LOOK).await;
            }
        };
        within("a request", look).await
    }

    fn other(&self, server: &Server) -> &Server {
        let mut servers = self.servers.iter();
        servers
            .find(|one| one.address != server.address)
            .expect("there are two")
    }

    /// Ask for the drain of a server.
    async fn drain(&self, server: &Server, body: &'static str) -> Value {
        let reply = self.proxy.ask(Method::POST, &path_of(server), body).await;
        json(&reply, 202)
    }

    /// Take it back.
    async fn take_back(&self, server: &Server) -> Reply {
        self.proxy.ask(Method::DELETE, &path_of(server), "").await
    }

    /// How far its drain is.
    async fn progress(&self, server: &Server) -> Value {
        self.proxy.json(&path_of(server)).await
    }

    /// Wait until it stands where it is `wanted`.
    async fn until(&self, server: &Server, wanted: &str) -> Value {
        let look = async {
            loop {
                let progress = self.progress(server).await;
                if progress["state"] == wanted {
                    return progress;
                }
                sleep(LOOK).await;
            }
        };
        within(wanted, look).await
    }

    /// The receipt of its drain, once that is over.
    async fn receipt(&self, server: &Server) -> Value {
        let path = format!("{}?wait=true", path_of(server));
        json(&self.proxy.get(&path).await, 200)
    }

    /// SIGTERM; the exit is good and the books balance.
    async fn over(mut self) -> Sums {
        self.proxy.signal(Signal::TERM);
        ended(&mut self.proxy).await
    }
}

/// A client of HTTP/1.1 that has asked for `path`.
async fn asks(proxy: &Proxy, path: &str) -> Raw {
    let mut client = Raw::connect(proxy.address("web")).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.send(request).await.expect("sent");
    client
}

/// Whom the receipt names: protocol, outcome, what, why.
fn told(receipt: &Value) -> Vec<String> {
    let told = receipt["told"].as_array().expect("a list").iter();
    told.map(|one| {
        let text = |field: &str| one[field].as_str().expect("text").to_owned();
        ["protocol", "outcome", "what", "why"].map(text).join(" ")
    })
    .collect()
}
