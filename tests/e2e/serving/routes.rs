//! Which request goes where, and what is said where there is no way.

use super::client::{Client, get};
use super::field::{Speaks, client};
use crate::support::clients::{Http2, Raw};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use http::Request;

/// Four servers behind routes of every kind; none for other hosts' paths
/// outside of `/open`.
struct Routes {
    servers: [(&'static str, Server); 4],
    proxy: Proxy,
}

impl Routes {
    async fn new() -> Self {
        let servers = [
            ("exact", Server::http1().await),
            ("orders", Server::http1().await),
            ("suffix", Server::http1().await),
            ("open", Server::http1().await),
        ];
        let routes = r#"
routes = [
  { host = "api.example.com", path = "/orders/", upstream = "orders" },
  { host = "api.example.com", upstream = "exact" },
  { host = "*.example.com", upstream = "suffix", set_response_headers = { x-gen = "7", server = "hidden" } },
  { host = "*", path = "/open", upstream = "open" },
]"#;
        let mut text = String::new();
        for (listener, tls) in [
            ("clear", ""),
            ("tls", "tls = { cert = \"site.pem\", key = \"site.key\" }"),
        ] {
            text += "[listener.";
            text += listener;
            text += "]\nlisten = \"127.0.0.1:0\"\n";
            text += tls;
            text += routes;
            text += "\n";
        }
        for (name, server) in &servers {
            let address = server.address.to_string();
            text += &["[upstream.", name, "]\nservers = [\"", &address, "\"]\n"].concat();
        }
        Self {
            servers,
            proxy: Proxy::start(&text).await,
        }
    }

    /// How many requests each server has seen, in the order of the routes.
    fn counts(&self) -> [usize; 4] {
        self.servers
            .each_ref()
            .map(|(_, server)| server.desk.seen().requests)
    }
}

fn at(host: &str, path: &str) -> Request<super::client::Sent> {
    let mut request = get("x", path);
    let uri = format!("http://{host}{path}");
    *request.uri_mut() = uri.parse().expect("a target");
    request
}

#[tokio::test]
async fn the_first_route_whose_host_and_path_fit_wins() {
    let routes = Routes::new().await;
    let cases = [
        ("api.example.com", "/", Some("exact")),
        ("API.Example.COM:8443", "/", Some("exact")),
        ("api.example.com", "/orders", Some("exact")),
        ("api.example.com", "/orders/", Some("orders")),
        ("api.example.com", "/orders/7?x=1", Some("orders")),
        ("api.example.com", "/Orders/7", Some("exact")),
        ("a.example.com", "/orders/", Some("suffix")),
        ("a.b.example.com", "/", Some("suffix")),
        ("example.com", "/", None),
        ("badexample.com", "/", None),
        ("example.com", "/open", Some("open")),
        ("example.com", "/opening", Some("open")),
        ("example.com", "/closed/open", None),
        ("127.0.0.1:80", "/open/", Some("open")),
        ("[::1]:80", "/open/", Some("open")),
    ];
    for speaks in Speaks::ALL {
        let mut client = client(&routes.proxy, speaks).await;
        for (host, path, wanted) in cases {
            let before = routes.counts();
            let reply = client.ask(at(host, path)).await.expect("a reply");
            let after = routes.counts();
            let came = (0..4).find(|&index| after[index] > before[index]);
            let came = came.map(|index| routes.servers[index].0);
            assert_eq!(came, wanted, "{speaks:?} {host}{path}");
            let status = if wanted.is_some() { 200 } else { 404 };
            assert_eq!(reply.status, status, "{speaks:?} {host}{path}");
        }
    }
}

#[tokio::test]
async fn a_route_s_response_headers_replace_the_server_s() {
    let routes = Routes::new().await;
    for speaks in Speaks::ALL {
        let mut client = client(&routes.proxy, speaks).await;
        let reply = client.ask(at("a.example.com", "/")).await.expect("a reply");
        assert_eq!(reply.header("x-gen"), Some("7"));
        let servers: Vec<_> = reply.headers.get_all("server").iter().collect();
        assert_eq!(servers, ["hidden"]);
        let reply = client.ask(at("api.example.com", "/")).await;
        assert_eq!(reply.expect("a reply").header("x-gen"), None);
    }
}

#[tokio::test]
async fn grpc_without_a_route_is_told_unimplemented() {
    let routes = Routes::new().await;
    let client = Http2::connect(routes.proxy.address("clear")).await;
    let mut request = Http2::request("/test.Lines/Echo");
    let grpc = "application/grpc".parse().expect("a value");
    request.headers_mut().insert("content-type", grpc);
    let (response, _) = client.open(request, true).await.expect("a stream");
    let reply = Http2::whole(response.await.expect("a head")).await;
    let reply = reply.expect("a reply");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("grpc-status"), Some("12"));
    assert!(
        reply
            .header("grpc-message")
            .is_some_and(|says| says.contains("route"))
    );
}

#[tokio::test]
async fn a_target_in_absolute_form_is_routed_by_its_host() {
    let routes = Routes::new().await;
    let mut client = Raw::connect(routes.proxy.address("clear")).await;
    let head = "GET http://api.example.com/orders/1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
    client.send(head).await.expect("sent");
    let head = client.head().await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let seen = routes.servers[1].1.desk.seen();
    // The server gets it in origin form.
    assert!(
        seen.heads[0].starts_with("GET /orders/1 HTTP/1.1\n"),
        "{seen:?}"
    );
    assert!(
        seen.heads[0].contains("\nhost: api.example.com\n"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn the_asterisk_of_options_is_passed_on_or_refused() {
    let routes = Routes::new().await;
    let mut client = Raw::connect(routes.proxy.address("clear")).await;
    client
        .send("OPTIONS * HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
        .await
        .expect("sent");
    let head = client.head().await.expect("a head");
    let known = ["HTTP/1.1 200 ", "HTTP/1.1 404 ", "HTTP/1.1 400 "];
    assert!(known.iter().any(|known| head.starts_with(known)), "{head}");
    let mut other = client_of(&routes).await;
    let reply = other.ask(at("api.example.com", "/")).await;
    assert_eq!(reply.expect("a reply").status, 200);
}

async fn client_of(routes: &Routes) -> Client {
    client(&routes.proxy, Speaks::Http1).await
}
