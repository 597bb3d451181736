//! The next firmware: fetched, judged, tried, and kept or gone again.
//!
//! Which one it is to have the gateway says as state. Its manifest comes first, and is judged
//! before anything else is asked for: by a publisher of the fleet, for this board, no older than
//! what runs. Pieces follow, into the next place ([`crate::boot`]); how many pages of them are
//! whole is remembered, so a power cut costs a page. When all have come, what stands in flash is
//! hashed, and the next start runs it, on trial until a gateway has been heard. Whatever happens
//! before that, the start behind it runs the old one.

#[cfg(test)]
mod tests;

use crate::boot::{Places, State};
use crate::log::{Fault, Log};
use crate::node::Node;
use crate::signature;
use embassy_time::{Duration, Timer};
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::Reject;
use holdfast_core::artefact::{ArtefactId, Hasher, Manifest};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::device::firmware::{self, Firmware, Progress, Wanted};
use holdfast_core::device::flows::{Fetch, PIECE_BYTES, Piece};
use holdfast_core::id::FleetId;

/// How long new firmware has to hear from a gateway.
pub const TRIAL: Duration = Duration::from_secs(600);

/// The key of the update.
const UPDATE: u8 = 20;
/// The key of what runs.
const RUNS: u8 = 21;
/// Bytes that are hashed at once.
const STRIDE_BYTES: usize = 256;

/// An update, as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    id: ArtefactId,
    progress: Progress,
    /// None before the manifest was judged.
    size: u32,
    /// Bytes of it in the next place.
    done: u32,
    made_s: i64,
    hash: [u8; 32],
}

impl Held {
    const fn of(id: ArtefactId) -> Self {
        Self { id, progress: Progress::Fetching, size: 0, done: 0, made_s: 0, hash: [0; 32] }
    }

    fn is_whole(&self) -> bool {
        self.progress == Progress::Fetching && self.size > 0 && self.done == self.size
    }

    fn encode(&self) -> Result<heapless::Vec<u8, 81>, Reject> {
        let mut out = heapless::Vec::new();
        out.put(&self.id.0)?;
        out.put_u8(self.progress as u8)?;
        out.put(&self.size.to_le_bytes())?;
        out.put(&self.done.to_le_bytes())?;
        out.put(&self.made_s.to_le_bytes())?;
        out.put(&self.hash)?;
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let id = ArtefactId(reader.array()?);
        let progress = Progress::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
        let size = u32::from_le_bytes(reader.array()?);
        let done = u32::from_le_bytes(reader.array()?);
        let made_s = i64::from_le_bytes(reader.array()?);
        let hash = reader.array()?;
        reader.finish()?;
        Ok(Self { id, progress, size, done, made_s, hash })
    }
}

/// What runs, if it came as an artefact: which, and when that was made.
#[derive(Clone, Copy, Debug)]
struct Runs {
    id: ArtefactId,
    made_s: i64,
}

impl Runs {
    fn encode(&self) -> Result<heapless::Vec<u8, 40>, Reject> {
        let mut out = heapless::Vec::new();
        out.put(&self.id.0)?;
        out.put(&self.made_s.to_le_bytes())?;
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let id = ArtefactId(reader.array()?);
        let made_s = i64::from_le_bytes(reader.array()?);
        reader.finish()?;
        Ok(Self { id, made_s })
    }
}

/// The firmware of a device that can take another.
pub struct Update<F: NorFlash> {
    places: Places<F>,
    fleet: Option<FleetId>,
    held: Option<Held>,
    runs: Option<Runs>,
    is_on_trial: bool,
    /// The gateway did not have the piece that is lacking.
    is_absent: bool,
    /// The next start runs another image.
    is_ready: bool,
}

impl<F: NorFlash> Update<F> {
    /// Takes up what the last start left, and what this one did with it.
    pub(crate) fn open(
        log: &mut Log<F>,
        mut places: Places<F>,
        fleet: Option<FleetId>,
    ) -> Result<Self, Fault<F::Error>> {
        let held = log.get(UPDATE)?.and_then(|value| Held::decode(value).ok());
        let runs = log.get(RUNS)?.and_then(|value| Runs::decode(value).ok());
        let stands = places.stands()?;
        let is_on_trial = stands == State::Swap;
        let (is_absent, is_ready) = (false, false);
        let mut update = Self { places, fleet, held, runs, is_on_trial, is_absent, is_ready };
        if stands == State::Revert {
            let fell = held.filter(|held| held.progress != Progress::FellBack);
            if let Some(held) = fell {
                update.fell_back(log, held)?;
            }
            update.places.keep()?;
        }
        if !is_on_trial && update.held.is_some_and(|held| held.is_whole()) {
            update.finish(log)?;
        }
        Ok(update)
    }

