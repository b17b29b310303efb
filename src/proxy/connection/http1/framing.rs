//! Where HTTP/1.1 messages begin and end: the strict reading.
//!
//! A pure machine that is shown every byte from a client before the HTTP
//! engine is, and lets through whole, unambiguous request heads and exactly
//! the bytes of their bodies. What can be read two ways is refused, never
//! repaired: that is how requests are smuggled (RFC 9112, sections 2.2, 5, 6
//! and 11.2).
//!
//! Invariant: after a refusal nothing more is let through. Deliberately
//! absent: the meaning of fields other than those that frame the message.

use memchr::memchr;

/// Why a request is refused; the code is the status that says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(super) enum Refusal {
    /// Not to be read in one way only.
    Malformed = 400,
    /// The head did not arrive in time.
    TooSlow = 408,
    /// The declared body is beyond any limit.
    TooLarge = 413,
    /// The request line is longer than the head may be.
    TargetTooLong = 414,
    /// The head is too large, or has too many fields.
    HeadTooLarge = 431,
    /// A transfer coding that is not implemented.
    UnknownCoding = 501,
    /// A half-read head was overtaken by a drain.
    Draining = 503,
    /// A version that is not HTTP/1.0 or HTTP/1.1.
    Version = 505,
}

impl Refusal {
    /// The whole answer, ready to be written.
    pub(super) fn answer(self) -> String {
        let (reason, says) = match self {
            Self::Malformed => (
                "Bad Request",
                "the request is malformed or can be read two ways",
            ),
            Self::TooSlow => ("Request Timeout", "the request head took too long"),
            Self::TooLarge => ("Content Too Large", "the declared body is too large"),
            Self::TargetTooLong => ("URI Too Long", "the request line is too long"),
            Self::HeadTooLarge => (
                "Request Header Fields Too Large",
                "the request head is too large",
            ),
            Self::UnknownCoding => ("Not Implemented", "the transfer coding is not supported"),
            Self::Draining => (
                "Service Unavailable",
                "this proxy is draining; try again elsewhere",
            ),
            Self::Version => ("HTTP Version Not Supported", "speak HTTP/1.1 or HTTP/1.0"),
        };
        let retry = if self == Self::Draining {
            "Retry-After: 1\r\n"
        } else {
            ""
        };
        format!(
            "HTTP/1.1 {code} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{retry}Connection: close\r\n\r\n{says}\n",
            says.len() + 1,
            code = self as u16,
        )
    }
}

/// What to do with the bytes shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// This many from the front may go on.
    Pass(usize),
    /// Too few to tell: show them again, with more behind them.
    More,
    /// Refuse the request; nothing more may go on.
    Refuse(Refusal),
}

/// A chunk-size line may be this long, extensions included.
const CHUNK_LINE: usize = 256;

/// Follows the framing of one connection's requests.
#[derive(Debug)]
pub(super) struct Framing {
    at: At,
    max_head: usize,
    max_fields: usize,
}

#[derive(Debug)]
enum At {
    Head(Head),
    Length(u64),
    Chunk(Chunk),
}

#[derive(Debug, Clone, Copy)]
enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailer { seen: usize },
}

#[derive(Debug, Default)]
struct Head {
    /// Bytes whose lines were looked at.
    parsed: usize,
    request_line: bool,
    old: bool,
    fields: usize,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
}

impl Framing {
    pub(super) fn new(max_head: usize, max_fields: usize) -> Self {
        Self {
            at: At::Head(Head::default()),
            max_head,
            max_fields,
        }
    }

    /// Whether the next byte begins a request.
    pub(super) fn at_boundary(&self) -> bool {
        matches!(&self.at, At::Head(head) if head.parsed == 0)
    }

    /// Whether a request head is awaited or under way.
    pub(super) fn in_head(&self) -> bool {
        matches!(self.at, At::Head(_))
    }

    /// Look at the unpassed bytes. While the answer is [`Step::More`] they
    /// must be shown again from the same start.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Step {
        match &mut self.at {
            At::Head(head) => {
                let step = head.advance(bytes, self.max_head, self.max_fields);
                if let Step::Pass(_) = step {
                    self.at = head.body();
                }
                step
            }
            At::Length(left) => {
                let taken = bytes
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                if taken == 0 {
                    return Step::More;
                }
                *left -= taken as u64;
                if *left == 0 {
                    self.at = At::Head(Head::default());
                }
                Step::Pass(taken)
            }
            At::Chunk(_) => self.chunks(bytes),
        }
    }

    fn chunks(&mut self, bytes: &[u8]) -> Step {
        let mut passed = 0;
        while let At::Chunk(chunk) = &mut self.at {
            match chunk.advance(&bytes[passed..], self.max_head) {
                Ok((0, None)) => break,
                Ok((taken, next)) => {
                    passed += taken;
                    match next {
                        Some(next) => *chunk = next,
                        None => self.at = At::Head(Head::default()),
                    }
                }
                Err(refusal) => return Step::Refuse(refusal),
            }
        }
        if passed == 0 {
            Step::More
        } else {
            Step::Pass(passed)
        }
    }
}

