//! Commands in, status out: the one door between those who ask for a drain
//! and the one who runs it.
//!
//! [`Control`] is held by whoever asks (the admin API, signal handlers); the
//! [`Inbox`] is the conductor's end. Commands are answered one by one, in the
//! order in which they came, so that of two that contradict each other both
//! learn what became of them. The status is a value that is replaced as a
//! whole: a reader never sees half of a change.
//!
//! Invariant: the conductor publishes the status that a command led to before
//! it answers the command, and the receipt after the last status. Whoever was
//! told "accepted" therefore never reads a status of before.
//!
//! Deliberately absent: I/O, and any knowledge of what a drain does. A command
//! repeated has the effect of one; that is the machine's doing, not this
//! module's.

mod discovery;
mod handover;
mod position;
mod reload;
mod server;

pub use discovery::{Sought, SourceState, SourceStatus};
pub use handover::{NotHandedOver, Predecessor};
pub use position::{ListenerStatus, Position, Status};
pub use reload::{NotReloaded, Reload, Reloaded};
pub use server::{ServerAsked, ServerName, ServerRefusal, ServerStatus, ServerWish};

use crate::drain::{Answer, Event, Receipt, Trigger};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Commands that may wait for the conductor; who asks then waits as well.
const WAITING: usize = 16;

/// What can be asked for.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Wish {
    /// Begin a drain; asked again, it changes nothing.
    Drain(Trigger),
    /// Take a drain back that is still announcing.
    Cancel,
    /// Give work in flight this much more time.
    Extend(Duration),
    /// Cut at once what is there; begins a drain if there is none.
    Cut,
}

/// What is asked for, and of whom.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Command {
    /// What.
    pub wish: Wish,
    /// The listener whose drain is meant; `None` for the process's.
    pub listener: Option<Arc<str>>,
}

impl Command {
    /// What the machine is told.
    #[must_use]
    pub const fn event(&self) -> Event {
        match self.wish {
            Wish::Drain(by) => Event::Drain(by),
            Wish::Cancel => Event::Cancel,
            Wish::Extend(by) => Event::Extend(by),
            Wish::Cut => Event::CutNow,
        }
    }

    /// What the machine's answer means to whoever gave this command.
    ///
    /// # Errors
    /// A [`Refusal`] unless it was accepted, now or before.
    pub const fn verdict(&self, answer: Answer) -> Result<(), Refusal> {
        match (answer, self.wish) {
            (Answer::Accepted | Answer::Already, _) => Ok(()),
            (Answer::NotDraining, _) => Err(Refusal::NotDraining),
            (Answer::OfProcess, _) => Err(Refusal::OfProcess),
            (Answer::TooLate, Wish::Cancel) => Err(Refusal::TooLate),
            (Answer::TooLate, Wish::Extend(_)) => Err(Refusal::TooLateToExtend),
            (Answer::TooLate, Wish::Drain(_) | Wish::Cut) => Err(Refusal::Terminated),
        }
    }
}

/// Why a command was not carried out. Nothing was changed then.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no drain that could be cancelled or extended.
    #[error("no drain is under way")]
    NotDraining,
    /// Refuse has begun: the listeners are closing.
    #[error("the drain has passed announce and can no longer be cancelled")]
    TooLate,
    /// Every deadline has come.
    #[error("every deadline of the drain has come; there is nothing left to extend")]
    TooLateToExtend,
    /// The listener leaves with the process.
    #[error("the process is draining, and this listener with it; cancel that drain instead")]
    OfProcess,
    /// There is no such listener.
    #[error("there is no listener of this name; /v1/status lists them")]
    NoListener,
    /// Nothing is served any more.
    #[error("what was asked to drain has drained already")]
    Terminated,
}

/// What can come through the door.
#[derive(Debug)]
pub enum Request {
    /// A command about a drain.
    Command(Asked),
    /// A reload.
    Reload(Reload),
    /// To hand over to the successor that waits.
    Handover(oneshot::Sender<Result<u32, NotHandedOver>>),
    /// A wish about a server.
    Server(ServerAsked),
}

/// The asking end; clones ask the same conductor.
#[derive(Clone, Debug)]
pub struct Control {
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<Arc<Status>>,
    receipt: watch::Receiver<Option<Arc<Receipt>>>,
}

/// The conductor's end.
#[derive(Debug)]
pub struct Inbox {
    requests: mpsc::Receiver<Request>,
    status: watch::Sender<Arc<Status>>,
    receipt: watch::Sender<Option<Arc<Receipt>>>,
}

/// A command that waits for its answer. Dropped without one, it counts as
/// refused by a process that is no longer there.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub command: Command,
    answer: oneshot::Sender<Result<(), Refusal>>,
}

impl Asked {
    /// Answer the command. The status that it led to is published before.
    pub fn answer(self, verdict: Result<(), Refusal>) {
        // Who asked may have left: the command holds all the same.
        let _ = self.answer.send(verdict);
    }
}

