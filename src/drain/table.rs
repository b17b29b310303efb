//! Plain text in aligned columns, for receipts and lists.
//!
//! A table is as wide as its cells, unless it is to fit: then columns give way,
//! each as its place in the table says ([`Give`]).
//!
//! Invariant: no line ends in blanks, so that a table can be kept in a text
//! file and compared; what gave way is said, by an ellipsis where a cell was
//! shortened and by name where a column was left out.
//!
//! Deliberately absent: colour, borders, and wrapping.

use std::fmt;

/// The side on which a column is flush.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Side {
    Left,
    Right,
}

/// How a column makes room.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Give {
    /// Not at all.
    Never,
    /// Its cells are shortened, to no less than this.
    Shortened(usize),
    /// It is left out, the highest rank first.
    LeftOut(u8),
}

#[derive(Debug)]
struct Column {
    name: &'static str,
    side: Side,
    give: Give,
}

/// A header and rows of as many cells.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    within: Option<usize>,
}

/// Between two columns.
const GAP: &str = "  ";

impl Table {
    pub(crate) fn new<const N: usize>(header: [(&'static str, Side); N]) -> Self {
        let column = |(name, side)| Column {
            name,
            side,
            give: Give::Never,
        };
        Self {
            columns: header.into_iter().map(column).collect(),
            rows: Vec::new(),
            within: None,
        }
    }

    /// How the column of this name makes room.
    pub(crate) fn gives(mut self, name: &str, give: Give) -> Self {
        let column = self.columns.iter_mut().find(|column| column.name == name);
        debug_assert!(column.is_some(), "no column {name}");
        if let Some(column) = column {
            column.give = give;
        }
        self
    }

    /// Fit into so many columns of a terminal, if a number is given.
    pub(crate) fn within(mut self, width: Option<usize>) -> Self {
        self.within = width;
        self
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(cells.into());
    }

    /// As wide as its widest cell.
    fn natural(&self, at: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(at));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(self.columns[at].name.chars().count())
    }

    /// The columns that are shown, and how wide.
    fn layout(&self) -> Vec<(usize, usize)> {
        let mut shown: Vec<(usize, usize)> = (0..self.columns.len())
            .map(|at| (at, self.natural(at)))
            .collect();
        let Some(room) = self.within else {
            return shown;
        };
        let least = |&(at, width): &(usize, usize)| match self.columns[at].give {
            Give::Shortened(least) => width.min(least),
            Give::Never | Give::LeftOut(_) => width,
        };
        let rank = |&(at, _): &(usize, usize)| match self.columns[at].give {
            Give::LeftOut(rank) => Some(rank),
            Give::Never | Give::Shortened(_) => None,
        };
        while total(shown.iter().map(least)) > room {
            let ranked = shown.iter().enumerate();
            let ranked = ranked.filter_map(|(place, column)| Some((rank(column)?, place)));
            match ranked.max() {
                Some((_, place)) => shown.remove(place),
                None => break,
            };
        }
        // The widest of those that can is the first to become shorter.
        let mut over = total(shown.iter().map(|(_, width)| *width)).saturating_sub(room);
        while over > 0 {
            let can = shown.iter_mut().filter(|column| column.1 > least(column));
            match can.max_by_key(|column| column.1) {
                Some((_, width)) => *width -= 1,
                None => break,
            }
            over -= 1;
        }
        shown
    }

    fn line(&self, layout: &[(usize, usize)], cell: impl Fn(usize) -> String) -> String {
        let cells = layout.iter().map(|&(at, width)| {
            let cell = shorten(&cell(at), width);
            match self.columns[at].side {
                Side::Left => format!("{cell:<width$}"),
                Side::Right => format!("{cell:>width$}"),
            }
        });
        let line = cells.collect::<Vec<_>>().join(GAP);
        let line = line.trim_end();
        match self.within {
            Some(room) => shorten(line, room),
            None => line.to_owned(),
        }
    }
}

/// The width of a line of columns this wide.
fn total(widths: impl Iterator<Item = usize>) -> usize {
    let (count, sum) = widths.fold((0_usize, 0), |(count, sum), width| (count + 1, sum + width));
    sum + count.saturating_sub(1) * GAP.len()
}

/// No longer than `width` characters; what was longer ends in an ellipsis.
fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain(['\u{2026}']).take(width).collect()
}

