//! What the author of a cell was when it wrote: the hub, a gateway, or a device.

/// The role of an author. It stands in the cell and is never looked up later, so what a write was
/// worth does not change when its author becomes something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// The hub, for people and programs that act through it.
    Hub = 0,
    /// A gateway, for people and programs at the site.
    Edge = 1,
    /// A device.
    Device = 2,
}

impl Role {
    /// Reads the number under which a role is stored.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Hub),
            1 => Some(Self::Edge),
            2 => Some(Self::Device),
            _ => None,
        }
    }

    /// The word used in answers and on pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Edge => "edge",
            Self::Device => "device",
        }
    }

    /// Whether this is a writer at the site: a gateway or a device.
    #[must_use]
    pub const fn is_at_site(self) -> bool {
        !matches!(self, Self::Hub)
    }
}
