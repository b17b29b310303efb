//! A gRPC answer on its way to a client of gRPC-Web.
//!
//! Messages pass; the trailers become the last frame: a flag of 0x80, the
//! length, and the fields as HTTP/1 would write them, in lower case (gRPC-Web,
//! "HTTP wire protocols"). It may be told to end early, and then does so behind
//! the message under way.
//!
//! Invariant: after the frame with the trailers nothing comes. An answer that
//! the server broke off between two messages is told of in that frame; one
//! that it broke off within a message has none.

use super::super::grpc;
use super::frames::Frames;
use super::text;
use crate::proxy::body::{Body, Made, Pulled};
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The flag of the frame with the trailers.
const TRAILERS: u8 = 0x80;

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Reply {
    body: Body,
    frames: Frames,
    /// Whether it is to be base64.
    text: bool,
    /// The status to end with, at the next boundary.
    ending: Option<HeaderMap>,
    over: bool,
}

impl Reply {
    pub(super) fn new(body: Body, text: bool) -> Self {
        Self {
            body,
            frames: Frames::default(),
            text,
            ending: None,
            over: false,
        }
    }

    fn data(&self, bytes: Bytes) -> Frame<Bytes> {
        Frame::data(written(bytes, self.text))
    }

    fn last(&mut self, trailers: &HeaderMap) -> Frame<Bytes> {
        self.over = true;
        // What the server still has to say is not for this client.
        self.body = Body::Empty;
        self.data(frame(trailers))
    }

    fn pulled(&mut self, pulled: Pulled) -> Pulled {
        let frame = match pulled {
            Some(Ok(frame)) => frame,
            // There is a place for the word, and HTTP/1.1 has no other.
            Some(Err(error)) if self.frames.at_boundary() => {
                return Some(Ok(self.last(&grpc::broken(&error))));
            }
            pulled => {
                self.over = true;
                return pulled;
            }
        };
        match frame.into_data() {
            Ok(mut data) => {
                if self.ending.is_some() {
                    data.truncate(self.frames.pass_to_boundary(&data));
                } else {
                    self.frames.pass(&data);
                }
                Some(Ok(self.data(data)))
            }
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => Some(Ok(self.last(&trailers))),
                Err(frame) => Some(Ok(frame)),
            },
        }
    }
}

impl Made for Reply {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.frames.at_boundary()
            && let Some(status) = self.ending.take()
        {
            return Poll::Ready(Some(Ok(self.last(&status))));
        }
        let pulled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(self.pulled(pulled))
    }

    fn is_end_stream(&self) -> bool {
        self.over || (self.ending.is_none() && self.body.is_end_stream())
    }

    fn end(&mut self, status: HeaderMap) -> bool {
        self.ending.get_or_insert(status);
        true
    }
}

/// The whole body of an answer that is a status and nothing else.
pub(super) fn alone(status: &HeaderMap, text: bool) -> Bytes {
    written(frame(status), text)
}

fn written(bytes: Bytes, text: bool) -> Bytes {
    if text { text::encode(&bytes) } else { bytes }
}

/// The frame that carries the trailers.
fn frame(trailers: &HeaderMap) -> Bytes {
    let mut fields = BytesMut::new();
    for (name, value) in trailers {
        fields.put(name.as_str().as_bytes());
        fields.put_u8(b':');
        fields.put(value.as_bytes());
        fields.put(&b"\r\n"[..]);
    }
    let mut frame = BytesMut::with_capacity(5 + fields.len());
    frame.put_u8(TRAILERS);
    frame.put_u32(u32::try_from(fields.len()).unwrap_or(u32::MAX));
    frame.put(fields);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::error::Error;

    const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";

    fn status(code: grpc::Code) -> HeaderMap {
        grpc::status_fields(code, "says")
    }

    fn bytes(pulled: Pulled) -> Vec<u8> {
        let frame = pulled.expect("a frame").expect("no error");
        frame.into_data().expect("data").to_vec()
    }

    fn next(reply: &mut Reply) -> Pulled {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match reply.poll_frame(&mut cx) {
            Poll::Ready(pulled) => pulled,
            Poll::Pending => unreachable!("nothing is waited for"),
        }
    }

    #[test]
    fn trailers_are_the_last_frame() {
        let mut reply = Reply::new(Body::full(MESSAGE), false);
        assert_eq!(bytes(next(&mut reply)), MESSAGE);
        let trailers = Frame::trailers(status(grpc::NOT_FOUND));
        let last = bytes(reply.pulled(Some(Ok(trailers))));
        assert_eq!(last[..5], [0x80, 0, 0, 0, 34]);
        assert_eq!(last[5..], *b"grpc-status:5\r\ngrpc-message:says\r\n");
        assert!(reply.is_end_stream() && next(&mut reply).is_none());
    }

    #[test]
    fn a_status_alone_is_a_frame_alone() {
        let status = status(grpc::INTERNAL);
        assert_eq!(alone(&status, false), frame(&status));
        assert_eq!(alone(&status, true), text::encode(&frame(&status)));
    }

    #[test]
    fn an_early_end_waits_for_the_message_under_way() {
        let mut reply = Reply::new(Body::full([&MESSAGE[3..], MESSAGE].concat()), false);
        reply.frames.pass(&MESSAGE[..3]);
        assert!(reply.end(status(grpc::UNAVAILABLE)));
        assert_eq!(bytes(next(&mut reply)), MESSAGE[3..]);
        assert_eq!(bytes(next(&mut reply))[0], 0x80);
        assert!(next(&mut reply).is_none());
    }

    #[test]
    fn between_two_messages_it_ends_at_once() {
        let mut reply = Reply::new(Body::full([MESSAGE, MESSAGE].concat()), false);
        reply.frames.pass(MESSAGE);
        assert!(reply.end(status(grpc::UNAVAILABLE)));
        assert_eq!(bytes(next(&mut reply))[0], 0x80);
        assert!(reply.is_end_stream());
    }

    #[test]
    fn what_the_server_broke_off_is_told_of_between_messages_only() {
        let mut reply = Reply::new(Body::full(MESSAGE), false);
        assert_eq!(bytes(next(&mut reply)), MESSAGE);
        let last = bytes(reply.pulled(Some(Err(Error::Broken))));
        assert!(last.starts_with(&[0x80]) && last[5..].starts_with(b"grpc-status:14\r\n"));
        assert!(next(&mut reply).is_none());
        let mut reply = Reply::new(Body::full(&MESSAGE[..6]), false);
        assert_eq!(bytes(next(&mut reply)), MESSAGE[..6]);
        assert!(matches!(
            reply.pulled(Some(Err(Error::Broken))),
            Some(Err(_))
        ));
        assert!(next(&mut reply).is_none());
    }

    #[test]
    fn an_answer_without_trailers_gets_none() {
        let mut reply = Reply::new(Body::full(MESSAGE), false);
        assert_eq!(bytes(next(&mut reply)), MESSAGE);
        assert!(next(&mut reply).is_none());
    }
}
