//! A Prometheus that runs on `conf/prometheus` as it is shipped; only its target
//! is the test's own.

use crate::support::clients::Http1;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// How long anything may take before a test fails; far more than it needs.
const LIMIT: Duration = Duration::from_secs(90);
/// How long to wait between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A file or a directory of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Copy `conf/prometheus` to where it may be changed.
pub(crate) fn shipped() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    copy(&repository("conf/prometheus"), directory.path());
    directory
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            fs::create_dir(&to).expect("made");
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).expect("copied");
        }
    }
}

/// A running Prometheus; it is ended when dropped.
pub(crate) struct Prometheus {
    _child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Prometheus {
    /// Run it, on a port that the kernel chooses, with this target.
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let directory = shipped();
        let targets = format!("- targets: [\"{target}\"]\n");
        fs::write(directory.path().join("targets/ebbtide.yml"), targets).expect("written");
        let mut child = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg("--web.listen-address=127.0.0.1:0")
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus: `make test-prometheus` installs it");
        let mut log = BufReader::new(child.stderr.take().expect("its log")).lines();
        // Said by two tasks of its own, in either order.
        let (mut address, mut ready, mut said) = (None, false, Vec::new());
        let started = async {
            while let Ok(Some(line)) = log.next_line().await {
                if line.contains("Listening on") {
                    let (_, rest) = line.rsplit_once("address=").expect("an address");
                    address = rest.trim().parse().ok();
                }
                ready |= line.contains("ready to receive web requests");
                said.push(line);
                if let Some(address) = address.filter(|_| ready) {
                    return Some(address);
                }
            }
            None
        };
        let address = timeout(LIMIT, started).await.ok().flatten();
        let address = address.unwrap_or_else(|| panic!("it does not start: {said:#?}"));
        // Read on, or it would wait for room in the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self {
            _child: child,
            address,
            _directory: directory,
        }
    }

    /// What the HTTP API has at this path.
    pub(crate) async fn api(&self, path: &str) -> Value {
        let mut client = Http1::connect(self.address).await;
        let reply = client.get(path).await.expect("an answer");
        serde_json::from_slice(&reply.body).expect("JSON")
    }

    /// The answer to an instant query, as the API gives it.
    pub(crate) async fn ask(&self, query: &str) -> Value {
        self.api(&format!("/api/v1/query?query={}", encoded(query)))
            .await
    }

    /// The series that a query yields.
    pub(crate) async fn query(&self, query: &str) -> Vec<Value> {
        let answer = self.ask(query).await;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let result = answer["data"]["result"].as_array().expect("a list");
        result.clone()
    }

    /// The one value that a query yields.
    pub(crate) async fn value(&self, query: &str) -> f64 {
        let result = self.query(query).await;
        assert_eq!(result.len(), 1, "{query}: {result:?}");
        sample(&result[0]["value"]).1
    }

    /// Wait until a query yields something.
    pub(crate) async fn until(&self, query: &str) -> Vec<Value> {
        let found = async {
            loop {
                let result = self.query(query).await;
                if !result.is_empty() {
                    return result;
                }
                sleep(LOOK).await;
            }
        };
        let found = timeout(LIMIT, found).await;
        found.unwrap_or_else(|_| panic!("waited {LIMIT:?} in vain for {query}"))
    }

    /// Wait until `/api/v1/alerts` has this alert, firing.
    pub(crate) async fn until_alert(&self, name: &str) -> Value {
        let found = async {
            loop {
                let answer = self.api("/api/v1/alerts").await;
                let alerts = answer["data"]["alerts"].as_array().expect("a list");
                let such =
                    |one: &&Value| one["labels"]["alertname"] == name && one["state"] == "firing";
                if let Some(alert) = alerts.iter().find(such) {
                    return alert.clone();
                }
                sleep(LOOK).await;
            }
        };
        let found = timeout(LIMIT, found).await;
        found.unwrap_or_else(|_| panic!("waited {LIMIT:?} in vain for the alert {name}"))
    }
}

/// A sample as the API writes it: when, and what.
pub(crate) fn sample(value: &Value) -> (f64, f64) {
    let at = value[0].as_f64().expect("a time");
    let text = value[1].as_str().expect("a value");
    (at, text.parse().expect("a number"))
}

/// Percent-encoded for a query (RFC 3986, section 2.1).
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => {
                encoded.push(char::from(byte));
            }
            other => write!(encoded, "%{other:02X}").expect("a string takes all"),
        }
    }
    encoded
}
