//! The handover, as the conductor does it: on the giving and the taking side.
//!
//! Invariant: from the moment in which a successor may accept until it does,
//! no drain begins here: its filter would be on the sockets of both. What is
//! asked for in that time is done right after, whatever became of it.
//!
//! Deliberately absent: the conversation (see `process::handover`).

use super::{Conductor, ending};
use crate::admin::{Admin, AdminHold, AdminListener};
use crate::config::AdminAddr;
use crate::control::{NotHandedOver, Predecessor};
use crate::drain::{Event, Phase, Trigger, Whom};
use crate::process::Error;
use crate::process::handover::{
    self, Ask, Claim, Door, Heir, Kind, Links, News, Offer, Thing, Word,
};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Successors that may wait to be attended to.
const WAITING: usize = 4;

/// How long whoever waits for a successor may take to hear of it.
const COMMANDS_HEAR: Duration = Duration::from_millis(500);

/// How often a successor is told how its predecessor gets on.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Who comes after this process and who went before.
#[derive(Debug)]
pub(super) struct Succession {
    door: Option<Door>,
    tell: mpsc::Sender<Ask>,
    asks: mpsc::Receiver<Ask>,
    standing: Standing,
    /// The successor that serves, for commands that wait for it.
    serves: watch::Sender<Option<u32>>,
    admin: Option<AdminHold>,
    links: Links,
    pub(super) predecessors: Vec<Predecessor>,
    /// Whether one of them was heard.
    heard: bool,
}

/// How far the successor is.
#[derive(Debug)]
enum Standing {
    Nobody,
    Preparing(u32, watch::Sender<Word>),
    /// It may accept; these drains wait.
    Committed(u32, Vec<(Whom, Event)>),
    Serves(u32),
}

impl Succession {
    pub(super) fn new(door: Option<Door>, admin: Option<AdminHold>) -> Self {
        let (tell, asks) = mpsc::channel(WAITING);
        Self {
            door,
            tell,
            asks,
            standing: Standing::Nobody,
            serves: watch::Sender::new(None),
            admin,
            links: Links::default(),
            predecessors: Vec::new(),
            heard: false,
        }
    }

    /// What a predecessor had is this process's from now on.
    pub(super) fn own(&mut self) {
        if let Some(door) = &mut self.door {
            door.own();
        }
    }

