//! Values that are one word of a fixed list, such as `"round_robin"`.
//!
//! Purpose: one place says which words an option takes, so that the reader,
//! its error messages, the JSON Schema and the display of a value cannot
//! disagree.
//!
//! Invariant: every variant of a [`Word`] is in its list once.
//!
//! Deliberately absent: case folding and synonyms; there is one word per
//! concept.

use crate::drain::{Hopeless, LateRequests};

/// A type whose values are written as one word each.
pub trait Word: Copy + PartialEq + Sized + 'static {
    /// Every word and what it means, in the order in which help lists them.
    const WORDS: &'static [(&'static str, Self)];

    /// The value that `text` writes, if it is one of the words.
    #[must_use]
    fn from_word(text: &str) -> Option<Self> {
        let found = Self::WORDS.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value)
    }

    /// The word for this value.
    #[must_use]
    fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, value)| *value == self);
        found.map_or("", |(word, _)| word)
    }
}

impl Word for LateRequests {
    const WORDS: &'static [(&'static str, Self)] =
        &[("serve", Self::Serve), ("refuse", Self::Refuse)];
}

impl Word for Hopeless {
    const WORDS: &'static [(&'static str, Self)] = &[("wait", Self::Wait), ("end", Self::End)];
}
