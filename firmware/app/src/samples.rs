//! What was measured and is not on the gateway's disk: a queue in flash, oldest first.
//!
//! A sample is in it for good once [`Samples::push`] has returned: a power cut in the middle leaves
//! it whole or not there. When the flash is full the oldest go, a few at a time, and are counted:
//! what happens now matters more on the device than what happened weeks ago.

use crate::part::Part;
use crate::record::{RECORD_MAX_BYTES, Record};
use core::ops::Range;
use embedded_storage_async::nor_flash::{MultiwriteNorFlash, NorFlash};
use holdfast_core::Reject;
use sequential_storage::Error;
use sequential_storage::cache::page_states::CalculatedPageStates;
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::queue::{QueueConfig, QueueStorage};

/// Samples that go at once when there is no room: about a page of flash.
const GIVEN_UP: u32 = 64;

type Queue<'a, F> = QueueStorage<Part<'a, F>, Cache<CalculatedPageStates, Uncached, Uncached>>;

/// The queue.
pub struct Samples<'a, F: NorFlash> {
    queue: Queue<'a, F>,
    range: Range<u32>,
    /// Given up since it was opened.
    dropped: u32,
    /// That could not be read back since then.
    damaged: u32,
}

/// What a look at the queue says of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// To go on with the next.
    On,
    /// That it is enough.
    Enough,
}

impl<'a, F: MultiwriteNorFlash> Samples<'a, F> {
    /// Opens the queue in `range` of the flash, whole pages of it.
    #[must_use]
    pub fn open(part: Part<'a, F>, range: Range<u32>) -> Self {
        let pages = (range.end - range.start) as usize / F::ERASE_SIZE;
        let cache = Cache::new(CalculatedPageStates::new(pages), Uncached, Uncached);
        let queue = QueueStorage::new(part, QueueConfig::new(range.clone()), cache);
        Self { queue, range, dropped: 0, damaged: 0 }
    }

    /// Puts a sample behind all others.
    ///
    /// # Errors
    /// [`Reject::Full`] for a text that is too long to be kept; a fault of the flash.
    pub async fn push(&mut self, record: &Record<'_>) -> Result<(), Fault<F::Error>> {
        let mut bytes = heapless::Vec::<u8, RECORD_MAX_BYTES>::new();
        record.encode(&mut bytes).map_err(Fault::Reject)?;
        loop {
            match self.queue.push(&bytes, false).await {
                Ok(()) => return Ok(()),
                Err(Error::FullStorage) => self.give_up().await?,
                Err(error) => return Err(Fault::Flash(error)),
            }
        }
    }

    /// Makes room: the oldest go.
    async fn give_up(&mut self) -> Result<(), Fault<F::Error>> {
        let mut buffer = [0; RECORD_MAX_BYTES];
        for _ in 0..GIVEN_UP {
            if self.queue.pop(&mut buffer).await?.is_none() {
                break;
            }
            self.dropped += 1;
        }
        Ok(())
    }

    /// Shows the samples to `look`, oldest first, until it has seen enough.
    ///
    /// # Errors
    /// A fault of the flash.
    pub async fn look(
        &mut self,
        mut look: impl FnMut(&Record<'_>) -> Look,
    ) -> Result<(), Fault<F::Error>> {
        let mut buffer = [0; RECORD_MAX_BYTES];
        let mut entries = self.queue.iter().await?;
        while let Some(entry) = entries.next(&mut buffer).await? {
            let Ok(record) = Record::decode(&entry) else { continue };
            if look(&record) == Look::Enough {
                break;
            }
        }
        Ok(())
    }

    /// Lets go of all samples up to one of a boot, which are on the gateway's disk, and of what
    /// cannot be read among them.
    ///
    /// # Errors
    /// A fault of the flash.
    pub async fn release(&mut self, boot: u64, sequence: u64) -> Result<(), Fault<F::Error>> {
        let mut buffer = [0; RECORD_MAX_BYTES];
        let mut entries = self.queue.iter().await?;
        while let Some(entry) = entries.next(&mut buffer).await? {
            match Record::decode(&entry) {
                Ok(record) if (record.boot, record.sequence) > (boot, sequence) => break,
                Ok(_) => {}
                Err(_) => self.damaged += 1,
            }
            entry.pop().await?;
        }
        Ok(())
    }

    /// Samples that were given up or could not be read back, since this was last asked.
    pub fn lost(&mut self) -> (u32, u32) {
        (core::mem::take(&mut self.dropped), core::mem::take(&mut self.damaged))
    }

    /// Bytes of the flash that samples take, roughly.
    ///
    /// # Errors
    /// A fault of the flash.
    pub async fn used(&mut self) -> Result<u32, Fault<F::Error>> {
        Ok((self.range.end - self.range.start).saturating_sub(self.queue.space_left().await?))
    }
}

/// Why something was not kept or found.
#[derive(Debug)]
pub enum Fault<E> {
    /// It cannot be kept.
    Reject(Reject),
    /// The flash.
    Flash(Error<E>),
}

impl<E> From<Error<E>> for Fault<E> {
    fn from(error: Error<E>) -> Self {
        Self::Flash(error)
    }
}
