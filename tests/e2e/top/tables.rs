//! What the commands that look print: as tables, on a terminal and off it, and
//! as JSON; over TCP and over a Unix socket.

use super::{PLAN, held, held_at};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use crate::support::within;
use crate::top::terminal::Terminal;
use serde_json::Value;
use std::process::Stdio;
use tokio::process::Command;

/// A command that is not on a terminal; its exit code and all that it said.
async fn said(admin: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
    command.args(arguments).env("EBBTIDE_ADMIN", admin);
    command.env_remove("EBBTIDE_TOKEN").stdin(Stdio::null());
    let output = within("the command", command.output()).await.expect("run");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("text");
    (output.status.code(), said)
}

async fn json(admin: &str, arguments: &[&str]) -> Value {
    let (code, said) = said(admin, &[arguments, &["--json"]].concat()).await;
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&said).expect("JSON")
}

/// Two listeners, one request in flight; by TCP and by a Unix socket.
fn config(server: &Server, admin: &str) -> String {
    format!(
        "[admin]\nlisten = \"{admin}\"\n\
         [listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
         [listener.other]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
         [upstream.site]\nservers = [\"{}\"]\n{PLAN}",
        server.address
    )
}

#[tokio::test]
async fn tables_and_json_say_the_same_over_tcp_and_a_socket() {
    let scratch = tempfile::tempdir().expect("a directory");
    let socket = format!("unix:{}/admin.sock", scratch.path().display());
    for place in ["127.0.0.1:0", &socket] {
        let server = Server::http1().await;
        let config = config(&server, place);
        let proxy = Proxy::start_as(&config, Proxy::command());
        let bound = proxy.until_event("admin", |_| true).await;
        let admin = bound["address"].as_str().expect("an address").to_owned();
        let web = proxy.until_event("listening", |line| line["listener"] == "web");
        let web = web.await["address"].as_str().and_then(|at| at.parse().ok());
        proxy
            .until_event("phase", |line| line["phase"] == "active")
            .await;
        let client = held_at(web.expect("an address"), &server).await;
        let (_, status) = said(&admin, &["status"]).await;
        let site = format!("site      {}  up", server.address);
        for part in ["LISTENER  ADDRESS", "1 http1", "UPSTREAM  SERVER", &site] {
            assert!(status.contains(part), "{part}\n{status}");
        }
        assert_eq!(json(&admin, &["status"]).await["in_flight"]["http1"], 1);
        let by_web = ["connections", "--sort", "age", "--listener", "web"];
        let (_, connections) = said(&admin, &by_web).await;
        assert!(connections.contains("WAITS FOR") && connections.ends_with("\n1 connection\n"));
        let other = ["connections", "--listener", "other"];
        assert!(said(&admin, &other).await.1.ends_with("0 connections\n"));
        let all = json(&admin, &["connections"]).await;
        assert_eq!(
            json(&admin, &by_web).await["connections"][0]["id"],
            all["connections"][0]["id"]
        );
        assert_eq!(
            json(&admin, &other).await["connections"],
            Value::Array(Vec::new())
        );
        assert!(said(&admin, &["forecast"]).await.1.contains("1 in flight"));
        assert_eq!(json(&admin, &["forecast"]).await["all"]["in_flight"], 1);
        let (code, none) = said(&admin, &["receipt"]).await;
        assert!(code == Some(1) && none.contains("yet"), "{none}");
        let drained = ["drain", "--listener", "other", "--wait"];
        assert_eq!(said(&admin, &drained).await.0, Some(0));
        let (code, receipt) = said(&admin, &["receipt", "--listener", "other"]).await;
        assert!(
            code == Some(0) && receipt.contains("of listener other"),
            "{receipt}"
        );
        let receipt = json(&admin, &["receipt", "--listener", "other"]).await;
        assert_eq!(receipt["listener"], "other");
        server.desk.release();
        drop(client);
    }
}

#[tokio::test]
async fn a_table_has_the_width_of_its_terminal() {
    let server = Server::http1().await;
    let proxy = super::proxy(&server, PLAN).await;
    let client = held(&proxy, &server).await;
    let admin = proxy.admin().to_string();
    for (columns, fits) in [(80, false), (160, true)] {
        let arguments = ["connections", "--admin", &admin];
        let mut terminal = Terminal::with(&arguments, &[], (24, columns));
        assert_eq!(terminal.ended().await, Some(0));
        let text = terminal.text();
        assert!(text.contains("1 http1 in"), "{text}");
        assert_eq!(text.contains("  RECEIVED  "), fits, "{text}");
        assert_eq!(text.contains("(no room for: "), !fits, "{text}");
        // A line that was wider would go on in the next row.
        let rows = text.lines().filter(|line| !line.is_empty()).count();
        assert_eq!(rows, if fits { 3 } else { 4 }, "{text}");
        assert!(!terminal.has_colours());
    }
    let (_, off) = said(&admin, &["connections"]).await;
    assert!(off.contains("SENT") && !off.contains('\x1b'), "{off}");
    server.desk.release();
    drop(client);
}