    /// Takes note that an image is gone again. The power may have gone behind the word that it
    /// runs: then nobody knows which one does, but that none made earlier may come.
    fn fell_back(&mut self, log: &mut Log<F>, held: Held) -> Result<(), Fault<F::Error>> {
        let held = Held { progress: Progress::FellBack, ..held };
        let runs = self.runs.map(|runs| match runs.id == held.id {
            true => Runs { id: ArtefactId([0; 32]), ..runs },
            false => runs,
        });
        let encoded = runs.map(|runs| runs.encode()).transpose()?.unwrap_or_default();
        log.put(&[(UPDATE, &held.encode()?), (RUNS, &encoded)])?;
        (self.held, self.runs) = (Some(held), runs);
        Ok(())
    }

    /// What the gateway is told.
    pub(crate) fn said(&self) -> Firmware<'static> {
        let update = self.held.map(|held| firmware::Update {
            id: held.id,
            progress: if self.is_on_trial { Progress::Trial } else { held.progress },
            done: held.done.into(),
        });
        let Places { board, room, .. } = self.places;
        Firmware { board, room: room.into(), runs: self.runs.map(|runs| runs.id), update }
    }

    /// Whether the device is to start again, for the image that it has made ready.
    pub(crate) const fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Whether the image that runs goes again when no gateway is heard.
    pub(crate) const fn is_on_trial(&self) -> bool {
        self.is_on_trial
    }

    /// Takes which one it is to have; whether there is another update by that, or none any more.
    pub(crate) fn want(
        &mut self,
        log: &mut Log<F>,
        wanted: Wanted,
    ) -> Result<bool, Fault<F::Error>> {
        self.is_absent = false;
        let held = self.held.map(|held| held.id);
        if self.is_on_trial || self.is_ready || held == wanted.0 {
            return Ok(false);
        }
        let is_other = |id: &ArtefactId| self.runs.is_none_or(|runs| runs.id != *id);
        match wanted.0.filter(is_other) {
            Some(id) => self.hold(log, Held::of(id))?,
            None if held.is_some() => {
                log.put(&[(UPDATE, &[])])?;
                self.held = None;
            }
            None => return Ok(false),
        }
        Ok(true)
    }

    fn hold(&mut self, log: &mut Log<F>, held: Held) -> Result<(), Fault<F::Error>> {
        log.put(&[(UPDATE, &held.encode()?)])?;
        self.held = Some(held);
        Ok(())
    }

    fn stand(&mut self, log: &mut Log<F>, progress: Progress) -> Result<(), Fault<F::Error>> {
        match self.held {
            Some(held) => self.hold(log, Held { progress, ..held }),
            None => Ok(()),
        }
    }

    /// The next piece that is lacking.
    pub(crate) fn lacks(&self) -> Option<Fetch> {
        let is_lacking = |held: &Held| held.progress == Progress::Fetching && !held.is_whole();
        let held = self.held.filter(is_lacking)?;
        if self.is_on_trial || self.is_ready || self.is_absent {
            return None;
        }
        let part = if held.size == 0 { 0 } else { 1 + held.done / PIECE_BYTES as u32 };
        Some(Fetch { id: held.id, part: part.into() })
    }

    /// Takes a piece, if it is the one that is lacking; whether how the update stands has changed
    /// by it.
    pub(crate) fn take(
        &mut self,
        log: &mut Log<F>,
        piece: &Piece<'_>,
    ) -> Result<bool, Fault<F::Error>> {
        let Some(held) = self.held.filter(|_| self.lacks() == Some(piece.of)) else {
            return Ok(false);
        };
        if piece.bytes.is_empty() {
            self.is_absent = true;
            return Ok(false);
        }
        if held.size == 0 {
            let (held, is_refused) = match self.judged(held.id, piece.bytes) {
                Ok(held) => (held, false),
                Err(progress) => (Held { progress, ..held }, true),
            };
            return self.hold(log, held).map(|()| is_refused);
        }
        self.write(log, held, piece.bytes)?;
        if self.held.is_some_and(|held| held.is_whole()) {
            return self.finish(log).map(|()| true);
        }
        Ok(false)
    }

    /// What is to be fetched by a manifest, or why it is not.
    #[inline(never)]
    fn judged(&self, id: ArtefactId, manifest: &[u8]) -> Result<Held, Progress> {
        let manifest = Manifest::decode(manifest).map_err(|_| Progress::Damaged)?;
        if manifest.id != id {
            return Err(Progress::Damaged);
        }
        let is_by = |fleet| manifest.check(fleet, &signature::is_by).is_ok();
        if !self.fleet.is_some_and(is_by) {
            return Err(Progress::Untrusted);
        }
        let content = manifest.content;
        let is_older = self.runs.is_some_and(|runs| content.made_s < runs.made_s);
        let fits = content.kind == firmware::KIND
            && content.name == self.places.board
            && content.size <= self.places.room.into();
        let size = u32::try_from(content.size).ok().filter(|_| fits && !is_older);
        let (made_s, hash) = (content.made_s, content.hash);
        Ok(Held { size: size.ok_or(Progress::Unfit)?, made_s, hash, ..Held::of(id) })
    }

    /// Puts a piece into the next place. Behind a start it may begin before what is lacking: the
    /// page that the power left unfinished begins anew.
    fn write(&mut self, log: &mut Log<F>, held: Held, bytes: &[u8]) -> Result<(), Fault<F::Error>> {
        let begin = held.done - held.done % PIECE_BYTES as u32;
        let end = (begin + PIECE_BYTES as u32).min(held.size);
        if bytes.len() as u32 != end - begin {
            return Err(Reject::Malformed.into());
        }
        self.places.write(held.done, &bytes[(held.done - begin) as usize..])?;
        let page = F::ERASE_SIZE as u32;
        let now = Held { done: end, ..held };
        if end < held.size && end / page == held.done / page {
            self.held = Some(now);
            return Ok(());
        }
        // What is behind the last whole page would have to be erased with it.
        let whole = if end < held.size { end - end % page } else { end };
        self.hold(log, Held { done: whole, ..now })?;
        self.held = Some(now);
        Ok(())
    }

    /// Looks at what is in the next place as a whole, and has the next start run it.
    #[inline(never)]
    fn finish(&mut self, log: &mut Log<F>) -> Result<(), Fault<F::Error>> {
        let Some(held) = self.held else { return Ok(()) };
        let mut hasher = Hasher::default();
        let mut bytes = [0; STRIDE_BYTES];
        for at in (0..held.size).step_by(STRIDE_BYTES) {
            let some = &mut bytes[..STRIDE_BYTES.min((held.size - at) as usize)];
            self.places.read(at, some)?;
            hasher.update(some);
        }
        if hasher.finish() != held.hash {
            return self.stand(log, Progress::Damaged);
        }
        self.places.swap()?;
        self.is_ready = true;
        Ok(())
    }

    /// Takes note that a gateway was heard: what is on trial stays. Whether it was.
    pub(crate) fn heard(&mut self, log: &mut Log<F>) -> Result<bool, Fault<F::Error>> {
        if !self.is_on_trial {
            return Ok(false);
        }
        // Whoever flashes a board by hand has no artefact.
        if let Some(held) = self.held {
            let held = Held { progress: Progress::Runs, ..held };
            let runs = Runs { id: held.id, made_s: held.made_s };
            log.put(&[(UPDATE, &held.encode()?), (RUNS, &runs.encode()?)])?;
            (self.held, self.runs) = (Some(held), Some(runs));
        }
        self.places.keep()?;
        self.is_on_trial = false;
        Ok(true)
    }
}

/// Ends when firmware has been on trial for too long; the board then starts again, and runs what it
/// ran before. With firmware that is not on trial it never ends.
pub async fn trial<F: NorFlash>(node: &Node<F>) {
    if node.is_on_trial() {
        Timer::after(TRIAL).await;
        if node.is_on_trial() {
            return;
        }
    }
    core::future::pending::<()>().await;
}
