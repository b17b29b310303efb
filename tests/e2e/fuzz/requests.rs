//! Any bytes of a client of HTTP/1.1, before strict servers of either version.

use super::driver::{cuts, fuzz};
use super::reading::{Answer, Fields, Head, Message, Read, all};
use super::relay::{LIMIT, Relay, connect};
use super::server::Wanted;
use super::streams;
use fastrand::Rng;
use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Pieces of one input: each is a segment, which costs.
const PIECES: usize = 8;

/// The whole requests in some bytes, and how many bytes they are.
fn requests(bytes: &[u8]) -> (Vec<Message>, usize) {
    let (mut requests, mut from) = (Vec::new(), 0);
    while let Read::Whole(request) = Message::read(&bytes[from..]) {
        from += request.length();
        requests.push(request);
    }
    (requests, from)
}

/// Send these pieces, hear the answers to these requests, end the direction,
/// and hear on to the end: the answers, and what is behind them. `begun` is what
/// is there of a request that is not whole.
async fn exchange(
    from: Ipv4Addr,
    to: SocketAddr,
    pieces: Vec<&[u8]>,
    requests: &[Message],
    begun: Option<&Head>,
) -> (Vec<Answer>, Vec<u8>) {
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
        let (mut bytes, mut answers) = (Vec::new(), Vec::new());
        let mut closed = false;
        loop {
            loop {
                let asked = requests.get(answers.len()).map(|request| &request.head);
                let method = asked.or(begun).map_or("GET", |head| head.method.as_str());
                let Read::Whole(answer) = Answer::read(&bytes, method, closed, false) else {
                    break;
                };
                bytes.drain(..answer.length);
                answers.push(answer);
            }
            if answers.len() >= requests.len() {
                answered.notify_one();
            }
            if closed {
                return (answers, bytes);
            }
            closed = !matches!(source.read_buf(&mut bytes).await, Ok(1..));
        }
    };
    tokio::select! {
        heard = hearing => heard,
        () = sending => unreachable!("it goes on"),
    }
}

/// Whether `Connection` has this option.
fn says(option: &str, fields: &Fields) -> bool {
    let mut values = all(fields, "connection").into_iter();
    values.any(|list| {
        let mut options = list.split(',');
        options.any(|one| one.trim().eq_ignore_ascii_case(option))
    })
}

/// Whether a connection ends behind the answer to this request.
fn is_last(request: &Message, answer: &Answer) -> bool {
    let asked = &request.head.fields;
    let old = request.head.old && !says("keep-alive", asked);
    old || says("close", asked) || says("close", &answer.fields) || answer.until_close
}

/// That each answer is the one to its request.
fn judge(requests: &[Message], answers: &[Answer], address: &str) -> usize {
    let mut served = 0;
    for (number, answer) in answers.iter().enumerate() {
        let request = requests.get(number);
        let last = number + 1 == answers.len();
        let Some(whose) = all(&answer.fields, "x-whose").first().copied() else {
            // The proxy's own; after a refusal nothing is understood.
            let own = answer.status >= 400 || answer.status == 200;
            let goes_on = last || !says("close", &answer.fields);
            assert!(own && goes_on, "{number}: {answer:?}");
            continue;
        };
        assert_eq!(whose, format!("{address}/{number}"), "another's answer");
        let request = request.expect("an answer to nothing");
        let bare = request.head.method == "HEAD" || answer.status == 204;
        let body = if bare {
            String::new()
        } else {
            format!("{number} for {address}")
        };
        assert_eq!(String::from_utf8_lossy(&answer.body.content), body);
        assert!(
            last || !is_last(request, answer),
            "it goes on after {answer:?}"
        );
        served += 1;
    }
    served
}

fn check(relay: &mut Relay, bytes: &[u8], random: &mut Rng) {
    let (requests, end) = requests(bytes);
    let client = relay.next_client();
    let address = client.to_string();
    let begun = match Head::read(&bytes[end..]) {
        Read::Whole(head) => Some(head),
        Read::More | Read::Broken => None,
    };
    let wanted = requests.iter().cloned().map(|one| Wanted::new(one, true));
    let part = begun.clone().map(|head| {
        let (body, _) = head.body(&bytes[end + head.length..]);
        Wanted::new(Message { head, body }, false)
    });
    let wanted = wanted.chain(part).collect();
    relay.ledger.expect(&address, wanted, true);
    let mut from = 0;
    let mut pieces = Vec::new();
    let cuts = cuts(random, bytes.len());
    let step = cuts.len().div_ceil(PIECES).max(1);
    for to in cuts.iter().rev().step_by(step).rev() {
        pieces.push(&bytes[from..*to]);
        from = *to;
    }
    let proxy = relay.proxy.address("web");
    let heard = relay.runtime.block_on(async {
        timeout(
            LIMIT,
            exchange(client, proxy, pieces, &requests, begun.as_ref()),
        )
        .await
    });
    relay.ledger.is_clean();
    let (answers, rest) = heard.unwrap_or_else(|_| panic!("no end to {requests:?}"));
    // Of what is malformed the method is not believed either.
    let refused = |answer: &Answer| answer.status >= 400 && says("close", &answer.fields);
    let own = answers.last().is_some_and(refused);
    assert!(
        own || rest.is_empty(),
        "half an answer: {}",
        rest.escape_ascii()
    );
    let served = judge(&requests, &answers, &address);
    assert_eq!(served, relay.ledger.came(&address), "served, and answered");
    let ended = match (answers.last(), requests.get(answers.len().wrapping_sub(1))) {
        _ if answers.len() >= requests.len() => true,
        (Some(answer), Some(request)) => served < answers.len() || is_last(request, answer),
        _ => false,
    };
    assert!(
        ended,
        "{} of {} requests answered: {answers:?}",
        answers.len(),
        requests.len()
    );
}

fn run(relay: Relay) {
    let relay = RefCell::new(relay);
    fuzz("requests", 2_000, |bytes, random| {
        check(&mut relay.borrow_mut(), bytes, random);
    });
    relay.into_inner().over();
}

#[test]
fn a_server_of_http1_gets_what_the_client_asked_and_nothing_else() {
    run(Relay::http1());
}

#[test]
fn a_server_of_http2_gets_what_the_client_asked_and_nothing_else() {
    run(Relay::open("http = \"h2\"", streams::open));
}
