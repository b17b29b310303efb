//! The predecessor's side: who asks, what is offered, when it is let go.
//!
//! Each successor is attended to by a task, which asks the conductor at every
//! step and is told off at any: [`Word::Stop`] when a drain begins. Only the
//! same user, and root, are answered; the file of the socket says the same.
//!
//! Invariant: an [`Ask::Sockets`] that was granted is followed by exactly one
//! [`Ask::Serves`] or [`Ask::Gone`].
//!
//! Deliberately absent: any decision. The conductor knows what else goes on.

use super::channel::{BATCH, Channel};
use super::message::{Found, FromPredecessor, FromSuccessor, Kept, Kind, PROTOCOL};
use super::start;
use crate::control::Predecessor;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// How long a successor may take to say a word that costs it nothing.
const PROMPT: Duration = Duration::from_secs(5);

/// How long the conductor's answers may wait to be asked for.
const PAUSE: Duration = Duration::from_millis(100);

/// Who may ask: the owner.
const MODE: u32 = 0o600;

/// What a successor's task asks of the conductor.
#[derive(Debug)]
pub(in crate::process) enum Ask {
    /// For everything that there is.
    Sockets {
        /// The successor.
        pid: u32,
        /// Whether it waits for the word.
        standby: bool,
        /// What there is, or why there is nothing.
        answer: oneshot::Sender<Result<Offer, String>>,
    },
    /// To let it accept; the servers that are drained. From then on nothing
    /// may keep clients out.
    Commit(oneshot::Sender<Result<Vec<(String, String)>, String>>),
    /// It accepts.
    Serves(Heir),
    /// It has gone, or could not: all stays as it was.
    Gone(String),
}

/// What a successor is offered.
#[derive(Debug)]
pub(in crate::process) struct Offer {
    pub(in crate::process) things: Vec<Thing>,
    /// Which upstreams have a server that is up.
    pub(in crate::process) upstreams: BTreeMap<String, bool>,
    /// Servers that were found.
    pub(in crate::process) found: Vec<Found>,
    /// How long it may take.
    pub(in crate::process) ready: Duration,
    pub(in crate::process) word: watch::Receiver<Word>,
}

/// Descriptors that belong together.
#[derive(Debug)]
pub(in crate::process) struct Thing {
    pub(in crate::process) kind: Kind,
    pub(in crate::process) name: String,
    pub(in crate::process) address: String,
    pub(in crate::process) lent: bool,
    pub(in crate::process) descriptors: Vec<OwnedFd>,
}

/// What the conductor says to a successor that is getting ready.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::process) enum Word {
    Wait,
    Go,
    Stop(String),
}

/// A successor that serves.
#[derive(Debug)]
pub(in crate::process) struct Heir {
    pub(in crate::process) pid: u32,
    pub(in crate::process) kept: Kept,
    channel: Channel,
}

impl Heir {
    /// Tell it how its predecessor gets on.
    pub(in crate::process) async fn tell(&mut self, news: Predecessor) -> io::Result<()> {
        self.channel.send(&FromPredecessor::News(news), &[]).await
    }
}

/// The socket on which successors ask.
#[derive(Debug)]
pub(in crate::process) struct Door {
    socket: UnixListener,
    pub(in crate::process) path: PathBuf,
    left: bool,
}

impl Door {
    /// Bind it. A file that a process left behind which nobody hears any more
    /// is replaced. To be called on a runtime.
    pub(in crate::process) fn open(path: &Path) -> io::Result<Self> {
        let bound = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && !is_heard(path) => {
                fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            other => other,
        };
        let door = Self::of(bound?, path);
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
        Ok(door)
    }

