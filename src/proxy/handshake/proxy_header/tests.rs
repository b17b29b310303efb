//! What is a header, what is none, and that cuts between segments mean nothing.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const LINE4: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n";
const LINE6: &[u8] = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n";

/// A header of version 2 with this command, family and rest.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a length");
    let fixed = [&[command, family][..], &length.to_be_bytes()];
    [BINARY, &fixed.concat(), rest].concat()
}

fn ipv4() -> Vec<u8> {
    [&[192, 0, 2, 7, 192, 0, 2, 1][..], &[18, 103, 1, 187]].concat()
}

fn ipv6() -> Vec<u8> {
    let mut rest = Vec::new();
    for text in ["2001:db8::7", "2001:db8::1"] {
        rest.extend(text.parse::<Ipv6Addr>().expect(text).octets());
    }
    rest.extend([18, 103, 1, 187]);
    rest
}

fn ends(source: &str, destination: &str) -> Said {
    Said::Ends(Ends {
        source: source.parse().expect(source),
        destination: destination.parse().expect(destination),
    })
}

fn taken(bytes: &[u8]) -> Taken {
    Header::default().take(bytes)
}

/// What comes of a whole header, of which each byte is needed and none beyond.
#[track_caller]
fn whole(header: &[u8]) -> Said {
    let seen = taken(&[header, b"GET / HTTP/1.1\r\n"].concat());
    assert_eq!(seen.bytes, header.len());
    assert_eq!(taken(&header[..header.len() - 1]).said, None);
    seen.said.expect("a whole header").expect("a good header")
}

