//! The history of a run, as people read it: lines that follow from what a run was told and from its
//! memory before and after.
//!
//! A run that this node steps and one on a device, of which only the steps come here, are told of
//! by the same words. A line is a record of the run and an event of the log.

use super::effect::{Asked, Failure};
use super::record::{Line, Run};
use super::step::{Decision, Told};
use holdfast_core::flow::effect::Kind;
use holdfast_core::flow::memory::{Phase, State};
use holdfast_core::flow::signal::signal;
use holdfast_core::flow::view;
use holdfast_core::flow::{Code, Image, Memory};
use holdfast_core::limits::NOTE_MAX_BYTES;
use holdfast_core::log::events::Event;
use holdfast_core::log::runs::{RunId, RunStep, What};
use holdfast_sync::Fault;
use holdfast_sync::store::{Table, WriteError, WriteTx};

/// Events in one commit.
const COMMIT_EVENTS: usize = 500;
/// Lines of the history of a run that are kept on the node; the first ones stay.
const LINES_MAX: u32 = 1_000;

/// The history of a run in the making.
pub(super) struct History<'h> {
    /// The image of the run; none where its workflow is not known here.
    pub image: Option<&'h Image<'h>>,
    /// The run, with the memory that it has now.
    pub run: &'h mut Run,
    /// Lines that are not written yet.
    pub lines: &'h mut Vec<Line>,
}

impl History<'_> {
    /// One more line.
    pub fn add(&mut self, what: What, line: u32, text: impl Into<String>) {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(NOTE_MAX_BYTES));
        self.run.lines += 1;
        self.lines.push(Line { what, line, text });
    }

    /// What a run was told that was at line `place` and in phase `before`, and how far it is now.
    /// `doing` is the effect that is over by it, in words, where nobody was told that it began.
    pub fn told(&mut self, told: &Told, doing: Option<&str>, place: u32, before: Option<Phase>) {
        match told {
            Told::Start(_) => {
                let text = format!("by {}", self.run.by);
                self.add(What::Started, 0, text);
            }
            Told::Result(serial, Ok(_)) => {
                let text = match doing {
                    Some(words) => format!("effect {serial}: {words}"),
                    None => format!("effect {serial}"),
                };
                self.add(What::Done, place, text);
            }
            Told::Result(serial, Err(failure)) => {
                self.add(What::Failed, place, format!("effect {serial}: {failure}"));
            }
            Told::Signal(signal, _, by) => {
                let name = self.signal_name(*signal);
                self.add(What::Signal, 0, format!("{name} from {by}"));
            }
            Told::Condition(signal) => self.add(What::Signal, 0, self.signal_name(*signal)),
            Told::Resolve(_, decision, by) => {
                let how = match decision {
                    Decision::Retry => "retry",
                    Decision::Skip => "skip",
                    Decision::Set(..) => "set",
                    Decision::Compensate => "compensate",
                };
                self.add(What::Decided, place, format!("{how} by {by}"));
            }
            Told::Cancel(by) => self.add(What::Decided, 0, format!("cancel by {by}")),
            Told::Migrate(to, by) => {
                self.add(What::Migrated, place, format!("to version {} by {by}", to.version));
            }
            Told::Tick | Told::ClockSet(_) => {}
        }
        self.reasons(told);
        let after = self.run.phase();
        if after != before || matches!(told, Told::Start(_)) {
            self.phase(after);
        }
    }

    fn memory(&self) -> Option<(&Image<'_>, Memory<'_>)> {
        let image = self.image?;
        Some((image, Memory::new(&self.run.memory, image.sizes)?))
    }

    /// That it undoes what it did, or is over.
    fn phase(&mut self, phase: Option<Phase>) {
        let why = self.memory().map(|(image, memory)| {
            let name = image.error_name(memory.cause()).unwrap_or_default().to_owned();
            (name, image.line_of(memory.place()).map_or(0, |(line, _)| line))
        });
        let (name, line) = why.unwrap_or_default();
        match phase {
            Some(Phase::Undoing) => self.add(What::Undoing, line, name),
            Some(Phase::Succeeded) => self.add(What::Succeeded, 0, ""),
            Some(Phase::Failed) => self.add(What::Ended, line, name),
            Some(Phase::Cancelled) => self.add(What::Cancelled, line, name),
            Some(Phase::Running) | None => {}
        }
    }

    fn signal_name(&self, number: u8) -> String {
        match self.image {
            Some(image) => signal(image, number).map_or("", |signal| signal.name).to_owned(),
            None => format!("signal {number}"),
        }
    }

    /// Why fibers are parked or repeat an effect: the words that came with the failure.
    fn reasons(&mut self, told: &Told) {
        let Some((image, memory)) = self.memory() else { return };
        let stuck: Vec<(u8, State, Code, u32)> = memory
            .fibers()
            .filter(|(_, fiber)| matches!(fiber.state, State::Parked | State::Retrying))
            .map(|(index, fiber)| {
                let line = image.line_of(fiber.pc).map_or(0, |(line, _)| line);
                (index, fiber.state, fiber.error, line)
            })
            .collect();
        let name = |error| image.error_name(error).unwrap_or_default().to_owned();
        let names: Vec<_> = stuck.iter().map(|(_, _, error, _)| name(*error)).collect();
        let mut known = std::mem::take(&mut self.run.reasons);
        // What was decided about is over, even where the part is parked again at once.
        match told {
            Told::Resolve(_, Decision::Set(..), _) => {}
            Told::Resolve(decided, ..) => known.retain(|(fiber, _)| fiber != decided),
            Told::Cancel(_) => known.clear(),
            _ => {}
        }
        for ((fiber, state, _, line), name) in stuck.into_iter().zip(names) {
            let old = known.iter().find(|(index, _)| *index == fiber).map(|(_, text)| text.clone());
            let text = match told {
                Told::Result(_, Err(failure)) if old.is_none() => failure.to_string(),
                _ => old.clone().unwrap_or(name),
            };
            if state == State::Parked && old.is_none() {
                self.add(What::Parked, line, text.clone());
            }
            self.run.reasons.push((fiber, text));
        }
    }

    /// What `run` asks for by now that it did not before, and the lines of those of which `is_told`
    /// says that they are told.
    pub fn asked(
        &mut self,
        run: RunId,
        before: &[(u32, u8)],
        is_told: impl Fn(Kind) -> bool,
    ) -> Vec<Asked> {
        let mut found = Vec::new();
        if let Some((image, memory)) = self.memory()
            && memory.phase().is_some_and(|phase| !phase.is_over())
        {
            let is_new = |serial, attempt| !before.contains(&(serial, attempt));
            let pending = view::pending(image, memory);
            for pending in pending.filter(|of| is_new(of.serial, of.attempt)) {
                let asked = Asked::of(run, &self.run.workflow, &pending, (image, memory));
                let line = image.line_of(pending.pc).map_or(0, |(line, _)| line);
                found.extend(asked.ok().map(|asked| (line, asked)));
            }
        }
        for (line, asked) in found.iter().filter(|(_, asked)| is_told(asked.kind)) {
            let again = match asked.attempt {
                1 => String::new(),
                attempt => format!(", attempt {attempt}"),
            };
            let text = format!("effect {}: {}{again}", asked.serial, asked.words());
            self.add(What::Asked, *line, text);
        }
        found.into_iter().map(|(_, asked)| asked).collect()
    }
}

