//! Workflows on devices, from what is installed to what a device is told, and from what it says to
//! what people see.

use crate::device_commands::Book;
use crate::ingest::Ingest;
use crate::mqtt::broker::{Broker, Limits, Shown, Watch};
use crate::mqtt::connection::Outcome;
use crate::mqtt::counts::MqttCounts;
use crate::mqtt::desired;
use crate::mqtt::door::{Door, Whose};
use crate::mqtt::firmware::{Attached, Downlink, Said};
use crate::mqtt::packet::{Publish, PublishProperties, QoS, Topic};
use crate::mqtt::reason::Reason;
use crate::mqtt::rules::Rules;
use crate::mqtt::topic::Filter;
use crate::steward::SiteSteward;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_core::NodeId;
use holdfast_core::artefact::ArtefactId;
use holdfast_core::device::flows::{Fetch, Held, PIECE_BYTES, Piece, Stands, Stepped, Wanted};
use holdfast_core::device::{self, Envelopes, vectors};
use holdfast_core::flow::Code;
use holdfast_core::state::Role;
use holdfast_node::api::Nodes;
use holdfast_node::runs::record::Origin;
use holdfast_node::runs::{Abilities, Asked, Desk, Failure, Local, Outside, Runs};
use holdfast_node::trace::Tracer;
use holdfast_node::twins::{self, Condition, Patch, Section, Twins};
use holdfast_sync::Fault;
use holdfast_sync::artefact::{Grant, Publishing, shelf};
use holdfast_sync::docs::Documents;
use holdfast_sync::env::System;
use holdfast_sync::identity::{FleetId, NodeKey};
use holdfast_sync::net::Library;
use holdfast_sync::store::{self, Overflow, Store, WriteError, WriteTx};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

struct Alone;

impl Nodes for Alone {
    fn name(&self, _: &NodeId) -> String {
        "north/ps-017".to_owned()
    }

    fn find(&self, _: &str) -> Option<NodeId> {
        None
    }
}

/// A gateway that does nothing itself.
struct Nothing;

impl Local for Nothing {
    fn kinds(&self) -> u32 {
        0
    }

    fn has_tag(&self, _: &str, _: &str, _: &str) -> bool {
        false
    }

    fn apply(&self, _: &mut WriteTx<'_>, _: &Asked) -> Result<Result<Json, Failure>, Fault> {
        Ok(Err(Failure::new(Code::INCAPABLE, "nothing")))
    }
}

impl Outside for Nothing {
    fn kinds(&self) -> u32 {
        0
    }

    fn act(&self, _: Asked) -> BoxFuture<'static, Result<Json, Failure>> {
        async { Err(Failure::new(Code::INCAPABLE, "nothing")) }.boxed()
    }
}

struct Gateway {
    twins: Twins,
    runs: Runs,
    door: Arc<Door>,
    downlink: Downlink,
    watch: Watch,
    root: NodeKey,
    publishing: Publishing,
    _tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

impl Gateway {
    async fn new() -> Self {
        let (dir, env) = (tempfile::tempdir().unwrap(), System::env());
        let key = NodeKey::generate(&env);
        let options = store::Options {
            dir: dir.path().to_owned(),
            key: key.clone(),
            quota_bytes: 1 << 30,
            overflow: Overflow::Refuse,
            max_series: 10,
            seal_after: 0,
            version: "test",
            scrub_every: Duration::ZERO,
            unsafe_normal_sync: true,
        };
        let (store, _) = Store::open(options, Arc::clone(&env)).unwrap();
        let twins = Twins::load(twins::Options {
            store: store.clone(),
            library: Library {
                documents: Arc::new(Documents::new(&store, key, Role::Edge)),
                steward: Arc::new(SiteSteward::load(&store).unwrap()),
                librarian: None,
            },
            role: Role::Edge,
            nodes: Arc::new(Alone),
            known: Arc::new(|_| true),
            how_known: "",
            stop: CancellationToken::new(),
        });
        let (twins, stop, mut tasks) = (twins.unwrap(), CancellationToken::new(), JoinSet::new());
        let desk = Desk::load(&store, Role::Edge).unwrap();
        let (desk, tray) = (desk.0.clone(), desk);
        let (local, outside) = (Arc::new(Nothing), Arc::new(Nothing));
        let abilities = Abilities { local, outside, zone: jiff::tz::TimeZone::UTC };
        let (runs, engine) = Runs::load(store.clone(), tray, abilities).unwrap();
        tasks.spawn(engine.run(stop.clone()));
        let ingest = Ingest::load(store.clone(), true, Tracer::default()).unwrap();
        let (counts, book) = (Arc::<MqttCounts>::default(), Book::new(store.clone()));
        let (has, rules) = ((twins.clone(), desk.clone()), Arc::new(Rules::default()));
        let door = Arc::new(Door::new(ingest, has, book.clone(), rules, Arc::clone(&counts)));
        let all = (counts, Arc::default());
        let broker = Broker::load(store, Arc::clone(&door), Limits::default(), all).unwrap();
        let reach = broker.reach();
        tasks.spawn(broker.run(stop.clone(), CancellationToken::new()));
        let downlink = Downlink::new(twins.clone(), book, reach.clone(), desk.clone());
        let tell = desired::tell_flows(twins.clone(), (desk, downlink.clone()), stop);
        tasks.spawn(async { tell.await.unwrap() });
        let filter = Filter::try_from("devices/+/watermark").unwrap();
        let watch = reach.look(|state, _| state.watch(filter)).await.unwrap().unwrap();
        let (root, key) = (NodeKey::generate(&env), NodeKey::generate(&env));
        let not_after_s = i64::MAX;
        let grant =
            Grant { key_id: 1, serial: 1, key: key.id(), name: "works", kinds: &[], not_after_s };
        let publishing = Publishing::certify(&root, &grant).unwrap();
        let publishing = Publishing::new(key, publishing).unwrap();
        let (_tasks, _dir) = (tasks, dir);
        Self { twins, runs, door, downlink, watch, root, publishing, _tasks, _dir }
    }

