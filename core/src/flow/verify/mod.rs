//! The verifier: what an image must be so that every run of it stays within its bounds.
//!
//! One pass over the operations in their order, which remembers for each what is true on every way
//! that leads there: which registers have been written, which *context* (the run itself, a branch,
//! or what undoes something) it belongs to, how many fibers and undo places the context has taken,
//! and where it last waited. Ways lead forward, but for two: back over a timer or a signal, and
//! back in a counted loop. So no turn of a fiber is endless, and how long one can be is a sum.
//!
//! It needs a [`Place`] per operation and nothing else, so a microcontroller verifies what it is
//! sent by the same code as the hub that compiled it.

mod tables;
mod values;
mod why;

use super::effect::Kind as Effect;
use super::image::{Image, PARKS, Slot};
use super::memory::bytes_of;
use super::op::{Op, Pc};
use super::trigger::Kind as Trigger;
use crate::Reject;
pub use why::{Rejection, Why};

/// What a node lets an image take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Bytes of an image.
    pub image_bytes: usize,
    /// Bytes of the memory of a run.
    pub memory_bytes: usize,
    /// Operations.
    pub ops: u16,
    /// Operations of one turn of a fiber.
    pub fuel: u32,
    /// The kinds of effects that it can bring about, a bit each ([`super::effect::Kind::bit`]).
    pub effects: u32,
    /// The kinds of triggers that it looks for, a bit each ([`super::trigger::Kind::bit`]).
    pub triggers: u32,
}

impl Tier {
    /// A microcontroller: it looks at its own readings, and moves its own outputs.
    pub const DEVICE: Self = Self {
        image_bytes: 4_096,
        memory_bytes: 128,
        ops: 256,
        fuel: 2_000,
        effects: Effect::Actuate.bit() | Effect::Reading.bit() | Effect::State.bit(),
        triggers: Trigger::Reading.bit(),
    };
    /// A gateway or a hub.
    pub const NODE: Self = Self {
        image_bytes: super::image::IMAGE_MAX_BYTES,
        memory_bytes: 4_096,
        ops: 4_096,
        fuel: 100_000,
        effects: u32::MAX,
        triggers: u32::MAX,
    };

    /// The same with these kinds of effects and triggers only.
    #[must_use]
    pub const fn with(self, effects: u32, triggers: u32) -> Self {
        Self { effects, triggers, ..self }
    }
}

/// Registers of numbers that an image can have.
pub const NUMBERS_MAX: u8 = 64;
/// Registers of texts that an image can have.
pub const TEXTS_MAX: u8 = 32;
/// Fibers that a run can have.
pub const FIBERS_MAX: u8 = 32;
/// Places that a run can remember to undo what it did.
pub const UNDOS_MAX: u8 = 64;
/// Loops that an image can have.
pub const LOOPS_MAX: usize = 16;
/// Signals that an image can wait for.
pub const SIGNALS_MAX: u8 = 32;
/// Handlers that an image can have.
pub const HANDLERS_MAX: u16 = 256;

/// Not reached yet.
const NOWHERE: u16 = 0xffff;
/// The run itself; another context is called by the operation that begins it.
const ROOT: u16 = 0xfffe;

/// What is true of an operation on every way that leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number registers that have been written.
    numbers: u64,
    /// Text registers that have been written.
    texts: u32,
    context: u16,
    /// One more than the operation at which it last waited for a time or a signal.
    waited: u16,
    /// Fibers that branches have taken.
    live: u8,
    /// Places that undo something, in this context.
    undos: u8,
}

impl Place {
    /// Nothing is known.
    pub const NOWHERE: Self =
        Self { numbers: 0, texts: 0, context: NOWHERE, waited: 0, live: 0, undos: 0 };

    /// Whether a register has a value here.
    #[must_use]
    pub const fn has(&self, slot: Slot) -> bool {
        match slot {
            Slot::Number(reg) => self.numbers & 1u64.unbounded_shl(reg as u32) != 0,
            Slot::Text(reg) => self.texts & 1u32.unbounded_shl(reg as u32) != 0,
        }
    }

    const fn write(&mut self, slot: Slot) {
        match slot {
            Slot::Number(reg) => self.numbers |= 1u64.unbounded_shl(reg as u32),
            Slot::Text(reg) => self.texts |= 1u32.unbounded_shl(reg as u32),
        }
    }

    fn meet(&mut self, other: &Self) {
        self.numbers &= other.numbers;
        self.texts &= other.texts;
        self.waited = self.waited.min(other.waited);
        self.live = self.live.max(other.live);
        self.undos = self.undos.max(other.undos);
    }

    /// Whether what is true here is true with one more way that leads here as `other` says.
    const fn holds_after(&self, other: &Self) -> bool {
        self.numbers & !other.numbers == 0
            && self.texts & !other.texts == 0
            && other.waited >= self.waited
            && other.live <= self.live
            && other.undos <= self.undos
    }
}

