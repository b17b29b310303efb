//! Who comes after a process and who went before: what may happen when.
//!
//! Invariant: one successor gets ready at a time, and between its leave to accept
//! and its word that it does, no drain begins.
//!
//! Deliberately absent: doing any of it.

use crate::admin::AdminHold;
use crate::control::{NotHandedOver, Predecessor};
use crate::drain::{Event, Whom};
use crate::process::handover::{Ask, Door, Links, News, Word};
use std::path::PathBuf;
use tokio::sync::{mpsc, watch};

/// Successors that may wait to be attended to.
const WAITING: usize = 4;

/// Who comes after this process and who went before.
#[derive(Debug)]
pub(in crate::process::conductor) struct Succession {
    pub(super) door: Option<Door>,
    tell: mpsc::Sender<Ask>,
    asks: mpsc::Receiver<Ask>,
    standing: Standing,
    /// The successor that serves, for commands that wait for it.
    pub(super) serves: watch::Sender<Option<u32>>,
    pub(super) admin: Option<AdminHold>,
    pub(super) links: Links,
    pub(in crate::process::conductor) predecessors: Vec<Predecessor>,
    /// Whether one of them was heard.
    pub(super) heard: bool,
}

/// How far the successor is.
#[derive(Debug)]
pub(super) enum Standing {
    Nobody,
    Preparing(u32, watch::Sender<Word>),
    /// It may accept; these drains wait.
    Committed(u32, Vec<(Whom, Event)>),
    Serves(u32),
}

impl Succession {
    pub(in crate::process::conductor) fn new(door: Option<Door>, admin: Option<AdminHold>) -> Self {
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
    pub(in crate::process::conductor) fn own(&mut self) {
        if let Some(door) = &mut self.door {
            door.own();
        }
    }

    /// What a successor asks, or what is heard of a predecessor.
    pub(in crate::process::conductor) async fn news(&mut self) -> Result<Ask, News> {
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
    pub(in crate::process::conductor) fn place(&self) -> Option<PathBuf> {
        self.door.as_ref().map(|door| door.path.clone())
    }

    /// Who serves in place of this process.
    pub(in crate::process::conductor) fn successor(&self) -> Option<u32> {
        match self.standing {
            Standing::Serves(pid) => Some(pid),
            _ => None,
        }
    }

    /// Why no config can be put in force now, if so: the successor knows of
    /// the sockets that there were when it asked.
    pub(in crate::process::conductor) fn in_the_way(&self) -> Option<String> {
        match self.standing {
            Standing::Preparing(pid, _) | Standing::Committed(pid, _) => Some(format!(
                "a successor (process {pid}) is getting ready; let it take over, or end it"
            )),
            Standing::Nobody | Standing::Serves(_) => None,
        }
    }

    /// Let a successor get ready.
    pub(super) fn admit(
        &mut self,
        pid: u32,
        standby: bool,
    ) -> Result<watch::Receiver<Word>, String> {
        if let Some(reason) = self.in_the_way() {
            return Err(reason);
        }
        let (word, told) = watch::channel(if standby { Word::Wait } else { Word::Go });
        self.standing = Standing::Preparing(pid, word);
        Ok(told)
    }

    /// Let the successor that waits go on.
    pub(super) fn give_the_word(&self) -> Result<u32, NotHandedOver> {
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

    pub(super) fn commit(&mut self) -> Result<(), String> {
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
    pub(in crate::process::conductor) fn holds_back(&mut self, whom: Whom, event: Event) -> bool {
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
    pub(super) fn settle(&mut self, standing: Standing) -> Vec<(Whom, Event)> {
        match std::mem::replace(&mut self.standing, standing) {
            Standing::Committed(_, held) => held,
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Trigger;

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
