//! A call is over when its client says so, whatever its server does.

use crate::support::clients::Http2;
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use crate::support::within;
use http::Request;

/// A server that knows nothing of gRPC's deadlines, and a client that does not
/// keep its own.
async fn scene() -> (Server, Proxy) {
    let server = Server::http2().await;
    let address = server.address;
    let proxy = Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\n\
         [listener.secure]\nlisten = \"127.0.0.1:0\"\ntls = {{ cert = \"site.pem\", key = \"site.key\" }}\n\
         routes = [{{ upstream = \"site\" }}]\n\n\
         [upstream.site]\nservers = [\"{address}\"]\nhttp = \"h2\"\n"
    ))
    .await;
    (server, proxy)
}

async fn clients(proxy: &Proxy) -> [Http2; 2] {
    let wire = proxy.certificate().connect(proxy.address("secure"), "h2");
    [
        Http2::connect(proxy.address("web")).await,
        Http2::over(wire.await).await,
    ]
}

fn call(path: &str, timeout: &str) -> Request<()> {
    Request::get(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", timeout)
        .body(())
        .expect("a request")
}

#[tokio::test]
async fn a_silent_server_is_not_awaited_beyond_the_deadline() {
    let (server, proxy) = scene().await;
    for (number, client) in (1..).zip(clients(&proxy).await) {
        let (response, _) = client
            .open(call("/hold", "200m"), true)
            .await
            .expect("open");
        let response = within("a head", response).await.expect("a head");
        assert_eq!(response.headers()["grpc-status"], "4");
        assert!(response.body().is_end_stream(), "trailers only");
        let cancelled = server.desk.until("CANCEL", |seen| {
            let reasons = seen.reasons.iter();
            reasons.filter(|reason| *reason == "CANCEL").count() == number
        });
        cancelled.await;
        // The connection, and the one to the server, go on.
        assert_eq!(client.get("/").await.expect("a reply").text(), "ok");
    }
    let page = proxy.get("/metrics").await;
    let farewells = "ebbtide_farewells_total{kind=\"grpc_trailers_only\"} 0";
    assert!(page.text().contains(farewells), "no drain told them");
}

#[tokio::test]
async fn an_open_stream_ends_at_its_deadline_too() {
    let (server, proxy) = scene().await;
    for (number, client) in (1..).zip(clients(&proxy).await) {
        let (response, _) = client
            .open(call("/begin", "300m"), true)
            .await
            .expect("open");
        let response = within("a head", response).await.expect("a head");
        let reply = Http2::whole(response).await.expect("in order");
        assert_eq!(reply.text(), "begun");
        assert_eq!(reply.trailer("grpc-status"), Some("4"));
        let ended = server
            .desk
            .until("its end", |seen| seen.cancelled == number);
        ended.await;
    }
}

#[tokio::test]
async fn whoever_is_in_time_is_served() {
    let (server, proxy) = scene().await;
    let [client, _] = clients(&proxy).await;
    for timeout in ["99999999H", "20S", "19000m"] {
        let (response, _) = client
            .open(call("/echo", timeout), true)
            .await
            .expect("open");
        let response = within("a head", response).await.expect("a head");
        assert!(!response.headers().contains_key("grpc-status"), "{timeout}");
    }
    assert_eq!(server.desk.seen().requests, 3);
}
