//! Keys, pressed one after the other.

use super::*;

/// A list of 25 lines, 10 of which are seen.
fn about(standing: Standing) -> About<'static> {
    About {
        rows: 10,
        length: 25,
        standing,
        servers: &[],
    }
}

fn key(code: KeyCode) -> KeyEvent {
    KeyEvent::new(code, KeyModifiers::NONE)
}

/// Press these, each a key or the name of one; what the last one did.
fn press(ui: &mut Ui, keys: &str) -> Act {
    press_at(ui, keys, about(Standing::Calm))
}

fn press_at(ui: &mut Ui, keys: &str, about: About<'_>) -> Act {
    let mut act = Act::Nothing;
    for word in keys.split_whitespace() {
        let code = match word {
            "Enter" => KeyCode::Enter,
            "Esc" => KeyCode::Esc,
            "Tab" => KeyCode::Tab,
            "Down" => KeyCode::Down,
            "PageDown" => KeyCode::PageDown,
            "End" => KeyCode::End,
            "Up" => KeyCode::Up,
            "Home" => KeyCode::Home,
            "Back" => KeyCode::Backspace,
            letter => KeyCode::Char(letter.chars().next().expect("a letter")),
        };
        act = ui.press(key(code), about);
    }
    act
}

#[test]
fn nothing_is_asked_for_unless_it_was_confirmed() {
    for (keys, wish, standing) in [
        ("d", Wish::Drain, Standing::Calm),
        ("c", Wish::Cancel, Standing::Draining),
    ] {
        let mut ui = Ui::default();
        assert_eq!(press_at(&mut ui, keys, about(standing)), Act::Nothing);
        assert_eq!(ui.mode, Mode::Confirm(wish.clone()));
        for other in ["n", "Enter", "d", "q", "Tab"] {
            let mut ui = ui.clone();
            assert_eq!(press(&mut ui, other), Act::Nothing, "{other}");
            assert_eq!(ui.mode, Mode::Look);
        }
        assert_eq!(press(&mut ui, "y"), Act::Ask(wish));
        assert_eq!(ui.mode, Mode::Look);
    }
}

#[test]
fn more_time_is_typed_checked_and_confirmed() {
    let mut ui = Ui::default();
    let press = |ui: &mut Ui, keys: &str| press_at(ui, keys, about(Standing::Draining));
    let extend = |by: &str| Act::Ask(Wish::Extend(by.to_owned()));
    assert_eq!(press(&mut ui, "e Enter y"), extend("30s"));
    assert_eq!(press(&mut ui, "e Back Enter"), Act::Nothing);
    assert_eq!(ui.mode, Mode::Extend("30".into()));
    assert!(ui.wrong.is_some(), "a time needs its unit");
    assert_eq!(press(&mut ui, "m Enter y"), extend("30m"));
    press(&mut ui, "e Esc");
    assert_eq!(ui.mode, Mode::Look);
}

#[test]
fn what_cannot_be_is_not_asked_for() {
    for (standing, keys) in [
        (Standing::Calm, "ces"),
        (Standing::Draining, "ds"),
        (Standing::Over, "dces"),
        (Standing::Gone, "dces"),
    ] {
        for key in keys.chars() {
            let mut ui = Ui::default();
            press_at(&mut ui, &key.to_string(), about(standing));
            assert_eq!(ui.mode, Mode::Look, "{standing:?} {key}");
            assert!(ui.wrong.is_some(), "{standing:?} {key}");
        }
    }
}

#[test]
fn a_server_is_chosen_and_drained_or_taken_back() {
    let server = |name: &str, out| Choice {
        name: ServerName {
            upstream: "site".to_owned(),
            server: name.to_owned(),
        },
        out,
    };
    let servers = [server("a", false), server("b", true), server("c", false)];
    let about = About {
        servers: &servers,
        ..about(Standing::Calm)
    };
    let name = |at: usize| servers[at].name.clone();
    for (keys, act) in [
        ("s Enter y", Act::Ask(Wish::DrainServer(name(0)))),
        ("s Down Enter y", Act::Ask(Wish::TakeBackServer(name(1)))),
        ("s End Down Enter y", Act::Ask(Wish::DrainServer(name(2)))),
        ("s Down Up Up Enter y", Act::Ask(Wish::DrainServer(name(0)))),
        ("s Enter n", Act::Nothing),
        ("s Esc y", Act::Nothing),
        ("s y", Act::Nothing),
    ] {
        let mut ui = Ui::default();
        assert_eq!(press_at(&mut ui, keys, about), act, "{keys}");
    }
    let mut ui = Ui::default();
    press_at(&mut ui, "s End", about);
    let fewer = About {
        servers: &servers[..1],
        ..about
    };
    let act = press_at(&mut ui, "Enter y", fewer);
    assert_eq!(act, Act::Ask(Wish::DrainServer(name(0))), "two have gone");
}

#[test]
fn it_is_left_by_q_and_by_ctrl_c_whatever_is_typed() {
    let ctrl = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
    let mut ui = Ui::default();
    assert_eq!(press(&mut ui, "q"), Act::Quit);
    assert_eq!(press(&mut ui, "/ q"), Act::Nothing);
    for before in ["", "c", "e"] {
        let mut ui = Ui::default();
        press_at(&mut ui, before, about(Standing::Draining));
        assert_eq!(ui.press(ctrl('c'), about(Standing::Calm)), Act::Quit);
    }
    assert_eq!(ui.press(ctrl('z'), about(Standing::Calm)), Act::Suspend);
    assert_eq!(ui.press(ctrl('l'), about(Standing::Calm)), Act::Redraw);
}

#[test]
fn a_filter_is_typed_kept_and_dropped() {
    let mut ui = Ui::default();
    press(&mut ui, "/ W e b x Back Enter");
    assert_eq!((ui.filter.as_str(), &ui.mode), ("web", &Mode::Look));
    press(&mut ui, "Esc");
    assert_eq!(ui.filter, "");
    press(&mut ui, "/ a Esc");
    assert_eq!((ui.filter.as_str(), &ui.mode), ("", &Mode::Look));
}

#[test]
fn the_list_is_sorted_and_turned_about() {
    let mut ui = Ui::default();
    press(&mut ui, "b");
    assert_eq!(ui.sort, Sort::default(), "only where it is seen");
    press(&mut ui, "Tab b");
    assert_eq!(
        ui.sort,
        Sort {
            by: By::Bytes,
            reverse: false
        }
    );
    press(&mut ui, "b");
    assert_eq!(
        ui.sort,
        Sort {
            by: By::Bytes,
            reverse: true
        }
    );
    press(&mut ui, "l");
    assert_eq!(
        ui.sort,
        Sort {
            by: By::Listener,
            reverse: false
        }
    );
}

#[test]
fn the_list_scrolls_no_further_than_its_end() {
    let mut ui = Ui::default();
    press(&mut ui, "Tab Down Down");
    assert_eq!(ui.first, 2);
    press(&mut ui, "PageDown PageDown");
    assert_eq!(ui.first, 15);
    press(&mut ui, "Home Up");
    assert_eq!(ui.first, 0);
    press(&mut ui, "End Down");
    assert_eq!(ui.first, 15);
}

#[test]
fn it_pauses_and_helps() {
    let mut ui = Ui::default();
    press(&mut ui, "p");
    assert!(ui.paused);
    press(&mut ui, "p ?");
    assert_eq!((ui.paused, &ui.mode), (false, &Mode::Help));
    assert_eq!(press(&mut ui, "d"), Act::Nothing);
    assert_eq!(ui.mode, Mode::Look);
}
