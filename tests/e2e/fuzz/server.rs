//! A server of HTTP/1.1 that takes nothing on trust: each request must be one
//! that a client sent, the next of its connection, and of the right shape.

use super::expected::{client, same_head, same_request};
use super::reading::{Head, Message, Read};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How many clients are remembered: far more than can still be under way.
const REMEMBERED: usize = 1_000;

/// A request that may come.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) request: Message,
    /// Its client has ended it.
    pub(super) whole: bool,
    came: bool,
}

impl Wanted {
    pub(super) fn new(request: Message, whole: bool) -> Self {
        Self {
            request,
            whole,
            came: false,
        }
    }
}

/// What a client sent.
#[derive(Debug)]
struct Sent {
    requests: Vec<Wanted>,
    /// Whether they come one after the other.
    in_order: bool,
}

impl Sent {
    /// Those that may come now, by their numbers: one that is not asked of a
    /// server is passed over.
    fn next(&mut self) -> impl Iterator<Item = (usize, &mut Wanted)> {
        let last = self.requests.iter().rposition(|one| one.came);
        let passed = last.filter(|_| self.in_order).map_or(0, |last| last + 1);
        let all = self.requests.iter_mut().enumerate();
        all.skip(passed).filter(|(_, one)| !one.came)
    }
}

/// Who sent what, and what was found wrong with what came.
#[derive(Debug, Default)]
struct Book {
    clients: HashMap<String, Sent>,
    order: std::collections::VecDeque<String>,
    wrong: Vec<String>,
}

/// The book, shared by the server and whoever sends.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger(Arc<Mutex<Book>>);

impl Ledger {
    /// A client at this address is about to send these requests.
    pub(super) fn expect(&self, address: &str, requests: Vec<Wanted>, in_order: bool) {
        let mut book = self.0.lock();
        let sent = Sent { requests, in_order };
        book.clients.insert(address.to_owned(), sent);
        book.order.push_back(address.to_owned());
        if book.order.len() > REMEMBERED
            && let Some(oldest) = book.order.pop_front()
        {
            book.clients.remove(&oldest);
        }
    }

    /// How many requests of a client have come.
    pub(super) fn came(&self, address: &str) -> usize {
        let book = self.0.lock();
        let requests = book.clients[address].requests.iter();
        requests.filter(|one| one.came).count()
    }

    /// Fail if anything was wrong.
    pub(super) fn is_clean(&self) {
        let wrong = std::mem::take(&mut self.0.lock().wrong);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    pub(super) fn wrong(&self, what: String) {
        self.0.lock().wrong.push(what);
    }

    /// Judge a whole request; its client, and which of its requests it is.
    pub(super) fn whole(&self, got: &Message) -> Option<(String, usize)> {
        let mut book = self.0.lock();
        let judged = book.judge(got);
        judged
            .map_err(|why| book.wrong.push(format!("{why}\ngot {got:?}")))
            .ok()
    }

    /// The same of a part, with what there is of the body.
    pub(super) fn part(&self, head: &Head, content: &[u8]) {
        let judged = self.0.lock().judge_part(head, content);
        if let Err(why) = judged {
            self.wrong(format!("{why}\ngot a part: {head:?}"));
        }
    }

    /// Judge what came of a request that never became whole.
    fn partial(&self, bytes: &[u8]) {
        let judged = self.0.lock().judge_partial(bytes);
        if let Err(why) = judged {
            self.wrong(format!("{why}\ngot a part: {}", bytes.escape_ascii()));
        }
    }
}

impl Book {
    fn sender(&mut self, head: &Head) -> Result<(String, &mut Sent), String> {
        let address = client(&head.fields).ok_or("smuggled: it is nobody's")?;
        let sent = self.clients.get_mut(&address);
        let sent = sent.ok_or("smuggled: its client is unknown")?;
        Ok((address, sent))
    }

    fn judge(&mut self, got: &Message) -> Result<(String, usize), String> {
        let (address, sent) = self.sender(&got.head)?;
        let mut why = "smuggled: its client sent no more".to_owned();
        for (number, wanted) in sent.next().filter(|(_, one)| one.whole) {
            match same_request(&wanted.request, got, &address) {
                Ok(()) => {
                    wanted.came = true;
                    return Ok((address, number));
                }
                Err(what) => why = format!("{what}\nsent {:?}", wanted.request),
            }
        }
        Err(format!("{why}\nof all that was sent: {:?}", sent.requests))
    }

    /// A part is of a request that its client did not finish, or of one that it
    /// sent whole and was broken off at the client's end.
    fn judge_partial(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Read::Whole(head) = Head::read(bytes) else {
            return Err("half a head".to_owned());
        };
        let (body, _) = head.body(&bytes[head.length..]);
        self.judge_part(&head, &body.content)
    }

    fn judge_part(&mut self, head: &Head, content: &[u8]) -> Result<(), String> {
        let (address, sent) = self.sender(head)?;
        let mut why = "smuggled: its client sent no more".to_owned();
        for (_, Wanted { request, .. }) in sent.next() {
            match same_head(&request.head, head, &address) {
                Ok(()) if request.body.content.starts_with(content) => return Ok(()),
                Ok(()) => return Err(format!("another body {content:?}\nsent {request:?}")),
                Err(what) => why = format!("{what}\nsent {request:?}"),
            }
        }
        Err(format!("{why}\nof all that was sent: {:?}", sent.requests))
    }
}

/// A server that answers, and notes in the ledger what is wrong.
pub(super) async fn open(ledger: Ledger) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, ledger.clone()));
        }
    });
    address
}

async fn serve(mut socket: TcpStream, ledger: Ledger) {
    let mut bytes = Vec::new();
    loop {
        let read = socket.read_buf(&mut bytes).await;
        loop {
            match Message::read(&bytes) {
                Read::Whole(message) => {
                    bytes.drain(..message.length());
                    let Some(whose) = ledger.whole(&message) else {
                        return;
                    };
                    let answer = answer(&message.head, whose);
                    if socket.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
                Read::More => break,
                Read::Broken => {
                    let broken = bytes.escape_ascii();
                    return ledger.wrong(format!("this can be read in two ways: {broken}"));
                }
            }
        }
        if !matches!(read, Ok(1..)) {
            if !bytes.is_empty() {
                ledger.partial(&bytes);
            }
            return;
        }
    }
}

/// An answer that says whose it is, in one of the forms that there are.
fn answer(head: &Head, (address, number): (String, usize)) -> String {
    let named = format!("HTTP/1.1 200 OK\r\nX-Whose: {address}/{number}\r\n");
    let body = format!("{number} for {address}");
    let size = body.len();
    match (head.method.as_str(), (number + size) % 3) {
        ("HEAD", _) => format!("{named}Content-Length: {size}\r\n\r\n"),
        (_, 0) => {
            format!("{named}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n")
        }
        (_, 1) => named.replace("200 OK", "204 No Content") + "\r\n",
        _ => format!("{named}Content-Length: {size}\r\n\r\n{body}"),
    }
}