/// A pair of ends, and the status that is read until one is published.
#[must_use]
pub fn channel(initial: Status) -> (Control, Inbox) {
    let (asking, requests) = mpsc::channel(WAITING);
    let (status, status_seen) = watch::channel(Arc::new(initial));
    let (receipt, receipt_seen) = watch::channel(None);
    let control = Control {
        requests: asking,
        status: status_seen,
        receipt: receipt_seen,
    };
    let inbox = Inbox {
        requests,
        status,
        receipt,
    };
    (control, inbox)
}

impl Control {
    /// Begin a drain of the process or of one listener, or join the one that
    /// is under way. Returns the status after it began.
    ///
    /// # Errors
    /// [`Refusal::Terminated`] if it has drained, [`Refusal::NoListener`].
    pub async fn drain(&self, by: Trigger, of: Option<&str>) -> Result<Arc<Status>, Refusal> {
        self.ask(Wish::Drain(by), of).await
    }

    /// Take back a drain that is announcing. Returns the status after it.
    ///
    /// # Errors
    /// Any [`Refusal`].
    pub async fn cancel(&self, of: Option<&str>) -> Result<Arc<Status>, Refusal> {
        self.ask(Wish::Cancel, of).await
    }

    /// Give what is in flight this much more time. Returns the status after
    /// it.
    ///
    /// # Errors
    /// Any [`Refusal`].
    pub async fn extend(&self, by: Duration, of: Option<&str>) -> Result<Arc<Status>, Refusal> {
        self.ask(Wish::Extend(by), of).await
    }

    /// Read the config anew and run by it, or only say what that would do.
    /// Returns when it is done; drains that it begins go on.
    ///
    /// # Errors
    /// A [`NotReloaded`]; nothing was changed then.
    pub async fn reload(&self, dry_run: bool) -> Result<Reloaded, NotReloaded> {
        let (answer, verdict) = oneshot::channel();
        let request = Request::Reload(Reload::awaited(dry_run, answer));
        let sent = self.requests.send(request).await;
        sent.map_err(|_| NotReloaded::Draining)?;
        verdict.await.map_err(|_| NotReloaded::Draining)?
    }

    /// Hand over to the successor that waits, or as soon as it is ready.
    /// Returns its process id when it has the word.
    ///
    /// # Errors
    /// A [`NotHandedOver`]; all is as it was then.
    pub async fn hand_over(&self) -> Result<u32, NotHandedOver> {
        let (answer, verdict) = oneshot::channel();
        let gone = || NotHandedOver::Refused("the process is leaving".to_owned());
        let sent = self.requests.send(Request::Handover(answer)).await;
        sent.map_err(|_| gone())?;
        verdict.await.map_err(|_| gone())?
    }

    /// Drain a server, or take its drain back. Returns the status after it.
    ///
    /// # Errors
    /// Any [`ServerRefusal`].
    pub async fn server(
        &self,
        name: ServerName,
        wish: ServerWish,
    ) -> Result<Arc<Status>, ServerRefusal> {
        let (answer, verdict) = oneshot::channel();
        let asked = ServerAsked::new(name, wish, answer);
        let sent = self.requests.send(Request::Server(asked)).await;
        sent.map_err(|_| ServerRefusal::Terminated)?;
        verdict.await.map_err(|_| ServerRefusal::Terminated)??;
        Ok(self.status())
    }

    /// Wait until this server's drain is over: its receipt; `None` if it was
    /// taken back, or the conductor left.
    pub async fn server_over(&self, name: &ServerName) -> Option<Arc<Receipt>> {
        let mut seen = self.status.clone();
        let ended = |status: &Arc<Status>| {
            let server = status.server(name);
            server.is_none_or(|one| one.receipt.is_some())
        };
        let status = seen.wait_for(ended).await.ok()?;
        status.server(name)?.receipt.clone()
    }

    /// The status as it was published last.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.borrow())
    }

    /// The receipt, once there is one.
    #[must_use]
    pub fn receipt(&self) -> Option<Arc<Receipt>> {
        self.receipt.borrow().clone()
    }

    /// Wait for the receipt; `None` if the conductor left without one.
    pub async fn finished(&self) -> Option<Arc<Receipt>> {
        let mut seen = self.receipt.clone();
        let receipt = seen.wait_for(Option::is_some).await.ok()?;
        receipt.clone()
    }

    /// Wait until no drain is under way: the receipt if it ran to its end,
    /// `None` if there was none, it was cancelled, or the conductor left.
    pub async fn over(&self, of: Option<&str>) -> Option<Arc<Receipt>> {
        let mut seen = self.status.clone();
        let Some(name) = of else {
            // Between a cancel and another drain the status may have been seen
            // by nobody; then this waits for the later drain, no harm.
            let none_under_way = async move {
                let is_over = |status: &Arc<Status>| status.process.started.is_none();
                let _ = seen.wait_for(is_over).await;
            };
            return tokio::select! {
                biased;
                receipt = self.finished() => receipt,
                () = none_under_way => self.receipt(),
            };
        };
        let ended = |status: &Arc<Status>| {
            let listener = status.listener(name);
            listener.is_none_or(|one| one.receipt.is_some() || one.position.started.is_none())
        };
        let status = seen.wait_for(ended).await.ok()?;
        status.listener(name)?.receipt.clone()
    }

    async fn ask(&self, wish: Wish, of: Option<&str>) -> Result<Arc<Status>, Refusal> {
        let (answer, verdict) = oneshot::channel();
        let listener = of.map(Arc::from);
        let command = Command { wish, listener };
        let asked = Asked { command, answer };
        let sent = self.requests.send(Request::Command(asked)).await;
        sent.map_err(|_| Refusal::Terminated)?;
        verdict.await.map_err(|_| Refusal::Terminated)??;
        Ok(self.status())
    }
}

