//! The binary under attack: its limits, its memory, and what it counted.
//!
//! The limits are the usual ones, but for times: they are a second each, so
//! that an attack of a few seconds meets them. Clients on this machine have no
//! share of their own, so one listener believes PROXY headers.

use anyhow::{Context as _, Result, bail};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::env;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_ebbtide");
const LIMIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

const LIMITS: &str = "head_time = \"1s\", body_idle = \"1s\", send_idle = \"1s\", \
                      tunnel_idle = \"1s\"";

/// Where its listeners are.
#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) web: SocketAddr,
    pub(crate) secure: SocketAddr,
    /// Believes PROXY headers, and takes 100 connections of each client.
    pub(crate) named: SocketAddr,
    admin: SocketAddr,
}

/// A running proxy; one that is dropped is cut.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) addresses: Addresses,
    /// What clients trust, for HTTP/1.1 and for HTTP/2.
    pub(crate) tls: (Arc<ClientConfig>, Arc<ClientConfig>),
    _folder: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(server: SocketAddr) -> String {
    let listener = |name: &str, more: &str, limits: &str| {
        format!(
            "[listener.{name}]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
             limits = {{ {LIMITS}{limits} }}\n{more}\n\n"
        )
    };
    let tls = "tls = { cert = \"site.pem\", key = \"site.key\" }";
    [
        "[admin]\nlisten = \"127.0.0.1:0\"\n\n".to_owned(),
        listener("web", "", ", tunnels = 50"),
        listener("secure", tls, ", handshake_rate = 200"),
        listener("named", "proxy_protocol = true", ", per_client = 100"),
        format!("[upstream.site]\nservers = [\"{server}\"]\n"),
    ]
    .concat()
}

fn trusting(roots: &Arc<RootCertStore>, protocol: &[u8]) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

fn lines(log: &PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

impl Proxy {
    /// Run it before this server, until it listens.
    pub(crate) fn start(server: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let roots = Arc::new(roots);
        fs::write(folder.path().join("site.pem"), made.cert.pem())?;
        fs::write(
            folder.path().join("site.key"),
            made.signing_key.serialize_pem(),
        )?;
        let file = folder.path().join("ebbtide.toml");
        fs::write(&file, config(server))?;
        let log = folder.path().join("proxy.log");
        let binary = env::var_os("ABUSE_BINARY").unwrap_or_else(|| BINARY.into());
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
            addresses: Addresses {
                web: nowhere,
                secure: nowhere,
                named: nowhere,
                admin: nowhere,
            },
            tls: (trusting(&roots, b"http/1.1")?, trusting(&roots, b"h2")?),
            _folder: folder,
        };
        let began = Instant::now();
        while proxy.learn(&log).is_none() {
            if began.elapsed() > LIMIT || proxy.child.try_wait()?.is_some() {
                bail!("it does not listen: {}", fs::read_to_string(&log)?);
            }
            sleep(LOOK);
        }
        Ok(proxy)
    }

    fn learn(&mut self, log: &PathBuf) -> Option<()> {
        let lines = lines(log);
        let of = |wanted: &dyn Fn(&Value) -> bool| -> Option<SocketAddr> {
            let line = lines.iter().find(|line| wanted(line))?;
            line["address"].as_str()?.parse().ok()
        };
        let listener =
            |name: &str| of(&|line| line["event"] == "listening" && line["listener"] == name);
        self.addresses = Addresses {
            web: listener("web")?,
            secure: listener("secure")?,
            named: listener("named")?,
            admin: of(&|line| line["event"] == "admin")?,
        };
        Some(())
    }

    /// How often a limit was reached, on any listener.
    pub(crate) fn limited(&self, reason: &str) -> Result<u64> {
        let mut socket = TcpStream::connect(self.addresses.admin)?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        socket.read_to_string(&mut text)?;
        let reason = format!(",reason=\"{reason}\"}} ");
        let counts = text
            .lines()
            .filter(|line| line.starts_with("ebbtide_limited_total{"));
        let counts = counts.filter_map(|line| line.split_once(&reason));
        Ok(counts
            .filter_map(|(_, count)| count.parse::<u64>().ok())
            .sum())
    }

    /// Bytes that it has in memory.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmRSS:"));
        let size = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let size: u64 = size.context("no size in its status")?.parse()?;
        Ok(size * 1024)
    }

    /// The most of it that is seen in this time.
    pub(crate) fn most_memory(&self, time: Duration) -> Result<u64> {
        let began = Instant::now();
        let mut most = 0;
        while began.elapsed() < time {
            most = most.max(self.memory()?);
            sleep(LOOK);
        }
        Ok(most)
    }
}
