//! Which requests a strict reading of a client's frames allows (RFC 9113,
//! section 8): stream by stream, each as the request of HTTP/1.1 that it becomes.

use super::frames::{Frame, Script};
use super::reading::{Body, Fields, Head, Message, all};
use super::server::Wanted;

/// A request on a stream.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) stream: u32,
    /// It is whole and stays so: it must be answered.
    pub(super) ended: bool,
    pub(super) wanted: Wanted,
}

impl Script {
    /// Whether the client takes a stream back, so that nobody answers it.
    fn takes_back(&self, number: u32) -> bool {
        let resets = |frame: &Frame| matches!(frame, Frame::Other { kind: 3, stream, .. } if *stream == number);
        self.0.iter().any(resets)
    }

    /// The requests that a server may get, and their streams. `crumbs` if
    /// cookies reach it one by one, and without a coding that ends a body.
    pub(super) fn requests(&self, crumbs: bool) -> Vec<Asked> {
        let mut streams: Vec<Stream> = Vec::new();
        // Whose block is not over.
        let mut open = None;
        for frame in &self.0 {
            match frame {
                Frame::Fields {
                    kind: 9,
                    stream,
                    whole,
                    fields,
                    ..
                } => {
                    let block = streams.iter_mut().find(|one| open == Some(one.number));
                    if let Some(block) = block.filter(|one| one.number == *stream) {
                        block.more(fields);
                    }
                    open = open.filter(|_| !whole);
                }
                Frame::Fields {
                    stream,
                    ends,
                    whole,
                    fields,
                    ..
                } => {
                    let known = streams.iter_mut().find(|one| one.number == *stream);
                    let taken = if let Some(known) = known {
                        known.trailers(fields, *ends)
                    } else {
                        streams.push(Stream::new(*stream, fields, *ends));
                        true
                    };
                    open = (taken && !whole).then_some(*stream);
                }
                Frame::Data {
                    stream,
                    ends,
                    content,
                } => {
                    let known = streams.iter_mut().find(|one| one.number == *stream);
                    if let Some(known) = known.filter(|known| !known.ended) {
                        known.content.extend_from_slice(content);
                        known.ended = *ends;
                    }
                }
                Frame::Other { .. } => {}
            }
        }
        let asked = |stream: &Stream| {
            let wanted = stream.wanted(crumbs)?;
            Some(Asked {
                stream: stream.number,
                ended: wanted.whole && stream.ends_well() && !self.takes_back(stream.number),
                wanted,
            })
        };
        streams.iter().filter_map(asked).collect()
    }
}

/// A stream as a client says it.
struct Stream {
    number: u32,
    fields: Fields,
    trailers: Option<Fields>,
    content: Vec<u8>,
    /// Nothing but a head.
    bare: bool,
    ended: bool,
}

pub(super) fn text(fields: &[(Vec<u8>, Vec<u8>)]) -> Fields {
    let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect();
    let both = |(name, value): &(Vec<u8>, Vec<u8>)| (text(name), text(value));
    fields.iter().map(both).collect()
}

/// The declared length, if there is one, and it is written in the one way.
pub(super) fn declared(fields: &Fields) -> Result<Option<usize>, &'static str> {
    match all(fields, "content-length")[..] {
        [] => Ok(None),
        [digits] => match digits.parse::<usize>() {
            Ok(size) if size.to_string() == digits => Ok(Some(size)),
            _ => Err("an odd length"),
        },
        _ => Err("several lengths"),
    }
}

/// What no field of HTTP/2 may be (section 8.2).
pub(super) fn is_bad((name, value): &(String, String)) -> bool {
    let of_connection = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ];
    let separator = "\"(),/:;<=>?@[\\]{}";
    let token = |c: char| c.is_ascii_graphic() && !separator.contains(c) && !c.is_uppercase();
    let plain = |c: char| c == '\t' || !(c as u32 % 128 == 127 || (c as u32) < 32);
    name.is_empty()
        || !name.chars().all(token)
        || !value.chars().all(|c| plain(c) || c as u32 == 255)
        || value.trim_matches([' ', '\t']) != value
        || of_connection.contains(&name.as_str())
        || (name == "te" && value != "trailers")
}

impl Stream {
    fn new(number: u32, fields: &[(Vec<u8>, Vec<u8>)], ended: bool) -> Self {
        Self {
            number,
            fields: text(fields),
            trailers: None,
            content: Vec::new(),
            bare: ended,
            ended,
        }
    }

