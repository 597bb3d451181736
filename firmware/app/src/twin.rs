//! The device's twin: what it should be, and what it says it is.
//!
//! What it should be is the gateway's to resolve and is taken whole, or not at all; it stays in
//! flash, so a device that starts without a gateway knows what it was to be. What it says it is, is
//! a map of cells under stamps of its own, which grow whatever the clock does. What has a greater
//! stamp than the gateway has acknowledged is handed on, the newest state and not each change.

use crate::log::{Fault, Log};
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::device::desired::{Ask, Desired, NONE, Section, Version};
use holdfast_core::device::reported::{Joined, RESERVED, Writer as Message};
use holdfast_core::hlc::{Hlc, Stamp};
use holdfast_core::state::{Author, Cell, LwwMap, Path, Role, Value, Writer};
use holdfast_core::{Device, Reject};

/// Bytes of the desired section: as many as a message brings.
pub const DESIRED_MAX_BYTES: usize = 998;
/// Bytes of the reported section.
pub const REPORTED_MAX_BYTES: usize = 512;

const DESIRED: u8 = 48;
const REPORTED: u8 = 49;

/// The desired section.
pub type Wanted = LwwMap<DESIRED_MAX_BYTES>;

/// The twin.
pub struct Twin {
    version: Version,
    desired: Wanted,
    reported: LwwMap<REPORTED_MAX_BYTES>,
    author: Author,
    clock: Hlc,
    /// Up to here the gateway has what is reported.
    joined: Stamp,
    /// What has this mark no gateway can read.
    refused: Option<u64>,
}