/// Accepts an image, or says what is wrong with it and where. `places` has room for one [`Place`]
/// per operation that the tier allows, or fewer if the image has fewer.
///
/// # Errors
/// [`Rejection`]
pub fn verify<'a>(
    bytes: &'a [u8],
    tier: &Tier,
    places: &mut [Place],
) -> Result<Image<'a>, Rejection> {
    if bytes.len() > tier.image_bytes {
        return Err(Why::Long.into());
    }
    let image = Image::parse(bytes).map_err(|reject| match reject {
        Reject::Version => Rejection::from(Why::Version),
        Reject::Long => Why::Long.into(),
        _ => Why::Tables.into(),
    })?;
    check_sizes(&image, tier)?;
    tables::check(&image, tier)?;
    let ops = usize::from(image.counts.ops);
    let places = places.get_mut(..ops).ok_or(Why::Ops)?;
    places.fill(Place::NOWHERE);
    let mut check = Check { image: &image, tier, places };
    check.code()?;
    check.fuel()?;
    Ok(image)
}

fn check_sizes(image: &Image<'_>, tier: &Tier) -> Result<(), Rejection> {
    let sizes = image.sizes;
    let within = sizes.numbers <= NUMBERS_MAX
        && sizes.texts <= TEXTS_MAX
        && (1..=FIBERS_MAX).contains(&sizes.fibers)
        && sizes.undos <= UNDOS_MAX
        && usize::from(sizes.counters) <= LOOPS_MAX
        && sizes.signals <= SIGNALS_MAX
        && image.counts.handlers <= HANDLERS_MAX;
    if !within || image.flags & !PARKS != 0 {
        return Err(Why::Sizes.into());
    }
    if bytes_of(sizes) > tier.memory_bytes {
        return Err(Why::Memory.into());
    }
    if !(1..=tier.ops).contains(&image.counts.ops) {
        return Err(Why::Ops.into());
    }
    if sizes.fuel > tier.fuel { Err(Why::Fuel.into()) } else { Ok(()) }
}

struct Check<'c, 'a> {
    image: &'c Image<'a>,
    tier: &'c Tier,
    places: &'c mut [Place],
}

/// What a context may take.
#[derive(Clone, Copy)]
struct Allowance {
    fibers: u8,
    undos: u8,
}

impl Check<'_, '_> {
    fn code(&mut self) -> Result<(), Rejection> {
        let mut start = Place { context: ROOT, ..Place::NOWHERE };
        for field in self.image.inputs() {
            start.write(field.slot);
        }
        self.places[0] = start;
        for pc in 0..self.image.counts.ops {
            let here = self.places[usize::from(pc)];
            let op = self.image.op(pc).ok_or(Rejection::at(Why::Op, pc))?;
            if here.context == NOWHERE {
                return Err(Rejection::at(Why::Unreachable, pc));
            }
            self.handlers(pc, here)?;
            let mut after = here;
            values::check(self.image, self.tier, op, &mut after)
                .map_err(|why| Rejection::at(why, pc))?;
            self.ways(pc, op, here, after)?;
        }
        Ok(())
    }

    /// An error here leads to each of the handlers that cover it.
    fn handlers(&mut self, pc: Pc, here: Place) -> Result<(), Rejection> {
        for handler in self.image.handlers() {
            if (handler.from..=handler.last).contains(&pc) {
                // The branches are ended before it goes on there.
                self.lead(pc, handler.to, Place { live: 0, ..here })?;
            }
        }
        Ok(())
    }

    /// Where an operation leads to.
    fn ways(&mut self, pc: Pc, op: Op, here: Place, mut after: Place) -> Result<(), Rejection> {
        let at = |why| Rejection::at(why, pc);
        match op {
            Op::Jump { to } => return self.lead(pc, to, after),
            Op::JumpIf { to, .. } | Op::JumpIfNot { to, .. } => self.lead(pc, to, after)?,
            Op::Again { to, counter, limit } => {
                if to > pc || limit == 0 || counter >= self.image.sizes.counters {
                    return Err(at(Why::Loop));
                }
                // It may lead back without having waited: it does so a limited number of times.
                self.back(pc, to, after)?;
            }
            Op::Loop { counter } if counter >= self.image.sizes.counters => {
                return Err(at(Why::Loop));
            }
            Op::Fork { to, fibers, undos } => {
                let allowed = self.allowance(here.context);
                after.live = after.live.saturating_add(fibers);
                after.undos = after.undos.saturating_add(undos);
                if fibers == 0 || after.live > allowed.fibers {
                    return Err(at(Why::Fibers));
                }
                if after.undos > allowed.undos {
                    return Err(at(Why::Undos));
                }
                self.begin(pc, to, after)?;
            }
            Op::Guard { to } => {
                after.undos = after.undos.saturating_add(1);
                if after.undos > self.allowance(here.context).undos {
                    return Err(at(Why::Undos));
                }
                self.begin(pc, to, after)?;
            }
            Op::Join => after.live = 0,
            Op::Sleep { .. } | Op::Until { .. } | Op::Listen { .. } => after.waited = pc + 1,
            Op::End | Op::Succeed | Op::Undone => return self.ends(pc, op, here),
            Op::Fail { .. } | Op::Rethrow => return Ok(()),
            _ => {}
        }
        let next = pc.checked_add(1).filter(|next| *next < self.image.counts.ops);
        self.lead(pc, next.ok_or(at(Why::Falls))?, after)
    }

