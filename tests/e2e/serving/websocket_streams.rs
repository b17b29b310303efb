//! WebSocket over a stream of HTTP/2: ends, resets and backpressure pass both
//! ways, and siblings are not disturbed.

use super::script::Script;
use super::websocket_http2::before;
use crate::support::clients::{Http2, WebSocket, connect};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use crate::support::servers::bulk::Check;
use crate::support::servers::pattern;
use crate::support::stream::{Stream, reset_of};
use crate::support::within;
use futures_util::StreamExt;
use h2::Reason;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Larger than all that may lie between a sender and a reader.
const MORE: usize = 48 * 1024 * 1024;
/// How long a write may take before it counts as held back.
const BLOCKED: Duration = Duration::from_millis(300);

/// Agree to a handshake on a socket.
async fn agree(socket: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let read = socket.read_buf(&mut head).await.expect("a head");
        assert_ne!(read, 0, "a head");
    }
    let head = String::from_utf8(head).expect("text");
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then_some(value)
    });
    let accept = derive_accept_key(key.expect("a key").as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    socket.write_all(answer.as_bytes()).await.expect("sent");
}

/// A server that agrees, and then does with its socket what a test says.
async fn agreeing<F>(then: impl Fn(TcpStream) -> F + Clone + Send + Sync + 'static) -> Script
where
    F: Future<Output = ()> + Send + 'static,
{
    Script::tcp(move |mut socket| {
        let then = then.clone();
        async move {
            agree(&mut socket).await;
            then(socket).await;
        }
    })
    .await
}

async fn open(proxy: &Proxy) -> (Http2, Stream) {
    let client = Http2::connect(proxy.address("clear")).await;
    let stream = tunnel(&client).await;
    (client, stream)
}

async fn tunnel(client: &Http2) -> Stream {
    let asked = client.tunnel(Http2::connect_to("websocket", "/chat"));
    let (head, stream) = asked.await.expect("an answer");
    assert_eq!(head.status, 200);
    stream
}

#[tokio::test]
async fn a_server_that_says_close_is_heard() {
    let server = Script::tcp(async |socket| {
        let mut socket = tokio_tungstenite::accept_async(socket)
            .await
            .expect("upgrade");
        let close = CloseFrame {
            code: CloseCode::Policy,
            reason: "not you".into(),
        };
        socket.close(Some(close)).await.expect("sent");
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let proxy = before(server.address, "h1").await;
    let client = Http2::connect(proxy.address("clear")).await;
    let socket = WebSocket::over_stream(&client, "/").await;
    assert_eq!(socket.closed().await, Some((1008, "not you".to_owned())));
}

#[tokio::test]
async fn an_end_passes_either_way_and_leaves_the_other_way_open() {
    let server = agreeing(async |mut socket| {
        let mut all = String::new();
        socket.read_to_string(&mut all).await.expect("its end");
        let answer = format!("you said {all}");
        socket.write_all(answer.as_bytes()).await.expect("sent");
    })
    .await;
    let proxy = before(server.address, "h1").await;
    let (_client, mut stream) = open(&proxy).await;
    stream.write_all(b"hello").await.expect("sent");
    stream.shutdown().await.expect("END_STREAM");
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer))
        .await
        .expect("END_STREAM");
    assert_eq!(answer, "you said hello");
    // The other way round.
    let heard = watch::Sender::new(String::new());
    let mut whole = heard.subscribe();
    let server = agreeing(move |mut socket| {
        let heard = heard.clone();
        async move {
            socket.write_all(b"bye").await.expect("sent");
            socket.shutdown().await.expect("FIN");
            let mut all = String::new();
            socket.read_to_string(&mut all).await.expect("its end");
            heard.send_replace(all);
        }
    })
    .await;
    let proxy = before(server.address, "h1").await;
    let (_client, mut stream) = open(&proxy).await;
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer))
        .await
        .expect("END_STREAM");
    assert_eq!(answer, "bye");
    stream.write_all(b"still here").await.expect("sent");
    stream.shutdown().await.expect("END_STREAM");
    within("the rest", whole.wait_for(|all| all == "still here"))
        .await
        .expect("the server");
}

