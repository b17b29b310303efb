//! Who is there in a drain: clients of every kind, in every position.
//!
//! The numbers are small and the kinds are many: what a drain may lose, it
//! loses at a seam (between accept and close, between an answer and the next
//! request, between GOAWAY and the last stream), not under a pile.

use super::books::Books;
use super::clients::{
    self, Asked, Call, Client, Question, Stop, Target, each_anew, half_open, keep_alive, once, sit,
    stream_once,
};
use super::proxy::Addresses;
use super::script::Script;
use super::servers::{COUNT, COUNTED, ECHO, NEVER, WATCH};
use fastrand::Rng;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// TLS as clients have it: one config for each protocol that they offer.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) http1: Arc<ClientConfig>,
    pub(crate) http2: Arc<ClientConfig>,
    pub(crate) none: Arc<ClientConfig>,
}

/// What is spoken, by which a client finds its door.
#[derive(Clone, Copy)]
enum Speaks {
    Http1,
    Http2,
    Tcp,
}

/// The clients of one drain, as they are set up.
pub(crate) struct Cast {
    rng: Rng,
    endless: bool,
    moment: Duration,
    addresses: Addresses,
    tls: Tls,
    /// What all of them share.
    books: Books,
    asked: Asked,
    refuses_after: Duration,
    playing: JoinSet<()>,
}

impl Cast {
    /// Start everybody; clients that come later are on their way.
    pub(crate) fn start(
        script: &Script,
        addresses: Addresses,
        tls: &Tls,
        books: &Books,
        asked: Asked,
    ) -> JoinSet<()> {
        let mut cast = Self {
            rng: script.rng.clone(),
            endless: script.endless,
            moment: script.moment + script.announce,
            addresses,
            tls: tls.clone(),
            books: books.clone(),
            asked,
            refuses_after: script.refuses_after(),
            playing: JoinSet::new(),
        };
        cast.http1();
        cast.http2();
        cast.grpc();
        cast.tunnels();
        cast.storm();
        cast.half_open();
        if cast.endless {
            cast.endless();
        }
        cast.playing
    }

