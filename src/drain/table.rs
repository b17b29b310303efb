//! Plain text in aligned columns, for receipts.
//!
//! Invariant: no line ends in blanks, so that a table can be kept in a text
//! file and compared.
//!
//! Deliberately absent: colour, borders, and wrapping. What does not fit the
//! terminal is the terminal's to wrap.

use std::fmt;

/// The side on which a column is flush.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Side {
    Left,
    Right,
}

/// A header and rows of as many cells.
#[derive(Debug)]
pub(super) struct Table {
    sides: Vec<Side>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<const N: usize>(header: [(&str, Side); N]) -> Self {
        Self {
            sides: header.iter().map(|(_, side)| *side).collect(),
            rows: vec![header.iter().map(|(name, _)| (*name).to_owned()).collect()],
        }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.sides.len());
        self.rows.push(cells.into());
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.sides.len())
            .map(|column| self.width(column))
            .collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&self.sides);
            let padded = cells.map(|((cell, width), side)| match side {
                Side::Left => format!("{cell:<width$}"),
                Side::Right => format!("{cell:>width$}"),
            });
            let line = padded.collect::<Vec<_>>().join("  ");
            writeln!(f, "{}", line.trim_end())?;
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
}
