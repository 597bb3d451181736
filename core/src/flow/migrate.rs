//! A run goes on as one of another version of its workflow.
//!
//! Versions share names and nothing else: registers, operations and errors have other numbers. A
//! run can change where it waits at a *label* that both versions have, on the same kind of
//! operation, and where all that the new version relies on there has a value: variables are carried
//! over by name and type. What is under way goes on under its key, and a wait ends when it would
//! have ended. Where that is not so the run stays as it is, and [`Obstacle`] says why.

use super::image::{Image, Named, Slot};
use super::memory::{Memory, MemoryMut, Phase, State};
use super::op::{Late, Op, Pc};
use super::signal::signal;
use super::verify::Place;
use core::fmt;

/// Why a run cannot change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle<'a> {
    /// The memory does not belong to the image.
    Foreign,
    /// It is over, or undoes what it did.
    Ending,
    /// Branches of it are under way.
    Branches,
    /// It has done what would have to be undone by the old version.
    Undos,
    /// It waits where there is no label.
    Unlabelled,
    /// The other version has no such label.
    NoLabel(&'a str),
    /// At this label the other version does something else.
    Differs(&'a str),
    /// The other version relies on this variable there, and the run has no value for it.
    Variable(&'a str),
    /// The other version relies on a value without a name there.
    Unnamed,
    /// It is in a loop that cannot be told from others.
    Loop,
    /// It has met an error that the other version does not know.
    Error(&'a str),
}

impl fmt::Display for Obstacle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("what it knows belongs to another image"),
            Self::Ending => f.write_str("it is over, or undoes what it did"),
            Self::Branches => f.write_str("branches of it are under way"),
            Self::Undos => f.write_str("what it did would be undone by the old version"),
            Self::Unlabelled => f.write_str("it waits where there is no label"),
            Self::NoLabel(name) => write!(f, "the other version has no label `{name}`"),
            Self::Differs(name) => {
                write!(f, "at the label `{name}` the other version does something else")
            }
            Self::Variable(name) => {
                write!(f, "it has no value for `{name}`, which the other version needs there")
            }
            Self::Unnamed => {
                f.write_str("the other version needs a value there that has no name of its own")
            }
            Self::Loop => f.write_str("it is in a loop, and the other version has other ones"),
            Self::Error(name) => {
                write!(f, "it has met `{name}`, which the other version does not know")
            }
        }
    }
}

/// A version of a workflow, and what the verifier found of each of its operations.
#[derive(Clone, Copy, Debug)]
pub struct Version<'v, 'a> {
    /// Its image.
    pub image: &'v Image<'a>,
    /// As [`super::verify()`] has left them.
    pub places: &'v [Place],
}

/// Makes of the memory of a run of `old` that of a run of `new`, which goes into `out`: zero bytes,
/// as many as a run of `new` has.
///
/// # Errors
/// [`Obstacle`]; what is in `out` is not to be used then.
pub fn migrate<'a>(
    (old, memory): (Version<'_, 'a>, Memory<'_>),
    (new, out): (Version<'_, 'a>, &mut [u8]),
) -> Result<(), Obstacle<'a>> {
    if memory.tag() != old.image.tag() {
        return Err(Obstacle::Foreign);
    }
    if memory.phase() != Some(Phase::Running) {
        return Err(Obstacle::Ending);
    }
    let mut fibers = memory.fibers();
    let (Some((0, mut root)), None) = (fibers.next(), fibers.next()) else {
        return Err(Obstacle::Branches);
    };
    if memory.undo_count() > 0 {
        return Err(Obstacle::Undos);
    }
    let (from, (to, label)) = (root.pc, place_of(root.pc, old.image, new.image)?);
    if !fits(old.image, from, new.image, to) {
        return Err(Obstacle::Differs(label));
    }
    let mut out = MemoryMut::new(out, new.image.sizes).ok_or(Obstacle::Foreign)?;
    out.clear(new.image.tag(), memory.deadline());
    out.set_serial(memory.serial());
    out.set_signals(signals(old.image, new.image, memory.signals()));
    root.error = match root.error.named() {
        None => root.error,
        Some(_) => {
            let name = old.image.error_name(root.error).unwrap_or_default();
            new.image.error_by_name(name).ok_or(Obstacle::Error(name))?
        }
    };
    counters(old.image, new.image, memory, &mut out)?;
    let (was, is) = (at(old.places, from)?, at(new.places, to)?);
    for (named, name) in new.image.names() {
        let Named::Slot(slot) = named else { continue };
        if !is.has(slot) {
            continue;
        }
        let known = the_only(old.image, name).filter(|known| was.has(*known));
        let known = known.filter(|_| the_only(new.image, name).is_some());
        match (known, slot) {
            (Some(Slot::Number(known)), Slot::Number(reg))
                if old.image.type_of(known) == new.image.type_of(reg) =>
            {
                out.set_number(reg, memory.number(known));
            }
            (Some(Slot::Text(known)), Slot::Text(reg)) => {
                // It fitted there, so it does here.
                let _ = out.set_text(reg, &[memory.text(known)]);
            }
            _ => return Err(Obstacle::Variable(name)),
        }
    }
    if needs(new.image, to, root.state).any(|slot| name_of(new.image, slot).is_none()) {
        return Err(Obstacle::Unnamed);
    }
    root.pc = to;
    out.set_fiber(0, &root);
    Ok(())
}

