//! Many processes at once: `status --fleet`, and the walk of `drain --fleet`.

mod places;
mod status;
mod walk;

use crate::support::within;
use std::process::{Output, Stdio};
use tokio::process::Command;

/// How a command ended: its code, its result, what else it said.
type Ended = (Option<i32>, String, String);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
    command
        .args(arguments)
        .env_remove("EBBTIDE_ADMIN")
        .env_remove("EBBTIDE_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn ended(output: Output) -> Ended {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (result, complaint) = (text(output.stdout), text(output.stderr));
    (output.status.code(), result, complaint)
}

async fn run(arguments: &[&str]) -> Ended {
    let output = within("the command", command(arguments).output()).await;
    ended(output.expect("run"))
}