    /// What a successor asks, or what is heard of a predecessor.
    pub(super) async fn news(&mut self) -> Result<Ask, News> {
        let (door, tell, serves) = (&self.door, &self.tell, &self.serves);
        let attending = async {
            loop {
                match door {
                    Some(door) => door.answer(tell, serves).await,
                    None => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            Some(ask) = self.asks.recv() => Ok(ask),
            news = self.links.next() => Err(news),
            () = attending => std::future::pending().await,
        }
    }

    /// Where successors ask.
    pub(super) fn place(&self) -> Option<PathBuf> {
        self.door.as_ref().map(|door| door.path.clone())
    }

    /// Who serves in place of this process.
    pub(super) fn successor(&self) -> Option<u32> {
        match self.standing {
            Standing::Serves(pid) => Some(pid),
            _ => None,
        }
    }

    /// Why no config can be put in force now, if so: the successor knows of
    /// the sockets that there were when it asked.
    pub(super) fn in_the_way(&self) -> Option<String> {
        match self.standing {
            Standing::Preparing(pid, _) | Standing::Committed(pid, _) => Some(format!(
                "a successor (process {pid}) is getting ready; let it take over, or end it"
            )),
            Standing::Nobody | Standing::Serves(_) => None,
        }
    }

    /// Let a successor get ready.
    fn admit(&mut self, pid: u32, standby: bool) -> Result<watch::Receiver<Word>, String> {
        if let Some(reason) = self.in_the_way() {
            return Err(reason);
        }
        let (word, told) = watch::channel(if standby { Word::Wait } else { Word::Go });
        self.standing = Standing::Preparing(pid, word);
        Ok(told)
    }

    /// Let the successor that waits go on.
    fn give_the_word(&self) -> Result<u32, NotHandedOver> {
        match &self.standing {
            Standing::Preparing(pid, word) => {
                word.send_if_modified(|word| {
                    let waits = *word == Word::Wait;
                    if waits {
                        *word = Word::Go;
                    }
                    waits
                });
                Ok(*pid)
            }
            Standing::Committed(pid, _) => Ok(*pid),
            Standing::Nobody => Err(NotHandedOver::Nobody),
            Standing::Serves(pid) => {
                let text = format!("process {pid} has taken over");
                Err(NotHandedOver::Refused(text))
            }
        }
    }

    fn commit(&mut self) -> Result<(), String> {
        match &self.standing {
            Standing::Preparing(_, word) if matches!(*word.borrow(), Word::Stop(_)) => {
                Err("the process is draining".to_owned())
            }
            Standing::Preparing(pid, _) => {
                self.standing = Standing::Committed(*pid, Vec::new());
                Ok(())
            }
            _ => Err("nobody is getting ready".to_owned()),
        }
    }

    /// What is to be done before a drain: one that is getting ready is told
    /// that there is nothing to take over. Whether the drain has to wait.
    pub(super) fn holds_back(&mut self, whom: Whom, event: Event) -> bool {
        if !matches!(event, Event::Drain(_) | Event::CutNow) {
            return false;
        }
        match &mut self.standing {
            Standing::Preparing(_, word) => {
                word.send_replace(Word::Stop("the process is draining".to_owned()));
                false
            }
            Standing::Committed(_, held) => {
                held.push((whom, event));
                true
            }
            Standing::Nobody | Standing::Serves(_) => false,
        }
    }

    /// It is as far as it will get; the drains that waited for that.
    fn settle(&mut self, standing: Standing) -> Vec<(Whom, Event)> {
        match std::mem::replace(&mut self.standing, standing) {
            Standing::Committed(_, held) => held,
            _ => Vec::new(),
        }
    }
}

impl Conductor {
    /// Prove that this process can take over, and wait for the word; `false`
    /// if it was told to end before.
    pub(super) async fn prove(&mut self, claim: &mut Claim) -> Result<bool, Error> {
        self.setup.watch_health();
        let upstreams = std::mem::take(&mut claim.upstreams);
        let proved = self.setup.proved(&upstreams);
        let told = tokio::select! {
            biased;
            wish = ending(&mut self.signals) => Err(wish),
            told = claim.prove(proved) => Ok(told),
        };
        match told {
            Ok(told) => {
                let drained = told.map_err(Error::Handover)?;
                self.keep_drained(drained);
                Ok(true)
            }
            Err(wish) => {
                self.wish(wish);
                Ok(false)
            }
        }
    }

    /// Say that this process serves, and listen to those who went before.
    pub(super) async fn succeed(&mut self, claim: Claim) {
        self.succession.links = claim.serve().await;
        tracing::info!(event = "handover", "took over");
    }

    pub(super) async fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Sockets {
                pid,
                standby,
                answer,
            } => {
                let offer = self.offer(pid, standby);
                if let Err(reason) = &offer {
                    tracing::warn!(event = "handover", pid, "refused: {reason}");
                }
                // One who left has a task that says so.
                let _ = answer.send(offer);
            }
            Ask::Commit(answer) => {
                let committed = self.succession.commit();
                if committed.is_ok() {
                    self.succession.links.stop();
                }
                let drained = self.docks.drained();
                let _ = answer.send(committed.map(|()| drained));
            }
            Ask::Serves(heir) => self.handed_over(heir).await,
            Ask::Gone(reason) => {
                tracing::warn!(event = "handover", "all stays as it was: {reason}");
                let held = self.succession.settle(Standing::Nobody);
                self.succession.links.resume();
                self.catch_up(held);
            }
        }
    }

    fn offer(&mut self, pid: u32, standby: bool) -> Result<Offer, String> {
        if self.group.started().is_some() || self.group.phase() != Phase::Active {
            return Err("the process is draining; start without a takeover".to_owned());
        }
        if self.reloads.is_loading() {
            return Err("a reload is under way; ask again".to_owned());
        }
        let things = self.things();
        let things = things.map_err(|error| format!("descriptors cannot be passed: {error}"))?;
        let word = self.succession.admit(pid, standby)?;
        let upstreams = self.setup.upstreams();
        let up = upstreams.iter().map(|upstream| {
            let up = upstream.servers().iter().any(|server| server.up);
            (upstream.name().to_string(), up)
        });
        Ok(Offer {
            things,
            upstreams: up.collect(),
            ready: self.setup.config.handover.ready,
            word,
        })
    }

