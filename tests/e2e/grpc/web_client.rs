//! A client of gRPC-Web, over HTTP/1.1 and HTTP/2, in both of its forms. It
//! reads strictly: one frame with trailers, and nothing behind it.

use crate::support::clients::{Http1, Http2, Reply};
use crate::support::servers::{Line, SERVICE};
use crate::support::within;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use prost::Message;
use std::net::SocketAddr;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// How bodies are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Binary,
    Text,
}

impl Form {
    pub(super) const BOTH: [Self; 2] = [Self::Binary, Self::Text];

    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Binary => "application/grpc-web+proto",
            Self::Text => "application/grpc-web-text+proto",
        }
    }

    /// Each frame is encoded by itself, as senders do that flush.
    pub(super) fn write(self, frames: &[Bytes]) -> Bytes {
        match self {
            Self::Binary => frames.concat().into(),
            Self::Text => {
                let texts = frames.iter().map(|frame| STANDARD.encode(frame));
                texts.collect::<String>().into()
            }
        }
    }

    fn read(self, body: &Bytes) -> Bytes {
        if self == Self::Binary {
            return body.clone();
        }
        let mut bytes = Vec::new();
        let mut text = &body[..];
        while !text.is_empty() {
            let padded = text.iter().position(|byte| *byte == b'=');
            let end = padded.map_or(text.len(), |at| at / 4 * 4 + 4);
            bytes.extend(STANDARD.decode(&text[..end]).expect("base64"));
            text = &text[end..];
        }
        bytes.into()
    }
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) messages: Vec<Bytes>,
    /// The fields of the last frame.
    pub(super) trailers: Vec<(String, String)>,
}

impl Answer {
    pub(super) fn of(reply: &Reply, form: Form) -> Self {
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("content-type"), Some(form.kind()));
        assert_eq!(reply.trailers, None, "they stand in the body");
        assert_eq!(reply.header("grpc-status"), None, "it stands in the body");
        let mut answer = Self {
            messages: Vec::new(),
            trailers: Vec::new(),
        };
        let mut rest = form.read(&reply.body);
        while !rest.is_empty() {
            assert!(answer.trailers.is_empty(), "nothing behind the last frame");
            let flag = rest.get_u8();
            let length = rest.get_u32() as usize;
            let frame = rest.split_to(length);
            if flag == 0 {
                answer.messages.push(frame);
            } else {
                assert_eq!(flag, 0x80);
                answer.trailers = fields(&frame);
            }
        }
        answer
    }

    pub(super) fn trailer(&self, name: &str) -> Option<&str> {
        let mut named = self.trailers.iter().filter(|(known, _)| known == name);
        let found = named.next().map(|(_, value)| value.as_str());
        assert_eq!(named.next(), None, "said once");
        found
    }

    pub(super) fn status(&self) -> &str {
        self.trailer("grpc-status").expect("a status")
    }

    pub(super) fn lines(&self) -> Vec<Line> {
        let lines = self.messages.iter();
        lines
            .map(|line| Line::decode(&line[..]).expect("a line"))
            .collect()
    }

    /// What a health check said.
    pub(super) fn said(&self) -> Option<i32> {
        let first = self.messages.first()?;
        Some(HealthCheckResponse::decode(&first[..]).ok()?.status)
    }
}

fn fields(frame: &[u8]) -> Vec<(String, String)> {
    let text = std::str::from_utf8(frame).expect("text");
    let lines = text.strip_suffix("\r\n").expect("an end").split("\r\n");
    lines
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a field");
            assert_eq!(name, name.to_ascii_lowercase());
            (name.to_owned(), value.trim().to_owned())
        })
        .collect()
}

enum Via {
    Http1(Http1),
    Http2(Http2),
}

/// One connection.
pub(super) struct Web {
    via: Via,
    pub(super) form: Form,
}

impl Web {
    pub(super) async fn http1(address: SocketAddr, form: Form) -> Self {
        let via = Via::Http1(Http1::connect(address).await);
        Self { via, form }
    }

    pub(super) async fn http2(address: SocketAddr, form: Form) -> Self {
        let via = Via::Http2(Http2::connect(address).await);
        Self { via, form }
    }

    /// Every version in every form.
    pub(super) async fn all(address: SocketAddr) -> Vec<Self> {
        let mut all = Vec::new();
        for form in Form::BOTH {
            all.push(Self::http1(address, form).await);
            all.push(Self::http2(address, form).await);
        }
        all
    }

    pub(super) async fn call(&mut self, method: &str, lines: &[Line]) -> Answer {
        let reply = self.reply(method, lines, &[]).await.expect("in order");
        Answer::of(&reply, self.form)
    }

    /// The same with further fields, as it is on the wire; the error says that
    /// the answer was cut short.
    pub(super) async fn reply(
        &mut self,
        method: &str,
        lines: &[Line],
        fields: &[(&str, &str)],
    ) -> Result<Reply, String> {
        let frames: Vec<_> = lines.iter().map(framed).collect();
        let body = self.form.write(&frames);
        self.post(&format!("/{SERVICE}/{method}"), body, fields)
            .await
    }

    pub(super) async fn check(&mut self, service: &str) -> Answer {
        let message = HealthCheckRequest {
            service: service.to_owned(),
        };
        let body = self.form.write(&[framed(&message)]);
        let path = "/grpc.health.v1.Health/Check";
        let reply = self.post(path, body, &[]).await.expect("in order");
        Answer::of(&reply, self.form)
    }

    pub(super) async fn post(
        &mut self,
        path: &str,
        body: Bytes,
        fields: &[(&str, &str)],
    ) -> Result<Reply, String> {
        let mut request = Request::post(path).header("content-type", self.form.kind());
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        match &mut self.via {
            Via::Http1(client) => {
                let request = request.header("host", "localhost");
                let request = request.body(Full::new(body).boxed_unsync());
                let response = client.send(request.expect("a request")).await;
                let response = response.map_err(|error| error.to_string())?;
                let whole = Http1::whole(response).await;
                whole.map_err(|error| error.to_string())
            }
            Via::Http2(client) => {
                let request = request.uri(format!("http://localhost{path}"));
                let request = request.body(()).expect("a request");
                let opened = client.open(request, false).await;
                let (response, mut upload) = opened.map_err(|error| error.to_string())?;
                upload.send_data(body, true).expect("room");
                let response = within("a head", response).await;
                let response = response.map_err(|error| error.to_string())?;
                let whole = Http2::whole(response).await;
                whole.map_err(|error| error.to_string())
            }
        }
    }
}

/// A message behind its five bytes.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(message.encoded_len().try_into().expect("a short message"));
    message.encode(&mut bytes).expect("room");
    bytes.freeze()
}

pub(super) fn line(text: &str, number: u32) -> Line {
    Line {
        text: text.to_owned(),
        number,
    }
}
