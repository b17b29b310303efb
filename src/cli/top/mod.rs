//! `ebbtide top`: the process in a terminal, live.
//!
//! `feed` looks twice a second, `model` keeps what is known, `keys` says what a
//! key does, `view` draws, `screen` borrows the terminal; here they are held
//! together.
//!
//! Invariant: the first look comes before the terminal is touched, so that
//! what is wrong is said as by any other command. When the process goes, its
//! last state stays.
//!
//! Deliberately absent: anything that the admin interface does not say.

mod feed;
mod keys;
mod model;
#[cfg(test)]
mod sample;
mod screen;
mod view;

use super::args::Top;
use super::client::runtime;
use super::output::Done;
use crate::clock;
use crate::drain::Timestamp;
use anyhow::{Context, bail};
use crossterm::event::{Event, EventStream, KeyEvent};
use futures_util::StreamExt;
use keys::{Act, Ui};
use model::{Model, News};
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use rustix::process::{Pid, getpid, kill_process};
use screen::Screen;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};
use view::{Shown, Theme};

/// Between two pictures: clocks move.
const PICTURE: Duration = Duration::from_millis(250);

/// The size of a picture that no terminal gives one.
const USUAL: Size = Size {
    width: 80,
    height: 24,
};

pub(super) fn top(what: &Top) -> anyhow::Result<Done> {
    if what.remote.json {
        bail!("top is for people; programs have `ebbtide status --json`");
    }
    let watched = io::stdin().is_terminal() && io::stdout().is_terminal();
    if !what.once && !watched {
        bail!("top needs a terminal; --once prints one picture as text");
    }
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if !what.once && dumb {
        bail!("this terminal (TERM=dumb) cannot draw; --once prints one picture as text");
    }
    let theme = match std::env::var_os("NO_COLOR") {
        Some(set) if !set.is_empty() => Theme::Plain,
        _ => Theme::Colours,
    };
    runtime()?.block_on(async {
        let remote = Arc::new(what.remote.clone());
        let seen = Box::pin(feed::look(&remote)).await?;
        let model = Model::new(remote.admin.to_string(), seen);
        if what.once {
            return Ok(Done::with(picture(&model)));
        }
        let (tell, news) = channel(16);
        let again = Arc::new(Notify::new());
        let looks = feed::run(Arc::clone(&remote), tell.clone(), Arc::clone(&again));
        let mut top = Running {
            model,
            held: None,
            ui: Ui::default(),
            theme,
            looks: tokio::spawn(looks),
            news,
            ask: move |wish, instance| {
                let (remote, tell, again) = (Arc::clone(&remote), tell.clone(), Arc::clone(&again));
                tokio::spawn(feed::ask(remote, (wish, instance), tell, again));
            },
        };
        top.run().await.context("the terminal cannot be used")?;
        Ok(Done::default())
    })
}

/// One picture as text, without keys.
fn picture(model: &Model) -> String {
    let size = crossterm::terminal::size()
        .ok()
        .filter(|_| io::stdout().is_terminal());
    let (width, height) = size.unwrap_or((USUAL.width, USUAL.height));
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    let shown = Shown {
        model,
        ui: &Ui::default(),
        now: model.seen.at,
        theme: Theme::Plain,
    };
    view::draw(&mut buffer, area, &shown);
    let rows = usize::from(height.saturating_sub(1));
    let lines = buffer.content.chunks(usize::from(width.max(1))).take(rows);
    let lines = lines.map(|cells| {
        let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned()
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    format!("{}\n", text.trim_end())
}

/// What is shown while the picture is held.
struct Held {
    model: Model,
    at: Timestamp,
}

struct Running<Ask> {
    model: Model,
    held: Option<Held>,
    ui: Ui,
    theme: Theme,
    /// Never ends by itself.
    looks: JoinHandle<()>,
    news: Receiver<News>,
    ask: Ask,
}

/// What ends the program from outside: each gives the terminal back.
struct Ends([Signal; 4]);

impl Ends {
    fn new() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::quit())?,
        ]))
    }

    async fn recv(&mut self) {
        let Self([terminate, hangup, interrupt, quit]) = self;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

impl<Ask: FnMut(keys::Wish, String)> Running<Ask> {
    async fn run(&mut self) -> io::Result<()> {
        let mut ends = Ends::new()?;
        let mut screen = Screen::borrow()?;
        let mut typed = EventStream::new();
        let mut ticks = ticks();
        loop {
            self.draw(&mut screen)?;
            tokio::select! {
                biased;
                () = ends.recv() => return Ok(()),
                event = typed.next() => match event {
                    // Nobody types any more: the terminal has gone.
                    None => return Ok(()),
                    Some(event) => {
                        if !self.typed(&event?, &mut screen)? {
                            return Ok(());
                        }
                    }
                },
                // A panic of it was said already, on the usual screen.
                ended = &mut self.looks => return ended.map_err(io::Error::other),
                Some(news) = self.news.recv() => self.model.hear(news),
                _ = ticks.tick() => {}
            }
        }
    }

    /// Whether it goes on.
    fn typed(&mut self, event: &Event, screen: &mut Screen) -> io::Result<bool> {
        match event {
            Event::Key(key) => self.pressed(*key, screen),
            // What the terminal made of the old picture nobody knows.
            Event::Resize(..) => screen.anew().map(|()| true),
            _ => Ok(true),
        }
    }

    fn pressed(&mut self, key: KeyEvent, screen: &mut Screen) -> io::Result<bool> {
        let area = Rect::from((ratatui::layout::Position::ORIGIN, screen.terminal.size()?));
        let shown = self.shown().0;
        let (standing, servers) = (self.model.standing(), self.model.choices());
        let about = view::about(area, shown, &self.ui, standing, &servers);
        self.model.note = None;
        match self.ui.press(key, about) {
            Act::Nothing => {}
            Act::Quit => return Ok(false),
            Act::Redraw => screen.anew()?,
            Act::Suspend => screen.lend(|| stop(getpid()))?,
            Act::Ask(wish) => {
                let instance = self.model.seen.status.instance.clone();
                (self.ask)(wish, instance);
            }
        }
        match (self.ui.paused, &self.held) {
            (true, None) => {
                self.held = Some(Held {
                    model: self.model.clone(),
                    at: clock::now(),
                });
            }
            (false, Some(_)) => self.held = None,
            _ => {}
        }
        Ok(true)
    }

    fn shown(&self) -> (&Model, Timestamp) {
        match &self.held {
            Some(held) => (&held.model, held.at),
            None => (&self.model, clock::now()),
        }
    }

    fn draw(&self, screen: &mut Screen) -> io::Result<()> {
        let (model, now) = self.shown();
        let shown = Shown {
            model,
            ui: &self.ui,
            now,
            theme: self.theme,
        };
        let draw = |frame: &mut ratatui::Frame<'_>| {
            let area = frame.area();
            view::draw(frame.buffer_mut(), area, &shown);
        };
        screen.terminal.draw(draw)?;
        Ok(())
    }
}

fn ticks() -> Interval {
    let mut ticks = interval(PICTURE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// Stop as any job of a shell does; returns when it goes on.
fn stop(own: Pid) {
    // Refused, it just goes on.
    let _ = kill_process(own, rustix::process::Signal::TSTP);
}
