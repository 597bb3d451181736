//! Steps of runs that are not on the gateway's disk, in the log, oldest first.
//!
//! The record of a step is both what its run is from then on and what the gateway is to hear, so
//! neither is ever there without the other. The gateway lets go of steps by their number.

use crate::log::{Entry, Fault, Log, Place, STEP, Step as At, values_at};
use crate::samples::Look;
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::codec::Reader;
use holdfast_core::device::flows::Step;

/// The key of the number of the last step that was let go of.
const STEPPED: u8 = 4;

/// A step as it waits.
pub struct Kept<'b> {
    /// In which boot it was made, and after how many milliseconds of that.
    pub boot: u64,
    /// See there.
    pub uptime_ms: u64,
    /// The step, as it was encoded.
    pub bytes: &'b [u8],
    /// Its number.
    pub number: u64,
}

impl<'b> Kept<'b> {
    /// Reads the payload of a record.
    fn read(payload: &'b [u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        let (boot, uptime_ms) = (reader.uint().ok()?, reader.uint().ok()?);
        let entry = Entry::read(payload, values_at(STEP, payload)?)?;
        let bytes = payload.get(entry.at..entry.end())?;
        let number = Step::decode(bytes).ok()?.number;
        Some(Self { boot, uptime_ms, bytes, number })
    }
}

impl<F: NorFlash> Log<F> {
    /// Shows the steps to `look`, oldest first, until it has seen enough.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn look_at_steps(
        &mut self,
        mut look: impl FnMut(&Kept<'_>) -> Look,
    ) -> Result<(), Fault<F::Error>> {
        let stepped = self.stepped;
        self.walk_steps(
            self.first_step,
            |kept, _| {
                if kept.number <= stepped { Look::On } else { look(kept) }
            },
        )
    }

    /// Whether there are steps that were not let go of.
    #[must_use]
    pub const fn has_steps(&self) -> bool {
        self.last_step > self.stepped
    }

    /// Lets go of all steps up to one, which are on the gateway's disk.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn release_steps(&mut self, number: u64) -> Result<(), Fault<F::Error>> {
        let number = number.min(self.last_step);
        if number <= self.stepped {
            return Ok(());
        }
        self.put(&[(STEPPED, &number.to_le_bytes())])?;
        self.stepped = number;
        self.pass_over_steps()
    }

    /// Finds the first step that is to be handed on.
    fn pass_over_steps(&mut self) -> Result<(), Fault<F::Error>> {
        let (stepped, mut first) = (self.stepped, self.end());
        self.walk_steps(self.first_step, |kept, place| {
            if kept.number <= stepped {
                return Look::On;
            }
            first = place;
            Look::Enough
        })?;
        self.first_step = first;
        Ok(())
    }

    /// Takes up the steps as they were before this start.
    pub(crate) fn take_up_steps(&mut self) -> Result<(), Fault<F::Error>> {
        let stepped = self.get(STEPPED)?.and_then(|value| value.first_chunk());
        self.stepped = stepped.map_or(0, |number| u64::from_le_bytes(*number));
        let mut last = self.stepped;
        self.first_step = self.begin();
        self.walk_steps(self.first_step, |kept, _| {
            last = last.max(kept.number);
            Look::On
        })?;
        self.last_step = last;
        self.pass_over_steps()
    }

    /// Shows all steps from a place on, each with where it stands.
    fn walk_steps(
        &mut self,
        from: Place,
        mut look: impl FnMut(&Kept<'_>, Place) -> Look,
    ) -> Result<(), Fault<F::Error>> {
        let mut place = from;
        loop {
            place = match self.step(place)? {
                At::Record { kind, payload, next } => {
                    if kind == STEP
                        && let Some(kept) = Kept::read(payload)
                        && look(&kept, place) == Look::Enough
                    {
                        return Ok(());
                    }
                    next
                }
                At::Damaged { next } => next,
                At::End => match self.next_page(place) {
                    Some(next) => next,
                    None => return Ok(()),
                },
            };
        }
    }
}
