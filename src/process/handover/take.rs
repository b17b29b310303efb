//! The successor's side: ask, get ready, take over.
//!
//! [`ask`] gets an [`Inheritance`], of which listeners and the admin interface
//! take what is theirs; what nobody takes is let go of before the successor
//! says that it is ready. The [`Claim`] that is left gets the word.
//!
//! Invariant: a predecessor that dies before it gave the word has given it:
//! nobody else is left to serve. One that says no is obeyed.
//!
//! Deliberately absent: knowing when the process is ready. It is told.

use super::channel::Channel;
use super::give::Door;
use super::message::{Found, FromPredecessor, FromSuccessor, Kept, Kind, PROTOCOL};
use crate::admin::{self, AdminListener};
use crate::config::{AdminAddr, Listener};
use crate::control::Predecessor;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What a predecessor gave, until it is taken.
#[derive(Debug)]
pub(in crate::process) struct Inheritance {
    channel: Channel,
    listeners: Vec<Group>,
    admin: Option<(String, OwnedFd)>,
    door: Option<(String, OwnedFd)>,
    predecessors: Vec<UnixStream>,
    upstreams: BTreeMap<String, bool>,
    found: Vec<Found>,
    kept: Kept,
}

#[derive(Debug)]
struct Group {
    name: String,
    address: String,
    lent: bool,
    sockets: Vec<TcpListener>,
}

/// The sockets of a listener that a predecessor gave.
#[derive(Debug, Default)]
pub(in crate::process) struct Given {
    /// None, if it had none.
    pub(in crate::process) sockets: Vec<TcpListener>,
    /// Whether another holds them too.
    pub(in crate::process) lent: bool,
}

/// Ask the process at `path`; `None` if nobody is there.
///
/// # Errors
/// A sentence: what it said, or what went wrong. It goes on as it was.
pub(in crate::process) async fn ask(
    path: &Path,
    standby: bool,
) -> Result<Option<Inheritance>, String> {
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => return Ok(None),
            _ => return Err(format!("cannot ask at {}: {error}", path.display())),
        },
    };
    let mut inheritance = Inheritance {
        channel: Channel::new(stream),
        listeners: Vec::new(),
        admin: None,
        door: None,
        predecessors: Vec::new(),
        upstreams: BTreeMap::new(),
        found: Vec::new(),
        kept: Kept::default(),
    };
    let hello = FromSuccessor::Hello {
        protocol: PROTOCOL,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        standby,
    };
    let lost = |error: io::Error| format!("the running process cannot be asked: {error}");
    inheritance.channel.send(&hello, &[]).await.map_err(lost)?;
    while !inheritance.came().await? {}
    Ok(Some(inheritance))
}

impl Inheritance {
    /// Take in one message; whether it was the last.
    async fn came(&mut self) -> Result<bool, String> {
        let lost = |error: io::Error| format!("what was handed over is incomplete: {error}");
        match self.channel.receive().await.map_err(lost)? {
            Some(FromPredecessor::Sockets {
                kind,
                name,
                address,
                lent,
                descriptors,
            }) => {
                let came = self.channel.take(descriptors).map_err(lost)?;
                self.keep(kind, (name, address, lent), came).map_err(lost)?;
                let received = FromSuccessor::Received { descriptors };
                self.channel.send(&received, &[]).await.map_err(lost)?;
                Ok(false)
            }
            Some(FromPredecessor::Offered { upstreams, found }) => {
                self.upstreams = upstreams;
                self.found = found;
                Ok(true)
            }
            Some(FromPredecessor::Refused { reason }) => Err(reason),
            Some(said) => Err(format!("the running process said {said:?}")),
            None => Err("the running process is gone".to_owned()),
        }
    }

