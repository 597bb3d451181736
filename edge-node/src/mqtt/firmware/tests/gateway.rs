//! A gateway with a broker and no devices: what it is told, and what it tells.

use crate::device_commands::Book;
use crate::ingest::Ingest;
use crate::mqtt::broker::{Broker, Limits, Shown, Watch};
use crate::mqtt::connection::Outcome;
use crate::mqtt::counts::MqttCounts;
use crate::mqtt::desired;
use crate::mqtt::door::{Door, Whose};
use crate::mqtt::firmware::{Attached, Downlink, Said};
use crate::mqtt::packet::{Publish, PublishProperties, QoS, Topic};
use crate::mqtt::rules::Rules;
use crate::mqtt::topic::Filter;
use crate::steward::SiteSteward;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_core::NodeId;
use holdfast_core::artefact::ArtefactId;
use holdfast_core::device::flows::Fetch;
use holdfast_core::device::{self, Envelopes};
use holdfast_core::flow::Code;
use holdfast_core::state::Role;
use holdfast_node::api::Nodes;
use holdfast_node::artefacts::Images;
use holdfast_node::runs::{Abilities, Asked, Desk, Failure, Local, Outside, Runs};
use holdfast_node::trace::Tracer;
use holdfast_node::twins::{self, Condition, Patch, Section, Twins};
use holdfast_sync::Fault;
use holdfast_sync::artefact::{Grant, Publishing, shelf};
use holdfast_sync::docs::{DocumentName, Documents};
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

/// A gateway of the site `north` with its broker, as devices hear it.
pub(super) struct Gateway {
    pub(super) twins: Twins,
    pub(super) runs: Runs,
    pub(super) door: Arc<Door>,
    pub(super) downlink: Downlink,
    watch: Watch,
    pub(super) root: NodeKey,
    pub(super) publishing: Publishing,
    _tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

impl Gateway {
    pub(super) async fn new() -> Self {
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
        let images = Images::new(twins.clone(), Arc::new(|| vec!["north".to_owned()]));
        let has = (desk.clone(), images.clone());
        let downlink = Downlink::new(twins.clone(), book, reach.clone(), has);
        let of = (images, downlink.clone());
        let tell = desired::tell_images(twins.clone(), of, stop.clone());
        tasks.spawn(async { tell.await.unwrap() });
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
    pub(super) async fn shelve(
        &self,
        (kind, name): (&str, &str),
        content: &[u8],
    ) -> (ArtefactId, Vec<u8>) {
        self.shelve_made((kind, name, "1"), 0, content).await
    }

    /// The same of a version that was made then.
    pub(super) async fn shelve_made(
        &self,
        named: (&str, &str, &str),
        made_s: i64,
        content: &[u8],
    ) -> (ArtefactId, Vec<u8>) {
        let (id, manifest) = self.publishing.sign(named, made_s, content).unwrap();
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

    /// Has the site refer to an artefact under this name, or not any more.
    pub(super) async fn assign(&self, name: &str, text: Json) {
        let patch = Patch::read(&json!({"artefacts": {name: text}})).unwrap();
        let site = DocumentName::new("site/north").unwrap();
        self.twins.patch(site, patch, Condition::default()).await.unwrap();
    }

    pub(super) async fn patch(&self, section: Section, device: &str, patch: &Json) {
        let patch = Patch::read(patch).unwrap();
        let name = section.document(device).unwrap();
        self.twins.patch(name, patch, Condition::default()).await.unwrap();
    }

    /// What a device says, taken.
    pub(super) async fn hear(&self, device: &str, message: &[u8]) -> Result<Said, Outcome> {
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
    pub(super) async fn says(&mut self, attached: &mut Attached, device: &str, message: &[u8]) {
        let said = self.hear(device, message).await.unwrap();
        attached.answer(&said, self.door.time()).await;
    }

    /// The next message to a device: the kinds and payloads of its envelopes.
    pub(super) async fn told(&mut self) -> Vec<(u8, Vec<u8>)> {
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

    pub(super) async fn reported(&self, device: &str) -> Json {
        let name = Section::Reported.document(device).unwrap();
        Json::Object(self.twins.part(name).await.unwrap().shown.object())
    }

    /// The starts that are shown of a device once it has said this.
    pub(super) async fn starts(&self, device: &str, message: &[u8]) -> Json {
        self.hear(device, message).await.unwrap();
        self.reported(device).await["device"]["starts"].take()
    }

    pub(super) async fn version(&self, device: &str) -> String {
        let name = Section::Reported.document(device).unwrap();
        self.twins.part(name).await.unwrap().version.to_string()
    }
}

pub(super) fn envelope(kind: u8, encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let (mut payload, mut out) = (Vec::new(), [0; 1_024]);
    encode(&mut payload);
    let len = device::put(&mut out, kind, &payload).unwrap();
    out[..len].to_vec()
}

pub(super) fn fetch(id: ArtefactId, part: u64) -> Vec<u8> {
    envelope(device::FETCH, |out| Fetch { id, part }.encode(out).unwrap())
}
