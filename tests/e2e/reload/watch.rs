//! Reloads that nobody asks for: a file has changed.

use super::ends;
use crate::support::clients::Http1;
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use std::os::unix::fs::symlink;

const PROCESS: &str = "[process]\nworkers = 2\nwatch = \"20ms\"\n\
                       logs = { format = \"json\", level = \"info,ebbtide=debug\" }\n";

fn config(server: &Server, generation: u32) -> String {
    format!(
        "{PROCESS}\n[listener.web]\nlisten = \"127.0.0.1:0\"\n\
         routes = [{{ upstream = \"site\", set_response_headers = {{ x-gen = \"{generation}\" }} }}]\n\n\
         [upstream.site]\nservers = [\"{}\"]\n\n[drain]\nreceipt = \"receipt.json\"\nannounce = \"0s\"\n",
        server.address
    )
}

async fn serves(proxy: &Proxy, generation: u32) {
    let applied = |line: &serde_json::Value| line["result"] == "applied";
    proxy.until_event("reload", applied).await;
    let mut client = Http1::connect(proxy.address("web")).await;
    let reply = client.get("/").await.expect("a reply");
    assert_eq!(reply.headers["x-gen"], generation.to_string());
}

#[tokio::test]
async fn a_config_that_is_written_is_reloaded_and_a_wrong_one_said() {
    let server = Server::http1().await;
    let proxy = Proxy::start(&config(&server, 1)).await;
    proxy.write_config("nonsense");
    let invalid = |line: &serde_json::Value| line["result"] == "invalid";
    proxy.until_event("reload", invalid).await;
    proxy.write_config(&config(&server, 2));
    serves(&proxy, 2).await;
    ends(proxy).await;
}

#[tokio::test]
async fn a_mounted_config_is_reloaded_when_its_link_leads_elsewhere() {
    let server = Server::http1().await;
    let proxy = Proxy::start(&config(&server, 1)).await;
    // As Kubernetes replaces what a ConfigMap mounts.
    let path = |name: &str| proxy.directory().join(name);
    std::fs::create_dir(path("..data_2")).expect("made");
    std::fs::write(path("..data_2/ebbtide.toml"), {
        let text = config(&server, 2);
        format!("[admin]\nlisten = \"127.0.0.1:0\"\n\n{text}")
    })
    .expect("written");
    symlink("..data_2/ebbtide.toml", path("next")).expect("linked");
    std::fs::rename(path("next"), path("ebbtide.toml")).expect("replaced");
    serves(&proxy, 2).await;
    ends(proxy).await;
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_reloaded() {
    let server = Server::http1().await;
    let tls = "[listener.web]\ntls = { cert = \"site.pem\", key = \"site.key\" }\n";
    let text = config(&server, 1).replace("[listener.web]\n", tls);
    let proxy = Proxy::start(&text).await;
    let certificate = crate::support::certificate::Certificate::new();
    certificate.write(proxy.directory());
    let changed = |line: &serde_json::Value| {
        let message = line["message"].as_str().unwrap_or_default();
        line["result"] == "applied" && message.contains("changes listener web: tls")
    };
    proxy.until_event("reload", changed).await;
    ends(proxy).await;
}
