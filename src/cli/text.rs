//! Values as people read them: aligned columns, spans of time, amounts.
//!
//! Invariant: no line ends in blanks. Absent: wrapping and colour; `--json`
//! is for programs.

use std::fmt;
use std::time::Duration;

/// The side on which a column is flush.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Flush {
    Left,
    Right,
}

/// Rows of cells in aligned columns, one line each. A row may be shorter than
/// the columns are many; what is beyond them is flush left.
pub(super) fn columns(flush: &[Flush], rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let padded = cells.map(|(column, (cell, width))| match flush.get(column) {
            Some(Flush::Right) => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        let line = padded.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A span of time to about three digits: `250ms`, `1.5s`, `3m12s`, `2h05m`.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{}ms", time.as_millis()),
        1..60 => {
            let tenths = time.subsec_millis() / 100;
            let fraction = if tenths == 0 {
                String::new()
            } else {
                format!(".{tenths}")
            };
            format!("{seconds}{fraction}s")
        }
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// The same from whole milliseconds.
pub(super) fn span_ms(millis: u64) -> String {
    span(Duration::from_millis(millis))
}

/// Bytes to about three digits: `999B`, `64.0KiB`.
pub(super) fn bytes(amount: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if amount < 1_024 {
        return format!("{amount}B");
    }
    let mut tenths = u128::from(amount) * 10 / 1_024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1_024;
        unit += 1;
    }
    format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A value whose text can be fitted to a width, for a terminal of so many columns, if one is given.
pub(super) fn fitted(value: &impl fmt::Display, width: Option<usize>) -> String {
    match width {
        Some(width) => format!("{value:width$}"),
        None => value.to_string(),
    }
}

/// `1 listener`, `2 listeners`.
pub(super) fn many(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let rows = [
            vec!["id".into(), "name".into(), "x".into()],
            vec!["10".into(), "a".into()],
        ];
        let text = columns(&[Flush::Right, Flush::Left], &rows);
        assert_eq!(text, "id  name  x\n10  a\n");
        assert_eq!(columns(&[], &[]), "");
    }

    #[test]
    fn times_and_amounts_are_short() {
        for (millis, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (1_550, "1.5s"),
            (192_000, "3m12s"),
            (7_500_000, "2h05m"),
            (90_000_000, "1d01h"),
        ] {
            assert_eq!(span_ms(millis), text);
        }
        for (amount, text) in [
            (0, "0B"),
            (1_023, "1023B"),
            (1_024, "1.0KiB"),
            (1_048_575, "1023.9KiB"),
            (1_048_576, "1.0MiB"),
            (u64::MAX, "16383.9PiB"),
        ] {
            assert_eq!(bytes(amount), text);
        }
        assert_eq!(many(1, "listener"), "1 listener");
        assert_eq!(many(0, "upstream"), "0 upstreams");
    }
}
