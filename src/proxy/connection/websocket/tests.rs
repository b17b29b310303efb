use super::super::tunnel::scene::{Scene, ended, read, read_all, settle, silent, soon, tcp};
use super::*;
use crate::config::Limits;
use crate::drain::Protocol;
use crate::proxy::registry::Limit;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};

const KEY: [u8; 4] = [0xa1, 0x5c, 0x00, 0x7e];

/// A tunnel over pipes of this capacity; the task, the client, the server.
fn piped(scene: &Scene, capacity: usize) -> (JoinHandle<()>, DuplexStream, DuplexStream) {
    let (client, near) = duplex(capacity);
    let (server, far) = duplex(capacity);
    let task = tokio::spawn(relay(scene.exchange(), near, far, Early::default()));
    (task, client, server)
}

type Peer = WebSocketStream<TcpStream>;

/// A tunnel between two real WebSocket peers.
async fn peers(scene: &Scene) -> (JoinHandle<()>, Peer, Peer) {
    let ((client, near), (server, far)) = (tcp().await, tcp().await);
    let task = tokio::spawn(relay(scene.exchange(), near, far, Early::default()));
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let server = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
    (task, client, server)
}

async fn next(peer: &mut Peer) -> Message {
    soon(peer.next()).await.expect("a message").expect("sound")
}

/// Read until the connection has ended as RFC 6455 wants it to.
async fn ends_well(peer: &mut Peer) {
    match soon(peer.next()).await {
        None | Some(Err(Error::ConnectionClosed)) => {}
        other => panic!("{other:?}"),
    }
}

fn told_to_leave(message: &Message) -> bool {
    let Message::Close(Some(CloseFrame { code, reason })) = message else {
        return false;
    };
    *code == CloseCode::Away && reason.as_str() == REASON
}

/// Our Close to a client.
fn goodbye() -> Vec<u8> {
    close_frame(REASON, None).to_vec()
}

/// Read our Close to a server, whatever its key.
async fn masked_goodbye(server: &mut DuplexStream) {
    let frame = read(server, goodbye().len() + KEY.len()).await;
    let key = [frame[2], frame[3], frame[4], frame[5]];
    assert_eq!(frame, close_frame(REASON, Some(key)));
}

/// A binary frame as a client sends it; what is in it is never looked at.
fn data(length: usize) -> Vec<u8> {
    let mut frame = vec![0x82, 0xff];
    frame.extend((length as u64).to_be_bytes());
    frame.extend(KEY);
    frame.extend((0..249).cycle().take(length));
    frame
}

#[tokio::test]
async fn silent_peers_are_told_that_they_were() {
    let scene = Scene::new(Protocol::WebSocket);
    scene.limit(&Limits {
        tunnel_idle: std::time::Duration::from_millis(50),
        ..Limits::default()
    });
    let (task, mut client, mut server) = peers(&scene).await;
    for peer in [&mut client, &mut server] {
        let Message::Close(Some(CloseFrame { code, reason })) = next(peer).await else {
            panic!("no Close");
        };
        assert_eq!((code, reason.as_str()), (CloseCode::Away, REASON_IDLE));
    }
    ends_well(&mut client).await;
    ends_well(&mut server).await;
    drop((client, server));
    ended(task).await;
    assert_eq!(scene.ledger().finished, 1);
    assert_eq!(scene.limited(Limit::TunnelIdle), 1);
}

#[test]
fn close_frames_are_what_the_rfc_draws() {
    let plain = close_frame(REASON, None);
    assert_eq!(plain[..4], [0x88, 20, 0x03, 0xe9]);
    assert_eq!(&plain[4..], REASON.as_bytes());
    let masked = close_frame(REASON, Some(KEY));
    assert_eq!(masked[..2], [0x88, 0x94]);
    assert_eq!(masked[2..6], KEY);
    let bare: Vec<u8> = masked[6..]
        .iter()
        .enumerate()
        .map(|(at, byte)| byte ^ KEY[at % 4])
        .collect();
    assert_eq!(bare, plain[2..]);
}

#[tokio::test]
async fn real_peers_talk_and_take_their_own_leave() {
    let scene = Scene::new(Protocol::WebSocket);
    let (task, mut client, mut server) = peers(&scene).await;
    for length in [0, 1, 125, 126, 65_535, 65_536, 3_000_000] {
        let text = Message::text("x".repeat(length));
        client.send(text.clone()).await.expect("open");
        let got = next(&mut server).await;
        assert_eq!(got, text);
        let (sent, got) = tokio::join!(server.send(got), next(&mut client));
        sent.expect("open");
        assert_eq!(got, text);
    }
    client.close(None).await.expect("open");
    assert!(matches!(next(&mut server).await, Message::Close(None)));
    ends_well(&mut server).await;
    drop(server);
    assert!(matches!(next(&mut client).await, Message::Close(None)));
    ends_well(&mut client).await;
    drop(client);
    ended(task).await;
    assert_eq!(scene.ledger().finished, 1);
}

