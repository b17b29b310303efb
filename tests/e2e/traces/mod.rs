//! Traces, as a collector gets them over the wire, and as servers are asked.

mod drains;
mod exporter;
mod reloads;
mod requests;

use crate::support::clients::{Http1, Reply};
use crate::support::collector::{Collector, Got, Seen};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use bytes::Bytes;
use http::Request;
use http_body_util::combinators::UnsyncBoxBody;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::sleep;

/// Who asks, in the words of the specification.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A `[process]` that sends to this collector; `more` are further keys.
fn process(collector: SocketAddr, more: &str) -> String {
    format!(
        "[process]\nworkers = 1\nlogs = {{ format = \"json\", level = \"info,ebbtide=debug\", \
         access = true }}\n[process.traces]\notlp = \"http://{collector}\"\n{more}\n"
    )
}

/// A drain that ends what is in flight at once, in its own protocol.
const SHORT: &str = "[drain]\ngrace = \"10m\"\nannounce = \"0s\"\nspread = \"0s\"\n\
    farewell = \"60s\"\nreceipt = \"receipt.json\"\n\
    finish = { http = \"1ms\", grpc = \"1ms\", websocket = \"1ms\", tcp = \"1ms\" }\n";

/// One listener before a server of HTTP/1.1.
fn site(process: &str, server: &Server) -> String {
    format!(
        "{process}[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
         [upstream.site]\nservers = [\"{}\"]\n{SHORT}",
        server.address
    )
}

/// A request by who says so of its trace.
fn asks(path: &str, said: &[(&str, &str)]) -> Request<UnsyncBoxBody<Bytes, Infallible>> {
    let mut request = Http1::request(path);
    for (name, value) in said {
        let name: http::HeaderName = name.parse().expect("a name");
        let value = value.parse().expect("a value");
        request.headers_mut().append(name, value);
    }
    request
}

async fn get(proxy: &Proxy, path: &str, said: &[(&str, &str)]) -> Reply {
    let mut client = Http1::connect(proxy.address("web")).await;
    let answer = client.send(asks(path, said)).await.expect("an answer");
    Http1::whole(answer).await.expect("whole")
}

/// A field of the last head that a server saw.
fn told(server: &Server, field: &str) -> Vec<String> {
    let seen = server.desk.seen();
    let head = seen.heads.last().expect("a request");
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let named = fields.filter(|(name, _)| *name == field);
    named.map(|(_, value)| value.to_owned()).collect()
}

/// What a counter says now.
async fn counter(proxy: &Proxy, series: &str) -> u64 {
    let reply = proxy.get("/metrics").await;
    let text = reply.text();
    let found = text.lines().find_map(|line| line.strip_prefix(series));
    let found = found.and_then(|value| value.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {series} in {text}"))
}

async fn until_counter(proxy: &Proxy, series: &str, wanted: impl Fn(u64) -> bool) {
    let reached = async {
        while !wanted(counter(proxy, series).await) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    crate::support::within(series, reached).await;
}

/// That somebody listens there, who never answers.
async fn black_hole() -> (tokio::net::TcpListener, SocketAddr) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("bound");
    let address = listener.local_addr().expect("known");
    (listener, address)
}

/// The only exchange that was recorded.
fn one(got: &Got) -> &Seen {
    let exchanges = got.exchanges();
    assert_eq!(exchanges.len(), 1, "{got:#?}");
    exchanges[0]
}

/// A collector, a server, and a proxy between that records by `more`.
async fn recorded(more: &str) -> (Collector, Server, Proxy) {
    let (collector, server) = (Collector::grpc().await, Server::http1().await);
    let proxy = Proxy::start(&site(&process(collector.address, more), &server)).await;
    (collector, server, proxy)
}