    fn keep(
        &mut self,
        kind: Kind,
        (name, address, lent): (String, String, bool),
        came: Vec<OwnedFd>,
    ) -> io::Result<()> {
        match kind {
            Kind::Listener => {
                let sockets = came.into_iter().map(TcpListener::from);
                match self.listeners.last_mut() {
                    Some(last) if last.name == name => last.sockets.extend(sockets),
                    _ => self.listeners.push(Group {
                        name,
                        address,
                        lent,
                        sockets: sockets.collect(),
                    }),
                }
            }
            Kind::Admin => self.admin = came.into_iter().next().map(|one| (address, one)),
            Kind::Door => self.door = came.into_iter().next().map(|one| (address, one)),
            Kind::Predecessor => {
                for one in came {
                    let stream = std::os::unix::net::UnixStream::from(one);
                    stream.set_nonblocking(true)?;
                    self.predecessors.push(UnixStream::from_std(stream)?);
                }
            }
        }
        Ok(())
    }

    /// Take what the predecessor had found of servers.
    pub(in crate::process) fn found(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.found)
    }

    /// The sockets of this listener: those of its name if the address is the
    /// same (port 0 is any), else those at its address.
    pub(in crate::process) fn listener(&mut self, listener: &Listener) -> Given {
        let at = |one: &Group| one.address.parse::<SocketAddr>().ok();
        let wanted = listener.listen;
        let same = |one: &Group| {
            let at = at(one);
            *one.name == *listener.name
                && at.is_some_and(|at| {
                    at.ip() == wanted.ip() && [0, at.port()].contains(&wanted.port())
                })
        };
        let mut all = self.listeners.iter();
        let index = all.position(same).or_else(|| {
            let mut all = self.listeners.iter();
            all.position(|one| at(one) == Some(wanted))
        });
        let Some(index) = index else {
            return Given::default();
        };
        let taken = self.listeners.swap_remove(index);
        self.kept.listeners.push(taken.name);
        Given {
            sockets: taken.sockets,
            lent: taken.lent,
        }
    }

    /// The admin socket, if it is at this address. To be called on a runtime.
    ///
    /// # Errors
    /// [`admin::Error::Bind`] if it cannot be used.
    pub(in crate::process) fn admin(
        &mut self,
        wanted: &AdminAddr,
    ) -> admin::Result<Option<AdminListener>> {
        let fits = |at: &str| match wanted {
            AdminAddr::Unix(_) => at == wanted.to_string(),
            AdminAddr::Inet(wanted) => at
                .parse::<SocketAddr>()
                .is_ok_and(|at| at.ip() == wanted.ip() && [0, at.port()].contains(&wanted.port())),
        };
        let taken = self.admin.take_if(|(at, _)| fits(at));
        self.kept.admin = taken.is_some();
        taken
            .map(|(_, descriptor)| AdminListener::adopt(wanted, descriptor))
            .transpose()
    }

    /// The socket on which successors ask, if it is at this path. To be called
    /// on a runtime.
    pub(in crate::process) fn door(&mut self, wanted: &Path) -> io::Result<Option<Door>> {
        let taken = self.door.take_if(|(at, _)| Path::new(at) == wanted);
        self.kept.door = taken.is_some();
        taken
            .map(|(_, descriptor)| Door::adopt(descriptor, wanted))
            .transpose()
    }

    /// Let go of what nobody took.
    pub(in crate::process) fn rest(self) -> Claim {
        Claim {
            channel: self.channel,
            predecessors: self.predecessors,
            upstreams: self.upstreams,
            kept: self.kept,
        }
    }
}

/// Servers that are drained: upstream, server.
type Drained = Vec<(String, String)>;

/// A claim to what was taken.
#[derive(Debug)]
pub(in crate::process) struct Claim {
    channel: Channel,
    predecessors: Vec<UnixStream>,
    /// Which of the predecessor's upstreams have a server that is up.
    pub(in crate::process) upstreams: BTreeMap<String, bool>,
    kept: Kept,
}