    /// Each context ends in its own way.
    fn ends(&self, pc: Pc, op: Op, here: Place) -> Result<(), Rejection> {
        let begun_by = match here.context {
            ROOT => None,
            context => self.image.op(context),
        };
        let is_right = match op {
            Op::Succeed => begun_by.is_none(),
            Op::End => matches!(begun_by, Some(Op::Fork { .. })),
            _ => matches!(begun_by, Some(Op::Guard { .. })),
        };
        if !is_right {
            return Err(Rejection::at(Why::Ends, pc));
        }
        let leaves = |slot| op != Op::Succeed || here.has(slot);
        if self.image.outputs().all(|field| leaves(field.slot)) {
            Ok(())
        } else {
            Err(Rejection::at(Why::Output, pc))
        }
    }

    fn allowance(&self, context: u16) -> Allowance {
        match self.image.op(context) {
            _ if context == ROOT => {
                let sizes = self.image.sizes;
                Allowance { fibers: sizes.fibers - 1, undos: sizes.undos }
            }
            Some(Op::Fork { fibers, undos, .. }) => Allowance { fibers: fibers - 1, undos },
            _ => Allowance { fibers: 0, undos: 0 },
        }
    }

    /// A context of its own begins there.
    fn begin(&mut self, pc: Pc, to: Pc, after: Place) -> Result<(), Rejection> {
        if to <= pc {
            return Err(Rejection::at(Why::Jump, pc));
        }
        self.lead(pc, to, Place { context: pc, waited: 0, live: 0, undos: 0, ..after })
    }

    /// It can go on there.
    fn lead(&mut self, pc: Pc, to: Pc, after: Place) -> Result<(), Rejection> {
        let at = |why| Rejection::at(why, pc);
        if to <= pc {
            // What it waited for last was there or behind it, on every way: so it waits each time.
            return if after.waited > to {
                self.back(pc, to, after)
            } else {
                Err(at(Why::Endless))
            };
        }
        let place = self.places.get_mut(usize::from(to)).ok_or(at(Why::Jump))?;
        if place.context == NOWHERE {
            *place = after;
        } else if place.context != after.context {
            return Err(at(Why::Context));
        } else {
            place.meet(&after);
        }
        Ok(())
    }

    /// It can go back there, where all was judged already.
    fn back(&self, pc: Pc, to: Pc, after: Place) -> Result<(), Rejection> {
        let place = self.places[usize::from(to)];
        if place.context != after.context {
            return Err(Rejection::at(Why::Context, pc));
        }
        if place.holds_after(&after) { Ok(()) } else { Err(Rejection::at(Why::Grows, pc)) }
    }

    /// Loops lie in each other or beside each other, and none begins anew within itself: then a
    /// turn takes no longer than [`fuel_of`] says.
    fn fuel(&self) -> Result<(), Rejection> {
        let ops = || (0..self.image.counts.ops).filter_map(|pc| Some((pc, self.image.op(pc)?)));
        let again = |(pc, op)| match op {
            Op::Again { to, counter, .. } => Some((to, pc, counter)),
            _ => None,
        };
        if ops().filter_map(again).count() > LOOPS_MAX {
            return Err(Why::Loop.into());
        }
        for (from, last, counter) in ops().filter_map(again) {
            let within = |pc: Pc| (from..=last).contains(&pc);
            let crosses = ops().filter_map(again).any(|(other, end, _)| {
                within(other) != within(end) && !(other <= from && last <= end)
            });
            let begins = |(pc, op)| within(pc) && op == Op::Loop { counter };
            if crosses || ops().any(begins) {
                return Err(Rejection::at(Why::Loop, last));
            }
        }
        let enough = fuel_of(self.image) <= u64::from(self.image.sizes.fuel);
        if enough { Ok(()) } else { Err(Why::Fuel.into()) }
    }
}

/// How many operations a turn of a fiber can take: each one once, and once more for each time that
/// a loop goes back over it. Of loops beyond [`LOOPS_MAX`] nothing is known.
#[must_use]
pub fn fuel_of(image: &Image<'_>) -> u64 {
    let mut loops = heapless::Vec::<(Pc, Pc, u64), LOOPS_MAX>::new();
    for pc in 0..image.counts.ops {
        if let Some(Op::Again { to, limit, .. }) = image.op(pc) {
            let _ = loops.push((to, pc, u64::from(limit) + 1));
        }
    }
    let cost = |pc: Pc| {
        let over = loops.iter().filter(move |(from, to, _)| (*from..=*to).contains(&pc));
        over.fold(1, |all: u64, (.., times)| all.saturating_mul(*times))
    };
    (0..image.counts.ops).fold(0, |all: u64, pc| all.saturating_add(cost(pc)))
}
