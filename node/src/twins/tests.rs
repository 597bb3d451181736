//! Twins over a store: patches against the words of RFC 7396, conditions under races, followers.

use super::*;
use holdfast_sync::docs::{Applied, Roster};
use holdfast_sync::env::System;
use holdfast_sync::identity::{Membership, NodeKey};
use holdfast_sync::store::{self, Overflow, Records, WriteError};
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

/// The one node there is.
struct Alone;

impl Nodes for Alone {
    fn name(&self, _: &NodeId) -> String {
        "north/ps-017".to_owned()
    }

    fn find(&self, _: &str) -> Option<NodeId> {
        None
    }
}

impl Roster for Alone {
    fn role(&self, _: &NodeId, _: &DocumentName) -> Option<Role> {
        None
    }
}

impl Steward for Alone {
    fn met(&self, _: &Membership) {}
    fn shares(&self, _: &NodeId, _: &DocumentName) -> bool {
        false
    }
    fn policy(&self, _: &DocumentName) -> Arc<[u8]> {
        Policy::LWW.as_bytes().into()
    }
    fn vouch(&self, _: &NodeId) -> Option<Vec<u8>> {
        None
    }
    fn learn(&self, _: &mut dyn Records, _: &NodeId, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }
    fn keeps(&self, _: &DocumentName) -> bool {
        true
    }
    fn written(&self, _: &mut WriteTx<'_>, _: &DocumentName) -> Result<(), WriteError> {
        Ok(())
    }
    fn applied(
        &self,
        _: &mut WriteTx<'_>,
        _: &NodeId,
        _: &DocumentName,
        _: &Applied,
    ) -> Result<(), WriteError> {
        Ok(())
    }
}

/// A node that has nothing but documents.
pub(crate) struct Node {
    pub(crate) twins: Twins,
    stop: CancellationToken,
    key: NodeKey,
    dir: tempfile::TempDir,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap(), NodeKey::generate(&System::env()))
    }

    /// Closes its store, and opens it again.
    pub(crate) async fn again(self) -> Self {
        let Self { twins, stop, key, dir } = self;
        stop.cancel();
        twins.store().close().await;
        drop(twins);
        Self::open(dir, key)
    }

    fn open(dir: tempfile::TempDir, key: NodeKey) -> Self {
        let options = store::Options {
            dir: dir.path().to_owned(),
            key: key.clone(),
            quota_bytes: 1 << 30,
            overflow: Overflow::DropOldestRaw,
            max_series: 10,
            seal_after: 0,
            version: "test",
            scrub_every: std::time::Duration::ZERO,
            unsafe_normal_sync: true,
        };
        let (store, _) = Store::open(options, System::env()).unwrap();
        let stop = CancellationToken::new();
        let documents = Arc::new(Documents::new(&store, key.clone(), Role::Edge));
        let twins = Twins::load(Options {
            store,
            library: Library { documents, steward: Arc::new(Alone), librarian: None },
            role: Role::Edge,
            nodes: Arc::new(Alone),
            known: Arc::new(|device| device == "heard"),
            how_known: "let it post",
            stop: stop.clone(),
        });
        Self { twins: twins.unwrap(), stop, key, dir }
    }

    pub(crate) async fn patch(&self, name: &DocumentName, patch: &Json) -> Part {
        let read = Patch::read(patch).unwrap();
        let done = self.twins.patch(name.clone(), read, Condition::default()).await;
        done.unwrap_or_else(|error| panic!("{patch}: {error:?}")).part
    }
}

fn desired(device: &str) -> DocumentName {
    Section::Desired.document(device).unwrap()
}

fn made_for(version: Version) -> Condition {
    let mut headers = axum::http::HeaderMap::new();
    headers.insert("if-match", version.etag().parse().unwrap());
    Condition::read(&headers).unwrap()
}

/// The algorithm of RFC 7396, section 2.
fn merged(target: &Json, patch: &Json) -> Json {
    let Json::Object(members) = patch else { return patch.clone() };
    let mut out = target.as_object().cloned().unwrap_or_default();
    for (name, value) in members {
        if value.is_null() {
            out.remove(name);
        } else {
            let before = out.remove(name).unwrap_or_default();
            out.insert(name.clone(), merged(&before, value));
        }
    }
    out.into()
}

/// Without objects that are empty, which a document does not know.
fn full(json: &Json) -> Json {
    let Json::Object(members) = json else { return json.clone() };
    let each = members.iter().map(|(name, value)| (name.clone(), full(value)));
    each.filter(|(_, value)| *value != json!({})).collect::<Map<_, _>>().into()
}

