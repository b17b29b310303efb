//! A server of HTTP/2 that says whatever it is given, and in between what it
//! should.
//!
//! While a script is set, requests are answered with its frames, as soon as there
//! are as many as it is for; otherwise with the body that came. Its connections
//! are counted, so that nobody takes one for alive that is about to end.

use super::driver::cuts;
use super::frames::{Script, block, put};
use fastrand::Rng;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Segments of one script: each costs.
const PIECES: usize = 8;

const PREFACE: usize = 24;
const HEAD: usize = 9;

/// What becomes of a connection behind a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Then {
    /// It goes on.
    Stays,
    /// It ends in order.
    Ends,
    /// It is reset.
    Resets,
}

/// What is said next.
#[derive(Debug)]
pub(super) struct Play {
    pub(super) script: Script,
    /// For so many requests at once.
    pub(super) streams: usize,
    /// Whether SETTINGS come first; otherwise nothing does.
    pub(super) greets: bool,
    pub(super) then: Then,
    /// Where it is cut.
    pub(super) random: Rng,
}

#[derive(Debug, Default)]
struct Now {
    play: Option<Arc<Play>>,
    /// Requests that came since it was set.
    came: usize,
    /// How often it was said.
    said: usize,
    connections: usize,
    /// Connections that are older end.
    era: u64,
}

/// The server's director.
#[derive(Clone, Debug, Default)]
pub(super) struct Stage(Arc<watch::Sender<Now>>);

impl Stage {
    /// Say this from now on.
    pub(super) fn set(&self, play: Play) {
        self.0.send_modify(|now| {
            now.play = Some(Arc::new(play));
            (now.came, now.said) = (0, 0);
        });
    }

    /// Be honest from now on, and wait until no connection is left that is about
    /// to end; how often the script was said.
    pub(super) async fn settle(&self, then: Then) -> usize {
        self.0.send_modify(|now| now.play = None);
        if then != Then::Stays {
            self.until_alone().await;
        }
        self.0.borrow().said
    }

    /// Wait for the first request.
    pub(super) async fn until_asked(&self) {
        let mut now = self.0.subscribe();
        now.wait_for(|now| now.came > 0).await.expect("it is here");
    }

    /// End all connections, and wait until they are.
    pub(super) async fn end_all(&self) {
        self.0.send_modify(|now| now.era += 1);
        self.until_alone().await;
    }

    /// Wait until no connection is left.
    async fn until_alone(&self) {
        let mut now = self.0.subscribe();
        let alone = now.wait_for(|now| now.connections == 0);
        alone.await.expect("it is here");
    }

    fn play(&self) -> Option<Arc<Play>> {
        self.0.borrow().play.clone()
    }

    /// For how many requests the script waits: only the first time for more
    /// than one, for those that are sent again come alone.
    fn streams(&self, play: &Play) -> usize {
        if self.0.borrow().said == 0 {
            play.streams
        } else {
            1
        }
    }

    /// Serve at the address that is returned.
    pub(super) async fn open(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                self.0.send_modify(|now| now.connections += 1);
                let stage = self.clone();
                tokio::spawn(async move {
                    let mut connection = Connection::new(stage.clone(), socket);
                    connection.serve().await;
                    drop(connection);
                    stage.0.send_modify(|now| now.connections -= 1);
                });
            }
        });
        address
    }
}

/// Wait until connections of this era are to end.
async fn later(now: &mut watch::Receiver<Now>, era: u64) {
    // What is here does not go.
    let _ = now.wait_for(|now| now.era > era).await;
}

struct Connection {
    stage: Stage,
    socket: TcpStream,
    bytes: Vec<u8>,
    out: Vec<u8>,
    /// Requests that wait for a script.
    asked: Vec<u32>,
    /// Bodies of those that are to get an honest answer.
    bodies: HashMap<u32, Vec<u8>>,
}

impl Connection {
    fn new(stage: Stage, socket: TcpStream) -> Self {
        socket.set_nodelay(true).expect("nodelay");
        Self {
            stage,
            socket,
            bytes: Vec::new(),
            out: Vec::new(),
            asked: Vec::new(),
            bodies: HashMap::new(),
        }
    }