#[tokio::test]
async fn a_client_s_reset_ends_the_server_s_side() {
    let ends = watch::Sender::new(0);
    let mut seen = ends.subscribe();
    let server = agreeing(move |mut socket| {
        let ends = ends.clone();
        async move {
            let mut all = Vec::new();
            let _ = socket.read_to_end(&mut all).await;
            // One that went silent after its end is not missed by a reader.
            if all == b"half" {
                ends.send_modify(|ends| *ends += 1);
                while socket.write_all(b"more").await.is_ok() {
                    tokio::task::yield_now().await;
                }
            }
            ends.send_modify(|ends| *ends += 1);
        }
    })
    .await;
    let proxy = before(server.address, "h1").await;
    let (client, stream) = open(&proxy).await;
    stream.reset(Reason::CANCEL);
    within("its end", seen.wait_for(|ends| *ends == 1))
        .await
        .expect("the server");
    // After its own end nothing comes from it but the reset.
    let mut stream = tunnel(&client).await;
    stream.write_all(b"half").await.expect("sent");
    stream.shutdown().await.expect("END_STREAM");
    within("the half-close", seen.wait_for(|ends| *ends == 2))
        .await
        .expect("the server");
    stream.reset(Reason::CANCEL);
    within("its end", seen.wait_for(|ends| *ends == 3))
        .await
        .expect("the server");
    // A client that loses its connection is gone as well.
    let stream = tunnel(&client).await;
    drop((client, stream));
    within("its end", seen.wait_for(|ends| *ends == 4))
        .await
        .expect("the server");
}