    /// Everything that a successor can go on with.
    fn things(&self) -> io::Result<Vec<Thing>> {
        let mut things = Vec::new();
        for post in self.posts.iter().filter(|post| !post.leaves(&self.group)) {
            things.push(Thing {
                kind: Kind::Listener,
                name: post.scope.listener().to_string(),
                address: post.address().to_string(),
                lent: post.is_lent(),
                descriptors: post.descriptors()?,
            });
        }
        let thing = |kind, address: String, descriptors| Thing {
            kind,
            name: String::new(),
            address,
            lent: false,
            descriptors,
        };
        if let Some(admin) = &self.succession.admin {
            let descriptors = vec![admin.descriptor()?];
            things.push(thing(Kind::Admin, admin.address.to_string(), descriptors));
        }
        if let Some(door) = &self.succession.door {
            let path = door.path.display().to_string();
            things.push(thing(Kind::Door, path, vec![door.descriptor()?]));
        }
        let links = self.succession.links.descriptors();
        things.push(thing(Kind::Predecessor, String::new(), links));
        Ok(things)
    }

    /// The successor serves: what it has no place for is drained as after a
    /// reload, the rest is let go of.
    async fn handed_over(&mut self, heir: Heir) {
        let pid = heir.pid;
        tracing::info!(event = "handover", successor = pid, "the successor serves");
        self.systemd.main_pid(pid);
        let held = self.succession.settle(Standing::Serves(pid));
        // A command that waits for it hears of it before this process can end.
        self.succession.serves.send_replace(Some(pid));
        let heard = self.succession.serves.closed();
        let _ = tokio::time::timeout(COMMANDS_HEAR, heard).await;
        self.succession.predecessors.clear();
        let admin = self.move_admin(&heir).await;
        let gone = self.posts.iter().filter(|post| {
            let name = &**post.scope.listener();
            !post.leaves(&self.group) && !heir.kept.listeners.iter().any(|kept| kept == name)
        });
        let gone: Vec<_> = gone.map(|post| post.id).collect();
        for id in gone {
            self.step(Whom::Listener(id), Event::Drain(Trigger::Reload));
        }
        self.step(Whom::Process, Event::Drain(Trigger::Handover));
        let admin = admin.map(|address| address.to_string());
        tokio::spawn(tell(heir, Arc::clone(&self.admin), admin));
        self.catch_up(held);
    }

    /// Be reached elsewhere, if the successor is reached where this process
    /// was. Returns where.
    async fn move_admin(&mut self, heir: &Heir) -> Option<AdminAddr> {
        let hold = self.succession.admin.take();
        let door = self.succession.door.take();
        let own = door.as_ref().map(|door| handover::admin_after(&door.path));
        if let Some(door) = door
            && heir.kept.door
        {
            door.leave();
        }
        let hold = hold?;
        if !heir.kept.admin {
            return Some(hold.address);
        }
        hold.leave();
        let bound = AdminListener::bind(&own?).await;
        let desk = self.desk.as_ref()?;
        match bound {
            Ok(listener) => {
                let address = listener.address().ok();
                if let Some(address) = &address {
                    tracing::info!(event = "admin", %address, "from here on");
                }
                // The interface takes it as soon as it can.
                let _ = desk.send(listener).await;
                address
            }
            Err(error) => {
                tracing::warn!(event = "admin", %error, "no admin interface from here on");
                self.desk = None;
                None
            }
        }
    }

    /// Do what had to wait.
    fn catch_up(&mut self, held: Vec<(Whom, Event)>) {
        for (whom, event) in held {
            self.step(whom, event);
        }
    }