    /// A client that comes through a door drawn by lot: clear or TLS.
    fn client(&mut self, kinds: [&'static str; 2], speaks: Speaks) -> Client {
        let over_tls = self.rng.bool();
        self.through(over_tls, kinds, speaks)
    }

    fn through(&mut self, over_tls: bool, kinds: [&'static str; 2], speaks: Speaks) -> Client {
        let Addresses {
            web,
            secure,
            tcp,
            secure_tcp,
            ..
        } = self.addresses;
        let (clear, encrypted, tls) = match speaks {
            Speaks::Http1 => (web, secure, &self.tls.http1),
            Speaks::Http2 => (web, secure, &self.tls.http2),
            Speaks::Tcp => (tcp, secure_tcp, &self.tls.none),
        };
        let target = if over_tls {
            Target {
                address: encrypted,
                tls: Some(Arc::clone(tls)),
            }
        } else {
            Target {
                address: clear,
                tls: None,
            }
        };
        Client {
            kind: kinds[usize::from(over_tls)],
            target,
            books: self.books.clone(),
            asked: self.asked.clone(),
            refuses_after: self.refuses_after,
            pause: Duration::from_millis(self.rng.u64(2..=60)),
        }
    }

    fn http1(&mut self) {
        for _ in 0..6 {
            let client = self.client(["HTTP/1.1 GET", "HTTP/1.1 GET, TLS"], Speaks::Http1);
            let question = Question::any(&mut self.rng);
            self.playing.spawn(keep_alive(client, question));
        }
        for _ in 0..3 {
            let client = self.client(["HTTP/1.1 POST", "HTTP/1.1 POST, TLS"], Speaks::Http1);
            let question = Question::post(&mut self.rng);
            self.playing.spawn(keep_alive(client, question));
        }
        for _ in 0..2 {
            let client = self.client(["HTTP/1.1 idle", "HTTP/1.1 idle, TLS"], Speaks::Http1);
            let question = Question::any(&mut self.rng);
            self.playing.spawn(sit(client, question));
        }
    }

    fn http2(&mut self) {
        for at in 0..4 {
            let client = self.client(["HTTP/2", "HTTP/2, TLS"], Speaks::Http2);
            let question = if at == 0 {
                Question::post(&mut self.rng)
            } else {
                Question::any(&mut self.rng)
            };
            let streams = self.rng.usize(1..=4);
            let client = clients::multiplexed(client, question, streams);
            self.playing.spawn(client);
        }
        let client = self.client(["HTTP/2 idle", "HTTP/2 idle, TLS"], Speaks::Http2);
        let question = Question::any(&mut self.rng);
        self.playing.spawn(clients::sit_http2(client, question));
    }

    fn grpc(&mut self) {
        let unary = (["gRPC unary", "gRPC unary, TLS"], ECHO, 1);
        let stream = (["gRPC stream", "gRPC stream, TLS"], COUNT, COUNTED);
        for (kinds, method, messages) in [unary, unary, unary, stream, stream] {
            let client = self.client(kinds, Speaks::Http2);
            let messages = Some(messages);
            let call = Call { method, messages };
            self.playing.spawn(clients::calls(client, call));
        }
    }

    /// Some leave before their deadline; others, if there are such, stay.
    fn tunnels(&mut self) {
        for at in 0..5 {
            let stays = self.endless && at < 3;
            let leaves = (!stays).then(|| Duration::from_millis(self.rng.u64(0..=600)));
            let talks = at != 0;
            let client = self.client(["WebSocket", "WebSocket, TLS"], Speaks::Http1);
            self.playing
                .spawn(clients::websocket(client, talks, leaves));
            let client = self.client(["TCP", "TCP, TLS"], Speaks::Tcp);
            self.playing.spawn(clients::tcp(client, talks, leaves));
        }
    }

    /// New connections: one after another, and many at about the moment in
    /// which listeners refuse.
    fn storm(&mut self) {
        let kinds = ["HTTP/1.1, anew", "HTTP/1.1, anew, TLS"];
        for over_tls in [false, false, true, true] {
            let client = self.through(over_tls, kinds, Speaks::Http1);
            let question = Question::any(&mut self.rng);
            self.playing.spawn(each_anew(client, question));
        }
        let around = u64::try_from(self.moment.as_millis()).unwrap_or_default();
        for at in 0..30 {
            let speaks = if at % 3 == 0 {
                Speaks::Http2
            } else {
                Speaks::Http1
            };
            let mut client = self.client(["a storm of them", "a storm of them, TLS"], speaks);
            let moment = self.rng.u64(around.saturating_sub(40)..=around + 40);
            client.pause = Duration::from_millis(moment);
            let question = Question::any(&mut self.rng);
            match speaks {
                Speaks::Http2 => self.playing.spawn(stream_once(client, question)),
                _ => self.playing.spawn(once(client, question)),
            };
        }
    }

    fn half_open(&mut self) {
        let around = u64::try_from(self.moment.as_millis()).unwrap_or_default();
        for (kinds, stop) in [
            (["silent", "silent, TLS"], Stop::Silent),
            (["half a head", "-"], Stop::Head),
            (["half a preface", "-"], Stop::Preface),
            (["-", "half a TLS hello"], Stop::Hello),
        ] {
            let mut client = match stop {
                Stop::Silent => self.client(kinds, Speaks::Http1),
                Stop::Hello => self.through(true, kinds, Speaks::Http1),
                Stop::Head | Stop::Preface => self.through(false, kinds, Speaks::Http1),
            };
            client.pause = Duration::from_millis(self.rng.u64(0..=around));
            self.playing.spawn(half_open(client, stop));
        }
    }

    /// Those that stay until they are sent away.
    fn endless(&mut self) {
        let kinds = ["HTTP/1.1 without an end", "HTTP/1.1 without an end, TLS"];
        for path in ["/never", "/endless", "/events"] {
            let client = self.client(kinds, Speaks::Http1);
            self.playing.spawn(once(client, Question::endless(path)));
        }
        let kinds = ["HTTP/2 without an end", "HTTP/2 without an end, TLS"];
        for path in ["/never", "/endless", "/events"] {
            let client = self.client(kinds, Speaks::Http2);
            self.playing
                .spawn(stream_once(client, Question::endless(path)));
        }
        let kinds = ["gRPC without an end", "gRPC without an end, TLS"];
        for method in [NEVER, WATCH] {
            let client = self.client(kinds, Speaks::Http2);
            let messages = None;
            let call = Call { method, messages };
            self.playing.spawn(clients::calls(client, call));
        }
    }
}
