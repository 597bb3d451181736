//! The three sections of a twin, each a document of its own.

use holdfast_sync::docs::DocumentName;

/// A section of a twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// What the device should be.
    Desired,
    /// What the device says of itself.
    Reported,
    /// What people call and count it by.
    Tags,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Desired, Self::Reported, Self::Tags];

    /// The word in addresses, answers and documents' names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Desired => "desired",
            Self::Reported => "reported",
            Self::Tags => "tags",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.name() == name)
    }

    /// The document of this section of a device; none when that is no device's id.
    #[must_use]
    pub fn document(self, device: &str) -> Option<DocumentName> {
        DocumentName::new(&format!("device/{device}/{}", self.name())).ok()
    }

    /// The device and section whose document this is.
    #[must_use]
    pub fn of(name: &DocumentName) -> Option<(&str, Self)> {
        let (_, section) = name.as_str().rsplit_once('/')?;
        Some((name.device()?, Self::from_name(section)?))
    }
}
