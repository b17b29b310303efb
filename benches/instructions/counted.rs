//! The binary under callgrind: where it listens, and what it needed.
//!
//! Invariant: one that is dropped is cut.

use super::server::Servers;
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, iter};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_ebbtide");
/// How long its start and its end may take; under valgrind each takes seconds.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// As in the arena: one worker, idle connections stay, no log of exchanges.
fn config(servers: Servers) -> String {
    format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n\
         [process]\nworkers = 1\nlogs = {{ format = \"json\" }}\n\
         [handover]\nsocket = \"off\"\n\
         [drain]\nannounce = \"0s\"\n\
         [listener.http1]\nlisten = \"127.0.0.1:0\"\nidle = \"10m\"\n\
         routes = [{{ upstream = \"http1\" }}]\n\
         [listener.grpc]\nlisten = \"127.0.0.1:0\"\nidle = \"10m\"\n\
         routes = [{{ upstream = \"grpc\" }}]\n\
         [upstream.http1]\nservers = [\"{}\"]\n\
         [upstream.grpc]\nservers = [\"{}\"]\nhttp = \"h2\"\n",
        servers.http1, servers.grpc
    )
}

/// A running proxy whose instructions are counted.
pub(super) struct Counted {
    child: Child,
    lines: Vec<Value>,
    folder: TempDir,
}

impl Drop for Counted {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Counted {
    /// Run it before these servers, until it is ready.
    pub(super) fn start(servers: Servers) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        fs::write(at("ebbtide.toml"), config(servers))?;
        let binary = env::var_os("INSTRUCTIONS_BINARY").unwrap_or_else(|| BINARY.into());
        let child = Command::new("valgrind")
            .arg("--tool=callgrind")
            .arg("--callgrind-out-file=/dev/null")
            .arg(format!("--log-file={}", at("valgrind.log").display()))
            .arg(binary)
            .arg("run")
            .arg(at("ebbtide.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(at("proxy.log"))?)
            .spawn()
            .context("valgrind; `make instructions` installs it")?;
        let mut counted = Self {
            child,
            lines: Vec::new(),
            folder,
        };
        counted.until_ready()?;
        Ok(counted)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn until_ready(&mut self) -> Result<()> {
        for () in moments() {
            let log = self.text("proxy.log");
            let lines = log
                .lines()
                .map_while(|line| serde_json::from_str(line).ok());
            self.lines = lines.collect();
            if self.lines.iter().any(|line| line["phase"] == "active") {
                return Ok(());
            }
            if self.child.try_wait()?.is_some() {
                break;
            }
        }
        bail!("it is not ready: {}", self.text("proxy.log"))
    }

    /// Where the listener of this name is.
    pub(super) fn listener(&self, name: &str) -> Result<SocketAddr> {
        let mut lines = self.lines.iter();
        let line = lines.find(|line| line["event"] == "listening" && line["listener"] == name);
        let address = line.and_then(|line| line["address"].as_str());
        Ok(address.context("no such listener")?.parse()?)
    }

    /// Drain it; the instructions that it needed in all.
    pub(super) fn end(mut self) -> Result<u64> {
        let id = Pid::from_raw(self.child.id().try_into()?).context("no process id")?;
        kill_process(id, Signal::TERM)?;
        for () in moments() {
            if self.child.try_wait()?.is_some() {
                let log = self.text("valgrind.log");
                let said = log.lines().find_map(|line| line.split_once("Collected :"));
                let (_, count) = said.with_context(|| format!("no count: {log}"))?;
                return Ok(count.trim().parse()?);
            }
        }
        bail!("it does not end: {}", self.text("proxy.log"))
    }
}

/// Pauses until the limit is over.
fn moments() -> impl Iterator<Item = ()> {
    let began = Instant::now();
    iter::from_fn(move || {
        sleep(LOOK);
        (began.elapsed() < LIMIT).then_some(())
    })
}
