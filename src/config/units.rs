//! Durations and sizes as people write them: `"1m30s"`, `"64KiB"`.
//!
//! Purpose: one grammar for each, with an answer for everything that is
//! almost right.
//!
//! Invariant: a duration is at most [`LONGEST`], so that adding a few of
//! them to a point in time never overflows; what is printed by [`show`] is
//! read back as the same duration.
//!
//! Deliberately absent: fractions (`"1.5s"` is `"1500ms"`), days, and decimal
//! sizes: `64KB` is either 64,000 or 65,536 bytes, depending on whom one asks.

use super::report::{Fault, quote};
use std::time::Duration;

/// The longest duration that a file may ask for: a year.
pub(super) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 4] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Reads a duration: whole numbers with the units `h`, `m`, `s` and `ms`,
/// each at most once, the larger first.
pub(super) fn parse_time(text: &str) -> Result<Duration, Fault> {
    let wrong = |help: String| Fault::new(format!("{} is not a duration", quote(text)), help);
    if text.is_empty() {
        return Err(wrong("write a number and a unit, e.g. `\"30s\"`".into()));
    }
    let mut rest = text;
    let mut total: u64 = 0;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let (number, unit, after) = split(rest);
        let Ok(number) = number.parse::<u64>() else {
            return Err(wrong(time_help(text)));
        };
        let Some((_, scale)) = TIME_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(wrong(time_help(text)));
        };
        if *scale >= smallest {
            let help = "write each unit once, the larger first, e.g. `\"1m30s\"`";
            return Err(wrong(help.into()));
        }
        smallest = *scale;
        total = total.saturating_add(number.saturating_mul(*scale));
        rest = after;
    }
    let time = Duration::from_millis(total);
    if time > LONGEST {
        let what = format!("{} is longer than a year", quote(text));
        return Err(Fault::new(
            what,
            format!("the longest duration is `\"{}\"`", show(LONGEST)),
        ));
    }
    Ok(time)
}

/// What was probably meant by something that is not quite a duration.
fn time_help(text: &str) -> String {
    let bare = text.trim();
    let (number, unit, rest) = split(bare);
    let meant = match unit {
        "" if number == bare => format!("{number}s"),
        "sec" | "secs" | "second" | "seconds" | "S" => format!("{number}s"),
        "min" | "mins" | "minute" | "minutes" | "M" => format!("{number}m"),
        "hr" | "hour" | "hours" | "H" => format!("{number}h"),
        "msec" | "millis" | "MS" => format!("{number}ms"),
        _ => String::new(),
    };
    if bare.contains('.') {
        return "fractions are written in a smaller unit: `\"1500ms\"`, not `\"1.5s\"`".into();
    }
    if rest.is_empty() && !number.is_empty() && parse_time(&meant).is_ok() {
        return format!("write `\"{meant}\"`; the units are ms, s, m and h");
    }
    "write whole numbers with the units ms, s, m and h, e.g. `\"250ms\"`, `\"5s\"`, `\"1m30s\"`"
        .into()
}

/// Splits `12abc34` into `12`, `abc` and `34`.
fn split(text: &str) -> (&str, &str, &str) {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let letters = rest
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, after) = rest.split_at(letters);
    (number, unit, after)
}

/// Reads a size in bytes: a whole number, alone or with `B`, `KiB`, `MiB` or
/// `GiB`.
pub(super) fn parse_size(text: &str) -> Result<u64, Fault> {
    let (number, unit, after) = split(text);
    let scale = match unit {
        "" => Some(1),
        unit => SIZE_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, scale)| *scale),
    };
    let value = number
        .parse::<u64>()
        .ok()
        .zip(scale)
        .filter(|_| after.is_empty());
    if let Some((number, scale)) = value {
        return number.checked_mul(scale).ok_or_else(|| {
            Fault::new(
                format!("{} is too large", quote(text)),
                "write a smaller size",
            )
        });
    }
    let meant = match unit.to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => "KiB",
        "m" | "mb" | "mib" => "MiB",
        "g" | "gb" | "gib" => "GiB",
        "b" | "byte" | "bytes" => "B",
        _ => "",
    };
    let help = if number.is_empty() || meant.is_empty() || !after.is_empty() {
        "write a whole number and KiB, MiB or GiB, e.g. `\"64KiB\"`, or bytes alone".into()
    } else {
        format!("write `\"{number}{meant}\"`; the units are B, KiB, MiB and GiB")
    };
    Err(Fault::new(format!("{} is not a size", quote(text)), help))
}

/// A duration as [`parse_time`] reads it; parts below a millisecond are lost.
pub(super) fn show(time: Duration) -> String {
    let mut rest = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (unit, scale) in TIME_UNITS {
        if rest >= scale {
            text.push_str(&(rest / scale).to_string());
            text.push_str(unit);
            rest %= scale;
        }
    }
    text
}

/// A size as [`parse_size`] reads it, in the largest unit that divides it.
pub(super) fn show_size(bytes: u64) -> String {
    let units = SIZE_UNITS.iter().rev();
    let mut fitting = units.filter(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale));
    let (unit, scale) = fitting.next().copied().unwrap_or(("B", 1));
    format!("{}{unit}", bytes / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        let cases = [
            ("0s", 0),
            ("250ms", 250),
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1h1m1s1ms", 3_661_001),
        ];
        for (text, millis) in cases {
            assert_eq!(
                parse_time(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
            assert_eq!(show(Duration::from_millis(millis)), text);
        }
        assert_eq!(parse_time("90s"), Ok(Duration::from_secs(90)));
    }

    #[test]
    fn what_is_almost_a_duration_is_answered() {
        let cases = [
            ("30", "write `\"30s\"`"),
            ("5 s", "whole numbers"),
            ("5sec", "write `\"5s\"`"),
            ("3min", "write `\"3m\"`"),
            ("1.5s", "fractions"),
            ("1s1m", "the larger first"),
            ("1s1s", "each unit once"),
            ("-5s", "whole numbers"),
            ("s", "whole numbers"),
            ("", "a number and a unit"),
            ("5d", "whole numbers"),
            ("99999999999999999999s", "whole numbers"),
            ("9999999999999999h", "longest duration is `\"8760h\"`"),
        ];
        for (text, help) in cases {
            let fault = parse_time(text).expect_err(text);
            assert!(fault.help.contains(help), "{text}: {fault:?}");
        }
    }

    #[test]
    fn sizes_are_read() {
        let cases = [
            ("0", 0),
            ("65536", 65_536),
            ("12B", 12),
            ("64KiB", 65_536),
            ("1MiB", 1 << 20),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_as_they_are_read() {
        for text in ["0B", "12B", "8KiB", "1500KiB", "16MiB", "2GiB"] {
            assert_eq!(parse_size(text).map(show_size).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_almost_a_size_is_answered() {
        let cases = [
            ("64KB", "write `\"64KiB\"`"),
            ("64k", "write `\"64KiB\"`"),
            ("1 MiB", "whole number"),
            ("", "whole number"),
            ("KiB", "whole number"),
            ("1MiB1", "whole number"),
            ("99999999999999999GiB", "smaller size"),
        ];
        for (text, help) in cases {
            let fault = parse_size(text).expect_err(text);
            assert!(fault.help.contains(help), "{text}: {fault:?}");
        }
    }
}
