//! What a strict reading of a server's frames finds on its streams (RFC 9113,
//! section 8): an answer, a part of one, or none.
//!
//! What is certain stands here, and nothing else: what must break a connection or
//! a stream does, and only where nothing at all is odd is an answer *plain*, so
//! that its client must hear it.

use super::asked::{bare, declared, is_bad, text};
use super::frames::{Frame, Script};
use super::reading::{Answer, Body, Fields, Read};

/// More of these is a flood, or too much for a window.
const MOST_CONTENT: usize = 60_000;
const MOST_EMPTY: usize = 50;
const MOST_BLOCKS: usize = 8;

/// How far an answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Open,
    Whole,
    /// Nobody may take what follows for a part of it.
    Broken,
}

/// What a client is told on one stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// The request was HEAD.
    bare: bool,
    head: Option<(u16, Fields)>,
    content: Vec<u8>,
    /// DATA without content.
    empty: usize,
    /// HEADERS, and what continues them.
    blocks: usize,
    trailers: Fields,
    state: State,
    /// Nobody but an HPACK decoder could tell.
    pub(super) unclear: bool,
}

/// What a server says on streams 1, 3 and so on.
#[derive(Debug)]
pub(super) struct Sayings {
    pub(super) said: Vec<Said>,
    /// Nothing that it says is odd.
    pub(super) plain: bool,
    /// The connection must be at its end.
    over: bool,
    /// A block that is not whole: its stream, whether it ends that, its fields.
    open: Option<(u32, bool, Fields)>,
    /// Streams of no request that may have been ended for themselves.
    strange: Vec<u32>,
}

impl Sayings {
    /// Nothing is said yet.
    fn new(streams: usize) -> Self {
        Self {
            said: vec![Said::default(); streams],
            plain: false,
            over: false,
            open: None,
            strange: Vec::new(),
        }
    }

    /// A script that is said before anything was asked: an answer to nothing,
    /// unless a request came once SETTINGS had.
    pub(super) fn unasked(script: &Script, streams: usize) -> Self {
        let settings = |frame: &Frame| matches!(frame, Frame::Other { kind: 4, .. });
        let mut sayings = Self::new(streams);
        for said in &mut sayings.said {
            said.unclear = script.0.iter().any(settings);
        }
        sayings
    }

    /// Read a script that begins once so many requests were sent; `heads` if
    /// they are HEAD.
    pub(super) fn read(script: &Script, streams: usize, heads: bool) -> Self {
        let mut sayings = Self::new(streams);
        sayings.plain = true;
        for said in &mut sayings.said {
            said.bare = heads;
        }
        for frame in &script.0 {
            if !sayings.over {
                sayings.frame(frame);
            }
        }
        sayings.plain &= !sayings.over && sayings.open.is_none();
        sayings
    }

    /// Whether every request has a whole answer, and nothing is odd.
    pub(super) fn all_plain(&self) -> bool {
        self.plain && self.said.iter().all(Said::is_whole)
    }

    /// What is said on a stream, if it is one on which a request was sent.
    fn on(&mut self, stream: u32) -> Option<&mut Said> {
        let at = usize::try_from(stream.checked_sub(1)?).ok()?;
        self.said.get_mut(at / 2).filter(|_| at % 2 == 0)
    }

    fn frame(&mut self, frame: &Frame) {
        let unfinished = self.open.as_ref().map(|(stream, ..)| *stream);
        match frame {
            Frame::Fields {
                kind: 9,
                stream,
                whole,
                fields,
                ..
            } => match self.open.take() {
                Some((open, ends, mut before)) if open == *stream => {
                    before.extend(text(fields));
                    if let Some(said) = self.on(*stream) {
                        said.blocks += 1;
                    }
                    self.open = Some((open, ends, before));
                    self.close(*whole);
                }
                _ => self.over = true,
            },
            _ if unfinished.is_some() => self.over = true,
            Frame::Fields {
                stream,
                ends,
                whole,
                fields,
                ..
            } => {
                self.open = Some((*stream, *ends, text(fields)));
                self.close(*whole);
            }
            Frame::Data {
                stream,
                ends,
                content,
            } => self.data(*stream, *ends, content),
            Frame::Other {
                kind,
                flags,
                stream,
                payload,
            } => self.other(*kind, *flags, *stream, payload),
        }
    }

