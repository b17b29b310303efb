//! Refuse: who completed a TCP handshake is served, whatever the queue holds.

use super::scene::{Plan, ended};
use crate::support::clients::{Http1, Raw};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::{BoxWire, within};
use rustls_pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// Drains, for each number of workers.
const DRAINS: usize = 10;
/// Processes drained at once.
const AT_ONCE: usize = 5;
/// Clients of each kind.
const CLIENTS: usize = 6;
/// Answers before the drain begins.
const WARM: usize = 150;

/// Time enough for a loaded machine: nobody here is to be late.
const PLAN: Plan = Plan {
    handshake: "60s",
    ..Plan::CALM
};

fn config(workers: usize, limits: &str, plan: &Plan, site: &Server, echo: &Server) -> String {
    let (site, echo) = (site.address, echo.address);
    format!(
        r#"
[process]
workers = {workers}
logs = {{ format = "json", level = "info" }}

[listener.web]
listen = "127.0.0.1:0"
{limits}
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
servers = ["{site}"]

[upstream.echo]
servers = ["{echo}"]

{plan}"#
    )
}

/// What a client of the storm speaks.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Clear,
    Tls,
    Tunnel,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Clear, Self::Tls, Self::Tunnel];

    const fn listener(self) -> &'static str {
        match self {
            Self::Clear => "web",
            Self::Tls => "secure",
            Self::Tunnel => "tcp",
        }
    }

    /// One request and its whole answer, on a connection that is there.
    async fn exchange(self, stream: TcpStream, trusted: &TlsConnector) -> io::Result<()> {
        let (sent, expected) = match self {
            Self::Clear | Self::Tls => ("GET / HTTP/1.0\r\nhost: localhost\r\n\r\n", "\r\n\r\nok"),
            Self::Tunnel => ("all of it", "all of it"),
        };
        let mut wire: BoxWire = match self {
            Self::Tls => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                Box::new(trusted.connect(name, stream).await?)
            }
            Self::Clear | Self::Tunnel => Box::new(stream),
        };
        wire.write_all(sent.as_bytes()).await?;
        if matches!(self, Self::Tunnel) {
            wire.shutdown().await?;
        }
        let mut answer = Vec::new();
        wire.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        if answer.ends_with(expected) {
            return Ok(());
        }
        Err(io::Error::other(format!("the answer is {answer:?}")))
    }
}

/// A storm's clients, and what they have to say.
struct Storm {
    clients: JoinSet<Result<usize, String>>,
    answers: Arc<watch::Sender<usize>>,
    gone: watch::Sender<bool>,
}

impl Storm {
    fn on(proxy: &Proxy) -> Self {
        let mut storm = Self {
            clients: JoinSet::new(),
            answers: Arc::default(),
            gone: watch::Sender::new(false),
        };
        let trusted = TlsConnector::from(proxy.certificate().client(&["http/1.1"]));
        for kind in Kind::ALL {
            let address = proxy.address(kind.listener());
            for _ in 0..CLIENTS {
                let client = client(
                    kind,
                    address,
                    trusted.clone(),
                    Arc::clone(&storm.answers),
                    storm.gone.subscribe(),
                );
                storm.clients.spawn(client);
            }
        }
        storm
    }

    async fn answers(&self, enough: usize) {
        let mut answers = self.answers.subscribe();
        let enough = answers.wait_for(|answers| *answers >= enough);
        within("answers", enough).await.expect("clients");
    }

    /// The process has gone: answers had, over all clients.
    async fn over(mut self) -> usize {
        self.gone.send_replace(true);
        let mut answers = 0;
        let ended = async {
            while let Some(client) = self.clients.join_next().await {
                answers += client.expect("no panic").expect("nobody is lost");
            }
        };
        within("the clients", ended).await;
        answers
    }
}

/// Connect and ask, again and again, until nobody listens.
async fn client(
    kind: Kind,
    address: SocketAddr,
    trusted: TlsConnector,
    answers: Arc<watch::Sender<usize>>,
    mut gone: watch::Receiver<bool>,
) -> Result<usize, String> {
    let mut had = 0;
    loop {
        let connected = tokio::select! {
            biased;
            connected = TcpStream::connect(address) => connected,
            // Its SYN was dropped; it would learn in a second that nobody listens.
            _ = gone.wait_for(|gone| *gone) => return Ok(had),
        };
        let stream = match connected {
            Ok(stream) => stream,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(had),
            Err(error) => return Err(format!("{kind:?}: connect: {error}")),
        };
        let answered = kind.exchange(stream, &trusted).await;
        answered.map_err(|error| format!("{kind:?} after {had} answers: {error}"))?;
        had += 1;
        answers.send_modify(|answers| *answers += 1);
    }
}

