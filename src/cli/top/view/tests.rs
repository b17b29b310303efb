//! Whole screens.

use super::super::keys::Wish;
use super::super::model::News;
use super::super::sample::{model, over, second, seen};
use super::*;
use crate::cli::args::ServerName;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

fn screen(model: &Model, ui: &Ui, seconds: u64, (width, height): (u16, u16)) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    let shown = Shown {
        model,
        ui,
        now: second(seconds),
        theme: Theme::Plain,
    };
    terminal
        .draw(|frame| draw(frame.buffer_mut(), shown_area(width, height), &shown))
        .expect("drawn");
    terminal.backend().clone()
}

const fn shown_area(width: u16, height: u16) -> Rect {
    Rect::new(0, 0, width, height)
}

const USUAL: (u16, u16) = (80, 24);

fn gone() -> News {
    News::Lost {
        at: second(2),
        why: "no proxy answers".to_owned(),
    }
}

#[test]
fn calm() {
    insta::assert_snapshot!(screen(&model(false), &Ui::default(), 0, USUAL));
}

#[test]
fn draining() {
    let mut model = model(false);
    model.hear(News::Seen(Box::new(seen(true))));
    insta::assert_snapshot!(screen(&model, &Ui::default(), 2, USUAL));
}

#[test]
fn finished_and_gone() {
    let mut model = model(true);
    model.hear(over(0));
    model.hear(gone());
    insta::assert_snapshot!(screen(&model, &Ui::default(), 60, USUAL));
}

#[test]
fn gone_without_a_receipt() {
    let mut model = model(true);
    model.hear(gone());
    insta::assert_snapshot!(screen(&model, &Ui::default(), 60, USUAL));
}

#[test]
fn connections() {
    let ui = Ui {
        page: Page::Connections,
        ..Ui::default()
    };
    insta::assert_snapshot!(screen(&model(false), &ui, 0, USUAL));
}

#[test]
fn tiny() {
    insta::assert_snapshot!(screen(&model(true), &Ui::default(), 0, (30, 4)));
}

#[test]
fn narrow() {
    insta::assert_snapshot!(screen(&model(true), &Ui::default(), 0, (60, 16)));
}

#[test]
fn nothing_is_said_by_colour_alone() {
    for draining in [false, true] {
        let (model, ui) = (model(draining), Ui::default());
        let shown = |theme| Shown {
            model: &model,
            ui: &ui,
            now: second(1),
            theme,
        };
        let area = shown_area(80, 24);
        let picture = |theme| {
            let mut buffer = Buffer::empty(area);
            draw(&mut buffer, area, &shown(theme));
            buffer
        };
        let (plain, coloured) = (picture(Theme::Plain), picture(Theme::Colours));
        let symbols = |buffer: &Buffer| -> Vec<String> {
            let cells = buffer.content.iter();
            cells.map(|cell| cell.symbol().to_owned()).collect()
        };
        assert_eq!(symbols(&plain), symbols(&coloured));
        assert_ne!(plain, coloured);
        let reset = ratatui::style::Color::Reset;
        assert!(
            plain
                .content
                .iter()
                .all(|cell| (cell.fg, cell.bg) == (reset, reset))
        );
    }
}

#[test]
fn every_size_can_be_drawn() {
    for width in 0..100 {
        for height in 0..40 {
            for page in [Page::Overview, Page::Connections] {
                let (model, ui) = (
                    model(true),
                    Ui {
                        page,
                        ..Ui::default()
                    },
                );
                let shown = Shown {
                    model: &model,
                    ui: &ui,
                    now: second(1),
                    theme: Theme::Colours,
                };
                let area = shown_area(width, height);
                draw(&mut Buffer::empty(area), area, &shown);
            }
        }
    }
}

#[test]
fn now_moves_through_the_stages() {
    let model = model(true);
    let mut last = 0;
    for seconds in 0..40 {
        let line = &timeline::lines(&model, second(seconds), 80, Theme::Plain)[0];
        let text: String = line
            .spans
            .iter()
            .map(|span| span.content.as_ref())
            .collect();
        let at = text.find('>').expect("it is somewhere");
        assert!(at >= last && at < 80, "{text}");
        last = at;
    }
    assert!(last > 70, "{last}");
}

