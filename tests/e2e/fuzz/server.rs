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

/// What a client sent: requests, and what is behind them.
#[derive(Debug)]
struct Sent {
    requests: Vec<Message>,
    rest: Vec<u8>,
    came: usize,
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
    /// A client at this address is about to send these requests, then `rest`.
    pub(super) fn expect(&self, address: &str, requests: Vec<Message>, rest: &[u8]) {
        let mut book = self.0.lock();
        let sent = Sent {
            requests,
            rest: rest.to_vec(),
            came: 0,
        };
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
        self.0.lock().clients[address].came
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
    fn whole(&self, got: &Message) -> Option<(String, usize)> {
        let mut book = self.0.lock();
        let judged = book.judge(got);
        judged
            .map_err(|why| book.wrong.push(format!("{why}\ngot {got:?}")))
            .ok()
    }

    /// Judge what came of a request that never became whole.
    fn partial(&self, bytes: &[u8]) {
        if let Err(why) = self.0.lock().judge_partial(bytes) {
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
        let number = sent.came;
        let wanted = sent.requests.get(number);
        let wanted = wanted.ok_or("smuggled: its client sent no more")?;
        same_request(wanted, got, &address).map_err(|why| format!("{why}\nsent {wanted:?}"))?;
        sent.came += 1;
        Ok((address, number))
    }

    /// A part is of the request that its client did not finish, or of one that
    /// it sent whole and was broken off at the client's end.
    fn judge_partial(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Read::Whole(head) = Head::read(bytes) else {
            return Err("half a head".to_owned());
        };
        let (body, _) = head.body(&bytes[head.length..]);
        let (address, sent) = self.sender(&head)?;
        let (wanted, whole) = match sent.requests.get(sent.came) {
            Some(request) => (request.head.clone(), request.body.clone()),
            None => match Head::read(&sent.rest) {
                Read::Whole(head) => {
                    let (body, _) = head.body(&sent.rest[head.length..]);
                    (head, body)
                }
                _ => return Err("smuggled: its client sent no more".to_owned()),
            },
        };
        same_head(&wanted, &head, &address)?;
        if !whole.content.starts_with(&body.content) {
            return Err(format!(
                "another body than {:?}",
                whole.content.escape_ascii()
            ));
        }
        Ok(())
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
