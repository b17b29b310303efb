//! Any frames of a client of HTTP/2, before strict servers of either version.

use super::asked::{Asked, bare};
use super::driver::{cuts, fuzz};
use super::frames::Script;
use super::reading::{Body, Head, Message};
use super::relay::{LIMIT, Relay, connect};
use super::server::Ledger;
use bytes::Bytes;
use fastrand::Rng;
use h2::server::SendResponse;
use http::{Request, Response};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;

const PIECES: usize = 8;

/// What a client sees of a stream.
#[derive(Debug, Default)]
struct Seen {
    content: Vec<u8>,
    /// By the frame that ends it, or by a reset.
    over: bool,
    reset: bool,
}

/// A client's view of a connection, frame by frame.
#[derive(Debug, Default)]
struct View {
    streams: HashMap<u32, Seen>,
    bytes: Vec<u8>,
}

impl View {
    /// Take the whole frames out of what has come.
    fn take(&mut self) {
        while let Some([a, b, c, kind, flags, stream @ ..]) = self.bytes.first_chunk::<9>() {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let (kind, flags, stream) = (*kind, *flags, u32::from_be_bytes(*stream));
            assert!(length <= 16_384, "a frame of {length} bytes");
            if self.bytes.len() < 9 + length {
                return;
            }
            let payload: Vec<u8> = self.bytes.drain(..9 + length).skip(9).collect();
            self.frame(kind, flags, stream, &payload);
        }
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        if !matches!(kind, 0 | 1 | 3) {
            return;
        }
        let seen = self.streams.entry(stream).or_default();
        if seen.reset || kind == 3 {
            // The engine goes on with a stream that it reset for what its
            // client sent behind the end; nobody listens to that.
            (seen.over, seen.reset) = (true, true);
            return;
        }
        assert!(!seen.over, "{kind} after the end of {stream}");
        if kind == 0 {
            seen.content.extend_from_slice(payload);
        }
        seen.over = flags & 1 == 1;
    }

    fn is_over(&self, stream: u32) -> bool {
        self.streams.get(&stream).is_some_and(|seen| seen.over)
    }
}

