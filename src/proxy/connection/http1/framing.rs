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

mod chunk;
#[cfg(test)]
mod fuzz;
mod head;
mod line;
#[cfg(test)]
mod tests;

use crate::proxy::registry::Limit;
use chunk::Chunk;
use head::Head;

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// Not to be read in one way only.
    Malformed,
    /// The head did not arrive in time.
    TooSlow,
    /// The declared body is beyond any limit.
    TooLarge,
    /// The target is longer than it may be, or the request line than the head.
    TargetTooLong,
    /// The head is too large.
    HeadTooLarge,
    /// The head has too many fields.
    TooManyFields,
    /// A transfer coding that is not implemented.
    UnknownCoding,
    /// A half-read head was overtaken by a drain.
    Draining,
    /// A half-read head had to make room for others.
    Crowded,
    /// A version that is not HTTP/1.0 or HTTP/1.1.
    Version,
}

impl Refusal {
    /// The status that says so.
    const fn code(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::TooSlow => 408,
            Self::TooLarge => 413,
            Self::TargetTooLong => 414,
            Self::HeadTooLarge | Self::TooManyFields => 431,
            Self::UnknownCoding => 501,
            Self::Draining | Self::Crowded => 503,
            Self::Version => 505,
        }
    }

    /// The limit that was reached, where it is one.
    pub(super) const fn limit(self) -> Option<Limit> {
        match self {
            Self::TooSlow => Some(Limit::HeadTime),
            Self::TooLarge => Some(Limit::Body),
            Self::TargetTooLong => Some(Limit::Uri),
            Self::HeadTooLarge => Some(Limit::Head),
            Self::TooManyFields => Some(Limit::Headers),
            Self::Malformed
            | Self::UnknownCoding
            | Self::Draining
            | Self::Crowded
            | Self::Version => None,
        }
    }

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
            Self::TooManyFields => (
                "Request Header Fields Too Large",
                "the request has too many header fields",
            ),
            Self::UnknownCoding => ("Not Implemented", "the transfer coding is not supported"),
            Self::Draining => (
                "Service Unavailable",
                "this proxy is draining; try again elsewhere",
            ),
            Self::Crowded => (
                "Service Unavailable",
                "too many connections are waiting; send the whole request at once",
            ),
            Self::Version => ("HTTP Version Not Supported", "speak HTTP/1.1 or HTTP/1.0"),
        };
        let retry = if self.code() == 503 {
            "Retry-After: 1\r\n"
        } else {
            ""
        };
        format!(
            "HTTP/1.1 {code} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{retry}Connection: close\r\n\r\n{says}\n",
            says.len() + 1,
            code = self.code(),
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

/// Follows the framing of one connection's requests.
#[derive(Debug)]
pub(super) struct Framing {
    at: At,
    /// The last head was one of HTTP/1.0.
    old: bool,
    bounds: Bounds,
}

/// How much of a head there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes in all.
    pub(super) head: usize,
    /// Bytes of the target.
    pub(super) target: usize,
    /// Fields.
    pub(super) fields: usize,
}

#[derive(Debug)]
enum At {
    Head(Head),
    Length(u64),
    Chunk(Chunk),
}

impl Framing {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            at: At::Head(Head::default()),
            old: false,
            bounds,
        }
    }

    /// Whether the next byte begins a request.
    pub(super) fn at_boundary(&self) -> bool {
        matches!(&self.at, At::Head(head) if head.unbegun())
    }

    /// Whether a request head is awaited or under way.
    pub(super) fn in_head(&self) -> bool {
        matches!(self.at, At::Head(_))
    }

    /// Whether the last request that passed was one of HTTP/1.0.
    pub(super) fn old(&self) -> bool {
        self.old
    }

    /// Look at the unpassed bytes. While the answer is [`Step::More`] they
    /// must be shown again from the same start.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Step {
        match &mut self.at {
            At::Head(head) => {
                let step = head.advance(bytes, self.bounds);
                if let Step::Pass(_) = step {
                    self.old = head.old();
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
            match chunk.advance(&bytes[passed..], self.bounds.head) {
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
