//! Which of several images a device is offered, rule by rule.

use super::*;
use crate::twins::tests::Node;
use holdfast_sync::artefact::{ArtefactError, Grant, Publishing};
use holdfast_sync::docs::DocumentName;
use holdfast_sync::env::System;
use holdfast_sync::identity::{FleetId, NodeKey};
use holdfast_sync::store::{WriteError, WriteTx};
use serde_json::{Value as Json, json};
use std::sync::Arc;

const BOARD: &str = "mps2-an385";
/// The content of images that have nothing special.
const CONTENT: &[u8] = &[7; 20_000];

struct Gateway {
    node: Node,
    images: Images,
    root: NodeKey,
    publishing: Publishing,
}

impl Gateway {
    fn new() -> Self {
        let (node, env) = (Node::new(), System::env());
        let (root, key) = (NodeKey::generate(&env), NodeKey::generate(&env));
        let not_after_s = i64::MAX;
        let grant =
            Grant { key_id: 1, serial: 1, key: key.id(), name: "works", kinds: &[], not_after_s };
        let certificate = Publishing::certify(&root, &grant).unwrap();
        let publishing = Publishing::new(key, certificate).unwrap();
        let sites: Sites = Arc::new(|| vec!["north".to_owned(), "south".to_owned()]);
        let images = Images::new(node.twins.clone(), sites);
        Self { node, images, root, publishing }
    }

    /// Puts an artefact on the shelf: its manifest, or all of it.
    async fn shelve(&self, named: (&str, &str, &str), made_s: i64, is_whole: bool) -> ArtefactId {
        let (id, manifest) = self.publishing.sign(named, made_s, CONTENT).unwrap();
        let fleet = FleetId::of(&self.root.id());
        let shelve = move |tx: &mut WriteTx<'_>| {
            let shelved = match is_whole {
                true => shelf::shelve(tx, fleet, &manifest, CONTENT),
                false => shelf::take_manifest(tx, fleet, &manifest),
            };
            shelved.map(drop).map_err(|error: ArtefactError| WriteError::Refused(error.to_string()))
        };
        self.node.twins.store().write(shelve).await.unwrap();
        id
    }

    /// An image for the board, whole.
    async fn image(&self, version: &str, made_s: i64) -> ArtefactId {
        self.shelve((KIND, BOARD, version), made_s, true).await
    }

    async fn assign(&self, site: &str, name: &str, text: Json) {
        let site = DocumentName::new(&format!("site/{site}")).unwrap();
        self.node.patch(&site, &json!({"artefacts": {name: text}})).await;
    }

    async fn offer_for(&self, board: &str, room: u64) -> Option<ArtefactId> {
        let slot = Slot { board: board.to_owned(), room };
        self.images.offer("tank-1", &slot).await.unwrap()
    }

    async fn offer(&self) -> Option<ArtefactId> {
        self.offer_for(BOARD, CONTENT.len() as u64).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_site_of_the_gateway_uses_is_offered() {
    let gateway = Gateway::new();
    let id = gateway.image("1", 1).await;
    assert_eq!(gateway.offer().await, None, "nobody uses it");
    gateway.assign("east", "board", id.to_string().into()).await;
    assert_eq!(gateway.offer().await, None, "another site does");
    gateway.assign("south", "board", id.to_string().into()).await;
    assert_eq!(gateway.offer().await, Some(id));
    gateway.assign("south", "board", Json::Null).await;
    assert_eq!(gateway.offer().await, None);
    assert_eq!(gateway.images.offer("no device/", &Slot::default()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_for_its_board_and_no_larger_than_its_room() {
    let gateway = Gateway::new();
    let id = gateway.image("1", 1).await;
    let flow = gateway.shelve(("flow", BOARD, "2"), 2, true).await;
    gateway.assign("north", "image", id.to_string().into()).await;
    gateway.assign("north", "flow", flow.to_string().into()).await;
    let size = CONTENT.len() as u64;
    for (board, room, expected) in [
        (BOARD, size, Some(id)),
        (BOARD, u64::MAX, Some(id)),
        (BOARD, size - 1, None),
        (BOARD, 0, None),
        ("mps2-an386", size, None),
        ("mps2", size, None),
        ("", size, None),
    ] {
        assert_eq!(gateway.offer_for(board, room).await, expected, "{board} with {room}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_all_tags_of_the_assignment() {
    let gateway = Gateway::new();
    let (all, pilot) = (gateway.image("1", 1).await, gateway.image("2", 2).await);
    gateway.assign("north", "all", all.to_string().into()).await;
    gateway.assign("north", "pilot", format!("{pilot} pilot=yes kind=tank").into()).await;
    let tags = Section::Tags.document("tank-1").unwrap();
    for (patch, expected) in [
        (json!({}), all),
        (json!({"pilot": "yes"}), all),
        (json!({"kind": "tank"}), pilot),
        (json!({"pilot": "no"}), all),
        (json!({"pilot": "yes"}), pilot),
        (json!({"kind": null}), all),
    ] {
        gateway.node.patch(&tags, &patch).await;
        assert_eq!(gateway.offer().await, Some(expected), "{patch}");
    }
    // What one site has for all, another one has for some: whoever has the tags of one has it.
    gateway.assign("south", "pilot", pilot.to_string().into()).await;
    assert_eq!(gateway.offer().await, Some(pilot));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_the_one_that_was_made_last_is_offered_and_then_the_greatest_id() {
    let gateway = Gateway::new();
    let (newer, older) = (gateway.image("1.9", 20).await, gateway.image("1.10", 10).await);
    gateway.assign("north", "newer", newer.to_string().into()).await;
    gateway.assign("south", "older", older.to_string().into()).await;
    assert_eq!(gateway.offer().await, Some(newer), "no version says which is newer");
    let (one, other) = (gateway.image("a", 30).await, gateway.image("b", 30).await);
    gateway.assign("north", "one", one.to_string().into()).await;
    gateway.assign("north", "other", other.to_string().into()).await;
    assert_eq!(gateway.offer().await, Some(one.max(other)));
    // Going back is to use the one before and nothing newer.
    for name in ["one", "other", "newer"] {
        gateway.assign("north", name, Json::Null).await;
    }
    assert_eq!(gateway.offer().await, Some(older));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_offered_once_all_of_it_is_here_and_until_then_the_one_before() {
    let gateway = Gateway::new();
    let before = gateway.image("1", 1).await;
    gateway.assign("north", "before", before.to_string().into()).await;
    let here = || async { gateway.images.here().await.unwrap() };
    assert_eq!(here().await, Here { whole: vec![before], lacks: false });
    let named = (KIND, BOARD, "2");
    let (next, _) = gateway.publishing.sign(named, 2, CONTENT).unwrap();
    gateway.assign("north", "next", next.to_string().into()).await;
    assert_eq!(here().await, Here { whole: vec![before], lacks: true }, "not even its manifest");
    assert_eq!(gateway.shelve(named, 2, false).await, next);
    assert_eq!(here().await, Here { whole: vec![before], lacks: true });
    assert_eq!(gateway.offer().await, Some(before));
    gateway.shelve(named, 2, true).await;
    assert_eq!(here().await, Here { whole: vec![before, next], lacks: false });
    assert_eq!(gateway.offer().await, Some(next));
    // A workflow of which something is to come is nobody's firmware.
    let flow = gateway.shelve(("flow", "guard", "1"), 3, false).await;
    gateway.assign("north", "guard", flow.to_string().into()).await;
    assert!(!here().await.lacks);
}
