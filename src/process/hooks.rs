//! Stage hooks: what the operator wants done when a drain reaches a stage.
//!
//! Run beside the drain, never in its way: each has its own limit on time,
//! and one that fails is logged. The exit waits for those still running, and
//! for no longer than their limits: a deregistration that is cut short is
//! worse than none.

use super::systemd::ENVIRONMENT;
use crate::config::{Hook, HookRun};
use crate::drain::Stage;
use bytes::Bytes;
use http::header::HOST;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    System(#[from] io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the program ended with {0}")]
    Program(std::process::ExitStatus),
    #[error("the server answered {0}")]
    Status(http::StatusCode),
    #[error("the URL is not usable: {0}")]
    Url(String),
    #[error("its time was over")]
    Timeout,
}

pub(super) struct Hooks {
    hooks: Vec<Arc<Hook>>,
    running: JoinSet<()>,
}

impl Hooks {
    pub(super) fn new(hooks: &[Hook]) -> Self {
        Self {
            hooks: hooks.iter().cloned().map(Arc::new).collect(),
            running: JoinSet::new(),
        }
    }

    /// Run others from now on; those that run already run on.
    pub(super) fn replace(&mut self, hooks: &[Hook]) {
        self.hooks = hooks.iter().cloned().map(Arc::new).collect();
    }

    /// Start the hooks of a stage.
    pub(super) fn run(&mut self, stage: Stage) {
        let due = self.hooks.iter().filter(|hook| hook.on == stage);
        for hook in due.cloned() {
            self.running.spawn(carry_out(hook, stage));
        }
    }

    /// Wait for those still running; each is bounded.
    pub(super) async fn finish(&mut self) {
        while self.running.join_next().await.is_some() {}
    }

    /// End those still running at once.
    pub(super) fn abandon(&mut self) {
        if !self.running.is_empty() {
            let hooks = self.running.len();
            tracing::warn!(event = "hook", hooks, "hooks abandoned: cut by an operator");
            self.running.abort_all();
        }
    }
}

async fn carry_out(hook: Arc<Hook>, stage: Stage) {
    let stage = stage.as_str();
    let done = tokio::time::timeout(hook.timeout, run(&hook.run)).await;
    match done.unwrap_or(Err(Failure::Timeout)) {
        Ok(()) => tracing::info!(event = "hook", stage, run = %hook.run, "hook done"),
        Err(error) => tracing::warn!(event = "hook", stage, run = %hook.run, %error, "hook failed"),
    }
}

async fn run(run: &HookRun) -> Result<(), Failure> {
    match run {
        HookRun::Exec { command } => exec(command).await,
        HookRun::Http { method, url } => request(method, url).await,
        HookRun::File { path, content } => {
            let content = content.as_deref().unwrap_or_default();
            Ok(tokio::fs::write(path, content).await?)
        }
    }
}

async fn exec(command: &[String]) -> Result<(), Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(());
    };
    let mut child = tokio::process::Command::new(program);
    child.args(arguments).process_group(0);
    for key in ENVIRONMENT {
        child.env_remove(key);
    }
    let mut child = child.spawn()?;
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let group = KillGroup(group.and_then(Pid::from_raw));
    let status = child.wait().await?;
    group.spare();
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Program(status))
    }
}

/// A program that overstays its time does not outlive its hook, nor does what
/// it started.
struct KillGroup(Option<Pid>);

impl KillGroup {
    fn spare(mut self) {
        self.0 = None;
    }
}

impl Drop for KillGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Gone already is as good.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn request(method: &http::Method, url: &http::Uri) -> Result<(), Failure> {
    let authority = url
        .authority()
        .ok_or_else(|| Failure::Url(url.to_string()))?;
    let port = authority.port_u16().unwrap_or(80);
    let socket = TcpStream::connect((authority.host(), port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let request = http::Request::builder()
        .method(method)
        .uri(url.path_and_query().map_or("/", |target| target.as_str()))
        .header(HOST, authority.as_str())
        .body(Empty::<Bytes>::new())
        .map_err(|error| Failure::Url(error.to_string()))?;
    let answering = async move {
        // With its status read and the sender gone, the connection is done:
        // a server that would keep it alive is not waited for.
        let answer = sender.send_request(request).await;
        answer.map(|answer| answer.status())
    };
    let (status, _) = tokio::join!(answering, connection);
    match status? {
        status if status.is_success() => Ok(()),
        status => Err(Failure::Status(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn hook(run: HookRun) -> Hook {
        Hook {
            on: Stage::Announce,
            run,
            timeout: Duration::from_secs(5),
        }
    }

    #[tokio::test]
    async fn a_stage_runs_its_own_hooks_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("told");
        let write = HookRun::File {
            path: file.clone(),
            content: Some("draining\n".into()),
        };
        let mut hooks = Hooks::new(&[hook(write)]);
        hooks.run(Stage::Refuse);
        hooks.finish().await;
        assert!(!file.exists());
        hooks.run(Stage::Announce);
        hooks.finish().await;
        assert_eq!(
            std::fs::read_to_string(file).expect("the file"),
            "draining\n"
        );
    }

    /// Whether a process is there, and not only its remains.
    fn lives(id: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[tokio::test]
    async fn what_a_program_started_does_not_outlive_its_hook() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("id");
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let command = ["sh".into(), "-c".into(), script];
        let running = tokio::spawn(async move { exec(&command).await });
        let mut id = String::new();
        while !id.ends_with('\n') {
            tokio::time::sleep(Duration::from_millis(2)).await;
            id = std::fs::read_to_string(&file).unwrap_or_default();
        }
        assert!(lives(id.trim()));
        running.abort();
        while lives(id.trim()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    #[tokio::test]
    async fn failures_are_told_apart() {
        let failed = exec(&["false".into()]).await;
        assert!(matches!(failed, Err(Failure::Program(_))));
        let missing = exec(&["/nowhere/at/all".into()]).await;
        assert!(matches!(missing, Err(Failure::System(_))));
        assert!(exec(&["true".into()]).await.is_ok());
    }
}
