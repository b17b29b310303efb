//! gRPC-Web made gRPC: calls of every kind between every version and form.

use super::web_client::{Answer, Form, Web, framed, line};
use super::{NOT_SERVING, SERVING, Scene};
use crate::support::clients::{Http1, Http2};
use crate::support::servers::SERVICE;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};

#[tokio::test]
async fn calls_pass_in_either_form_over_either_version() {
    let scene = Scene::start("").await;
    for mut web in Web::all(scene.proxy.address("clear")).await {
        for text in ["", "x", "hello", &"long ".repeat(50_000)] {
            let answer = web.call("Echo", &[line(text, 7)]).await;
            assert_eq!(answer.lines(), [line(text, 7)]);
            assert_eq!(answer.status(), "0");
        }
        let answer = web.call("Count", &[line("line", 300)]).await;
        let numbers: Vec<_> = answer.lines().iter().map(|line| line.number).collect();
        assert_eq!(numbers, (0..300).collect::<Vec<_>>());
        let three = ["a", "b", "c"].map(|text| line(text, 0));
        let answer = web.call("Collect", &three).await;
        assert_eq!(answer.lines(), [line("abc", 3)]);
        let answer = web.call("Chat", &three).await;
        assert_eq!(answer.lines(), three);
    }
}

#[tokio::test]
async fn the_server_is_spoken_to_in_grpc() {
    let scene = Scene::start("").await;
    for mut web in Web::all(scene.proxy.address("clear")).await {
        let fields = [("x-user-agent", "web"), ("grpc-timeout", "9S")];
        let reply = web.reply("Echo", &[line("x", 0)], &fields).await;
        let answer = Answer::of(&reply.expect("in order"), web.form);
        assert_eq!(answer.status(), "0");
        let head = scene.lines.desk.seen().heads.pop().expect("a head");
        for field in [
            "content-type: application/grpc+proto",
            "te: trailers",
            "x-user-agent: web",
            "grpc-timeout: 9S",
        ] {
            assert!(head.lines().any(|line| line == field), "{field}: {head}");
        }
        assert!(!head.contains("grpc-web"), "{head}");
    }
}

#[tokio::test]
async fn a_server_s_status_is_the_last_frame() {
    let scene = Scene::start("").await;
    for mut web in Web::all(scene.proxy.address("clear")).await {
        let answer = web.call("Nothing", &[line("x", 0)]).await;
        assert_eq!((answer.status(), answer.messages.len()), ("12", 0));
        assert_eq!(answer.trailer("grpc-message"), Some("Nothing"));
    }
}

#[tokio::test]
async fn what_the_proxy_says_itself_is_said_in_this_form() {
    let scene = Scene::start("").await;
    for mut web in Web::all(scene.proxy.address("clear")).await {
        assert_eq!(web.check("orders").await.said(), Some(SERVING));
        assert_eq!(web.check("nobody").await.status(), "5");
    }
    scene.lines.stop_accepting();
    let server = scene.lines.address;
    let path = format!("/v1/upstreams/lines/servers/{server}/drain");
    let asked = scene.proxy.ask(Method::POST, &path, "").await;
    assert_eq!(asked.status, 202, "{asked:?}");
    for mut web in Web::all(scene.proxy.address("clear")).await {
        let answer = web.call("Echo", &[line("x", 0)]).await;
        assert_eq!(answer.status(), "14", "{answer:?}");
        assert!(answer.trailer("grpc-message").is_some());
        assert_eq!(web.check(SERVICE).await.said(), Some(NOT_SERVING));
    }
}

#[tokio::test]
async fn a_text_may_be_cut_and_padded_anywhere() {
    let scene = Scene::start("").await;
    let message = framed(&line("hello, world", 12));
    for at in 0..=message.len() {
        let pieces = [message.slice(..at), message.slice(at..)];
        let body = Form::Text.write(&pieces);
        let mut web = Web::http2(scene.proxy.address("clear"), Form::Text).await;
        let reply = web.post(&format!("/{SERVICE}/Echo"), body, &[]).await;
        let answer = Answer::of(&reply.expect("in order"), Form::Text);
        assert_eq!(answer.lines(), [line("hello, world", 12)], "cut at {at}");
    }
}

#[tokio::test]
async fn what_is_not_base64_reaches_no_method() {
    let scene = Scene::start("").await;
    let address = scene.proxy.address("clear");
    for mut web in [
        Web::http1(address, Form::Text).await,
        Web::http2(address, Form::Text).await,
    ] {
        let path = format!("/{SERVICE}/Echo");
        let reply = web.post(&path, "AAAA\nAAA=".into(), &[]).await;
        let answer = Answer::of(&reply.expect("in order"), Form::Text);
        assert_eq!((answer.status(), answer.messages.len()), ("13", 0));
    }
    assert_eq!(scene.lines.desk.seen().finished, 0);
}

#[tokio::test]
async fn the_client_says_in_which_form_it_reads() {
    let scene = Scene::start("").await;
    let address = scene.proxy.address("clear");
    for (sends, reads) in [(Form::Text, Form::Binary), (Form::Binary, Form::Text)] {
        let mut web = Web::http1(address, sends).await;
        let accept = [("accept", reads.kind())];
        let reply = web.reply("Echo", &[line("x", 1)], &accept).await;
        let answer = Answer::of(&reply.expect("in order"), reads);
        assert_eq!(answer.lines(), [line("x", 1)]);
    }
}

#[tokio::test]
async fn a_preflight_is_the_server_s_to_answer() {
    let scene = Scene::start("").await;
    let mut client = Http1::connect(scene.proxy.address("clear")).await;
    let request = Request::options(format!("/{SERVICE}/Echo"))
        .header("host", "localhost")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-grpc-web")
        .body(Empty::new().boxed_unsync())
        .expect("a request");
    client.send(request).await.expect("an answer");
    let head = scene.lines.desk.seen().heads.pop().expect("a head");
    assert!(head.starts_with("OPTIONS "), "{head}");
}

#[tokio::test]
async fn without_the_key_it_passes_as_it_is() {
    let scene = Scene::start("").await;
    let client = Http2::connect(scene.proxy.address("plain")).await;
    let request = Request::post(format!("http://localhost/{SERVICE}/Echo"))
        .header("content-type", "application/grpc-web+proto")
        .body(())
        .expect("a request");
    let (response, mut upload) = client.open(request, false).await.expect("a stream");
    upload.send_data(framed(&line("x", 0)), true).expect("room");
    crate::support::within("a head", response)
        .await
        .expect("a head");
    let head = scene.lines.desk.seen().heads.pop().expect("a head");
    assert!(head.contains("content-type: application/grpc-web+proto"));
}