    /// Take the block that is open, if it is whole.
    fn close(&mut self, whole: bool) {
        let Some((stream, ends, fields)) = self.open.take_if(|_| whole) else {
            return;
        };
        match self.on(stream) {
            // Of one that is malformed an engine may end the stream alone.
            None if Said::head(fields.clone()).is_none() => {
                self.plain = false;
                self.strange.push(stream);
            }
            None => self.over = true,
            Some(said) => {
                said.blocks += 1;
                let few = said.blocks <= MOST_BLOCKS;
                let taken = said.fields(fields, ends);
                self.plain &= taken && few;
            }
        }
    }

    fn data(&mut self, stream: u32, ends: bool, content: &[u8]) {
        let strange = self.strange.contains(&stream);
        match self.on(stream) {
            None if strange => self.plain = false,
            None => self.over = true,
            Some(said) => {
                said.empty += usize::from(content.is_empty());
                let taken = said.data(content, ends);
                let little = said.empty <= MOST_EMPTY && said.content.len() <= MOST_CONTENT;
                self.plain &= taken && little;
            }
        }
    }

    /// The frames that carry no answer (sections 6.2 to 6.9).
    fn other(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = payload.len();
        let alone = stream == 0;
        match kind {
            0 => return self.raw_data(flags, stream, payload),
            1 => {
                self.over = self.on(stream).is_none() || flags & 4 == 0;
                for said in &mut self.said {
                    said.unclear = true;
                }
            }
            3 => match self.on(stream) {
                Some(said) if length == 4 => said.break_off(),
                _ => self.over = true,
            },
            4 => {
                self.over = !alone || !length.is_multiple_of(6) || (flags & 1 == 1 && length > 0);
                if length == 0 && flags == 0 && !self.over {
                    return;
                }
            }
            // Push was never allowed.
            5 => self.over = true,
            6 => {
                self.over = !alone || length != 8;
                if !self.over {
                    return;
                }
            }
            7 => self.over = !alone || length < 8,
            8 => {
                let step = payload.first_chunk().map(|step| u32::from_be_bytes(*step));
                let nothing = step.is_some_and(|step| step << 1 == 0);
                self.over = length != 4 || (alone && nothing);
                match self.on(stream) {
                    Some(said) if nothing => said.break_off(),
                    _ => {}
                }
            }
            10.. => return,
            _ => {}
        }
        self.plain = false;
    }

    /// DATA with any flags (section 6.1).
    fn raw_data(&mut self, flags: u8, stream: u32, payload: &[u8]) {
        let content = if flags & 8 == 0 {
            Some(payload)
        } else {
            payload.split_first().and_then(|(padding, rest)| {
                let size = rest.len().checked_sub(usize::from(*padding))?;
                Some(&rest[..size])
            })
        };
        match content {
            Some(content) => self.data(stream, flags & 1 == 1, content),
            None => self.over = true,
        }
    }
}

/// What ends a stream among trailers. What else cannot be one may be left out
/// (RFC 9110, section 6.5.1), as pseudo-fields are by the engine.
fn is_unreadable(field: &(String, String)) -> bool {
    let pseudo = [
        ":status",
        ":method",
        ":scheme",
        ":authority",
        ":path",
        ":protocol",
    ];
    let plain = (
        field.0.clone(),
        field.1.trim_matches([' ', '\t']).to_owned(),
    );
    !pseudo.contains(&field.0.as_str()) && is_bad(&plain) && !field.0.contains('"')
}

impl Said {
    /// Whether a strict reader of HTTP/2 has a whole answer.
    pub(super) fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    /// End it before its end.
    fn break_off(&mut self) {
        if self.state == State::Open {
            self.state = State::Broken;
        }
    }