/// Send these pieces, hear until these streams are over or the connection is,
/// and then end it: what was seen.
async fn exchange(from: Ipv4Addr, to: SocketAddr, pieces: Vec<&[u8]>, streams: &[u32]) -> View {
    let mut socket = connect(from, to).await;
    let (mut source, mut sink) = socket.split();
    let answered = Notify::new();
    let sending = async {
        for piece in pieces {
            if sink.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        answered.notified().await;
        // It may be gone by now.
        let _ = sink.shutdown().await;
        std::future::pending::<()>().await;
    };
    let hearing = async {
        let mut view = View::default();
        loop {
            if streams.iter().all(|stream| view.is_over(*stream)) {
                answered.notify_one();
            }
            if !matches!(source.read_buf(&mut view.bytes).await, Ok(1..)) {
                return view;
            }
            view.take();
        }
    };
    tokio::select! {
        view = hearing => view,
        () = sending => unreachable!("it goes on"),
    }
}

/// Fail unless each answer from a server is the one to its stream.
fn judge(all: &[Asked], view: &View, address: &str) -> usize {
    let mut served = 0;
    for (stream, seen) in &view.streams {
        let content = String::from_utf8_lossy(&seen.content);
        let said = content.split_once(" for ");
        let Some((number, whose)) = said.filter(|(_, whose)| whose.starts_with("127.")) else {
            // The proxy's own words.
            continue;
        };
        if !seen.over || seen.reset {
            continue;
        }
        assert_eq!(whose, address, "another's answer on {stream}");
        let number: usize = number.parse().expect("a number");
        let answered = &all[number];
        let asked = all.iter().find(|one| one.stream == *stream);
        let asked = asked.expect("an answer to nothing");
        // Two may ask for the same, by what a server gets of it.
        let of = |asked: &Asked| {
            let request = &asked.wanted.request;
            let (head, body) = (&request.head, &request.body.content);
            (head.method.clone(), head.target.clone(), body.clone())
        };
        let same = of(asked) == of(answered);
        assert!(same, "the answer to {answered:?} on {stream}");
        served += 1;
    }
    served
}

fn check(relay: &mut Relay, crumbs: bool, input: &[u8], random: &mut Rng) -> usize {
    let script = Script::read(input);
    let (bytes, asked) = (script.bytes(), script.requests(crumbs));
    let client = relay.next_client();
    let address = client.to_string();
    let requests = asked.iter().map(|one| one.wanted.clone()).collect();
    relay.ledger.expect(&address, requests, false);
    let (mut from, mut pieces) = (0, Vec::new());
    let cuts = cuts(random, bytes.len());
    let step = cuts.len().div_ceil(PIECES).max(1);
    for to in cuts.iter().rev().step_by(step).rev() {
        pieces.push(&bytes[from..*to]);
        from = *to;
    }
    let streams = asked.iter().filter(|asked| asked.ended);
    let streams: Vec<u32> = streams.map(|asked| asked.stream).collect();
    let proxy = relay.proxy.address("web");
    let heard = relay
        .runtime
        .block_on(async { timeout(LIMIT, exchange(client, proxy, pieces, &streams)).await });
    relay.ledger.is_clean();
    let view = heard.unwrap_or_else(|_| panic!("no end to {script:?}"));
    judge(&asked, &view, &address)
}

fn run(relay: Relay, crumbs: bool) {
    let relay = RefCell::new(relay);
    let served = Cell::new(0);
    fuzz("streams", 1_500, |input, random| {
        let more = check(&mut relay.borrow_mut(), crumbs, input, random);
        served.set(served.get() + more);
    });
    assert!(served.get() > 100, "{served:?} streams were served at all");
    relay.into_inner().over();
}

#[test]
fn a_server_of_http1_gets_what_streams_ask_and_nothing_else() {
    run(Relay::http1(), false);
}

#[test]
fn a_server_of_http2_gets_what_streams_ask_and_nothing_else() {
    run(Relay::open("http = \"h2\"", open), true);
}

/// A server of HTTP/2 that answers, and notes in the ledger what is wrong.
pub(super) async fn open(ledger: Ledger) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(socket).await else {
                    return;
                };
                while let Some(accepted) = connection.accept().await {
                    match accepted {
                        Ok((request, respond)) => {
                            tokio::spawn(serve(request, respond, ledger.clone()));
                        }
                        Err(error) if error.is_io() || error.is_go_away() => return,
                        Err(error) => return ledger.wrong(format!("a bad connection: {error}")),
                    }
                }
            });
        }
    });
    address
}

async fn serve(request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>, ledger: Ledger) {
    let (head, mut source) = request.into_parts();
    let text = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| char::from(*byte))
            .collect::<String>()
    };
    let fields = |map: &http::HeaderMap| {
        let both = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.as_str().to_owned(), text(value.as_bytes()))
        };
        map.iter().map(both).collect::<Vec<_>>()
    };
    let mut all = fields(&head.headers);
    let host = head.uri.authority().map(ToString::to_string);
    all.push(("host".to_owned(), host.unwrap_or_default()));
    let target = head.uri.path_and_query().map(ToString::to_string);
    let head = Head {
        method: head.method.to_string(),
        target: target.unwrap_or_default(),
        old: false,
        fields: all,
        length: 0,
    };
    let mut body = Body::default();
    while let Some(data) = source.data().await {
        let Ok(data) = data else {
            return ledger.part(&head, &body.content);
        };
        // It may be over meanwhile.
        let _ = source.flow_control().release_capacity(data.len());
        body.content.extend_from_slice(&data);
    }
    match source.trailers().await {
        Ok(trailers) => {
            let trailers = trailers.as_ref().map(fields).unwrap_or_default();
            body.trailers = trailers.iter().map(bare).collect();
        }
        Err(_) => return ledger.part(&head, &body.content),
    }
    let bare = head.method == "HEAD";
    let Some((address, number)) = ledger.whole(&Message { head, body }) else {
        return;
    };
    let whose = format!("{address}/{number}");
    let response = Response::builder().header("x-whose", whose).body(());
    let response = response.expect("an answer");
    let Ok(mut sink) = respond.send_response(response, bare) else {
        return;
    };
    if !bare {
        // Who is gone needs no answer.
        let _ = sink.send_data(format!("{number} for {address}").into(), true);
    }
}
