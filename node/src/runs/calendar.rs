//! When a schedule comes next, by the clocks of a time zone.
//!
//! A minute that the clocks pass twice counts when they pass it first; one that they leave out is
//! taken as much later as they were set ahead.

use holdfast_core::flow::schedule::{Calendar, Schedule};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Days that are looked through: a 29th of February is at most eight years away, on a given weekday
/// forty.
const DAYS_MAX: usize = 41 * 366;

/// The first time of a schedule behind `after_ms`, Unix milliseconds.
#[must_use]
pub fn next_after(schedule: &Schedule, zone: &TimeZone, after_ms: i64) -> Option<i64> {
    match schedule {
        Schedule::Every { seconds } => {
            let step = i64::from(*seconds) * 1_000;
            (after_ms.div_euclid(step) + 1).checked_mul(step)
        }
        Schedule::At(calendar) => at(calendar, zone, after_ms),
    }
}

fn at(calendar: &Calendar, zone: &TimeZone, after_ms: i64) -> Option<i64> {
    let after = Timestamp::from_millisecond(after_ms).ok()?;
    // What stands on the day before may be left out there and taken today.
    let mut date = after.to_zoned(zone.clone()).date().yesterday().ok()?;
    for _ in 0..DAYS_MAX {
        let found = of_day(calendar, date).find_map(|(hour, minute)| {
            let time = date.at(hour, minute, 0, 0).to_zoned(zone.clone()).ok()?.timestamp();
            (time > after).then(|| time.as_millisecond())
        });
        if found.is_some() {
            return found;
        }
        date = date.tomorrow().ok()?;
    }
    None
}

/// The minutes of a day, in their order.
fn of_day(calendar: &Calendar, date: Date) -> impl Iterator<Item = (i8, i8)> + use<> {
    let calendar = *calendar;
    let weekday = date.weekday().to_sunday_zero_offset() as u8;
    let hours = match calendar.is_day(date.month() as u8, date.day() as u8, weekday) {
        true => 0..24,
        false => 0..0,
    };
    let minutes = hours.flat_map(|hour| (0..60).map(move |minute| (hour, minute)));
    minutes.filter(move |(hour, minute)| calendar.has(*hour as u8, *minute as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIX: Calendar = Calendar { minutes: 1, hours: 1 << 6, ..Calendar::ALWAYS };

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    /// The times behind one, as Berlin has them.
    fn times(calendar: Calendar, after: &str, count: usize) -> Vec<String> {
        let (zone, mut at) = (TimeZone::get("Europe/Berlin").unwrap(), ms(after));
        let mut out = Vec::new();
        for _ in 0..count {
            at = next_after(&Schedule::At(calendar), &zone, at).unwrap();
            out.push(Timestamp::from_millisecond(at).unwrap().to_string());
        }
        out
    }

    #[test]
    fn a_schedule_follows_the_clocks_of_its_zone() {
        let found = times(SIX, "2026-10-24T00:00:00Z", 3);
        let wanted = ["2026-10-24T04:00:00Z", "2026-10-25T05:00:00Z", "2026-10-26T05:00:00Z"];
        assert_eq!(found, wanted);
        // Exactly then is not behind it.
        assert_eq!(times(SIX, "2026-10-24T04:00:00Z", 1), wanted[1..2]);
        let weekdays = Calendar { weekdays: 0x3e, ..SIX };
        assert_eq!(times(weekdays, "2026-10-24T00:00:00Z", 1), wanted[2..]);
    }

    #[test]
    fn a_minute_that_comes_twice_counts_once_and_one_that_is_left_out_an_hour_later() {
        let half_past_two = Calendar { minutes: 1 << 30, hours: 1 << 2, ..Calendar::ALWAYS };
        let autumn = times(half_past_two, "2026-10-24T12:00:00Z", 2);
        assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let spring = times(half_past_two, "2026-03-28T12:00:00Z", 2);
        assert_eq!(spring, ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]);
    }

    #[test]
    fn rare_days_are_found() {
        let leap = Calendar { days: 1 << 29, months: 1 << 2, ..SIX };
        assert_eq!(times(leap, "2026-01-01T00:00:00Z", 1), ["2028-02-29T05:00:00Z"]);
        assert_eq!(times(leap, "2097-01-01T00:00:00Z", 1), ["2104-02-29T05:00:00Z"]);
    }

    #[test]
    fn every_so_often_is_counted_from_the_epoch() {
        let every = Schedule::Every { seconds: 900 };
        let next = |after| next_after(&every, &TimeZone::UTC, ms(after)).unwrap();
        assert_eq!(next("2026-01-01T10:07:00Z"), ms("2026-01-01T10:15:00Z"));
        assert_eq!(next("2026-01-01T10:15:00Z"), ms("2026-01-01T10:30:00Z"));
    }
}
