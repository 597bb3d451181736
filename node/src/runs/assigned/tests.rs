//! What is installed follows what a site uses, and what is under way is not cut off.

use super::*;
use crate::runs::{Abilities, Asked, Desk, Failure, Local, Outside, Start, Started};
use crate::twins::tests::Node;
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_core::flow::Code;
use holdfast_core::log::runs::RunId;
use holdfast_sync::artefact::{Grant, Publishing};
use holdfast_sync::env::System;
use holdfast_sync::identity::{FleetId, NodeKey};
use holdfast_sync::store::{WriteError, WriteTx};
use serde_json::json;
use tokio::task::JoinHandle;

/// A gateway that does nothing but wait.
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

pub(in crate::runs) struct Gateway {
    pub(in crate::runs) node: Node,
    pub(in crate::runs) desk: Desk,
    pub(in crate::runs) assignments: Assignments,
    root: NodeKey,
    publishing: Publishing,
    _engine: JoinHandle<()>,
}

impl Gateway {
    pub(in crate::runs) fn new() -> Self {
        let (node, env) = (Node::new(), System::env());
        let store = node.twins.store().clone();
        let (desk, tray) = Desk::load(&store, Role::Edge).unwrap();
        let (local, outside) = (Arc::new(Nothing), Arc::new(Nothing));
        let abilities = Abilities { local, outside, zone: jiff::tz::TimeZone::UTC };
        let (runs, engine) = Runs::load(store, (desk.clone(), tray), abilities).unwrap();
        let engine = tokio::spawn(engine.run(CancellationToken::new()));
        let (root, key) = (NodeKey::generate(&env), NodeKey::generate(&env));
        let not_after_s = i64::MAX;
        let grant =
            Grant { key_id: 1, serial: 1, key: key.id(), name: "works", kinds: &[], not_after_s };
        let certificate = Publishing::certify(&root, &grant).unwrap();
        let publishing = Publishing::new(key, certificate).unwrap();
        let sites = Arc::new(|| vec!["north".to_owned()]);
        let assignments = Assignments { twins: node.twins.clone(), runs, sites };
        Self { node, desk, assignments, root, publishing, _engine: engine }
    }

    /// Puts an artefact on the gateway's shelf.
    pub(in crate::runs) async fn shelve(&self, version: &str, content: Vec<u8>) -> ArtefactId {
        let (id, manifest) = self.publishing.sign((KIND, "guard", version), 0, &content).unwrap();
        let fleet = FleetId::of(&self.root.id());
        let shelve = move |tx: &mut WriteTx<'_>| {
            shelf::shelve(tx, fleet, &manifest, &content)
                .map(drop)
                .map_err(|error| WriteError::Refused(error.to_string()))
        };
        self.node.twins.store().write(shelve).await.unwrap();
        id
    }

    /// Has the site use something as its guard, or nothing.
    pub(in crate::runs) async fn assign(&self, text: Json) {
        let site = DocumentName::new("site/north").unwrap();
        self.node.patch(&site, &json!({"artefacts": {"guard": text}})).await;
    }

    pub(in crate::runs) async fn round(&self) -> bool {
        self.assignments.round().await.unwrap()
    }

    /// How the gateway says that its workflows stand.
    pub(in crate::runs) async fn said(&self) -> Json {
        let node = format!("node/{}", self.node.twins.store().node());
        let part = self.node.twins.part(DocumentName::new(&node).unwrap()).await.unwrap();
        part.shown.object().get(FOLDER).cloned().unwrap_or_default()
    }

    async fn start(&self) -> Result<RunId, RunError> {
        let start = Start { workflow: "guard".to_owned(), ..Start::default() };
        self.assignments.runs.start(start).await.map(|Started { run, .. }| run)
    }
}

