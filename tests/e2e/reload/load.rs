//! Reloads under load: nobody notices.

use super::{ends, reload, start};
use crate::support::clients::{Http1, Http2};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use tokio::task::JoinHandle;

/// How often the config changes.
const RELOADS: usize = 30;

#[derive(Clone, Default)]
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
}

impl Load {
    /// Ask on one connection until told to stop; every answer is good.
    fn keep_alive(&self, address: SocketAddr) -> JoinHandle<()> {
        let load = self.clone();
        tokio::spawn(async move {
            let mut client = Http1::connect(address).await;
            while !load.stop.load(SeqCst) {
                let reply = client.get("/").await.expect("an answer");
                assert_eq!((reply.status.as_u16(), reply.text()), (200, "ok"));
                load.served.fetch_add(1, SeqCst);
            }
        })
    }

    /// The same with a new connection for each request.
    fn anew(&self, address: SocketAddr) -> JoinHandle<()> {
        let load = self.clone();
        tokio::spawn(async move {
            while !load.stop.load(SeqCst) {
                let mut client = Http1::connect(address).await;
                let reply = client.get("/").await.expect("an answer");
                assert_eq!(reply.status, 200);
                load.served.fetch_add(1, SeqCst);
            }
        })
    }

    /// The same with streams of one HTTP/2 connection.
    fn streams(&self, address: SocketAddr) -> JoinHandle<()> {
        let load = self.clone();
        tokio::spawn(async move {
            let client = Http2::connect(address).await;
            while !load.stop.load(SeqCst) {
                let reply = client.get("/").await.expect("an answer");
                assert_eq!(reply.status, 200);
                load.served.fetch_add(1, SeqCst);
            }
        })
    }
}

#[tokio::test]
async fn no_request_is_lost_however_often_the_config_changes() {
    let (proxy, first, config) = start().await;
    let second = Server::http1().await;
    let load = Load::default();
    let web = proxy.address("web");
    let tasks = [
        load.keep_alive(web),
        load.keep_alive(web),
        load.anew(web),
        load.streams(web),
    ];
    for round in 0..RELOADS {
        change(&proxy, &config, &first, &second, round).await;
        let before = load.served.load(SeqCst);
        while load.served.load(SeqCst) < before + 8 && !tasks.iter().any(JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
    }
    load.stop.store(true, SeqCst);
    for task in tasks {
        task.await.expect("every request was served");
    }
    ends(proxy).await;
}

/// Something different each time: a header, a server, a listener, a limit, a
/// certificate, and back.
async fn change(proxy: &Proxy, config: &str, first: &Server, second: &Server, round: usize) {
    let changed = match round % 6 {
        0 => {
            let route = format!(
                "{{ upstream = \"site\", set_response_headers = {{ x-gen = \"{round}\" }} }}"
            );
            config.replace("{ upstream = \"site\" }", &route)
        }
        1 => config.replace(&first.address.to_string(), &second.address.to_string()),
        2 => config.replace("[listener.tcp]", "[listener.other]"),
        3 => config.replace(
            "[listener.web]",
            "[listener.web]\nlimits = { connections = 50 }",
        ),
        4 => {
            crate::support::certificate::Certificate::new().write(proxy.directory());
            config.to_owned()
        }
        _ => config.replace("announce = \"0s\"", "announce = \"5ms\""),
    };
    let done = reload(proxy, &changed).await;
    assert_eq!(done["applied"], true, "{round}: {done}");
}
