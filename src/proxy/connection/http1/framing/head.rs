//! A request's head: its lines one by one, and what they say together.
//!
//! Only what frames the message or names the host is looked at; everything
//! else must merely be a well-formed line.

use super::chunk::Chunk;
use super::line::{field, line, token};
use super::{At, Bounds, Refusal, Step};

#[derive(Debug, Default)]
pub(super) struct Head {
    /// Bytes whose lines were looked at.
    parsed: usize,
    request_line: bool,
    old: bool,
    fields: usize,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
}

impl Head {
    /// Whether no line of it was read.
    pub(super) fn unbegun(&self) -> bool {
        self.parsed == 0
    }

    /// Whether its version is HTTP/1.0.
    pub(super) fn old(&self) -> bool {
        self.old
    }

    pub(super) fn advance(&mut self, bytes: &[u8], bounds: Bounds) -> Step {
        loop {
            let rest = &bytes[self.parsed..];
            let line = match line(rest) {
                Ok(Some(line)) => line,
                Ok(None) if bytes.len() > bounds.head => return Step::Refuse(self.too_large()),
                Ok(None) => return Step::More,
                Err(refusal) => return Step::Refuse(refusal),
            };
            let end = self.parsed + line.len() + 2;
            if end > bounds.head {
                return Step::Refuse(self.too_large());
            }
            if line.is_empty() && self.request_line {
                return match self.verdict() {
                    Ok(()) => Step::Pass(end),
                    Err(refusal) => Step::Refuse(refusal),
                };
            }
            if let Err(refusal) = self.line(line, bounds) {
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

    fn line(&mut self, line: &[u8], bounds: Bounds) -> Result<(), Refusal> {
        if self.request_line {
            self.fields += 1;
            if self.fields > bounds.fields {
                return Err(Refusal::TooManyFields);
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
        self.old = request_line(line, bounds.target)?;
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
            // One reader looks for the options in it, another passes it over.
            10 if name.eq_ignore_ascii_case(b"connection") && !value.is_ascii() => {
                return Err(Refusal::Malformed);
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
                coding(value)?;
                self.chunked = true;
            }
            14 | 17 if is_disguised(name) => return Err(Refusal::Malformed),
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

    pub(super) fn body(&self) -> At {
        match self.length {
            _ if self.chunked => At::Chunk(Chunk::Size),
            Some(0) | None => At::Head(Self::default()),
            Some(length) => At::Length(length),
        }
    }
}

/// Whether a name frames the message for a server that takes `_` for `-`, as
/// whatever stands behind CGI's variables does.
fn is_disguised(name: &[u8]) -> bool {
    let reads_as = |plain: &[u8]| {
        name.len() == plain.len()
            && name.iter().zip(plain).all(|(byte, plain)| {
                byte.eq_ignore_ascii_case(plain) || (*byte, *plain) == (b'_', b'-')
            })
    };
    reads_as(b"content-length") || reads_as(b"transfer-encoding")
}

/// Whether the version is HTTP/1.0.
fn request_line(line: &[u8], most: usize) -> Result<bool, Refusal> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::Malformed);
    };
    if !token(method) {
        return Err(Refusal::Malformed);
    }
    if target.len() > most {
        return Err(Refusal::TargetTooLong);
    }
    let old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Refusal::Version);
        }
        _ => return Err(Refusal::Malformed),
    };
    if is_target(target, method) {
        Ok(old)
    } else {
        Err(Refusal::Malformed)
    }
}

/// Whether the target has a form that its method allows (RFC 9112, section
/// 3.2). A fragment is in none of them, and would be cut off by the engine.
fn is_target(target: &[u8], method: &[u8]) -> bool {
    let clean = target
        .iter()
        .all(|byte| *byte > b' ' && *byte != 0x7f && *byte != b'#');
    clean
        && match target {
            [] => false,
            // Answered with 501, whatever its target.
            _ if method == b"CONNECT" => true,
            [b'/', ..] => true,
            b"*" => method == b"OPTIONS",
            _ => is_absolute(target),
        }
}

fn is_absolute(target: &[u8]) -> bool {
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    schemes.iter().any(|scheme| {
        let Some((begin, rest)) = target.split_at_checked(scheme.len()) else {
            return false;
        };
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
        let authority = &rest[..end.unwrap_or(rest.len())];
        let named = !matches!(authority, [] | [b':', ..]);
        begin.eq_ignore_ascii_case(scheme) && named && host(authority)
    })
}

/// A host with or without its port; it may be empty.
fn host(value: &[u8]) -> bool {
    let literal = value.strip_prefix(b"[").map(|inner| {
        let end = inner.iter().position(|byte| *byte == b']');
        end.map(|end| (&inner[..end], &inner[end + 1..], &b":.-_~%"[..]))
    });
    let (name, port, marks) = match literal {
        Some(None) => return false,
        Some(Some(parts)) => parts,
        None => {
            let end = value.iter().position(|byte| *byte == b':');
            let (name, port) = value.split_at(end.unwrap_or(value.len()));
            (name, port, &b"-._~!$&'()*+;=%"[..])
        }
    };
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || marks.contains(byte);
    let port_ok = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    port_ok && name.iter().all(in_name)
}

/// Only `chunked`, and only once, can end a request (RFC 9112, section 6.3);
/// codings before it are not implemented.
fn coding(value: &[u8]) -> Result<(), Refusal> {
    let chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    if chunked(value) {
        return Ok(());
    }
    let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let last = codings.next_back().is_some_and(chunked);
    if last && codings.all(|coding| token(coding) && !chunked(coding)) {
        Err(Refusal::UnknownCoding)
    } else {
        Err(Refusal::Malformed)
    }
}

fn length(value: &[u8]) -> Result<u64, Refusal> {
    // A leading zero makes it octal to some.
    let odd = value.len() > 1 && value[0] == b'0';
    if odd || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
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