/// The same in lines no longer than this, if that is given; broken at blanks.
pub(crate) fn wrap(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else {
        return text.to_owned();
    };
    let mut wrapped = String::new();
    let mut at = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if at > 0 && at + 1 + length > width {
            wrapped.push('\n');
            at = 0;
        } else if at > 0 {
            wrapped.push(' ');
            at += 1;
        }
        wrapped.push_str(word);
        at += length;
    }
    wrapped
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = self.layout();
        let header = |at: usize| self.columns[at].name.to_owned();
        writeln!(f, "{}", self.line(&layout, header))?;
        for row in &self.rows {
            let cell = |at: usize| row.get(at).cloned().unwrap_or_default();
            writeln!(f, "{}", self.line(&layout, cell))?;
        }
        let shown = |at: &usize| layout.iter().any(|(one, _)| one == at);
        let left_out = (0..self.columns.len()).filter(|at| !shown(at));
        let left_out: Vec<&str> = left_out.map(|at| self.columns[at].name).collect();
        if !left_out.is_empty() {
            writeln!(f, "(no room for: {})", left_out.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_end_clean() {
        let mut table = Table::new([("Name", Side::Left), ("n", Side::Right), ("", Side::Left)]);
        table.row(["a".into(), "12".into(), String::new()]);
        table.row(["longer".into(), "7".into(), "note".into()]);
        assert_eq!(
            table.to_string(),
            "Name     n\na       12\nlonger   7  note\n"
        );
    }

    #[test]
    fn prose_is_broken_at_blanks() {
        let text = "nothing was lost in it";
        assert_eq!(wrap(text, None), text);
        assert_eq!(wrap(text, Some(22)), text);
        assert_eq!(wrap(text, Some(11)), "nothing was\nlost in it");
        assert_eq!(wrap(text, Some(3)), "nothing\nwas\nlost\nin\nit");
    }

    fn three(within: usize) -> String {
        let header = [
            ("NAME", Side::Left),
            ("AGE", Side::Right),
            ("NOTE", Side::Left),
        ];
        let mut table = Table::new(header)
            .gives("AGE", Give::LeftOut(1))
            .gives("NOTE", Give::Shortened(6))
            .within(Some(within));
        table.row(["web".into(), "1m05s".into(), "a long remark".into()]);
        table.to_string()
    }

    #[test]
    fn what_has_no_room_is_shortened_then_left_out_and_says_so() {
        let whole = "NAME    AGE  NOTE\nweb   1m05s  a long remark\n";
        let shortened = "NAME    AGE  NOTE\nweb   1m05s  a lon\u{2026}\n";
        let left_out = "NAME  NOTE\nweb   a long rema\u{2026}\n(no room for: AGE)\n";
        let least = "NAME  NOTE\nweb   a lon\u{2026}\n(no room for: AGE)\n";
        let cut = "NAME \u{2026}\nweb  \u{2026}\n(no room for: AGE)\n";
        for (within, expected) in [
            (26, whole),
            (19, shortened),
            (18, left_out),
            (12, least),
            (6, cut),
        ] {
            assert_eq!(three(within), expected, "{within}");
        }
    }

    #[test]
    fn no_row_is_wider_than_there_is_room() {
        for within in 0..40 {
            let text = three(within);
            let rows = text.lines().filter(|line| !line.starts_with("(no room"));
            assert!(
                rows.map(|row| row.chars().count()).max() <= Some(within),
                "{text}"
            );
        }
    }
}