impl Chunk {
    /// The bytes used and what comes next; `(0, None)` is too few bytes, and
    /// any other `None` the end of the message.
    fn advance(self, bytes: &[u8], max_head: usize) -> Result<(usize, Option<Self>), Refusal> {
        match self {
            Self::Size => match line(bytes)? {
                Some(line) => {
                    let size = chunk_size(line)?;
                    let next = if size == 0 {
                        Self::Trailer { seen: 0 }
                    } else {
                        Self::Data(size)
                    };
                    Ok((line.len() + 2, Some(next)))
                }
                None if bytes.len() > CHUNK_LINE => Err(Refusal::Malformed),
                None => Ok((0, None)),
            },
            Self::Data(left) => {
                let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - taken as u64;
                match (taken, left) {
                    (0, _) => Ok((0, None)),
                    (_, 0) => Ok((taken, Some(Self::DataEnd))),
                    _ => Ok((taken, Some(Self::Data(left)))),
                }
            }
            Self::DataEnd => match bytes {
                [b'\r', b'\n', ..] => Ok((2, Some(Self::Size))),
                [] | [b'\r'] => Ok((0, None)),
                _ => Err(Refusal::Malformed),
            },
            Self::Trailer { seen } => match line(bytes)? {
                Some([]) => Ok((2, None)),
                Some(line) => {
                    let seen = seen + line.len() + 2;
                    if seen > max_head {
                        return Err(Refusal::HeadTooLarge);
                    }
                    field(line)?;
                    Ok((line.len() + 2, Some(Self::Trailer { seen })))
                }
                None if bytes.len() > max_head => Err(Refusal::HeadTooLarge),
                None => Ok((0, None)),
            },
        }
    }
}

impl Head {
    fn advance(&mut self, bytes: &[u8], max_head: usize, max_fields: usize) -> Step {
        loop {
            let rest = &bytes[self.parsed..];
            let line = match line(rest) {
                Ok(Some(line)) => line,
                Ok(None) if bytes.len() > max_head => return Step::Refuse(self.too_large()),
                Ok(None) => return Step::More,
                Err(refusal) => return Step::Refuse(refusal),
            };
            let end = self.parsed + line.len() + 2;
            if end > max_head {
                return Step::Refuse(self.too_large());
            }
            if line.is_empty() && self.request_line {
                return match self.verdict() {
                    Ok(()) => Step::Pass(end),
                    Err(refusal) => Step::Refuse(refusal),
                };
            }
            if let Err(refusal) = self.line(line, max_fields) {
                return Step::Refuse(refusal);
            }
            self.parsed = end;
        }
    }

    fn too_large(&self) -> Refusal {
        if self.request_line {
            Refusal::HeadTooLarge
        } else {
            Refusal::TargetTooLong
        }
    }

    fn line(&mut self, line: &[u8], max_fields: usize) -> Result<(), Refusal> {
        if self.request_line {
            self.fields += 1;
            if self.fields > max_fields {
                return Err(Refusal::HeadTooLarge);
            }
            return self.field(line);
        }
        // One empty line before a request is forgiven (RFC 9112, 2.2).
        if line.is_empty() {
            return if self.parsed == 0 {
                Ok(())
            } else {
                Err(Refusal::Malformed)
            };
        }
        self.old = request_line(line)?;
        self.request_line = true;
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let (name, value) = field(line)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts += 1;
                if self.hosts > 1 || !host(value) {
                    return Err(Refusal::Malformed);
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Refusal::Malformed);
                }
                self.length = Some(length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked {
                    return Err(Refusal::Malformed);
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::UnknownCoding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// What the fields say together (RFC 9112, sections 3.2 and 6.1).
    fn verdict(&self) -> Result<(), Refusal> {
        let ambiguous = self.chunked && (self.length.is_some() || self.old);
        let homeless = self.hosts == 0 && !self.old;
        if ambiguous || homeless {
            return Err(Refusal::Malformed);
        }
        Ok(())
    }

    fn body(&self) -> At {
        match self.length {
            _ if self.chunked => At::Chunk(Chunk::Size),
            Some(0) | None => At::Head(Self::default()),
            Some(length) => At::Length(length),
        }
    }
}

/// The first line without its CRLF; a bare CR, LF or NUL is refused as soon
/// as it is seen.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Refusal> {
    let Some(end) = memchr(b'\n', bytes) else {
        // A CR at the very end may be half of a CRLF.
        let known = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        return if clean(known) {
            Ok(None)
        } else {
            Err(Refusal::Malformed)
        };
    };
    match bytes[..end].split_last() {
        Some((b'\r', line)) if clean(line) => Ok(Some(line)),
        _ => Err(Refusal::Malformed),
    }
}

fn clean(line: &[u8]) -> bool {
    memchr::memchr2(b'\r', 0, line).is_none()
}

/// Whether the version is HTTP/1.0. The target's own form is the engine's to
/// judge; here it must merely be one word.
fn request_line(line: &[u8]) -> Result<bool, Refusal> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::Malformed);
    };
    let target_ok = !target.is_empty() && target.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    if !token(method) || !target_ok {
        return Err(Refusal::Malformed);
    }
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Refusal::Version)
        }
        _ => Err(Refusal::Malformed),
    }
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let colon = memchr(b':', line).ok_or(Refusal::Malformed)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !token(name) {
        return Err(Refusal::Malformed);
    }
    Ok((name, value.trim_ascii()))
}

