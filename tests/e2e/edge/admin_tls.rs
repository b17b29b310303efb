//! The admin interface over TLS: client certificates in place of tokens, and
//! the same through a reload and a handover.

use crate::drain::scene::{Plan, ended};
use crate::support::authority::{Authority, Identity, boxed, resumed, shake};
use crate::support::clients::{Ended, Http1, Raw};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use rustls::ClientConfig;
use std::process::{Output, Stdio};
use std::sync::Arc;
use tokio::process::Command;

struct Scene {
    proxy: Proxy,
    _server: Server,
    authority: Authority,
    operator: Identity,
    config: String,
}

impl Scene {
    /// `admin` is what its table has besides.
    async fn start(tls: &str, admin: &str) -> Self {
        let server = Server::http1().await;
        let (address, plan) = (server.address, Plan::CALM);
        let config = format!(
            "[admin]\nlisten = \"127.0.0.1:0\"\n\
             tls = {{ cert = \"admin.pem\", key = \"admin.key\"{tls} }}\n{admin}\n\
             [handover]\nsocket = \"handover.sock\"\n\
             [listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
             [upstream.site]\nservers = [\"{address}\"]\n{plan}"
        );
        let authority = Authority::new("operators");
        let operator = authority.vouch_for_client("operator", "a:b", "operator.internal");
        let client = Arc::new(authority.client(Some(&operator), &["http/1.1"]));
        let proxy = Proxy::start_secure(&config, client, |directory| {
            authority
                .vouch(&["localhost", "127.0.0.1"])
                .write(directory, "admin");
            authority.write(directory, "operators.pem");
            operator.write(directory, "operator");
        })
        .await;
        Self {
            proxy,
            _server: server,
            authority,
            operator,
            config,
        }
    }

    fn client(&self, shows: bool) -> Arc<ClientConfig> {
        let identity = shows.then_some(&self.operator);
        Arc::new(self.authority.client(identity, &["http/1.1"]))
    }

    /// The status of an answer, or why there is none.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        shows: bool,
        token: &str,
    ) -> Result<u16, String> {
        let stream = shake(self.proxy.admin(), &self.client(shows), "localhost").await;
        let stream = stream.map_err(|error| error.to_string())?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request
            .body(Empty::new().boxed_unsync())
            .expect("a request");
        let response = Http1::over(boxed(stream)).await.send(request).await;
        response
            .map(|response| response.status().as_u16())
            .map_err(|error| format!("{error:?}"))
    }

    /// The command line, with these options.
    async fn command(&self, options: &[(&str, &str)]) -> (Option<i32>, String, String) {
        let port = self.proxy.admin().port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
        command
            .args([
                "status",
                "--json",
                "--admin",
                &format!("https://localhost:{port}"),
            ])
            .env_remove("EBBTIDE_TOKEN")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for (name, file) in options {
            command.arg(name).arg(self.proxy.path(file));
        }
        let Output {
            status,
            stdout,
            stderr,
        } = within("the command", command.output()).await.expect("run");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (status.code(), text(stdout), text(stderr))
    }

    async fn over(mut self) {
        self.proxy.signal(Signal::TERM);
        assert_eq!(ended(&mut self.proxy).await.cut, 0);
    }
}

const REQUIRED: &str = ", client_ca = \"operators.pem\"";
const REQUESTED: &str = ", client_ca = \"operators.pem\", client_auth = \"request\"";

