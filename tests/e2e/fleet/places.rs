//! A fleet as a supervisor keeps it: at each place a process of the built
//! binary, and another one when it has exited.
//!
//! The admin interface of a place is a Unix socket, so that its address stays;
//! its listeners take free ports. What happened is read off the logs, each
//! line with the time that its process gave it.

use crate::support::clients::{Http1, Raw};
use crate::support::servers::Server;
use crate::support::within;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long to wait between two looks at something that publishes nothing.
const LOOK: Duration = Duration::from_millis(5);

/// What is known of a place.
#[derive(Clone, Default)]
pub(super) struct Now {
    /// Every log line of every process that was there.
    pub(super) log: Vec<Value>,
    /// How many have exited.
    pub(super) exits: usize,
}

impl Now {
    pub(super) fn times(&self, event: &str) -> usize {
        let lines = self.log.iter();
        lines.filter(|line| line["event"] == event).count()
    }

    /// When this event was for the `nth` time.
    pub(super) fn when(&self, event: &str, nth: usize) -> String {
        let mut lines = self.log.iter().filter(|line| line["event"] == event);
        let line = lines.nth(nth).unwrap_or_else(|| panic!("no {event} {nth}"));
        line["timestamp"].as_str().expect("a time").to_owned()
    }

    /// Where a listener of the last process is.
    fn address(&self, listener: &str) -> Option<SocketAddr> {
        let mut lines = self.log.iter().rev();
        let line =
            lines.find(|line| line["event"] == "listening" && line["listener"] == listener)?;
        line["address"].as_str()?.parse().ok()
    }
}

pub(super) struct Place {
    /// As `--admin` has it.
    pub(super) admin: String,
    socket: PathBuf,
    now: watch::Receiver<Now>,
    keeper: JoinHandle<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Place {
    pub(super) fn now(&self) -> Now {
        self.now.borrow().clone()
    }

    pub(super) async fn until(&self, what: &str, such: impl Fn(&Now) -> bool) -> Now {
        let mut now = self.now.clone();
        let found = within(what, now.wait_for(such)).await;
        found.expect("it is kept").clone()
    }

    pub(super) async fn begun(&self, times: usize) {
        let begun = |now: &Now| now.times("shutdown_start") == times;
        self.until("a drain", begun).await;
    }

    pub(super) async fn connect(&self, listener: &str) -> Raw {
        // It may be ready before its log has been read so far.
        let known = |now: &Now| now.address(listener).is_some();
        let now = self.until("its address", known).await;
        Raw::connect(now.address(listener).expect("known")).await
    }

    /// As a load balancer asks.
    pub(super) async fn is_ready(&self) -> bool {
        let answered = async {
            let mut stream = UnixStream::connect(&self.socket).await.ok()?;
            let ask = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            stream.write_all(ask.as_bytes()).await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            Some(answer.starts_with("HTTP/1.1 200 "))
        };
        answered.await == Some(true)
    }

    async fn until_ready(&self) {
        let ready = async {
            while !self.is_ready().await {
                tokio::time::sleep(LOOK).await;
            }
        };
        within("readiness", ready).await;
    }
}

/// Places, and a server that all of them stand before.
pub(super) struct Fleet {
    pub(super) places: Vec<Place>,
    pub(super) server: Server,
    _echo: Server,
    _directory: TempDir,
}

/// What a place has of its own.
#[derive(Copy, Clone, Default)]
pub(super) struct Kind {
    /// Nobody comes in the place of the first.
    pub(super) leaves: bool,
    /// Its tunnels are not given the time that they need.
    pub(super) hasty: bool,
}

impl Fleet {
    pub(super) async fn start(kinds: &[Kind]) -> Self {
        Self::start_with("", kinds).await
    }

    /// `admin` is what that table has besides.
    pub(super) async fn start_with(admin: &str, kinds: &[Kind]) -> Self {
        let (server, echo) = (Server::http1().await, Server::tcp().await);
        let directory = tempfile::tempdir().expect("a directory");
        let mut places = Vec::new();
        for (number, kind) in kinds.iter().enumerate() {
            let socket = directory.path().join(format!("{number}.sock"));
            let config = directory.path().join(format!("{number}.toml"));
            let text = config_of(&socket, admin, *kind, &server, &echo);
            std::fs::write(&config, text).expect("write the config");
            let (note, now) = watch::channel(Now::default());
            places.push(Place {
                admin: format!("unix:{}", socket.display()),
                socket,
                now,
                keeper: tokio::spawn(keep(config, *kind, note)),
            });
        }
        for place in &places {
            place.until_ready().await;
        }
        Self {
            places,
            server,
            _echo: echo,
            _directory: directory,
        }
    }

