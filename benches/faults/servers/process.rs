//! A server that is a process of its own: this program once more. It can be
//! stopped, cut and started anew, also in another network namespace.

use super::{app, grpc, listen};
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::env;
use std::future::pending;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::runtime::Builder;
use tokio::time::timeout;

/// Says to the program that it is to be a server, and where.
const ROLE: &str = "FAULTS_SERVER";

const LIMIT: Duration = Duration::from_secs(30);

/// How long an answer takes at most: so that something is in flight.
const THOUGHT: Duration = Duration::from_millis(10);

/// Be a server, if that is what was asked for.
pub(crate) fn role() -> Option<Result<()>> {
    let addresses = env::var(ROLE).ok()?;
    Some(be(&addresses))
}

fn be(addresses: &str) -> Result<()> {
    let (http, calls) = addresses.split_once(' ').context("two addresses")?;
    let (http, calls) = (http.parse()?, calls.parse()?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (http, calls) = (listen(http)?, listen(calls)?);
        std::io::Write::write_all(&mut std::io::stdout(), b"listening\n")?;
        let serving = grpc::serve(calls, THOUGHT, pending());
        let ((), served) = tokio::join!(app::serve(http, THOUGHT), serving);
        Ok(served?)
    })
}

/// Such a process.
pub(crate) struct Process {
    pub(crate) http: SocketAddr,
    pub(crate) calls: SocketAddr,
    namespace: Option<String>,
    child: Child,
}

impl Process {
    /// Start one there; in this network namespace, if there is one.
    pub(crate) async fn start(
        http: SocketAddr,
        calls: SocketAddr,
        namespace: Option<&str>,
    ) -> Result<Self> {
        Ok(Self {
            http,
            calls,
            namespace: namespace.map(str::to_owned),
            child: run(http, calls, namespace).await?,
        })
    }

    /// It does nothing from now on.
    pub(crate) fn stop(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// It goes on.
    pub(crate) fn go_on(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// `kill -9`.
    pub(crate) async fn cut(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Start a new one in its place.
    pub(crate) async fn replace(&mut self) -> Result<()> {
        self.child = run(self.http, self.calls, self.namespace.as_deref()).await?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.child.id().context("it has ended")?;
        let id = Pid::from_raw(id.try_into()?).context("no process id")?;
        Ok(kill_process(id, signal)?)
    }
}

async fn run(http: SocketAddr, calls: SocketAddr, namespace: Option<&str>) -> Result<Child> {
    let program = env::current_exe()?;
    let mut command = match namespace {
        None => Command::new(program),
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace]).arg(program);
            command
        }
    };
    let mut child = command
        .env(ROLE, format!("{http} {calls}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let out = child.stdout.take().context("no output")?;
    let line = timeout(LIMIT, BufReader::new(out).lines().next_line()).await;
    if line.context("it does not listen")??.is_none() {
        bail!("a server ended before it listened");
    }
    Ok(child)
}
