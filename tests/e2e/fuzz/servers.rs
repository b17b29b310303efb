//! Any frames of a server of HTTP/2, before strict clients of either version.
//!
//! Whatever comes, the client hears an answer that was given, or 502, or sees
//! that it ends too early; a call of gRPC is told in its own words. Its
//! connection lives on, the next request gets its own answer, and nothing is left
//! in flight.

use super::answers::{ask, judge};
use super::driver::fuzz;
use super::frames::Script;
use super::reading::{Answer, Body, Fields, Read, all};
use super::relay::{LIMIT, Relay, connect};
use super::said::{Said, Sayings};
use super::stage::{Play, Stage, Then};
use bytes::Bytes;
use fastrand::Rng;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How many inputs pass between two looks at what is in flight.
const LOOKS: u64 = 64;

/// Nobody is to be spared a server that does badly.
const FORGIVING: &str =
    "http = \"h2\"\neject = false\ngoing = { header = \"\", goaway = false, closes = 0 }";

/// What a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Plain(&'static str),
    Grpc,
}

impl Kind {
    fn any(random: &mut Rng, http2: bool) -> Self {
        match random.u8(..6) {
            0 => Self::Plain("HEAD"),
            1 | 2 => Self::Plain("POST"),
            3 | 4 if http2 => Self::Grpc,
            _ => Self::Plain("GET"),
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Plain(method) => method,
            Self::Grpc => "POST",
        }
    }

    fn body(self) -> &'static str {
        match self {
            Self::Plain("POST") => "abc",
            Self::Plain(_) => "",
            Self::Grpc => "\0\0\0\0\0",
        }
    }
}

/// A client of HTTP/2 on one connection.
struct Http2(SendRequest<Bytes>);

impl Http2 {
    async fn connect(from: Ipv4Addr, to: SocketAddr) -> Self {
        let socket = connect(from, to).await;
        let mut client = h2::client::Builder::new();
        // Many small frames of a server are as many of the proxy.
        let client = client.data_frame_budget(usize::MAX).handshake(socket);
        let (sender, connection) = client.await.expect("HTTP/2");
        tokio::spawn(connection);
        Self(sender)
    }

    async fn ask(&self, path: &str, kind: Kind, body: &'static [u8]) -> Read<Answer> {
        let grpc = kind == Kind::Grpc;
        let mut request = Request::builder()
            .method(kind.method())
            .uri(format!("http://a{path}"));
        if grpc {
            request = request
                .header("content-type", "application/grpc")
                .header("te", "trailers");
        }
        let request = request.body(()).expect("a request");
        let sender = self.0.clone().ready().await;
        let mut sender = sender.expect("a client's connection lives on");
        let sent = sender.send_request(request, body.is_empty());
        let (response, mut sink) = sent.expect("a client's connection lives on");
        if !body.is_empty() {
            // The answer may be there before.
            let _ = sink.send_data(Bytes::from_static(body), true);
        }
        hear(response).await.unwrap_or(Read::More)
    }
}

fn fields(map: &http::HeaderMap) -> Fields {
    let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect();
    let both = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), text(value.as_bytes()))
    };
    map.iter().map(both).collect()
}

async fn hear(response: ResponseFuture) -> Result<Read<Answer>, h2::Error> {
    let (head, mut source) = response.await?.into_parts();
    let mut body = Body::default();
    while let Some(data) = source.data().await {
        let data = data?;
        source.flow_control().release_capacity(data.len())?;
        body.content.extend_from_slice(&data);
    }
    if let Some(trailers) = source.trailers().await? {
        body.trailers = fields(&trailers);
    }
    Ok(Read::Whole(Answer {
        status: head.status.as_u16(),
        fields: fields(&head.headers),
        body,
        length: 0,
        until_close: false,
    }))
}

/// Whether a call was told, by us, that it failed: by fields alone while nothing
/// was said, by trailers behind what was.
fn is_told(heard: &Answer, said: &Said) -> bool {
    let failed = |fields: &Fields| {
        let status = all(fields, "grpc-status");
        status.len() == 1 && status[0] != "0"
    };
    let alone = heard.body.content.is_empty() && failed(&heard.fields);
    let behind = said.content().starts_with(&heard.body.content) && failed(&heard.body.trailers);
    heard.status == 200 && (alone || behind)
}

struct Scene {
    relay: Relay,
    stage: Stage,
    http2: bool,
    inputs: u64,
}

