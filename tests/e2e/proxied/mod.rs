//! The PROXY protocol: balancers say who the client is, and servers are told.

mod believed;
mod named;
mod refused;
mod told;

use crate::drain::scene::{Plan, until_connections};
use crate::support::BoxWire;
use crate::support::clients::Raw;
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use crate::support::within;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header, and the client that it names.
struct Header {
    bytes: Vec<u8>,
    client: &'static str,
}

impl Header {
    /// One of each version and family.
    fn all() -> [Self; 4] {
        let rest6 = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\
            \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x67\x01\xbb";
        [
            Self::line(),
            Self {
                bytes: b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n".to_vec(),
                client: "[2001:db8::7]:4711",
            },
            Self::binary(),
            Self {
                bytes: binary(0x21, 0x21, rest6),
                client: "[2001:db8::7]:4711",
            },
        ]
    }

    fn line() -> Self {
        Self {
            bytes: b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n".to_vec(),
            client: "192.0.2.7:4711",
        }
    }

    /// With an extension, as a balancer in a cloud has it.
    fn binary() -> Self {
        let rest = b"\xc0\0\x02\x07\xc0\0\x02\x01\x12\x67\x01\xbb\xea\0\x03abc";
        Self {
            bytes: binary(0x21, 0x11, rest),
            client: "192.0.2.7:4711",
        }
    }

    /// The client's address without its port.
    fn ip(&self) -> String {
        let client: SocketAddr = self.client.parse().expect("an address");
        client.ip().to_string()
    }
}

/// A header of version 2 with this command, family and rest.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a length");
    [SIGNATURE, &[command, family], &length.to_be_bytes(), rest].concat()
}

/// A proxy that expects headers on listeners of each kind, and who is behind.
struct Scene {
    proxy: Proxy,
    http1: Server,
    tcp: Server,
}

impl Scene {
    /// `expects` is the value of `proxy_protocol`.
    async fn start(expects: &str) -> Self {
        Self::start_with(expects, &Plan::CALM).await
    }

    async fn start_with(expects: &str, plan: &Plan) -> Self {
        let (http1, tcp) = (Server::http1().await, Server::tcp().await);
        let proxy = Proxy::start(&config(expects, plan, &http1, &tcp)).await;
        Self { proxy, http1, tcp }
    }

    /// Wait until no connection is there.
    async fn gone(&self) {
        until_connections(&self.proxy, "no connection", <[Value]>::is_empty).await;
    }

    /// A connection on which these bytes are sent first, at once.
    async fn send(&self, listener: &str, bytes: &[u8]) -> TcpStream {
        let address = self.proxy.address(listener);
        let mut stream = within("a connection", TcpStream::connect(address))
            .await
            .expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        stream.write_all(bytes).await.expect("sent");
        stream
    }

    /// The view of the one connection that there is, once it is `so`.
    async fn view(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let one = |view: &[Value]| view.len() == 1 && so(&view[0]);
        until_connections(&self.proxy, what, one).await;
        self.proxy.json("/v1/connections").await["connections"][0].clone()
    }

    /// Connections of the listener that were refused for this flaw.
    async fn refused(&self, listener: &str, flaw: &str) -> u64 {
        let name = format!(
            "ebbtide_proxy_headers_refused_total{{listener=\"{listener}\",flaw=\"{flaw}\"}} "
        );
        let metrics = self.proxy.get("/metrics").await;
        let line = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(&name));
        line.expect("it is there from the start")
            .parse()
            .expect("a number")
    }
}

fn config(expects: &str, plan: &Plan, http1: &Server, tcp: &Server) -> String {
    let listen = format!("listen = \"127.0.0.1:0\"\nproxy_protocol = {expects}\n");
    let (http1, tcp) = (http1.address, tcp.address);
    format!(
        "[process]\nworkers = 2\n\
         logs = {{ format = \"json\", level = \"info,ebbtide=debug\", access = true }}\n\
         [listener.web]\n{listen}routes = [{{ upstream = \"site\" }}]\n\
         [listener.secure]\n{listen}routes = [{{ upstream = \"site\" }}]\n\
         tls = {{ cert = \"site.pem\", key = \"site.key\" }}\n\
         [listener.db]\n{listen}protocol = \"tcp\"\nupstream = \"db\"\n\
         [upstream.site]\nservers = [\"{http1}\"]\n[upstream.db]\nservers = [\"{tcp}\"]\n{plan}"
    )
}

/// A connection from another address of the loopback.
async fn connect_from(source: Ipv4Addr, address: SocketAddr) -> Raw {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((source, 0).into()).expect("bind");
    let stream = within("a connection", socket.connect(address)).await;
    let stream: BoxWire = Box::new(stream.expect("connect"));
    Raw::over(stream)
}
