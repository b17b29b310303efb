//! A DNS server on a free loopback port, over UDP and TCP, that says what a test
//! has it say, and tells what it was asked.

use super::within;
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SOA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is said of a name.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// These records, for so many seconds.
    Records(Vec<RData>, u32),
    /// The same, and over UDP that they do not fit.
    Long(Vec<RData>, u32),
    /// That there is none, as a name or of this kind.
    None(ResponseCode),
    /// That something is wrong.
    Code(ResponseCode),
    /// Nothing.
    Silence,
}

/// A question: the name, its kind, and when it came.
pub(crate) type Question = (String, RecordType, Instant);

/// The server. It stops when dropped.
pub(crate) struct Resolver {
    pub(crate) address: SocketAddr,
    zone: Arc<Zone>,
    tasks: [JoinHandle<()>; 2],
}

struct Zone {
    names: Mutex<HashMap<(String, RecordType), Say>>,
    /// In place of all of it.
    always: Mutex<Option<Say>>,
    asked: watch::Sender<Vec<Question>>,
}

impl Resolver {
    pub(crate) async fn start() -> Self {
        let zone = Arc::new(Zone {
            names: Mutex::default(),
            always: Mutex::default(),
            asked: watch::Sender::new(Vec::new()),
        });
        let (udp, tcp) = sockets().await;
        let address = udp.local_addr().expect("its address");
        let datagrams = tokio::spawn(over_udp(udp, Arc::clone(&zone)));
        let streams = tokio::spawn(over_tcp(tcp, Arc::clone(&zone)));
        Self {
            address,
            zone,
            tasks: [datagrams, streams],
        }
    }

    /// Say this of a name from now on.
    pub(crate) fn say(&self, name: &str, kind: RecordType, say: Say) {
        let key = (name.to_owned(), kind);
        self.zone.names.lock().expect("whole").insert(key, say);
    }

    /// Say that a name has these addresses, and no others, for so many seconds.
    pub(crate) fn addresses(&self, name: &str, addresses: &[IpAddr], ttl: u32) {
        let (four, six): (Vec<_>, Vec<_>) = addresses.iter().partition(|one| one.is_ipv4());
        for (kind, addresses) in [(RecordType::A, four), (RecordType::AAAA, six)] {
            let records: Vec<_> = addresses.into_iter().map(record).collect();
            let say = if records.is_empty() {
                Say::None(ResponseCode::NoError)
            } else {
                Say::Records(records, ttl)
            };
            self.say(name, kind, say);
        }
    }

    /// Say that a name has these SRV records, as (priority, weight, port, target).
    pub(crate) fn services(&self, name: &str, records: &[(u16, u16, u16, &str)]) {
        let records = records.iter().map(|(priority, weight, port, target)| {
            let target = Name::from_str(target).expect("a name");
            RData::SRV(SRV::new(*priority, *weight, *port, target))
        });
        self.say(name, RecordType::SRV, Say::Records(records.collect(), 0));
    }

    /// Say this to whatever is asked, or what is known again.
    pub(crate) fn always(&self, say: Option<Say>) {
        *self.zone.always.lock().expect("whole") = say;
    }

    /// Wait until so many more questions have come.
    pub(crate) async fn until_asked(&self, more: usize) {
        let mut asked = self.zone.asked.subscribe();
        let before = asked.borrow_and_update().len();
        let come = asked.wait_for(|asked| asked.len() >= before + more);
        within("questions", come).await.expect("the sender is here");
    }

    /// Every question so far.
    pub(crate) fn asked(&self) -> Vec<Question> {
        self.zone.asked.borrow().clone()
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn record(address: &IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(*address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(*address)),
    }
}

/// Two sockets with the same port.
async fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let udp = udp.expect("a socket");
        let address = udp.local_addr().expect("its address");
        if let Ok(tcp) = TcpListener::bind(address).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both");
}

async fn over_udp(socket: UdpSocket, zone: Arc<Zone>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        if let Some(answer) = zone.answer(&buffer[..length], true) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn over_tcp(listener: TcpListener, zone: Arc<Zone>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(stream_of(stream, Arc::clone(&zone)));
    }
}

async fn stream_of(mut stream: TcpStream, zone: Arc<Zone>) {
    while let Ok(length) = stream.read_u16().await {
        let mut question = vec![0; length.into()];
        if stream.read_exact(&mut question).await.is_err() {
            return;
        }
        let Some(answer) = zone.answer(&question, false) else {
            continue;
        };
        let length = u16::try_from(answer.len()).expect("it is short");
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        if stream.write_all(&framed).await.is_err() {
            return;
        }
    }
}

impl Zone {
    fn answer(&self, question: &[u8], udp: bool) -> Option<Vec<u8>> {
        let question = Message::from_vec(question).ok()?;
        let query = question.queries.first()?.clone();
        let name = query.name().to_lowercase().to_utf8();
        let key = (name.trim_end_matches('.').to_owned(), query.query_type());
        let always = self.always.lock().expect("whole").clone();
        let known = || self.names.lock().expect("whole").get(&key).cloned();
        let say = always.or_else(known);
        let say = say.unwrap_or(Say::None(ResponseCode::NXDomain));
        let asked = (key.0, key.1, Instant::now());
        self.asked.send_modify(|all| all.push(asked));
        let id = question.metadata.id;
        let mut answer = Message::new(id, MessageType::Response, question.metadata.op_code);
        answer.metadata.recursion_desired = question.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        let name = query.name().clone();
        answer.add_query(query);
        match say {
            Say::Silence => return None,
            Say::Code(code) => answer.metadata.response_code = code,
            Say::None(code) => {
                answer.metadata.response_code = code;
                let root = Name::root();
                let soa = SOA::new(root.clone(), root.clone(), 1, 1, 1, 1, 0);
                answer.add_authority(Record::from_rdata(root, 0, RData::SOA(soa)));
            }
            Say::Long(..) if udp => answer.metadata.truncation = true,
            Say::Records(records, ttl) | Say::Long(records, ttl) => {
                for data in records {
                    answer.add_answer(Record::from_rdata(name.clone(), ttl, data));
                }
            }
        }
        answer.to_vec().ok()
    }
}
