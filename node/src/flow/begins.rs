//! Triggers in words: what begins a run, as `explain`, lists and histories tell it.

use super::duration;
use holdfast_core::condition::{Rule, Test};
use holdfast_core::flow::binding::Source;
use holdfast_core::flow::effect::put_number;
use holdfast_core::flow::schedule::{Calendar, Missed, Schedule};
use holdfast_core::flow::trigger::{Devices, Fact, On, Trigger};
use holdfast_core::flow::{Image, Slot, Type};

/// What a trigger looks for.
#[must_use]
pub fn begins(on: &On<'_>) -> String {
    match on {
        On::Reading { of, metric, rule, max_age_ms } => {
            let age = match max_age_ms {
                0 => ", however old".to_owned(),
                ms => format!(", not older than {}", duration::shown(*ms)),
            };
            format!("{metric} of {} {}{age}", devices(of), condition(rule))
        }
        On::Rollup { of, metric, width_s, statistic, rule } => {
            let width = duration::shown(u64::from(*width_s) * 1_000);
            let what = format!("the {} of {metric} over {width}", statistic.name());
            format!("{what} of {} {}", devices(of), condition(rule))
        }
        On::Twin { of, path } => format!("{path} of {} changes", devices(of)),
        On::Message { filter } => format!("a message on {filter}"),
        On::Alert { rule, of, least, ends } => {
            let of = match (of.pattern, of.tags.iter().next()) {
                ("*", None) => String::new(),
                _ => format!(" of {}", devices(of)),
            };
            let how = if *ends { "cleared" } else { "raised" };
            format!("the alert {rule}{of}, at least {}, is {how}", least.name())
        }
        On::Schedule { schedule, zone, missed } => {
            let zone = match *zone {
                "" => String::new(),
                zone => format!(" in {zone}"),
            };
            let missed = match missed {
                Missed::Skip => "",
                Missed::Once => ", once for all that were missed",
            };
            match schedule {
                Schedule::Every { seconds } => {
                    format!("every {}{missed}", duration::shown(u64::from(*seconds) * 1_000))
                }
                Schedule::At(calendar) => format!("at {}{zone}{missed}", cron(calendar)),
            }
        }
    }
}

/// The same, with what a run is given.
pub(super) fn begins_with(trigger: &Trigger<'_>, image: &Image<'_>) -> String {
    let names: Vec<&str> = image.inputs().map(|field| field.name).collect();
    let given = trigger.bindings.map(|binding| {
        let name = names.get(usize::from(binding.input)).copied().unwrap_or("?");
        match binding.source {
            Source::Number(number) => {
                let field = image.inputs().nth(usize::from(binding.input));
                let of = field.and_then(|field| match field.slot {
                    Slot::Number(reg) => image.type_of(reg),
                    Slot::Text(_) => None,
                });
                let mut text = Vec::new();
                // A vector takes whatever comes.
                let _ = put_number(&mut text, of.unwrap_or(Type::Int), number);
                format!("{name} = {}", String::from_utf8_lossy(&text))
            }
            Source::Text(text) => format!("{name} = \"{text}\""),
            Source::Fact(Fact::Level(level)) => format!("{name} = level {level}"),
            Source::Fact(fact) if fact.name() == name => name.to_owned(),
            Source::Fact(fact) => format!("{name} = {}", fact.name()),
            Source::Path(path) => format!("{name} = {path} of the message"),
        }
    });
    let given = given.collect::<Vec<_>>().join(", ");
    let what = begins(&trigger.on);
    if given.is_empty() { what } else { format!("{what}; with {given}") }
}

fn devices(of: &Devices<'_>) -> String {
    let tags: Vec<_> = of.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
    match tags.is_empty() {
        true => of.pattern.to_owned(),
        false => format!("{} with {}", of.pattern, tags.join(", ")),
    }
}

fn condition(rule: &Rule) -> String {
    let nanos = |ns: i64| duration::shown(ns.unsigned_abs() / 1_000_000);
    let test = match rule.test {
        Test::Above { limit, clear } if limit == clear => format!("above {limit}"),
        Test::Above { limit, clear } => format!("above {limit} until {clear}"),
        Test::Below { limit, clear } if limit == clear => format!("below {limit}"),
        Test::Below { limit, clear } => format!("below {limit} until {clear}"),
        Test::Equals(value) => format!("equals {value}"),
        Test::Silent { for_ns } => format!("silent for {}", nanos(for_ns)),
    };
    match rule.hold_ns {
        0 => test,
        ns => format!("{test} for {}", nanos(ns)),
    }
}

/// The fields of cron.
fn cron(calendar: &Calendar) -> String {
    let all = Calendar::ALWAYS;
    let days = match calendar.either {
        // As it was written; else both stars would mean that both are needed.
        true => list(u64::from(calendar.days), 0),
        false => set(u64::from(calendar.days), u64::from(all.days)),
    };
    [
        set(calendar.minutes, all.minutes),
        set(u64::from(calendar.hours), u64::from(all.hours)),
        days,
        set(u64::from(calendar.months), u64::from(all.months)),
        set(u64::from(calendar.weekdays), u64::from(all.weekdays)),
    ]
    .join(" ")
}

fn set(bits: u64, all: u64) -> String {
    if bits == all { "*".to_owned() } else { list(bits, 0) }
}

/// Numbers and ranges, from a bit on.
fn list(bits: u64, from: u32) -> String {
    let rest = bits.checked_shr(from).unwrap_or(0);
    if rest == 0 {
        return String::new();
    }
    let first = from + rest.trailing_zeros();
    let run = (bits >> first).trailing_ones();
    let last = first + run - 1;
    let this = match run {
        1 => first.to_string(),
        2 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    match list(bits, last + 1) {
        rest if rest.is_empty() => this,
        rest => format!("{this},{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_told_as_cron_has_them() {
        assert_eq!(cron(&Calendar::ALWAYS), "* * * * *");
        let calendar = Calendar {
            minutes: 1 | 1 << 30 | 1 << 31,
            hours: 0b111 << 6,
            weekdays: 0x3e,
            ..Calendar::ALWAYS
        };
        assert_eq!(cron(&calendar), "0,30,31 6-8 * * 1-5");
        let either = Calendar { days: 1 << 13, weekdays: 1 << 5, either: true, ..Calendar::ALWAYS };
        assert_eq!(cron(&either), "* * 13 * 5");
        assert_eq!(list(1 << 63, 0), "63");
    }
}
