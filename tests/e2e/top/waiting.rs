//! `ebbtide drain --wait`: what it tells while the drain goes on, on a terminal
//! and off it, and what Ctrl-C does to it.

use super::{PLAN, held, proxy};
use crate::support::servers::Server;
use crate::support::within;
use crate::top::terminal::Terminal;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

#[tokio::test]
async fn a_terminal_has_one_line_that_is_drawn_again() {
    let server = Server::http1().await;
    let mut proxy = proxy(&server, PLAN).await;
    let client = held(&proxy, &server).await;
    let admin = proxy.admin().to_string();
    let waiting = ["drain", "--wait", "--admin", &admin];
    let mut terminal = Terminal::with(&waiting, &[], (24, 120));
    let told = |screen: &str| {
        let parts = [
            "finish ",
            "[--",
            " of 2m00s at most",
            "1 in flight (1 http1)",
        ];
        let one_line = screen.trim_end().lines().count() == 1;
        one_line && parts.iter().all(|part| screen.contains(part))
    };
    terminal.until("how far it is", told).await;
    let before = terminal.text();
    terminal
        .until("that time goes on", |screen| {
            told(screen) && screen != before
        })
        .await;
    server.desk.release();
    assert_eq!(terminal.ended().await, Some(0));
    let text = terminal.text();
    assert!(text.starts_with("Drain receipt: started by"), "{text}");
    assert!(!text.contains("at most"), "the line has gone\n{text}");
    assert_eq!(proxy.exit().await.code(), Some(0));
    drop(client);
}

#[tokio::test]
async fn a_log_has_one_line_for_each_stage() {
    let server = Server::http1().await;
    let proxy = proxy(&server, PLAN).await;
    let client = held(&proxy, &server).await;
    let mut waiting = Command::new(env!("CARGO_BIN_EXE_ebbtide"))
        .args(["drain", "--wait", "--json"])
        .env("EBBTIDE_ADMIN", proxy.admin().to_string())
        .env_remove("EBBTIDE_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("run");
    let mut told = BufReader::new(waiting.stderr.take().expect("piped")).lines();
    let mut lines = Vec::new();
    while !lines
        .last()
        .is_some_and(|line: &String| line.starts_with("finish: "))
    {
        let next = within("a line", told.next_line()).await.expect("text");
        lines.push(next.expect("it goes on"));
    }
    server.desk.release();
    let status = within("its exit", waiting.wait()).await.expect("wait");
    assert_eq!(status.code(), Some(0));
    while let Some(line) = told.next_line().await.expect("text") {
        lines.push(line);
    }
    for line in &lines {
        assert!(
            line.contains(" of 2m00s") && !line.contains(['\r', '\x1b']),
            "{line:?}"
        );
    }
    let mut stages: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split(':').next())
        .collect();
    let all = stages.len();
    stages.dedup();
    assert_eq!(stages.len(), all, "{lines:?}");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("; 1 in flight (1 http1)")),
        "{lines:?}"
    );
    let mut receipt = String::new();
    let mut out = waiting.stdout.take().expect("piped");
    out.read_to_string(&mut receipt).await.expect("text");
    let receipt: serde_json::Value = serde_json::from_str(&receipt).expect("one document");
    assert_eq!(receipt["complete"], true);
    drop(client);
}

#[tokio::test]
async fn ctrl_c_ends_the_waiting_and_not_the_drain() {
    let server = Server::http1().await;
    let mut proxy = proxy(&server, PLAN).await;
    let client = held(&proxy, &server).await;
    let admin = proxy.admin().to_string();
    let waiting = ["drain", "--wait", "--admin", &admin];
    let mut terminal = Terminal::with(&waiting, &[], (24, 120));
    terminal
        .until("how far it is", |screen| screen.contains("1 in flight"))
        .await;
    terminal.press("\x03").await;
    assert_eq!(terminal.ended().await, Some(130));
    let text = terminal.text();
    assert!(text.contains("the drain goes on"), "{text}");
    assert!(text.contains("ebbtide drain --wait"), "{text}");
    assert_eq!(proxy.json("/v1/drain").await["draining"], true);
    server.desk.release();
    assert_eq!(proxy.exit().await.code(), Some(0));
    drop(client);
}

#[tokio::test]
async fn a_server_is_waited_for_like_a_process() {
    let (one, two) = (Server::http1().await, Server::http1().await);
    let more = format!("[upstream.other]\nservers = [\"{}\"]\n{PLAN}", two.address);
    let proxy = proxy(&one, &more).await;
    let client = held(&proxy, &one).await;
    let admin = proxy.admin().to_string();
    let name = format!("site/{}", one.address);
    let waiting = ["drain", "--server", &name, "--wait", "--admin", &admin];
    let mut terminal = Terminal::with(&waiting, &[], (24, 120));
    terminal
        .until("how far it is", |screen| {
            screen.contains("1 in flight (1 http1)") && screen.contains("of 2m00s")
        })
        .await;
    one.desk.release();
    assert_eq!(terminal.ended().await, Some(0));
    assert!(terminal.text().contains("Drain receipt of server"));
    drop(client);
}
