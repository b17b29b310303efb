//! An agent of Consul, as far as a service that drains needs one: the same
//! paths, tokens and answers (Consul's HTTP API, "Agent" and "Health").

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The services by their ids; one in maintenance has its reason.
pub(crate) type Services = BTreeMap<String, Option<String>>;

/// A running agent.
pub(crate) struct Agent {
    pub(crate) address: SocketAddr,
    services: watch::Receiver<Services>,
    task: JoinHandle<()>,
}

impl Agent {
    /// One with a service `web`, that lets nobody change it without `token`.
    pub(crate) async fn with_web(token: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("known");
        let start = Services::from([("web".to_owned(), None)]);
        let (note, services) = watch::channel(start);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accepted");
                let note = note.clone();
                let serve = service_fn(move |request: Request<Incoming>| {
                    let mut answer = Response::new(Full::new(Bytes::new()));
                    *answer.status_mut() = act(&request, token, &note);
                    async move { Ok::<_, hyper::Error>(answer) }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
                tokio::spawn(connection);
            }
        });
        Self {
            address,
            services,
            task,
        }
    }

    /// Wait until its services are as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Services) -> bool) {
        let mut services = self.services.clone();
        let found = services.wait_for(|services| wanted(services));
        super::within(what, found).await.expect("it serves on");
    }

    /// Its services now.
    pub(crate) fn services(&self) -> Services {
        self.services.borrow().clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn act(request: &Request<Incoming>, token: &str, note: &watch::Sender<Services>) -> StatusCode {
    let given = request.headers().get("x-consul-token");
    if given.is_none_or(|given| given != token) {
        return StatusCode::FORBIDDEN;
    }
    let path = request.uri().path();
    let Some((what, id)) = path
        .strip_prefix("/v1/agent/service/")
        .and_then(|rest| rest.split_once('/'))
    else {
        return StatusCode::NOT_FOUND;
    };
    if request.method() != Method::PUT {
        return StatusCode::METHOD_NOT_ALLOWED;
    }
    if !note.borrow().contains_key(id) {
        // "Unknown service ID".
        return StatusCode::NOT_FOUND;
    }
    let query = request.uri().query().unwrap_or_default();
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    };
    match (what, parameter("enable").as_deref()) {
        ("deregister", _) => {
            note.send_modify(|services| drop(services.remove(id)));
        }
        ("maintenance", Some("true")) => {
            let reason = parameter("reason").unwrap_or_default();
            note.send_modify(|services| drop(services.insert(id.to_owned(), Some(reason))));
        }
        ("maintenance", Some("false")) => {
            note.send_modify(|services| drop(services.insert(id.to_owned(), None)));
        }
        // "Missing value for enable".
        _ => return StatusCode::BAD_REQUEST,
    }
    StatusCode::OK
}
