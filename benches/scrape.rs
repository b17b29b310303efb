//! What does a scrape cost when ten thousand connections are open?
//!
//! The binary is started with a listener of every kind, [`CONNECTIONS`] are opened
//! over them: silent ones, idle ones after an answer (HTTP/1.1), half-read heads,
//! HTTP/2 after its preface, and tunnels. Then `/metrics` is read [`SCRAPES`] times
//! on one connection. What is measured is the time from the question to the last
//! byte, and the CPU time of the thread that answers, by the kernel's count
//! (`/proc/PID/task/PID/schedstat`): median, 95th percentile, maximum.
//!
//! A scrape is to cost less than [`LIMIT`] of CPU; the bench fails if the median
//! does not keep to that.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How many connections are open while it is scraped.
const CONNECTIONS: usize = 10_000;
const SCRAPES: usize = 300;
const LIMIT: Duration = Duration::from_millis(2);
/// How long the proxy may take to have accepted all of them.
const PATIENCE: Duration = Duration::from_secs(30);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// RFC 9113, section 3.4, and a SETTINGS frame without any.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What a client does after it has connected.
const KINDS: [(&str, &[u8]); 5] = [
    ("web", b""),
    ("web", b"GET / HTTP/1.1\r\nHost: local"),
    ("web", REQUEST),
    ("more", PREFACE),
    ("tcp", b"hello"),
];

fn main() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = maximum;
    setrlimit(Resource::Nofile, Rlimit { current, maximum })?;
    let proxy = Proxy::start(serve()?)?;
    let clients = proxy.filled()?;
    let mut scraper = TcpStream::connect(proxy.admin)?;
    // Allocations of the first ones are none of the others'.
    for _ in 0..10 {
        scrape(&mut scraper)?;
    }
    let (mut took, mut cpu, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..SCRAPES {
        let (began, before) = (Instant::now(), proxy.cpu()?);
        bytes = scrape(&mut scraper)?;
        took.push(began.elapsed());
        cpu.push(proxy.cpu()?.saturating_sub(before));
    }
    let mut out = io::stdout();
    writeln!(
        out,
        "{SCRAPES} scrapes of {bytes} bytes with {} connections open, milliseconds\n\n\
         {:<36}{:>8}{:>8}{:>8}",
        clients.len(),
        "",
        "median",
        "p95",
        "max"
    )?;
    for (name, times) in [
        ("CPU time", &mut cpu),
        ("from question to last byte", &mut took),
    ] {
        times.sort();
        let millis = |part: usize| times[(SCRAPES - 1) * part / 100].as_secs_f64() * 1e3;
        let (median, p95, max) = (millis(50), millis(95), millis(100));
        writeln!(out, "{name:<36}{median:>8.2}{p95:>8.2}{max:>8.2}")?;
    }
    let median = cpu[SCRAPES / 2];
    if median > LIMIT {
        return Err(format!("a scrape costs {median:?}, more than {LIMIT:?}").into());
    }
    Ok(())
}

/// Ask for the metrics, and read them whole; their length.
fn scrape(scraper: &mut TcpStream) -> Result<usize> {
    scraper.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut reader = BufReader::new(scraper);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err("no answer".into());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body.len())
}

/// A running binary and the addresses of its listeners.
struct Proxy {
    child: Child,
    listeners: Vec<(String, SocketAddr)>,
    admin: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Proxy {
    fn start(server: SocketAddr) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("ebbtide.toml");
        std::fs::write(&config, text(server))?;
        // Another build may be measured with the same harness.
        let ours = env!("CARGO_BIN_EXE_ebbtide").into();
        let binary = std::env::var_os("SCRAPE_BINARY").unwrap_or(ours);
        let mut child = Command::new(binary)
            .arg("run")
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().ok_or("no log")?).lines();
        let (mut listeners, mut admin) = (Vec::new(), None);
        for line in log.by_ref().map_while(io::Result::ok) {
            let line: serde_json::Value = serde_json::from_str(&line)?;
            let address = line["address"].as_str().and_then(|text| text.parse().ok());
            match (line["event"].as_str(), address) {
                (Some("listening"), Some(address)) => {
                    let name = line["listener"].as_str().unwrap_or_default();
                    listeners.push((name.to_owned(), address));
                }
                (Some("admin"), address) => admin = address,
                _ => {}
            }
            if line["phase"] == "active" {
                break;
            }
        }
        // Read on, or the process would wait for room in the pipe.
        thread::spawn(move || log.for_each(drop));
        Ok(Self {
            child,
            listeners,
            admin: admin.ok_or("no admin interface")?,
            _directory: directory,
        })
    }

    /// Open the connections, of all kinds by turns, and wait until all are there.
    fn filled(&self) -> Result<Vec<TcpStream>> {
        let mut clients = Vec::with_capacity(CONNECTIONS);
        for (_, (listener, says)) in (0..CONNECTIONS).zip(KINDS.iter().cycle()) {
            let named = self.listeners.iter().find(|(name, _)| name == listener);
            let mut client = TcpStream::connect(named.ok_or("no such listener")?.1)?;
            client.set_read_timeout(Some(PATIENCE))?;
            client.write_all(says)?;
            if *says == REQUEST {
                client.read_exact(&mut vec![0; ANSWER.len()])?;
            }
            clients.push(client);
        }
        let began = Instant::now();
        while self.connections()? < CONNECTIONS {
            if began.elapsed() > PATIENCE {
                let there = self.connections()?;
                return Err(format!("only {there} connections are there").into());
            }
            thread::yield_now();
        }
        Ok(clients)
    }

    /// What the proxy says is open.
    fn connections(&self) -> Result<usize> {
        let mut scraper = TcpStream::connect(self.admin)?;
        scraper
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        scraper.read_to_string(&mut text)?;
        let lines = text
            .lines()
            .filter(|line| line.starts_with("ebbtide_connections{"));
        let counts = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok());
        Ok(counts.sum())
    }

    /// The CPU time of its main thread, which answers; workers have their own.
    fn cpu(&self) -> Result<Duration> {
        let id = self.child.id();
        let stat = std::fs::read_to_string(format!("/proc/{id}/task/{id}/schedstat"))?;
        let nanos = stat.split(' ').next().ok_or("no time")?.parse()?;
        Ok(Duration::from_nanos(nanos))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // There is nothing to be learned from its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(server: SocketAddr) -> String {
    let listeners = ["web", "more"].map(|name| {
        format!(
            "[listener.{name}]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
             idle = \"10m\"\nlimits = {{ head_time = \"10m\", per_client = 0 }}\n"
        )
    });
    let listeners = listeners.concat();
    // Its own share of the descriptors would be just too few where 20,000 are allowed.
    let room = CONNECTIONS + 1;
    format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n\
         [process]\nworkers = 2\nconnections = {room}\nlogs = {{ format = \"json\" }}\n\
         {listeners}\
         [listener.tcp]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nupstream = \"site\"\n\
         limits = {{ per_client = 0 }}\n\
         [upstream.site]\nservers = [\"{server}\"]\n"
    )
}

/// A server that answers whole requests, and keeps whatever else it is sent.
fn serve() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    listener.set_nonblocking(true)?;
    thread::spawn(move || {
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
            Ok::<(), io::Error>(())
        })
    });
    Ok(address)
}

async fn answer(mut stream: tokio::net::TcpStream) -> io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut some = [0; 1024];
    loop {
        match stream.read(&mut some).await? {
            0 => return Ok(()),
            read if some[..read].ends_with(b"\r\n\r\n") => stream.write_all(ANSWER).await?,
            _ => {}
        }
    }
}
