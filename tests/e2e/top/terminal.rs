//! A pseudo-terminal with a command in it.

use crate::support::{LIMIT, within};
use pty_process::{OwnedWritePty, Size};
use rustix::process::{Pid, Signal, kill_process};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::timeout;

pub(super) struct Terminal {
    child: Child,
    keyboard: OwnedWritePty,
    /// What its screen shows, whenever that changed.
    shown: watch::Receiver<String>,
    parser: Arc<Mutex<vt100::Parser>>,
}

fn of(length: u16) -> NonZeroU16 {
    NonZeroU16::new(length).expect("a screen has room")
}

impl Terminal {
    /// With `ebbtide top` in it.
    pub(super) fn start(admin: &str, environment: &[(&str, &str)]) -> Self {
        Self::with(&["top", "--admin", admin], environment, (24, 80))
    }

    /// With this command in it, and so many rows and columns.
    pub(super) fn with(
        arguments: &[&str],
        environment: &[(&str, &str)],
        (rows, columns): (u16, u16),
    ) -> Self {
        let (pty, other) = pty_process::open().expect("a pseudo-terminal");
        pty.resize(Size::new(rows, columns)).expect("its size");
        let command = pty_process::Command::new(env!("CARGO_BIN_EXE_ebbtide"))
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env_remove("EBBTIDE_TOKEN")
            .envs(environment.iter().copied())
            .kill_on_drop(true);
        let child = command.spawn(other).expect("run");
        let (mut screen, keyboard) = pty.into_split();
        let parser = Arc::new(Mutex::new(vt100::Parser::new(of(rows), of(columns), 0)));
        let (show, shown) = watch::channel(String::new());
        let reads = Arc::clone(&parser);
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            // A terminal whose program has gone ends in an error.
            while let Ok(count @ 1..) = screen.read(&mut bytes).await {
                let mut parser = reads.lock().expect("no panic");
                parser.process(&bytes[..count]);
                let text = parser.screen().contents();
                drop(parser);
                show.send_replace(text);
            }
        });
        Self {
            child,
            keyboard,
            shown,
            parser,
        }
    }

    pub(super) async fn press(&mut self, keys: &str) {
        let typed = self.keyboard.write_all(keys.as_bytes()).await;
        typed.expect("typed");
    }

    pub(super) fn resize(&mut self, rows: u16, columns: u16) {
        self.parser
            .lock()
            .expect("no panic")
            .screen_mut()
            .set_size(of(rows), of(columns));
        let size = Size::new(rows, columns);
        self.keyboard.resize(size).expect("its size");
    }

    /// Wait until the screen is such.
    pub(super) async fn until(&mut self, what: &str, such: impl Fn(&str) -> bool) {
        let waiting = self.shown.wait_for(|shown| such(shown));
        let found = timeout(LIMIT, waiting).await;
        let found = found.is_ok_and(|shown| shown.is_ok());
        assert!(found, "never on the screen: {what}\n{}", self.text());
    }

    pub(super) fn text(&self) -> String {
        self.parser.lock().expect("no panic").screen().contents()
    }

    /// Whether the other screen is shown, which programs borrow.
    pub(super) fn is_borrowed(&self) -> bool {
        self.parser
            .lock()
            .expect("no panic")
            .screen()
            .alternate_screen()
    }

    pub(super) fn has_colours(&self) -> bool {
        let parser = self.parser.lock().expect("no panic");
        let cells = (0..24).flat_map(|row| (0..80).map(move |column| (row, column)));
        let mut cells = cells.filter_map(|(row, column)| parser.screen().cell(row, column));
        let plain = vt100::Color::Default;
        cells.any(|cell| cell.fgcolor() != plain || cell.bgcolor() != plain)
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| pid.try_into().ok());
        let pid = pid.and_then(Pid::from_raw).expect("it runs");
        kill_process(pid, signal).expect("signal it");
    }

    /// Wait for its exit, and for all that it wrote; its code.
    pub(super) async fn ended(&mut self) -> Option<i32> {
        let status = within("its exit", self.child.wait()).await.expect("wait");
        let all = async { while self.shown.changed().await.is_ok() {} };
        within("the last of the screen", all).await;
        status.code()
    }
}
