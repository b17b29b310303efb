//! A panic, in a process and a pseudo-terminal of its own.

use super::Screen;
use pty_process::Size;
use pty_process::blocking::{Command, open};
use rustix::termios::{LocalModes, tcgetattr};
use std::io::Read;

/// Set for the process that is to panic.
const ROLE: &str = "EBBTIDE_TEST_SCREEN";

const NAME: &str = "cli::top::screen::tests::a_panic_gives_the_terminal_back_before_it_speaks";

/// All that the process wrote to its terminal, and whether that was left as a
/// shell wants it.
fn panicked() -> (String, bool) {
    let (mut pty, other) = open().expect("a pseudo-terminal");
    pty.resize(Size::new(24, 80)).expect("its size");
    let modes = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
    let program = std::env::current_exe().expect("this program");
    let command = Command::new(program)
        .args(["--exact", NAME, "--nocapture"])
        .env(ROLE, "panics")
        .env("RUST_BACKTRACE", "0");
    let mut child = command.spawn(other).expect("run");
    let mut written = Vec::new();
    let mut bytes = [0; 4096];
    // A terminal whose program has gone ends in an error.
    while let Ok(count @ 1..) = pty.read(&mut bytes) {
        written.extend_from_slice(&bytes[..count]);
    }
    let status = child.wait().expect("wait");
    assert!(!status.success(), "it panicked");
    let left = tcgetattr(&pty).expect("its modes").local_modes;
    (
        String::from_utf8_lossy(&written).into_owned(),
        left.contains(modes),
    )
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_speaks() {
    if std::env::var_os(ROLE).is_some() {
        let _screen = Screen::borrow().expect("a terminal");
        panic!("on purpose");
    }
    let (written, usable) = panicked();
    let borrowed = written.find("\x1b[?1049h").expect("it was borrowed");
    let given_back = written.find("\x1b[?1049l").expect("it was given back");
    let said = written.find("on purpose").expect("the panic speaks");
    assert!(borrowed < given_back && given_back < said, "{written:?}");
    assert!(usable, "no echo, or lines are not read: {written:?}");
}