/// Drain one process under a storm.
async fn weathered(workers: usize) {
    let (site, echo) = (Server::http1().await, Server::tcp().await);
    let mut proxy = Proxy::start(&config(workers, "", &PLAN, &site, &echo)).await;
    let storm = Storm::on(&proxy);
    storm.answers(WARM).await;
    proxy.signal(Signal::TERM);
    let sums = ended(&mut proxy).await;
    let answers = storm.over().await;
    assert!(answers >= WARM);
    assert_eq!((sums.farewelled, sums.cut), (0, 0));
    let unfiltered = |line: &serde_json::Value| line["event"] == "accept_filter";
    assert!(!proxy.log().iter().any(unfiltered), "the filter was taken");
}

async fn weather(workers: usize) {
    let mut drains = JoinSet::new();
    for _ in 0..DRAINS {
        if drains.len() == AT_ONCE {
            drains.join_next().await.expect("some").expect("no panic");
        }
        drains.spawn(weathered(workers));
    }
    while let Some(drain) = drains.join_next().await {
        drain.expect("no panic");
    }
}

#[tokio::test]
async fn one_worker_loses_nobody_in_a_storm() {
    weather(1).await;
}

#[tokio::test]
async fn two_workers_lose_nobody_in_a_storm() {
    weather(2).await;
}

/// A client whose request waits with it in the accept queue.
async fn queued(proxy: &Proxy) -> Raw {
    let mut client = Raw::connect(proxy.address("web")).await;
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    client.send(request).await.expect("sent");
    client
}

async fn is_served(client: Raw) {
    let (answer, _) = client.rest().await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.ends_with("ok"), "{answer:?}");
}

#[tokio::test]
async fn who_waits_for_room_is_served_when_the_listener_closes() {
    let (site, echo) = (Server::http1().await, Server::tcp().await);
    let limits = "limits = { connections = 1 }";
    let mut proxy = Proxy::start(&config(2, limits, &PLAN, &site, &echo)).await;
    let mut first = Raw::connect(proxy.address("web")).await;
    let request = "GET /hold HTTP/1.1\r\nhost: localhost\r\n\r\n";
    first.send(request).await.expect("sent");
    site.desk
        .until("a request", |seen| seen.requests == 1)
        .await;
    let mut waiting = Vec::new();
    for _ in 0..10 {
        waiting.push(queued(&proxy).await);
    }
    let view = proxy.json("/v1/connections").await;
    let inside = view["connections"].as_array().expect("a list").len();
    assert_eq!(inside, 1, "the others are in the queue: {view}");
    proxy.signal(Signal::TERM);
    for client in waiting {
        is_served(client).await;
    }
    site.desk.release();
    first.read_until("held").await.expect("the first one too");
    let sums = ended(&mut proxy).await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (11, 0, 0));
}

#[tokio::test]
async fn a_process_out_of_descriptors_loses_nobody() {
    let (site, echo) = (Server::http1().await, Server::tcp().await);
    let mut proxy = Proxy::start(&config(2, "", &PLAN, &site, &echo)).await;
    let limit = proxy.limit_descriptors(3);
    let waiting = [queued(&proxy).await, queued(&proxy).await];
    let backs_off = |line: &serde_json::Value| line["message"] == "cannot accept; backing off";
    proxy.until_log("the want of descriptors", backs_off).await;
    proxy.signal(Signal::TERM);
    let still = |line: &serde_json::Value| {
        line["message"] == "cannot accept who waits; backing off"
            && line["waiting"].as_u64() > Some(0)
    };
    proxy.until_log("the same while closing", still).await;
    proxy.limit_descriptors(limit);
    for client in waiting {
        is_served(client).await;
    }
    let sums = ended(&mut proxy).await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (2, 0, 0));
}

#[tokio::test]
async fn who_cannot_be_accepted_until_the_deadline_is_said_to_be_lost() {
    let (site, echo) = (Server::http1().await, Server::tcp().await);
    let plan = Plan {
        http: "300ms",
        ..PLAN
    };
    let mut proxy = Proxy::start(&config(1, "", &plan, &site, &echo)).await;
    let mut kept = Http1::connect(proxy.address("web")).await;
    kept.get("/").await.expect("a reply");
    proxy.limit_descriptors(3);
    let client = queued(&proxy).await;
    proxy.signal(Signal::TERM);
    let lost = |line: &serde_json::Value| {
        line["message"] == "connections in the accept queue are lost" && line["waiting"] == 1
    };
    let line = proxy.until_log("the loss", lost).await;
    assert_eq!(
        (&line["level"], &line["listener"]),
        (&"ERROR".into(), &"web".into())
    );
    let (answer, _) = client.rest().await;
    assert_eq!(answer, b"");
    drop(kept);
    let sums = ended(&mut proxy).await;
    assert_eq!((sums.farewelled, sums.cut), (0, 0));
}
