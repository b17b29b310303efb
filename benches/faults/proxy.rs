//! The binary between the clients and the servers that fail, and what it counted.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::env;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_ebbtide");
const LIMIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

/// A running proxy; one that is dropped is cut.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) web: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
    _folder: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The servers of an upstream as they are written.
pub(crate) fn servers(addresses: &[SocketAddr]) -> String {
    let quoted: Vec<_> = addresses.iter().map(|one| format!("\"{one}\"")).collect();
    format!("servers = [{}]", quoted.join(", "))
}

fn event(log: &Path, wanted: &dyn Fn(&Value) -> bool) -> Option<SocketAddr> {
    let text = fs::read_to_string(log).ok()?;
    let mut lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| wanted(line))?;
    line["address"].as_str()?.parse().ok()
}

impl Proxy {
    /// Run it with this config, whose one listener is `web`, until it listens.
    pub(crate) fn start(config: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("ebbtide.toml");
        fs::write(
            &file,
            format!("[admin]\nlisten = \"127.0.0.1:0\"\n\n{config}"),
        )?;
        let log = folder.path().join("proxy.log");
        let binary = env::var_os("FAULTS_BINARY").unwrap_or_else(|| BINARY.into());
        let child = Command::new(binary)
            .arg("run")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        let nowhere = ([0, 0, 0, 0], 0).into();
        let mut proxy = Self {
            child,
            web: nowhere,
            admin: nowhere,
            log,
            _folder: folder,
        };
        let began = Instant::now();
        while proxy.learn().is_none() {
            if began.elapsed() > LIMIT || proxy.child.try_wait()?.is_some() {
                bail!("it does not listen: {}", proxy.log());
            }
            sleep(LOOK);
        }
        Ok(proxy)
    }

    fn learn(&mut self) -> Option<()> {
        self.admin = event(&self.log, &|line| line["event"] == "admin")?;
        self.web = event(&self.log, &|line| {
            line["event"] == "listening" && line["listener"] == "web"
        })?;
        Some(())
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn ask(&self, path: &str) -> Result<String> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let asked = async {
            let mut socket = tokio::net::TcpStream::connect(self.admin).await?;
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            socket.write_all(request.as_bytes()).await?;
            let mut text = String::new();
            socket.read_to_string(&mut text).await?;
            anyhow::Ok(text)
        };
        tokio::time::timeout(LIMIT, asked).await?
    }

    /// The sum of a metric, over the lines that have all of these labels.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> Result<u64> {
        let text = self.ask("/metrics").await?;
        let of = |line: &str| -> Option<u64> {
            let rest = line.strip_prefix(name)?;
            let (found, value) = rest.strip_prefix('{')?.split_once("} ")?;
            let all = labels.iter().all(|label| found.contains(label));
            all.then(|| value.parse().ok())?
        };
        Ok(text.lines().filter_map(of).sum())
    }

    /// How often requests were sent again, for whatever reason.
    pub(crate) async fn retried(&self) -> Result<u64> {
        self.metric("ebbtide_upstream_retries_total", &[]).await
    }

    /// What is in flight on a server.
    pub(crate) async fn in_flight(&self, server: SocketAddr) -> Result<u64> {
        let text = self.ask("/v1/status").await?;
        let (_, body) = text.split_once("\r\n\r\n").context("no body")?;
        let status: Value = serde_json::from_str(body)?;
        let upstreams = status["upstreams"].as_array().context("no upstreams")?;
        let name = server.to_string();
        let mut servers = upstreams
            .iter()
            .filter_map(|upstream| upstream["servers"].as_array())
            .flatten();
        let found = servers.find(|one| one["name"] == *name);
        found
            .and_then(|one| one["in_flight"].as_u64())
            .context("no such server")
    }
}
