//! Any bytes, cut anyhow, beside a reading of the whole at once.

use super::{Header, Said};
use crate::config::ProxyVersion;
use crate::fuzz::{cuts, fuzz};
use crate::proxy::registry::Ends;
use crate::proxy::upstream::written_proxy_header;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What bytes are: a header of so many, none, or too few to tell.
#[derive(PartialEq, Eq, Debug)]
enum Reading {
    Whole(usize, Said),
    Refused,
    More,
}

fn machine(bytes: &[u8], cuts: &[usize]) -> Reading {
    let mut header = Header::default();
    let mut from = 0;
    for to in cuts {
        let taken = header.take(&bytes[from..*to]);
        from += taken.bytes;
        assert_eq!(header.seen(), from);
        match taken.said {
            Some(Ok(said)) => return Reading::Whole(from, said),
            Some(Err(refused)) => {
                assert!(!refused.to_string().is_empty());
                return Reading::Refused;
            }
            None => assert_eq!(from, *to),
        }
    }
    Reading::More
}

fn ends(source: (IpAddr, u16), destination: (IpAddr, u16)) -> Said {
    Said::Ends(Ends {
        source: SocketAddr::from(source),
        destination: SocketAddr::from(destination),
    })
}

/// A line of version 1 without its end (section 2.1).
fn line(line: &str) -> Option<Said> {
    let words: Vec<_> = line.split(' ').collect();
    let [_, family, source, destination, from, to] = words[..] else {
        return None;
    };
    let port = |text: &str| {
        let number: u16 = text.parse().ok()?;
        (number.to_string() == text).then_some(number)
    };
    let address = |text: &str| {
        let address: IpAddr = text.parse().ok()?;
        (address.is_ipv4() == (family == "TCP4")).then_some(address)
    };
    let known = family == "TCP4" || family == "TCP6";
    known.then_some(())?;
    let source = (address(source)?, port(from)?);
    Some(ends(source, (address(destination)?, port(to)?)))
}

fn text(bytes: &[u8]) -> Reading {
    let begins = b"PROXY ";
    if !bytes
        .iter()
        .zip(begins)
        .all(|(byte, wanted)| byte == wanted)
    {
        return Reading::Refused;
    }
    let first = &bytes[..bytes.len().min(107)];
    let Some(end) = first.iter().position(|byte| b"\r\n".contains(byte)) else {
        return if first.len() < 107 {
            Reading::More
        } else {
            Reading::Refused
        };
    };
    match first[end..] {
        [b'\r'] if end < 106 => Reading::More,
        [b'\r', b'\n', ..] => {
            let words = &first[..end];
            let unknown = words == b"PROXY UNKNOWN" || words.starts_with(b"PROXY UNKNOWN ");
            let said = std::str::from_utf8(words).ok().and_then(line);
            match said.or(unknown.then_some(Said::Nothing)) {
                Some(said) => Reading::Whole(end + 2, said),
                None => Reading::Refused,
            }
        }
        _ => Reading::Refused,
    }
}

/// The two addresses of `size` bytes and the ports behind them (section 2.2).
fn addresses(rest: &[u8], size: usize) -> Said {
    let address = |from: usize| -> IpAddr {
        let bits = rest[from..from + size].iter();
        let bits = bits.fold(0_u128, |sum, byte| sum * 256 + u128::from(*byte));
        match u32::try_from(bits) {
            Ok(bits) if size == 4 => Ipv4Addr::from(bits).into(),
            _ => Ipv6Addr::from(bits).into(),
        }
    };
    let port = |from: usize| u16::from(rest[from]) * 256 + u16::from(rest[from + 1]);
    let source = (address(0), port(2 * size));
    ends(source, (address(size), port(2 * size + 2)))
}

fn binary(bytes: &[u8]) -> Reading {
    let begins = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a";
    if !bytes
        .iter()
        .zip(begins)
        .all(|(byte, wanted)| byte == wanted)
    {
        return Reading::Refused;
    }
    let command = bytes.get(12);
    if command.is_some_and(|command| *command != 0x20 && *command != 0x21) {
        return Reading::Refused;
    }
    let [command, family, high, low] = *bytes.get(12..16).unwrap_or_default() else {
        return Reading::More;
    };
    let length = usize::from(high) * 256 + usize::from(low);
    let proxied = command == 0x21;
    let needed = [0, 12, 36, 216].get(usize::from(family / 16));
    let fits = family % 16 <= 2 && needed.is_some_and(|needed| *needed <= length);
    if length > 4096 - 16 || (proxied && !fits) {
        return Reading::Refused;
    }
    let Some(rest) = bytes.get(16..16 + length) else {
        return Reading::More;
    };
    let said = match family {
        0x11 if proxied => addresses(rest, 4),
        0x21 if proxied => addresses(rest, 16),
        _ => Said::Nothing,
    };
    Reading::Whole(16 + length, said)
}

fn model(bytes: &[u8]) -> Reading {
    match bytes.first() {
        None => Reading::More,
        Some(b'\r') => binary(bytes),
        Some(_) => text(bytes),
    }
}

#[test]
fn any_bytes_are_read_as_the_model_reads_them_however_cut() {
    fuzz("proxy_header", 20_000, |bytes, random| {
        let cuts = cuts(random, bytes.len());
        assert_eq!(machine(bytes, &cuts), model(bytes), "cut at {cuts:?}");
    });
}

/// Two ends out of any bytes: a family each, two addresses, two ports. What is
/// missing is zero.
fn any_ends(bytes: &[u8]) -> Ends {
    let mut bytes = bytes.iter().copied().chain(std::iter::repeat(0));
    let mut next = || bytes.next().unwrap_or_default();
    let families = [next(), next()];
    let mut end = |family: u8| {
        let address: [u8; 16] = std::array::from_fn(|_| next());
        let port = u16::from_be_bytes([next(), next()]);
        let [.., a, b, c, d] = address;
        let four = Ipv4Addr::new(a, b, c, d);
        let address: IpAddr = match family % 3 {
            0 => four.into(),
            1 => Ipv6Addr::from(address).into(),
            _ => four.to_ipv6_mapped().into(),
        };
        SocketAddr::new(address, port)
    };
    let (source, destination) = (end(families[0]), end(families[1]));
    Ends {
        source,
        destination,
    }
}

#[test]
fn what_is_written_for_a_server_is_read_back() {
    fuzz("proxy_ends", 10_000, |bytes, random| {
        let said = any_ends(bytes);
        // One end, whatever form its address was in.
        let same = |read: SocketAddr, told: SocketAddr| {
            (read.ip().to_canonical(), read.port()) == (told.ip().to_canonical(), told.port())
        };
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let written = written_proxy_header(version, Some(&said));
            let cuts = cuts(random, written.len());
            let Reading::Whole(length, Said::Ends(read)) = machine(&written, &cuts) else {
                panic!("{said:?} is not read back from {}", written.escape_ascii());
            };
            assert_eq!(length, written.len(), "all of it and no more");
            assert_eq!(read.source.is_ipv4(), read.destination.is_ipv4());
            assert!(same(read.source, said.source), "{said:?}, {read:?}");
            assert!(
                same(read.destination, said.destination),
                "{said:?}, {read:?}"
            );
            // A client's first bytes stay its own.
            let more = [&written, bytes].concat();
            assert_eq!(machine(&more, &[more.len()]), machine(&written, &cuts));
            let nobody = written_proxy_header(version, None);
            let whole = Reading::Whole(nobody.len(), Said::Nothing);
            assert_eq!(machine(&nobody, &[nobody.len()]), whole);
        }
    });
}