    /// What is heard of those who went before.
    pub(super) fn heard(&mut self, news: News) {
        if matches!(news, News::Of(_)) && !std::mem::replace(&mut self.succession.heard, true) {
            // The predecessor tells when it has told systemd.
            self.systemd.succeed();
        }
        let known = &mut self.succession.predecessors;
        match news {
            News::Of(news) => match known.iter_mut().find(|one| one.pid == news.pid) {
                Some(one) => *one = *news,
                None => known.push(*news),
            },
            News::Gone(pid) => {
                known.retain(|one| Some(one.pid) != pid);
                tracing::info!(
                    event = "handover",
                    predecessor = pid,
                    "a predecessor is gone"
                );
            }
            News::Refused(reason) => {
                tracing::error!(event = "handover", "the predecessor serves on: {reason}");
                self.step(Whom::Process, Event::Drain(Trigger::Handover));
            }
        }
        self.publish();
    }

    pub(super) fn hand_over(&mut self) -> Result<u32, NotHandedOver> {
        if self.group.started().is_some() && self.succession.successor().is_none() {
            return Err(NotHandedOver::Refused("the process is draining".to_owned()));
        }
        self.succession.give_the_word()
    }

    /// SIGQUIT.
    pub(super) fn hand_over_by_signal(&mut self) {
        match self.hand_over() {
            Ok(successor) => tracing::info!(event = "handover", successor, "has the word"),
            Err(error) => tracing::warn!(event = "handover", "nothing is handed over: {error}"),
        }
    }
}

/// Tell a successor how this process gets on, as long as there is either.
async fn tell(mut heir: Heir, admin: Arc<Admin>, address: Option<String>) {
    while heir
        .tell(admin.as_predecessor(address.clone()))
        .await
        .is_ok()
    {
        tokio::time::sleep(TELL_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn succession() -> Succession {
        Succession::new(None, None)
    }

    const DRAIN: (Whom, Event) = (Whom::Process, Event::Drain(Trigger::Sigterm));

    #[test]
    fn one_successor_gets_ready_at_a_time() {
        let mut succession = succession();
        assert!(succession.in_the_way().is_none());
        let word = succession.admit(7, false).expect("nobody is there");
        assert_eq!(*word.borrow(), Word::Go);
        let second = succession.admit(8, false).expect_err("one is there");
        assert!(second.contains("process 7"), "{second}");
        assert_eq!(succession.settle(Standing::Nobody), []);
        succession.admit(8, false).expect("the first has gone");
    }

    #[test]
    fn one_on_standby_waits_for_the_word() {
        let mut succession = succession();
        assert_eq!(succession.give_the_word(), Err(NotHandedOver::Nobody));
        let word = succession.admit(7, true).expect("nobody is there");
        assert_eq!(*word.borrow(), Word::Wait);
        for _ in 0..2 {
            assert_eq!(succession.give_the_word(), Ok(7), "a repeat has no effect");
            assert_eq!(*word.borrow(), Word::Go);
        }
        succession.commit().expect("it has the word");
        succession.settle(Standing::Serves(7));
        assert_eq!(succession.successor(), Some(7));
        assert!(succession.give_the_word().is_err());
    }

    #[test]
    fn a_drain_ends_who_gets_ready() {
        let mut succession = succession();
        let word = succession.admit(7, false).expect("nobody is there");
        assert!(!succession.holds_back(DRAIN.0, Event::Elapsed));
        assert!(
            !succession.holds_back(DRAIN.0, DRAIN.1),
            "it goes on at once"
        );
        assert!(matches!(*word.borrow(), Word::Stop(_)));
        succession.commit().expect_err("too late");
        succession.give_the_word().expect("no news");
        assert!(matches!(*word.borrow(), Word::Stop(_)), "it stays said");
    }

    #[test]
    fn a_drain_waits_for_who_may_accept() {
        let mut succession = succession();
        let _word = succession.admit(7, false).expect("nobody is there");
        succession.commit().expect("ready");
        assert!(succession.holds_back(DRAIN.0, DRAIN.1));
        assert!(succession.in_the_way().is_some());
        assert_eq!(succession.settle(Standing::Nobody), [DRAIN]);
        assert!(!succession.holds_back(DRAIN.0, DRAIN.1));
    }
}
