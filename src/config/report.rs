//! What is wrong with a configuration, drawn on its text.
//!
//! Purpose: an operator sees everything that is wrong at once, each problem
//! with file, line and column, the line itself, and how to mend it.
//!
//! Invariant: a step that could not produce its value has said why. Failing
//! steps return [`Reported`], and only [`Problems::push`] makes one, so a
//! failure without a message does not compile.
//!
//! Deliberately absent: warnings. A file is good or it is refused; what
//! nobody has to act on is not printed.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A byte range of the file's text.
pub(super) type Span = Range<usize>;

/// Proof that a [`Problem`] was recorded for what could not be produced.
#[derive(Copy, Clone, Debug)]
pub(super) struct Reported(());

/// What is wrong with a value and how to mend it, before it is known where
/// the value stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) help: String,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            help: help.into(),
        }
    }

    /// This fault in the value at `span`.
    pub(super) fn at(self, span: &Span) -> Problem {
        Problem::at(span, self.what).help(self.help)
    }
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    message: String,
    span: Option<Span>,
    label: String,
    also: Option<(Span, String)>,
    help: Option<String>,
}

impl Problem {
    /// A problem of the whole file.
    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            span: None,
            label: String::new(),
            also: None,
            help: None,
        }
    }

    /// A problem of the text at `span`.
    pub(super) fn at(span: &Span, message: impl Into<String>) -> Self {
        Self {
            span: Some(span.clone()),
            ..Self::whole(message)
        }
    }

    /// Says at the underlined text what it is.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Points at a second place that the first one disagrees with.
    pub(super) fn also(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.also = Some((span.clone(), label.into()));
        self
    }

    /// Says how to mend it.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What is wrong, in one sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How to mend it, if there is a way to say that.
    #[must_use]
    pub fn help_text(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The byte range of the text that is wrong; `None` for the whole file. Of a
    /// problem in a report it lies in that report's text and cuts no character.
    #[must_use]
    pub fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    fn group<'a>(&'a self, path: &'a str, text: &'a str) -> Group<'a> {
        let title = Level::ERROR.primary_title(self.message.as_str());
        let mut group = match &self.span {
            None => title.element(Origin::path(path)),
            Some(span) => {
                let mut primary = AnnotationKind::Primary.span(span.clone());
                if !self.label.is_empty() {
                    primary = primary.label(self.label.as_str());
                }
                let mut snippet = Snippet::source(text).path(path).annotation(primary);
                if let Some((span, label)) = &self.also {
                    let context = AnnotationKind::Context.span(span.clone());
                    snippet = snippet.annotation(context.label(label.as_str()));
                }
                title.element(snippet)
            }
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        group
    }
}

/// The nearest range to `span` that lies in `text` and cuts no character: a
/// parser may point past the end, or into a character that it stumbled over.
fn within(text: &str, span: &Span) -> Span {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

/// The problems found so far. Shared by every step that reads or checks one
/// file, on one thread.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    /// Records `problem`; the answer is what the failing step returns.
    pub(super) fn push(&self, problem: Problem) -> Reported {
        self.0.borrow_mut().push(problem);
        Reported(())
    }

    /// Whether nothing is wrong so far.
    pub(super) fn none(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The report, in the order of the text.
    pub(super) fn report(self, source: &Path, text: &str) -> Report {
        let mut problems = self.0.into_inner();
        for problem in &mut problems {
            let also = problem.also.as_mut().map(|(span, _)| span);
            for span in problem.span.iter_mut().chain(also) {
                *span = within(text, span);
            }
        }
        problems.sort_by_key(|problem| problem.span.as_ref().map(|span| (span.start, span.end)));
        Report {
            source: source.to_owned(),
            text: text.to_owned(),
            problems,
        }
    }
}

/// Everything that is wrong with one configuration file; never empty.
///
/// `Display` draws it without colour, each problem on the text that is wrong.
#[derive(Clone, Debug)]
pub struct Report {
    source: PathBuf,
    text: String,
    problems: Vec<Problem>,
}

impl Report {
    /// A report of the one `problem`.
    pub(super) fn of(source: &Path, text: &str, problem: Problem) -> Self {
        let problems = Problems::default();
        problems.push(problem);
        problems.report(source, text)
    }

    /// The number of problems; at least one.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a report without a problem does not exist"
    )]
    pub fn len(&self) -> usize {
        self.problems.len()
    }

    /// The problems, in the order of the text.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.problems.iter()
    }

    /// The file that the report is about.
    #[must_use]
    pub fn source_path(&self) -> &Path {
        &self.source
    }

    /// Every problem on a line of its own: where it is (`file:line`), what is wrong,
    /// and how to mend it.
    #[must_use]
    pub fn in_lines(&self) -> Vec<String> {
        let path = self.source.display();
        let line = |problem: &Problem| {
            let place = problem.span.as_ref().map_or_else(String::new, |span| {
                let before = self.text.bytes().take(span.start);
                format!(":{}", before.filter(|byte| *byte == b'\n').count() + 1)
            });
            let help = problem.help.as_deref();
            let help = help.map_or_else(String::new, |help| format!("; {help}"));
            format!("{path}{place}: {}{help}", problem.message)
        };
        self.problems.iter().map(line).collect()
    }

    /// Every problem drawn on the text, then their number; `color` adds ANSI
    /// colour. Ends without a line feed.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let path = self.source.display().to_string();
        let mut drawn = String::new();
        for problem in &self.problems {
            drawn.push_str(&renderer.render(&[problem.group(&path, &self.text)]));
            drawn.push_str("\n\n");
        }
        let count = match self.problems.len() {
            1 => "1 problem".to_owned(),
            many => format!("{many} problems"),
        };
        drawn + &format!("{path}: {count}")
    }
}

