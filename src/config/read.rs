//! Typed reading of the parsed TOML tree, with the place of every value.
//!
//! Purpose: the tools that `file` reads its tables with. A reader that meets
//! a wrong value records the problem and goes on, so that one pass finds them
//! all; a deserializer would end at the first.
//!
//! Invariant: a value that is not there to be used has been reported: an
//! [`At`] holds it or the proof ([`Reported`]). A key that nobody asked for
//! is reported when its table is read, so the keys that a table knows are
//! exactly those its reader asks for.
//!
//! Deliberately absent: what values mean to each other (see `check`).

use super::report::{Fault, Problem, Problems, Reported, Span, quote};
use super::units::{parse_size, parse_time};
use super::words::Word;
use std::cell::RefCell;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// A value and its place; or, if it could not be read, the proof that this
/// was reported.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) span: Span,
    pub(super) value: Result<T, Reported>,
}

impl<T> At<T> {
    /// The value, if it could be read.
    pub(super) fn get(&self) -> Result<&T, Reported> {
        self.value.as_ref().map_err(|reported| *reported)
    }
}

/// The value of an optional key, or `default` if it is not written.
pub(super) fn value_or<T>(key: Option<At<T>>, default: T) -> Result<T, Reported> {
    key.map_or(Ok(default), |key| key.value)
}

/// One value of the tree, and what it is called in messages.
#[derive(Copy, Clone)]
pub(super) struct Node<'t> {
    value: &'t Spanned<DeValue<'t>>,
    name: &'t str,
    /// A good line, if the reader has given one.
    example: Option<&'t str>,
    problems: &'t Problems,
}

impl<'t> Node<'t> {
    fn kind(&self) -> &'static str {
        match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }

    /// Reports that this is not `wanted`.
    fn wrong_type(&self, wanted: &str, example: &str) -> Reported {
        let message = format!("`{}` must be {wanted}, not {}", self.name, self.kind());
        let problem = Problem::at(&self.value.span(), message).label(self.kind());
        let help = match self.example {
            Some(line) => format!("for example `{line}`"),
            None => format!("for example {example}"),
        };
        self.problems.push(problem.help(help))
    }

    fn fault(&self, fault: Fault) -> Reported {
        self.problems.push(fault.at(&self.value.span()))
    }

    /// Reads this as a `T`, and keeps its place.
    pub(super) fn read<T: Read>(self) -> At<T> {
        At {
            span: self.value.span(),
            value: T::read(self),
        }
    }

    /// Reads this as the entry of a table whose entries have names.
    fn named<T: Read>(self) -> At<T> {
        let Some(named) = T::NAMED.filter(|_| !self.value.get_ref().is_table()) else {
            return self.read();
        };
        let message = format!(
            "`{}` must be a table `{named}`, not {}",
            self.name,
            self.kind()
        );
        let problem = Problem::at(&self.value.span(), message).label(self.kind());
        let help = format!("begin the table with a name of your choice: `{named}`");
        At {
            span: self.value.span(),
            value: Err(self.problems.push(problem.help(help))),
        }
    }

    /// Reads this as a table with the keys that `keys` asks for; any other
    /// key is reported as unknown to `what`.
    pub(super) fn table<T>(
        self,
        what: &str,
        keys: impl FnOnce(&Table<'t>) -> T,
    ) -> Result<T, Reported> {
        let DeValue::Table(entries) = self.value.get_ref() else {
            return Err(self.wrong_type("a table", &format!("`{} = {{ ... }}`", self.name)));
        };
        Ok(Table::read(
            entries,
            self.value.span(),
            what,
            self.problems,
            keys,
        ))
    }

    /// The boolean that this is; else it is reported as not `wanted`.
    pub(super) fn boolean(self, wanted: &str, example: &str) -> Result<bool, Reported> {
        let wrong = || self.wrong_type(wanted, example);
        self.value.get_ref().as_bool().ok_or_else(wrong)
    }

    /// The string that this is, if it is one.
    pub(super) fn as_str(&self) -> Option<&'t str> {
        self.value.get_ref().as_str()
    }

    /// Whether this is an array.
    pub(super) fn is_array(&self) -> bool {
        self.value.get_ref().is_array()
    }

    /// Whether this is a table.
    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }
}

/// A type that can be read from a value of the tree.
pub(super) trait Read: Sized {
    /// How a table of this type is named in the file, if each has a name.
    const NAMED: Option<&'static str> = None;