/// The test cases of RFC 7396, appendix A, those whose target a section can be. In the others the
/// target, or what the patch makes of it, is no object, or an object holds a null.
#[tokio::test]
async fn patches_do_what_rfc_7396_says_of_them() {
    let node = Node::new();
    for (at, (before, patch, after)) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        // There it is {"a": {"bb": {}}}; here an empty object is nothing.
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({})),
        // Not of the table: an object takes the place of a value, be it empty.
        (json!({"a": "foo"}), json!({"a": {}}), json!({})),
        (json!({"a": "foo"}), json!({"a": {"b": null}}), json!({})),
        (json!({"a": {"b": 1}}), json!({"a": 2}), json!({"a": 2})),
        (json!({"a": [null, {"b": null}]}), json!({}), json!({"a": [null, {"b": null}]})),
    ]
    .into_iter()
    .enumerate()
    {
        let name = desired(&format!("d{at}"));
        node.patch(&name, &before).await;
        let part = node.patch(&name, &patch).await;
        assert_eq!(Json::Object(part.shown.object()), after, "{before} and {patch}");
        assert_eq!(full(&merged(&before, &patch)), after, "the reference itself");
        assert_eq!(node.twins.part(name).await.unwrap(), part, "what is answered is what is there");
    }
}

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-1000i32..1000).prop_map(|n| json!(f64::from(n) / 8.0)),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Json::from),
        "[a-z\"\\\\é]{0,4}".prop_map(Json::from),
        prop::collection::vec(prop_oneof![Just(json!(null)), Just(json!({"b": 1, "a": []}))], 0..3)
            .prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| object(inner).prop_map(Json::from))
}

fn object(inner: impl Strategy<Value = Json>) -> impl Strategy<Value = Map<String, Json>> {
    let name = prop::sample::select(vec!["a", "b", "c d", "~", "é-1"]);
    prop::collection::btree_map(name.prop_map(str::to_owned), inner, 0..4)
        .prop_map(|members| members.into_iter().collect())
}

