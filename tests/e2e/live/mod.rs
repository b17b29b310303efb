//! What an operator can watch as it happens: the events.

mod events;
mod slow;

use crate::support::clients::connect;
use crate::support::proxy::Proxy;
use crate::support::{BoxWire, within};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::task::JoinHandle;

/// One event.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

impl Event {
    /// `None` of a comment.
    fn read(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
            lines.next().map(str::to_owned)
        };
        Some(Self {
            name: field("event: ")?,
            id: field("id: "),
            data: serde_json::from_str(&field("data: ")?).expect("JSON"),
        })
    }

    /// The number in its id.
    fn number(&self) -> Option<u64> {
        let (_, number) = self.id.as_ref()?.rsplit_once('-')?;
        number.parse().ok()
    }

    /// What happened, in a word or two; nothing of a view.
    fn word(&self) -> Option<String> {
        let of = |member: &str| self.data[member].as_str().map(str::to_owned);
        match self.name.as_str() {
            "progress" | "picture" | "snapshot" => None,
            "phase" => of("phase"),
            "stage" => of("stage"),
            other => Some(other.to_owned()),
        }
    }
}

/// One who listens.
struct Listener {
    body: Incoming,
    text: String,
    _driver: JoinHandle<hyper::Result<()>>,
}

impl Listener {
    /// Listen without a token.
    async fn to(proxy: &Proxy) -> Self {
        Self::with(proxy, &[]).await.expect("let in")
    }

    /// Listen with these fields, or the status that was answered.
    async fn with(proxy: &Proxy, fields: &[(&str, &str)]) -> Result<Self, u16> {
        Self::over(connect(proxy.admin()).await, fields).await
    }

    async fn over(wire: BoxWire, fields: &[(&str, &str)]) -> Result<Self, u16> {
        let mut request = Request::get("/v1/events").header("host", "localhost");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let shaken = within("a handshake", handshake(TokioIo::new(wire))).await;
        let (mut sender, connection) = shaken.expect("handshake");
        let driver = tokio::spawn(connection);
        let response = within("an answer", sender.send_request(request)).await;
        let response = response.expect("an answer");
        if response.status() != 200 {
            return Err(response.status().as_u16());
        }
        let kind = response.headers().get("content-type");
        assert_eq!(kind.expect("a type"), "text/event-stream");
        Ok(Self {
            body: response.into_body(),
            text: String::new(),
            _driver: driver,
        })
    }

    /// The next event; `None` at the proper end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(at) = self.text.find("\n\n") {
                let rest = self.text.split_off(at + 2);
                let whole = std::mem::replace(&mut self.text, rest);
                match Event::read(&whole) {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let frame = within("an event, or the end", self.body.frame()).await?;
            let data = frame.expect("a whole stream").into_data().expect("data");
            self.text
                .push_str(std::str::from_utf8(&data).expect("text"));
        }
    }

    /// The next event that is such.
    async fn until(&mut self, what: &str, such: impl Fn(&Event) -> bool) -> Event {
        let found = async {
            loop {
                let event = self.next().await;
                let event = event.unwrap_or_else(|| panic!("the end, and no {what}"));
                if such(&event) {
                    return event;
                }
            }
        };
        within(what, found).await
    }

    /// The next event of this name.
    async fn named(&mut self, name: &str) -> Event {
        self.until(name, |event| event.name == name).await
    }

    /// All that is left.
    async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// All that comes until the stream breaks off.
    async fn until_cut(mut self) -> Vec<Event> {
        loop {
            let frame = within("the cut", self.body.frame()).await;
            match frame.expect("no proper end") {
                Ok(frame) => {
                    let data = frame.into_data().expect("data");
                    let text = std::str::from_utf8(&data).expect("text");
                    self.text.push_str(text);
                }
                Err(_) => break,
            }
        }
        // What stands behind the last end of an event was cut off in it.
        let whole = self.text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        whole.split("\n\n").filter_map(Event::read).collect()
    }
}