impl Claim {
    /// Wait until the process has `proved` itself, say so, and wait for the
    /// word. Returns when it is time to serve: the servers that are drained.
    ///
    /// # Errors
    /// Why it is not: the predecessor goes on.
    pub(in crate::process) async fn prove(
        &mut self,
        proved: impl Future<Output = ()>,
    ) -> Result<Drained, String> {
        tokio::select! {
            () = proved => {}
            told = told(&mut self.channel) => return told,
        }
        let ready = FromSuccessor::Ready(self.kept.clone());
        if self.channel.send(&ready, &[]).await.is_err() {
            tracing::warn!(event = "handover", "the predecessor is gone; taking over");
            return Ok(Drained::new());
        }
        tracing::info!(event = "handover", "ready; waiting for the word");
        told(&mut self.channel).await
    }

    /// Say that this process accepts. From then on it hears how those who
    /// went before get on.
    pub(in crate::process) async fn serve(mut self) -> Links {
        // A predecessor that is gone meanwhile is no loss.
        let _ = self.channel.send(&FromSuccessor::Serving, &[]).await;
        let mut links = Links::default();
        links.add(self.channel);
        for stream in self.predecessors {
            links.add(Channel::new(stream));
        }
        links
    }
}

/// Wait for the word.
async fn told(channel: &mut Channel) -> Result<Drained, String> {
    match channel.receive().await {
        Ok(Some(FromPredecessor::Go { drained })) => Ok(drained),
        Ok(Some(FromPredecessor::Refused { reason })) => Err(reason),
        Ok(Some(said)) => Err(format!("the running process said {said:?}")),
        Ok(None) | Err(_) => {
            tracing::warn!(event = "handover", "the predecessor is gone; taking over");
            Ok(Drained::new())
        }
    }
}

/// What is heard of those who went before.
#[derive(Debug)]
pub(in crate::process) enum News {
    /// How one gets on.
    Of(Box<Predecessor>),
    /// One has gone: its process id, if it ever told.
    Gone(Option<u32>),
    /// The predecessor serves on after all, for this reason.
    Refused(String),
}

/// Those who went before, as long as they are there.
#[derive(Debug)]
pub(in crate::process) struct Links {
    heard: mpsc::Receiver<News>,
    tell: mpsc::Sender<News>,
    listening: JoinSet<()>,
    descriptors: Vec<OwnedFd>,
}

impl Default for Links {
    fn default() -> Self {
        let (tell, heard) = mpsc::channel(4);
        Self {
            heard,
            tell,
            listening: JoinSet::new(),
            descriptors: Vec::new(),
        }
    }
}

impl Links {
    fn add(&mut self, mut channel: Channel) {
        // Without it a successor of ours does not hear of this one; no more.
        self.descriptors.extend(channel.descriptor());
        let tell = self.tell.clone();
        self.listening.spawn(async move {
            let mut who = None;
            loop {
                let news = match channel.receive().await {
                    Ok(Some(FromPredecessor::News(news))) => {
                        who = Some(news.pid);
                        News::Of(Box::new(news))
                    }
                    Ok(Some(FromPredecessor::Refused { reason })) => News::Refused(reason),
                    // The half of a line that the last reader began.
                    Err(error) if error.kind() == ErrorKind::InvalidData => continue,
                    Ok(Some(_)) => continue,
                    Ok(None) | Err(_) => break,
                };
                // Who would hear is leaving.
                let _ = tell.send(news).await;
            }
            let _ = tell.send(News::Gone(who)).await;
        });
    }

    /// The next thing that is heard.
    pub(in crate::process) async fn next(&mut self) -> News {
        match self.heard.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    /// The channels, for a successor to listen to.
    pub(in crate::process) fn descriptors(&self) -> Vec<OwnedFd> {
        let all = self.descriptors.iter();
        all.filter_map(|one| one.try_clone().ok()).collect()
    }

    /// Listen no more: somebody else does.
    pub(in crate::process) fn stop(&mut self) {
        self.listening.abort_all();
    }

    /// Listen again: nobody else does.
    pub(in crate::process) fn resume(&mut self) {
        for descriptor in std::mem::take(&mut self.descriptors) {
            let stream = std::os::unix::net::UnixStream::from(descriptor);
            if let Ok(stream) = UnixStream::from_std(stream) {
                self.add(Channel::new(stream));
            }
        }
    }
}
