//! The binary under the storm: a process, its log in a file, its end.
//!
//! The log is a file and not a pipe, so that it is there for whoever asks why,
//! whatever became of the storm itself.
//!
//! Invariant: a proxy that is dropped is cut. Deliberately absent: judging
//! what it says.

use super::script::{Config, Script, Servers};
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

const BINARY: &str = env!("CARGO_BIN_EXE_ebbtide");
/// How long anything but the drain itself may take; far more than it needs.
const LIMIT: Duration = Duration::from_secs(30);
/// How long to wait between two looks at the log.
const LOOK: Duration = Duration::from_millis(2);

/// Where its listeners are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) web: SocketAddr,
    pub(crate) secure: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) secure_tcp: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// A running proxy.
pub(crate) struct Proxy {
    child: Child,
    log: PathBuf,
    pub(crate) addresses: Addresses,
}

impl Proxy {
    /// Run it in `folder`, where `site.pem` and `site.key` are, until it is
    /// ready.
    pub(crate) async fn start(script: &Script, servers: Servers, folder: &Path) -> Result<Self> {
        let config = folder.join("ebbtide.toml");
        fs::write(&config, Config(script, servers).to_string())?;
        let log = folder.join("proxy.log");
        let child = Command::new(BINARY)
            .arg("run")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .kill_on_drop(true)
            .spawn()?;
        let nowhere = ([0, 0, 0, 0], 0).into();
        let addresses = Addresses {
            web: nowhere,
            secure: nowhere,
            tcp: nowhere,
            secure_tcp: nowhere,
            admin: nowhere,
        };
        let mut proxy = Self {
            child,
            log,
            addresses,
        };
        proxy.learn().await?;
        while proxy.ask(Method::GET, "/readyz").await?.0 != StatusCode::OK {
            sleep(LOOK).await;
        }
        Ok(proxy)
    }

    async fn learn(&mut self) -> Result<()> {
        let admin = self.until("admin").await?;
        let lines = self.lines();
        let address = |line: &Value| line["address"].as_str().and_then(|text| text.parse().ok());
        let of = |name: &str| {
            let mut lines = lines.iter();
            let line = lines.find(|line| line["event"] == "listening" && line["listener"] == name);
            line.and_then(address).context("it does not listen")
        };
        self.addresses = Addresses {
            web: of("web")?,
            secure: of("secure")?,
            tcp: of("tcp")?,
            secure_tcp: of("secure_tcp")?,
            admin: address(&admin).context("no admin interface")?,
        };
        Ok(())
    }

    /// Its log so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.into())))
            .collect()
    }

    /// Wait for the log line of an event.
    pub(crate) async fn until(&mut self, event: &str) -> Result<Value> {
        let started = Instant::now();
        let mark = format!("\"event\":\"{event}\"");
        loop {
            let exited = self.child.try_wait()?;
            let text = fs::read_to_string(&self.log).unwrap_or_default();
            // Found as text first: reading all of it as JSON takes its time.
            let mut lines = text.lines().filter(|line| line.contains(&mark));
            if let Some(line) = lines.find_map(|line| serde_json::from_str(line).ok()) {
                return Ok(line);
            }
            if let Some(status) = exited {
                bail!("it exited with {status} before {event}");
            }
            if started.elapsed() > LIMIT {
                bail!("no {event} in its log for {LIMIT:?}");
            }
            sleep(LOOK).await;
        }
    }

    /// SIGTERM.
    pub(crate) fn signal(&self) -> Result<()> {
        let id = self.child.id().context("it has exited")?;
        let id = Pid::from_raw(id.try_into()?).context("no process id")?;
        Ok(kill_process(id, Signal::TERM)?)
    }

    /// Ask the admin interface.
    pub(crate) async fn ask(&self, method: Method, path: &str) -> Result<(StatusCode, Bytes)> {
        let admin = self.addresses.admin;
        let asked = async {
            let stream = TcpStream::connect(admin).await?;
            let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("host", admin.to_string())
                .header("connection", "close")
                .body(Empty::<Bytes>::new())?;
            let exchange = async {
                let response = sender.send_request(request).await?;
                let status = response.status();
                anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
            };
            // The connection ends with the exchange; only its answer counts.
            let (answer, _) = tokio::join!(exchange, connection);
            answer
        };
        timeout(LIMIT, asked).await?
    }

    /// `ebbtide drain --wait --json`, begun: what it prints is a receipt.
    pub(crate) fn drain_command(&self) -> Result<Child> {
        let command = Command::new(BINARY)
            .args(["drain", "--wait", "--json", "--admin"])
            .arg(self.addresses.admin.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        Ok(command)
    }

    /// Wait for its exit.
    pub(crate) async fn exit(&mut self) -> Result<ExitStatus> {
        let exited = timeout(LIMIT, self.child.wait()).await;
        Ok(exited.context("it did not exit")??)
    }
}
