//! Who may write which document: the one rule that hub and gateways judge by.
//!
//! The hub writes whatever people set there and never what a device reports. A gateway writes the
//! documents of its site's devices, its own and its site's; it also speaks for its devices. To
//! which site a device belongs is for the hub to say; a gateway knows only devices of its own.

use holdfast_core::NodeId;
use holdfast_core::state;
use holdfast_sync::docs::{Class, DocumentName};
use holdfast_sync::identity::{Grant, Role};

/// What the member of `grant` is as a writer of `document`, a device's document being of the site
/// `home`, if that is known; nothing when it may not write it.
#[must_use]
pub fn entitled(grant: &Grant, document: &DocumentName, home: Option<&str>) -> Option<state::Role> {
    let class = document.class();
    if grant.role == Role::Hub {
        return (class != Class::Reported).then_some(state::Role::Hub);
    }
    let may = match class {
        Class::Node => is_of_node(document, &grant.node),
        Class::Site => document.as_str() == format!("site/{}", grant.site),
        _ => home.is_none_or(|home| home == grant.site),
    };
    may.then_some(state::Role::Edge)
}

/// Whether `document` is the node's own.
#[must_use]
pub fn is_of_node(document: &DocumentName, node: &NodeId) -> bool {
    document.as_str().strip_prefix("node/").and_then(NodeId::from_hex) == Some(*node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(role: Role, site: &str) -> Grant {
        let (node, name) = (NodeId([7; 32]), "gw".to_owned());
        Grant { key_id: 1, serial: 1, node, role, site: site.to_owned(), name, not_after_s: 0 }
    }

    #[test]
    fn each_writes_what_is_its_own() {
        let own = format!("node/{}", NodeId([7; 32]));
        let other = format!("node/{}", NodeId([8; 32]));
        let (hub, edge) = (Some(state::Role::Hub), Some(state::Role::Edge));
        for (document, home, by_hub, by_edge) in [
            ("device/pump-1/reported", Some("north"), None, edge),
            ("device/pump-1/reported", Some("south"), None, None),
            ("device/pump-1/desired", Some("north"), hub, edge),
            ("device/pump-1/desired", Some("south"), hub, None),
            ("device/pump-1/desired", None, hub, edge),
            ("device/pump-1/tags", Some("north"), hub, edge),
            ("device/pump-1/tags", Some("south"), hub, None),
            ("site/north", None, hub, edge),
            ("site/south", None, hub, None),
            (own.as_str(), None, hub, edge),
            (other.as_str(), None, hub, None),
        ] {
            let name = DocumentName::new(document).unwrap();
            let as_hub = entitled(&grant(Role::Hub, "hub"), &name, home);
            let as_edge = entitled(&grant(Role::Edge, "north"), &name, home);
            assert_eq!((as_hub, as_edge), (by_hub, by_edge), "{document} of {home:?}");
        }
    }
}