    fn more(&mut self, fields: &[(Vec<u8>, Vec<u8>)]) {
        match &mut self.trailers {
            Some(trailers) => trailers.extend(text(fields)),
            None => self.fields.extend(text(fields)),
        }
    }

    /// Whether they can be some.
    fn trailers(&mut self, fields: &[(Vec<u8>, Vec<u8>)], ends: bool) -> bool {
        let taken = !self.ended && ends;
        if taken {
            self.trailers = Some(text(fields));
            self.ended = true;
        }
        taken
    }

    /// Whether nothing is wrong with its end.
    fn ends_well(&self) -> bool {
        let lengths = self
            .fields
            .iter()
            .filter(|(name, _)| name == "content-length");
        let mut sizes = lengths.map(|(_, value)| value.parse().ok());
        self.ended && sizes.all(|size| size == Some(self.content.len()))
    }

    /// What the pseudo-fields say, and all the others; nothing, if there is not
    /// one of each.
    fn target(&self) -> Option<(String, String, Option<String>, Fields)> {
        let is_pseudo = |(name, _): &&(String, String)| name.starts_with(':');
        let pseudo = self.fields.iter().take_while(is_pseudo).count();
        let (pseudo, rest) = self.fields.split_at(pseudo);
        let pseudo = pseudo.to_vec();
        let known = [":method", ":scheme", ":path", ":authority"];
        let strange = |(name, _): &(String, String)| !known.contains(&name.as_str());
        let doubled = |name: &&str| all(&pseudo, name).len() > 1;
        if pseudo.iter().any(strange) || known.iter().any(doubled) || rest.iter().any(is_bad) {
            return None;
        }
        let of = |name: &str| all(&pseudo, name).first().map(ToString::to_string);
        of(":scheme")?;
        // A fragment is cut off by the engine, which does not tell.
        let path = of(":path")?.split('#').next()?.to_owned();
        let (method, authority) = (of(":method")?, of(":authority"));
        (!path.is_empty()).then(|| (method, path, authority, rest.to_vec()))
    }

    /// As a request of HTTP/1.1, if it is one.
    fn wanted(&self, crumbs: bool) -> Option<Wanted> {
        let (method, target, authority, mut fields) = self.target()?;
        let hosts = all(&fields, "host");
        let named = hosts.first().map(ToString::to_string);
        let host = authority.or(named.clone())?;
        let agree = named.is_none_or(|named| named.eq_ignore_ascii_case(&host));
        if hosts.len() > 1 || !agree || method == "CONNECT" {
            return None;
        }
        fields.retain(|(name, _)| name != "host");
        let mut content = self.content.clone();
        let declared = declared(&fields).ok()?;
        let whole = match declared {
            // In HTTP/1.1 it is whole before the stream ends or goes too far.
            Some(size) if !crumbs => {
                content.truncate(size);
                content.len() == size
            }
            Some(size) => self.ended && size == content.len(),
            None => self.ended,
        };
        if declared.is_none() && !self.bare && !crumbs {
            fields.push(("transfer-encoding".to_owned(), "chunked".to_owned()));
        }
        if !crumbs {
            join_cookies(&mut fields);
        }
        fields.push(("host".to_owned(), host));
        let head = Head {
            method,
            target,
            old: false,
            fields,
            length: 0,
        };
        let body = Body {
            content,
            trailers: self.trailers.iter().flatten().map(bare).collect(),
            length: 0,
        };
        Some(Wanted::new(Message { head, body }, whole))
    }
}

/// Without what some readers cut off.
pub(super) fn bare((name, value): &(String, String)) -> (String, String) {
    (name.clone(), value.trim_matches([' ', '\t']).to_owned())
}

/// HTTP/1.1 knows one field of them (section 8.2.3).
fn join_cookies(fields: &mut Fields) {
    let cookies = fields.iter().filter(|(name, _)| name == "cookie");
    let cookies: Vec<_> = cookies.map(|(_, value)| value.clone()).collect();
    if !cookies.is_empty() {
        fields.retain(|(name, _)| name != "cookie");
        fields.push((
            "cookie".to_owned(),
            cookies.join("; ").trim_matches([' ', '\t']).to_owned(),
        ));
    }
}
