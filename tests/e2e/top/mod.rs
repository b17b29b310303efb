//! `ebbtide top` and other commands in a terminal: a pseudo-terminal that the
//! test holds the other end of, and the screen that it shows.

mod tables;
mod terminal;
mod waiting;

use crate::support::clients::Raw;
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use std::net::SocketAddr;
use std::process::Stdio;
use terminal::Terminal;
use tokio::process::Command;

/// A drain in which no stage passes by itself.
const PLAN: &str = "[drain]\ngrace = \"10m\"\nannounce = \"0s\"\nspread = \"0s\"\n\
    finish = { http = \"60s\", grpc = \"60s\", websocket = \"60s\", tcp = \"60s\" }\n\
    farewell = \"60s\"\n";

async fn proxy(server: &Server, more: &str) -> Proxy {
    let config = format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
         [upstream.site]\nservers = [\"{}\"]\n{more}",
        server.address
    );
    Proxy::start(&config).await
}

async fn held(proxy: &Proxy, server: &Server) -> Raw {
    held_at(proxy.address("web"), server).await
}

async fn held_at(address: SocketAddr, server: &Server) -> Raw {
    let mut client = Raw::connect(address).await;
    let request = "GET /hold HTTP/1.1\r\nhost: localhost\r\n\r\n";
    client.send(request).await.expect("sent");
    let came = |seen: &crate::support::seen::Seen| seen.requests == 1;
    server.desk.until("the request", came).await;
    client
}

#[tokio::test]
async fn a_whole_drain_is_begun_and_watched_to_its_end() {
    let server = Server::http1().await;
    let mut proxy = proxy(&server, PLAN).await;
    let client = held(&proxy, &server).await;
    let mut top = Terminal::start(&proxy.admin().to_string(), &[]);
    top.until("the calm", |screen| {
        screen.contains("ACTIVE") && screen.contains("WOULD HOLD THE EXIT")
    })
    .await;
    top.press("\t").await;
    top.until("the list", |screen| {
        screen.contains("AGEv") && screen.contains("in_flight")
    })
    .await;
    top.press("/nobody\r").await;
    top.until("no line", |screen| screen.contains("no connections"))
        .await;
    top.press("\x1b").await;
    top.until("the line", |screen| {
        screen.contains("AGEv") && screen.contains("in_flight")
    })
    .await;
    top.press("\t").await;
    // Smaller, it still shows what matters.
    top.resize(8, 38);
    top.until("a small one", |screen| {
        screen.contains("38x8 is too small") && screen.contains("1 http1")
    })
    .await;
    top.resize(24, 80);
    top.until("the large one", |screen| screen.contains("EVENT"))
        .await;
    let asked = |screen: &str| screen.contains("Drain it, and end it?");
    top.press("d").await;
    top.until("a question", asked).await;
    top.press("n").await;
    top.until("no question", |screen| screen.contains("q quit"))
        .await;
    top.press("d").await;
    top.until("a question", asked).await;
    top.press("y").await;
    top.until("the drain", |screen| {
        screen.contains("DRAINING finish") && screen.contains("HOLDS THE EXIT")
    })
    .await;
    server.desk.release();
    assert_eq!(proxy.exit().await.code(), Some(0));
    // The last state stays, and says what it is.
    top.until("the end", |screen| {
        screen.contains("DRAINED, GONE")
            && screen.contains("Nothing lost: 1 finished")
            && screen.contains("Drain receipt")
    })
    .await;
    top.press("q").await;
    assert_eq!(top.ended().await, Some(0));
    drop(client);
}

#[tokio::test]
async fn a_drain_that_is_over_at_once_leaves_its_receipt() {
    let server = Server::http1().await;
    let mut proxy = proxy(&server, PLAN).await;
    let mut top = Terminal::start(&proxy.admin().to_string(), &[]);
    top.until("a picture", |screen| screen.contains("ACTIVE"))
        .await;
    top.press("d").await;
    top.until("a question", |screen| {
        screen.contains("Drain it, and end it?")
    })
    .await;
    top.press("y").await;
    assert_eq!(proxy.exit().await.code(), Some(0));
    top.until("the receipt", |screen| {
        screen.contains("DRAINED, GONE") && screen.contains("Drain receipt")
    })
    .await;
}

#[tokio::test]
async fn more_time_is_given() {
    let server = Server::http1().await;
    let proxy = proxy(&server, PLAN).await;
    let client = held(&proxy, &server).await;
    proxy.ask(http::Method::POST, "/v1/drain", "").await;
    let mut top = Terminal::start(&proxy.admin().to_string(), &[]);
    top.until("the drain", |screen| screen.contains("DRAINING finish"))
        .await;
    top.press("e").await;
    top.until("a time", |screen| screen.contains("More time: 30s"))
        .await;
    top.press("\r").await;
    top.until("a question", |screen| {
        screen.contains("Give its drain more time?")
    })
    .await;
    top.press("y").await;
    top.until("an answer", |screen| screen.contains("30s more were given"))
        .await;
    server.desk.release();
    drop(client);
}

