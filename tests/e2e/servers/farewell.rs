//! What clients get when the deadline of their server comes: the farewell of
//! their protocol. Siblings on the other server get nothing of it.

use super::{Pair, asks, told};
use crate::drain::scene::call;
use crate::support::clients::{Ended, Grpc, Http1, Http2, Raw, WebSocket, connect};
use crate::support::servers::Server;
use crate::support::within;
use serde_json::json;

/// Long enough to see that it is in flight, in a test that drains first.
const SOON: &str = "{\"finish\":\"300ms\"}";
/// The deadline comes at once.
const NOW: &str = "{\"finish\":\"0s\"}";

#[tokio::test]
async fn an_unanswered_http1_request_gets_503_and_may_try_again() {
    let pair = Pair::http1().await;
    let mut client = asks(&pair.proxy, "/hold").await;
    let drained = pair.with_requests(1).await;
    let other = pair.other(drained);
    let mut sibling = asks(&pair.proxy, "/hold").await;
    other.desk.until("it", |seen| seen.requests == 1).await;
    let begun = pair.drain(drained, SOON).await;
    assert_eq!(begun["state"], "draining");
    assert_eq!(begun["in_flight"]["http1"], 1);
    assert!(begun["oldest_ms"].is_u64(), "{begun}");
    let head = client.head().await.expect("a head").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 503 "), "{head}");
    assert!(head.contains("\r\nretry-after: "), "{head}");
    assert!(!head.contains("connection: close"), "{head}");
    client.read_until("drain of its server").await.expect("why");
    drained
        .desk
        .until("its end", |seen| seen.cancelled == 1)
        .await;
    let receipt = pair.receipt(drained).await;
    assert_eq!(
        told(&receipt),
        ["http1 farewelled unanswered server_drained"]
    );
    let server = format!("site/{}", drained.address);
    assert_eq!(receipt["server"], server.as_str());
    assert_eq!(receipt["told"][0]["server"], server.as_str());
    assert_eq!(
        receipt["requests"],
        json!({ "http1": { "opened": 1, "finished": 0, "farewelled": 1, "cut": 0 } })
    );
    other.desk.release();
    sibling.read_until("held").await.expect("the answer");
    // On the same connection, by the server that is left.
    let again = "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send(again).await.expect("sent");
    client.read_until("held").await.expect("the answer");
    let line = format!(
        "ebbtide_upstream_drained_total{{upstream=\"site\",server=\"{}\",outcome=\"farewelled\"}} 1",
        drained.address
    );
    let metrics = pair.proxy.get("/metrics").await;
    assert!(metrics.text().contains(&line), "{}", metrics.text());
    let logged = pair.proxy.until_event("told", |_| true).await;
    assert_eq!(logged["why"], "server_drained");
    drop((client, sibling));
    let sums = pair.over().await;
    assert_eq!((sums.farewelled, sums.cut), (0, 0), "that was before");
}

#[tokio::test]
async fn a_begun_http1_response_ends_without_its_last_chunk() {
    let pair = Pair::http1().await;
    let mut client = asks(&pair.proxy, "/begin").await;
    client.read_until("begun\r\n").await.expect("a piece");
    let drained = pair.with_requests(1).await;
    let mut sibling = asks(&pair.proxy, "/begin").await;
    sibling.read_until("begun\r\n").await.expect("a piece");
    pair.drain(drained, NOW).await;
    assert_eq!(client.rest().await, (Vec::new(), Ended::Fin));
    assert_eq!(
        told(&pair.receipt(drained).await),
        ["http1 farewelled truncated server_drained"]
    );
    pair.other(drained).desk.release();
    sibling.read_until("done").await.expect("the rest");
    drop(sibling);
    pair.over().await;
}

#[tokio::test]
async fn an_event_stream_ends_between_two_events() {
    let pair = Pair::http1().await;
    let mut client = Http1::connect(pair.proxy.address("web")).await;
    let response = client.send(Http1::request("/events")).await;
    let drained = pair.with_requests(1).await;
    pair.drain(drained, SOON).await;
    let reply = Http1::whole(response.expect("a head")).await;
    let reply = reply.expect("an end in order");
    assert!(reply.text().ends_with("\n\n"), "{}", reply.text());
    assert_eq!(
        told(&pair.receipt(drained).await),
        ["http1 farewelled event_stream server_drained"]
    );
    // The connection is none of the server's.
    let next = client.get("/").await.expect("an answer");
    assert_eq!(next.status, 200);
    drop(client);
    pair.over().await;
}

