//! Connections that begin with a PROXY header fail and follow one another as
//! those without do.

use super::*;
use crate::proxy::Error;
use crate::proxy::registry::Ends;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n";

fn client() -> Ends {
    Ends {
        source: "192.0.2.7:4711".parse().unwrap(),
        destination: "192.0.2.1:443".parse().unwrap(),
    }
}

fn naming(servers: &[SocketAddr]) -> config::Upstream {
    config::Upstream {
        proxy_protocol: Some(config::ProxyVersion::V1),
        ..config(servers, config::UpstreamHttp::H1)
    }
}

#[tokio::test]
async fn a_server_that_refuses_is_left_for_the_next_one() {
    let (_held, gone) = nobody();
    let (listener, address) = listen().await;
    let pool = pool(&naming(&[gone, address]));
    let client = client();
    for _ in 0..2 {
        let mut tried = Search::new();
        let leased = pool.lease(Some(&client), &mut tried);
        let lease = timeout(LIMIT, leased).await.unwrap().unwrap();
        assert_eq!((lease.server_index(), lease.reused()), (1, false));
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut header = [0; LINE.len()];
        socket.read_exact(&mut header).await.unwrap();
        assert_eq!(header, LINE);
    }
}

#[tokio::test]
async fn a_refusal_reads_as_without_a_header() {
    let (_held, gone) = nobody();
    let pool = pool(&naming(&[gone]));
    let client = client();
    let mut tried = [Search::new(), Search::new()];
    let [first, second] = &mut tried;
    let errors = [
        pool.lease(Some(&client), first).await.err().unwrap(),
        pool.dial(Some(&client), second).await.err().unwrap(),
    ];
    for error in errors {
        let Error::Connect { reason, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(reason, "connection refused");
    }
}

#[tokio::test]
async fn a_connection_that_named_a_client_is_not_kept() {
    let (listener, address) = listen().await;
    let pool = pool(&naming(&[address]));
    let serving = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; LINE.len()];
        socket.read_exact(&mut bytes).await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        socket.write_all(answer).await.unwrap();
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        rest
    });
    let client = client();
    let mut tried = Search::new();
    let lease = timeout(LIMIT, pool.lease(Some(&client), &mut tried)).await;
    let (status, body) = exchange(lease.unwrap().unwrap()).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"ok"[..]));
    assert!(pool.lease_idle(&Search::new()).is_none());
    // It closes although nobody swept.
    let rest = timeout(LIMIT, serving).await.unwrap().unwrap();
    assert!(rest.starts_with(b"GET / HTTP/1.1\r\n"), "one request");
}

#[tokio::test]
async fn a_unix_socket_gets_the_header_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("site.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let config = config::Upstream {
        servers: vec![config::Server {
            name: "unix".into(),
            address: config::ServerAddress::Unix(path),
            weight: 1,
            zone: None,
            found_by: None,
        }],
        ..naming(&[])
    };
    let client = client();
    let mut tried = Search::new();
    let pool = pool(&config);
    let (mut stream, _) = pool.dial(Some(&client), &mut tried).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.flush().await.unwrap();
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut bytes = vec![0; LINE.len() + 5];
    timeout(LIMIT, socket.read_exact(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(bytes, [LINE, b"hello"].concat());
}