#[track_caller]
fn refused(bytes: &[u8]) -> Refused {
    match taken(bytes).said {
        Some(Err(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines_name_the_ends() {
    assert_eq!(whole(LINE4), ends("192.0.2.7:4711", "192.0.2.1:443"));
    assert_eq!(
        whole(LINE6),
        ends("[2001:db8::7]:4711", "[2001:db8::1]:443")
    );
    assert_eq!(
        whole(b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"),
        ends("0.0.0.0:0", "255.255.255.255:65535")
    );
}

#[test]
fn an_unknown_client_is_none_whatever_is_said_of_it() {
    let longest = b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n";
    let odd = b"PROXY UNKNOWN \xff\xfe a b c d e f g h\r\n";
    for line in [&b"PROXY UNKNOWN\r\n"[..], longest, odd] {
        assert_eq!(whole(line), Said::Nothing);
    }
}

#[test]
fn binary_headers_name_the_ends() {
    let expected = ends("192.0.2.7:4711", "192.0.2.1:443");
    assert_eq!(whole(&binary(0x21, 0x11, &ipv4())), expected);
    let expected = ends("[2001:db8::7]:4711", "[2001:db8::1]:443");
    assert_eq!(whole(&binary(0x21, 0x21, &ipv6())), expected);
}

#[test]
fn extensions_are_passed_over() {
    for length in [3, 200, MOST - FIXED - 12] {
        let rest = [ipv4(), vec![b'\r'; length]].concat();
        let expected = ends("192.0.2.7:4711", "192.0.2.1:443");
        assert_eq!(whole(&binary(0x21, 0x11, &rest)), expected, "{length}");
    }
}

#[test]
fn what_names_no_end_of_tcp_leaves_the_sockets_own() {
    let cases = [
        ("LOCAL", binary(0x20, 0x00, b"")),
        (
            "LOCAL, its addresses discarded",
            binary(0x20, 0x11, &ipv4()),
        ),
        ("LOCAL, its family discarded", binary(0x20, 0xff, b"abc")),
        ("LOCAL, its length too short", binary(0x20, 0x21, b"")),
        ("unspecified", binary(0x21, 0x00, b"")),
        ("unspecified, with extensions", binary(0x21, 0x00, b"abc")),
        ("a datagram", binary(0x21, 0x12, &ipv4())),
        ("Unix sockets", binary(0x21, 0x31, &[b'/'; 216])),
    ];
    for (what, header) in cases {
        let seen = taken(&header);
        assert_eq!(seen.said, Some(Ok(Said::Nothing)), "{what}");
        assert_eq!(seen.bytes, header.len(), "{what}");
    }
}

#[test]
fn what_begins_otherwise_is_none_from_its_first_wrong_byte() {
    let cases = [
        (&b"GET / HTTP/1.1\r\n"[..], 1),
        (b"\x16\x03\x01", 1),
        (b"\0", 1),
        (b"POST / HTTP/1.1\r\n", 2),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 3),
        (b"PROXYxTCP4 192.0.2.7 192.0.2.1 4711 443\r\n", 6),
        (b"\r\n\r\nGET / HTTP/1.1\r\n", 5),
        (b"\r\n\r\n\0\r\nQUIT\r\n", 12),
    ];
    for (bytes, wrong) in cases {
        let refused = refused(bytes);
        assert_eq!((refused.flaw, refused.byte), (Flaw::Missing, wrong));
        assert_eq!(taken(&bytes[..wrong - 1]).said, None);
    }
}

#[test]
fn a_broken_line_is_refused() {
    let cases = [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443 \r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443 1\r\n",
        "PROXY  TCP4 192.0.2.7 192.0.2.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.7  192.0.2.1 4711 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY unknown\r\n",
        "PROXY UDP4 192.0.2.7 192.0.2.1 4711 443\r\n",
        "PROXY TCP6 192.0.2.7 192.0.2.1 4711 443\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 4711 443\r\n",
        "PROXY TCP4 192.0.2.07 192.0.2.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.256 192.0.2.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 +4711 443\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 04711 443\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 4711 65536\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\r\n",
        "PROXY TCP4 192.0.2.7\r 192.0.2.1 4711 443\r\n",
    ];
    for line in cases {
        assert_eq!(refused(line.as_bytes()).flaw, Flaw::Malformed, "{line:?}");
    }
    let not_text = b"PROXY TCP4 \xff 192.0.2.1 4711 443\r\n";
    assert_eq!(refused(not_text).flaw, Flaw::Malformed);
}

#[test]
fn a_line_without_end_is_refused_at_its_limit() {
    let line = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    let refused = refused(&line);
    assert_eq!((refused.flaw, refused.byte), (Flaw::Overlong, LINE));
    let whole_line = [&b"PROXY UNKNOWN "[..], &[b'x'; LINE - 16], b"\r\n"].concat();
    assert_eq!(whole_line.len(), LINE);
    assert_eq!(whole(&whole_line), Said::Nothing);
}

#[test]
fn a_broken_binary_header_is_refused_before_its_rest_is_awaited() {
    let cases = [
        ("version 1", binary(0x11, 0x11, &ipv4()), 13),
        ("no command", binary(0x22, 0x11, &ipv4()), 13),
        ("no family", binary(0x21, 0x41, &ipv4()), 16),
        ("no transport", binary(0x21, 0x13, &ipv4()), 16),
        ("too short", binary(0x21, 0x11, &ipv4()[..11]), 16),
        ("too short", binary(0x21, 0x21, &ipv6()[..35]), 16),
        ("too short", binary(0x21, 0x31, &[0; 215]), 16),
    ];
    for (what, header, wrong) in cases {
        let refused = refused(&header);
        assert_eq!(
            (refused.flaw, refused.byte),
            (Flaw::Malformed, wrong),
            "{what}"
        );
    }
    for length in [MOST - FIXED + 1, usize::from(u16::MAX)] {
        let refused = refused(&binary(0x20, 0x00, &vec![0; length])[..FIXED]);
        assert_eq!((refused.flaw, refused.byte), (Flaw::Overlong, FIXED));
    }
}

#[test]
fn a_refusal_says_what_and_where() {
    assert_eq!(
        refused(b"GET /").to_string(),
        "this is no PROXY header, at byte 1"
    );
    assert_eq!(
        refused(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\n").to_string(),
        "the line ends in LF without CR, at byte 40"
    );
}

/// Bytes that are a header, or nearly, or not at all; some more follow.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let rest = || vec(any::<u8>(), 0..300);
    let good = prop_oneof![
        Just(LINE4.to_vec()),
        Just(LINE6.to_vec()),
        Just(b"PROXY UNKNOWN\r\n".to_vec()),
        rest().prop_map(|rest| binary(0x21, 0x11, &[ipv4(), rest].concat())),
        rest().prop_map(|rest| binary(0x21, 0x21, &[ipv6(), rest].concat())),
        (any::<u8>(), any::<u8>(), rest()).prop_map(|(c, f, rest)| binary(c, f, &rest)),
    ];
    let damaged = (
        good,
        any::<prop::sample::Index>(),
        any::<u8>(),
        any::<bool>(),
    );
    let header = damaged.prop_map(|(mut bytes, at, byte, damage)| {
        if damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    let begun = prop_oneof![header, rest()];
    (begun, rest()).prop_map(|(begun, rest)| [begun, rest].concat())
}

proptest! {
    #[test]
    fn how_the_bytes_were_cut_means_nothing(
        bytes in stream(),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let at_once = taken(&bytes);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut header = Header::default();
        let mut in_parts = Taken { bytes: 0, said: None };
        for pair in cuts.windows(2) {
            let part = header.take(&bytes[pair[0]..pair[1]]);
            in_parts.bytes += part.bytes;
            in_parts.said = part.said;
            if in_parts.said.is_some() {
                break;
            }
        }
        prop_assert_eq!(in_parts, at_once);
    }

    #[test]
    fn every_header_ends_within_its_limit(bytes in vec(any::<u8>(), MOST..MOST + 2)) {
        for begin in [TEXT, BINARY, b""] {
            let bytes = [begin, &bytes].concat();
            prop_assert!(taken(&bytes).said.is_some());
        }
    }

    #[test]
    fn what_is_written_is_read(source: u32, destination: u128, ports: (u16, u16)) {
        let four = |bits: u32| IpAddr::from(Ipv4Addr::from(bits));
        let six = |bits: u128| IpAddr::from(Ipv6Addr::from(bits));
        #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
        let pairs = [
            (four(source), four(destination as u32), "TCP4"),
            (six(u128::from(source) << 64), six(destination), "TCP6"),
        ];
        for (source, destination, family) in pairs {
            let line = format!("PROXY {family} {source} {destination} {} {}\r\n", ports.0, ports.1);
            let expected = Said::Ends(Ends {
                source: SocketAddr::new(source, ports.0),
                destination: SocketAddr::new(destination, ports.1),
            });
            prop_assert_eq!(taken(line.as_bytes()).said, Some(Ok(expected)));
        }
    }
}
