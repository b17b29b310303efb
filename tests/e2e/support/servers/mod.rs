//! The servers behind the proxy, each on a free loopback port.

mod answer;
pub(crate) mod bulk;
mod grpc;
mod headed;
mod http1;
mod http2;
mod tcp;
mod websocket;

pub(crate) use answer::pattern;
pub(crate) use grpc::{Line, SERVICE};

use super::BoxWire;
use super::seen::Desk;
use rustls::ServerConfig;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A server of a test: where it is, and what it saw. It stops when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) desk: Desk,
    accepting: JoinHandle<()>,
}

impl Server {
    /// HTTP/1.1; what it does is up to the path, see [`answer`].
    pub(crate) async fn http1() -> Self {
        Self::start(None, http1::connection).await
    }

    /// HTTP/1.1 at this address.
    pub(crate) async fn http1_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("bind");
        Self::start_at((listener, address), (None, false), http1::connection)
    }

    /// HTTP/1.1 over TLS.
    pub(crate) async fn http1_tls(tls: Arc<ServerConfig>) -> Self {
        Self::start(Some(tls), http1::connection).await
    }

    /// HTTP/2 with prior knowledge; what it does is up to the path.
    pub(crate) async fn http2() -> Self {
        Self::start(None, http2::connection).await
    }

    /// HTTP/2 over TLS.
    pub(crate) async fn http2_tls(tls: Arc<ServerConfig>) -> Self {
        Self::start(Some(tls), http2::connection).await
    }

    /// gRPC, by tonic: the service [`SERVICE`].
    pub(crate) async fn grpc() -> Self {
        let (listener, address) = bind().await;
        let desk = Desk::new();
        let accepting = tokio::spawn(grpc::serve(listener, desk.clone()));
        Self {
            address,
            desk,
            accepting,
        }
    }

    /// WebSocket: every message comes back.
    pub(crate) async fn websocket() -> Self {
        Self::start(None, websocket::connection).await
    }

    /// WebSocket over HTTP/2 (RFC 8441), with prior knowledge.
    pub(crate) async fn websocket_http2() -> Self {
        Self::start(None, websocket::connection_http2).await
    }

    /// TCP: every byte comes back, an end is answered by an end.
    pub(crate) async fn tcp() -> Self {
        Self::start(None, tcp::connection).await
    }

    /// HTTP/1.1 behind a PROXY header on each connection.
    pub(crate) async fn headed_http1() -> Self {
        Self::start_headed(None, http1::connection).await
    }

    /// HTTP/1.1 over TLS behind a PROXY header.
    pub(crate) async fn headed_http1_tls(tls: Arc<ServerConfig>) -> Self {
        Self::start_headed(Some(tls), http1::connection).await
    }

    /// HTTP/2 with prior knowledge behind a PROXY header.
    pub(crate) async fn headed_http2() -> Self {
        Self::start_headed(None, http2::connection).await
    }

    /// WebSocket behind a PROXY header.
    pub(crate) async fn headed_websocket() -> Self {
        Self::start_headed(None, websocket::connection).await
    }

    /// TCP behind a PROXY header.
    pub(crate) async fn headed_tcp() -> Self {
        Self::start_headed(None, tcp::connection).await
    }

    /// Accept no more; connections that are open stay.
    pub(crate) fn stop_accepting(&self) {
        self.accepting.abort();
    }

    async fn start<F>(tls: Option<Arc<ServerConfig>>, connection: fn(BoxWire, Desk) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_on(tls, false, connection).await
    }

    async fn start_headed<F>(
        tls: Option<Arc<ServerConfig>>,
        connection: fn(BoxWire, Desk) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_on(tls, true, connection).await
    }

    async fn start_on<F>(
        tls: Option<Arc<ServerConfig>>,
        headed: bool,
        connection: fn(BoxWire, Desk) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_at(bind().await, (tls, headed), connection)
    }

    fn start_at<F>(
        (listener, address): (TcpListener, SocketAddr),
        (tls, headed): (Option<Arc<ServerConfig>>, bool),
        connection: fn(BoxWire, Desk) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let desk = Desk::new();
        let noted = desk.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (tls, desk) = (tls.clone(), noted.clone());
                tokio::spawn(async move {
                    let _stay = desk.connection();
                    let _ = stream.set_nodelay(true);
                    if headed {
                        match headed::header(&mut stream).await {
                            Ok(bytes) => desk.note(|seen| seen.headers.push(bytes)),
                            Err(_) => return,
                        }
                    }
                    match tls {
                        None => connection(Box::new(stream), desk).await,
                        Some(tls) => {
                            let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else {
                                return;
                            };
                            connection(Box::new(stream), desk).await;
                        }
                    }
                });
            }
        });
        Self {
            address,
            desk,
            accepting,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("bind");
    let address = listener.local_addr().expect("address");
    (listener, address)
}