    /// The one that a predecessor has at `path`, and with it the file until
    /// [`Door::own`] says otherwise. To be called on a runtime.
    pub(in crate::process) fn adopt(descriptor: OwnedFd, path: &Path) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixListener::from(descriptor);
        socket.set_nonblocking(true)?;
        let mut door = Self::of(UnixListener::from_std(socket)?, path);
        door.left = true;
        Ok(door)
    }

    /// The predecessor has no use for it any more.
    pub(in crate::process) const fn own(&mut self) {
        self.left = false;
    }

    fn of(socket: UnixListener, path: &Path) -> Self {
        Self {
            socket,
            path: path.to_owned(),
            left: false,
        }
    }

    /// The socket once more, for a successor.
    pub(in crate::process) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// The successor has it, and with it the file.
    pub(in crate::process) fn leave(mut self) {
        self.left = true;
    }

    /// Attend to the next successor, in a task of its own.
    pub(in crate::process) async fn answer(
        &self,
        asks: &mpsc::Sender<Ask>,
        serves: &watch::Sender<Option<u32>>,
    ) {
        match self.socket.accept().await {
            Ok((stream, _)) => {
                let place = Place {
                    asks: asks.clone(),
                    serves: serves.subscribe(),
                    path: self.path.clone(),
                };
                tokio::spawn(attend(stream, place));
            }
            Err(error) => {
                tracing::warn!(event = "handover", %error, "cannot accept a successor");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if !self.left {
            // Gone already is as good.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether somebody accepts on the socket of this file.
fn is_heard(path: &Path) -> bool {
    let connected = std::os::unix::net::UnixStream::connect(path);
    !connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// What whoever is attended to may come to need.
struct Place {
    asks: mpsc::Sender<Ask>,
    /// The successor that serves.
    serves: watch::Receiver<Option<u32>>,
    /// Where the next one is to ask.
    path: PathBuf,
}

/// See a successor through, and tell the conductor what became of it.
async fn attend(stream: UnixStream, place: Place) {
    let caller = match stream.peer_cred() {
        Ok(caller) => caller,
        Err(error) => {
            tracing::warn!(event = "handover", %error, "cannot tell who asks");
            return;
        }
    };
    let mut channel = Channel::new(stream);
    let own = rustix::process::geteuid().as_raw();
    if caller.uid() != own && caller.uid() != 0 {
        tracing::warn!(
            event = "handover",
            uid = caller.uid(),
            "refused: another user"
        );
        let reason = format!("this process runs as user {own}; run the successor as the same");
        // Who was refused may have left.
        let _ = channel
            .send(&FromPredecessor::Refused { reason }, &[])
            .await;
        return;
    }
    let Place { asks, serves, path } = place;
    let pid = caller.pid().and_then(|pid| u32::try_from(pid).ok());
    let mut attended = Attended {
        channel,
        asks,
        granted: false,
    };
    let reason = match attended.see_through(pid, (&path, serves)).await {
        Ok(None) => return,
        Ok(Some((pid, kept))) => {
            let Attended { channel, asks, .. } = attended;
            let heir = Heir { pid, kept, channel };
            // Without a conductor the process is gone.
            let _ = asks.send(Ask::Serves(heir)).await;
            return;
        }
        Err(reason) => reason,
    };
    let refused = FromPredecessor::Refused {
        reason: reason.clone(),
    };
    let _ = attended.channel.send(&refused, &[]).await;
    if attended.granted {
        let _ = attended.asks.send(Ask::Gone(reason)).await;
    }
}

struct Attended {
    channel: Channel,
    asks: mpsc::Sender<Ask>,
    granted: bool,
}

impl Attended {
    /// The whole conversation, up to where the successor serves; nobody, if it
    /// was a command.
    async fn see_through(
        &mut self,
        caller: Option<u32>,
        (path, serves): (&Path, watch::Receiver<Option<u32>>),
    ) -> Result<Option<(u32, Kept)>, String> {
        let late = || "the successor does not say who it is".to_owned();
        let said = timeout(PROMPT, self.hear()).await.map_err(|_| late())??;
        if let FromSuccessor::Start { program, config } = said {
            let successor = start::spawn(&program, &config, path).await?;
            start::watch(successor, serves, &mut self.channel).await?;
            return Ok(None);
        }
        let (pid, standby) = Self::hello(said)?;
        let pid = caller.unwrap_or(pid);
        let (answer, offered) = oneshot::channel();
        let ask = Ask::Sockets {
            pid,
            standby,
            answer,
        };
        let offer = self.ask(ask, offered).await?;
        self.granted = true;
        let Offer {
            things,
            upstreams,
            found,
            ready,
            mut word,
        } = offer;
        for thing in things {
            self.pass(thing).await?;
        }
        self.say(&FromPredecessor::Offered { upstreams, found }, &[])
            .await?;
        let late = || format!("the successor was not ready within {ready:?}");
        let kept = tokio::select! {
            biased;
            reason = stopped(&mut word) => return Err(reason),
            kept = timeout(ready, self.ready()) => kept.map_err(|_| late())??,
        };
        tokio::select! {
            biased;
            told = told_to_go(&mut word) => told?,
            end = self.hear() => return Err(end.map_or_else(|error| error, |said| unasked(&said))),
        }
        let (answer, committed) = oneshot::channel();
        let drained = self.ask(Ask::Commit(answer), committed).await?;
        self.say(&FromPredecessor::Go { drained }, &[]).await?;
        match timeout(PROMPT, self.hear()).await {
            Ok(Ok(FromSuccessor::Serving)) => Ok(Some((pid, kept))),
            Ok(Ok(said)) => Err(unasked(&said)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err("the successor was told to serve and does not".to_owned()),
        }
    }

    fn hello(said: FromSuccessor) -> Result<(u32, bool), String> {
        match said {
            FromSuccessor::Hello {
                protocol: PROTOCOL,
                pid,
                version,
                standby,
            } => {
                tracing::info!(event = "handover", pid, version, "a successor asks");
                Ok((pid, standby))
            }
            FromSuccessor::Hello { protocol, .. } => Err(format!(
                "the successor speaks version {protocol} of the handover, this process {PROTOCOL}; \
                 drain this one and start the other instead"
            )),
            said => Err(unasked(&said)),
        }
    }

    /// Pass descriptors on, batch by batch, each acknowledged: what is on the
    /// way counts against the limit of descriptors.
    async fn pass(&mut self, thing: Thing) -> Result<(), String> {
        for batch in thing.descriptors.chunks(BATCH) {
            let message = FromPredecessor::Sockets {
                kind: thing.kind,
                name: thing.name.clone(),
                address: thing.address.clone(),
                lent: thing.lent,
                descriptors: batch.len(),
            };
            self.say(&message, batch).await?;
            let late = || "the successor does not take what it asked for".to_owned();
            match timeout(PROMPT, self.hear()).await.map_err(|_| late())?? {
                FromSuccessor::Received { descriptors } if descriptors == batch.len() => {}
                said => return Err(unasked(&said)),
            }
        }
        Ok(())
    }

    async fn ready(&mut self) -> Result<Kept, String> {
        match self.hear().await? {
            FromSuccessor::Ready(kept) => Ok(kept),
            said => Err(unasked(&said)),
        }
    }

    async fn say(
        &mut self,
        message: &FromPredecessor,
        descriptors: &[OwnedFd],
    ) -> Result<(), String> {
        let said = self.channel.send(message, descriptors).await;
        said.map_err(|error| format!("the successor is gone: {error}"))
    }

    /// What the successor says; what it cannot do is an error.
    async fn hear(&mut self) -> Result<FromSuccessor, String> {
        match self.channel.receive().await {
            Ok(Some(FromSuccessor::Failed { reason })) => Err(reason),
            Ok(Some(said)) => Ok(said),
            Ok(None) => Err("the successor is gone".to_owned()),
            Err(error) => Err(format!("the successor cannot be understood: {error}")),
        }
    }

    async fn ask<T>(
        &mut self,
        ask: Ask,
        answer: oneshot::Receiver<Result<T, String>>,
    ) -> Result<T, String> {
        let leaving = || "the process is leaving".to_owned();
        self.asks.send(ask).await.map_err(|_| leaving())?;
        answer.await.map_err(|_| leaving())?
    }
}

fn unasked(said: &FromSuccessor) -> String {
    format!("the successor said what it was not asked for: {said:?}")
}

/// Wait until the successor is not wanted any more; why.
async fn stopped(word: &mut watch::Receiver<Word>) -> String {
    match word.wait_for(|word| matches!(word, Word::Stop(_))).await {
        Ok(word) => match &*word {
            Word::Stop(reason) => reason.clone(),
            Word::Wait | Word::Go => unreachable!("waited for"),
        },
        Err(_) => "the process is leaving".to_owned(),
    }
}

async fn told_to_go(word: &mut watch::Receiver<Word>) -> Result<(), String> {
    match word.wait_for(|word| *word != Word::Wait).await {
        Ok(word) => match &*word {
            Word::Stop(reason) => Err(reason.clone()),
            Word::Wait | Word::Go => Ok(()),
        },
        Err(_) => Err("the process is leaving".to_owned()),
    }
}