impl Scene {
    fn check(&mut self, input: &[u8], random: &mut Rng) -> usize {
        let script = Script::of_server(input);
        let kind = Kind::any(random, self.http2);
        let streams = if random.u8(..4) == 0 { 2 } else { 1 };
        let greets = streams == 2 || random.u8(..8) > 0;
        let heads = kind.method() == "HEAD";
        let sayings = if greets {
            Sayings::read(&script, streams, heads)
        } else {
            Sayings::unasked(&script, streams)
        };
        let then = match random.u8(..4) {
            0 | 1 if greets && sayings.all_plain() => Then::Stays,
            2 => Then::Resets,
            _ => Then::Ends,
        };
        let fresh = !greets || random.bool();
        let alone = Sayings::read(&script, 1, heads);
        let once = kind.method() == "POST" && greets && !Said::may_be_asked_again(&script, fresh);
        let play = Play {
            script,
            streams,
            greets,
            then,
            random: random.clone(),
        };
        let (heard, said_again) = self.exchange(play, kind, fresh);
        assert!(!(once && said_again), "asked again for what may be done");
        self.inputs += 1;
        if self.inputs.is_multiple_of(LOOKS) {
            self.nothing_is_left();
        }
        let plain = sayings.plain && then != Then::Resets;
        let mut passed = 0;
        for (said, heard) in sayings.said.iter().zip(&heard) {
            // What is sent again, of two, is told what the first is.
            let again = said_again && streams == 2;
            let told = |said| matches!(heard, Read::Whole(heard) if is_told(heard, said));
            let lone = &alone.said[0];
            if said.unclear
                || (kind == Kind::Grpc && (told(said) || (again && told(lone))))
                || (again && same(&lone.answer(!self.http2), heard))
            {
                continue;
            }
            let must = plain && said.is_whole();
            passed += usize::from(judge(&said.answer(!self.http2), must, heard));
        }
        passed
    }

    /// Ask while the server says this, and ask again when it has.
    fn exchange(&mut self, play: Play, kind: Kind, fresh: bool) -> (Vec<Read<Answer>>, bool) {
        let (streams, then) = (play.streams, play.then);
        let described = format!("{play:?}");
        let stage = self.stage.clone();
        let client = self.relay.next_client();
        let proxy = self.relay.proxy.address("web");
        let http2 = self.http2;
        let exchange = async {
            if fresh {
                stage.end_all().await;
            }
            stage.set(play);
            if http2 {
                let client = Http2::connect(client, proxy).await;
                let body = kind.body().as_bytes();
                let (first, second) = tokio::join!(client.ask("/odd", kind, body), async {
                    if streams == 2 {
                        stage.until_asked().await;
                        Some(client.ask("/odd", kind, body).await)
                    } else {
                        None
                    }
                });
                let times = stage.settle(then).await;
                let next = client.ask("/next", Kind::Plain("POST"), b"next").await;
                ([Some(first), second], next, times)
            } else {
                let (first, second) = tokio::join!(ask_once(client, proxy, kind), async {
                    if streams == 2 {
                        stage.until_asked().await;
                        Some(ask_once(client, proxy, kind).await)
                    } else {
                        None
                    }
                });
                let times = stage.settle(then).await;
                let (first, socket) = first;
                let mut socket = match socket {
                    Some(socket) => socket,
                    None => connect(client, proxy).await,
                };
                let (next, _) = ask(&mut socket, ("POST", "/next"), "next").await;
                ([Some(first), second.map(|(heard, _)| heard)], next, times)
            }
        };
        let done = self
            .relay
            .runtime
            .block_on(async { timeout(LIMIT, exchange).await });
        let (heard, next, times) = done.unwrap_or_else(|_| panic!("no end to {described}"));
        let Read::Whole(next) = next else {
            panic!("the next request is not answered after {described}: {next:?}");
        };
        // A reset may be found by the request that meets it.
        let lost = then == Then::Resets && next.status == 502;
        let body = String::from_utf8_lossy(&next.body.content);
        assert!(
            lost || (next.status, &*body) == (200, "next"),
            "after {described}: {next:?}"
        );
        (heard.into_iter().flatten().collect(), times > 1)
    }

    /// Fail unless all that was begun has ended.
    fn nothing_is_left(&self) {
        self.relay.runtime.block_on(async {
            let idle = |status: &Value| {
                let counts = status["in_flight"].as_object().expect("counts");
                counts.values().all(|count| count == 0)
            };
            self.relay.proxy.until_status(idle).await;
        });
    }
}

/// Whether this is what was heard.
fn same(said: &Read<Answer>, heard: &Read<Answer>) -> bool {
    let (Read::Whole(said), Read::Whole(heard)) = (said, heard) else {
        return false;
    };
    said.status == heard.status && said.body.content == heard.body.content
}

/// Ask on a connection of one's own, which is returned if it lives on.
async fn ask_once(
    client: Ipv4Addr,
    proxy: SocketAddr,
    kind: Kind,
) -> (Read<Answer>, Option<TcpStream>) {
    let mut socket = connect(client, proxy).await;
    let (heard, more) = ask(&mut socket, (kind.method(), "/odd"), kind.body()).await;
    (heard, more.then_some(socket))
}

fn run(http2: bool) {
    let stage = Stage::default();
    let server = stage.clone();
    let relay = Relay::open(FORGIVING, |_| server.open());
    let scene = RefCell::new(Scene {
        relay,
        stage,
        http2,
        inputs: 0,
    });
    let (all, passed) = (Cell::new(0), Cell::new(0));
    fuzz("servers", 200, |bytes, random| {
        all.set(all.get() + 1);
        passed.set(passed.get() + scene.borrow_mut().check(bytes, random));
    });
    // Else 502 for everything would do.
    assert!(
        passed.get() * 20 > all.get(),
        "{passed:?} of {all:?} passed"
    );
    let scene = scene.into_inner();
    scene.nothing_is_left();
    scene.relay.over();
}

#[test]
fn a_client_of_http1_hears_what_streams_said_or_that_they_are_not_understood() {
    run(false);
}

#[test]
fn a_client_of_http2_hears_what_streams_said_or_that_they_are_not_understood() {
    run(true);
}