#[tokio::test]
async fn real_peers_are_told_and_answer() {
    let scene = Scene::new(Protocol::WebSocket);
    let (task, mut client, mut server) = peers(&scene).await;
    client.send(Message::text("hello")).await.expect("open");
    assert_eq!(next(&mut server).await, Message::text("hello"));
    scene.farewell();
    // The server's library refuses a frame that is not masked.
    assert!(told_to_leave(&next(&mut server).await));
    assert!(told_to_leave(&next(&mut client).await));
    settle().await;
    assert!(!task.is_finished(), "neither has answered");
    // Reading on sends the answer and sees the end.
    ends_well(&mut client).await;
    ends_well(&mut server).await;
    drop((client, server));
    ended(task).await;
    assert_eq!(scene.ledger().farewelled, 1);
    assert_eq!(scene.registry.farewells(Farewell::WebSocketClose), 1);
}

#[tokio::test]
async fn a_frame_under_way_is_passed_to_its_end() {
    let scene = Scene::new(Protocol::WebSocket);
    let (task, mut client, mut server) = piped(&scene, 1 << 16);
    let frame = data(1 << 20);
    let half = frame.len() / 2;
    let (sent, got) = tokio::join!(client.write_all(&frame[..half]), read(&mut server, half));
    sent.expect("open");
    assert!(got == frame[..half]);
    scene.farewell();
    // Nothing is under way to the client, so it is told at once.
    assert_eq!(read(&mut client, goodbye().len()).await, goodbye());
    // The rest, and at once behind it a frame that goes nowhere.
    let rest = [&frame[half..], &data(9), &close_frame(REASON, Some(KEY))].concat();
    let (sent, got) = tokio::join!(
        client.write_all(&rest),
        read(&mut server, frame.len() - half)
    );
    sent.expect("open");
    assert!(got == frame[half..]);
    masked_goodbye(&mut server).await;
    server.write_all(&goodbye()).await.expect("open");
    assert_eq!(read_all(&mut server).await, b"");
    assert_eq!(read_all(&mut client).await, b"");
    drop((client, server));
    ended(task).await;
    assert_eq!(scene.registry.farewells(Farewell::WebSocketClose), 1);
}

#[tokio::test]
async fn a_frame_cut_anywhere_is_completed_before_the_close() {
    let frame = data(40);
    for at in 1..frame.len() {
        let scene = Scene::new(Protocol::WebSocket);
        let (task, mut client, mut server) = piped(&scene, 4096);
        client.write_all(&frame[..at]).await.expect("room");
        assert_eq!(read(&mut server, at).await, frame[..at]);
        scene.farewell();
        assert_eq!(read(&mut client, goodbye().len()).await, goodbye());
        for byte in [&frame[at..], &close_frame(REASON, Some(KEY))].concat() {
            client.write_all(&[byte]).await.expect("room");
        }
        assert_eq!(read(&mut server, frame.len() - at).await, frame[at..]);
        masked_goodbye(&mut server).await;
        drop(server);
        assert_eq!(read_all(&mut client).await, b"");
        drop(client);
        ended(task).await;
        assert_eq!(scene.ledger().farewelled, 1, "cut at {at}");
    }
}

#[tokio::test]
async fn other_frames_are_dropped_until_the_answer() {
    let scene = Scene::new(Protocol::WebSocket);
    let (task, mut client, mut server) = piped(&scene, 4096);
    scene.farewell();
    assert_eq!(read(&mut client, goodbye().len()).await, goodbye());
    masked_goodbye(&mut server).await;
    let late = [data(500), vec![0x89, 0x80, 1, 2, 3, 4], data(70)].concat();
    client.write_all(&late).await.expect("room");
    settle().await;
    assert!(!task.is_finished());
    client
        .write_all(&close_frame(REASON, Some(KEY)))
        .await
        .expect("room");
    server.write_all(&[0x81, 1, b'x']).await.expect("room");
    server.write_all(&goodbye()).await.expect("room");
    assert_eq!(read_all(&mut client).await, b"");
    assert_eq!(read_all(&mut server).await, b"");
    drop((client, server));
    ended(task).await;
    assert_eq!(scene.ledger().farewelled, 1);
}

#[tokio::test]
async fn a_peer_that_answers_need_not_wait_for_the_other() {
    let scene = Scene::new(Protocol::WebSocket);
    let (task, mut client, mut server) = piped(&scene, 4096);
    scene.farewell();
    assert_eq!(read(&mut client, goodbye().len()).await, goodbye());
    assert!(silent(&mut client).await, "it may answer first");
    client
        .write_all(&close_frame(REASON, Some(KEY)))
        .await
        .expect("room");
    assert_eq!(read_all(&mut client).await, b"");
    masked_goodbye(&mut server).await;
    assert!(silent(&mut server).await, "it may answer still");
    assert!(!task.is_finished(), "the server is mute");
    scene.cut();
    ended(task).await;
    assert_eq!(scene.ledger().cut, 1);
}

