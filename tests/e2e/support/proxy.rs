//! The binary under test, as an operator runs it: a config file, a process, a
//! log, signals, the admin interface.
//!
//! Its listeners take free ports; it says in the log which ones. When a test
//! fails, that log is printed.

use super::authority::{boxed, shake};
use super::certificate::Certificate;
use super::clients::{Http1, Reply, connect};
use super::{LIMIT, within};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, kill_process, prlimit};
use rustls::ClientConfig;
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub(crate) use rustix::process::Signal;

/// What every config begins with, unless a test says it itself.
const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n\n";
const PROCESS: &str =
    "[process]\nworkers = 2\nlogs = { format = \"json\", level = \"info,ebbtide=debug\" }\n\n";
/// How long to wait between two looks at something that publishes nothing.
const LOOK: Duration = Duration::from_millis(5);

/// A running proxy; it is cut when dropped.
pub(crate) struct Proxy {
    child: Child,
    log: watch::Receiver<Vec<Value>>,
    reader: JoinHandle<()>,
    addresses: HashMap<String, SocketAddr>,
    admin: SocketAddr,
    certificate: Arc<Certificate>,
    directory: Arc<TempDir>,
    config: PathBuf,
    /// How its admin interface is asked where that has TLS.
    admin_tls: Option<Arc<ClientConfig>>,
}

impl Proxy {
    /// Run it on the config `text`, until it is ready. `site.pem` and
    /// `site.key` are there for `tls`; `[admin]` and `[process]` may be left
    /// out.
    pub(crate) async fn start(text: &str) -> Self {
        Self::start_as(text, Self::command()).ready(text).await
    }

    /// How the binary is run.
    pub(crate) fn command() -> Command {
        Command::new(env!("CARGO_BIN_EXE_ebbtide"))
    }

    /// Wait until it is ready, of one that was started otherwise.
    pub(crate) async fn ready(mut self, text: &str) -> Self {
        self.serving(text).await;
        self
    }

    /// Run it on the config `text` by this command, and wait for nothing.
    pub(crate) fn start_as(text: &str, command: Command) -> Self {
        Self::spawn_in(text, command, |_| ())
    }

    /// Run it in a directory in which `prepare` has left more files, until it
    /// is ready.
    pub(crate) async fn start_in(text: &str, prepare: impl FnOnce(&Path)) -> Self {
        Self::spawn_in(text, Self::command(), prepare)
            .ready(text)
            .await
    }

    fn spawn_in(text: &str, command: Command, prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let certificate = Certificate::new();
        certificate.write(directory.path());
        prepare(directory.path());
        let shared = (Arc::new(certificate), Arc::new(directory));
        Self::spawn(text, command, ("ebbtide.toml", &[]), shared)
    }

    /// The same with an admin interface that has TLS, for this client.
    pub(crate) async fn start_secure(
        text: &str,
        client: Arc<ClientConfig>,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let mut proxy = Self::spawn_in(text, Self::command(), prepare);
        proxy.admin_tls = Some(client);
        proxy.ready(text).await
    }

    /// Begin to run one that takes over from this one, on the config `text`,
    /// with these arguments more. It has the same directory and certificate;
    /// its config is at `name` there.
    pub(crate) fn successor(&self, text: &str, name: &str, arguments: &[&str]) -> Self {
        let shared = (Arc::clone(&self.certificate), Arc::clone(&self.directory));
        let arguments = [&["--takeover"], arguments].concat();
        let mut next = Self::spawn(text, Self::command(), (name, &arguments), shared);
        next.admin_tls.clone_from(&self.admin_tls);
        next
    }

