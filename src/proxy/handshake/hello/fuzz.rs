//! Any bytes, cut anyhow, beside a reading of RFC 8446 that has them all: one
//! answer, no byte lost, and never too many looked at.

use super::{Hello, MOST, Said};
use crate::fuzz::{cuts, fuzz};
use rustls::server::Acceptor;
use rustls_pki_types::DnsName;

/// What bytes are said to be.
#[derive(PartialEq, Eq, Clone, Debug)]
enum Reading {
    More,
    NoTls,
    Broken,
    Name(Option<String>),
}

/// The answer, and how many bytes had come by then.
fn reading(bytes: &[u8], cuts: &[usize]) -> (Reading, usize) {
    let mut hello = Hello::default();
    let mut from = 0;
    let mut said = None;
    for to in cuts {
        if from == *to {
            continue;
        }
        assert!(hello.seen() <= MOST, "asks for more than it looks at");
        said = hello.take(&bytes[from..*to]);
        from = *to;
        if said.is_some() {
            break;
        }
    }
    assert_eq!(hello.into_bytes(), bytes[..from], "bytes for the server");
    let said = match said {
        None => Reading::More,
        Some(Said::NoTls) => Reading::NoTls,
        Some(Said::Broken(_, alert)) => {
            assert!(alert.is_empty() || alert[0] == 21, "{alert:?}");
            Reading::Broken
        }
        Some(Said::Name(name)) => Reading::Name(name.map(String::from)),
    };
    (said, from)
}

/// What a server that ends TLS itself makes of these bytes.
fn server(bytes: &[u8]) -> Reading {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        if acceptor.read_tls(&mut rest).is_err() {
            return Reading::Broken;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let name = accepted.client_hello().server_name().map(str::to_owned);
                return Reading::Name(name);
            }
            Err(_) => return Reading::Broken,
        }
    }
    Reading::More
}

/// Takes a number of so many bytes, then as many bytes as it says.
fn vector<'a>(bytes: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let length = take(bytes, size)?.iter();
    let length = length.fold(0, |sum, byte| sum * 256 + usize::from(*byte));
    take(bytes, length)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// The names that the first handshake message asks for (RFC 8446, sections
/// 4.1.2 and 5.1; RFC 6066, section 3); `None` if it is no whole `ClientHello`.
fn names(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut messages = Vec::new();
    while let Some(record) = take(&mut bytes, 3) {
        if record[0] != 22 {
            break;
        }
        let Some(part) = vector(&mut bytes, 2) else {
            break;
        };
        messages.extend_from_slice(part);
    }
    let messages = &mut &messages[..];
    let is_hello = take(messages, 1)? == [1];
    let mut hello = vector(messages, 3).filter(|_| is_hello)?;
    let hello = &mut hello;
    take(hello, 2 + 32)?;
    vector(hello, 1)?;
    vector(hello, 2)?;
    vector(hello, 1)?;
    let mut extensions = if hello.is_empty() {
        &[][..]
    } else {
        vector(hello, 2)?
    };
    hello.is_empty().then_some(())?;
    let mut names = Vec::new();
    while !extensions.is_empty() {
        let kind = take(&mut extensions, 2)?;
        let mut content = vector(&mut extensions, 2)?;
        if kind == [0, 0] {
            let mut list = vector(&mut content, 2)?;
            while !list.is_empty() {
                if take(&mut list, 1)? != [0] {
                    // Of a kind that nobody knows, so long as the list is.
                    break;
                }
                let name = vector(&mut list, 2)?;
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    Some(names)
}

#[test]
fn any_cut_of_the_bytes_has_one_reading() {
    fuzz("hello", 10_000, |bytes, random| {
        let cuts = cuts(random, bytes.len());
        let (whole, _) = reading(bytes, &[bytes.len()]);
        let (parts, seen) = reading(bytes, &cuts);
        assert_eq!(parts, whole, "cut at {cuts:?}");
        // What stands behind the hello does not change what it says.
        assert_eq!(reading(&bytes[..seen], &[seen]).0, whole);
    });
}

#[test]
fn the_name_is_the_one_that_any_reader_finds() {
    fuzz("hello", 10_000, |bytes, _| {
        let read = reading(bytes, &[bytes.len()]).0;
        let Reading::Name(name) = read.clone() else {
            return;
        };
        assert_eq!(server(bytes), read, "a server behind");
        let names = names(bytes).expect("a whole ClientHello");
        match (name, &names[..]) {
            (Some(name), [only]) => {
                // A dot at the end changes nothing.
                let bare = only.strip_suffix('.').unwrap_or(only);
                assert!(name.eq_ignore_ascii_case(bare), "{name:?} for {only:?}");
            }
            (Some(name), _) => panic!("{name:?} of {names:?}"),
            (None, []) => {}
            // What is no name of a host, as an address, counts as none.
            (None, [only]) => assert!(DnsName::try_from(&**only).is_err(), "{only:?} is left out"),
            (None, _) => panic!("{names:?} are left out"),
        }
    });
}

#[test]
fn a_whole_hello_is_heard_out() {
    // A reader that refuses everything would hold the tests above.
    for (seed, name) in [
        (
            &include_bytes!("../../../../tests/fuzz/corpus/hello/named")[..],
            true,
        ),
        (
            include_bytes!("../../../../tests/fuzz/corpus/hello/nameless"),
            false,
        ),
        (
            include_bytes!("../../../../tests/fuzz/corpus/hello/records"),
            true,
        ),
        (
            include_bytes!("../../../../tests/fuzz/corpus/hello/small"),
            true,
        ),
    ] {
        let read = reading(seed, &[seed.len()]).0;
        assert!(
            matches!(&read, Reading::Name(found) if found.is_some() == name),
            "{read:?}"
        );
    }
}
