//! Schedules as people write them: `every 15m`, or the five fields of cron.
//!
//! Minute, hour, day, month, weekday; each `*`, a number, a range `8-17`, a list `0,30`, and any of
//! those with a step `*/5`. Months and weekdays may be names, and a Sunday is 0 or 7. As in cron,
//! one of day and weekday is enough where both are given.

use super::super::duration;
use holdfast_core::flow::schedule::{Calendar, Schedule};

/// A field of cron: what it is called, its least and greatest number, the names of numbers.
struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day", least: 1, most: 31, names: &[] },
    Field { name: "month", least: 1, most: 12, names: &MONTHS },
    Field { name: "weekday", least: 0, most: 7, names: &WEEKDAYS },
];
/// The days of each month; of February those of a leap year.
const DAYS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// What is expected where a schedule is.
pub(super) const EXPECTED: &str =
    "`every 15m`, or minute, hour, day, month and weekday as in `0 6 * * mon-fri`";

/// Reads a schedule.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(text: &str) -> Result<Schedule, String> {
    if let Some(length) = text.strip_prefix("every ") {
        let ms = duration::parse(length).filter(|ms| *ms > 0 && ms % 1_000 == 0);
        let seconds = ms.and_then(|ms| u32::try_from(ms / 1_000).ok());
        let seconds = seconds.ok_or_else(|| {
            format!("expected whole seconds behind `every`, such as `15m`, got `{length}`")
        })?;
        return Ok(Schedule::Every { seconds });
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let Ok(words) = <[&str; 5]>::try_from(words) else {
        return Err(format!("expected {EXPECTED}, got `{text}`"));
    };
    let mut sets = [0u64; 5];
    for ((set, word), field) in sets.iter_mut().zip(words).zip(&FIELDS) {
        *set = field.set(word)?;
    }
    let [minutes, hours, days, months, weekdays] = sets;
    let is_free = |word: &str| word.starts_with('*');
    let calendar = Calendar {
        minutes,
        hours: hours as u32,
        days: days as u32,
        months: months as u16,
        // A Sunday has two numbers.
        weekdays: (weekdays & 0x7f | weekdays >> 7) as u8,
        either: !is_free(words[2]) && !is_free(words[4]),
    };
    let comes = |(month, most): (usize, &u8)| {
        let last = 1u64 << most;
        months >> (month + 1) & 1 != 0 && days & (last | (last - 1)) != 0
    };
    if !calendar.either && !DAYS.iter().enumerate().any(comes) {
        return Err(format!("no month of `{}` has a day of `{}`", words[3], words[2]));
    }
    Ok(Schedule::At(calendar))
}

impl Field {
    fn set(&self, word: &str) -> Result<u64, String> {
        let mut set = 0;
        for part in word.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => {
                    let step = step.parse().ok().filter(|step| (1..=self.most).contains(step));
                    (range, step.ok_or_else(|| self.wrong(part))?)
                }
                None => (part, 1),
            };
            let (first, last) = match (range, range.split_once('-')) {
                ("*", _) => (self.least, if self.most == 7 { 6 } else { self.most }),
                (_, Some((first, last))) => (self.number(first, part)?, self.number(last, part)?),
                // `5/10` begins at 5 and goes on to the end.
                (one, None) if part.contains('/') => (self.number(one, part)?, self.most),
                (one, None) => (self.number(one, part)?, self.number(one, part)?),
            };
            if first > last {
                return Err(format!("the {} `{part}` ends before it begins", self.name));
            }
            (first..=last).step_by(usize::from(step)).for_each(|number| set |= 1u64 << number);
        }
        Ok(set)
    }

    fn number(&self, word: &str, part: &str) -> Result<u8, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(word));
        let named = named.map(|place| place as u8 + if self.least == 1 { 1 } else { 0 });
        let number = named.or_else(|| word.parse().ok());
        number
            .filter(|number| (self.least..=self.most).contains(number))
            .ok_or_else(|| self.wrong(part))
    }

    fn wrong(&self, part: &str) -> String {
        let Self { name, least, most, names } = self;
        let or = match names {
            [first, .., last] => format!(", or {first} to {last}"),
            _ => String::new(),
        };
        format!("`{part}` is no {name}: {least} to {most}{or}, `*`, ranges, lists, steps")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Calendar {
        match parse(text) {
            Ok(Schedule::At(calendar)) => calendar,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn schedules_are_read() {
        assert_eq!(parse("every 15m"), Ok(Schedule::Every { seconds: 900 }));
        assert_eq!(at("* * * * *"), Calendar::ALWAYS);
        let six = Calendar { minutes: 1, hours: 1 << 6, ..Calendar::ALWAYS };
        assert_eq!(at("0 6 * * *"), six);
        assert_eq!(at("0 6 * * mon-fri"), Calendar { weekdays: 0x3e, ..six });
        assert_eq!(at("0 6 * * 7"), Calendar { weekdays: 1, ..six });
        assert_eq!(at("0 6 * * 5-7"), Calendar { weekdays: 0x61, ..six });
        assert_eq!(at("0 6 1,15 * *"), Calendar { days: 1 << 1 | 1 << 15, ..six });
        assert_eq!(at("0 6 1 jan-Mar *"), Calendar { days: 2, months: 0xe, ..six });
        assert_eq!(at("*/20 6 * * *").minutes, 1 | 1 << 20 | 1 << 40);
        assert_eq!(at("5/25 6 * * *").minutes, 1 << 5 | 1 << 30 | 1 << 55);
        assert_eq!(at("10-20/5 6 * * *").minutes, 1 << 10 | 1 << 15 | 1 << 20);
        assert!(at("0 6 13 * fri").either);
        assert!(!at("0 6 */2 * fri").either);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, words) in [
            ("", "expected `every 15m`"),
            ("0 6 * *", "expected `every 15m`"),
            ("every 500ms", "expected whole seconds"),
            ("every hour", "expected whole seconds"),
            ("60 * * * *", "`60` is no minute: 0 to 59, `*`"),
            ("* * 0 * *", "`0` is no day: 1 to 31"),
            ("* * * foo *", "`foo` is no month: 1 to 12, or jan to dec"),
            ("* * * * 8", "`8` is no weekday"),
            ("*/0 * * * *", "`*/0` is no minute"),
            ("20-10 * * * *", "the minute `20-10` ends before it begins"),
            ("0 0 31 feb,apr *", "no month of `feb,apr` has a day of `31`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(parse("0 0 31 feb mon").is_ok());
    }
}
