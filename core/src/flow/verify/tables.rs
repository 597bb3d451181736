//! Everything of an image that is not code: each entry by itself.

use super::super::about::About;
use super::super::effect::{Effect, Piece};
use super::super::error::Code;
use super::super::field::{Default, Field};
use super::super::image::{Image, Named, Part, Slot, Type};
use super::super::signal::{Signal, Source, Word};
use super::super::trigger::TRIGGERS_MAX;
use super::super::{ANSWERS_MAX, NAME_MAX_BYTES, TEXT_MAX_BYTES};
use super::{Rejection, Tier, Why};
use crate::codec::Reader;

/// Fields that a run can be given, or leave.
const FIELDS_MAX: usize = 32;

pub(super) fn check(image: &Image<'_>, tier: &Tier) -> Result<(), Rejection> {
    if (0..image.sizes.numbers).any(|reg| image.type_of(reg).is_none()) {
        return Err(Why::RegisterType.into());
    }
    let fits = |text: Option<&str>| text.is_some_and(|text| text.len() <= TEXT_MAX_BYTES);
    let named = |text: Option<&str>| text.is_some_and(|text| !text.is_empty());
    let errors = || (0..image.counts.errors).map(|index| image.error_name(Code::own(index)));
    if !(0..image.counts.texts).all(|index| fits(image.text(index)))
        || !errors().all(|name| fits(name) && named(name))
    {
        return Err(Why::Text.into());
    }
    handlers(image)?;
    retries(image)?;
    for index in 0..image.counts.effects {
        let effect = image.effect(index).ok_or(Why::Effect)?;
        if !is_effect_sound(image, &effect) {
            return Err(Why::Effect.into());
        }
    }
    signals(image).ok_or(Why::Signal)?;
    parts(image)?;
    triggers(image, tier)
}

fn triggers(image: &Image<'_>, tier: &Tier) -> Result<(), Rejection> {
    if image.counts.triggers > TRIGGERS_MAX {
        return Err(Why::Sizes.into());
    }
    for index in 0..image.counts.triggers {
        let trigger = image.trigger(index).filter(|trigger| trigger.fits(image));
        let trigger = trigger.ok_or(Why::Trigger)?;
        if tier.triggers & trigger.on.kind().bit() == 0 {
            return Err(Why::Blind.into());
        }
    }
    Ok(())
}

fn is_known(image: &Image<'_>, error: Code) -> bool {
    error == Code::NONE || error.is_known(image.counts.errors)
}

fn handlers(image: &Image<'_>) -> Result<(), Rejection> {
    let sound = image.handlers().all(|handler| {
        handler.from <= handler.last
            && handler.last < handler.to
            && handler.to < image.counts.ops
            && is_known(image, handler.error)
    });
    if sound { Ok(()) } else { Err(Why::Handler.into()) }
}

fn retries(image: &Image<'_>) -> Result<(), Rejection> {
    for index in 0..image.counts.retries {
        let retry = image.retry(index).ok_or(Why::Retry)?;
        let sound = retry.attempts > 0
            && retry.jitter <= 100
            && retry.rate >= 256
            && retry.cap_ms >= retry.first_ms
            && is_known(image, retry.error);
        if !sound {
            return Err(Why::Retry.into());
        }
    }
    Ok(())
}

/// Whether there is such a register.
pub(super) fn is_there(image: &Image<'_>, slot: Slot) -> bool {
    match slot {
        Slot::Number(reg) => reg < image.sizes.numbers,
        Slot::Text(reg) => reg < image.sizes.texts,
    }
}