    /// Until it is over, for whatever reason.
    async fn serve(&mut self) {
        let mut now = self.stage.0.subscribe();
        let era = now.borrow().era;
        let play = self.stage.play();
        if let Some(play) = play.filter(|play| !play.greets) {
            return self.say(&play, 1).await;
        }
        put(&mut self.out, (4, 0, 0), b"");
        let mut begun = false;
        loop {
            if !begun && self.bytes.len() >= PREFACE {
                self.bytes.drain(..PREFACE);
                begun = true;
            }
            while begun && let Some(frame) = self.frame() {
                if let Some(play) = self.hear(frame) {
                    let first = self.asked[0];
                    self.asked.clear();
                    self.say(&play, first).await;
                    if play.then != Then::Stays {
                        return;
                    }
                }
            }
            let out = std::mem::take(&mut self.out);
            if self.socket.write_all(&out).await.is_err() {
                return;
            }
            let read = tokio::select! {
                read = self.socket.read_buf(&mut self.bytes) => read,
                () = later(&mut now, era) => return self.end().await,
            };
            if !matches!(read, Ok(1..)) {
                return;
            }
        }
    }

    /// Type, flags, stream and payload of the next one, if it is whole.
    fn frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let [a, b, c, kind, flags, stream @ ..] = *self.bytes.first_chunk::<HEAD>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let whole = HEAD + length;
        (self.bytes.len() >= whole).then(|| {
            let payload = self.bytes.drain(..whole).skip(HEAD).collect();
            (kind, flags, u32::from_be_bytes(stream), payload)
        })
    }

    /// Take a frame; what is to be said to it, if it is not an honest answer.
    fn hear(
        &mut self,
        (kind, flags, stream, payload): (u8, u8, u32, Vec<u8>),
    ) -> Option<Arc<Play>> {
        match kind {
            0 => {
                let length = u32::try_from(payload.len()).expect("short");
                if length > 0 {
                    put(&mut self.out, (8, 0, 0), &length.to_be_bytes());
                }
                if let Some(body) = self.bodies.get_mut(&stream) {
                    body.extend(payload);
                }
            }
            1 => {
                if let Some(play) = self.stage.play() {
                    self.asked.push(stream);
                    self.stage.0.send_modify(|now| now.came += 1);
                    return (self.asked.len() >= self.stage.streams(&play)).then_some(play);
                }
                self.bodies.insert(stream, Vec::new());
            }
            4 if flags & 1 == 0 => put(&mut self.out, (4, 1, 0), b""),
            6 if flags & 1 == 0 => put(&mut self.out, (6, 1, 0), &payload),
            _ => {}
        }
        if kind <= 1
            && flags & 1 == 1
            && let Some(body) = self.bodies.remove(&stream)
        {
            let head = [(b":status".to_vec(), b"200".to_vec())];
            put(&mut self.out, (1, 4, stream), &block(&head));
            put(&mut self.out, (0, 1, stream), &body);
        }
        None
    }

    async fn say(&mut self, play: &Play, first: u32) {
        self.stage.0.send_modify(|now| now.said += 1);
        let bytes = [std::mem::take(&mut self.out), play.script.from(first)].concat();
        let cuts = cuts(&mut play.random.clone(), bytes.len());
        let step = cuts.len().div_ceil(PIECES).max(1);
        let mut from = 0;
        for to in cuts.iter().rev().step_by(step).rev() {
            if self.socket.write_all(&bytes[from..*to]).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
            from = *to;
        }
        match play.then {
            Then::Stays => {}
            Then::Ends => self.end().await,
            Then::Resets => {
                let _ = socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
            }
        }
    }

    /// End this side, and wait for the other.
    async fn end(&mut self) {
        // It may be gone by now.
        let _ = self.socket.shutdown().await;
        while matches!(self.socket.read_buf(&mut self.bytes).await, Ok(1..)) {
            self.bytes.clear();
        }
    }
}