/// The line of the source at which a run is of which `told` is about a part.
pub(super) fn place_of(image: &Image<'_>, memory: &[u8], told: &Told) -> u32 {
    let Some(memory) = Memory::new(memory, image.sizes) else { return 0 };
    let pc = match told {
        Told::Result(serial, _) => {
            memory.fibers().find(|(_, fiber)| fiber.serial == *serial).map(|(_, fiber)| fiber.pc)
        }
        Told::Resolve(fiber, ..) => memory.fiber(*fiber).map(|fiber| fiber.pc),
        _ => None,
    };
    pc.and_then(|pc| image.line_of(pc)).map_or(0, |(line, _)| line)
}

/// What a run has under way: numbers and attempts.
pub(super) fn under_way(image: &Image<'_>, memory: &[u8]) -> Vec<(u32, u8)> {
    let Some(memory) = Memory::new(memory, image.sizes) else { return Vec::new() };
    view::pending(image, memory).map(|pending| (pending.serial, pending.attempt)).collect()
}

/// What an effect that a run has under way is, in words.
pub(super) fn doing(
    run: RunId,
    (image, memory): (&Image<'_>, &[u8]),
    serial: u32,
) -> Option<String> {
    let memory = Memory::new(memory, image.sizes)?;
    let pending = view::pending(image, memory).find(|pending| pending.serial == serial)?;
    let asked: Result<Asked, Failure> = Asked::of(run, "", &pending, (image, memory));
    asked.ok().map(|asked| asked.words())
}

/// Writes the newest lines of a run that has `count` of them, each with when it was.
pub(super) fn put_lines<'l>(
    tx: &mut WriteTx<'_>,
    run: RunId,
    count: u32,
    lines: impl ExactSizeIterator<Item = (i64, &'l Line)>,
) -> Result<(), Fault> {
    let first = count - lines.len() as u32;
    for (number, (at_ms, line)) in (first..LINES_MAX).zip(lines) {
        let key = [&run.0[..], &number.to_be_bytes()].concat();
        tx.put(Table::RunStep, &key, &line.encode(at_ms))?;
    }
    Ok(())
}

/// Has the log tell of lines, each of the run that `of` gives for its number.
pub(super) fn tell_log<'r>(
    tx: &mut WriteTx<'_>,
    lines: &[(usize, Line)],
    of: impl Fn(usize) -> (RunId, &'r Run),
) -> Result<(), WriteError> {
    for some in lines.chunks(COMMIT_EVENTS) {
        let events = some.iter().map(|(number, line)| {
            let (run, kept) = of(*number);
            Event::Run(RunStep {
                run,
                what: line.what,
                workflow: &kept.workflow,
                version: &kept.version,
                line: line.line,
                text: &line.text,
            })
        });
        tx.append_events(&events.collect::<Vec<_>>())?;
    }
    Ok(())
}
