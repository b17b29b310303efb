//! Frames of HTTP/2 as text, and what they are on the wire (RFC 9113, section 4).
//!
//! | line | frame |
//! |---|---|
//! | `H 1 e`, then a line for each field, then an empty one | HEADERS on stream 1 that ends it; `s` leaves its end to a `C` |
//! | `C 1`, then fields | CONTINUATION |
//! | `D 1 e text` | DATA; `.` in place of `e` leaves the stream open |
//! | `F 6 0 0 text` | any other kind, its flags, its stream, its payload |
//! | `B 1 4 text` | of a server only: HEADERS with this block, which need not be one |
//! | `R 9` | of a server only: the frame before, nine times more |
//!
//! In text `\n`, `\r`, `\0` and `\\` stand for those bytes. Whatever else a line
//! is, it is passed over, so that most of what is mutated is still frames.

/// How often a frame may come again.
const AGAIN: u32 = 2_000;

/// One frame.
#[derive(Clone, Debug)]
pub(super) enum Frame {
    /// HEADERS, or more of them.
    Fields {
        kind: u8,
        stream: u32,
        ends: bool,
        whole: bool,
        fields: Vec<(Vec<u8>, Vec<u8>)>,
    },
    Data {
        stream: u32,
        ends: bool,
        content: Vec<u8>,
    },
    Other {
        kind: u8,
        flags: u8,
        stream: u32,
        payload: Vec<u8>,
    },
}

/// What one side says on a connection.
#[derive(Debug)]
pub(super) struct Script(pub(super) Vec<Frame>);

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b'0') => 0,
                Some(other) => *other,
                None => b'\\',
            },
            other => *other,
        });
    }
    bytes
}

fn number(word: Option<&[u8]>) -> Option<u32> {
    std::str::from_utf8(word?).ok()?.parse().ok()
}

impl Script {
    /// What a client says.
    pub(super) fn read(input: &[u8]) -> Self {
        Self::of(input, false)
    }

    /// What a server says, who may be worse.
    pub(super) fn of_server(input: &[u8]) -> Self {
        Self::of(input, true)
    }

    fn of(input: &[u8], server: bool) -> Self {
        let mut lines = input.split(|byte| *byte == b'\n');
        let mut frames = Vec::new();
        while let Some(line) = lines.next() {
            let mut words = line.splitn(5, |byte| *byte == b' ');
            let kind = words.next();
            let frame = match kind {
                Some(b"H" | b"C") => {
                    let stream = number(words.next());
                    let flags = words.next().unwrap_or_default();
                    let fields = lines.by_ref().take_while(|line| !line.is_empty());
                    let fields = fields.filter_map(field).collect();
                    stream.map(|stream| Frame::Fields {
                        kind: if kind == Some(b"H") { 1 } else { 9 },
                        stream,
                        ends: flags.contains(&b'e'),
                        whole: !flags.contains(&b's'),
                        fields,
                    })
                }
                Some(b"D") => number(words.next()).map(|stream| Frame::Data {
                    stream,
                    ends: words.next() == Some(b"e"),
                    content: unescaped(&words.collect::<Vec<_>>().join(&b' ')),
                }),
                Some(b"F") => other(words),
                Some(b"B") if server => block_of_bytes(words),
                Some(b"R") if server => {
                    again(&mut frames, number(words.next()));
                    None
                }
                _ => None,
            };
            frames.extend(frame);
        }
        Self(frames)
    }

    /// The bytes, from the preface to one more SETTINGS that opens the windows.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        bytes.extend(self.from(1));
        put(&mut bytes, (4, 0, 0), b"\0\x04\0\0\xff\xff");
        bytes
    }

    /// The bytes of the frames alone, where stream 1 is `first` in truth, and
    /// the others follow it.
    pub(super) fn from(&self, first: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for frame in &self.0 {
            let (kind, flags, stream, payload) = match frame {
                Frame::Fields {
                    kind,
                    stream,
                    ends,
                    whole,
                    fields,
                } => {
                    let ends = u8::from(*ends && *kind == 1);
                    (*kind, ends + 4 * u8::from(*whole), *stream, block(fields))
                }
                Frame::Data {
                    stream,
                    ends,
                    content,
                } => (0, u8::from(*ends), *stream, content.clone()),
                Frame::Other {
                    kind,
                    flags,
                    stream,
                    payload,
                } => (*kind, *flags, *stream, payload.clone()),
            };
            let stream = match stream {
                0 => 0,
                stream => (stream - 1).wrapping_add(first),
            };
            put(&mut bytes, (kind, flags, stream), &payload);
        }
        bytes
    }
}

/// The last of them so often again.
fn again(frames: &mut Vec<Frame>, times: Option<u32>) {
    if let (Some(last), Some(times)) = (frames.last().cloned(), times) {
        frames.extend((0..times.min(AGAIN)).map(|_| last.clone()));
    }
}

fn block_of_bytes<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Option<Frame> {
    Some(Frame::Other {
        kind: 1,
        stream: number(words.next())?,
        flags: u8::try_from(number(words.next())?).ok()?,
        payload: unescaped(&words.collect::<Vec<_>>().join(&b' ')),
    })
}

fn field(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let colon = line.iter().skip(1).position(|byte| *byte == b':')? + 1;
    let value = line[colon + 1..].strip_prefix(b" ");
    let value = value.unwrap_or(&line[colon + 1..]);
    Some((unescaped(&line[..colon]), unescaped(value)))
}

fn other<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Option<Frame> {
    let kind = u8::try_from(number(words.next())?).ok()?;
    // Header blocks are said in fields, or nobody could tell what they say.
    let kind = if matches!(kind, 1 | 9) {
        kind + 32
    } else {
        kind
    };
    Some(Frame::Other {
        kind,
        flags: u8::try_from(number(words.next())?).ok()?,
        stream: number(words.next())?,
        payload: unescaped(words.next().unwrap_or_default()),
    })
}

pub(super) fn put(bytes: &mut Vec<u8>, (kind, flags, stream): (u8, u8, u32), payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("short");
    bytes.extend_from_slice(&length.to_be_bytes()[1..]);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// A header block in which nothing is compressed (RFC 7541, section 6.2.2).
pub(super) fn block(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // Section 5.1, with a prefix of seven bits.
            let mut left = text.len();
            if left < 127 {
                block.push(u8::try_from(left).expect("short"));
            } else {
                block.push(127);
                left -= 127;
                while left >= 128 {
                    block.push(u8::try_from(left % 128).expect("seven bits") | 128);
                    left /= 128;
                }
                block.push(u8::try_from(left).expect("seven bits"));
            }
            block.extend_from_slice(text);
        }
    }
    block
}