    /// Puts an artefact on the shelf; it and its manifest.
    async fn shelve(&self, (kind, name): (&str, &str), content: &[u8]) -> (ArtefactId, Vec<u8>) {
        let (id, manifest) = self.publishing.sign((kind, name, "1"), 0, content).unwrap();
        let (fleet, signed, content) =
            (FleetId::of(&self.root.id()), manifest.clone(), content.to_vec());
        let shelve = move |tx: &mut WriteTx<'_>| {
            shelf::shelve(tx, fleet, &manifest, &content)
                .map(drop)
                .map_err(|error| WriteError::Refused(error.to_string()))
        };
        self.twins.store().write(shelve).await.unwrap();
        (id, signed)
    }

    /// Has the site use a workflow for devices whose ids begin so.
    async fn install(
        &self,
        (name, device): (&str, &str),
        only: &[(&str, &str)],
        at: i64,
    ) -> ArtefactId {
        self.install_version((name, "1", device), only, at).await
    }

    async fn install_version(
        &self,
        (name, version, device): (&str, &str, &str),
        only: &[(&str, &str)],
        at: i64,
    ) -> ArtefactId {
        let image = image(name, version, device);
        let (id, _) = self.shelve(("flow", name), &image).await;
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let only = only.iter().map(own).collect();
        let origin = Origin { artefact: id, only, is_given_up: false };
        let flow = self.runs.accept_from(image, ("works", Some(origin)), at).unwrap();
        self.runs.install(flow).await.unwrap();
        id
    }

    async fn patch(&self, section: Section, device: &str, patch: &Json) {
        let patch = Patch::read(patch).unwrap();
        let name = section.document(device).unwrap();
        self.twins.patch(name, patch, Condition::default()).await.unwrap();
    }

    /// What a device says, taken.
    async fn hear(&self, device: &str, message: &[u8]) -> Result<Said, Outcome> {
        let topic = Topic::try_from(format!("devices/{device}/envelope").as_str()).unwrap();
        let publish = Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic,
            packet_id: None,
            payload: Bytes::copy_from_slice(message),
            properties: PublishProperties::default(),
        };
        let brings = self.door.bring(&publish, Whose::Client(Some(device))).await?;
        Ok(*brings.said.unwrap())
    }

    /// What a device says, taken and answered.
    async fn says(&mut self, attached: &mut Attached, device: &str, message: &[u8]) {
        let said = self.hear(device, message).await.unwrap();
        attached.answer(&said, self.door.time()).await;
    }

    /// The next message to a device: the kinds and payloads of its envelopes.
    async fn told(&mut self) -> Vec<(u8, Vec<u8>)> {
        let next = async {
            loop {
                if let Shown::Message(message, _) = self.watch.next().await {
                    return message.payload().to_vec();
                }
            }
        };
        let message = tokio::time::timeout(Duration::from_secs(20), next).await.unwrap();
        let envelopes = Envelopes::new(&message).map(Result::unwrap);
        envelopes.map(|envelope| (envelope.kind, envelope.payload.to_vec())).collect()
    }

    /// The workflows that a device is told it is to have.
    async fn wanted(&mut self) -> Vec<ArtefactId> {
        let told = self.told().await;
        let of = told.iter().find(|(kind, _)| *kind == device::FLOWS);
        let (_, payload) = of.unwrap_or_else(|| panic!("{told:?}"));
        Wanted::decode(payload).unwrap().0.to_vec()
    }

    async fn reported(&self, device: &str) -> Json {
        let name = Section::Reported.document(device).unwrap();
        Json::Object(self.twins.part(name).await.unwrap().shown.object())
    }

    async fn version(&self, device: &str) -> String {
        let name = Section::Reported.document(device).unwrap();
        self.twins.part(name).await.unwrap().version.to_string()
    }
}

