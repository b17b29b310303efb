//! A proxy between any client and a server that takes nothing on trust.

use super::server::{self, Ledger};
use crate::drain::scene::Plan;
use crate::support::proxy::{Proxy, Signal};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;

/// How long one input may take; far more than it needs, and less than what any
/// client is given.
pub(super) const LIMIT: Duration = Duration::from_secs(8);

/// The proxy, the runtime of everybody else, and what was sent.
pub(super) struct Relay {
    pub(super) proxy: Proxy,
    pub(super) ledger: Ledger,
    clients: u32,
    pub(super) runtime: Runtime,
}

impl Relay {
    /// A proxy whose server speaks as `upstream` says, before a server at the
    /// address that `open` makes.
    pub(super) fn open<F>(upstream: &str, open: impl FnOnce(Ledger) -> F) -> Self
    where
        F: Future<Output = SocketAddr>,
    {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().expect("a runtime");
        let ledger = Ledger::default();
        let proxy = runtime.block_on(async {
            let server = open(ledger.clone()).await;
            Proxy::start(&format!(
                "[process]\nworkers = 1\nlogs = {{ format = \"json\", level = \"info\" }}\n\n\
                 [listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\n\
                 [upstream.site]\nservers = [\"{server}\"]\n{upstream}\n\n{}",
                Plan::CALM
            ))
            .await
        });
        Self {
            proxy,
            ledger,
            clients: 0,
            runtime,
        }
    }

    /// Before the usual server of HTTP/1.1.
    pub(super) fn http1() -> Self {
        Self::open("", server::open)
    }

    /// An address for the next client.
    pub(super) fn next_client(&mut self) -> Ipv4Addr {
        self.clients += 1;
        let [_, high, middle, low] = self.clients.to_be_bytes();
        // Not where servers are.
        Ipv4Addr::new(127, 1 + (high & 0x7f), middle, low)
    }

    /// The proxy leaves, every connection ends, and nothing was wrong to the
    /// last.
    pub(super) fn over(mut self) {
        self.runtime.block_on(async {
            self.proxy.signal(Signal::TERM);
            let status = self.proxy.exit().await;
            assert!(status.success(), "{status}");
        });
        self.ledger.is_clean();
    }
}

/// Connect from a client's address.
pub(super) async fn connect(client: Ipv4Addr, proxy: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind((client, 0).into())
        .expect("an address of its own");
    let stream = socket.connect(proxy).await.expect("connected");
    stream.set_nodelay(true).expect("nodelay");
    stream
}
