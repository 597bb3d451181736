//! The journal of a run, as the machine has it and as the reference has it, line by line.
//!
//! What stands in it is what can be seen from outside: how far the run is and why it failed and
//! where, what each line waits for and until when, what is asked for with every argument, what is
//! kept and to be undone, the variables that are there, and what the run leaves.

use super::evaluate::{Purpose, Wait};
use super::run::{Run, until_of};
use super::values::Value;
use crate::flow::diagnostic::Place;
use holdfast_core::flow::effect::put_number;
use holdfast_core::flow::image::Named;
use holdfast_core::flow::view::{self, Pending};
use holdfast_core::flow::{Code, Image, Memory, NEVER, Pc, Phase, Slot, Type};
use std::collections::BTreeMap;

fn time(ms: i64) -> String {
    match ms {
        NEVER => "never".to_owned(),
        i64::MIN => "at once".to_owned(),
        ms => ms.to_string(),
    }
}

/// The names that mean one register and nothing else.
pub(super) fn registers<'a>(image: &Image<'a>, run: &Run<'_>) -> BTreeMap<&'a str, Slot> {
    let twice = |name: &str| run.world.names.vars.iter().filter(|it| it.name == name).count() > 1;
    let copied = |name: &str| image.names().any(|(_, known)| known == format!("{name}#2"));
    let all = image.names().filter_map(|(named, name)| match named {
        Named::Slot(slot) if !twice(name) && !copied(name) => Some((name, slot)),
        _ => None,
    });
    all.collect()
}

/// The value of a register, as people write it.
fn shown(image: &Image<'_>, memory: &Memory<'_>, slot: Slot) -> String {
    match slot {
        Slot::Text(reg) => memory.text(reg).to_owned(),
        Slot::Number(reg) => {
            let mut bytes = Vec::new();
            let of = image.type_of(reg).unwrap_or(Type::Int);
            put_number(&mut bytes, of, memory.number(reg)).unwrap();
            String::from_utf8(bytes).unwrap()
        }
    }
}

/// The machine's journal, with those of its variables that the reference has.
pub(super) fn of_machine(image: &Image<'_>, memory: Memory<'_>, run: &Run<'_>) -> Vec<String> {
    let place = |pc: Pc| {
        let (line, column) = image.line_of(pc).unwrap();
        format!("{line}:{column}")
    };
    let error = |code: Code| image.error_name(code).unwrap_or("none").to_owned();
    let phase = memory.phase().unwrap();
    let mut out = vec![format!("{phase:?}, next at {}", time(view::next_deadline(memory)))];
    if !matches!(phase, Phase::Running | Phase::Succeeded) {
        let known = run.cause.as_ref().is_some_and(|(_, place)| place.is_some());
        let at = if known { place(memory.place()) } else { "one of two".to_owned() };
        out.push(format!("for {} at {at}", error(memory.cause())));
    }
    let effect = |pending: &Pending, until| {
        let effect = image.effect(pending.effect).unwrap();
        let mut text = format!("{} {}", pending.serial, effect.kind.name());
        for (argument, template) in effect.arguments() {
            let mut bytes = Vec::new();
            template.render(image, &memory, &mut bytes).unwrap();
            text.push_str(&format!(" {argument:?}={}", String::from_utf8(bytes).unwrap()));
        }
        format!("{text} attempt {} until {}", pending.attempt, time(until))
    };
    for waiting in view::waits(image, memory) {
        let (at, until) = (place(waiting.pc), waiting.until);
        let wait = match &waiting.wait {
            view::Wait::Effect(pending) => format!("{at} effect {}", effect(pending, until)),
            view::Wait::Retry { of, error: why } => {
                format!("{at} again for {} {}", error(*why), effect(of, until))
            }
            view::Wait::Timer => format!("{at} timer until {}", time(until)),
            view::Wait::Signal(signal) => format!("{at} signal {signal} until {}", time(until)),
            view::Wait::Branches => format!("{at} branches"),
            view::Wait::Decision(why) => format!("{at} decision on {}", error(*why)),
            view::Wait::Nothing => "goes on".to_owned(),
        };
        out.push(format!("line {} of {:?}: {wait}", waiting.fiber, waiting.parent));
    }
    let kept = (0..32usize).filter(|signal| memory.signals() & (1 << signal) != 0);
    out.push(format!("kept {:?}, to undo {}", kept.collect::<Vec<_>>(), memory.undo_count()));
    let registers = registers(image, run);
    for (name, _) in variables(run) {
        if let Some(slot) = registers.get(name) {
            out.push(format!("{name} = {}", shown(image, &memory, *slot)));
        }
    }
    if phase == Phase::Succeeded {
        let all = image.outputs();
        out.extend(all.map(|it| format!("leaves {}: {}", it.name, shown(image, &memory, it.slot))));
    }
    out
}