#[tokio::test]
async fn a_certificate_is_as_good_as_a_token() {
    let scene = Scene::start(REQUIRED, "").await;
    let asked = scene.ask(Method::GET, "/v1/status", true, "").await;
    assert_eq!(asked, Ok(200));
    let asked = scene.ask(Method::POST, "/v1/reload", true, "").await;
    assert_eq!(asked, Ok(200));
    let asked = scene.ask(Method::GET, "/livez", false, "").await;
    let refused = asked.expect_err("an alert");
    assert!(refused.contains("CertificateRequired"), "{refused}");
    // Clear text is no way in.
    let mut clear = Raw::connect(scene.proxy.admin()).await;
    clear
        .send("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .expect("sent");
    let (answer, end) = clear.rest().await;
    assert_ne!(answer.first(), Some(&b'H'), "{answer:?}");
    assert!(matches!(end, Ended::Fin | Ended::Reset));
    scene.over().await;
}

#[tokio::test]
async fn where_one_is_requested_a_token_does_too() {
    let tokens = "token = \"operate\"\nread_token = \"look\"";
    let scene = Scene::start(REQUESTED, tokens).await;
    for (method, path, shows, token, status) in [
        (Method::GET, "/readyz", false, "", 200),
        (Method::GET, "/v1/status", false, "", 401),
        (Method::GET, "/v1/status", true, "", 200),
        (Method::POST, "/v1/reload", true, "", 200),
        (Method::POST, "/v1/reload", false, "operate", 200),
        (Method::GET, "/v1/status", false, "look", 200),
        (Method::POST, "/v1/reload", false, "look", 403),
        (Method::POST, "/v1/reload", true, "look", 403),
        (Method::GET, "/v1/status", true, "wrong", 401),
    ] {
        let asked = scene.ask(method.clone(), path, shows, token).await;
        assert_eq!(asked, Ok(status), "{method} {path} {shows} {token}");
    }
    scene.over().await;
}

#[tokio::test]
async fn a_certificate_alone_is_asked_for_where_there_is_no_token() {
    let scene = Scene::start(REQUESTED, "").await;
    let asked = scene.ask(Method::GET, "/v1/status", false, "").await;
    assert_eq!(asked, Ok(401));
    assert_eq!(scene.ask(Method::GET, "/livez", false, "").await, Ok(200));
    let asked = scene.ask(Method::GET, "/v1/status", true, "").await;
    assert_eq!(asked, Ok(200));
    scene.over().await;
}

#[tokio::test]
async fn tls_is_the_same_after_a_reload_and_in_the_next_process() {
    let mut scene = Scene::start(REQUIRED, "").await;
    let client = scene.client(true);
    let first = shake(scene.proxy.admin(), &client, "localhost")
        .await
        .expect("shaken");
    assert!(!resumed(&first));
    drop(first);
    // Another certificate, without a restart.
    let next = scene.authority.vouch(&["localhost"]);
    next.write(scene.proxy.directory(), "admin");
    let reply = scene.proxy.ask(Method::POST, "/v1/reload", "").await;
    assert!(reply.text().contains("`admin.tls`"), "{}", reply.text());
    let stream = shake(scene.proxy.admin(), &client, "localhost")
        .await
        .expect("shaken");
    assert_eq!(*crate::support::authority::shown(&stream), next.der);
    drop(stream);
    // The socket goes over; the keys are the successor's own.
    let mut successor = scene.proxy.successor(&scene.config, "next.toml", &[]);
    successor.took_over(&scene.config).await;
    assert_eq!(successor.admin(), scene.proxy.admin(), "the same socket");
    let mut old = std::mem::replace(&mut scene.proxy, successor);
    ended(&mut old).await;
    let asked = scene.ask(Method::GET, "/v1/status", true, "").await;
    assert_eq!(asked, Ok(200));
    let asked = scene.ask(Method::GET, "/v1/status", false, "").await;
    assert!(asked.is_err(), "{asked:?}");
    scene.over().await;
}

#[tokio::test]
async fn the_command_line_speaks_tls_and_believes_its_authority_only() {
    let scene = Scene::start(REQUIRED, "").await;
    let ca = ("--ca", "operators.pem");
    let (cert, key) = (("--cert", "operator.pem"), ("--key", "operator.key"));
    let (code, status, complaint) = scene.command(&[ca, cert, key]).await;
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{status}");
    assert!(status.contains("\"phase\":\"active\""), "{status}");
    for (options, says) in [
        (&[cert, key][..], "EBBTIDE_CA"),
        (&[ca], "ertificate"),
        (
            &[("--ca", "site.pem"), cert, key],
            "no TLS with https://localhost",
        ),
        (
            &[("--ca", "operator.key"), cert, key],
            "holds no certificate",
        ),
    ] {
        let (code, _, complaint) = scene.command(options).await;
        assert_eq!(code, Some(1), "{options:?}: {complaint}");
        assert!(complaint.contains(says), "{options:?}: {complaint}");
    }
    let (code, ..) = scene.command(&[ca, cert]).await;
    assert_eq!(code, Some(2));
    scene.over().await;
}
