//! What runs ask for and wait for, in words.

use holdfast_core::condition::Test;
use holdfast_core::flow::effect::{Argument, Kind};
use holdfast_core::flow::signal::{Source, Word, signal};
use holdfast_core::flow::view::{Wait, Waiting};
use holdfast_core::flow::{Image, Memory, NEVER};
use holdfast_node::flow::duration_shown;
use holdfast_node::runs::Asked;

/// An effect with all that people want to know of it.
#[must_use]
pub fn effect(asked: &Asked) -> String {
    let mut out = asked.words();
    if asked.kind == Kind::Http
        && let Some(method) = asked.get(Argument::Method)
    {
        out = out.replacen("http ", &format!("http {method} "), 1);
    }
    let shown =
        [Argument::Severity, Argument::Args, Argument::Payload, Argument::Body, Argument::Value];
    for argument in shown {
        if let Some(text) = asked.get(argument) {
            out.push(' ');
            out.push_str(text);
        }
    }
    if let Some(unit) = asked.get(Argument::Unit) {
        out.push(' ');
        out.push_str(unit);
    }
    if let Some(text) = asked.get(Argument::Text) {
        out.push_str(&format!(" \"{text}\""));
    }
    out
}

/// What a part of a run waits for; nothing where that is told otherwise. A time is written by
/// `time`.
#[must_use]
pub fn wait(
    (image, memory): (&Image<'_>, Memory<'_>),
    waiting: &Waiting,
    time: impl Fn(i64) -> String,
) -> Option<String> {
    let until = |word: &str| match waiting.until {
        NEVER => String::new(),
        at_ms => format!("{word}{}", time(at_ms)),
    };
    match waiting.wait {
        Wait::Timer => Some(format!("until {}", time(waiting.until))),
        Wait::Retry { .. } => Some(format!("until {} to try again", time(waiting.until))),
        Wait::Signal(number) => {
            let signal = signal(image, number)?;
            let what = match signal.source {
                Source::Outside => format!("for `{}`", signal.name),
                Source::Condition { device, metric, rule } => {
                    let text = |word| match word {
                        Word::Literal(text) => text,
                        Word::Register(reg) => memory.text(reg),
                    };
                    let hold_ms = rule.hold_ns.unsigned_abs() / 1_000_000;
                    let hold = match hold_ms {
                        0 => String::new(),
                        ms => format!(" for {}", duration_shown(ms)),
                    };
                    let (metric, device) = (text(metric), text(device));
                    format!("for {metric} of {device} {}{hold}", test(rule.test))
                }
            };
            Some(format!("{what}{}", until(", at most until ")))
        }
        Wait::Effect(_) | Wait::Branches | Wait::Decision(_) | Wait::Nothing => None,
    }
}

fn test(test: Test) -> String {
    match test {
        Test::Above { limit, .. } => format!("above {limit}"),
        Test::Below { limit, .. } => format!("below {limit}"),
        Test::Equals(value) => format!("equal to {value}"),
        Test::Silent { for_ns } => {
            format!("silent for {}", duration_shown(for_ns.unsigned_abs() / 1_000_000))
        }
    }
}
