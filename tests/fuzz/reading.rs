//! HTTP/1.1 as RFC 9112 has it, read from bytes that are all there.
//!
//! The second reader, beside which the product's are held: it shares nothing
//! with them, looks at whole messages as text, and takes nothing that can be
//! read in two ways. Text is Latin-1, so that every byte is a letter.

/// A message's fields; names in small letters.
pub(crate) type Fields = Vec<(String, String)>;

/// What some bytes are.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Read<T> {
    Whole(T),
    /// Nothing is wrong so far, and more must come.
    More,
    Broken,
}

/// A request's head; `length` is in bytes, up to the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) old: bool,
    pub(crate) fields: Fields,
    pub(crate) length: usize,
}

/// A body, as far as it has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Body {
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: Fields,
    /// What it takes on the wire.
    pub(crate) length: usize,
}

/// A whole request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    pub(crate) head: Head,
    pub(crate) body: Body,
}

/// A final response, interim ones before it passed over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Body,
    /// With everything before it.
    pub(crate) length: usize,
    /// Whether it ends with its connection.
    pub(crate) until_close: bool,
}

/// How a body is framed.
enum Framing {
    Sized(u64),
    Chunked,
}

/// The values of all fields of a name.
pub(crate) fn all<'a>(fields: &'a Fields, name: &str) -> Vec<&'a str> {
    let same = fields.iter().filter(|(known, _)| known == name);
    same.map(|(_, value)| value.as_str()).collect()
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
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
        let name = text(&line[..colon]).to_ascii_lowercase();
        (name, text(value).trim_matches([' ', '\t']).to_owned())
    })
}

/// The lines up to the empty one and the place behind it. A line is what stands
/// before a LF; `lax` takes one without CR, as a recipient may (section 2.2).
fn section(bytes: &[u8], lax: bool) -> Read<(Vec<&[u8]>, usize)> {
    let mut lines = Vec::new();
    let mut from = 0;
    for part in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(line) = part.strip_suffix(b"\n") else {
            return Read::More;
        };
        from += part.len();
        let line = match line.strip_suffix(b"\r") {
            Some(line) => line,
            None if lax => line,
            None => return Read::Broken,
        };
        if line.is_empty() {
            return Read::Whole((lines, from));
        }
        lines.push(line);
    }
    Read::More
}

fn fields(lines: &[&[u8]]) -> Option<Fields> {
    lines.iter().map(|line| field(line)).collect()
}

impl Head {
    /// The head that bytes begin with, if there is one reading of it only.
    pub(crate) fn read(bytes: &[u8]) -> Read<Self> {
        let blank = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
        match section(&bytes[blank..], false) {
            Read::Whole((lines, length)) => {
                Self::of(&lines, blank + length).map_or(Read::Broken, Read::Whole)
            }
            Read::More => Read::More,
            Read::Broken => Read::Broken,
        }
    }

    fn of(lines: &[&[u8]], length: usize) -> Option<Self> {
        let (first, rest) = lines.split_first()?;
        let words: Vec<_> = first.split(|byte| *byte == b' ').collect();
        let [method, target, version] = words[..] else {
            return None;
        };
        let old = version == b"HTTP/1.0";
        if !is_token(method) || target.is_empty() || !(old || version == b"HTTP/1.1") {
            return None;
        }
        let head = Self {
            method: text(method),
            target: text(target),
            old,
            fields: fields(rest)?,
            length,
        };
        let hosts = all(&head.fields, "host").len();
        let homed = hosts == 1 || (hosts == 0 && old);
        (homed && head.framing().is_some()).then_some(head)
    }

    /// How long the body is, if there is one reading only.
    fn framing(&self) -> Option<Framing> {
        let as_cgi = |(name, value): &(String, String)| (name.replace('_', "-"), value.clone());
        let fields = self.fields.iter().map(as_cgi).collect();
        match (
            &all(&fields, "content-length")[..],
            &all(&fields, "transfer-encoding")[..],
        ) {
            ([], []) => Some(Framing::Sized(0)),
            ([length], []) => number(length).map(Framing::Sized),
            ([], [coding]) if !self.old => coding
                .eq_ignore_ascii_case("chunked")
                .then_some(Framing::Chunked),
            _ => None,
        }
    }

    /// The body, of which `rest` is or begins with the bytes; as far as it has
    /// come, and whether it is whole.
    pub(crate) fn body(&self, rest: &[u8]) -> (Body, Read<()>) {
        match self.framing() {
            Some(Framing::Sized(length)) => sized(length, rest),
            Some(Framing::Chunked) => chunked(rest, false),
            None => (Body::default(), Read::Broken),
        }
    }
}

fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

fn sized(length: u64, rest: &[u8]) -> (Body, Read<()>) {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let here = length.min(rest.len());
    let body = Body {
        content: rest[..here].to_vec(),
        trailers: Vec::new(),
        length: here,
    };
    let whole = here == length;
    (body, if whole { Read::Whole(()) } else { Read::More })
}

