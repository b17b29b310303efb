//! nginx as a server: a GET is its own, a POST goes on to the application behind
//! it. Its QUIT is what a rolling deploy sends: it closes its listener and what is
//! idle at once, and serves the rest.

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(2);

/// One nginx, and the place where it always listens.
pub(crate) struct Nginx {
    address: SocketAddr,
    folder: TempDir,
    child: Child,
}

fn config(folder: &str, address: SocketAddr, application: SocketAddr) -> String {
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {folder}/{kind};\n"))
        .concat();
    format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {folder}/pid;\n\
         error_log {folder}/error.log;\nevents {{ worker_connections 512; }}\nhttp {{\n\
         {paths}    access_log off;\n\
         \x20   upstream application {{ server {application}; keepalive 16; }}\n\
         \x20   server {{\n        listen {address};\n\
         \x20       location /get {{ return 200 \"ok\"; }}\n\
         \x20       location / {{\n            proxy_pass http://application;\n\
         \x20           proxy_http_version 1.1;\n\
         \x20           proxy_set_header Connection \"\";\n\
         \x20           client_body_buffer_size 64k;\n        }}\n    }}\n}}\n"
    )
}

impl Nginx {
    /// Start one there, before this application.
    pub(crate) async fn start(address: SocketAddr, application: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().to_str().context("an odd folder")?;
        let text = config(path, address, application);
        fs::write(folder.path().join("nginx.conf"), text)?;
        let child = run(&folder)?;
        let mut nginx = Self {
            address,
            folder,
            child,
        };
        nginx.until_it_listens().await?;
        Ok(nginx)
    }

    async fn until_it_listens(&mut self) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            if began.elapsed() > LIMIT || self.child.try_wait()?.is_some() {
                let log = fs::read_to_string(self.folder.path().join("error.log"));
                bail!("nginx does not listen: {}", log.unwrap_or_default());
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Let it end as its operators do, and put a new one in its place.
    pub(crate) async fn replace(&mut self) -> Result<()> {
        self.signal(Signal::QUIT)?;
        timeout(LIMIT, self.child.wait())
            .await
            .context("nginx does not end")??;
        self.child = run(&self.folder)?;
        self.until_it_listens().await
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.child.id().context("nginx has ended")?;
        let id = Pid::from_raw(id.try_into()?).context("no process id")?;
        Ok(kill_process(id, signal)?)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its worker goes with it, as it would not if it were cut.
        let _ = self.signal(Signal::TERM);
    }
}

fn run(folder: &TempDir) -> Result<Child> {
    let binary = env::var_os("FAULTS_NGINX").unwrap_or_else(|| "/usr/sbin/nginx".into());
    let folder = folder.path();
    let child = Command::new(&binary)
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    child.with_context(|| {
        format!(
            "cannot run {}; FAULTS_NGINX names another",
            binary.display()
        )
    })
}