#[tokio::test]
async fn http2_streams_end_one_by_one_on_a_connection_that_goes_on() {
    let servers = [Server::http2().await, Server::http2().await];
    let pair = Pair::in_turn(servers, "http = \"h2\"").await;
    let client = Http2::connect(pair.proxy.address("web")).await;
    let mut begun = client.begin("/begin").await.expect("a head");
    let piece = within("a piece", begun.body_mut().data()).await;
    assert_eq!(piece.expect("a piece").expect("a piece"), "begun");
    let drained = pair.with_requests(1).await;
    let other = pair.other(drained);
    let sibling = client.begin("/begin").await.expect("a head");
    other.desk.until("it", |seen| seen.requests == 1).await;
    // The third is on the first's server again.
    let held = client.open(Http2::request("/hold"), true).await;
    let (held, _) = held.expect("a stream");
    drained.desk.until("it", |seen| seen.requests == 2).await;
    pair.drain(drained, NOW).await;
    let response = within("a head", held).await.expect("a head");
    let reply = Http2::whole(response).await.expect("an answer");
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains("drain of its server"), "{reply:?}");
    let error = within("a reset", begun.body_mut().data()).await;
    let error = error.expect("an end").expect_err("a reset");
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    drained
        .desk
        .until("CANCEL, twice", |seen| seen.reasons == ["CANCEL", "CANCEL"])
        .await;
    // With its last stream the connection to the server goes.
    drained.desk.until("its end", |seen| seen.open == 0).await;
    let mut names = told(&pair.receipt(drained).await);
    names.sort();
    assert_eq!(
        names,
        [
            "http2 farewelled reset server_drained",
            "http2 farewelled unanswered server_drained"
        ]
    );
    other.desk.release();
    let reply = Http2::whole(sibling).await.expect("the rest");
    assert_eq!(reply.text(), "begundone");
    assert_eq!(client.get("/").await.expect("an answer").status, 200);
    drop(client);
    pair.over().await;
}

#[tokio::test]
async fn grpc_calls_get_status_14_that_names_the_server() {
    let servers = [Server::grpc().await, Server::grpc().await];
    let pair = Pair::in_turn(servers, "http = \"h2\"").await;
    let client = Http2::connect(pair.proxy.address("web")).await;
    let (response, mut upload) = call(&client, "Watch").await;
    upload.send_data(bytes::Bytes::new(), true).expect("an end");
    let response = within("a head", response).await.expect("a head");
    let drained = pair.with_requests(1).await;
    let sibling = Grpc::connect(pair.proxy.address("web")).await;
    let mut lines = sibling.watch().await.expect("a stream");
    // The next on that connection is on the first's server again.
    let unary = tokio::spawn(async move { sibling.hold("later").await });
    drained.desk.until("it", |seen| seen.requests == 2).await;
    pair.drain(drained, NOW).await;
    let reply = Http2::whole(response).await.expect("an end in order");
    let trailers = reply.trailers.expect("trailers");
    assert_eq!(trailers["grpc-status"], "14");
    let message = trailers["grpc-message"].to_str().expect("text");
    assert!(message.contains("drain of its server"), "{message}");
    let status = within("the call", unary).await.expect("the task");
    let status = status.expect_err("a status");
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(
        status.message().contains("drain of its server"),
        "{status:?}"
    );
    drained
        .desk
        .until("their ends", |seen| seen.cancelled == 2)
        .await;
    let mut names = told(&pair.receipt(drained).await);
    names.sort();
    assert_eq!(
        names,
        [
            "grpc farewelled grpc_trailers server_drained",
            "grpc farewelled grpc_trailers_only server_drained"
        ]
    );
    let line = within("a line", lines.message()).await;
    assert!(line.expect("no status").is_some(), "it goes on");
    drop((client, lines));
    pair.over().await;
}

#[tokio::test]
async fn websockets_get_close_1001_on_both_sides() {
    let servers = [Server::websocket().await, Server::websocket().await];
    let pair = Pair::in_turn(servers, "").await;
    let address = pair.proxy.address("web");
    let mut first = WebSocket::connect(address, "/chat").await;
    assert_eq!(first.echo("hello").await.expect("an echo"), "hello");
    let drained = pair.with_requests(1).await;
    let mut sibling = WebSocket::connect(address, "/chat").await;
    // One more on the first's server, over a stream of HTTP/2.
    let client = Http2::over(connect(address).await).await;
    let stream = WebSocket::over_stream(&client, "/chat").await;
    drained.desk.until("it", |seen| seen.requests == 2).await;
    let begun = pair.drain(drained, NOW).await;
    assert_eq!(begun["in_flight"]["websocket"], 2);
    for socket in [first, stream] {
        let (code, reason) = socket.closed().await.expect("a Close");
        assert_eq!(code, 1001);
        assert!(reason.contains("drain"), "{reason}");
    }
    let seen = drained.desk.until("both", |seen| seen.finished == 2).await;
    assert_eq!(seen.reasons, ["Close 1001", "Close 1001"]);
    let farewell = "websocket farewelled websocket_close server_drained";
    assert_eq!(told(&pair.receipt(drained).await), [farewell, farewell]);
    assert_eq!(sibling.echo("still").await.expect("an echo"), "still");
    drop((sibling, client));
    pair.over().await;
}

