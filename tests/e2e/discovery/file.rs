//! Files that list servers.

use super::{config, drain_of, holds, over, status_of_a_request, until_drain, until_servers};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use serde_json::Value;
use std::fs;

async fn before(text: &str) -> Proxy {
    let config = config("{ file = \"servers.txt\" }", None, "empty = \"300ms\"");
    let text = text.to_owned();
    let prepare = |folder: &std::path::Path| {
        fs::write(folder.join("servers.txt"), text).expect("written");
    };
    Proxy::start_in(&config, prepare).await
}

/// As programs replace a file.
fn replace(proxy: &Proxy, text: &str) {
    let next = proxy.path("servers.next");
    fs::write(&next, text).expect("written");
    fs::rename(next, proxy.path("servers.txt")).expect("replaced");
}

#[tokio::test]
async fn a_file_that_changes_adds_and_drains_servers() {
    let (one, two) = (Server::http1().await, Server::http1().await);
    let proxy = before(&format!("# the first\n{}\n", one.address)).await;
    until_servers(&proxy, &[&one]).await;
    let mut client = holds(&proxy).await;
    one.desk.until("it", |seen| seen.requests == 1).await;
    replace(&proxy, &format!("{} weight=3 zone=b\n", two.address));
    until_servers(&proxy, &[&two]).await;
    assert_eq!(status_of_a_request(&proxy).await, 200);
    assert_eq!(two.desk.seen().requests, 1);
    let status = proxy.json("/v1/status").await;
    assert_eq!(status["upstreams"][0]["servers"][0]["weight_milli"], 3000);
    let progress = proxy.json(&drain_of(&one)).await;
    assert_eq!(
        (&progress["state"], &progress["removed"]),
        (&"draining".into(), &true.into())
    );
    one.desk.release();
    client.read_until("held").await.expect("the whole answer");
    until_drain(&proxy, &one, "drained").await;
    drop(client);
    over(proxy).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said_and_takes_nobody_away() {
    let (one, two) = (Server::http1().await, Server::http1().await);
    let proxy = before(&format!("{}\n", one.address)).await;
    until_servers(&proxy, &[&one]).await;
    replace(&proxy, &format!("{}\n10.0.0.256:80\n", two.address));
    let wrong = |line: &Value| line["message"].to_string().contains("servers.txt:2: ");
    let line = proxy.until_event("discovery", wrong).await;
    assert_eq!(line["level"], "WARN");
    until_servers(&proxy, &[&one]).await;
    fs::remove_file(proxy.path("servers.txt")).expect("removed");
    let gone = |line: &Value| line["message"].to_string().contains("cannot be read");
    proxy.until_event("discovery", gone).await;
    until_servers(&proxy, &[&one]).await;
    assert_eq!(status_of_a_request(&proxy).await, 200);
    replace(&proxy, &format!("{}\n", two.address));
    until_servers(&proxy, &[&two]).await;
    assert_eq!(status_of_a_request(&proxy).await, 200);
    over(proxy).await;
}

#[tokio::test]
async fn an_empty_file_must_stay_empty_to_be_believed() {
    let one = Server::http1().await;
    let proxy = before(&format!("{}\n", one.address)).await;
    until_servers(&proxy, &[&one]).await;
    replace(&proxy, "");
    let nothing = |line: &Value| line["result"] == "nothing";
    proxy.until_event("discovery", nothing).await;
    until_servers(&proxy, &[]).await;
    assert_eq!(status_of_a_request(&proxy).await, 503);
    replace(&proxy, &format!("{}\n", one.address));
    until_servers(&proxy, &[&one]).await;
    assert_eq!(status_of_a_request(&proxy).await, 200);
    over(proxy).await;
}
