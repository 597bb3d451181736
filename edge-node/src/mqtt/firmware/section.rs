//! The desired section as a device gets it: what the view shows, in cells.

use super::letters::envelope;
use holdfast_core::device;
use holdfast_core::device::desired::{Desired, Section, Version};
use holdfast_core::state::{
    Cell, Content, Outcome, Policy, Records, Resolved, Shown, Value, put_record,
};
use holdfast_sync::docs::{Contents, DocumentName};

/// A section that is shown to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shows {
    /// Its version.
    pub version: Version,
    /// Its records.
    pub records: Vec<u8>,
}

impl Shows {
    /// What `contents` show under `policy`.
    #[must_use]
    pub fn of(name: &DocumentName, contents: &Contents, policy: &Policy<'_>) -> Self {
        let digest = contents.digest(name, policy).0;
        let version = *digest.first_chunk().expect("a digest is longer");
        let records = contents.view(name, policy, |view| {
            let mut out = Vec::new();
            for resolved in view.filter(Resolved::is_in_view) {
                if let Some(cell) = shown(&resolved.outcome) {
                    let put = put_record(&mut out, resolved.path, &cell);
                    put.expect("a vector has room");
                }
            }
            out
        });
        Self { version, records }
    }

    /// The envelope for a device that holds `held`, and whether the device can have the section.
    #[must_use]
    pub fn envelope(&self, held: Option<Version>) -> (Vec<u8>, bool) {
        let version = self.version;
        let put = |section: Section<'_>| {
            envelope(device::DESIRED, |out| Desired { version, section }.encode(out))
        };
        let short = |section| put(section).expect("a message has room for a few bytes");
        let records = Records::read(&self.records).expect("they were just put there");
        match put(Section::Whole(records)) {
            Some(_) if held == Some(version) => (short(Section::Same), true),
            Some(whole) => (whole, true),
            None => (short(Section::TooLarge(self.records.len() as u64)), false),
        }
    }
}

/// The cell that stands for what a path shows; none for a set, which a device has no room for.
fn shown<'a>(outcome: &Outcome<'_, 'a>) -> Option<Cell<'a>> {
    match outcome.shown() {
        Shown::Value(_) => outcome.winner().copied(),
        Shown::Counter(sum) => {
            let last = outcome.last_write()?;
            let of = |cell: &&Cell<'_>| (cell.stamp, cell.author) == last;
            let cell = outcome.cells().iter().find(of)?;
            Some(Cell { content: Content::Value(Value::Int(sum)), ..*cell })
        }
        Shown::Set | Shown::Absent => None,
    }
}
