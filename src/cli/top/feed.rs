//! Looking at the process twice a second, and asking it for what was wished.
//!
//! Invariant: of looks one request is under way at a time, and they take no
//! more than a fifth of the process's time: who has many connections is looked
//! at less often. While it drains one more request waits for the receipt, so
//! that the last word of a process is not missed.
//!
//! Deliberately absent: any judgement.

use super::keys::Wish;
use super::model::{News, Seen};
use crate::cli::args::{Remote, ServerName};
use crate::cli::client::{Patience, exchange, pause};
use crate::cli::server;
use crate::clock;
use crate::drain::Receipt;
use anyhow::Context;
use http::Method;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// All that is shown, asked one after the other.
///
/// # Errors
/// If one of the questions is not answered.
pub(super) async fn look(remote: &Remote) -> anyhow::Result<Seen> {
    let status = get(remote, "/v1/status").await?;
    let connections = get(remote, "/v1/connections").await?;
    let progress = get(remote, "/v1/drain").await?;
    let forecast = get(remote, "/v1/drain/forecast").await?;
    let at = clock::now();
    // Beside, for a list of many thousands takes a while and keys must not wait.
    let reading = spawn_blocking(move || {
        Ok(Seen {
            at,
            status: read(&status)?,
            connections: read(&connections)?,
            progress: read(&progress)?,
            forecast: read(&forecast)?,
        })
    });
    reading.await?
}

async fn get(remote: &Remote, path: &str) -> anyhow::Result<bytes::Bytes> {
    exchange(remote, Method::GET, path, String::new(), Patience::Short).await
}

fn read<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body)
        .context("the answer is not what this version expects; is the proxy of another one?")
}

/// Look until nobody wants to hear of it; at once when `again` says so.
pub(super) async fn run(remote: Arc<Remote>, news: Sender<News>, again: Arc<Notify>) {
    let mut waiting: Option<JoinHandle<()>> = None;
    loop {
        let began = clock::now();
        if news.send(News::Looks { at: began }).await.is_err() {
            return;
        }
        let came = match Box::pin(look(&remote)).await {
            Ok(seen) => {
                let waits = waiting.as_ref().is_some_and(|one| !one.is_finished());
                if seen.progress.draining && !waits {
                    let instance = seen.status.instance.clone();
                    let waits = wait(Arc::clone(&remote), instance, news.clone());
                    waiting = Some(tokio::spawn(waits));
                }
                News::Seen(Box::new(seen))
            }
            Err(error) => News::Lost {
                at: clock::now(),
                why: error.root_cause().to_string(),
            },
        };
        if news.send(came).await.is_err() {
            return;
        }
        let pause = pause(clock::now().saturating_since(began));
        // Time passed or somebody asked: both mean another look.
        let _ = timeout(pause, again.notified()).await;
    }
}

/// Wait for the drain to be over.
async fn wait(remote: Arc<Remote>, instance: String, news: Sender<News>) {
    let path = "/v1/drain?wait=true";
    let answer = exchange(&remote, Method::GET, path, String::new(), Patience::Endless).await;
    // Without a receipt it was taken back, or the process is gone: the next
    // look says which.
    if let Ok(receipt) = answer.and_then(|body| read::<Receipt>(&body)) {
        let receipt = Box::new(receipt);
        let _ = news.send(News::Over { instance, receipt }).await;
    }
}

/// Begin the drain, and wait for it in the same request: one that has nothing to
/// wait for is over, and its process gone, before there is another look.
async fn drain(remote: &Remote) -> anyhow::Result<Receipt> {
    let path = "/v1/drain?wait=true";
    let answer = exchange(remote, Method::POST, path, String::new(), Patience::Endless);
    read(&answer.await?)
}

/// Ask this of the process, which is the instance that was last seen.
pub(super) async fn ask(
    remote: Arc<Remote>,
    (wish, instance): (Wish, String),
    news: Sender<News>,
    again: Arc<Notify>,
) {
    let answer = match request(&wish) {
        None => match Box::pin(drain(&remote)).await {
            Ok(receipt) => {
                let receipt = Box::new(receipt);
                let _ = news.send(News::Over { instance, receipt }).await;
                return;
            }
            Err(error) => Err(error),
        },
        Some((method, path, body)) => {
            let answer = exchange(&remote, method, &path, body, Patience::Short).await;
            answer.map(|_| done(&wish))
        }
    };
    let answered = News::Answered {
        at: clock::now(),
        answer: answer.map_err(|error| format!("{error:#}")),
    };
    let _ = news.send(answered).await;
    again.notify_one();
}

/// What to send for what is answered at once; a drain is waited for.
fn request(wish: &Wish) -> Option<(Method, String, String)> {
    let of = |name: &ServerName| server::path(&name.upstream, &name.server);
    let request = match wish {
        Wish::Drain => return None,
        Wish::Cancel => (Method::DELETE, "/v1/drain".to_owned(), String::new()),
        Wish::Extend(by) => {
            let path = "/v1/drain/extend".to_owned();
            (Method::POST, path, json!({ "by": by }).to_string())
        }
        Wish::DrainServer(name) => (Method::POST, of(name), String::new()),
        Wish::TakeBackServer(name) => (Method::DELETE, of(name), String::new()),
    };
    Some(request)
}

/// That it was done.
fn done(wish: &Wish) -> String {
    match wish {
        Wish::Drain => "it has drained".to_owned(),
        Wish::Cancel => "the drain is taken back".to_owned(),
        Wish::Extend(by) => format!("{by} more were given"),
        Wish::DrainServer(name) => format!("the drain of server {name} has begun"),
        Wish::TakeBackServer(name) => format!("server {name} is taken back"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_asked_for_where_it_can_be_done() {
        let name = || ServerName {
            upstream: "site".to_owned(),
            server: "unix:/run/a.sock".to_owned(),
        };
        let server = "/v1/upstreams/site/servers/unix:%2Frun%2Fa.sock/drain";
        for (wish, method, path, body) in [
            (Wish::Cancel, "DELETE", "/v1/drain", ""),
            (
                Wish::Extend("30s".to_owned()),
                "POST",
                "/v1/drain/extend",
                r#"{"by":"30s"}"#,
            ),
            (Wish::DrainServer(name()), "POST", server, ""),
            (Wish::TakeBackServer(name()), "DELETE", server, ""),
        ] {
            let (asked, at, said) = request(&wish).expect("answered at once");
            assert_eq!(
                (asked.as_str(), at.as_str(), said.as_str()),
                (method, path, body)
            );
        }
    }
}