fn image(version: &str) -> Vec<u8> {
    let text = format!("workflow: guard\nversion: '{version}'\nsteps: [{{wait: 1h}}]\n");
    crate::flow::compile(&text).unwrap().image
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_used_any_more_goes_when_its_last_run_is_over() {
    let gateway = Gateway::new();
    let (first, second) =
        (gateway.shelve("1", image("1")).await, gateway.shelve("2", image("2")).await);
    gateway.assign(first.to_string().into()).await;
    assert!(gateway.round().await);
    assert_eq!(gateway.said().await, json!({"guard": {"1": "on"}}));
    let run = gateway.start().await.unwrap();
    gateway.assign(second.to_string().into()).await;
    gateway.round().await;
    assert_eq!(gateway.said().await, json!({"guard": {"1": "ends", "2": "on"}}));
    gateway.assign(Json::Null).await;
    gateway.round().await;
    assert_eq!(gateway.said().await, json!({"guard": {"1": "ends"}}), "nothing holds the second");
    assert_eq!(gateway.start().await, Err(RunError::NoWorkflow("guard".to_owned())));
    // Taken back, it is used again as if nothing had been.
    gateway.assign(first.to_string().into()).await;
    assert!(gateway.round().await);
    assert_eq!(gateway.said().await, json!({"guard": {"1": "on"}}));
    gateway.assign(Json::Null).await;
    gateway.round().await;
    gateway.assignments.runs.cancel(run, "ann").await.unwrap();
    assert!(gateway.round().await);
    assert_eq!(gateway.said().await, Json::Null);
    assert_eq!(gateway.assignments.runs.library().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_has_disabled_at_the_gateway_stays_so() {
    let gateway = Gateway::new();
    let id = gateway.shelve("1", image("1")).await;
    gateway.assign(id.to_string().into()).await;
    gateway.round().await;
    gateway.assignments.runs.enable("guard", "1", false).await.unwrap();
    gateway.assign(format!("{id} kind=sewage").into()).await;
    assert!(gateway.round().await);
    let flow = gateway.assignments.runs.library().get("guard", "1").cloned().unwrap();
    assert_eq!(flow.only(), [("kind".to_owned(), "sewage".to_owned())]);
    assert_eq!(gateway.said().await, json!({"guard": {"1": "off"}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_workflow_or_does_what_the_gateway_cannot_is_refused_in_words() {
    let gateway = Gateway::new();
    let id = gateway.shelve("1", b"no image".to_vec()).await;
    gateway.assign(id.to_string().into()).await;
    assert!(gateway.round().await);
    let said = gateway.said().await;
    let text = said["guard"]["1"].as_str().unwrap();
    assert!(text.starts_with("refused: "), "{text}");
    let publishes = "workflow: guard\nversion: '2'\nsteps: [{publish: a, payload: ON}]\n";
    let image = crate::flow::compile(publishes).unwrap().image;
    let id = gateway.shelve("2", image).await;
    gateway.assign(id.to_string().into()).await;
    assert!(gateway.round().await);
    let said = gateway.said().await;
    assert!(said["guard"].get("1").is_none(), "{said}");
    assert!(said["guard"]["2"].as_str().unwrap().starts_with("refused: "), "{said}");
    assert_eq!(gateway.assignments.runs.library().len(), 0);
}

// It was looked at twice a minute only.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_site_uses_is_installed_when_it_is_assigned() {
    let Gateway { node, assignments, desk, root, publishing, _engine } = Gateway::new();
    let (stop, runs) = (CancellationToken::new(), assignments.runs.clone());
    let mut installed = desk.watch();
    let following = tokio::spawn(assignments.follow(stop.clone()));
    let assignments = Assignments {
        twins: node.twins.clone(),
        runs,
        sites: Arc::new(|| vec!["north".to_owned()]),
    };
    let gateway = Gateway { node, assignments, desk, root, publishing, _engine };
    for version in ["1", "2"] {
        let id = gateway.shelve(version, image(version)).await;
        gateway.assign(id.to_string().into()).await;
        let is_there = async {
            while gateway.desk.library().get("guard", version).is_none() {
                installed.changed().await.unwrap();
            }
        };
        // Sooner than it looks again for what nobody tells of.
        tokio::time::timeout(LOOK_AGAIN * 2 / 3, is_there).await.expect("it was told");
    }
    stop.cancel();
    following.await.unwrap();
}