fn at<'a>(places: &[Place], pc: Pc) -> Result<Place, Obstacle<'a>> {
    places.get(usize::from(pc)).copied().ok_or(Obstacle::Foreign)
}

/// Where the new version has the label at which the old one waits.
fn place_of<'a>(pc: Pc, old: &Image<'a>, new: &Image<'a>) -> Result<(Pc, &'a str), Obstacle<'a>> {
    let label = old.labels().find(|(place, _)| *place == pc);
    let (_, name) = label.ok_or(Obstacle::Unlabelled)?;
    let to = new.labels().find(|(_, known)| *known == name);
    to.map(|(place, _)| (place, name)).ok_or(Obstacle::NoLabel(name))
}

/// Whether what stands at both places is of one kind.
fn fits(old: &Image<'_>, from: Pc, new: &Image<'_>, to: Pc) -> bool {
    match (old.op(from), new.op(to)) {
        (Some(Op::Do { effect: a }), Some(Op::Do { effect: b })) => {
            let kinds = (old.effect(a).map(|e| e.kind), new.effect(b).map(|e| e.kind));
            matches!(kinds, (Some(a), Some(b)) if a == b)
        }
        (Some(Op::Sleep { .. }), Some(Op::Sleep { .. }))
        | (Some(Op::Until { .. }), Some(Op::Until { .. }))
        | (Some(Op::Listen { .. }), Some(Op::Listen { .. })) => true,
        _ => false,
    }
}

/// The register that has this name, if only one has.
fn the_only(image: &Image<'_>, name: &str) -> Option<Slot> {
    let mut all = image.names().filter_map(|(named, known)| match named {
        Named::Slot(slot) if known == name => Some(slot),
        _ => None,
    });
    all.next().filter(|_| all.next().is_none())
}

fn name_of<'a>(image: &Image<'a>, slot: Slot) -> Option<&'a str> {
    image.names().find(|(named, _)| *named == Named::Slot(slot)).map(|(_, name)| name)
}

/// The registers that an operation reads once more while a fiber waits at it.
fn needs<'i>(image: &Image<'i>, pc: Pc, state: State) -> impl Iterator<Item = Slot> + use<'i> {
    let op = image.op(pc);
    let effect = match op {
        Some(Op::Do { effect }) => image.effect(effect),
        _ => None,
    };
    let said = effect.into_iter().flat_map(|effect| {
        effect.arguments().flat_map(|(_, template)| template.filter_map(|piece| piece.slot()))
    });
    let again = match op {
        Some(Op::Sleep { a, late: Late::Restart, .. }) => Some(Slot::Number(a)),
        // One that is parked waits anew when somebody has it try again.
        Some(Op::Sleep { a, .. } | Op::Until { a, .. }) if state == State::Parked => {
            Some(Slot::Number(a))
        }
        Some(Op::Listen { within: Some(a), .. }) if state == State::Parked => Some(Slot::Number(a)),
        _ => None,
    };
    said.chain(again)
}

/// Signals that came and were not waited for, by their names.
fn signals(old: &Image<'_>, new: &Image<'_>, came: u32) -> u32 {
    let number = |name: &str| {
        (0..new.sizes.signals).find(|at| signal(new, *at).is_some_and(|known| known.name == name))
    };
    (0..old.sizes.signals)
        .filter(|at| came & 1u32.unbounded_shl(u32::from(*at)) != 0)
        .filter_map(|at| number(signal(old, at)?.name))
        .fold(0, |bits, at| bits | 1u32.unbounded_shl(u32::from(at)))
}

/// Loops have no names: they are the same where there are as many.
fn counters<'a>(
    old: &Image<'_>,
    new: &Image<'_>,
    memory: Memory<'_>,
    out: &mut MemoryMut<'_>,
) -> Result<(), Obstacle<'a>> {
    let is_same = old.sizes.counters == new.sizes.counters;
    for counter in 0..old.sizes.counters {
        match memory.counter(counter) {
            0 => {}
            count if is_same => out.set_counter(counter, count),
            _ => return Err(Obstacle::Loop),
        }
    }
    Ok(())
}
