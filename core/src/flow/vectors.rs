//! Runs that must come out the same on every machine that the rules run on.
//!
//! `vectors/everything.flow` is an image with one of everything. [`play`] drives a run of it with
//! inputs that follow from a seed; the *journal* is the memory after every step, one behind the
//! other, and each line of `vectors/journals.txt` is a seed, how many steps were taken, and the
//! BLAKE3 of the journal. Nothing is allocated, so a microcontroller checks the very lines that a
//! gateway does.

use super::memory::{Memory, bytes_of};
use super::verify::{Place, Tier, verify};
use super::{Code, Given, Image, Input, Moment, Outcome, Resolution, start, step, view};

/// The image.
pub const EVERYTHING: &[u8] = include_bytes!("vectors/everything.flow");
/// The journals, a line each.
pub const JOURNALS: &str = include_str!("vectors/journals.txt");

/// Room for the memory of a run.
const MEMORY_BYTES: usize = 512;
/// Room for the operations of the image.
const OPS: usize = 40;
/// Inputs of a run.
const INPUTS: usize = 60;

/// What is wrong with a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The line is not one of this form.
    Form,
    /// The image is not accepted.
    Image,
    /// The journal is another one.
    Journal,
}

/// Checks one line.
///
/// # Errors
/// What is wrong with it.
pub fn check(line: &str) -> Result<(), Wrong> {
    let mut words = line.split(' ');
    let seed = words.next().and_then(|word| word.parse().ok()).ok_or(Wrong::Form)?;
    let steps: usize = words.next().and_then(|word| word.parse().ok()).ok_or(Wrong::Form)?;
    let digest = words.next().and_then(crate::id::hex).ok_or(Wrong::Form)?;
    if journal(seed)? == (steps, digest) { Ok(()) } else { Err(Wrong::Journal) }
}

/// How many steps the run of a seed takes, and the digest of its journal.
///
/// # Errors
/// [`Wrong::Image`]
pub fn journal(seed: u64) -> Result<(usize, [u8; 32]), Wrong> {
    let mut places = [Place::NOWHERE; OPS];
    let image = verify(EVERYTHING, &Tier::NODE, &mut places).map_err(|_| Wrong::Image)?;
    let mut memory = [0; MEMORY_BYTES];
    let memory = memory.get_mut(..bytes_of(image.sizes)).ok_or(Wrong::Image)?;
    let (mut hasher, mut steps) = (blake3::Hasher::new(), 0);
    play(&image, memory, &mut Random(seed), |memory| {
        steps += 1;
        hasher.update(memory);
    });
    Ok((steps, *hasher.finalize().as_bytes()))
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.bits() % if limit == 0 { 1 } else { limit }
    }
}

/// Runs an image with whatever comes. `look` is shown the memory after every step.
pub fn play(
    image: &Image<'_>,
    memory: &mut [u8],
    random: &mut Random,
    mut look: impl FnMut(&[u8]),
) {
    let mut now_ms = 1_000;
    let values = [Some(Given::Text("7")), Some(Given::Number(1))];
    let moment = Moment { now_ms, entropy: random.bits() };
    if start(image, memory, &values, moment).is_err() {
        return;
    }
    for _ in 0..INPUTS {
        look(memory);
        let Some(sight) = Memory::new(memory, image.sizes) else { return };
        if sight.phase().is_none_or(super::Phase::is_over) {
            return;
        }
        let serial = view::pending(image, sight).map(|pending| pending.serial).next();
        let fiber = random.below(3) as u8;
        let errors = [Code::BUSY, Code::REFUSED, Code::DOUBT, Code::own(0)];
        let input = match (random.below(12), serial) {
            (0..5, Some(serial)) => Input::Result { serial, outcome: Outcome::Done(&values) },
            (5, Some(serial)) => {
                let error = errors[random.below(errors.len() as u64) as usize];
                Input::Result { serial, outcome: Outcome::Failed(error) }
            }
            (6, _) => Input::Signal { signal: fiber, values: &[] },
            (7, _) => Input::Resolve { fiber, how: Resolution::Retry },
            (8, _) => Input::Resolve { fiber, how: Resolution::Skip },
            (9, _) if random.below(4) == 0 => Input::Cancel,
            (10, _) => Input::Resolve { fiber, how: Resolution::Compensate },
            _ => {
                now_ms += random.below(5_000) as i64;
                Input::Tick
            }
        };
        let moment = Moment { now_ms, entropy: random.bits() };
        // What is refused changes nothing, and is told in the journal by that.
        let _ = step(image, memory, &input, moment);
    }
}
