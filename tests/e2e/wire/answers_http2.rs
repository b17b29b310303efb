//! Bad answers of servers of HTTP/2 (RFC 9113, section 8): the client hears 502,
//! and nothing of them; the next request is served.

use crate::support::clients::{Frame, Frames, Http1, Http2, Raw, Reply, block};
use crate::support::proxy::Proxy;
use crate::support::within;
use parking_lot::Mutex;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};

/// What is said to a request, on its stream; and what to the next one.
type Says = fn(u32) -> Vec<Frame>;
type Next = Arc<Mutex<Option<Says>>>;

fn head(stream: u32, fields: &[(&str, &str)], body: bool) -> Frame {
    Frame::headers(stream, block(fields), body)
}

fn data(stream: u32, text: &str) -> Frame {
    Frame::new(Frame::DATA, Frame::END_STREAM, stream, text)
}

async fn open(next: Next) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, Arc::clone(&next)));
        }
    });
    address
}

async fn serve(socket: TcpStream, next: Next) {
    let mut server = Raw::over(Box::new(socket));
    server.read_until("SM\r\n\r\n").await.expect("a preface");
    let mut server = Frames::begun(server);
    server.send(Frame::new(Frame::SETTINGS, 0, 0, [])).await;
    while let Ok(frame) = server.frame().await {
        if frame.kind != Frame::HEADERS {
            continue;
        }
        let stream = frame.stream;
        let honest = |stream| {
            vec![
                head(stream, &[(":status", "200")], true),
                data(stream, "ok"),
            ]
        };
        let says = next.lock().take().unwrap_or(honest);
        let bytes: Vec<u8> = says(stream).iter().flat_map(Frame::bytes).collect();
        // It may have had enough.
        let _ = server.send_bytes(bytes).await;
    }
}

struct Scene {
    next: Next,
    http1: Http1,
    http2: Http2,
    _proxy: Proxy,
}

impl Scene {
    async fn start() -> Self {
        let next = Next::default();
        let server = open(Arc::clone(&next)).await;
        let proxy = Proxy::start(&format!(
            "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\n\
             [upstream.site]\nservers = [\"{server}\"]\nhttp = \"h2\"\neject = false\n"
        ))
        .await;
        Self {
            next,
            http1: Http1::connect(proxy.address("web")).await,
            http2: Http2::connect(proxy.address("web")).await,
            _proxy: proxy,
        }
    }

    /// What clients of either version hear when this is said to them.
    async fn told(&mut self, says: Says) -> [Reply; 2] {
        *self.next.lock() = Some(says);
        let one = self.http1.get("/").await.expect("an answer");
        *self.next.lock() = Some(says);
        let other = self.http2.get("/").await.expect("an answer");
        for reply in [
            self.http1.get("/").await.expect("the next answer"),
            self.http2.get("/").await.expect("the next answer"),
        ] {
            assert_eq!((reply.status.as_u16(), &*reply.body), (200, &b"ok"[..]));
        }
        [one, other]
    }
}

const BAD: [(&str, Says); 14] = [
    ("no status", |stream| {
        vec![head(stream, &[("x", "y")], true), data(stream, "evil")]
    }),
    ("two statuses", |stream| {
        let fields = [(":status", "200"), (":status", "404")];
        vec![head(stream, &fields, true), data(stream, "evil")]
    }),
    ("a status that is none", |stream| {
        vec![
            head(stream, &[(":status", "20")], true),
            data(stream, "evil"),
        ]
    }),
    ("a late status", |stream| {
        let fields = [("x", "y"), (":status", "200")];
        vec![head(stream, &fields, true), data(stream, "evil")]
    }),
    ("a name in capitals", |stream| {
        let fields = [(":status", "200"), ("X", "y")];
        vec![head(stream, &fields, true), data(stream, "evil")]
    }),
    ("a field of a connection", |stream| {
        let fields = [(":status", "200"), ("transfer-encoding", "chunked")];
        vec![head(stream, &fields, true), data(stream, "evil")]
    }),
    ("white space around a value", |stream| {
        let fields = [(":status", "200"), ("x", " y")];
        vec![head(stream, &fields, true), data(stream, "evil")]
    }),
    ("an odd length", |stream| {
        let fields = [(":status", "200"), ("content-length", "04")];
        vec![head(stream, &fields, true), data(stream, "evil")]
    }),
    ("the same length twice", |stream| {
        let length = ("content-length", "4");
        vec![
            head(stream, &[(":status", "200"), length, length], true),
            data(stream, "evil"),
        ]
    }),
    ("an interim answer that is the last", |stream| {
        vec![head(stream, &[(":status", "103")], false)]
    }),
    ("interim answers without an end", |stream| {
        let interim = head(stream, &[(":status", "103"), ("x", "y")], true);
        let last = head(stream, &[(":status", "200")], false);
        [vec![interim; 40], vec![last]].concat()
    }),
    ("another protocol", |stream| {
        vec![
            head(stream, &[(":status", "101")], true),
            head(stream, &[(":status", "200")], false),
        ]
    }),
    ("content before its head", |stream| {
        vec![
            data(stream, "evil"),
            head(stream, &[(":status", "200")], false),
        ]
    }),
    ("a promise", |stream| {
        let promised = [&[0, 0, 0, 2][..], &block(&[(":method", "GET")])].concat();
        vec![
            Frame::new(5, Frame::END_HEADERS, stream, promised),
            head(stream, &[(":status", "200")], false),
        ]
    }),
];

