//! Which documents there are: one per device and class, one per node, one per site.

use super::Refusal;
use crate::identity::valid_name;
use holdfast_core::state::{Author, Path};
use holdfast_core::{Device, NodeId};
use std::fmt;

/// What a document is about, which says who may write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// What a device says of itself.
    Reported,
    /// What a device should be.
    Desired,
    /// What people call and count a device by; not for the device itself.
    Tags,
    /// How a node is configured.
    Node,
    /// What holds for a site: its roster, its policies.
    Site,
}

/// The name of a document: `device/<id>/` and `reported`, `desired` or `tags`, `node/<id>`,
/// `site/<id>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentName {
    text: String,
    class: Class,
}

impl DocumentName {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`Refusal::Name`] for anything that names no document.
    pub fn new(text: &str) -> Result<Self, Refusal> {
        let parts: Vec<&str> = text.split('/').collect();
        let class = match *parts.as_slice() {
            ["device", id, "reported"] if Device::new(id).is_ok() => Class::Reported,
            ["device", id, "desired"] if Device::new(id).is_ok() => Class::Desired,
            ["device", id, "tags"] if Device::new(id).is_ok() => Class::Tags,
            // One spelling only, or one node would have two documents.
            ["node", id] if NodeId::from_hex(id).is_some_and(|node| node.to_string() == id) => {
                Class::Node
            }
            ["site", id] if valid_name(id) => Class::Site,
            _ => return Err(Refusal::Name),
        };
        // Policies name documents by path, which `.` and `..` are not.
        Path::new(text).map_err(|_| Refusal::Name)?;
        Ok(Self { text: text.to_owned(), class })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As a path, the way policies see it.
    #[must_use]
    pub fn path(&self) -> Path<'_> {
        Path::new(&self.text).expect("checked when the name was made")
    }

    /// What the document is about.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// The device whose document this is, if it is a device's.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        self.text.strip_prefix("device/")?.split('/').next()
    }

    /// The device as an author of cells, if it may write the document.
    #[must_use]
    pub fn device_author(&self) -> Option<Author> {
        if self.class == Class::Tags {
            return None;
        }
        let device = Device::new(self.device()?).ok()?;
        Some(Author::device(device))
    }
}

impl fmt::Display for DocumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_of_five_forms() {
        let node = format!("node/{}", "0f".repeat(32));
        for (text, class) in [
            ("device/pump-1/reported", Class::Reported),
            ("device/a:b.c/desired", Class::Desired),
            ("device/a/tags", Class::Tags),
            (node.as_str(), Class::Node),
            ("site/north", Class::Site),
        ] {
            let name = DocumentName::new(text).unwrap();
            assert_eq!((name.as_str(), name.class()), (text, class));
        }
        let upper = node.to_uppercase().replace("NODE", "node");
        for wrong in [
            "",
            "device",
            "device/pump-1",
            "device/pump-1/labels",
            "device//desired",
            "device/../desired",
            "device/a b/desired",
            "node/0f",
            upper.as_str(),
            "site/",
            "site/a/b",
            "site/..",
        ] {
            assert_eq!(DocumentName::new(wrong), Err(Refusal::Name), "{wrong}");
        }
    }

    #[test]
    fn a_device_is_an_author_of_its_own_documents_only() {
        let author = DocumentName::new("device/pump-1/reported").unwrap().device_author();
        assert_eq!(author.map(|a| a.to_string()), Some("033fa78f11731c4e".to_owned()));
        assert_eq!(DocumentName::new("site/north").unwrap().device_author(), None);
        assert_eq!(DocumentName::new("device/pump-1/tags").unwrap().device_author(), None);
    }
}