#[tokio::test]
async fn a_server_is_chosen_drained_and_taken_back() {
    let (one, two) = (Server::http1().await, Server::http1().await);
    let config = format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
         [upstream.site]\nservers = [\"{}\", \"{}\"]\n",
        one.address, two.address
    );
    let proxy = Proxy::start(&config).await;
    let mut top = Terminal::start(&proxy.admin().to_string(), &[]);
    top.until("a picture", |screen| screen.contains("ACTIVE"))
        .await;
    for (question, state) in [
        ("Drain this server?", "drained"),
        ("Take this server back?", "up"),
    ] {
        top.press("s").await;
        let chosen = format!("> site/{}", one.address);
        top.until("a choice", |screen| screen.contains(&chosen))
            .await;
        top.press("\x1b[B").await;
        let chosen = format!("> site/{}", two.address);
        top.until("the other one", |screen| screen.contains(&chosen))
            .await;
        top.press("\r").await;
        top.until("a question", |screen| screen.contains(question))
            .await;
        top.press("y").await;
        let event = format!("server site/{} is {state}", two.address);
        top.until("its new state", |screen| screen.contains(&event))
            .await;
    }
}

#[tokio::test]
async fn keys_work_while_the_process_does_not_answer() {
    let scratch = tempfile::tempdir().expect("a directory");
    let admin = format!("unix:{}/admin.sock", scratch.path().display());
    let config = format!(
        "[admin]\nlisten = \"{admin}\"\n[listener.tcp]\nlisten = \"127.0.0.1:0\"\n\
         protocol = \"tcp\"\nupstream = \"echo\"\n[upstream.echo]\nservers = [\"127.0.0.1:1\"]\n"
    );
    let proxy = Proxy::start_as(&config, Proxy::command());
    proxy
        .until_event("phase", |line| line["phase"] == "active")
        .await;
    let mut top = Terminal::start(&admin, &[]);
    top.until("a picture", |screen| screen.contains("ACTIVE"))
        .await;
    proxy.signal(Signal::STOP);
    top.until("that it is slow", |screen| screen.contains("no answer for"))
        .await;
    top.press("?").await;
    top.until("the keys", |screen| screen.contains("WORDS"))
        .await;
    top.press("x").await;
    top.until("the page", |screen| screen.contains("WOULD HOLD"))
        .await;
    proxy.signal(Signal::CONT);
    top.until("that it answers", |screen| {
        !screen.contains("no answer for") && screen.contains("ACTIVE")
    })
    .await;
    top.press("q").await;
    assert_eq!(top.ended().await, Some(0));
}

#[tokio::test]
async fn the_terminal_is_given_back_by_every_end() {
    let server = Server::http1().await;
    let proxy = proxy(&server, PLAN).await;
    for end in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT] {
        let mut top = Terminal::start(&proxy.admin().to_string(), &[]);
        top.until("a picture", |screen| screen.contains("ACTIVE"))
            .await;
        assert!(top.is_borrowed());
        top.signal(end);
        assert_eq!(top.ended().await, Some(0), "{end:?}");
        assert!(!top.is_borrowed(), "{end:?}");
    }
    let mut top = Terminal::start(&proxy.admin().to_string(), &[]);
    top.until("a picture", |screen| screen.contains("ACTIVE"))
        .await;
    top.press("\x03").await;
    assert_eq!(top.ended().await, Some(0));
    assert!(!top.is_borrowed());
}

#[tokio::test]
async fn without_colours_none_are_sent() {
    let server = Server::http1().await;
    let proxy = proxy(&server, PLAN).await;
    for (environment, coloured) in [(&[][..], true), (&[("NO_COLOR", "1")], false)] {
        let mut top = Terminal::start(&proxy.admin().to_string(), environment);
        top.until("a picture", |screen| screen.contains("ACTIVE"))
            .await;
        assert_eq!(top.has_colours(), coloured);
        top.press("q").await;
        assert_eq!(top.ended().await, Some(0));
    }
}

#[tokio::test]
async fn where_there_is_no_terminal_it_says_so_and_prints_one_picture() {
    let server = Server::http1().await;
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"s3cret\"\n";
    let proxy = proxy(&server, &format!("{admin}{PLAN}")).await;
    let address = proxy.admin().to_string();
    for (arguments, token, code, says) in [
        (&["top"][..], "s3cret", 1, "--once"),
        (&["top", "--once"], "", 1, "EBBTIDE_TOKEN"),
        (&["top", "--json"], "s3cret", 1, "status --json"),
        (&["top", "--once"], "s3cret", 0, "SERVER"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
        command.args(arguments).env("EBBTIDE_ADMIN", &address);
        command.env_remove("EBBTIDE_TOKEN").stdin(Stdio::null());
        if !token.is_empty() {
            command.env("EBBTIDE_TOKEN", token);
        }
        let ended = command.output().await.expect("run");
        let said = [ended.stdout, ended.stderr].concat();
        let said = String::from_utf8(said).expect("text");
        assert_eq!(ended.status.code(), Some(code), "{said}");
        assert!(said.contains(says) && !said.contains('\x1b'), "{said}");
    }
}