#[tokio::test]
async fn a_reset_is_noticed_while_both_are_silent() {
    let (note, mut ended) = watch::channel(false);
    let server = agreeing(move |mut socket| {
        let note = note.clone();
        async move {
            let mut all = Vec::new();
            socket.read_to_end(&mut all).await.expect("its end");
            note.send_replace(true);
            // Says nothing more, and never ends.
            std::future::pending::<()>().await;
        }
    })
    .await;
    let proxy = before(server.address, "h1").await;
    let (_client, mut stream) = open(&proxy).await;
    stream.shutdown().await.expect("END_STREAM");
    within("the half-close", ended.wait_for(|ended| *ended))
        .await
        .expect("the server");
    stream.reset(Reason::CANCEL);
    let gone = async {
        loop {
            let view = proxy.json("/v1/connections").await;
            let connections = view["connections"].as_array().expect("a list").clone();
            if connections.iter().all(|one| one["state"] == "idle") {
                return connections.len();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert_eq!(within("an idle connection", gone).await, 1);
}

#[tokio::test]
async fn a_server_s_reset_is_a_reset_and_takes_nothing_back() {
    let server = agreeing(async |mut socket| {
        socket.write_all(b"so far").await.expect("sent");
        let mut byte = [0];
        let _ = socket.read(&mut byte).await;
        socket.write_all(b", so good").await.expect("sent");
        let socket = socket2::SockRef::from(&socket);
        let reset = socket.set_linger(Some(Duration::ZERO));
        reset.expect("an open socket");
    })
    .await;
    let proxy = before(server.address, "h1").await;
    let (_client, mut stream) = open(&proxy).await;
    let mut begun = [0; 6];
    within("bytes", stream.read_exact(&mut begun))
        .await
        .expect("bytes");
    stream.write_all(b"r").await.expect("sent");
    let mut rest = Vec::new();
    let error = within("a reset", stream.read_to_end(&mut rest))
        .await
        .expect_err("a reset");
    assert_eq!(reset_of(&error), Some(Reason::CANCEL), "{error}");
    assert!(b", so good".starts_with(&rest), "{rest:?}");
}

#[tokio::test]
async fn a_reader_that_stops_holds_the_server_back_and_loses_nothing() {
    let (note, mut blocked) = watch::channel(None);
    let server = agreeing(move |mut socket| {
        let note = note.clone();
        async move {
            let all = pattern(MORE);
            let mut at = 0;
            while at < MORE {
                let mut writing = std::pin::pin!(socket.write(&all[at..]));
                let wrote = tokio::time::timeout(BLOCKED, &mut writing).await;
                let wrote = if let Ok(wrote) = wrote {
                    wrote
                } else {
                    note.send_if_modified(|first| first.replace(at).is_none());
                    writing.await
                };
                at += wrote.expect("it is read on");
            }
        }
    })
    .await;
    let proxy = before(server.address, "h1").await;
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(16 * 1024 * 1024);
    let client = Http2::with(builder, connect(proxy.address("clear")).await).await;
    let mut stream = tunnel(&client).await;
    let at = within(
        "a server that cannot write on",
        blocked.wait_for(Option::is_some),
    )
    .await;
    let at = at.expect("the server").unwrap_or(MORE);
    assert!(at < MORE, "all of it is buffered somewhere");
    // A sibling is served meanwhile.
    let sibling = client.tunnel(Http2::connect_to("connect-udp", "/")).await;
    assert_eq!(sibling.expect("an answer").0.status, 501);
    let mut check = Check::default();
    let mut buffer = vec![0; 64 * 1024];
    while check.right < MORE {
        let read = within("bytes", stream.read(&mut buffer)).await;
        let read = read.expect("bytes");
        assert_ne!(read, 0, "after {} bytes", check.right);
        assert!(check.take(&buffer[..read]), "after {}", check.right);
    }
    assert_eq!(
        within("the end", stream.read(&mut buffer)).await.ok(),
        Some(0)
    );
}

#[tokio::test]
async fn a_server_that_stops_reading_holds_the_client_back_and_loses_nothing() {
    let go_on = watch::Sender::new(false);
    let may = go_on.subscribe();
    let (note, mut whole) = watch::channel(None);
    let server = agreeing(move |mut socket| {
        let (mut may, note) = (may.clone(), note.clone());
        async move {
            may.wait_for(|may| *may).await.expect("the test");
            let mut check = Check::default();
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let read = socket.read(&mut buffer).await.expect("bytes");
                if read == 0 || !check.take(&buffer[..read]) {
                    break;
                }
            }
            note.send_replace(Some(check.right));
        }
    })
    .await;
    let proxy = before(server.address, "h1").await;
    let (_client, mut stream) = open(&proxy).await;
    let all = pattern(MORE);
    let (mut at, mut held) = (0, None);
    while at < MORE {
        let writing = tokio::time::timeout(BLOCKED, stream.write(&all[at..]));
        if let Ok(wrote) = writing.await {
            at += wrote.expect("it is read on");
        } else {
            held.get_or_insert(at);
            go_on.send_replace(true);
        }
    }
    assert!(held.is_some(), "all of it is buffered somewhere");
    stream.shutdown().await.expect("END_STREAM");
    let right = within("all of it", whole.wait_for(Option::is_some)).await;
    assert_eq!(*right.expect("the server"), Some(MORE));
}

#[tokio::test]
async fn many_sockets_and_requests_share_a_connection() {
    let chat = Server::websocket().await;
    let site = Server::http1().await;
    let proxy = Proxy::start(&format!(
        "[listener.clear]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ path = \"/chat\", upstream = \
         \"chat\" }}, {{ upstream = \"site\" }}]\n[upstream.chat]\nservers = [\"{}\"]\n\
         [upstream.site]\nservers = [\"{}\"]\n",
        chat.address, site.address
    ))
    .await;
    let client = Http2::connect(proxy.address("clear")).await;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(WebSocket::over_stream(&client, "/chat").await);
    }
    for number in 0..30 {
        let socket = &mut sockets[number % 10];
        let text = number.to_string();
        assert_eq!(socket.echo(&text).await.expect("an echo"), text);
        let reply = client.get("/bytes/100000").await.expect("a reply");
        assert_eq!(reply.body, pattern(100_000));
    }
    for socket in sockets {
        socket.close().await.expect("a Close");
    }
    let desk = &chat.desk;
    desk.until("their ends", |seen| seen.finished == 10 && seen.open == 0)
        .await;
}
