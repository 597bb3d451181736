//! Lengths of time as a definition writes them: `10m`, `1h30m`, `90s`, `500ms`, `2d`.

/// Units with their milliseconds, the longest first.
const UNITS: [(&str, i64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// What is expected where a length of time is.
pub(super) const EXPECTED: &str = "a length of time such as `10m`, `1h30m`, `500ms` or `2d`";

/// Reads a length of time, in milliseconds; each unit once, the longer ones first.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let (mut rest, mut total, mut units) = (text.trim(), 0i64, &UNITS[..]);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number = rest[..digits].parse::<i64>().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let at = units.iter().position(|(unit, _)| *unit == &rest[..letters])?;
        total = total.checked_add(number.checked_mul(units[at].1)?)?;
        units = &units[at + 1..];
        rest = &rest[letters..];
    }
    Some(total)
}

/// Writes a length of time of so many milliseconds.
#[must_use]
pub fn shown(ms: u64) -> String {
    let (mut rest, mut out) = (ms, String::new());
    for (unit, factor) in UNITS {
        let count = rest / factor.unsigned_abs();
        rest %= factor.unsigned_abs();
        if count > 0 {
            out.push_str(&format!("{count}{unit}"));
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_of_time_are_read() {
        let read = ["10m", "1h30m", "90s", "500ms", "2d", "1d2h3m4s5ms", " 0s "].map(parse);
        let wanted = [600_000, 5_400_000, 90_000, 500, 172_800_000, 93_784_005, 0];
        assert_eq!(read, wanted.map(Some));
        for bad in ["", "5", "m", "1.5h", "-1s", "1m2h", "1m1m", "5 m", "5w", "9999999999999999d"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(ms in 0..i64::MAX) {
            prop_assert_eq!(parse(&shown(ms.unsigned_abs())), Some(ms));
        }
    }
}