fn patches() -> impl Strategy<Value = Vec<Json>> {
    prop::collection::vec(object(value()).prop_map(Json::from), 1..8)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn any_patches_do_what_rfc_7396_says_and_followers_see_the_same() {
    let (node, number) = (Node::new(), std::sync::atomic::AtomicU32::new(0));
    let cases = ProptestConfig { cases: 48, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(cases);
    let tried = runner.run(&patches(), |patches| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let device = format!("d{number}");
        block_on(async {
            let name = desired(&device);
            let all = Followed::Prefix(device.clone());
            let mut feed = node.twins.follow(all, None).await.unwrap();
            let (mut before, mut copy, mut seen) = (json!({}), json!({}), Version::of(&[]));
            for patch in &patches {
                let after = full(&merged(&before, patch));
                let part = node.patch(&name, patch).await;
                prop_assert_eq!(&Json::Object(part.shown.object()), &after);
                if part.version != seen {
                    let change = feed.next().await.unwrap().unwrap();
                    prop_assert_eq!(&change.version, &part.version.to_string());
                    prop_assert!(!change.whole);
                    copy = full(&merged(&copy, &change.patch.into()));
                    prop_assert_eq!(&copy, &after);
                }
                (before, seen) = (after, part.version);
            }
            Ok(())
        })
    });
    tried.unwrap();
}

#[tokio::test]
async fn of_many_writers_that_read_the_same_version_one_is_let_through() {
    let node = Node::new();
    let name = desired("pump-1");
    let mut version = Version::of(&[]);
    for round in 0..4 {
        let writers = (0..16).map(|writer| {
            let patch = Patch::read(&json!({"round": round, "writer": writer})).unwrap();
            let (twins, name) = (node.twins.clone(), name.clone());
            tokio::spawn(async move { twins.patch(name, patch, made_for(version)).await })
        });
        let mut done = Vec::new();
        for writer in writers.collect::<Vec<_>>() {
            done.push(writer.await.unwrap());
        }
        let won: Vec<_> = done.iter().filter_map(|done| done.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "round {round}");
        let stale = done.iter().filter_map(|done| done.as_ref().err());
        for error in stale {
            let PatchError::Stale(now) = error else { panic!("{error:?}") };
            assert_eq!(*now, won[0].part.version);
        }
        version = won[0].part.version;
        assert_eq!(node.twins.part(name.clone()).await.unwrap(), won[0].part);
    }
}

#[tokio::test]
async fn a_patch_that_changes_nothing_leaves_the_version_alone() {
    let node = Node::new();
    let name = desired("pump-1");
    let nothing = node.patch(&name, &json!({"a": null, "b": {}})).await;
    assert_eq!(nothing.version, Version::of(&[]));
    let first = node.patch(&name, &json!({"a": 1})).await;
    assert_ne!(first.version, nothing.version);
    assert_eq!(node.patch(&name, &json!({"a": 1, "b": null})).await, first);
}

#[tokio::test]
async fn what_a_document_has_no_room_for_is_refused_and_changes_nothing() {
    let node = Node::new();
    let name = desired("pump-1");
    let keys = |from: u32, to: u32, value: &Json| -> Json {
        (from..to).map(|n| (format!("k{n:03}"), value.clone())).collect::<Map<_, _>>().into()
    };
    let before = node.patch(&name, &keys(0, 200, &json!(1))).await;
    for (patch, code) in [
        (keys(200, 201, &json!(1)), "document-keys"),
        (keys(0, 100, &json!("x".repeat(4000))), "document-full"),
    ] {
        let patch = Patch::read(&patch).unwrap();
        let refused = node.twins.patch(name.clone(), patch, Condition::default()).await;
        let problem = refused.map(|done| done.part).unwrap_err().problem();
        assert_eq!((problem.status().as_u16(), problem.code()), (413, code));
        assert_eq!(node.twins.part(name.clone()).await.unwrap(), before);
    }
}

#[tokio::test]
async fn cells_are_written_in_the_name_of_whoever_the_section_belongs_to() {
    let node = Node::new();
    let reported = Section::Reported.document("pump-1").unwrap();
    node.patch(&reported, &json!({"mode": "auto"})).await;
    node.patch(&desired("pump-1"), &json!({"mode": "manual", "speed": 5})).await;
    let twin = node.twins.read("pump-1").await.unwrap();
    let writers = node.twins.writers("pump-1").await.unwrap();
    let by = |section: Section| {
        let leaf = twin.part(section).shown.at("mode").unwrap();
        (node.twins.author_name("pump-1", (leaf.author, leaf.role), &writers), leaf.role)
    };
    assert_eq!(by(Section::Reported), ("pump-1".to_owned(), Role::Device));
    assert_eq!(by(Section::Desired), ("north/ps-017".to_owned(), Role::Edge));
    let found = differences(&twin.desired.shown, &twin.reported.shown);
    let found: Vec<_> = found.iter().map(|d| (&*d.path, &d.desired, d.reported.as_ref())).collect();
    let (manual, auto, five) = (json!("manual"), json!("auto"), json!(5));
    assert_eq!(found, [("mode", &manual, Some(&auto)), ("speed", &five, None)]);
    node.patch(&reported, &json!({"mode": "manual", "speed": 5.0, "more": 1})).await;
    let twin = node.twins.read("pump-1").await.unwrap();
    assert_eq!(differences(&twin.desired.shown, &twin.reported.shown), []);
}

#[tokio::test]
async fn a_device_is_known_by_its_twin_or_otherwise() {
    let node = Node::new();
    assert!(node.twins.knows("heard").await.unwrap());
    for unknown in ["pump-1", "", "..", "a b", "a/b"] {
        assert!(!node.twins.knows(unknown).await.unwrap(), "{unknown}");
    }
    node.patch(&Section::Tags.document("pump-1").unwrap(), &json!({"room": "3"})).await;
    assert!(node.twins.knows("pump-1").await.unwrap());
}

#[tokio::test]
async fn who_was_away_is_told_of_each_section_once_and_goes_on_from_there() {
    let node = Node::new();
    let all = || Followed::Prefix(String::new());
    node.patch(&desired("a"), &json!({"x": 1, "y": 1})).await;
    let place = node.twins.follow(all(), None).await.unwrap().place();
    node.patch(&desired("a"), &json!({"x": 2})).await;
    node.patch(&desired("b"), &json!({"z": 1})).await;
    node.patch(&desired("a"), &json!({"x": 3, "y": {"n": 1}})).await;

    let mut feed = node.twins.follow(all(), Some(place)).await.unwrap();
    let first = feed.next().await.unwrap().unwrap();
    assert_eq!((&*first.device, &first.patch), ("b", json!({"z": 1}).as_object().unwrap()));
    let second = feed.next().await.unwrap().unwrap();
    let patch = json!({"x": 3, "y": {"n": 1}});
    assert_eq!((&*second.device, second.whole, Json::from(second.patch)), ("a", false, patch));
    assert!(first.place < second.place);

    let mut far_back = node.twins.follow(all(), Some(place + 1_000_000)).await.unwrap();
    let told = far_back.next().await.unwrap().unwrap();
    assert_eq!(told.device, "b", "a place of another store counts as none");

    node.stop.cancel();
    assert_eq!(feed.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_follower_is_woken_by_a_change_and_sees_only_what_it_follows() {
    let node = Node::new();
    let mut by_prefix = node.twins.follow(Followed::Prefix("pump".into()), None).await.unwrap();
    let mut own = node.twins.follow(Followed::Own("pump-1".into()), None).await.unwrap();
    let twins = node.twins.clone();
    let waiting = tokio::spawn(async move { (by_prefix.next().await, own.next().await) });
    let writes =
        [("tank-1", Section::Desired), ("pump-1", Section::Tags), ("pump-1", Section::Desired)];
    for (device, section) in writes {
        let patch = Patch::read(&json!({"x": 1})).unwrap();
        let name = section.document(device).unwrap();
        twins.patch(name, patch, Condition::default()).await.unwrap();
    }
    let (by_prefix, own) = waiting.await.unwrap();
    let (by_prefix, own) = (by_prefix.unwrap().unwrap(), own.unwrap().unwrap());
    assert_eq!((&*by_prefix.device, by_prefix.section), ("pump-1", "tags"));
    assert_eq!((&*own.device, own.section), ("pump-1", "desired"));
}
