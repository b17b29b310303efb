//! How much later than necessary does a draining process exit?
//!
//! The binary is started, signalled and awaited, [`DRAINS`] times for each of
//! the [`SCENES`]. What is measured is the time from the signal, or from the
//! last byte of the last answer, to the exit as its parent sees it. `make
//! bench` prints median, 95th percentile and maximum.
//!
//! Deliberately absent: a threshold. Figures are for people; tests have none.

use bytes::Bytes;
use http::Request;
use rustix::process::{Pid, Signal, kill_process};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::ServerName;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How many drains are measured, per scene.
const DRAINS: usize = 50;
/// How long the server takes for an answer once its request was seen.
const ANSWER_TAKES: Duration = Duration::from_millis(50);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What is there when the signal comes, and how it is drained.
const SCENES: [(&str, Scene); 6] = [
    ("nothing", idle),
    ("an idle pooled upstream connection", pooled),
    ("an idle HTTP/2 client", http2),
    ("an idle HTTP/2 client, TLS", http2_tls),
    ("a request, its last", request),
    ("a request, its last, TLS", request_tls),
];

type Scene = fn(&Stage) -> Result<Duration>;

/// What the scenes have in common.
struct Stage {
    server: SocketAddr,
    /// Says when a request has come to the server.
    requests: Receiver<()>,
    certificate: Certificate,
}

fn main() -> Result<()> {
    let (seen, requests) = channel();
    let stage = Stage {
        server: serve(seen)?,
        requests,
        certificate: Certificate::make()?,
    };
    let mut out = io::stdout();
    writeln!(
        out,
        "exit overhead over {DRAINS} drains each, milliseconds\n\n{:<36}{:>8}{:>8}{:>8}",
        "what is there", "median", "p95", "max"
    )?;
    for (name, scene) in SCENES {
        let mut times = Vec::new();
        for _ in 0..DRAINS {
            times.push(scene(&stage)?);
        }
        times.sort();
        let millis = |part: usize| times[(DRAINS - 1) * part / 100].as_secs_f64() * 1e3;
        let (median, p95, max) = (millis(50), millis(95), millis(100));
        writeln!(out, "{name:<36}{median:>8.2}{p95:>8.2}{max:>8.2}")?;
    }
    Ok(())
}

fn idle(stage: &Stage) -> Result<Duration> {
    Proxy::start(stage)?.drained()
}

/// One request is over, its client is gone.
fn pooled(stage: &Stage) -> Result<Duration> {
    let proxy = Proxy::start(stage)?;
    let mut client = TcpStream::connect(proxy.web)?;
    ask(stage, &mut client)?;
    answered(&mut client)?;
    drop(client);
    proxy.drained()
}

fn http2(stage: &Stage) -> Result<Duration> {
    let proxy = Proxy::start(stage)?;
    let client = idle_http2(stage, TcpStream::connect(proxy.web)?, None)?;
    let took = proxy.drained()?;
    client.join().map_err(|_| "the client panicked")??;
    Ok(took)
}

fn http2_tls(stage: &Stage) -> Result<Duration> {
    let proxy = Proxy::start(stage)?;
    let tls = stage.certificate.client(&[b"h2"])?;
    let client = idle_http2(stage, TcpStream::connect(proxy.secure)?, Some(tls))?;
    let took = proxy.drained()?;
    client.join().map_err(|_| "the client panicked")??;
    Ok(took)
}

fn request(stage: &Stage) -> Result<Duration> {
    let proxy = Proxy::start(stage)?;
    let client = TcpStream::connect(proxy.web)?;
    last_request(stage, proxy, client)
}

fn request_tls(stage: &Stage) -> Result<Duration> {
    let proxy = Proxy::start(stage)?;
    let tls = stage.certificate.client(&[])?;
    let connection = ClientConnection::new(tls, ServerName::try_from("localhost")?)?;
    let client = StreamOwned::new(connection, TcpStream::connect(proxy.secure)?);
    last_request(stage, proxy, client)
}

/// From the last byte of the answer to the exit.
fn last_request(
    stage: &Stage,
    mut proxy: Proxy,
    mut client: impl Read + Write,
) -> Result<Duration> {
    ask(stage, &mut client)?;
    proxy.signal()?;
    answered(&mut client)?;
    let answered = Instant::now();
    drop(client);
    proxy.exited(answered)
}

/// Ask, and wait until the server has seen it.
fn ask(stage: &Stage, client: &mut impl Write) -> Result<()> {
    client.write_all(REQUEST)?;
    client.flush()?;
    Ok(stage.requests.recv()?)
}

/// Read one answer to its last byte.
fn answered(client: &mut impl Read) -> Result<()> {
    let mut answer = Vec::new();
    let mut some = [0; 4096];
    while !answer.ends_with(b"\r\n\r\nok") {
        match client.read(&mut some)? {
            0 => return Err(format!("no answer: {}", String::from_utf8_lossy(&answer)).into()),
            read => answer.extend_from_slice(&some[..read]),
        }
    }
    Ok(())
}