    fn spawn(
        text: &str,
        mut command: Command,
        (name, arguments): (&str, &[&str]),
        (certificate, directory): (Arc<Certificate>, Arc<TempDir>),
    ) -> Self {
        let config = directory.path().join(name);
        std::fs::write(&config, whole(text)).expect("write the config");
        let mut child = command
            .arg("run")
            .args(arguments)
            .arg(&config)
            .env("SSLKEYLOGFILE", directory.path().join("keys.log"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("run the binary");
        let stderr = child.stderr.take().expect("its standard error");
        let (note, log) = watch::channel(Vec::new());
        let reader = tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                note.send_modify(|log| log.push(value));
            }
        });
        Self {
            child,
            log,
            reader,
            addresses: HashMap::new(),
            admin: ([0, 0, 0, 0], 0).into(),
            certificate,
            directory,
            config,
            admin_tls: None,
        }
    }

    /// Wait until it serves by the config `text`.
    pub(crate) async fn serving(&mut self, text: &str) {
        self.learn_addresses(text).await;
        self.until_ready().await;
    }

    /// Wait until it has taken over.
    pub(crate) async fn took_over(&mut self, text: &str) {
        self.until_log("took over", |line| line["message"] == "took over")
            .await;
        self.serving(text).await;
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it has exited")
    }

    async fn learn_addresses(&mut self, text: &str) {
        let config: toml::Table = whole(text).parse().expect("TOML");
        let listeners = config["listener"].as_table().expect("a listener");
        for name in listeners.keys() {
            let line = self
                .until_event("listening", |line| line["listener"] == name.as_str())
                .await;
            self.addresses.insert(name.clone(), address(&line));
        }
        let line = self.until_event("admin", |_| true).await;
        self.admin = address(&line);
    }

    async fn until_ready(&self) {
        let ready = async {
            while self.get("/readyz").await.status != 200 {
                sleep(LOOK).await;
            }
        };
        within("readiness", ready).await;
    }

    /// A file beside the config.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where a listener listens.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.addresses[listener]
    }

    /// Where the admin interface listens.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Where its config and its certificate are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Replace its config; it learns of it by a reload.
    pub(crate) fn write_config(&self, text: &str) {
        std::fs::write(&self.config, whole(text)).expect("write the config");
    }

    /// What the listeners show, and clients trust.
    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).expect("signal it");
    }

    /// Let it open no descriptor beyond this one (setrlimit(2)); returns the
    /// limit that it had.
    pub(crate) fn limit_descriptors(&self, to: u64) -> u64 {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit {
            current: Some(to),
            maximum,
        };
        let before = prlimit(Some(self.id()), Resource::Nofile, limit);
        before.expect("limit it").current.expect("a limit")
    }

    fn id(&self) -> Pid {
        let id = self.child.id().expect("it has exited");
        Pid::from_raw(id.try_into().expect("an id")).expect("an id")
    }

    /// Wait for its exit.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let status = within("its exit", self.child.wait()).await.expect("wait");
        // The log is whole only then.
        within("the log's end", &mut self.reader)
            .await
            .expect("the reader");
        status
    }

    /// The most memory that it had at once so far, in bytes (proc(5),
    /// `VmHWM`).
    pub(crate) fn peak_memory(&self) -> u64 {
        self.of_status("VmHWM:")
    }

    fn of_status(&self, field: &str) -> u64 {
        let status = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(status).expect("its status");
        let value = status.lines().find_map(|line| line.strip_prefix(field));
        let value = value.and_then(|value| value.trim().strip_suffix(" kB"));
        1024 * value
            .and_then(|value| value.parse::<u64>().ok())
            .expect("a number")
    }

    /// The memory that it has now, in bytes (proc(5), `VmRSS`).
    pub(crate) fn memory(&self) -> u64 {
        self.of_status("VmRSS:")
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let all = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("its descriptors");
        all.count()
    }

    /// Wait until it has no more than these: a health check or a question of
    /// the test's own may be under way.
    pub(crate) async fn until_descriptors(&self, most: usize) {
        let closed = async {
            while self.descriptors() > most {
                sleep(LOOK).await;
            }
        };
        within("descriptors closed", closed).await;
    }

    /// Whether it has exited.
    pub(crate) fn has_exited(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_some()
    }

    /// The log so far; a line that is no JSON is a string.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.borrow().clone()
    }

    /// Wait for a log line, past or to come.
    pub(crate) async fn until_log(&self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let mut log = self.log.clone();
        let found = async {
            let log = log.wait_for(|log| log.iter().any(&matches)).await;
            log.ok()
                .and_then(|log| log.iter().find(|line| matches(line)).cloned())
        };
        let found = timeout(LIMIT, found).await.ok().flatten();
        found.unwrap_or_else(|| panic!("no log line: {what}"))
    }

    /// Wait until the log as a whole is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&[Value]) -> bool) {
        let mut log = self.log.clone();
        let found = timeout(LIMIT, log.wait_for(|log| wanted(log))).await;
        assert!(matches!(found, Ok(Ok(_))), "never in the log: {what}");
    }

    /// Wait for the log line of an event.
    pub(crate) async fn until_event(&self, event: &str, matches: impl Fn(&Value) -> bool) -> Value {
        self.until_log(event, |line| line["event"] == event && matches(line))
            .await
    }

    /// Ask the admin interface.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, "").await
    }

    /// Ask the admin interface for something to happen.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: &'static str) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.admin.to_string())
            .body(Full::new(Bytes::from_static(body.as_bytes())).boxed_unsync())
            .expect("a request");
        let wire = match &self.admin_tls {
            None => connect(self.admin).await,
            Some(tls) => {
                let shaken = Box::pin(shake(self.admin, tls, "localhost"));
                boxed(shaken.await.expect("TLS"))
            }
        };
        let response = Http1::over(wire)
            .await
            .send(request)
            .await
            .expect("an answer");
        Http1::whole(response).await.expect("a body")
    }

    /// Ask an admin interface at `unix:PATH` for JSON.
    pub(crate) async fn json_at(address: &str, path: &str) -> Value {
        let socket = address.strip_prefix("unix:").expect("a Unix socket");
        let stream = UnixStream::connect(socket).await.expect("somebody listens");
        let mut client = Http1::over(Box::new(stream)).await;
        let reply = client.get(path).await.expect("an answer");
        serde_json::from_slice(&reply.body).expect("JSON")
    }

    /// Wait until its status is such.
    pub(crate) async fn until_status(&self, such: impl Fn(&Value) -> bool) -> Value {
        self.until_json("/v1/status", such).await
    }

    /// Wait until what is at `path` is such.
    pub(crate) async fn until_json(&self, path: &str, such: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let value = self.json(path).await;
                if such(&value) {
                    return value;
                }
                sleep(LOOK).await;
            }
        };
        within(path, found).await
    }

    /// Ask the admin interface for JSON.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let reply = self.get(path).await;
        serde_json::from_slice(&reply.body)
            .unwrap_or_else(|error| panic!("{path}: {error}: {reply:?}"))
    }
}

impl Drop for Proxy {
    #[expect(
        clippy::print_stderr,
        reason = "the log of a failed test is for whoever reads its output"
    )]
    fn drop(&mut self) {
        let panicked = self.log.borrow().iter().any(|line| {
            let text = line.to_string();
            text.contains("panicked at")
        });
        if std::thread::panicking() || panicked {
            for line in &*self.log.borrow() {
                eprintln!("proxy: {line}");
            }
        }
        // Whatever a test was about, nothing may panic on the way.
        assert!(std::thread::panicking() || !panicked, "the proxy panicked");
    }
}

fn whole(text: &str) -> String {
    let mut whole = String::new();
    for (table, default) in [("[admin]", ADMIN), ("[process]", PROCESS)] {
        if !text.contains(table) {
            whole.push_str(default);
        }
    }
    whole + text
}

fn address(line: &Value) -> SocketAddr {
    let address = line["address"]
        .as_str()
        .and_then(|address| address.parse().ok());
    address.unwrap_or_else(|| panic!("no address in {line}"))
}
