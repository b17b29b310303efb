//! Who asks for what: drains of the process and of listeners, taken back,
//! extended, cut, repeated, at any moment and at the very worst one.

use crate::rng::Rng;
use ebbtide::drain::{Event, Plan, Protocol, Timestamp, Trigger};
use std::time::Duration;

/// Whom something concerns: a listener, or the process if none is named.
pub(crate) type Party = Option<usize>;

/// Something that an operator asks for.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) at: Timestamp,
    pub(crate) whom: Party,
    pub(crate) event: Event,
}

struct Desk<'a> {
    rng: &'a mut Rng,
    plan: &'a Plan,
    listeners: usize,
    wishes: Vec<Wish>,
}

/// All wishes, and when the drain of the process that stays was asked for.
pub(super) fn wishes(
    rng: &mut Rng,
    starts: Duration,
    plan: &Plan,
    listeners: usize,
) -> (Vec<Wish>, Duration) {
    let mut desk = Desk {
        rng,
        plan,
        listeners,
        wishes: Vec::new(),
    };
    if desk.rng.percent(40) {
        desk.listener_alone(starts);
    }
    let last = desk.process(starts);
    if desk.rng.percent(40) {
        desk.more_time(last);
    }
    desk.cuts(last);
    (desk.wishes, last)
}

impl Desk<'_> {
    fn ask(&mut self, at: Duration, whom: Party, event: Event) {
        let at = Timestamp::from_start(at);
        self.wishes.push(Wish { at, whom, event });
    }

    fn drain(&mut self) -> Event {
        // A handover has other times, and its own tests.
        let triggers: Vec<_> = Trigger::ALL
            .into_iter()
            .filter(|one| !one.hands_over())
            .collect();
        Event::Drain(triggers[self.rng.index(triggers.len())])
    }

    fn some_listener(&mut self) -> usize {
        self.rng.index(self.listeners)
    }

    /// May come too late, and then must not do anything.
    fn second_thoughts(&mut self, starts: Duration) -> Duration {
        if self.rng.percent(15) {
            return starts + self.plan.announce;
        }
        starts + self.rng.up_to(self.plan.announce * 5 / 4)
    }

    fn listener_alone(&mut self, process: Duration) {
        let whom = Some(self.some_listener());
        let starts = Duration::from_millis(50) + self.rng.up_to(process + self.plan.announce);
        let drain = self.drain();
        self.ask(starts, whom, drain);
        if self.rng.percent(40) {
            let cancels = self.second_thoughts(starts);
            self.ask(cancels, whom, Event::Cancel);
            if self.rng.percent(40) {
                let again = cancels + self.rng.millis(1_000);
                self.ask(again, whom, drain);
            }
        }
        if self.rng.percent(30) {
            let again = starts + self.rng.millis(3_000);
            self.ask(again, whom, drain);
        }
    }

    fn process(&mut self, starts: Duration) -> Duration {
        let drain = self.drain();
        self.ask(starts, None, drain);
        let mut last = starts;
        if self.rng.percent(25) {
            let cancels = self.second_thoughts(starts);
            self.ask(cancels, None, Event::Cancel);
            last = cancels + self.rng.millis(2_000);
            let drain = self.drain();
            self.ask(last, None, drain);
        }
        if self.rng.percent(30) {
            let again = last + self.rng.millis(5_000);
            let (whom, drain) = (self.some_listener(), self.drain());
            let whom = self.rng.percent(50).then_some(whom);
            self.ask(again, whom, drain);
        }
        if self.rng.percent(10) {
            let whom = Some(self.some_listener());
            let cancels = self.second_thoughts(last);
            self.ask(cancels, whom, Event::Cancel);
        }
        last
    }

    fn more_time(&mut self, starts: Duration) {
        let refuse = starts + self.plan.announce;
        for _ in 0..=self.rng.below(3) {
            let whom = self.some_listener();
            let whom = self.rng.percent(40).then_some(whom);
            let protocol = Protocol::ALL[self.rng.index(Protocol::ALL.len())];
            let at = if self.rng.percent(25) {
                // The instant in which a deadline comes.
                refuse + self.plan.finish_for(protocol)
            } else {
                starts + self.rng.up_to(self.plan.total() * 5 / 4)
            };
            let by = self.rng.millis(4_000);
            self.ask(at, whom, Event::Extend(by));
        }
    }

    fn cuts(&mut self, starts: Duration) {
        if self.rng.percent(12) {
            let at = starts + self.rng.up_to(self.plan.total() * 5 / 4);
            self.ask(at, None, Event::CutNow);
        }
        if self.rng.percent(8) {
            let at = Duration::from_millis(50) + self.rng.up_to(starts + self.plan.total());
            let whom = Some(self.some_listener());
            self.ask(at, whom, Event::CutNow);
        }
    }
}