impl Twin {
    /// That of a device, as it is in flash.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn open<F: NorFlash>(
        log: &mut Log<F>,
        device: Device<'_>,
    ) -> Result<Self, Fault<F::Error>> {
        let (mut version, mut desired) = (NONE, LwwMap::new());
        if let Some((held, records)) = log.get(DESIRED)?.and_then(<[u8]>::split_first_chunk)
            && let Ok(map) = LwwMap::from_bytes(records)
        {
            (version, desired) = (*held, map);
        }
        let reported = LwwMap::from_bytes(log.get(REPORTED)?.unwrap_or_default());
        // What another firmware left and this one does not understand begins anew.
        let reported = reported.unwrap_or_default();
        let last = reported.iter().map(|(_, cell)| cell.stamp).max().unwrap_or_default();
        let (author, clock) = (Author::device(device), Hlc::resume(last));
        let joined = Stamp::default();
        Ok(Self { version, desired, reported, author, clock, joined, refused: None })
    }

    /// What it should be.
    #[must_use]
    pub const fn desired(&self) -> &Wanted {
        &self.desired
    }

    /// Which version of it that is.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// What it says it is at a path.
    #[must_use]
    pub fn says(&self, path: Path<'_>) -> Option<Value<'_>> {
        self.reported.get(path)?.value()
    }

    /// What to ask a gateway.
    #[must_use]
    pub const fn ask(&self) -> Ask {
        Ask { version: self.version }
    }

    /// Takes what a gateway says it should be; whether that is something else than before.
    ///
    /// # Errors
    /// [`Reject::Full`] when it has no room, and then it stays as it was; a fault of the flash.
    pub fn take<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        desired: &Desired<'_>,
    ) -> Result<bool, Fault<F::Error>> {
        let Section::Whole(records) = desired.section else { return Ok(false) };
        if desired.version == self.version {
            return Ok(false);
        }
        let mut value = heapless::Vec::<u8, { DESIRED_MAX_BYTES + 16 }>::new();
        for part in [&desired.version[..], records.as_bytes()] {
            value.extend_from_slice(part).map_err(|_| Reject::Full)?;
        }
        let map = LwwMap::from_bytes(records.as_bytes())?;
        log.put(&[(DESIRED, &value)])?;
        (self.version, self.desired) = (desired.version, map);
        Ok(true)
    }

    /// Says what it is at a path, or with none that it says nothing there; whether that is
    /// something else than before. `now_ms` is the time, as far as it is known.
    ///
    /// # Errors
    /// [`Reject::Full`] when there is no room, [`Reject::Path`] for a path that is the gateway's; a
    /// fault of the flash. It stays as it was then.
    pub fn report<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        path: Path<'_>,
        value: Option<Value<'_>>,
        now_ms: u64,
    ) -> Result<bool, Fault<F::Error>> {
        if path.segments().next() == Some(RESERVED) {
            return Err(Reject::Path.into());
        }
        if self.reported.get(path).and_then(|cell| cell.value()) == value {
            return Ok(false);
        }
        let mut map = self.reported.clone();
        let writer = self.writer(now_ms);
        let stamp = match value {
            Some(value) => Some(map.put(path, value, writer)?),
            None => map.delete(path, writer),
        };
        if stamp.is_none() {
            return Ok(false);
        }
        log.put(&[(REPORTED, map.as_bytes())])?;
        self.reported = map;
        Ok(true)
    }

    fn writer(&mut self, now_ms: u64) -> Writer {
        Writer { local: self.clock.tick(now_ms), author: self.author, role: Role::Device }
    }

    /// What names all that is reported by now.
    #[must_use]
    pub const fn mark(&self) -> u64 {
        self.clock.last().0
    }

    /// Whether the gateway lacks something of what is reported.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        let is_new = self.refused != Some(self.mark());
        is_new && self.reported.iter().any(|(_, cell)| cell.stamp > self.joined)
    }

    /// What the gateway lacks, as a message.
    ///
    /// # Errors
    /// [`Reject::Full`] when `out` has no room for all that is reported.
    pub fn lacking<'o>(&self, out: &'o mut [u8]) -> Result<&'o [u8], Reject> {
        let mut message = Message::new(out, self.mark())?;
        for (path, cell) in self.reported.iter().filter(|(_, cell)| cell.stamp > self.joined) {
            message.push(path, &cell)?;
        }
        Ok(message.finish())
    }

    /// Takes the gateway's word about what it was told: it has it, or something later stands there,
    /// and then all is stamped anew, above that.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn joined<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        joined: &Joined,
    ) -> Result<(), Fault<F::Error>> {
        if joined.is_stale {
            self.clock = Hlc::resume(self.clock.last().max(joined.above));
            let mut map = LwwMap::new();
            for (path, cell) in self.reported.iter() {
                map.join_cell(path, &Cell { stamp: self.clock.tick(0), ..cell })?;
            }
            log.put(&[(REPORTED, map.as_bytes())])?;
            self.reported = map;
            self.joined = Stamp::default();
        } else {
            self.pass_over(joined.mark);
        }
        Ok(())
    }

    /// What is reported up to a mark is not handed on again.
    pub fn pass_over(&mut self, mark: u64) {
        self.joined = self.joined.max(Stamp(mark.min(self.mark())));
    }

    /// The gateway cannot read what has this mark: it is not handed on again until it is something
    /// else, or the device starts anew.
    pub fn refused(&mut self, mark: u64) {
        self.refused = Some(mark);
    }

    /// What one gateway acknowledged is no word of another: it has to be told all.
    pub fn connect(&mut self) {
        self.joined = Stamp::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chip::{Broken, Outside};
    use holdfast_core::device::reported::Reported;
    use holdfast_core::device::vectors;
    use holdfast_core::state::Content;
    use std::string::{String, ToString};
    use std::vec::Vec;

    const MODE: &str = "mode";

    fn path(text: &str) -> Path<'_> {
        Path::new(text).unwrap()
    }

    fn open(chip: &Outside) -> (Log<Outside>, Twin) {
        let mut log = chip.open();
        let twin = Twin::open(&mut log, Device::new("pump-1").unwrap()).unwrap();
        (log, twin)
    }

    /// The desired section of a message.
    fn section(message: &[u8]) -> Desired<'_> {
        let envelope = holdfast_core::device::Envelopes::new(message).next().unwrap().unwrap();
        Desired::decode(envelope.payload).unwrap()
    }

    /// What the gateway lacks: its mark, and the paths with what they say.
    fn lacking(twin: &Twin) -> (u64, Vec<(String, Option<i64>)>) {
        let mut out = [0; 600];
        let reported = Reported::decode(twin.lacking(&mut out).unwrap()).unwrap();
        assert!(reported.foreign(Author::device(Device::new("pump-1").unwrap())).is_none());
        let said = |cell: Cell<'_>| match cell.content {
            Content::Value(Value::Int(int)) => Some(int),
            _ => None,
        };
        let cells = reported.cells.map(|(path, cell)| (path.as_str().to_string(), said(cell)));
        (reported.mark, cells.collect())
    }

    fn joined(mark: u64, is_stale: bool, above: Stamp) -> Joined {
        Joined { mark, is_stale, above }
    }

    #[test]
    fn what_is_desired_is_taken_whole_and_stays_without_power() {
        let chip = Outside::new(3);
        let (mut log, mut twin) = open(&chip);
        assert_eq!(twin.ask().version, NONE);
        let whole = section(vectors::DESIRED_WHOLE);
        assert!(twin.take(&mut log, &whole).unwrap());
        assert!(!twin.take(&mut log, &whole).unwrap(), "it is the same");
        assert!(!twin.take(&mut log, &section(vectors::DESIRED_SAME)).unwrap());
        assert!(!twin.take(&mut log, &section(vectors::DESIRED_LARGE)).unwrap());
        let (_, twin) = open(&chip);
        assert_eq!(twin.ask().version, whole.version);
        let mode = twin.desired().get(path(MODE)).and_then(|cell| cell.value());
        assert_eq!(mode, Some(Value::text("auto").unwrap()));
    }

    #[test]
    fn a_section_that_cannot_be_kept_changes_nothing() {
        let chip = Outside::new(3);
        let (mut log, mut twin) = open(&chip);
        chip.left.set(0);
        let fault = twin.take(&mut log, &section(vectors::DESIRED_WHOLE));
        assert_eq!(fault, Err(Fault::Flash(Broken::Power)));
        assert_eq!((twin.version(), twin.desired().as_bytes()), (NONE, &[][..]));
    }

    #[test]
    fn what_changed_is_handed_on_until_the_gateway_has_it() {
        let chip = Outside::new(3);
        let (mut log, mut twin) = open(&chip);
        let mut say = |twin: &mut Twin, at: &str, value: Option<i64>, now| {
            twin.report(&mut log, path(at), value.map(Value::Int), now).unwrap()
        };
        assert!(!twin.is_ahead());
        assert!(say(&mut twin, "valve", Some(5), 0));
        assert!(!say(&mut twin, "valve", Some(5), 1_000), "it says so already");
        assert!(say(&mut twin, "mode", Some(1), 1_000));
        let (first, all) = lacking(&twin);
        assert_eq!(all, [("mode".into(), Some(1)), ("valve".into(), Some(5))]);
        assert!(say(&mut twin, "valve", Some(6), 500), "by a clock that was set back");
        let say_joined = |twin: &mut Twin, mark| {
            twin.joined(&mut open(&chip).0, &joined(mark, false, Stamp::default())).unwrap();
        };
        say_joined(&mut twin, first);
        let (second, rest) = lacking(&twin);
        assert_eq!(rest, [("valve".into(), Some(6))]);
        assert!(second > first);
        say_joined(&mut twin, u64::MAX);
        assert!(!twin.is_ahead(), "and what comes next has a greater stamp all the same");
        let (mut log, _) = open(&chip);
        assert!(twin.report(&mut log, path("valve"), None, 0).unwrap());
        assert_eq!(lacking(&twin).1, [("valve".into(), None)]);
        twin.connect();
        assert_eq!(lacking(&twin).1.len(), 2, "another gateway is told all");
    }

    #[test]
    fn a_device_that_began_anew_stamps_above_what_it_said_before() {
        let chip = Outside::new(3);
        let (mut log, mut twin) = open(&chip);
        twin.report(&mut log, path("valve"), Some(Value::Int(5)), 0).unwrap();
        let (mark, _) = lacking(&twin);
        let above = Stamp::new(1_800_000_000_000, 7);
        twin.joined(&mut log, &joined(mark, true, above)).unwrap();
        assert!(twin.is_ahead());
        assert!(lacking(&twin).0 > above.0);
        let (_, twin) = open(&chip);
        assert!(lacking(&twin).0 > above.0, "also behind a power cut");
    }

    #[test]
    fn what_is_the_gateway_s_or_has_no_room_is_refused() {
        let (mut log, mut twin) = open(&Outside::new(3));
        let refused = twin.report(&mut log, path("device/boot"), Some(Value::Int(1)), 0);
        assert_eq!(refused, Err(Fault::Reject(Reject::Path)));
        let text = "x".repeat(REPORTED_MAX_BYTES);
        let long = Value::text(&text).unwrap();
        let refused = twin.report(&mut log, path("valve"), Some(long), 0);
        assert_eq!(refused, Err(Fault::Reject(Reject::Full)));
        assert!(!twin.is_ahead());
    }
}
