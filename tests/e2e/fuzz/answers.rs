//! Any bytes of a server of HTTP/1.1, before a strict client.
//!
//! Whatever comes, the client hears an answer that was given, or 502, or sees
//! that it ends too early; and the next request gets its own answer.

use super::driver::{cuts, fuzz};
use super::expected::client;
use super::reading::{Answer, Message, Read, all};
use super::relay::{LIMIT, Relay, connect};
use fastrand::Rng;
use parking_lot::Mutex;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// What is said to a client, in which pieces, and whether it is the last word.
#[derive(Clone, Debug)]
struct Odd {
    pieces: Vec<Vec<u8>>,
    last: bool,
    /// How often it was begun and is not through: what comes behind an answer
    /// when the next request is on its way is taken for the answer to that one,
    /// and nobody can tell.
    under_way: watch::Sender<usize>,
}

type Script = Arc<Mutex<HashMap<String, Odd>>>;

async fn open(script: Script) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, Arc::clone(&script)));
        }
    });
    address
}

async fn serve(mut socket: TcpStream, script: Script) {
    socket.set_nodelay(true).expect("nodelay");
    let mut bytes = Vec::new();
    loop {
        while let Read::Whole(request) = Message::read(&bytes) {
            bytes.drain(..request.length());
            let whose = client(&request.head.fields).expect("a client");
            if request.head.target == "/next" {
                if socket.write_all(&next(&whose)).await.is_err() {
                    return;
                }
                continue;
            }
            let odd = script.lock().get(&whose).cloned().expect("a script");
            odd.under_way.send_modify(|count| *count += 1);
            for piece in &odd.pieces {
                if socket.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            odd.under_way.send_modify(|count| *count -= 1);
            if odd.last {
                // All of it is heard before the connection is gone.
                let _ = socket.shutdown().await;
            }
        }
        if !matches!(socket.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
}

fn next(whose: &str) -> Vec<u8> {
    let size = whose.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{whose}").into_bytes()
}

/// Ask, and hear one answer, or as much as comes of it; whether more can be
/// asked.
pub(super) async fn ask(
    socket: &mut TcpStream,
    (method, path): (&str, &str),
    body: &str,
) -> (Read<Answer>, bool) {
    let size = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{body}");
    if socket.write_all(request.as_bytes()).await.is_err() {
        return (Read::More, false);
    }
    let mut bytes = Vec::new();
    loop {
        let closed = !matches!(socket.read_buf(&mut bytes).await, Ok(1..));
        match Answer::read(&bytes, method, closed, false) {
            Read::More if !closed => {}
            Read::Whole(answer) => {
                assert_eq!(answer.length, bytes.len(), "more than an answer");
                let more = !closed && !all(&answer.fields, "connection").contains(&"close");
                return (Read::Whole(answer), more);
            }
            read => return (read, false),
        }
    }
}

/// Fail unless the client heard what the server said, or that it cannot be said.
/// `plainly` if there is nothing in it that a recipient need not take.
pub(super) fn judge(said: &Read<Answer>, plainly: bool, heard: &Read<Answer>) -> bool {
    let heard = match heard {
        Read::Whole(heard) => heard,
        Read::More => {
            assert!(!plainly, "cut short: {said:?}");
            return false;
        }
        Read::Broken => panic!("the client cannot read its answer"),
    };
    let own = heard.status == 502 && all(&heard.fields, "connection").contains(&"close");
    let Read::Whole(said) = said else {
        assert!(own || heard.status == 502, "made whole: {heard:?}");
        return false;
    };
    if heard.status == 502 && said.status != 502 {
        return false;
    }
    assert_eq!(heard.status, said.status);
    assert_eq!(
        heard.body.content.escape_ascii().to_string(),
        said.body.content.escape_ascii().to_string()
    );
    // `Trailer` is a list, whose fields the engine joins.
    let ours = [
        "connection",
        "content-length",
        "date",
        "trailer",
        "transfer-encoding",
    ];
    for field in &heard.fields {
        let known = ours.contains(&field.0.as_str()) || said.fields.contains(field);
        assert!(known, "{field:?} was not said");
    }
    for trailer in &heard.body.trailers {
        assert!(
            said.body.trailers.contains(trailer),
            "{trailer:?} was not said"
        );
    }
    true
}

struct Scene {
    relay: Relay,
    script: Script,
}

impl Scene {
    fn check(&mut self, bytes: &[u8], random: &mut Rng) -> bool {
        let method = ["GET", "GET", "HEAD", "POST"][random.usize(..4)];
        // Who is not understood when it leaves may be when it stays.
        let staying = Answer::read(bytes, method, false, false);
        let last = random.bool() || !matches!(staying, Read::Whole(_));
        let said = if last {
            Answer::read(bytes, method, true, true)
        } else {
            staying
        };
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        let mut from = 0;
        for to in cuts(random, bytes.len())
            .into_iter()
            .take(8)
            .chain([bytes.len()])
        {
            pieces.push(bytes[from..to].to_vec());
            from = to;
        }
        let client = self.relay.next_client();
        let under_way = watch::Sender::default();
        let through = under_way.subscribe();
        let odd = Odd {
            pieces,
            last,
            under_way,
        };
        self.script.lock().insert(client.to_string(), odd);
        let proxy = self.relay.proxy.address("web");
        let exchanges = exchanges(client, proxy, method, through);
        let heard = self
            .relay
            .runtime
            .block_on(async { timeout(LIMIT, exchanges).await });
        self.script.lock().remove(&client.to_string());
        let (heard, next) = heard.unwrap_or_else(|_| panic!("no end after {said:?}"));
        let Read::Whole(next) = next else {
            panic!("the next request is not answered: {next:?}");
        };
        let body = String::from_utf8_lossy(&next.body.content);
        assert_eq!(
            (next.status, &*body),
            (200, &*client.to_string()),
            "another's answer"
        );
        let plain = Answer::read(bytes, method, last, false);
        judge(&said, matches!(plain, Read::Whole(_)), &heard)
    }
}

/// What comes of the odd exchange, and of the next one.
async fn exchanges(
    client: Ipv4Addr,
    proxy: SocketAddr,
    method: &str,
    mut through: watch::Receiver<usize>,
) -> (Read<Answer>, Read<Answer>) {
    let mut socket = connect(client, proxy).await;
    let (odd, more) = ask(&mut socket, (method, "/odd"), "").await;
    let said = through.wait_for(|under_way| *under_way == 0).await;
    said.expect("the script is here");
    if !more {
        socket = connect(client, proxy).await;
    }
    let (next, _) = ask(&mut socket, ("GET", "/next"), "").await;
    (odd, next)
}

#[test]
fn a_client_hears_what_its_server_said_or_that_it_is_not_understood() {
    let script = Script::default();
    let served = Arc::clone(&script);
    let relay = Relay::open("", |_| open(served));
    let scene = RefCell::new(Scene { relay, script });
    let (all, passed) = (Cell::new(0), Cell::new(0));
    fuzz("answers", 2_000, |bytes, random| {
        all.set(all.get() + 1);
        if scene.borrow_mut().check(bytes, random) {
            passed.set(passed.get() + 1);
        }
    });
    // Else 502 for everything would do.
    assert!(
        passed.get() * 10 > all.get(),
        "{passed:?} of {all:?} passed"
    );
    scene.into_inner().relay.over();
}
