//! The PROXY header, byte by byte: who the client behind a balancer is.
//!
//! Both forms of the PROXY protocol (its text, `proxy-protocol.txt`, sections
//! 2.1 and 2.2) are told apart by their first byte. A [`Header`] takes one byte
//! after the other and says as early as can be that it is whole, or that it can
//! never be.
//!
//! Invariant: what comes of the bytes does not depend on how they were cut into
//! segments, and nothing beyond the header is taken. No header is longer than
//! [`MOST`]; what is kept of one is its addresses.
//!
//! Deliberately absent: sockets and time (see `proxied`); what the extensions
//! of version 2 (TLVs) say, their checksum included: TCP has one.

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

use crate::proxy::registry::Ends;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The longest header in bytes. The protocol allows 64 KiB of extensions; those
/// that balancers send fit many times over.
pub(super) const MOST: usize = 4096;

/// The longest line of version 1, its end included (section 2.1).
const LINE: usize = 107;

const TEXT: &[u8] = b"PROXY ";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What version 2 has before its addresses.
const FIXED: usize = BINARY.len() + 4;

/// A whole header's word on the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// These are the ends of its connection.
    Ends(Ends),
    /// The balancer speaks for itself (`LOCAL`), or does not know (`UNKNOWN`),
    /// or names what is no address of TCP: the socket's own ends count.
    Nothing,
}

/// Why bytes are no header that can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flaw {
    /// They begin as none does.
    Missing,
    /// They begin as one, and break its form.
    Malformed,
    /// It is longer than the protocol allows, or than [`MOST`].
    Overlong,
}

/// Bytes that are no header, what is wrong and with which of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refused {
    pub(super) flaw: Flaw,
    what: &'static str,
    /// Counted from 1.
    byte: usize,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at byte {}", self.what, self.byte)
    }
}

/// What came of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Taken {
    /// So many of them belong to the header.
    pub(super) bytes: usize,
    /// Its word, once it is whole; why it never will be.
    pub(super) said: Option<Result<Said, Refused>>,
}

/// A header under way.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// Its first bytes: a whole line, or all of version 2 that is used.
    held: [u8; LINE],
    seen: usize,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            held: [0; LINE],
            seen: 0,
        }
    }
}

impl Header {
    /// How many bytes of it have come.
    pub(super) fn seen(&self) -> usize {
        self.seen
    }

