//! Servers that do on the wire what a test says, byte by byte or frame by
//! frame.

use super::field::config;
use crate::support::clients::Raw;
use crate::support::proxy::Proxy;
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A server that follows a script; it stops when dropped.
pub(crate) struct Script {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Script {
    /// Each connection is handed to `connection`.
    pub(crate) async fn http1<F>(connection: impl Fn(Raw) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::tcp(move |stream| {
            stream.set_nodelay(true).expect("nodelay");
            connection(Raw::over(Box::new(stream)))
        })
        .await
    }

    /// Each connection's socket is handed to `connection`.
    pub(crate) async fn tcp<F>(connection: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("bind");
        Self::on(listener, connection)
    }

    /// The same on a socket that is there already.
    pub(crate) fn on<F>(
        listener: TcpListener,
        connection: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let address = listener.local_addr().expect("address");
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, SeqCst);
                tokio::spawn(connection(stream));
            }
        });
        Self {
            address,
            connections,
            accepting,
        }
    }

    /// Each stream is handed to `stream`.
    pub(crate) async fn http2<F>(
        stream: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::tcp(move |socket| {
            let stream = stream.clone();
            async move {
                let mut connection = h2::server::handshake(socket).await.expect("handshake");
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(stream(request, respond));
                }
            }
        })
        .await
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// A proxy before one server of each version: `h1.test` and `h2.test`.
    pub(crate) async fn proxy(further: &str, h1: &Self, h2: &Self) -> Proxy {
        let upstreams = [("h1", h1.address, ""), ("h2", h2.address, "http = \"h2\"")];
        Proxy::start(&config(further, &upstreams)).await
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