fn token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn host(value: &[u8]) -> bool {
    value
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=:[]%".contains(byte))
}

fn length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::Malformed);
    }
    let limit = i64::MAX as u64;
    let mut length: u64 = 0;
    for digit in value {
        length = length
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(u64::from(digit - b'0')))
            .filter(|length| *length <= limit)
            .ok_or(Refusal::TooLarge)?;
    }
    Ok(length)
}

fn chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    if line.len() > CHUNK_LINE {
        return Err(Refusal::Malformed);
    }
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let extension = &line[digits..];
    // White space before an extension is bad grace, and a way to differ.
    let extension_ok = extension.is_empty() || extension[0] == b';';
    if digits == 0 || digits > 15 || !extension_ok {
        return Err(Refusal::Malformed);
    }
    line[..digits].iter().try_fold(0, |size: u64, digit| {
        let value = (*digit as char).to_digit(16).ok_or(Refusal::Malformed)?;
        Ok(size << 4 | u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(bytes: &[u8]) -> Result<Vec<usize>, Refusal> {
        let mut framing = Framing::new(1024, 10);
        let mut rest = bytes;
        let mut passed = Vec::new();
        while !rest.is_empty() {
            match framing.advance(rest) {
                Step::Pass(n) => {
                    passed.push(n);
                    rest = &rest[n..];
                }
                Step::More => break,
                Step::Refuse(refusal) => return Err(refusal),
            }
        }
        Ok(passed)
    }

    /// The same bytes, one more at a time, must be read the same way.
    fn trickle(bytes: &[u8]) -> Result<usize, Refusal> {
        let mut framing = Framing::new(1024, 10);
        let (mut from, mut passed) = (0, 0);
        for to in 1..=bytes.len() {
            while from < to {
                match framing.advance(&bytes[from..to]) {
                    Step::Pass(n) => {
                        from += n;
                        passed += n;
                    }
                    Step::More => break,
                    Step::Refuse(refusal) => return Err(refusal),
                }
            }
        }
        Ok(passed)
    }

    fn both(bytes: &[u8]) -> Result<usize, Refusal> {
        let whole = feed(bytes).map(|parts| parts.iter().sum());
        assert_eq!(whole, trickle(bytes), "{}", bytes.escape_ascii());
        whole
    }

    #[test]
    fn whole_requests_pass_to_the_byte() {
        let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(both(get), Ok(get.len()));
        let pipelined = [&get[..], b"\r\n", get].concat();
        assert_eq!(both(&pipelined), Ok(pipelined.len()));
        let post =
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /x HTTP/1.0\r\n\r\n";
        assert_eq!(both(post), Ok(post.len()));
        let chunked = b"POST / HTTP/1.1\r\nhost:a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(both(chunked), Ok(chunked.len()));
    }

    #[test]
    fn half_a_head_waits() {
        assert_eq!(both(b"GET / HTTP/1.1\r\nHost: a\r\n"), Ok(0));
        assert_eq!(both(b"GET / HTTP/1.1\r\nHost: a\r\n\r"), Ok(0));
    }

    #[test]
    fn two_readings_are_refused() {
        let bad: [(&[u8], Refusal); 24] = [
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::Malformed),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Refusal::Malformed),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", Refusal::Malformed),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", Refusal::Malformed),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", Refusal::TooLarge),
            (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Refusal::UnknownCoding),
            (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::Malformed),
            (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::Malformed),
            (b"GET / HTTP/1.1\r\n\r\n", Refusal::Malformed),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Refusal::Malformed),
            (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Refusal::Malformed),
            (b"GET / HTTP/1.1\nHost: a\n\n", Refusal::Malformed),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", Refusal::Malformed),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", Refusal::Malformed),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", Refusal::Malformed),
            (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", Refusal::Malformed),
            (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", Refusal::Malformed),
            (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Malformed),
            (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", Refusal::Version),
            (b"GET / HTTQ/1.1\r\nHost: a\r\n\r\n", Refusal::Malformed),
            (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n", Refusal::Malformed),
            (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n", Refusal::Malformed),
            (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX", Refusal::Malformed),
            (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n", Refusal::Malformed),
        ];
        for (bytes, refusal) in bad {
            assert_eq!(both(bytes), Err(refusal), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn limits_hold() {
        let long = [b"GET /".as_slice(), &[b'a'; 1100]].concat();
        assert_eq!(both(&long), Err(Refusal::TargetTooLong));
        let wide = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 1100]].concat();
        assert_eq!(both(&wide), Err(Refusal::HeadTooLarge));
        let many = [b"GET / HTTP/1.1\r\n".as_slice(), &b"X: y\r\n".repeat(11)].concat();
        assert_eq!(both(&many), Err(Refusal::HeadTooLarge));
    }
}