    /// Take bytes up to the header's end, or to the first that is wrong.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Taken {
        for (index, byte) in bytes.iter().enumerate() {
            let said = self.push(*byte).transpose();
            if said.is_some() {
                let bytes = index + 1;
                return Taken { bytes, said };
            }
        }
        Taken {
            bytes: bytes.len(),
            said: None,
        }
    }

    fn push(&mut self, byte: u8) -> Result<Option<Said>, Refused> {
        if let Some(place) = self.held.get_mut(self.seen) {
            *place = byte;
        }
        self.seen += 1;
        if self.held[0] == BINARY[0] {
            self.binary()
        } else {
            self.text()
        }
    }

    fn refuse<T>(&self, flaw: Flaw, what: &'static str) -> Result<T, Refused> {
        Err(Refused {
            flaw,
            what,
            byte: self.seen,
        })
    }

    fn malformed<T>(&self, what: &'static str) -> Result<T, Refused> {
        self.refuse(Flaw::Malformed, what)
    }

    /// Whether what has come agrees with the first bytes of a form.
    fn begins_as(&self, form: &[u8]) -> Result<(), Refused> {
        let seen = self.seen.min(form.len());
        if self.held[..seen] == form[..seen] {
            return Ok(());
        }
        self.refuse(Flaw::Missing, "this is no PROXY header")
    }

    /// Version 1: a line of words.
    fn text(&self) -> Result<Option<Said>, Refused> {
        self.begins_as(TEXT)?;
        let line = &self.held[..self.seen.min(LINE)];
        match line {
            [.., b'\r', b'\n'] => {
                let words = &line[TEXT.len()..line.len() - 2];
                self.words(words).map(Some)
            }
            [.., b'\n'] => self.malformed("the line ends in LF without CR"),
            [.., b'\r', _] => self.malformed("no LF follows CR"),
            _ if self.seen >= LINE => self.refuse(Flaw::Overlong, "the line has no end"),
            _ => Ok(None),
        }
    }

    fn words(&self, line: &[u8]) -> Result<Said, Refused> {
        // What follows `UNKNOWN` is to be ignored, whatever it is.
        if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
            return Ok(Said::Nothing);
        }
        let Ok(line) = std::str::from_utf8(line) else {
            return self.malformed("the line is not text");
        };
        let mut words = line.split(' ');
        let family = words.next();
        let words: [Option<&str>; 5] = std::array::from_fn(|_| words.next());
        let [
            Some(source),
            Some(destination),
            Some(source_port),
            Some(destination_port),
            None,
        ] = words
        else {
            return self.malformed("the line is not a family, two addresses and two ports");
        };
        let ends = match family {
            Some("TCP4") => pair::<Ipv4Addr>(source, destination),
            Some("TCP6") => pair::<Ipv6Addr>(source, destination),
            _ => return self.malformed("the family is not TCP4, TCP6 or UNKNOWN"),
        };
        let Some((source, destination)) = ends else {
            return self.malformed("an address is not one of its family");
        };
        let (Some(source_port), Some(destination_port)) =
            (port(source_port), port(destination_port))
        else {
            return self.malformed("a port is not a number from 0 to 65535");
        };
        Ok(Said::Ends(Ends {
            source: SocketAddr::new(source, source_port),
            destination: SocketAddr::new(destination, destination_port),
        }))
    }

    /// Version 2: a fixed part that says how long the rest is.
    fn binary(&self) -> Result<Option<Said>, Refused> {
        self.begins_as(BINARY)?;
        if self.seen == BINARY.len() + 1 && !matches!(self.held[12], 0x20 | 0x21) {
            return self.malformed("the version is not 2, or the command neither LOCAL nor PROXY");
        }
        if self.seen < FIXED {
            return Ok(None);
        }
        let length = usize::from(u16::from_be_bytes([self.held[14], self.held[15]]));
        if self.seen == FIXED {
            self.fixed(length)?;
        }
        Ok((self.seen == FIXED + length).then(|| self.addresses()))
    }

    /// Judge the fixed part before any more is awaited.
    fn fixed(&self, length: usize) -> Result<(), Refused> {
        if FIXED + length > MOST {
            return self.refuse(Flaw::Overlong, "the length is beyond 4096 bytes in all");
        }
        let (local, family) = (self.held[12] == 0x20, self.held[13]);
        if local {
            // Its addresses are to be discarded, "including the family".
            return Ok(());
        }
        let needed = match (family >> 4, family & 0x0f) {
            (0, 0..=2) => 0,
            (1, 0..=2) => 12,
            (2, 0..=2) => 36,
            (3, 0..=2) => 216,
            _ => return self.malformed("the address family or the transport is unknown"),
        };
        if length < needed {
            return self.malformed("the length is too short for the addresses");
        }
        Ok(())
    }

    fn addresses(&self) -> Said {
        let ends = match (self.held[12], self.held[13]) {
            (0x21, 0x11) => self.at::<4>(),
            (0x21, 0x21) => self.at::<16>(),
            _ => return Said::Nothing,
        };
        Said::Ends(ends)
    }

    /// Two addresses of this size, and their ports.
    fn at<const SIZE: usize>(&self) -> Ends
    where
        IpAddr: From<[u8; SIZE]>,
    {
        let from = |place: usize| {
            let start = FIXED + place * SIZE;
            let address: [u8; SIZE] = std::array::from_fn(|index| self.held[start + index]);
            let port = FIXED + 2 * SIZE + 2 * place;
            let port = u16::from_be_bytes([self.held[port], self.held[port + 1]]);
            SocketAddr::new(address.into(), port)
        };
        Ends {
            source: from(0),
            destination: from(1),
        }
    }
}

fn pair<A: FromStr + Into<IpAddr>>(source: &str, destination: &str) -> Option<(IpAddr, IpAddr)> {
    let read = |text: &str| text.parse::<A>().ok().map(Into::into);
    Some((read(source)?, read(destination)?))
}

/// A decimal number without sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text == "0" || text.starts_with(|c: char| ('1'..='9').contains(&c));
    text.parse().ok().filter(|_| plain)
}
