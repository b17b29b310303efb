//! gRPC-Web that ends before its time: always with a last frame that says so,
//! and always behind a whole message.

use super::Scene;
use super::web_client::{Answer, Form, Web, line};
use crate::drain::scene::{Plan, ended};
use crate::support::clients::Reply;
use crate::support::proxy::{Proxy, Signal};
use crate::support::seen::Seen;
use crate::support::servers::Server;
use crate::support::within;
use bytes::Bytes;
use std::net::SocketAddr;
use tokio::task::JoinHandle;

/// Only gRPC comes to its deadline.
const SHORT: Plan = Plan {
    grpc: "600ms",
    ..Plan::CALM
};

/// Calls of a method, one for each version and form.
async fn calls(
    address: SocketAddr,
    method: &'static str,
    fields: &'static [(&'static str, &'static str)],
) -> Vec<JoinHandle<(Result<Reply, String>, Form)>> {
    let all = Web::all(address).await.into_iter();
    all.map(|mut web| {
        tokio::spawn(async move {
            let reply = web.reply(method, &[line("line", 1)], fields).await;
            (reply, web.form)
        })
    })
    .collect()
}

async fn answers(calls: Vec<JoinHandle<(Result<Reply, String>, Form)>>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for call in calls {
        let (reply, form) = within("an end", call).await.expect("the task");
        answers.push(Answer::of(&reply.expect("in order"), form));
    }
    answers
}

fn four(seen: &Seen) -> bool {
    seen.requests == 4
}

#[tokio::test]
async fn a_drain_ends_open_streams_with_its_name() {
    let mut scene = Scene::start(&SHORT.to_string()).await;
    let calls = calls(scene.proxy.address("clear"), "Watch", &[]).await;
    scene.lines.desk.until("the calls", four).await;
    scene.proxy.signal(Signal::TERM);
    for answer in answers(calls).await {
        assert_eq!(answer.status(), "14");
        assert!(
            answer
                .trailer("grpc-message")
                .expect("a message")
                .contains("drain")
        );
        // The parser would have found half a message.
        for (number, one) in (0..).zip(answer.lines()) {
            assert_eq!(one, line("line", number));
        }
    }
    let desk = scene.lines.desk.clone();
    desk.until("their ends", |seen| seen.cancelled == 4).await;
    let sums = ended(&mut scene.proxy).await;
    assert_eq!((sums.farewelled, sums.cut), (4, 0));
}

#[tokio::test]
async fn a_drain_tells_calls_that_were_not_answered() {
    let mut scene = Scene::start(&SHORT.to_string()).await;
    let calls = calls(scene.proxy.address("clear"), "Hold", &[]).await;
    scene.lines.desk.until("the calls", four).await;
    scene.proxy.signal(Signal::TERM);
    for answer in answers(calls).await {
        assert_eq!((answer.status(), answer.messages.len()), ("14", 0));
        assert!(
            answer
                .trailer("grpc-message")
                .expect("a message")
                .contains("drain")
        );
    }
    let sums = ended(&mut scene.proxy).await;
    assert_eq!((sums.farewelled, sums.cut), (4, 0));
}

#[tokio::test]
async fn a_deadline_ends_an_open_stream() {
    let scene = Scene::start("").await;
    let fields = &[("grpc-timeout", "300m")];
    let calls = calls(scene.proxy.address("clear"), "Watch", fields).await;
    for answer in answers(calls).await {
        assert_eq!(answer.status(), "4", "{answer:?}");
        for (number, one) in (0..).zip(answer.lines()) {
            assert_eq!(one, line("line", number));
        }
    }
    let desk = scene.lines.desk.clone();
    desk.until("their ends", |seen| seen.cancelled == 4).await;
}

/// A proxy before a server that knows nothing of gRPC.
async fn plain(more: &str) -> (Server, Proxy) {
    let server = Server::http2().await;
    let address = server.address;
    let proxy = Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\ngrpc_web = true\n\
         routes = [{{ upstream = \"site\" }}]\n\n\
         [upstream.site]\nservers = [\"{address}\"]\nhttp = \"h2\"\n{more}"
    ))
    .await;
    (server, proxy)
}

#[tokio::test]
async fn a_deadline_ends_a_call_that_is_not_answered() {
    let (server, proxy) = plain("").await;
    for mut web in Web::all(proxy.address("web")).await {
        let fields = [("grpc-timeout", "200m")];
        let reply = web.post("/hold", Bytes::new(), &fields).await;
        let answer = Answer::of(&reply.expect("in order"), web.form);
        assert_eq!(answer.status(), "4");
    }
    let ended = server.desk.until("CANCEL", |seen| seen.reasons.len() == 4);
    ended.await;
}