fn image(name: &str, version: &str, device: &str) -> Vec<u8> {
    let text = format!(
        "workflow: {name}\nversion: '{version}'\nplacement: device\n\
         on: [{{reading: {{device: '{device}', metric: level, above: 2.0}}}}]\n\
         steps: [{{actuate: valve, value: 0}}]\n"
    );
    holdfast_node::flow::compile(&text).unwrap().image
}

fn envelope(kind: u8, encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let (mut payload, mut out) = (Vec::new(), [0; 1_024]);
    encode(&mut payload);
    let len = device::put(&mut out, kind, &payload).unwrap();
    out[..len].to_vec()
}

fn held(all: &[(ArtefactId, Stands)]) -> Vec<u8> {
    let held = Held(all.iter().copied().collect());
    envelope(device::FLOWS_HELD, |out| held.encode(out).unwrap())
}

fn fetch(id: ArtefactId, part: u64) -> Vec<u8> {
    envelope(device::FETCH, |out| Fetch { id, part }.encode(out).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_told_which_workflows_it_is_to_have_and_whenever_that_changes() {
    let mut gateway = Gateway::new().await;
    let guard = gateway.install(("guard", "tank-*"), &[], 2).await;
    let sewage = gateway.install(("sewage", "*"), &[("kind", "sewage")], 1).await;
    gateway.install(("other", "pump-*"), &[], 3).await;
    let mut attached = gateway.downlink.attach("tank-1");
    gateway.says(&mut attached, "tank-1", &held(&[])).await;
    assert_eq!(gateway.wanted().await, [guard]);
    gateway.patch(Section::Tags, "tank-1", &json!({"kind": "sewage"})).await;
    assert_eq!(gateway.wanted().await, [sewage, guard], "that which was installed first");
    // What changes nothing for this one is not told.
    gateway.install(("pumps", "pump-*"), &[], 4).await;
    gateway.patch(Section::Tags, "tank-2", &json!({"kind": "sewage"})).await;
    gateway.runs.enable("guard", "1", false).await.unwrap();
    assert_eq!(gateway.wanted().await, [sewage]);
    gateway.runs.enable("guard", "1", true).await.unwrap();
    assert_eq!(gateway.wanted().await, [sewage, guard]);
    gateway.patch(Section::Tags, "tank-1", &json!({"kind": null})).await;
    assert_eq!(gateway.wanted().await, [guard]);
    // Each time that it says what it has it is told, be that as before.
    gateway.says(&mut attached, "tank-1", &held(&[(guard, Stands::On)])).await;
    assert_eq!(gateway.wanted().await, [guard]);
    let flow = gateway.runs.library().get("guard", "1").cloned().unwrap();
    gateway.runs.install(flow.given_up()).await.unwrap();
    assert_eq!(gateway.wanted().await, []);
    // Nobody is told anything who is not here any more.
    drop(attached);
    gateway.install(("late", "tank-*"), &[], 5).await;
    let mut attached = gateway.downlink.attach("tank-1");
    gateway.says(&mut attached, "tank-1", &held(&[])).await;
    let told = gateway.told().await;
    assert_eq!(
        told.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
        [device::TIME, device::FLOWS]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_no_place_for_more_than_four() {
    let mut gateway = Gateway::new().await;
    let mut all = Vec::new();
    for (at, name) in (0..).zip(["a", "b", "c", "d", "e"]) {
        all.push(gateway.install((name, "tank-*"), &[], at).await);
    }
    let mut attached = gateway.downlink.attach("tank-1");
    gateway.says(&mut attached, "tank-1", &held(&[])).await;
    assert_eq!(gateway.wanted().await, all[..4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_versions_of_a_workflow_a_device_is_to_have_the_last_that_is_for_it() {
    let mut gateway = Gateway::new().await;
    let first = gateway.install_version(("guard", "1", "tank-*"), &[], 1).await;
    let sewage = [("kind", "sewage")];
    let next = gateway.install_version(("guard", "2", "tank-*"), &sewage, 2).await;
    let mut attached = gateway.downlink.attach("tank-1");
    gateway.says(&mut attached, "tank-1", &held(&[])).await;
    assert_eq!(gateway.wanted().await, [first]);
    gateway.patch(Section::Tags, "tank-1", &json!({"kind": "sewage"})).await;
    assert_eq!(gateway.wanted().await, [next], "two would begin a run each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_comes_in_pieces_and_nothing_else_does() {
    let mut gateway = Gateway::new().await;
    let content: Vec<u8> = (0..PIECE_BYTES + 4).map(|at| at as u8).collect();
    let (id, manifest) = gateway.shelve(("flow", "guard"), &content).await;
    let (secret, _) = gateway.shelve(("firmware", "secret"), &content).await;
    let (large, _) = gateway.shelve(("flow", "large"), &[7; 5_000]).await;
    let mut attached = gateway.downlink.attach("tank-1");
    let unknown = ArtefactId([9; 32]);
    let none: &[u8] = &[];
    for (of, part, bytes) in [
        (id, 0, manifest.as_slice()),
        (id, 1, &content[..PIECE_BYTES]),
        (id, 2, &content[PIECE_BYTES..]),
        (id, 3, none),
        (id, u64::MAX, none),
        (secret, 0, none),
        (secret, 1, none),
        (large, 0, none),
        (unknown, 0, none),
    ] {
        gateway.says(&mut attached, "tank-1", &fetch(of, part)).await;
        let told = gateway.told().await;
        let [(device::TIME, _), (device::PIECE, payload)] = &told[..] else { panic!("{told:?}") };
        let expected = Piece { of: Fetch { id: of, part }, bytes };
        assert_eq!(Piece::decode(payload).unwrap(), expected, "part {part} of {of}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_its_workflows_stand_is_shown_in_what_a_device_reports() {
    let gateway = Gateway::new().await;
    let guard = gateway.install(("guard", "tank-*"), &[], 1).await;
    let (shelved, _) = gateway.shelve(("flow", "valve"), b"no image").await;
    let unknown = ArtefactId([0xab; 32]);
    let all = [(guard, Stands::On), (shelved, Stands::Damaged), (unknown, Stands::Untrusted)];
    gateway.hear("tank-1", &held(&all)).await.unwrap();
    let expected = json!({
        "guard": {"1": "on"},
        "valve": {"1": "refused: it is not what its publisher signed"},
        "abababababababab": "refused: no publisher of the fleet that this device knows signed it",
    });
    assert_eq!(gateway.reported("tank-1").await, json!({"device": {"workflows": expected}}));
    let version = gateway.version("tank-1").await;
    gateway.hear("tank-1", &held(&all)).await.unwrap();
    assert_eq!(gateway.version("tank-1").await, version, "nothing has changed");
    gateway.hear("tank-1", &held(&[(guard, Stands::Ends)])).await.unwrap();
    let expected = json!({"device": {"workflows": {"guard": {"1": "ends"}}}});
    assert_eq!(gateway.reported("tank-1").await, expected);
    gateway.hear("tank-1", &held(&[])).await.unwrap();
    assert_eq!(gateway.reported("tank-1").await, json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_safe_before_they_are_answered_and_those_of_another_are_refused() {
    let mut gateway = Gateway::new().await;
    let said = gateway.hear("tank-1", vectors::STEPS_TWO).await.unwrap();
    assert_eq!(said, Said { stepped: Some(8), ..Said::default() });
    gateway.downlink.answer("tank-1", &said, gateway.door.time());
    let told = gateway.told().await;
    let [(device::TIME, _), (device::STEPPED, payload)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(Stepped::decode(payload), Ok(Stepped { number: 8 }));
    // A run that is over is nobody's to go on with; one that another has under way is not theirs.
    gateway.hear("tank-2", vectors::STEPS_TWO).await.unwrap();
    let step = |run: u8| {
        let (kind, mut payload) = (device::STEPS, vec![0, 0, 27, 1]);
        payload.extend([run; 16]);
        payload.extend([1, 7, 0, 0, 0, 1, 1, 1]);
        payload[2] = u8::try_from(payload.len() - 3).unwrap();
        envelope(kind, |out| out.extend(payload))
    };
    gateway.hear("tank-1", &step(5)).await.unwrap();
    let outcome = gateway.hear("tank-2", &[vectors::HEALTH_FOUR, &step(5)].concat()).await;
    let Outcome { reason, text } = outcome.unwrap_err();
    let expected = "the run 05050505050505050505050505050505 is on `tank-1`, and `tank-2` says \
                    this (at envelope 1, step 0)";
    assert_eq!((reason, text.as_deref()), (Reason::PayloadFormatInvalid, Some(expected)));
    assert_eq!(gateway.reported("tank-2").await, json!({}), "nothing of the message is taken");
}