/// The variables that lines of a run can see.
fn variables<'r>(run: &'r Run<'_>) -> BTreeMap<&'r str, &'r Value> {
    let lines = run.lines();
    let scopes = lines.iter().map(|(_, line)| line.seq.scope().unwrap_or(line.scope));
    scopes.chain([0]).flat_map(|scope| run.world.known(scope)).collect()
}

/// The reference's journal, with those of its variables that have one register.
pub(super) fn of_reference(image: &Image<'_>, run: &Run<'_>) -> Vec<String> {
    let at = |place: Place| format!("{}:{}", place.line, place.column);
    let mut out = vec![format!("{:?}, next at {}", run.phase, time(run.next_deadline()))];
    if let Some((error, place)) = &run.cause {
        let at = place.map_or_else(|| "one of two".to_owned(), at);
        out.push(format!("for {error} at {at}"));
    }
    for (parent, line) in run.lines() {
        let own = line.seq.own();
        let place = at(line.seq.place());
        let wait = match (own.and_then(|own| own.parked.as_ref()), own.map(|own| &own.wait)) {
            _ if line.ready => "goes on".to_owned(),
            (Some(error), _) => format!("{place} decision on {error}"),
            (None, Some(Some(wait))) => format!("{place} {}", wait_of(run, wait)),
            (None, _) => format!("{place} branches"),
        };
        out.push(format!("line {} of {parent:?}: {wait}", line.number));
    }
    let (kept, undos) = (run.world.kept.iter().collect::<Vec<_>>(), run.world.undos.len());
    out.push(format!("kept {kept:?}, to undo {undos}"));
    let registers = registers(image, run);
    for (name, value) in variables(run) {
        if registers.contains_key(name) {
            out.push(format!("{name} = {}", value.shown()));
        }
    }
    if run.phase == Phase::Succeeded {
        let names = run.world.definition.outputs.iter().map(|(name, _)| &name.text);
        let all = names.zip(&run.world.outputs);
        out.extend(all.map(|(name, value)| format!("leaves {name}: {}", value.shown())));
    }
    out
}

fn wait_of(run: &Run<'_>, wait: &Wait<'_>) -> String {
    let until = time(until_of(wait));
    match wait {
        Wait::Time { .. } => format!("timer until {until}"),
        Wait::Signal { which, .. } => format!("signal {which} until {until}"),
        Wait::Effect(asked) => {
            let begin = match &asked.again {
                Some(error) => format!("again for {error}"),
                None => "effect".to_owned(),
            };
            let said = run.world.said(asked).into_iter();
            let said: String = said.map(|(name, text)| format!(" {name:?}={text}")).collect();
            let (serial, kind, attempt) = (asked.serial, asked.kind, asked.attempt);
            format!("{begin} {serial} {kind}{said} attempt {attempt} until {until}")
        }
    }
}

impl Purpose<'_> {
    /// What the effects of the machine are counted by, for the tests' own report.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Step(_) => "asked by a step",
            Self::Part(_) => "asked by an expression",
        }
    }
}