impl Inbox {
    /// The next request; `None` when nobody is left who could ask.
    pub async fn recv(&mut self) -> Option<Request> {
        self.requests.recv().await
    }

    /// Replace the status.
    pub fn publish(&self, status: Status) {
        self.status.send_replace(Arc::new(status));
    }

    /// Hand out the receipt. It comes last: who waits for it is released.
    pub fn publish_receipt(&self, receipt: Arc<Receipt>) {
        self.receipt.send_replace(Some(receipt));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::{Machine, Phase, Plan, Stage, Timestamp};

    fn announcing(by: Trigger) -> Status {
        let mut status = Status::new(Plan::default());
        status.process = Position {
            phase: Phase::Active,
            stage: Some(Stage::Announce),
            trigger: Some(by),
            started: Some(Timestamp::ZERO),
            ..status.process
        };
        status
    }

    const fn of_process(wish: Wish) -> Command {
        Command {
            wish,
            listener: None,
        }
    }

    #[test]
    fn verdicts_follow_the_machine() {
        let mut machine = Machine::new(Plan::default());
        let now = Timestamp::ZERO;
        let judge = |machine: &Machine, wish: Wish| {
            let command = of_process(wish);
            command.verdict(machine.answer(command.event(), now))
        };
        let drain = Wish::Drain(Trigger::Api);
        machine.handle(Event::Reached(Phase::Active), now);
        assert_eq!(judge(&machine, Wish::Cancel), Err(Refusal::NotDraining));
        assert_eq!(judge(&machine, drain), Ok(()));
        machine.handle(of_process(drain).event(), now);
        assert_eq!(judge(&machine, drain), Ok(()), "again is no error");
        assert_eq!(judge(&machine, Wish::Cancel), Ok(()));
        machine.handle(of_process(Wish::Cut).event(), now);
        assert_eq!(judge(&machine, Wish::Cancel), Err(Refusal::TooLate));
        machine.handle(Event::Quiescent, now);
        assert_eq!(judge(&machine, drain), Err(Refusal::Terminated));
        assert_eq!(judge(&machine, Wish::Cut), Err(Refusal::Terminated));
    }

    #[tokio::test]
    async fn an_accepted_command_returns_the_status_that_it_led_to() {
        let (control, mut inbox) = channel(Status::new(Plan::default()));
        let conductor = tokio::spawn(async move {
            while let Some(Request::Command(asked)) = inbox.recv().await {
                if let Wish::Drain(by) = asked.command.wish {
                    inbox.publish(announcing(by));
                    asked.answer(Ok(()));
                } else {
                    asked.answer(Err(Refusal::TooLate));
                }
            }
        });
        assert!(!control.status().process.draining());
        let status = control.drain(Trigger::Api, None).await.expect("accepted");
        assert!(status.process.draining());
        assert_eq!(status.process.trigger, Some(Trigger::Api));
        assert_eq!(control.cancel(None).await, Err(Refusal::TooLate));
        assert!(
            control.status().process.draining(),
            "a refusal changes nothing"
        );
        drop(control);
        conductor.await.expect("ends when nobody can ask");
    }

    #[tokio::test]
    async fn without_a_conductor_everything_is_refused_and_nothing_waits() {
        let (control, inbox) = channel(Status::new(Plan::default()));
        drop(inbox);
        let refused = control.drain(Trigger::Api, None).await;
        assert_eq!(refused, Err(Refusal::Terminated));
        assert!(control.finished().await.is_none());
        assert!(control.over(None).await.is_none());
    }

    #[tokio::test]
    async fn a_command_dropped_unanswered_is_refused() {
        let (control, mut inbox) = channel(Status::new(Plan::default()));
        let asking = tokio::spawn(async move { control.cancel(None).await });
        drop(inbox.recv().await);
        let refused = asking.await.expect("no panic");
        assert_eq!(refused, Err(Refusal::Terminated));
    }

    #[tokio::test]
    async fn a_cancelled_drain_is_over_without_a_receipt() {
        let (control, inbox) = channel(announcing(Trigger::Api));
        let waiting = tokio::spawn(async move { control.over(None).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "a drain is under way");
        inbox.publish(Status::new(Plan::default()));
        assert!(waiting.await.expect("no panic").is_none());
    }
}
