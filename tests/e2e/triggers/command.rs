//! The command line against a living process: what it prints, and its exit
//! codes (0 good, 1 failed, 2 usage, 3 something was cut, 64 bad config).

use super::{held, let_go, plan, web};
use crate::support::clients::Raw;
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use crate::support::within;
use serde_json::Value;
use std::path::Path;
use std::process::{Output, Stdio};
use tokio::process::Command;

/// Run the binary; `admin` is what `EBBTIDE_ADMIN` says.
async fn run(admin: Option<&str>, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = command(admin, arguments);
    let Output {
        status,
        stdout,
        stderr,
    } = within("the command", command.output()).await.expect("run");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

fn command(admin: Option<&str>, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
    command
        .args(arguments)
        .env_remove("EBBTIDE_ADMIN")
        .env_remove("EBBTIDE_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(admin) = admin {
        command.env("EBBTIDE_ADMIN", admin);
    }
    command
}

/// Run it, see it succeed and say nothing on standard error; what it printed.
#[track_caller]
fn good(ended: (Option<i32>, String, String)) -> String {
    let (code, result, complaint) = ended;
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{result}");
    result
}

/// See it succeed and tell of nothing but stages on standard error; what it
/// printed.
#[track_caller]
fn waited(ended: (Option<i32>, String, String)) -> String {
    let (code, result, told) = ended;
    assert_eq!(code, Some(0), "{result}\n{told}");
    for line in told.lines() {
        assert!(line.contains(" at most"), "{told}");
    }
    result
}

#[tokio::test]
async fn every_question_is_answered_in_text_and_in_json() {
    let server = Server::http1().await;
    let proxy = Proxy::start(&web(&server, &plan("60s"))).await;
    let client = held(&proxy, &server).await;
    let admin = proxy.admin().to_string();
    for (question, text, member) in [
        ("status", "phase", "phase"),
        ("connections", "1 http1 in flight", "connections"),
        ("config", "[listener.web.limits]", "generation"),
    ] {
        let by_flag = good(run(None, &[question, "--admin", &admin]).await);
        assert!(by_flag.contains(text), "{by_flag}");
        let by_environment = good(run(Some(&admin), &[question, "--json"]).await);
        let value: Value = serde_json::from_str(&by_environment).expect("one document");
        assert!(value.get(member).is_some(), "{value}");
    }
    // The flag wins over the environment.
    good(run(Some("127.0.0.1:1"), &["status", "--admin", &admin]).await);
    let_go(client, &server).await;
}

#[tokio::test]
async fn a_drain_is_begun_taken_back_and_waited_for() {
    let server = Server::http1().await;
    let mut proxy = Proxy::start(&web(&server, &plan("3s"))).await;
    let admin = proxy.admin().to_string();
    let (code, result, complaint) = run(Some(&admin), &["receipt"]).await;
    assert_eq!((code, result.as_str()), (Some(1), ""));
    assert!(complaint.contains("no drain has ended yet"), "{complaint}");
    let (code, _, complaint) = run(Some(&admin), &["drain", "--cancel"]).await;
    assert_eq!(code, Some(1));
    assert!(complaint.contains("no drain is under way"), "{complaint}");
    let begun = good(run(Some(&admin), &["drain"]).await);
    assert!(begun.contains("stage announce"), "{begun}");
    let back = good(run(Some(&admin), &["drain", "--cancel", "--json"]).await);
    let back: Value = serde_json::from_str(&back).expect("one document");
    assert_eq!(
        (&back["draining"], &back["ready"]),
        (&false.into(), &true.into())
    );
    let receipt = waited(run(Some(&admin), &["drain", "--wait", "--json"]).await);
    let receipt: Value = serde_json::from_str(&receipt).expect("one document");
    assert_eq!(
        (&receipt["complete"], &receipt["lost"]),
        (&true.into(), &0.into())
    );
    assert_eq!(proxy.exit().await.code(), Some(0));
    let (code, result, complaint) = run(Some(&admin), &["status"]).await;
    assert_eq!((code, result.as_str()), (Some(1), ""));
    assert!(
        complaint.contains(&admin) && complaint.contains("is it running"),
        "{complaint}"
    );
}

#[tokio::test]
async fn who_waits_for_a_drain_learns_that_something_was_cut() {
    let (server, echo) = (Server::http1().await, Server::tcp().await);
    let more = format!(
        "[listener.tcp]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nupstream = \"echo\"\n\
         [upstream.echo]\nservers = [\"{}\"]\n\
         [drain]\nannounce = \"0s\"\nspread = \"0s\"\nfarewell = \"100ms\"\n\
         finish = {{ http = \"1s\", grpc = \"1s\", websocket = \"1s\", tcp = \"100ms\" }}\n",
        echo.address
    );
    let mut proxy = Proxy::start(&web(&server, &more)).await;
    let mut tunnel = Raw::connect(proxy.address("tcp")).await;
    tunnel.send("hello\n").await.expect("sent");
    tunnel.read_until("\n").await.expect("an echo");
    let admin = proxy.admin().to_string();
    // The client hears that it is over, and stays.
    let (code, result, told) = run(Some(&admin), &["drain", "--wait"]).await;
    assert_eq!(code, Some(3), "{result}\n{told}");
    assert!(
        result.contains("tunnel closed") || result.contains("did not leave"),
        "{result}"
    );
    assert_eq!(proxy.exit().await.code(), Some(0), "the plan was kept");
    drop(tunnel);
}

#[tokio::test]
async fn who_waits_learns_that_the_drain_was_taken_back() {
    let server = Server::http1().await;
    let proxy = Proxy::start(&web(&server, &plan("60s"))).await;
    let admin = proxy.admin().to_string();
    let waiting = command(Some(&admin), &["drain", "--wait"])
        .spawn()
        .expect("run");
    proxy.until_event("shutdown_start", |_| true).await;
    good(run(Some(&admin), &["drain", "--cancel"]).await);
    let ended = within("the command", waiting.wait_with_output())
        .await
        .expect("run");
    assert_eq!(ended.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(complaint.contains("cancelled"), "{complaint}");
}

#[tokio::test]
async fn a_unix_socket_serves_as_well() {
    let server = Server::http1().await;
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("admin.sock");
    let address = format!("unix:{}", socket.display());
    let config = directory.path().join("ebbtide.toml");
    let admin = format!("[admin]\nlisten = \"{address}\"\n");
    std::fs::write(&config, web(&server, &(admin + &plan("0s")))).expect("write the config");
    let config = config.display().to_string();
    let mut proxy = command(None, &["run", &config]).spawn().expect("run");
    let up = async { while run(Some(&address), &["status"]).await.0 != Some(0) {} };
    within("the socket", up).await;
    let text = good(run(None, &["connections", "--admin", &address]).await);
    assert!(text.contains("0 connections"), "{text}");
    let receipt = waited(run(Some(&address), &["drain", "--wait"]).await);
    assert!(receipt.contains("Nothing lost"), "{receipt}");
    let status = within("its exit", proxy.wait()).await.expect("wait");
    assert_eq!(status.code(), Some(0));
    assert!(!socket.exists(), "the socket's file goes with the process");
}

#[tokio::test]
async fn what_is_asked_wrongly_is_a_usage_error() {
    for arguments in [
        &["drian"][..],
        &["drain", "--wait", "--cancel"],
        &["status", "--admin", "9900"],
        &["status", "extra"],
        &[],
    ] {
        let (code, result, complaint) = run(None, arguments).await;
        assert_eq!((code, result.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(!complaint.is_empty(), "{arguments:?}");
    }
    let (code, _, complaint) = run(Some("nowhere"), &["status"]).await;
    assert_eq!(code, Some(2), "{complaint}");
    let help = good(run(None, &["--help"]).await);
    assert!(help.contains("64 bad config"), "{help}");
}

#[tokio::test]
async fn configs_are_checked_and_described() {
    let server = Server::http1().await;
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("write a config");
        path.display().to_string()
    };
    let right = write("right.toml", &web(&server, &plan("5s")));
    let wrong = write("wrong.toml", &web(&server, "[drain]\ngrace = \"1s\"\n"));
    let missing = Path::new("/nonexistent/ebbtide.toml").display().to_string();
    assert!(good(run(None, &["check", &right]).await).starts_with("ok: "));
    for command in ["check", "run"] {
        for config in [&wrong, &missing] {
            let (code, result, complaint) = run(None, &[command, config]).await;
            assert_eq!((code, result.as_str()), (Some(64), ""), "{command}");
            assert!(complaint.contains(config.as_str()), "{complaint}");
        }
    }
    let schema = good(run(None, &["schema"]).await);
    let schema: Value = serde_json::from_str(&schema).expect("one document");
    assert!(schema["properties"]["drain"].is_object());
}