impl<'a> IntoIterator for &'a Report {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

/// `text` as it is shown inside a message: on one line, not too long.
pub(super) fn quote(text: &str) -> String {
    const SHOWN: usize = 60;
    if text.is_empty() {
        return "`\"\"`".into();
    }
    let mut shown: String = text.chars().take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    format!(
        "`{}`",
        shown
            .escape_debug()
            .to_string()
            .replace("\\\"", "\"")
            .replace("\\'", "'")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(text: &str, span: Span) -> String {
        let problem = Problem::at(&span, "it is wrong")
            .label("this")
            .help("mend it");
        Report::of(Path::new("a.toml"), text, problem).to_string()
    }

    #[test]
    fn a_problem_is_drawn_on_its_line() {
        let drawn = draw("a = 1\nbb = 22\n", 11..13);
        assert!(
            drawn.starts_with("error: it is wrong\n --> a.toml:2:6\n"),
            "{drawn}"
        );
        assert!(drawn.contains("2 | bb = 22\n  |      ^^ this\n"), "{drawn}");
        assert!(drawn.contains("= help: mend it"), "{drawn}");
    }

    #[test]
    fn no_span_is_too_odd_to_draw() {
        let text = "é = 'ü'\n\t\u{7f}\r\n";
        for start in 0..text.len() + 3 {
            for end in 0..text.len() + 3 {
                let drawn = draw(text, start..end);
                assert!(drawn.contains("it is wrong"), "{start}..{end}: {drawn}");
            }
        }
        assert!(draw("", 0..0).contains("a.toml"));
    }

    #[test]
    fn the_span_of_a_problem_lies_in_the_text() {
        let text = "é = 1";
        for (found, shown) in [(1..2, 0..2), (4..9, 4..6), (9..12, 6..6)] {
            let problem = Problem::at(&found, "it is wrong").also(&found, "and here");
            let report = Report::of(Path::new("a.toml"), text, problem);
            let spans: Vec<_> = report.iter().map(Problem::span).collect();
            assert_eq!(spans, [Some(shown)], "{found:?}");
        }
    }

    #[test]
    fn problems_come_in_the_order_of_the_text() {
        let problems = Problems::default();
        problems.push(Problem::at(&(4..5), "third"));
        problems.push(Problem::at(&(0..1), "second"));
        problems.push(Problem::whole("first"));
        let report = problems.report(Path::new("a.toml"), "a = 1");
        let order: Vec<_> = report.iter().map(Problem::message).collect();
        assert_eq!(order, ["first", "second", "third"]);
        assert!(report.to_string().ends_with("a.toml: 3 problems"));
    }

    #[test]
    fn colour_is_only_there_when_asked_for() {
        let report = Report::of(Path::new("a.toml"), "a = 1", Problem::at(&(0..1), "wrong"));
        assert!(report.render(true).contains('\u{1b}'));
        assert!(!report.render(false).contains('\u{1b}'));
    }

    #[test]
    fn quoted_text_stays_on_one_short_line() {
        assert_eq!(quote("a\nb"), "`a\\nb`");
        assert_eq!(quote(""), "`\"\"`");
        assert_eq!(quote("it's \"so\""), "`it's \"so\"`");
        assert_eq!(quote(&"x".repeat(100)).chars().count(), 63);
    }
}