    /// Reads `node`, or reports what is wrong with it.
    fn read(node: Node<'_>) -> Result<Self, Reported>;
}

/// A table that is being read.
pub(super) struct Table<'t> {
    entries: &'t DeTable<'t>,
    span: Span,
    what: String,
    problems: &'t Problems,
    asked: RefCell<Vec<&'static str>>,
}

impl<'t> Table<'t> {
    /// Reads `entries` with `keys`, then reports the keys it did not ask for.
    pub(super) fn read<T>(
        entries: &'t DeTable<'t>,
        span: Span,
        what: &str,
        problems: &'t Problems,
        keys: impl FnOnce(&Self) -> T,
    ) -> T {
        let table = Self {
            entries,
            span,
            what: what.to_owned(),
            problems,
            asked: RefCell::default(),
        };
        let value = keys(&table);
        table.report_unknown();
        value
    }

    /// An optional key.
    pub(super) fn key<T: Read>(&self, key: &'static str) -> Option<At<T>> {
        self.read_key(key, None)
    }

    /// A key that must be there; `example` is a good line of it.
    pub(super) fn required<T: Read>(&self, key: &'static str, example: &'static str) -> At<T> {
        self.read_key(key, Some(example)).unwrap_or_else(|| {
            let message = format!("{} needs `{key}`", self.what);
            let problem = Problem::at(&self.span, message).label(format!("`{key}` is missing"));
            At {
                span: self.span.clone(),
                value: Err(self.problems.push(problem.help(format!("add `{example}`")))),
            }
        })
    }

    fn read_key<T: Read>(&self, key: &'static str, example: Option<&'static str>) -> Option<At<T>> {
        self.asked.borrow_mut().push(key);
        let (name, value) = self.entries.get_key_value(key)?;
        let node = Node {
            value,
            name: name.get_ref(),
            example,
            problems: self.problems,
        };
        Some(node.read())
    }

    fn report_unknown(&self) {
        let asked = self.asked.borrow();
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            if asked.contains(&name) {
                continue;
            }
            let message = format!("unknown key {} in {}", quote(name), self.what);
            let help = match nearest(name, &asked) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys are {}", listed(&asked)),
            };
            let problem = Problem::at(&key.span(), message).label("unknown");
            self.problems.push(problem.help(help));
        }
    }
}

/// The word that `text` was probably meant to be.
pub(super) fn nearest<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    let folded = text.to_ascii_lowercase().replace('-', "_");
    let rate = |word: &str| strsim::jaro_winkler(&folded, word);
    let best = words.iter().max_by(|a, b| rate(a).total_cmp(&rate(b)))?;
    (rate(best) > 0.8).then_some(*best)
}

/// `words` as a list for people.
pub(super) fn listed(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

impl Read for String {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        let wrong = || node.wrong_type("a string", &format!("`{} = \"...\"`", node.name));
        node.as_str().map(str::to_owned).ok_or_else(wrong)
    }
}

impl Read for bool {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.boolean("a boolean", &format!("`{} = true`", node.name))
    }
}

impl Read for u64 {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        let DeValue::Integer(integer) = node.value.get_ref() else {
            return Err(node.wrong_type("an integer", &format!("`{} = 1`", node.name)));
        };
        Self::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| {
            let what = format!("`{}` cannot be {}", node.name, integer.as_str());
            node.fault(Fault::new(
                what,
                "write a whole number that is not negative",
            ))
        })
    }
}

/// A number that need not be whole.
impl Read for f64 {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        let text = match node.value.get_ref() {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            DeValue::Float(float) => float.as_str(),
            _ => return Err(node.wrong_type("a number", &format!("`{} = 0.01`", node.name))),
        };
        // What TOML takes for a number and Rust does not.
        text.parse().map_err(|_| {
            let what = format!("`{}` cannot be {text}", node.name);
            node.fault(Fault::new(what, "write a number, e.g. `0.01`"))
        })
    }
}

impl<T: Read> Read for Vec<At<T>> {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        let DeValue::Array(items) = node.value.get_ref() else {
            let item = if node.value.get_ref().is_table() {
                "{ ... }"
            } else {
                "\"...\""
            };
            return Err(node.wrong_type("an array", &format!("`{} = [{item}]`", node.name)));
        };
        Ok(items
            .iter()
            .map(|value| Node { value, ..node }.read())
            .collect())
    }
}

/// A duration, e.g. `"30s"`.
#[derive(Copy, Clone, Debug)]
pub(super) struct Time(pub(super) Duration);

