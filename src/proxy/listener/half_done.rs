//! TCP handshakes that have begun at a listening port and are not done.
//!
//! A client's `connect` succeeds when our SYN-ACK reaches it, half a round
//! trip before its own last segment reaches us. A socket closed in between
//! resets a client that was connected, and only the kernel knows of it. So it
//! is asked, by `NETLINK_SOCK_DIAG` (`sock_diag(7)`), which needs no privilege.
//!
//! Invariant: only handshakes that a living client can be expected to
//! complete are counted: one whose SYN-ACK had to be sent again is more than a
//! second old, and most likely nobody's.
//!
//! Deliberately absent: waiting.

use crate::clock;
use crate::drain::Timestamp;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Duration;

const AF_NETLINK: i32 = 16;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const NETLINK_SOCK_DIAG: i32 = 4;
const IPPROTO_TCP: u8 = 6;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;

/// `TCP_SYN_RECV` and what the kernel calls `TCP_NEW_SYN_RECV`.
const HALF_DONE: u32 = 1 << 3 | 1 << 12;

/// Bytes of a `struct nlmsghdr`.
const HEAD: usize = 16;
/// Bytes of a request: the head and a `struct inet_diag_req_v2`.
const REQUEST: usize = HEAD + 56;
/// Where a `struct inet_diag_msg` counts the SYN-ACKs sent again.
const RETRANSMITS: usize = HEAD + 3;

/// Where it has the local port, in the order of the network.
const PORT: usize = HEAD + 4;

/// The kernel answers while it is asked; this is for one that does not.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// Whether a handshake with this listening address is under way, by what the
/// kernel said at `since` or later. It takes milliseconds to look through all
/// connections of the machine, and sockets close in crowds: one answer, about
/// every port, is for all who ask for it.
///
/// # Errors
/// When the kernel does not tell.
pub(super) fn any(address: SocketAddr, since: Timestamp) -> io::Result<bool> {
    static TOLD: [Mutex<Option<Told>>; 2] = [const { Mutex::new(None) }; 2];
    let mut told = TOLD[usize::from(address.is_ipv6())].lock();
    let fresh = told.as_ref().filter(|told| told.asked >= since);
    let ports = if let Some(fresh) = fresh {
        &fresh.ports
    } else {
        let asked = clock::now();
        let ports = ask(address.is_ipv4()).ok();
        &told.insert(Told { asked, ports }).ports
    };
    let ports = ports.as_ref().ok_or(io::ErrorKind::Unsupported)?;
    Ok(ports.contains(&address.port()))
}

/// What the kernel said.
struct Told {
    asked: Timestamp,
    /// The local ports of handshakes under way; none if it said nothing.
    ports: Option<Vec<u16>>,
}

fn ask(ipv4: bool) -> io::Result<Vec<u16>> {
    let kind = Some(Protocol::from(NETLINK_SOCK_DIAG));
    let mut socket = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, kind)?;
    socket.set_read_timeout(Some(ANSWER_TIME))?;
    socket.send(&request(ipv4))?;
    let mut ports = Vec::new();
    let mut space = [0; 16 * 1024];
    loop {
        let read = socket.read(&mut space)?;
        match read_answer(&space[..read], &mut ports) {
            End::Open => {}
            End::Whole => return Ok(ports),
            End::Refused => return Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

fn request(ipv4: bool) -> [u8; REQUEST] {
    let family = if ipv4 { AF_INET } else { AF_INET6 };
    let mut request = [0; REQUEST];
    let mut put = |at: usize, bytes: &[u8]| request[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &72_u32.to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &DUMP.to_ne_bytes());
    // What is left at zero matches any.
    put(HEAD, &[family, IPPROTO_TCP]);
    put(HEAD + 4, &HALF_DONE.to_ne_bytes());
    request
}

/// How far an answer is.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// More is to come.
    Open,
    Whole,
    Refused,
}

/// Take the local ports of handshakes that may yet be completed out of a
/// datagram of the answer.
fn read_answer(mut datagram: &[u8], ports: &mut Vec<u16>) -> End {
    if datagram.is_empty() {
        return End::Refused;
    }
    let mut end = End::Open;
    while let Some((message, rest)) = split(datagram) {
        match u16::from_ne_bytes([message[4], message[5]]) {
            NLMSG_DONE => end = End::Whole,
            NLMSG_ERROR => end = End::Refused,
            SOCK_DIAG_BY_FAMILY if message.get(RETRANSMITS) == Some(&0) => {
                if let Some(&[high, low]) = message.get(PORT..PORT + 2) {
                    ports.push(u16::from_be_bytes([high, low]));
                }
            }
            _ => {}
        }
        datagram = rest;
    }
    end
}

/// The first message of a datagram, and what follows it (messages begin at
/// multiples of four bytes).
fn split(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_ne_bytes(datagram.get(..4)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    let message = datagram.get(..length).filter(|_| length >= HEAD)?;
    let next = length.next_multiple_of(4).min(datagram.len());
    Some((message, &datagram[next..]))
}

#[cfg(test)]
mod tests {
    use super::super::gates::tests::drop_last_segments;
    use super::*;
    use socket2::SockRef;
    use std::net::{TcpListener, TcpStream};

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEAD + payload.len()).expect("short");
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEAD, 0);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn answers_are_read_to_their_end() {
        let young = message(SOCK_DIAG_BY_FAMILY, &[AF_INET, 3, 1, 0, 0x1f, 0x90, 9]);
        let old = message(SOCK_DIAG_BY_FAMILY, &[AF_INET, 3, 1, 1, 0x1f, 0x90]);
        let done = message(NLMSG_DONE, &[0; 4]);
        let read = |parts: &[&[u8]]| {
            let mut ports = Vec::new();
            let end = read_answer(&parts.concat(), &mut ports);
            (ports, end)
        };
        assert_eq!(read(&[&old]), (vec![], End::Open));
        // The kernel pads to multiples of four.
        assert_eq!(read(&[&old, &[0; 2], &done]), (vec![], End::Whole));
        let both = read(&[&young, &[0; 1], &done]);
        assert_eq!(both, (vec![8080], End::Whole));
        let error = message(NLMSG_ERROR, &[0xfe, 0xff, 0xff, 0xff]);
        assert_eq!(read(&[&error]), (vec![], End::Refused));
        assert_eq!(read(&[]), (vec![], End::Refused));
        for cut in 0..young.len() {
            assert!(read(&[&young[..cut]]).0.is_empty(), "{cut} bytes");
        }
    }

    #[test]
    fn a_client_whose_last_segment_is_under_way_is_seen() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                // A machine without IPv6.
                assert!(address.starts_with('['));
                continue;
            };
            let address = listener.local_addr().expect("bound");
            assert!(!any(address, clock::now()).expect("told"), "nobody");
            drop_last_segments(&listener);
            let client = TcpStream::connect(address).expect("for the client it is done");
            assert!(any(address, clock::now()).expect("told"), "{address}");
            SockRef::from(&listener).detach_filter().expect("detached");
            drop(client);
        }
    }
}
