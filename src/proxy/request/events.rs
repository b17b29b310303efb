//! Event streams: where one may end without an event being broken.
//!
//! An event stream has no end of its own, but it has boundaries: an empty
//! line ends an event, and what follows the last one is thrown away by every
//! client (WHATWG HTML, section 9.2.6, "Interpreting an event stream"). Lines
//! end with LF, CR or CRLF (section 9.2.5), also across chunks. A comment is
//! no part of an event: after one the stream may end as well.
//!
//! Invariant: [`Events`] looks at each byte once and keeps none.
//!
//! Deliberately absent: fields and their meaning, and streams whose bytes are
//! encoded or whose length is declared. Of the first the boundaries cannot be
//! seen, and the second would not be complete: see [`Events::of`].

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};

const KIND: &[u8] = b"text/event-stream";

/// Where in an event stream the last byte stood.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    line: Line,
    /// A field has come since the last empty line.
    begun: bool,
    /// The last byte was CR: a LF right after it is the same line end.
    after_cr: bool,
}

/// What has come of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Line {
    #[default]
    Nothing,
    Comment,
    Field,
}

impl Events {
    /// The beginning of a response's body, if the body is an event stream that
    /// may end before its server ends it.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE)?.as_bytes();
        let (kind, parameters) = kind.split_at_checked(KIND.len())?;
        let whole = matches!(parameters.first(), None | Some(b';' | b' ' | b'\t'));
        let plain =
            !headers.contains_key(CONTENT_ENCODING) && !headers.contains_key(CONTENT_LENGTH);
        (whole && plain && kind.eq_ignore_ascii_case(KIND)).then(Self::default)
    }

    /// Whether the stream stands between two events.
    pub(super) fn at_boundary(&self) -> bool {
        self.line == Line::Nothing && !self.begun
    }

    /// Follow the bytes.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    /// Follow the bytes to the first boundary; how many that were. All of
    /// them, without standing at one, if it is further on.
    pub(super) fn pass_to_boundary(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        let mut rest = bytes.iter().peekable();
        while !self.at_boundary()
            && let Some(byte) = rest.next()
        {
            self.step(*byte);
            passed += 1;
        }
        // Half of a line end is a line end, but looks torn.
        if passed > 0 && self.after_cr && rest.peek() == Some(&&b'\n') {
            self.step(b'\n');
            passed += 1;
        }
        passed
    }

    fn step(&mut self, byte: u8) {
        let same_end = byte == b'\n' && self.after_cr;
        self.after_cr = byte == b'\r';
        match (byte, self.line) {
            _ if same_end => {}
            (b'\n' | b'\r', line) => {
                match line {
                    Line::Nothing => self.begun = false,
                    Line::Comment => {}
                    Line::Field => self.begun = true,
                }
                self.line = Line::Nothing;
            }
            (b':', Line::Nothing) => self.line = Line::Comment,
            (_, Line::Nothing) => self.line = Line::Field,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// The lengths after which the stream may end, byte by byte.
    fn boundaries(text: &str) -> Vec<usize> {
        let mut events = Events::default();
        let bytes = text.as_bytes().iter().enumerate();
        bytes
            .filter_map(|(at, byte)| {
                events.pass(&[*byte]);
                events.at_boundary().then_some(at + 1)
            })
            .collect()
    }

    #[test]
    fn an_event_ends_with_an_empty_line_whatever_ends_lines() {
        assert!(Events::default().at_boundary(), "before the first event");
        assert_eq!(boundaries("a\n\nb\n"), [3]);
        assert_eq!(boundaries("a\r\rb\r"), [3]);
        // The empty line ends with its CR; the LF belongs to it.
        assert_eq!(boundaries("a\r\n\r\nb\r\n"), [4, 5]);
        assert_eq!(boundaries("a\r\n\nb\n\r\n"), [4, 7, 8]);
        assert_eq!(boundaries("a\n\r\rb\r\r\n"), [3, 4, 7, 8]);
    }

    #[test]
    fn one_crlf_is_no_empty_line() {
        assert!(boundaries("data: a\r\ndata: b\r\n").is_empty());
    }

    #[test]
    fn a_comment_belongs_to_no_event() {
        assert_eq!(boundaries(":\n: b\n"), [2, 6]);
        assert_eq!(boundaries("a\n:b\n\n"), [6]);
        // A colon makes a comment only at the beginning of a line.
        assert!(boundaries("a:\n").is_empty());
    }

    #[test]
    fn chunks_may_be_split_anywhere() {
        let text = b"data: a\r\n\r\n: b\ndata: c\rdata: d\r\r\ndata: e\n";
        let mut whole = Events::default();
        whole.pass(text);
        for at in 0..text.len() {
            let (one, other) = text.split_at(at);
            let mut split = Events::default();
            split.pass(one);
            split.pass(other);
            assert_eq!(format!("{split:?}"), format!("{whole:?}"), "at {at}");
        }
    }

    #[test]
    fn what_is_under_way_passes_to_its_boundary_and_no_further() {
        let mut events = Events::default();
        let next = b"b\r\n\r\ndata: c\r\n\r\n";
        assert_eq!(events.pass_to_boundary(next), 0, "there is one already");
        events.pass(b"data: ");
        assert_eq!(events.pass_to_boundary(b"a"), 1);
        assert!(!events.at_boundary());
        assert_eq!(events.pass_to_boundary(next), 5, "with the LF");
        assert!(events.at_boundary());
        events.pass(b"data: d\r\n\r");
        assert_eq!(events.pass_to_boundary(b"\ndata: e"), 0, "an end is an end");
    }

    #[test]
    fn an_event_stream_is_told_by_its_head() {
        let is = |fields: &[(http::HeaderName, &'static str)]| {
            let fields = fields.iter().cloned();
            let headers = fields.map(|(name, value)| (name, HeaderValue::from_static(value)));
            Events::of(&headers.collect()).is_some()
        };
        assert!(is(&[(CONTENT_TYPE, "text/event-stream")]));
        assert!(is(&[(CONTENT_TYPE, "Text/Event-Stream; charset=utf-8")]));
        assert!(!is(&[(CONTENT_TYPE, "text/event-streams")]));
        assert!(!is(&[(CONTENT_TYPE, "text/plain")]));
        assert!(!is(&[]));
        let kind = (CONTENT_TYPE, "text/event-stream");
        assert!(!is(&[kind.clone(), (CONTENT_ENCODING, "gzip")]));
        assert!(!is(&[kind, (CONTENT_LENGTH, "100")]));
    }
}