#[tokio::test]
async fn a_bad_answer_is_502_and_the_next_request_is_served() {
    let mut scene = Scene::start().await;
    for (what, says) in BAD {
        for reply in scene.told(says).await {
            assert_eq!(reply.status.as_u16(), 502, "{what}: {reply:?}");
            assert!(!reply.text().contains("evil"), "{what}: {reply:?}");
        }
    }
}

/// It ends with its head (RFC 9110, sections 15.3.5 and 15.4.5), whatever follows
/// and whatever length it names.
#[tokio::test]
async fn what_has_no_content_ends_with_its_head() {
    let mut scene = Scene::start().await;
    for reply in scene
        .told(|stream| {
            vec![
                head(stream, &[(":status", "204")], true),
                data(stream, "HTTP/1.1 200 OK\r\n\r\n"),
            ]
        })
        .await
    {
        assert_eq!((reply.status.as_u16(), &*reply.body), (204, &b""[..]));
    }
    for reply in scene
        .told(|stream| {
            let fields = [(":status", "304"), ("content-length", "9")];
            vec![head(stream, &fields, true), data(stream, "")]
        })
        .await
    {
        assert_eq!((reply.status.as_u16(), &*reply.body), (304, &b""[..]));
    }
}

/// RFC 8297: clients of HTTP/2 hear them before the answer, as they come. 100 is
/// the proxy's own.
#[tokio::test]
async fn interim_answers_reach_clients_of_http2() {
    let mut scene = Scene::start().await;
    let says: Says = |stream| {
        let link = ("link", "</a.css>; rel=preload");
        vec![
            head(stream, &[(":status", "100")], true),
            head(stream, &[(":status", "103"), link], true),
            head(stream, &[(":status", "103"), ("x-two", "2")], true),
            head(stream, &[(":status", "200")], true),
            data(stream, "ok"),
        ]
    };
    *scene.next.lock() = Some(says);
    let (mut answer, _) = scene
        .http2
        .open(Http2::request("/"), true)
        .await
        .expect("sent");
    let mut heard = Vec::new();
    let interim = poll_fn(|cx| answer.poll_informational(cx));
    let first = within("an interim answer", interim).await;
    heard.push(first.expect("one").expect("good"));
    let interim = poll_fn(|cx| answer.poll_informational(cx));
    let second = within("another", interim).await;
    heard.push(second.expect("one").expect("good"));
    assert!(
        heard.iter().all(|one| one.status().as_u16() == 103),
        "{heard:?}"
    );
    assert_eq!(heard[0].headers()["link"], "</a.css>; rel=preload");
    assert_eq!(heard[1].headers()["x-two"], "2");
    let response = within("the answer", answer).await.expect("an answer");
    let reply = Http2::whole(response).await.expect("a body");
    assert_eq!((reply.status.as_u16(), &*reply.body), (200, &b"ok"[..]));
    // To a client of HTTP/1 none can be said.
    *scene.next.lock() = Some(says);
    let reply = scene.http1.get("/").await.expect("an answer");
    assert_eq!((reply.status.as_u16(), &*reply.body), (200, &b"ok"[..]));
}
