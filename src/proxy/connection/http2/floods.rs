//! Frames that cost their sender nothing: how many of each kind are too many.
//!
//! SETTINGS and PING ask for an answer, PRIORITY, `WINDOW_UPDATE`, `RST_STREAM`
//! and what is unknown for a look (CVE-2019-9511 to 9517). Each has its place
//! beside requests and bodies, and the more of those there are, the more of it: a
//! client may open two windows for a frame of DATA, or for each [`STEP`] in it,
//! and measure at each. So of each kind there may be some in [`PERIOD`], and two
//! more for what each frame is [`worth`] that carries something, in either
//! direction (RFC 9113, section 10.5).
//!
//! Invariant: nobody is judged for what a busy connection explains. The clock
//! is read only once there were more frames than any kind may have.
//!
//! Deliberately absent: CONTINUATION, which the engine bounds by the size of a head
//! (and empty DATA at a hundred in a connection's life, whatever is said here); and
//! what a frame says.

use crate::drain::Timestamp;
use crate::proxy::registry::Limit;
use std::time::Duration;

/// For how long frames are added up.
const PERIOD: Duration = Duration::from_secs(10);

/// What a frame that is worth one explains of each kind.
const EXPLAINS: u32 = 2;

/// Bytes of a body after which the most eager of the common clients open their
/// windows.
const STEP: usize = 4096;

/// The kinds that are counted, the last of them for all others.
const KINDS: [Limit; 7] = [
    Limit::Resets,
    Limit::Settings,
    Limit::Pings,
    Limit::WindowUpdates,
    Limit::Priority,
    Limit::DataFrames,
    Limit::Frames,
];

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// What a frame counts that carries so many bytes: one, and one more for each
/// [`STEP`].
pub(super) fn worth(length: usize) -> u32 {
    u32::try_from(length / STEP).map_or(u32::MAX, |steps| steps.saturating_add(1))
}

/// What has come of each kind, and what explains it.
#[derive(Debug, Default)]
pub(super) struct Floods {
    counts: [u32; KINDS.len()],
    /// What frames that carry something were worth.
    useful: u32,
    total: u32,
    since: Timestamp,
}

impl Floods {
    /// A frame of this type has come, with so many bytes in it.
    pub(super) fn came(&mut self, kind: u8, length: usize) {
        self.total = self.total.saturating_add(1);
        let kind = match kind {
            HEADERS => return self.carried(worth(length)),
            DATA if length > 0 => return self.carried(worth(length)),
            CONTINUATION => return,
            3 => 0,
            4 => 1,
            6 => 2,
            8 => 3,
            2 => 4,
            // One may end a request, which explains it.
            DATA => 5,
            _ => 6,
        };
        self.counts[kind] = self.counts[kind].saturating_add(1);
    }

    /// Frames that carry something have come or gone, and were worth so much.
    pub(super) fn carried(&mut self, worth: u32) {
        self.useful = self.useful.saturating_add(worth);
    }

    /// The limit that was reached, if one was, where there may be `most` of
    /// each kind; 0 is any number.
    pub(super) fn over(&mut self, most: u32, now: impl FnOnce() -> Timestamp) -> Option<Limit> {
        if most == 0 || self.total <= most {
            return None;
        }
        let now = now();
        if now.saturating_since(self.since) >= PERIOD {
            *self = Self {
                since: now,
                ..Self::default()
            };
            return None;
        }
        let explained = most.saturating_add(self.useful.saturating_mul(EXPLAINS));
        let at = self.counts.iter().position(|count| *count > explained)?;
        Some(KINDS[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 100;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(millis))
    }

    /// The first of these frames, one a millisecond after the first ten
    /// seconds, that is too many, and what it is too many of.
    fn first(frames: impl IntoIterator<Item = (u8, usize)>) -> Option<(usize, Limit)> {
        let mut floods = Floods {
            since: at(10_000),
            ..Floods::default()
        };
        frames
            .into_iter()
            .enumerate()
            .find_map(|(index, (kind, length))| {
                floods.came(kind, length);
                let limit = floods.over(MOST, || at(10_000 + index as u64));
                limit.map(|limit| (index, limit))
            })
    }

    #[test]
    fn each_kind_is_told_by_its_name() {
        for (kind, limit) in [
            (2, Limit::Priority),
            (3, Limit::Resets),
            (4, Limit::Settings),
            (6, Limit::Pings),
            (7, Limit::Frames),
            (8, Limit::WindowUpdates),
            (0x10, Limit::Frames),
            (DATA, Limit::DataFrames),
        ] {
            let length = if kind == DATA { 0 } else { 8 };
            let flood = std::iter::repeat_n((kind, length), 1_000);
            assert_eq!(first(flood), Some((MOST as usize, limit)), "type {kind}");
        }
    }

    #[test]
    fn what_carries_something_explains_two_of_each_kind() {
        let busy = [(DATA, 9), (8, 4), (8, 4), (6, 8), (2, 5)];
        assert_eq!(first(busy.repeat(1_000)), None);
        let restless = [(HEADERS, 9), (3, 4)];
        assert_eq!(first(restless.repeat(1_000)), None, "another limit's");
        let idle = [(DATA, 0), (8, 4)];
        let found = first(idle.repeat(1_000));
        assert_eq!(found, Some((200, Limit::DataFrames)));
        let ended = [(HEADERS, 9), (DATA, 0)];
        assert_eq!(first(ended.repeat(1_000)), None);
        let flood = [(HEADERS, 9), (4, 0), (4, 0), (4, 0)];
        let found = first(flood.repeat(1_000));
        assert!(matches!(found, Some((_, Limit::Settings))), "{found:?}");
    }

    #[test]
    fn windows_may_be_opened_at_each_step_of_a_body() {
        let eager = [&[(DATA, 4 * STEP)][..], &[(8, 4); 8]].concat();
        assert_eq!(first(eager.repeat(1_000)), None);
        let mad = [&[(DATA, 4 * STEP)][..], &[(8, 4); 12]].concat();
        let found = first(mad.repeat(1_000));
        assert!(
            matches!(found, Some((_, Limit::WindowUpdates))),
            "{found:?}"
        );
    }

    #[test]
    fn time_forgives() {
        let mut floods = Floods::default();
        for second in 0..1_000 {
            for _ in 0..MOST / 11 {
                floods.came(6, 8);
                assert_eq!(floods.over(MOST, || at(second * 1_000)), None, "{second}");
            }
        }
    }

    #[test]
    fn what_was_explained_long_ago_explains_nothing_now() {
        let mut floods = Floods::default();
        floods.carried(1_000_000);
        let mut found = None;
        for sent in 0..1_000 {
            floods.came(6, 8);
            found = found.or(floods.over(MOST, || at(60_000)).map(|limit| (sent, limit)));
        }
        let (sent, limit) = found.expect("a flood");
        assert_eq!(limit, Limit::Pings);
        assert!(sent <= 2 * MOST + 1, "{sent}");
    }
}
