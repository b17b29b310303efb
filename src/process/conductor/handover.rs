//! The handover, as the conductor does it: on the giving and the taking side.
//!
//! Invariant: from the moment in which a successor may accept until it does,
//! no drain begins here: its filter would be on the sockets of both. What is
//! asked for in that time is done right after, whatever became of it.
//!
//! Deliberately absent: the conversation (see `process::handover`).

mod succession;

pub(super) use succession::Succession;

use super::{Conductor, ending};
use crate::admin::{Admin, AdminListener};
use crate::config::AdminAddr;
use crate::control::NotHandedOver;
use crate::drain::{Event, Phase, Trigger, Whom};
use crate::process::Error;
use crate::process::handover::{self, Ask, Claim, Heir, Kind, News, Offer, Thing};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use succession::Standing;

/// How long whoever waits for a successor may take to hear of it.
const COMMANDS_HEAR: Duration = Duration::from_millis(500);

/// How often a successor is told how its predecessor gets on.
const TELL_EVERY: Duration = Duration::from_millis(500);

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
            found: self.finds.discovery.known(),
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
