//! Bad input on the wire: refused with the right word, never a hang, never a
//! panic, and nothing of it reaches a server.
//!
//! What can be read in two ways is refused, not repaired, also where others
//! repair it: the server behind might read it the other way.

mod answers;
mod answers_http2;
mod connections;
mod http1;
mod http1_bodies;
mod http2;
mod http2_floods;
mod semantics;
mod tls;

use crate::drain::scene::{Plan, ended};
use crate::support::clients::{Ended, Frames, Raw, connect};
use crate::support::proxy::{Proxy, Signal};
use crate::support::seen::Seen;
use crate::support::servers::Server;

/// A request in order, and what follows its answer's head.
const HONEST: &str = "GET /honest HTTP/1.1\r\nHost: localhost\r\n\r\n";
const OK: &str = "\r\n\r\nok";

/// A proxy before one server, with small limits.
struct Wire {
    proxy: Proxy,
    server: Server,
}

impl Wire {
    async fn new() -> Self {
        Self::with("").await
    }

    /// With `further` limits.
    async fn with(further: &str) -> Self {
        let server = Server::http1().await;
        let listener = format!(
            "listen = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
             limits = {{ head = \"8KiB\", headers = 20, streams = 8{further} }}\n"
        );
        let address = server.address;
        let proxy = Proxy::start(&format!(
            "[listener.web]\n{listener}\n[listener.secure]\n{listener}\
             tls = {{ cert = \"site.pem\", key = \"site.key\" }}\n\n\
             [upstream.site]\nservers = [\"{address}\"]\n\n{}",
            Plan::CALM
        ))
        .await;
        Self { proxy, server }
    }

    async fn raw(&self) -> Raw {
        Raw::connect(self.proxy.address("web")).await
    }

    async fn frames(&self) -> Frames {
        Frames::over(connect(self.proxy.address("web")).await).await
    }

    fn seen(&self) -> Seen {
        self.server.desk.seen()
    }

    /// Whoever comes next is served.
    async fn serves(&self, what: &str) {
        let mut honest = self.raw().await;
        honest.send(HONEST).await.expect("sent");
        let answer = honest.read_until(OK).await.expect(what);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{what}: {answer}");
    }

    /// Whoever comes next is served, and the server has seen nothing since
    /// `before` but that.
    async fn serves_as_before(&self, before: &Seen, what: &str) {
        self.serves(what).await;
        let seen = self.seen();
        let new = &seen.heads[before.heads.len()..];
        assert_eq!(new.len(), 1, "{what}: {new:?}");
        assert!(new[0].starts_with("GET /honest "), "{what}: {new:?}");
    }

    /// The proxy still drains, and exits well.
    async fn over(mut self) {
        self.proxy.signal(Signal::TERM);
        assert_eq!(ended(&mut self.proxy).await.cut, 0);
    }
}

/// All that a connection answers, as text; its end is in order.
async fn all_of(raw: Raw, what: &str) -> String {
    let (bytes, end) = raw.rest().await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert_eq!(end, Ended::Fin, "{what}: {text}");
    text
}

/// One refusal, the last word on its connection.
fn assert_refused(answer: &str, status: u16, what: &str) {
    let head = answer.to_ascii_lowercase();
    assert!(
        head.starts_with(&format!("http/1.1 {status} ")),
        "{what}: {answer}"
    );
    assert!(
        head.contains("\r\nconnection: close\r\n"),
        "{what}: {answer}"
    );
    assert_eq!(head.matches("\r\n\r\n").count(), 1, "{what}: {answer}");
}
