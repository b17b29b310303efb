//! A program as a hook.
//!
//! Invariant: it does not outlive its hook, nor does what it started.
//!
//! Deliberately absent: its output, which is where ours is.

use super::Failure;
use crate::process::systemd::ENVIRONMENT;
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use std::convert::Infallible;
use std::future::pending;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;

/// What a program finds the event in, too.
const EVENT: &str = "EBBTIDE_EVENT";

/// Run a program with the news on its standard input.
pub(super) async fn exec(command: &[String], event: &str, news: Bytes) -> Result<(), Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(());
    };
    let mut child = tokio::process::Command::new(program);
    child.args(arguments).process_group(0);
    child.env(EVENT, event).stdin(Stdio::piped());
    for key in ENVIRONMENT {
        child.env_remove(key);
    }
    let mut child = child.spawn()?;
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let group = KillGroup(group.and_then(Pid::from_raw));
    let input = child.stdin.take();
    let feeding = async {
        if let Some(mut input) = input {
            // One that does not read it does not need it.
            let _ = input.write_all(&news).await;
        }
        pending::<Infallible>().await
    };
    let status = tokio::select! {
        status = child.wait() => status?,
        never = feeding => match never {},
    };
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn run(words: &[&str], news: &'static [u8]) -> Result<(), Failure> {
        let command: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        exec(&command, "announce", Bytes::from_static(news)).await
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
        let running = tokio::spawn(async move { run(&["sh", "-c", &script], b"").await });
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
        let failed = run(&["false"], b"").await;
        assert!(matches!(failed, Err(Failure::Program(_))));
        let missing = run(&["/nowhere/at/all"], b"").await;
        assert!(matches!(missing, Err(Failure::System(_))));
        assert!(run(&["true"], b"").await.is_ok());
    }

    #[tokio::test]
    async fn the_news_are_read_to_their_end_or_not_at_all() {
        static LONG: [u8; 1 << 20] = [b'x'; 1 << 20];
        let reads = "test $EBBTIDE_EVENT = announce && test $(wc -c) = 1048576";
        run(&["sh", "-c", reads], &LONG).await.expect("read whole");
        run(&["true"], &LONG).await.expect("not needed");
        // Somebody else holds the pipe, and nobody waits for that.
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("id");
        let leaves = format!(
            "exec 3<&0; sleep 600 <&3 3<&- >/dev/null 2>&1 & echo $! > {}",
            file.display()
        );
        let words = ["sh", "-c", &leaves];
        let left = tokio::time::timeout(Duration::from_secs(20), run(&words, &LONG));
        let left = left.await;
        let id = std::fs::read_to_string(&file).expect("its id");
        let id = Pid::from_raw(id.trim().parse().expect("a number")).expect("an id");
        rustix::process::kill_process(id, Signal::KILL).expect("it is there");
        left.expect("in time").expect("it is done");
    }
}