impl Read for Time {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        if let DeValue::Integer(integer) = node.value.get_ref() {
            let example = format!("`{} = \"{}s\"`", node.name, integer.as_str());
            return Err(node.wrong_type("a string with a unit", &example));
        }
        let example = || format!("`{} = \"30s\"`", node.name);
        let text = node
            .as_str()
            .ok_or_else(|| node.wrong_type("a string", &example()))?;
        parse_time(text)
            .map(Self)
            .map_err(|fault| node.fault(fault))
    }
}

/// A share, e.g. `"50%"`, in whole percent.
#[derive(Copy, Clone, Debug)]
pub(super) struct Percent(pub(super) u32);

impl Read for Percent {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        let example = || format!("`{} = \"50%\"`", node.name);
        let text = node
            .as_str()
            .ok_or_else(|| node.wrong_type("a string", &example()))?;
        let number = text.strip_suffix('%').and_then(|text| text.parse().ok());
        let share = number.filter(|number| *number <= 100 && !text.starts_with('+'));
        share.map(Self).ok_or_else(|| {
            let what = format!("{} is not a share", quote(text));
            node.fault(Fault::new(
                what,
                "write whole percent, from `\"0%\"` to `\"100%\"`",
            ))
        })
    }
}

/// A size in bytes, e.g. `"64KiB"`.
#[derive(Copy, Clone, Debug)]
pub(super) struct Size(pub(super) u64);

impl Read for Size {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        match node.value.get_ref() {
            DeValue::Integer(_) => u64::read(node).map(Self),
            DeValue::String(text) => parse_size(text)
                .map(Self)
                .map_err(|fault| node.fault(fault)),
            _ => Err(node.wrong_type("a string", &format!("`{} = \"64KiB\"`", node.name))),
        }
    }
}

/// One word of a fixed list.
#[derive(Copy, Clone, Debug)]
pub(super) struct OneOf<T>(pub(super) T);

impl<T: Word> Read for OneOf<T> {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        let words: Vec<_> = T::WORDS.iter().map(|(word, _)| *word).collect();
        let example = || format!("`{} = \"{}\"`", node.name, words[0]);
        let text = node
            .as_str()
            .ok_or_else(|| node.wrong_type("a string", &example()))?;
        T::from_word(text).map(Self).ok_or_else(|| {
            let what = format!("`{}` cannot be {}", node.name, quote(text));
            let help = match nearest(text, &words) {
                Some(near) => format!(
                    "did you mean `\"{near}\"`? The values are {}",
                    listed(&words)
                ),
                None => format!("the values are {}", listed(&words)),
            };
            node.fault(Fault::new(what, help))
        })
    }
}

/// Entries under names of the operator's choice, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Named<T>(pub(super) Vec<(At<String>, At<T>)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Read> Read for Named<T> {
    fn read<'t>(node: Node<'t>) -> Result<Self, Reported> {
        let DeValue::Table(entries) = node.value.get_ref() else {
            return Err(node.wrong_type("a table", &format!("`[{}.NAME]`", node.name)));
        };
        let read = |(key, value): (&'t Spanned<DeString<'t>>, &'t Spanned<DeValue<'t>>)| {
            let name = At {
                span: key.span(),
                value: Ok(key.get_ref().to_string()),
            };
            let inner = Node {
                value,
                name: key.get_ref(),
                example: None,
                problems: node.problems,
            };
            (name, inner.named())
        };
        let mut named: Vec<_> = entries.iter().map(read).collect();
        // The parser keeps keys sorted; people expect the order they wrote.
        named.sort_by_key(|(name, _)| name.span.start);
        Ok(Self(named))
    }
}

/// One value, or an array of them.
#[derive(Clone, Debug)]
pub(super) struct OneOrMore<T>(pub(super) Vec<At<T>>);

impl<T: Read> Read for OneOrMore<T> {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        if node.is_array() {
            return Vec::read(node).map(Self);
        }
        Ok(Self(vec![node.read()]))
    }
}

/// A switch, or a table that says how it is on.
#[derive(Clone, Debug)]
pub(super) enum SwitchOr<T> {
    Switch(bool),
    With(T),
}

impl<T: Read> Read for SwitchOr<T> {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        if node.is_table() {
            return T::read(node).map(Self::With);
        }
        let wrong = || node.wrong_type("a boolean or a table", &format!("`{} = true`", node.name));
        let switch = node.value.get_ref().as_bool().ok_or_else(wrong)?;
        Ok(Self::Switch(switch))
    }
}