    /// As `--fleet` has it.
    pub(super) fn addresses(&self) -> String {
        let addresses = self.places.iter().map(|place| place.admin.as_str());
        addresses.collect::<Vec<_>>().join(",")
    }

    /// How many processes were ever asked to drain.
    pub(super) fn drains(&self) -> usize {
        let places = self.places.iter();
        places
            .map(|place| place.now().times("shutdown_start"))
            .sum()
    }

    /// A client whose request the server holds, at this place.
    pub(super) async fn held(&self, place: usize) -> Raw {
        let before = self.server.desk.seen().requests;
        let mut client = self.places[place].connect("web").await;
        let request = "GET /hold HTTP/1.1\r\nhost: localhost\r\n\r\n";
        client.send(request).await.expect("sent");
        let came = |seen: &crate::support::seen::Seen| seen.requests > before;
        self.server.desk.until("the request", came).await;
        client
    }
}

fn config_of(
    socket: &std::path::Path,
    admin: &str,
    kind: Kind,
    server: &Server,
    echo: &Server,
) -> String {
    let (tcp, farewell) = if kind.hasty {
        ("50ms", "50ms")
    } else {
        ("60s", "60s")
    };
    format!(
        r#"
[admin]
listen = "unix:{}"
{admin}

[process]
workers = 1
logs = {{ format = "json" }}

[listener.web]
listen = "127.0.0.1:0"
routes = [{{ upstream = "site" }}]

[listener.tcp]
listen = "127.0.0.1:0"
protocol = "tcp"
upstream = "echo"

[upstream.site]
servers = ["{}"]

[upstream.echo]
servers = ["{}"]

[drain]
grace = "10m"
announce = "100ms"
spread = "0s"
finish = {{ http = "60s", grpc = "60s", websocket = "60s", tcp = "{tcp}" }}
farewell = "{farewell}"
"#,
        socket.display(),
        server.address,
        echo.address
    )
}

/// Run one process after the other.
async fn keep(config: PathBuf, kind: Kind, note: watch::Sender<Now>) {
    loop {
        let mut child: Child = Command::new(env!("CARGO_BIN_EXE_ebbtide"))
            .arg("run")
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("run the binary");
        let stderr = child.stderr.take().expect("its standard error");
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
            note.send_modify(|now| now.log.push(line));
        }
        let status = child.wait().await.expect("wait");
        assert!(status.success(), "{status}");
        note.send_modify(|now| now.exits += 1);
        if kind.leaves {
            // What was seen stays to be read.
            note.closed().await;
            return;
        }
    }
}

/// Clients as a load balancer leads them: a new connection goes to a place
/// that is ready, and to another one if it is not accepted there. A request
/// that was sent must be answered.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<u64>>,
}

impl Load {
    pub(super) fn on(fleet: &Arc<Fleet>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..3).map(|first| {
            let (fleet, stop) = (Arc::clone(fleet), Arc::clone(&stop));
            tokio::spawn(async move { ask(&fleet, first, &stop).await })
        });
        let tasks = tasks.collect();
        Self { stop, tasks }
    }

    /// How many were answered: all.
    pub(super) async fn stop(self) -> u64 {
        self.stop.store(true, SeqCst);
        let mut answered = 0;
        for task in self.tasks {
            answered += within("a client's end", task)
                .await
                .expect("everyone was served");
        }
        answered
    }
}

async fn ask(fleet: &Fleet, first: usize, stop: &AtomicBool) -> u64 {
    let mut answered = 0;
    for turn in first.. {
        if stop.load(SeqCst) {
            break;
        }
        let place = &fleet.places[turn % fleet.places.len()];
        if !place.is_ready().await {
            continue;
        }
        let Some(address) = place.now().address("web") else {
            continue;
        };
        let Ok(stream) = tokio::net::TcpStream::connect(address).await else {
            continue;
        };
        let mut client = Http1::over(Box::new(stream)).await;
        while !stop.load(SeqCst) {
            let reply = client.get("/").await.expect("an answer");
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "ok"));
            answered += 1;
            if reply.header("connection") == Some("close") {
                break;
            }
        }
    }
    answered
}