    /// Take a header block; whether it stands where one may.
    fn fields(&mut self, fields: Fields, ends: bool) -> bool {
        if self.state != State::Open {
            return false;
        }
        if self.head.is_some() {
            let odd = fields.iter().any(is_bad);
            if !ends || fields.iter().any(is_unreadable) {
                self.state = State::Broken;
                return false;
            }
            self.trailers = fields.into_iter().filter(|one| !is_bad(one)).collect();
            self.end();
            return self.is_whole() && !odd;
        }
        match Self::head(fields) {
            // To HTTP/2 nobody switches (section 8.6).
            Some((101, _)) => self.state = State::Broken,
            Some((100..200, _)) if !ends => {}
            Some((100..200, _)) | None => self.state = State::Broken,
            Some(head) => {
                self.head = Some(head);
                if ends {
                    self.end();
                }
            }
        }
        self.state != State::Broken
    }

    /// The status and the fields, if they are a head (section 8.3.2). What
    /// belongs into requests is dropped by the engine, which does not tell.
    fn head(mut fields: Fields) -> Option<(u16, Fields)> {
        let of_requests = [":method", ":scheme", ":authority", ":path", ":protocol"];
        fields.retain(|(name, _)| !of_requests.contains(&name.as_str()));
        let (first, rest) = fields.split_first()?;
        let (name, digits) = first;
        let three = digits.len() == 3 && digits.bytes().all(|digit| digit.is_ascii_digit());
        if name != ":status" || !three || rest.iter().any(is_bad) {
            return None;
        }
        let rest = rest.to_vec();
        declared(&rest).ok()?;
        let status = digits.parse().ok()?;
        (status >= 100).then_some((status, rest))
    }

    /// Take some content; whether it stands where it may.
    fn data(&mut self, content: &[u8], ends: bool) -> bool {
        if self.state != State::Open {
            return false;
        }
        if self.head.is_none() {
            self.state = State::Broken;
            return false;
        }
        self.content.extend_from_slice(content);
        if ends {
            self.end();
        }
        self.state != State::Broken
    }

    /// Whether there can be no content (RFC 9110, section 6.4.1).
    fn is_empty(&self) -> bool {
        self.bare || self.ends_with_head()
    }

    /// Whether there can be none whatever the method: what comes behind the head
    /// of it reaches nobody.
    fn ends_with_head(&self) -> bool {
        let status = self.head.as_ref().map(|(status, _)| *status);
        matches!(status, Some(204 | 304))
    }

    fn declared(&self) -> Option<usize> {
        let (_, fields) = self.head.as_ref()?;
        declared(fields).ok().flatten()
    }

    fn end(&mut self) {
        let size = self.declared();
        let odd = if self.is_empty() {
            self.bare && !self.content.is_empty()
        } else {
            size.is_some_and(|size| size != self.content.len())
        };
        self.state = if odd { State::Broken } else { State::Whole };
    }

    /// As the answer that a client may hear. One of HTTP/1.1 has it whole as
    /// soon as its length is there.
    pub(super) fn answer(&self, http1: bool) -> Read<Answer> {
        let Some((status, fields)) = &self.head else {
            return self.unread();
        };
        let mut content = self.content.clone();
        let size = self.declared().filter(|size| *size <= content.len());
        if self.ends_with_head() || (http1 && self.bare) {
            content.clear();
        } else if http1 && let Some(size) = size {
            content.truncate(size);
        } else if !self.is_whole() {
            return self.unread();
        }
        Read::Whole(Answer {
            status: *status,
            fields: fields.iter().map(bare).collect(),
            body: Body {
                content,
                trailers: self.trailers.iter().map(bare).collect(),
                length: 0,
            },
            length: 0,
            until_close: false,
        })
    }

    /// What there is while there is no answer.
    fn unread(&self) -> Read<Answer> {
        match self.state {
            State::Broken => Read::Broken,
            State::Open | State::Whole => Read::More,
        }
    }

    /// Whether some frame of a script says that a request was not processed;
    /// `fresh` if it is sent where streams are counted from one.
    pub(super) fn may_be_asked_again(script: &Script, fresh: bool) -> bool {
        let refuses = |frame: &Frame| match frame {
            Frame::Other {
                kind: 3, payload, ..
            } => payload.ends_with(&[0, 0, 7]),
            // Up to the last stream that there can be.
            Frame::Other {
                kind: 7, payload, ..
            } => !fresh || !payload.starts_with(&[0, 0, 0, 3]),
            _ => false,
        };
        script.0.iter().any(refuses)
    }

    /// What of its content a client may have heard.
    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }
}