fn asked(wish: Wish) -> Ui {
    Ui {
        mode: Mode::Confirm(wish),
        ..Ui::default()
    }
}

fn server(at: usize) -> ServerName {
    model(false).choices()[at].name.clone()
}

#[test]
fn question_of_a_drain() {
    insta::assert_snapshot!(screen(&model(false), &asked(Wish::Drain), 0, USUAL));
}

#[test]
fn question_of_a_server() {
    let wish = Wish::DrainServer(server(0));
    insta::assert_snapshot!(screen(&model(false), &asked(wish), 0, USUAL));
}

#[test]
fn choice_of_a_server() {
    let ui = Ui {
        mode: Mode::Server(1),
        ..Ui::default()
    };
    insta::assert_snapshot!(screen(&model(false), &ui, 0, USUAL));
}

#[test]
fn keys_and_words() {
    let ui = Ui {
        mode: Mode::Help,
        ..Ui::default()
    };
    insta::assert_snapshot!(screen(&model(false), &ui, 0, USUAL));
}

#[test]
fn wide() {
    let mut model = model(false);
    model.hear(News::Seen(Box::new(seen(true))));
    insta::assert_snapshot!(screen(&model, &Ui::default(), 2, (200, 60)));
}

#[test]
fn too_small() {
    insta::assert_snapshot!(screen(&model(true), &Ui::default(), 0, (40, 12)));
}

#[test]
fn questions_say_to_whom_it_happens_and_what_follows() {
    let model = model(true);
    for (wish, follows) in [
        (Wish::Drain, "listeners close"),
        (Wish::Cancel, "it is too late"),
        (Wish::Extend("30s".into()), "over in 48s at most, not 18s"),
        (Wish::DrainServer(server(0)), "NO OTHER SERVER OF site"),
        (Wish::TakeBackServer(server(2)), "10.0.2.11:5432"),
    ] {
        for size in [USUAL, (200, 60)] {
            let picture = screen(&model, &asked(wish.clone()), 0, size).to_string();
            assert!(
                picture.contains("process 4711 at 127.0.0.1:9900"),
                "{picture}"
            );
            assert!(picture.contains(follows), "{picture}");
        }
        let picture = screen(&model, &asked(wish), 0, (40, 12)).to_string();
        assert!(picture.contains("? y/n"), "{picture}");
    }
}

#[test]
fn what_came_of_a_key_stands_below() {
    let (mut model, mut ui) = (model(true), Ui::default());
    "db".clone_into(&mut ui.filter);
    let below = |model: &Model, ui: &Ui| ask::below(model, ui);
    assert!(below(&model, &ui).starts_with("ONLY WITH \"db\""));
    model.note = Some("30s more were given".to_owned());
    assert_eq!(below(&model, &ui), "30s more were given");
    ui.wrong = Some("a unit is missing".to_owned());
    assert_eq!(below(&model, &ui), "no: a unit is missing");
}

#[test]
fn a_process_that_is_slow_to_answer_is_said_to_be() {
    let mut model = model(false);
    model.hear(News::Looks { at: second(0) });
    let picture = screen(&model, &Ui::default(), 7, USUAL).to_string();
    assert!(
        picture.contains("no answer for 7s; last: ready"),
        "{picture}"
    );
}

#[test]
fn a_long_receipt_scrolls() {
    let mut model = model(true);
    model.hear(over(2));
    let about = about(
        shown_area(80, 16),
        &model,
        &Ui::default(),
        Standing::Over,
        &[],
    );
    assert!(about.length > about.rows, "{about:?}");
    let ui = Ui {
        first: about.length - about.rows,
        ..Ui::default()
    };
    let picture = screen(&model, &ui, 0, (80, 16)).to_string();
    assert!(!picture.contains("more"), "{picture}");
}
