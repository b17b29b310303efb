//! The connections of the admin interface.
//!
//! Invariant: bounded in every direction: so many connections at once, so
//! long for a request head, and, when the interface stops, so long for the
//! responses in flight; who has not asked by then is hardly waited for.
//!
//! Deliberately absent: the live table. These connections are not part of
//! what is drained; they report it.

use super::auth::Way;
use super::guests::{Guest, Guests};
use super::listener::Stream;
use super::reserve::Reserve;
use super::{Admin, AdminListener};
use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// How long responses in flight may take when the interface stops.
pub const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How long a request that has not wholly come may still take then: one that
/// was sent in time is a moment away, and nobody else is waited for.
const LAST_HEADS: Duration = Duration::from_millis(100);

/// How long the last events may take to go to the kernel then. They are a few
/// kilobytes: who reads has them at once, and nobody else is waited for.
const LAST_EVENTS: Duration = Duration::from_millis(20);

/// How long who listens to events may take none of them: they come all the time.
const DEAF: Duration = Duration::from_secs(30);

/// Connections at once. When there are so many, one that asks for nothing has to
/// leave; if all are being answered, others wait in the accept queue.
const CONNECTIONS: usize = 256;

/// From the end of one response, or the accept, to the next request's head; and
/// for a TLS handshake.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// Bytes of a request head.
const HEAD: usize = 16 * 1024;

/// The pause after an accept that failed, as when descriptors run out: the
/// same would be said again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Admin {
    /// Answer on the listener that comes, and on the next one instead if there
    /// is another, until there can be no more; then accept nobody, let
    /// responses in flight end within [`LAST_ANSWERS`], and return.
    pub async fn serve(self: Arc<Self>, mut listeners: mpsc::Receiver<AdminListener>) {
        let Some(mut listener) = listeners.recv().await else {
            return;
        };
        let (stopping, told) = watch::channel(false);
        let mut connections = JoinSet::new();
        let (mut guests, mut reserve) = (Guests::default(), Reserve::new());
        let telling = tokio::spawn(Arc::clone(&self).keep_telling());
        loop {
            tokio::select! {
                next = listeners.recv() => match next {
                    Some(next) => listener = next,
                    None => break,
                },
                accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                    Ok(accepted) => {
                        let guest = Arc::<Guest>::default();
                        let serving = Arc::clone(&self);
                        let serving = serving.connection(accepted, Arc::clone(&guest), told.clone());
                        guests.enter(guest, connections.spawn(serving));
                        if connections.len() >= CONNECTIONS {
                            guests.make_room();
                        }
                    }
                    Err(error) if reserve.give_up_for(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "admin: cannot accept");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => reserve.refill(),
                () = sleep(ACCEPT_PAUSE), if !reserve.is_full() => reserve.refill(),
            }
        }
        // Who connected in time is in the queue, perhaps without the runtime
        // knowing yet; a turn of it finds out.
        tokio::task::yield_now().await;
        while let Some(Ok(accepted)) = listener.accept().now_or_never() {
            let serving = Arc::clone(&self);
            connections.spawn(serving.connection(accepted, Arc::default(), told.clone()));
        }
        drop(listener);
        telling.abort();
        self.tell_the_end();
        stopping.send_replace(true);
        let answered = async { while connections.join_next().await.is_some() {} };
        if timeout(LAST_ANSWERS, answered).await.is_err() {
            tracing::warn!("admin: responses left unfinished");
        }
    }

    /// Shake hands, where the interface has TLS.
    async fn open(
        &self,
        (stream, inet): (Box<dyn Stream>, bool),
    ) -> io::Result<(Box<dyn Stream>, Way)> {
        let tls = self.doorman.load().tls.clone();
        let Some(tls) = tls.filter(|_| inet) else {
            let way = Way {
                inet,
                ..Way::default()
            };
            return Ok((stream, way));
        };
        let shaken = timeout(HEAD_TIME, TlsAcceptor::from(tls).accept(stream));
        let shaken = shaken.await.map_err(|_| io::ErrorKind::TimedOut)??;
        let way = Way {
            inet,
            tls: true,
            certificate: shaken.get_ref().1.peer_certificates().is_some(),
        };
        Ok((Box::new(shaken), way))
    }

    async fn connection(
        self: Arc<Self>,
        accepted: (Box<dyn Stream>, bool),
        guest: Arc<Guest>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let opened = tokio::select! {
            opened = self.open(accepted) => opened,
            () = async {
                told_to_stop(&mut stopping).await;
                sleep(LAST_HEADS).await;
            } => return,
        };
        let (stream, way) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::debug!(%error, "admin: no TLS handshake");
                return;
            }
        };
        let asking = Arc::clone(&guest);
        let service = service_fn(move |request| {
            asking.asks();
            let (admin, asking) = (Arc::clone(&self), Arc::clone(&asking));
            async move {
                let reply = admin.answer(request, way).await;
                Ok::<_, Infallible>(reply.to(&asking))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = guest.is_deaf(DEAF) => return,
            () = told_to_stop(&mut stopping) => {
                connection.as_mut().graceful_shutdown();
                if guest.listens() {
                    let _ = timeout(LAST_EVENTS, connection).await;
                    return;
                }
                match timeout(LAST_HEADS, connection.as_mut()).await {
                    Ok(ended) => ended,
                    Err(_) if guest.has_asked() => connection.await,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "admin: connection ended early");
        }
    }
}

/// Also if who would tell is gone.
async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