#[tokio::test]
async fn who_answers_but_never_closes_holds_nothing_up() {
    let scene = Scene::new(Protocol::WebSocket);
    let (task, mut client, mut server) = piped(&scene, 4096);
    scene.farewell();
    client
        .write_all(&close_frame(REASON, Some(KEY)))
        .await
        .expect("room");
    server.write_all(&goodbye()).await.expect("room");
    // No cut is ordered; the tunnel leaves by itself.
    ended(task).await;
    assert_eq!(scene.registry.farewells(Farewell::WebSocketClose), 1);
}

#[tokio::test]
async fn a_farewell_that_was_answered_is_no_cut() {
    let scene = Scene::new(Protocol::WebSocket);
    let (task, mut client, mut server) = piped(&scene, 4096);
    scene.farewell();
    client
        .write_all(&close_frame(REASON, Some(KEY)))
        .await
        .expect("room");
    server.write_all(&goodbye()).await.expect("room");
    assert_eq!(read_all(&mut client).await, goodbye());
    masked_goodbye(&mut server).await;
    assert_eq!(read_all(&mut server).await, b"");
    scene.cut();
    ended(task).await;
    assert_eq!(scene.ledger().cut, 0);
    assert_eq!(scene.ledger().farewelled, 1);
}

#[tokio::test]
async fn who_closed_already_is_not_told_twice() {
    let scene = Scene::new(Protocol::WebSocket);
    let (task, mut client, mut server) = piped(&scene, 4096);
    let close = close_frame(REASON, Some(KEY));
    client.write_all(&close).await.expect("room");
    assert_eq!(read(&mut server, close.len()).await, close);
    scene.farewell();
    // The server was told by the client; the client is told by us.
    assert_eq!(read_all(&mut client).await, goodbye());
    assert!(silent(&mut server).await, "it may answer still");
    assert!(!task.is_finished(), "the server has not answered");
    server.write_all(&goodbye()).await.expect("room");
    assert_eq!(read_all(&mut server).await, b"");
    drop((client, server));
    ended(task).await;
    assert_eq!(scene.registry.farewells(Farewell::WebSocketClose), 1);
}

#[tokio::test]
async fn a_leave_that_the_server_took_is_not_ours() {
    let scene = Scene::new(Protocol::WebSocket);
    let (task, mut client, mut server) = piped(&scene, 4096);
    server.write_all(&[0x88, 0]).await.expect("room");
    assert_eq!(read(&mut client, 2).await, [0x88, 0]);
    scene.farewell();
    masked_goodbye(&mut server).await;
    client
        .write_all(&close_frame(REASON, Some(KEY)))
        .await
        .expect("room");
    assert_eq!(read_all(&mut client).await, b"");
    assert_eq!(read_all(&mut server).await, b"");
    drop((client, server));
    ended(task).await;
    assert_eq!(scene.ledger().finished, 1);
}

#[tokio::test]
async fn an_end_in_the_middle_of_a_frame_is_passed_on_as_it_is() {
    let scene = Scene::new(Protocol::WebSocket);
    let (task, mut client, mut server) = piped(&scene, 4096);
    let part = &data(100)[..50];
    client.write_all(part).await.expect("room");
    assert_eq!(read(&mut server, 50).await, part);
    scene.farewell();
    assert_eq!(read(&mut client, goodbye().len()).await, goodbye());
    drop(client);
    // No Close can stand in the middle of a frame.
    assert_eq!(read_all(&mut server).await, b"");
    drop(server);
    ended(task).await;
    assert_eq!(scene.ledger().farewelled, 1);
}

#[tokio::test]
async fn bytes_that_are_no_frames_pass_and_end_half_closed() {
    let scene = Scene::new(Protocol::WebSocket);
    let (task, mut client, mut server) = piped(&scene, 4096);
    let noise = [0xff; 100];
    client.write_all(&noise).await.expect("room");
    assert_eq!(read(&mut server, 100).await, noise);
    server.write_all(&noise).await.expect("room");
    assert_eq!(read(&mut client, 100).await, noise);
    scene.farewell();
    assert_eq!(read_all(&mut server).await, b"");
    assert_eq!(read_all(&mut client).await, b"");
    drop((client, server));
    ended(task).await;
    assert_eq!(scene.registry.farewells(Farewell::HalfClose), 1);
}

#[tokio::test]
async fn half_a_frame_that_came_early_is_known() {
    let scene = Scene::new(Protocol::WebSocket);
    scene.farewell();
    let frame = data(30);
    let (mut client, near) = duplex(4096);
    let (mut server, far) = duplex(4096);
    let early = Early {
        from_client: Bytes::copy_from_slice(&frame[..7]),
        from_server: Bytes::from_static(&[0x81, 2, b'h']),
    };
    let task = tokio::spawn(relay(scene.exchange(), near, far, early));
    client.write_all(&frame[7..]).await.expect("room");
    assert_eq!(read(&mut server, frame.len()).await, frame);
    masked_goodbye(&mut server).await;
    server.write_all(b"i").await.expect("room");
    assert_eq!(read(&mut client, 4).await, [0x81, 2, b'h', b'i']);
    assert_eq!(read(&mut client, goodbye().len()).await, goodbye());
    drop((client, server));
    ended(task).await;
    assert_eq!(scene.ledger().farewelled, 1);
}
