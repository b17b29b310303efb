//! Trailers, both ways, between every two versions.

use super::client::{Client, Sent, get, open, request, whole};
use super::field::{Field, Speaks, pairs};
use bytes::Bytes;
use http::header::{HeaderValue, TE, TRAILER};
use http::{HeaderMap, Method, Request};
use http_body::Frame;

/// A POST whose trailer `x-check` the server repeats as its own.
fn with_trailers(speaks: Speaks, site: &str) -> Request<Sent> {
    let (frames, body) = open();
    tokio::spawn(async move {
        let data = Frame::data(Bytes::from_static(b"hello"));
        frames.send(Ok(data)).await.expect("it is taken");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-check", HeaderValue::from_static("sum"));
        frames
            .send(Ok(Frame::trailers(trailers)))
            .await
            .expect("it is taken");
    });
    let mut asked = request(Method::POST, site, "/echo", body);
    // HTTP/1.1 announces them; HTTP/2 need not, unless they go on to HTTP/1.1.
    if site.starts_with("h1") || speaks == Speaks::Http1 || speaks == Speaks::Http1Tls {
        let announced = HeaderValue::from_static("x-check");
        asked.headers_mut().insert(TRAILER, announced);
    }
    asked
}

#[tokio::test]
async fn trailers_of_a_request_and_of_its_response_arrive() {
    let field = Field::new().await;
    for (speaks, site) in pairs(&Speaks::ALL, &Field::SITES) {
        let mut client = field.client(speaks).await;
        let reply = client.ask(with_trailers(speaks, site)).await;
        let reply = reply.expect("a reply");
        let what = format!("{speaks:?} to {site}");
        assert_eq!(reply.text(), "hello", "{what}");
        assert_eq!(reply.trailer("x-check"), Some("sum"), "{what}");
        // The connection goes on after them.
        let reply = client.ask(get(site, "/")).await.expect("a reply");
        assert_eq!(reply.text(), "ok", "{what}");
    }
}

#[tokio::test]
async fn trailers_follow_a_body_that_was_held() {
    for site in Field::SITES {
        let field = Field::new().await;
        let mut begun = Vec::new();
        for speaks in Speaks::ALL {
            let mut client: Client = field.client(speaks).await;
            let response = client.send(get(site, "/begin")).await.expect("a head");
            begun.push((speaks, client, response));
        }
        field.server(site).desk.release();
        for (speaks, client, response) in begun {
            let reply = whole(response).await.expect("the rest");
            let what = format!("{speaks:?} to {site}");
            assert_eq!(reply.text(), "begundone", "{what}");
            assert_eq!(reply.trailer("x-check"), Some("done"), "{what}");
            drop(client);
        }
    }
}

#[tokio::test]
async fn an_http1_client_that_takes_no_trailers_gets_none() {
    let field = Field::new().await;
    for site in Field::SITES {
        let mut client = field.client(Speaks::Http1).await;
        let mut asked = with_trailers(Speaks::Http1, site);
        asked.headers_mut().remove(TE);
        let reply = client.ask(asked).await.expect("a reply");
        assert_eq!((reply.text(), reply.trailer("x-check")), ("hello", None));
        let reply = client.ask(get(site, "/")).await.expect("a reply");
        assert_eq!(reply.text(), "ok", "{site}");
    }
}