fn is_effect_sound(image: &Image<'_>, effect: &Effect<'_>) -> bool {
    let last = effect.retry_first.checked_add(effect.retry_count);
    let pieces = || effect.arguments().flat_map(|(_, template)| template);
    last.is_some_and(|last| last <= image.counts.retries)
        && pieces().all(|piece: Piece<'_>| piece.slot().is_none_or(|slot| is_there(image, slot)))
        && effect.answers.clone().all(|field| is_field_sound(image, &field))
}

/// Whether a field goes to a register that there is, with something that fits there by default.
fn is_field_sound(image: &Image<'_>, field: &Field<'_>) -> bool {
    let fits = match (field.slot, field.default) {
        (Slot::Number(reg), Some(Default::Number(number))) => {
            image.type_of(reg) != Some(Type::Bool) || matches!(number, 0 | 1)
        }
        _ => true,
    };
    fits && !field.name.is_empty() && is_there(image, field.slot)
}

fn signals(image: &Image<'_>) -> Option<()> {
    let mut reader = Reader::new(image.part(Part::Signals));
    for _ in 0..image.sizes.signals {
        let signal = Signal::read(&mut reader).ok()?;
        let there = |word| match word {
            Word::Literal(_) => true,
            Word::Register(reg) => reg < image.sizes.texts,
        };
        let sound = match signal.source {
            Source::Outside => !signal.name.is_empty(),
            Source::Condition { device, metric, .. } => there(device) && there(metric),
        };
        let brings = signal.values.clone().all(|field| is_field_sound(image, &field));
        (sound && brings).then_some(())?;
    }
    reader.finish().ok()
}

fn parts(image: &Image<'_>) -> Result<(), Rejection> {
    About::read(image.part(Part::About)).map_err(|_| Why::Part)?;
    for part in [Part::Inputs, Part::Outputs] {
        fields(image, part).ok_or(Why::Part)?;
    }
    names(image).ok_or(Why::Part)?;
    lines(image).ok_or(Why::Part)?;
    labels(image)
}

fn fields(image: &Image<'_>, part: Part) -> Option<()> {
    let mut reader = Reader::new(image.part(part));
    let mut count = 0;
    while !reader.rest().is_empty() {
        let field = Field::read(&mut reader).ok()?;
        count += 1;
        let sound = is_field_sound(image, &field) && count <= FIELDS_MAX;
        (sound && (part == Part::Inputs || field.default.is_none())).then_some(())?;
    }
    Some(())
}

fn labels(image: &Image<'_>) -> Result<(), Rejection> {
    let mut reader = Reader::new(image.part(Part::Labels));
    let mut before = None;
    while !reader.rest().is_empty() {
        let pc = reader.uint().ok().and_then(|pc| u16::try_from(pc).ok()).ok_or(Why::Part)?;
        reader.str(NAME_MAX_BYTES).map_err(|_| Why::Part)?;
        if !image.op(pc).is_some_and(super::Op::blocks) || before.is_some_and(|last| last >= pc) {
            return Err(Rejection::at(Why::Label, pc));
        }
        before = Some(pc);
    }
    Ok(())
}

fn names(image: &Image<'_>) -> Option<()> {
    let mut reader = Reader::new(image.part(Part::Names));
    let mut count = 0;
    while !reader.rest().is_empty() {
        reader.array::<2>().ok()?;
        reader.str(NAME_MAX_BYTES).ok()?;
        count += 1;
    }
    let there = |named| match named {
        Named::Slot(slot) => is_there(image, slot),
        Named::Counter(counter) => counter < image.sizes.counters,
    };
    (image.names().filter(|(named, _)| there(*named)).count() == count).then_some(())
}

fn lines(image: &Image<'_>) -> Option<()> {
    let mut reader = Reader::new(image.part(Part::Lines));
    let mut at = 0u64;
    while !reader.rest().is_empty() {
        at = at.checked_add(reader.uint().ok()?)?;
        let place = [reader.uint().ok()?, reader.uint().ok()?];
        let sound = at < u64::from(image.counts.ops)
            && place.iter().all(|number| u32::try_from(*number).is_ok());
        sound.then_some(())?;
    }
    Some(())
}

const _: () = assert!(ANSWERS_MAX <= FIELDS_MAX);
