//! Workflows on devices, from what is installed to what a device is told, and from what it says to
//! what people see.

use super::gateway::{Gateway, envelope};
use crate::mqtt::connection::Outcome;
use crate::mqtt::firmware::Said;
use crate::mqtt::reason::Reason;
use holdfast_core::artefact::ArtefactId;
use holdfast_core::device::flows::{Held, Stands, Stepped, Wanted};
use holdfast_core::device::{self, vectors};
use holdfast_node::runs::record::Origin;
use holdfast_node::twins::Section;
use serde_json::json;

impl Gateway {
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

    /// The workflows that a device is told it is to have.
    async fn wanted(&mut self) -> Vec<ArtefactId> {
        let told = self.told().await;
        let of = told.iter().find(|(kind, _)| *kind == device::FLOWS);
        let (_, payload) = of.unwrap_or_else(|| panic!("{told:?}"));
        Wanted::decode(payload).unwrap().0.to_vec()
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

fn held(all: &[(ArtefactId, Stands)]) -> Vec<u8> {
    let held = Held(all.iter().copied().collect());
    envelope(device::FLOWS_HELD, |out| held.encode(out).unwrap())
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