/// A chunked body (section 7.1).
fn chunked(bytes: &[u8], lax: bool) -> (Body, Read<()>) {
    let mut body = Body::default();
    loop {
        let rest = &bytes[body.length..];
        let Some(lf) = rest.iter().position(|byte| *byte == b'\n') else {
            return (body, Read::More);
        };
        let line = match rest[..lf].strip_suffix(b"\r") {
            Some(line) => line,
            None if lax => &rest[..lf],
            None => return (body, Read::Broken),
        };
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let digits = if lax { digits.trim_ascii_end() } else { digits };
        let bare_cr = line.contains(&b'\r');
        let hexadecimal =
            !bare_cr && !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
        let Some(size) = usize::from_str_radix(&text(digits), 16)
            .ok()
            .filter(|_| hexadecimal)
        else {
            return (body, Read::Broken);
        };
        body.length += lf + 1;
        if size == 0 {
            return end_of_chunks(bytes, body, lax);
        }
        let rest = &bytes[body.length..];
        let here = size.min(rest.len());
        body.content.extend_from_slice(&rest[..here]);
        body.length += here;
        match bytes[body.length..] {
            [b'\r', b'\n', ..] if here == size => body.length += 2,
            [b'\n', ..] if lax && here == size => body.length += 1,
            [] | [b'\r'] => return (body, Read::More),
            _ => return (body, Read::Broken),
        }
    }
}

fn end_of_chunks(bytes: &[u8], mut body: Body, lax: bool) -> (Body, Read<()>) {
    let read = match section(&bytes[body.length..], lax) {
        Read::Whole((lines, end)) => {
            body.length += end;
            match fields(&lines) {
                Some(trailers) => {
                    body.trailers = trailers;
                    Read::Whole(())
                }
                None => Read::Broken,
            }
        }
        Read::More => Read::More,
        Read::Broken => Read::Broken,
    };
    (body, read)
}

impl Message {
    /// The request that bytes begin with.
    pub(crate) fn read(bytes: &[u8]) -> Read<Self> {
        let head = match Head::read(bytes) {
            Read::Whole(head) => head,
            Read::More => return Read::More,
            Read::Broken => return Read::Broken,
        };
        let (body, read) = head.body(&bytes[head.length..]);
        match read {
            Read::Whole(()) => Read::Whole(Self { head, body }),
            Read::More => Read::More,
            Read::Broken => Read::Broken,
        }
    }

    /// What it takes on the wire.
    pub(crate) fn length(&self) -> usize {
        self.head.length + self.body.length
    }
}

impl Answer {
    /// The answer to a request of this method that bytes begin with. `closed`
    /// if they are all that ever comes; `lax` with what a recipient may take.
    pub(crate) fn read(bytes: &[u8], method: &str, closed: bool, lax: bool) -> Read<Self> {
        let mut from = 0;
        loop {
            let blank = [&b"\r\n"[..], b"\n"].into_iter();
            let mut blank = blank.filter(|line| lax && bytes[from..].starts_with(line));
            if let Some(line) = blank.next() {
                from += line.len();
                continue;
            }
            let (lines, length) = match section(&bytes[from..], lax) {
                Read::Whole(read) => read,
                Read::More => return Read::More,
                Read::Broken => return Read::Broken,
            };
            from += length;
            let Some((status, fields)) = Self::head(&lines) else {
                return Read::Broken;
            };
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let rest = &bytes[from..];
            let Some((body, read, until_close)) = Self::body(status, &fields, method, rest, lax)
            else {
                return Read::Broken;
            };
            return match read {
                Read::Whole(()) if closed || !until_close => Read::Whole(Self {
                    status,
                    fields,
                    length: from + body.length,
                    body,
                    until_close,
                }),
                Read::Whole(()) | Read::More => Read::More,
                Read::Broken => Read::Broken,
            };
        }
    }

    fn head(lines: &[&[u8]]) -> Option<(u16, Fields)> {
        let (first, rest) = lines.split_first()?;
        let after = [&b"HTTP/1.1 "[..], b"HTTP/1.0 "]
            .iter()
            .find_map(|version| first.strip_prefix(*version))?;
        let (digits, reason) = after.split_at_checked(3)?;
        let plain = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
        let spaced = reason.is_empty() || reason[0] == b' ';
        if !digits.iter().all(u8::is_ascii_digit) || !spaced || !reason.iter().all(plain) {
            return None;
        }
        let status = text(digits).parse().ok()?;
        (status >= 100).then_some((status, fields(rest)?))
    }

    /// Its body (section 6.3), and whether it ends with the connection.
    fn body(
        status: u16,
        fields: &Fields,
        method: &str,
        rest: &[u8],
        lax: bool,
    ) -> Option<(Body, Read<()>, bool)> {
        if method == "HEAD" || matches!(status, 101 | 204 | 304) {
            return Some((Body::default(), Read::Whole(()), false));
        }
        match (
            &all(fields, "content-length")[..],
            &all(fields, "transfer-encoding")[..],
        ) {
            ([], []) => {
                let (body, read) = sized(rest.len() as u64, rest);
                Some((body, read, true))
            }
            ([length], []) => {
                let (body, read) = sized(number(length)?, rest);
                Some((body, read, false))
            }
            ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => {
                let (body, read) = chunked(rest, lax);
                Some((body, read, false))
            }
            _ => None,
        }
    }
}
