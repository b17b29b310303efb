//! How much later than necessary does a draining process exit?
//!
//! The binary is started, signalled and awaited, [`DRAINS`] times with nothing
//! in flight and as often with one request in flight. What is measured is the
//! time from the signal, or from the last byte of the answer, to the exit as
//! its parent sees it. `make bench` prints median and maximum.
//!
//! Deliberately absent: a threshold. Figures are for people; tests have none.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How many drains are measured, per kind.
const DRAINS: usize = 20;
/// How long the server takes for an answer once its request was seen.
const ANSWER_TAKES: Duration = Duration::from_millis(100);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn main() -> Result<()> {
    let (seen, requests) = channel();
    let server = serve(seen)?;
    let mut idle = Vec::new();
    let mut busy = Vec::new();
    for _ in 0..DRAINS {
        idle.push(drain_idle(server, &requests)?);
        busy.push(drain_busy(server, &requests)?);
    }
    let mut out = io::stdout();
    writeln!(
        out,
        "exit overhead over {DRAINS} drains each, milliseconds\n"
    )?;
    writeln!(out, "{:<20}{:>8}{:>8}", "", "median", "max")?;
    for (name, mut times) in [("nothing in flight", idle), ("a request in flight", busy)] {
        times.sort();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let (median, max) = (
            millis(times[times.len() / 2]),
            millis(times[times.len() - 1]),
        );
        writeln!(out, "{name:<20}{median:>8.2}{max:>8.2}")?;
    }
    Ok(())
}

/// From the signal to the exit.
fn drain_idle(server: SocketAddr, requests: &Receiver<()>) -> Result<Duration> {
    let mut proxy = Proxy::start(server)?;
    let client = proxy.ask()?;
    requests.recv()?;
    answered(&client)?;
    drop(client);
    let signalled = Instant::now();
    proxy.signal()?;
    proxy.exited(signalled)
}

/// From the last byte of the answer to the exit.
fn drain_busy(server: SocketAddr, requests: &Receiver<()>) -> Result<Duration> {
    let mut proxy = Proxy::start(server)?;
    let client = proxy.ask()?;
    requests.recv()?;
    proxy.signal()?;
    answered(&client)?;
    let answered = Instant::now();
    drop(client);
    proxy.exited(answered)
}

/// Read one answer to its last byte.
fn answered(mut client: &TcpStream) -> Result<()> {
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

/// A running binary and the address of its listener.
struct Proxy {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Proxy {
    fn start(server: SocketAddr) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("ebbtide.toml");
        std::fs::write(&config, text(server))?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_ebbtide"))
            .arg("run")
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().ok_or("no log")?).lines();
        let address = log
            .by_ref()
            .map_while(io::Result::ok)
            .find_map(|line| listening(&line))
            .ok_or("it does not listen")?;
        // Read on, or the process would wait for room in the pipe.
        thread::spawn(move || log.for_each(drop));
        Ok(Self {
            child,
            address,
            _directory: directory,
        })
    }

    fn ask(&self) -> Result<TcpStream> {
        let mut client = TcpStream::connect(self.address)?;
        client.write_all(REQUEST)?;
        Ok(client)
    }

    fn signal(&self) -> Result<()> {
        let id = Pid::from_raw(self.child.id().try_into()?).ok_or("no process id")?;
        Ok(kill_process(id, Signal::TERM)?)
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

fn listening(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let address = (line["event"] == "listening").then(|| line["address"].as_str())?;
    address?.parse().ok()
}

fn text(server: SocketAddr) -> String {
    format!(
        r#"
[admin]
listen = "127.0.0.1:0"

[process]
workers = 1
logs    = {{ format = "json" }}

[listener.web]
listen = "127.0.0.1:0"
routes = [{{ upstream = "site" }}]

[upstream.site]
servers = ["{server}"]

[drain]
announce = "0s"
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
