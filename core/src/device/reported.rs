//! What a device says it is, in cells that changed: with its own stamps, at whichever gateway.
//!
//! A device keeps its reported section as a map of cells and hands on those that its gateway has
//! not acknowledged. The gateway joins each into its document as it is, so a device that moves
//! between gateways whose clocks differ comes to the same end. One that began anew, with an empty
//! flash, is told that its stamps are too low and above which it has to stamp.

use crate::Reject;
use crate::codec::{Reader, Sink, Window};
use crate::hlc::Stamp;
use crate::state::{Author, Cell, Path, Records, Role, put_record};

/// The path that is the gateway's to write, with all below it: what health says.
pub const RESERVED: &str = "device";

/// Cells of a device's reported section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported<'a> {
    /// The device's own number for this message, which comes back with the answer.
    pub mark: u64,
    /// The cells, ascending by path; tombstones too.
    pub cells: Records<'a>,
}

impl<'a> Reported<'a> {
    /// Reads it, all cells included.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let mark = reader.uint()?;
        let cells = Records::read(reader.rest())?;
        Ok(Self { mark, cells })
    }

    /// The first path whose cell is not `author`'s to report: by somebody else, of another role, or
    /// at a path that is reserved.
    #[must_use]
    pub fn foreign(&self, author: Author) -> Option<Path<'a>> {
        let is_own = |path: &str, cell: &Cell<'_>| {
            let top = path.split('/').next();
            (cell.author, cell.role) == (author, Role::Device) && top != Some(RESERVED)
        };
        let mut cells = self.cells;
        cells.find(|(path, cell)| !is_own(path.as_str(), cell)).map(|(path, _)| path)
    }
}

/// Writes cells one behind the other.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Begins with the mark.
    ///
    /// # Errors
    /// [`Reject::Full`] when `out` has no room for as much as that.
    pub fn new(out: &'a mut [u8], mark: u64) -> Result<Self, Reject> {
        let room = out.len();
        let mut window = Window::new(out);
        window.put_uint(mark)?;
        let len = room - window.room();
        Ok(Self { out, len })
    }

    /// Appends a cell. Its path is greater than that of the one before.
    ///
    /// # Errors
    /// [`Reject::Full`] when there is no room for it; all before it is as it was.
    pub fn push(&mut self, path: Path<'_>, cell: &Cell<'_>) -> Result<(), Reject> {
        let room = self.out.len() - self.len;
        let mut window = Window::new(&mut self.out[self.len..]);
        put_record(&mut window, path, cell)?;
        self.len += room - window.room();
        Ok(())
    }

    /// The payload as it stands.
    #[must_use]
    pub fn finish(self) -> &'a [u8] {
        &self.out[..self.len]
    }
}

/// What became of cells that a device reported: they are on the gateway's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The mark of the device's message.
    pub mark: u64,
    /// Whether some cell was passed over, because what stands there is later and something else.
    pub is_stale: bool,
    /// The greatest stamp in the section: what is stamped above it is not passed over.
    pub above: Stamp,
}

impl Joined {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put_uint(self.mark)?;
        out.put_u8(u8::from(self.is_stale))?;
        out.put(&self.above.0.to_le_bytes())
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let mark = reader.uint()?;
        let is_stale = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Reject::Malformed),
        };
        let above = Stamp(u64::from_le_bytes(reader.array()?));
        reader.finish()?;
        Ok(Self { mark, is_stale, above })
    }
}
