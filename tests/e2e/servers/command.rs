//! `ebbtide drain --server`.

use super::{Pair, asks};
use crate::support::clients::Raw;
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use crate::support::within;
use serde_json::Value;
use std::process::{Output, Stdio};
use tokio::process::Command;

async fn run(proxy: &Proxy, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
    command
        .args(arguments)
        .env("EBBTIDE_ADMIN", proxy.admin().to_string())
        .env_remove("EBBTIDE_TOKEN")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let Output {
        status,
        stdout,
        stderr,
    } = within("the command", command.output()).await.expect("run");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

#[tokio::test]
async fn a_server_is_drained_and_taken_back_by_command() {
    let pair = Pair::http1().await;
    let client = asks(&pair.proxy, "/hold").await;
    let drained = pair.with_requests(1).await;
    let name = format!("site/{}", drained.address);
    let begun = run(
        &pair.proxy,
        &["drain", "--server", &name, "--finish", "30s"],
    )
    .await;
    assert_eq!(begun.0, Some(0), "{begun:?}");
    assert!(begun.1.contains("no new requests"), "{}", begun.1);
    assert!(begun.1.contains("in flight: 1 http1"), "{}", begun.1);
    let status = run(&pair.proxy, &["status"]).await.1;
    let row = status
        .lines()
        .find(|row| row.contains(&name["site/".len()..]));
    let row: Vec<&str> = row.unwrap_or_default().split_whitespace().collect();
    assert!(row.ends_with(&["up", "draining", "1"]), "{status}");
    let back = run(
        &pair.proxy,
        &["drain", "--server", &name, "--cancel", "--json"],
    )
    .await;
    assert_eq!(back.0, Some(0), "{back:?}");
    let back: Value = serde_json::from_str(&back.1).expect("one document");
    assert_eq!(back["state"], "serving");
    drained.desk.release();
    let waited = run(&pair.proxy, &["drain", "--server", &name, "--wait"]).await;
    assert_eq!(waited.0, Some(0), "{waited:?}");
    let title = format!("Drain receipt of server {name}");
    assert!(waited.1.starts_with(&title), "{}", waited.1);
    assert!(waited.1.contains("Nothing lost"), "{}", waited.1);
    let unknown = run(&pair.proxy, &["drain", "--server", "site/nobody"]).await;
    assert_eq!(unknown.0, Some(1));
    assert!(
        unknown.2.contains(&drained.address.to_string()),
        "{unknown:?}"
    );
    drop(client);
    pair.over().await;
}

#[tokio::test]
async fn who_waits_learns_that_something_was_cut() {
    let servers = [Server::tcp().await, Server::tcp().await];
    let pair = Pair::start_with(servers, "", "100ms").await;
    let mut stays = Raw::connect(pair.proxy.address("tcp")).await;
    stays.send("hello\n").await.expect("sent");
    stays.read_until("hello\n").await.expect("an echo");
    let drained = pair.with_requests(1).await;
    let name = format!("site/{}", drained.address);
    let waited = run(
        &pair.proxy,
        &["drain", "--server", &name, "--wait", "--finish", "0s"],
    )
    .await;
    assert_eq!(waited.0, Some(3), "{waited:?}");
    assert!(waited.1.contains("server drained"), "{}", waited.1);
    drop(stays);
    pair.over().await;
}

#[tokio::test]
async fn a_reload_that_is_waited_for_waits_for_its_servers() {
    let pair = Pair::http1().await;
    let mut client = asks(&pair.proxy, "/hold").await;
    let gone = pair.with_requests(1).await;
    let other = pair.other(gone);
    let config = super::config(&[other], "", &super::plan("60s"));
    pair.proxy.write_config(&config);
    let ((), done) = tokio::join!(
        async {
            let removed = async { while pair.progress(gone).await["removed"] != true {} };
            within("its removal", removed).await;
            gone.desk.release();
        },
        run(&pair.proxy, &["reload", "--wait"])
    );
    assert_eq!(done.0, Some(0), "{done:?}");
    assert!(
        done.1.contains("drains 1 server (1 in flight)"),
        "{}",
        done.1
    );
    client.read_until("held").await.expect("the answer");
    assert_eq!(pair.progress(gone).await["state"], "drained");
    drop(client);
    pair.over().await;
}
