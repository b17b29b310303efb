//! Servers that change their mind about streams while requests come: none too many
//! is ever opened, and nobody notices.

use super::*;
use crate::serving::script::Script;
use crate::support::clients::{Frame, Frames, Raw};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::task::JoinSet;

/// What is allowed, one after the other.
const LIMITS: [u8; 8] = [4, 1, 3, 0, 2, 1, 5, 0];

/// SETTINGS that allow so many streams (RFC 9113, section 6.5.2).
fn allows(streams: u8) -> Frame {
    Frame::new(Frame::SETTINGS, 0, 0, [0, 3, 0, 0, 0, streams])
}

/// One connection, as its server sees it.
struct Strict {
    frames: Frames,
    /// Streams that are open, in the order in which they came.
    open: VecDeque<u32>,
    /// The limit that holds, and those whose ack has not come.
    limit: u8,
    announced: VecDeque<u8>,
    answered: usize,
}

impl Strict {
    /// What came is allowed: by the limit that holds, or by one that is on its way.
    fn opened(&mut self, stream: u32) {
        self.open.push_back(stream);
        let on_its_way = self.announced.iter().copied().max();
        let most = self.limit.max(on_its_way.unwrap_or(0));
        assert!(
            self.open.len() <= most.into(),
            "{} streams, where {most} are allowed",
            self.open.len()
        );
    }

    async fn answer(&mut self) {
        if let Some(stream) = self.open.pop_front() {
            self.frames
                .send(Frame::headers(stream, [0x88], false))
                .await;
            self.answered += 1;
        }
    }

    async fn allow(&mut self, streams: u8) {
        self.frames.send(allows(streams)).await;
        self.announced.push_back(streams);
    }

    /// Until the connection ends; how many streams were answered. Each third
    /// answer has another limit before it.
    async fn run(mut self, offset: usize) -> usize {
        let limits = LIMITS.iter().cycle().skip(offset);
        let mut limits = limits.copied();
        loop {
            // What has come is read before anything is answered.
            let next = tokio::time::timeout(Duration::from_millis(1), self.frames.frame());
            match next.await {
                Ok(Ok(frame)) => match frame.kind {
                    Frame::HEADERS => self.opened(frame.stream),
                    Frame::SETTINGS if frame.flags & Frame::ACK != 0 => {
                        if let Some(limit) = self.announced.pop_front() {
                            self.limit = limit;
                        }
                    }
                    Frame::SETTINGS => {
                        let ack = Frame::new(Frame::SETTINGS, Frame::ACK, 0, []);
                        self.frames.send(ack).await;
                    }
                    Frame::GOAWAY => assert!(self.open.is_empty(), "{:?}", self.open),
                    _ => {}
                },
                Ok(Err(_)) => return self.answered,
                Err(_) if self.open.is_empty() => {}
                Err(_) => {
                    if self.answered % 3 == 2
                        && let Some(limit) = limits.next()
                    {
                        self.allow(limit).await;
                    }
                    self.answer().await;
                }
            }
        }
    }
}

#[tokio::test]
async fn no_stream_too_many_comes_however_often_the_limit_changes() {
    let answered = Arc::new(AtomicUsize::new(0));
    let (count, numbers) = (Arc::clone(&answered), Arc::new(AtomicUsize::new(0)));
    let server = Script::http1(move |mut wire: Raw| {
        let (count, number) = (Arc::clone(&count), numbers.fetch_add(1, SeqCst));
        async move {
            if wire.read_until("SM\r\n\r\n").await.is_err() {
                return;
            }
            let mut strict = Strict {
                frames: Frames::begun(wire),
                open: VecDeque::new(),
                limit: u8::MAX,
                announced: VecDeque::new(),
                answered: 0,
            };
            strict.allow(3).await;
            count.fetch_add(strict.run(number).await, SeqCst);
        }
    })
    .await;
    // Over the server's limits: eight at once.
    let text = site(
        server.address,
        "http = \"h2\"",
        "streams = 4, idle = \"100ms\"",
    );
    let proxy = Proxy::start(&text).await;
    let mut load = JoinSet::new();
    for _ in 0..8 {
        let mut client = client(&proxy).await;
        load.spawn(async move {
            for _ in 0..50 {
                assert_eq!(client.get("/").await.expect("an answer").status, 200);
            }
        });
    }
    while let Some(ended) = load.join_next().await {
        ended.expect("a client");
    }
    until_idle(&proxy, 0).await;
    let all = async {
        while answered.load(SeqCst) < 400 {
            sleep(LOOK).await;
        }
    };
    within("the ends of all connections", all).await;
    assert_eq!(answered.load(SeqCst), 400, "each was asked once");
}