#[tokio::test]
async fn tcp_tunnels_are_half_closed_on_both_sides() {
    let servers = [Server::tcp().await, Server::tcp().await];
    let pair = Pair::in_turn(servers, "").await;
    let open = async || {
        let mut tunnel = Raw::connect(pair.proxy.address("tcp")).await;
        tunnel.send("hello\n").await.expect("sent");
        tunnel.read_until("hello\n").await.expect("an echo");
        tunnel
    };
    let first = open().await;
    let drained = pair.with_requests(1).await;
    let mut sibling = open().await;
    let other = pair.other(drained);
    other.desk.until("it", |seen| seen.requests == 1).await;
    pair.drain(drained, NOW).await;
    assert_eq!(first.rest().await, (Vec::new(), Ended::Fin));
    sibling.send("still\n").await.expect("sent");
    sibling.read_until("still\n").await.expect("an echo");
    let seen = drained.desk.until("its end", |seen| seen.finished == 1);
    assert_eq!(seen.await.reasons, ["FIN"]);
    assert_eq!(
        told(&pair.receipt(drained).await),
        ["tcp farewelled half_close server_drained"]
    );
    drop(sibling);
    pair.over().await;
}

#[tokio::test]
async fn who_does_not_leave_is_cut_and_counted_as_that() {
    let servers = [Server::tcp().await, Server::tcp().await];
    let pair = Pair::start_with(servers, "", "200ms").await;
    let mut stays = Raw::connect(pair.proxy.address("tcp")).await;
    stays.send("hello\n").await.expect("sent");
    stays.read_until("hello\n").await.expect("an echo");
    let drained = pair.with_requests(1).await;
    pair.drain(drained, NOW).await;
    // Its client hears that it is over, and stays.
    let receipt = pair.receipt(drained).await;
    assert_eq!(told(&receipt), ["tcp cut server_drained server_drained"]);
    assert_eq!(receipt["lost"], 1);
    let metrics = pair.proxy.get("/metrics").await;
    for line in [
        "ebbtide_cuts_total{protocol=\"tcp\",reason=\"server_drained\"} 1",
        "outcome=\"cut\"} 1",
    ] {
        assert!(metrics.text().contains(line), "{}", metrics.text());
    }
    drop(stays);
    pair.over().await;
}

#[tokio::test]
async fn a_client_of_http1_that_reads_nothing_is_cut() {
    let servers = [Server::http1().await, Server::http1().await];
    let pair = Pair::start_with(servers, "", "200ms").await;
    let deaf = asks(&pair.proxy, "/flood/1000000000").await;
    let drained = pair.with_requests(1).await;
    crate::drain::scene::until_connections(&pair.proxy, "a shut socket", |all| {
        all.iter().any(|one| one["sent"].as_u64() > Some(100_000))
    })
    .await;
    pair.drain(drained, NOW).await;
    let receipt = pair.receipt(drained).await;
    let books = &receipt["requests"]["http1"];
    assert_eq!(
        (&books["opened"], &books["finished"]),
        (&1.into(), &0.into())
    );
    drained.desk.until("its end", |seen| seen.open == 0).await;
    crate::drain::scene::until_connections(&pair.proxy, "nobody", <[_]>::is_empty).await;
    drop(deaf);
    pair.over().await;
}

#[tokio::test]
async fn an_event_that_does_not_come_to_its_end_is_cut() {
    let servers = [Server::http1().await, Server::http1().await];
    let pair = Pair::start_with(servers, "", "200ms").await;
    let mut client = asks(&pair.proxy, "/events/half").await;
    client.read_until("data: ").await.expect("half an event");
    let drained = pair.with_requests(1).await;
    pair.drain(drained, NOW).await;
    let receipt = pair.receipt(drained).await;
    assert_eq!(told(&receipt), ["http1 cut server_drained server_drained"]);
    drained.desk.until("its end", |seen| seen.open == 0).await;
    client.rest().await;
    pair.over().await;
}