/// A client with a connection that was used, and is open until it is ended by
/// the other side.
fn idle_http2(
    stage: &Stage,
    socket: TcpStream,
    tls: Option<Arc<ClientConfig>>,
) -> Result<JoinHandle<Result<()>>> {
    let (used, ready) = channel();
    let client = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            socket.set_nonblocking(true)?;
            let socket = tokio::net::TcpStream::from_std(socket)?;
            match tls {
                None => until_ended(socket, used).await,
                Some(tls) => {
                    let name = ServerName::try_from("localhost")?;
                    let tls = tokio_rustls::TlsConnector::from(tls);
                    until_ended(tls.connect(name, socket).await?, used).await
                }
            }
        })
    });
    stage.requests.recv()?;
    ready.recv()?;
    Ok(client)
}

async fn until_ended<T>(stream: T, used: Sender<()>) -> Result<()>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = h2::client::handshake(stream).await?;
    let ended = tokio::spawn(connection);
    let mut sender: h2::client::SendRequest<Bytes> = sender.ready().await?;
    let request = Request::get("http://localhost/").body(())?;
    let (response, _) = sender.send_request(request, true)?;
    let mut body = response.await?.into_body();
    while let Some(data) = body.data().await {
        data?;
    }
    used.send(())?;
    ended.await??;
    drop(sender);
    Ok(())
}

/// A running binary and the addresses of its listeners.
struct Proxy {
    child: Child,
    web: SocketAddr,
    secure: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Proxy {
    fn start(stage: &Stage) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        stage.certificate.write(directory.path())?;
        let config = directory.path().join("ebbtide.toml");
        std::fs::write(&config, text(stage.server))?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_ebbtide"))
            .arg("run")
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().ok_or("no log")?).lines();
        let mut listening = |name: &str| {
            let mut lines = log.by_ref().map_while(io::Result::ok);
            lines.find_map(|line| address(&line, name))
        };
        // In the order of the config.
        let web = listening("web").ok_or("web does not listen")?;
        let secure = listening("secure").ok_or("secure does not listen")?;
        // Read on, or the process would wait for room in the pipe.
        thread::spawn(move || log.for_each(drop));
        let proxy = Self {
            child,
            web,
            secure,
            _directory: directory,
        };
        proxy.until_active()?;
        Ok(proxy)
    }

    /// A connection is accepted and ended only when workers run.
    fn until_active(&self) -> Result<()> {
        let mut client = TcpStream::connect(self.web)?;
        client.write_all(b"nonsense\r\n\r\n")?;
        client.read_to_end(&mut Vec::new())?;
        Ok(())
    }

    fn signal(&self) -> Result<()> {
        let id = Pid::from_raw(self.child.id().try_into()?).ok_or("no process id")?;
        Ok(kill_process(id, Signal::TERM)?)
    }

    /// From the signal to the exit.
    fn drained(mut self) -> Result<Duration> {
        let signalled = Instant::now();
        self.signal()?;
        self.exited(signalled)
    }

    fn exited(&mut self, since: Instant) -> Result<Duration> {
        let status = self.child.wait()?;
        let took = since.elapsed();
        if status.success() {
            Ok(took)
        } else {
            Err(format!("it exited with {status}").into())
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // After an error it may still run; after a measurement it does not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address(line: &str, listener: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let said = line["event"] == "listening" && line["listener"] == listener;
    line["address"].as_str().filter(|_| said)?.parse().ok()
}

/// A certificate for `localhost`, and clients that trust it.
struct Certificate {
    pem: String,
    key: String,
    roots: Arc<RootCertStore>,
}

impl Certificate {
    fn make() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        Ok(Self {
            pem: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            roots: Arc::new(roots),
        })
    }

    fn write(&self, directory: &std::path::Path) -> io::Result<()> {
        std::fs::write(directory.join("site.pem"), &self.pem)?;
        std::fs::write(directory.join("site.key"), &self.key)
    }

    /// A client that offers `protocols` by ALPN.
    fn client(&self, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

fn text(server: SocketAddr) -> String {
    format!(
        r#"
[admin]
listen = "127.0.0.1:0"

[process]
workers = 2
logs    = {{ format = "json" }}

[listener.web]
listen = "127.0.0.1:0"
routes = [{{ upstream = "site" }}]

[listener.secure]
listen = "127.0.0.1:0"
tls    = {{ cert = "site.pem", key = "site.key" }}
routes = [{{ upstream = "site" }}]

[upstream.site]
servers = ["{server}"]

[drain]
announce = "0s"
spread   = "0s"
"#
    )
}

/// A server that says when it has seen a request, and answers a while later.
fn serve(seen: Sender<()>) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(io::Result::ok) {
            let seen = seen.clone();
            thread::spawn(move || answer(stream, &seen));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, seen: &Sender<()>) -> Option<()> {
    let mut request = Vec::new();
    let mut some = [0; 4096];
    loop {
        let read = stream.read(&mut some).ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&some[..read]);
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            seen.send(()).ok()?;
            thread::sleep(ANSWER_TAKES);
            stream.write_all(ANSWER).ok()?;
        }
    }
}
