//! Any bytes, cut anyhow, beside a reading of RFC 9112 that shares nothing
//! with the machine: it has the whole stream and looks at it as text.

use super::{Bounds, Framing, Step};
use crate::fuzz::{cuts, fuzz};

const MAX_HEAD: usize = 512;
const MAX_FIELDS: usize = 8;

/// Where messages end, and whether the stream is refused behind the last.
#[derive(PartialEq, Eq, Debug, Default)]
struct Reading {
    ends: Vec<usize>,
    refused: bool,
}

fn machine(bytes: &[u8], cuts: &[usize]) -> Reading {
    let mut framing = Framing::new(Bounds {
        head: MAX_HEAD,
        // The model knows no shorter limit for the target.
        target: MAX_HEAD,
        fields: MAX_FIELDS,
    });
    let mut reading = Reading::default();
    let mut from = 0;
    for to in cuts {
        while from < *to {
            match framing.advance(&bytes[from..*to]) {
                Step::Pass(passed) => {
                    assert!((1..=to - from).contains(&passed), "passed {passed}");
                    from += passed;
                    if framing.at_boundary() {
                        reading.ends.push(from);
                    }
                }
                Step::More => break,
                Step::Refuse(_) => {
                    reading.refused = true;
                    return reading;
                }
            }
        }
    }
    reading
}

/// The lines up to the empty one and the place behind it; `None` if the bytes
/// end before. A line is what stands before a LF.
fn section(bytes: &[u8]) -> Option<(Vec<&[u8]>, usize)> {
    let mut lines = Vec::new();
    let mut from = 0;
    for part in bytes.split_inclusive(|byte| *byte == b'\n') {
        from += part.len();
        let line = part.strip_suffix(b"\r\n")?;
        if line.is_empty() {
            return Some((lines, from));
        }
        lines.push(line);
    }
    None
}

fn is_token(text: &[u8]) -> bool {
    let separator = b"\"(),/:;<=>?@[\\]{}";
    let good = |byte: &u8| byte.is_ascii_graphic() && !separator.contains(byte);
    !text.is_empty() && text.iter().all(good)
}

fn field(line: &[u8]) -> Option<(String, String)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let value = &line[colon + 1..];
    let plain = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    (is_token(&line[..colon]) && value.iter().all(plain)).then(|| {
        let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
        let value = String::from_utf8_lossy(value);
        (name, value.trim_matches([' ', '\t']).to_owned())
    })
}

enum Body {
    Sized(u64),
    Chunked,
}

/// How long the body behind this head is, if there is one reading only.
fn body(lines: &[&[u8]]) -> Option<Body> {
    let (first, rest) = lines.split_first()?;
    let words: Vec<_> = first.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else {
        return None;
    };
    let old = version == b"HTTP/1.0";
    if !is_token(method) || target.is_empty() || !(old || version == b"HTTP/1.1") {
        return None;
    }
    let fields: Vec<_> = rest.iter().map(|line| field(line)).collect::<Option<_>>()?;
    let all = |wanted: &str| -> Vec<&str> {
        let same = fields
            .iter()
            .filter(|(name, _)| name.replace('_', "-") == wanted);
        same.map(|(_, value)| value.as_str()).collect()
    };
    let hosts = fields.iter().filter(|(name, _)| name == "host").count();
    if hosts > 1 || (hosts == 0 && !old) || fields.len() > MAX_FIELDS {
        return None;
    }
    match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Some(Body::Sized(0)),
        ([length], []) => {
            let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| length.parse().ok().map(Body::Sized))?
        }
        ([], [coding]) if !old => coding
            .eq_ignore_ascii_case("chunked")
            .then_some(Body::Chunked),
        _ => None,
    }
}

/// Where a chunked body ends, counted from its first byte.
fn chunked(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..)?;
        let lf = rest.iter().position(|byte| *byte == b'\n')?;
        let line = rest[..lf].strip_suffix(b"\r")?;
        let digits = line.split(|byte| *byte == b';').next()?;
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        at += lf + 1;
        if size == 0 {
            let (trailers, end) = section(&bytes[at..])?;
            return trailers
                .iter()
                .all(|line| field(line).is_some())
                .then_some(at + end);
        }
        at = at.checked_add(size)?;
        (bytes.get(at..at.checked_add(2)?)? == b"\r\n").then_some(())?;
        at += 2;
    }
}

/// Where the first message ends, if it is whole and can be read one way only.
fn message(bytes: &[u8]) -> Option<usize> {
    let blank = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let (lines, head) = section(&bytes[blank..])?;
    let start = blank + head;
    let rest = &bytes[start..];
    let length = match body(&lines)? {
        Body::Sized(length) => usize::try_from(length).ok()?,
        Body::Chunked => chunked(rest)?,
    };
    (start <= MAX_HEAD && length <= rest.len()).then_some(start + length)
}

#[test]
fn what_passes_is_framed_as_the_model_frames_it() {
    fuzz("http1", 20_000, |bytes, _| {
        let reading = machine(bytes, &[bytes.len()]);
        let mut from = 0;
        for end in reading.ends {
            assert_eq!(
                message(&bytes[from..]).map(|length| from + length),
                Some(end)
            );
            from = end;
        }
    });
}

#[test]
fn any_cut_of_the_bytes_has_one_reading() {
    fuzz("http1", 20_000, |bytes, random| {
        let whole = machine(bytes, &[bytes.len()]);
        let cuts = cuts(random, bytes.len());
        assert_eq!(machine(bytes, &cuts), whole, "cut at {cuts:?}");
    });
}
