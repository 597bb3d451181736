//! Firmware of devices, from what sites use to what a device is told, and from what it says to what
//! people see.

use super::gateway::{Gateway, envelope, fetch};
use crate::mqtt::connection::Outcome;
use crate::mqtt::firmware::Said;
use crate::mqtt::reason::Reason;
use holdfast_core::artefact::ArtefactId;
use holdfast_core::device::firmware::{Firmware, KIND, Progress, Update, Wanted};
use holdfast_core::device::{self, vectors};
use holdfast_node::artefacts::Slot;
use holdfast_node::twins::Section;
use holdfast_sync::artefact::shelf;
use holdfast_sync::identity::FleetId;
use holdfast_sync::store::{WriteError, WriteTx};
use serde_json::{Value as Json, json};

const BOARD: &str = "mps2-an385";

impl Gateway {
    /// The firmware that a device is told it is to have.
    async fn image(&mut self) -> Option<ArtefactId> {
        let told = self.told().await;
        let of = told.iter().find(|(kind, _)| *kind == device::FIRMWARE_WANTED);
        let (_, payload) = of.unwrap_or_else(|| panic!("{told:?}"));
        Wanted::decode(payload).unwrap().0
    }
}

fn says(update: Option<Update>) -> Vec<u8> {
    let firmware = Firmware { board: BOARD, room: 20_000, runs: None, update };
    envelope(device::FIRMWARE, |out| firmware.encode(out).unwrap())
}

fn at(id: ArtefactId, progress: Progress) -> Vec<u8> {
    says(Some(Update { id, progress, done: 896 }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_told_which_firmware_it_is_to_have_and_whenever_that_changes() {
    let mut gateway = Gateway::new().await;
    let (first, _) = gateway.shelve_made((KIND, BOARD, "1"), 1, b"first").await;
    let (pilot, _) = gateway.shelve_made((KIND, BOARD, "2"), 2, b"pilot").await;
    let mut attached = gateway.downlink.attach("tank-1");
    gateway.says(&mut attached, "tank-1", &says(None)).await;
    assert_eq!(gateway.image().await, None, "it stays with what it runs");
    gateway.assign("board", first.to_string().into()).await;
    assert_eq!(gateway.image().await, Some(first));
    // What changes nothing for this one is not told.
    gateway.assign("pilot", format!("{pilot} pilot=yes").into()).await;
    gateway.patch(Section::Tags, "tank-2", &json!({"pilot": "yes"})).await;
    gateway.patch(Section::Tags, "tank-1", &json!({"pilot": "yes"})).await;
    assert_eq!(gateway.image().await, Some(pilot));
    gateway.patch(Section::Tags, "tank-1", &json!({"pilot": null})).await;
    assert_eq!(gateway.image().await, Some(first));
    gateway.assign("pilot", pilot.to_string().into()).await;
    assert_eq!(gateway.image().await, Some(pilot));
    // Each time that it says what it has it is told, be that as before.
    gateway.says(&mut attached, "tank-1", &at(pilot, Progress::Fetching)).await;
    assert_eq!(gateway.image().await, Some(pilot));
    gateway.assign("pilot", Json::Null).await;
    assert_eq!(gateway.image().await, Some(first));
    gateway.assign("board", Json::Null).await;
    assert_eq!(gateway.image().await, None);
    // Nobody is told anything who is not here any more, or has not said which it has.
    drop(attached);
    gateway.assign("board", first.to_string().into()).await;
    let mut attached = gateway.downlink.attach("tank-1");
    gateway.says(&mut attached, "tank-1", vectors::ASK_NOTHING).await;
    let kinds = |told: &[(u8, Vec<u8>)]| told.iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
    let expected = [device::TIME, device::COMMANDS, device::DESIRED];
    assert_eq!(kinds(&gateway.told().await), expected);
    gateway.assign("pilot", pilot.to_string().into()).await;
    let held = envelope(device::FLOWS_HELD, |_| {});
    let all = [vectors::HEALTH_FOUR, &fetch(first, 1), &says(None), &held, vectors::ASK_NOTHING];
    gateway.says(&mut attached, "tank-1", &all.concat()).await;
    let expected = [
        device::TIME,
        device::COMMANDS,
        device::DESIRED,
        device::FLOWS,
        device::FIRMWARE_WANTED,
        device::PIECE,
    ];
    assert_eq!(kinds(&gateway.told().await), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_here_whole_is_offered_when_it_is() {
    let mut gateway = Gateway::new().await;
    let content = b"image";
    let (id, manifest) = gateway.publishing.sign((KIND, BOARD, "1"), 1, content).unwrap();
    let mut attached = gateway.downlink.attach("tank-1");
    gateway.says(&mut attached, "tank-1", &says(None)).await;
    assert_eq!(gateway.image().await, None);
    gateway.assign("board", id.to_string().into()).await;
    let fleet = FleetId::of(&gateway.root.id());
    let take = move |tx: &mut WriteTx<'_>| {
        let taken = shelf::take_manifest(tx, fleet, &manifest);
        taken.map(drop).map_err(|error| WriteError::Refused(error.to_string()))
    };
    gateway.twins.store().write(take).await.unwrap();
    gateway.says(&mut attached, "tank-1", &says(None)).await;
    assert_eq!(gateway.image().await, None, "it could not be handed out");
    gateway.shelve_made((KIND, BOARD, "1"), 1, content).await;
    assert_eq!(gateway.image().await, Some(id), "nobody asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_shown_in_what_a_device_reports_as_it_stands() {
    let gateway = Gateway::new().await;
    let (id, _) = gateway.shelve_made((KIND, BOARD, "1.2.0"), 1, b"image").await;
    let (flow, _) = gateway.shelve(("flow", "guard"), b"no image").await;
    let short = |id: ArtefactId| id.to_string()[..16].to_owned();
    let health = json!({"boot": 4, "reason": "watchdog", "firmware": "0.1.0", "dropped": 7});
    let starts = gateway.starts("tank-1", vectors::HEALTH_FOUR).await;
    let shown = |update: Json| {
        let mut all = json!({"device": health.clone()});
        all["device"]["starts"] = starts.clone();
        all["device"]["board"] = BOARD.into();
        if !update.is_null() {
            all["device"]["update"] = update;
        }
        all
    };
    let with_health = |says: Vec<u8>| [vectors::HEALTH_FOUR, &says[..]].concat();
    let message = with_health(says(None));
    let said = gateway.hear("tank-1", &message).await.unwrap();
    let slot = Some(Slot { board: BOARD.to_owned(), room: 20_000 });
    assert_eq!(said, Said { is_health: true, slot, ..Said::default() });
    assert_eq!(gateway.reported("tank-1").await, shown(Json::Null));
    let version = gateway.version("tank-1").await;
    gateway.hear("tank-1", &message).await.unwrap();
    assert_eq!(gateway.version("tank-1").await, version, "nothing has changed");

    let message = with_health(at(id, Progress::Fetching));
    gateway.hear("tank-1", &message).await.unwrap();
    let fetching = json!({"version": "1.2.0", "progress": "fetching", "artefact": short(id)});
    assert_eq!(gateway.reported("tank-1").await, shown(fetching));
    let version = gateway.version("tank-1").await;
    let further = says(Some(Update { id, progress: Progress::Fetching, done: 8_960 }));
    gateway.hear("tank-1", &with_health(further)).await.unwrap();
    assert_eq!(gateway.version("tank-1").await, version, "each piece would be a change");
    gateway.hear("tank-1", &at(id, Progress::FellBack)).await.unwrap();
    let back = json!({
        "version": "1.2.0",
        "progress": "fell back: it ran, and no gateway heard from it in time",
        "artefact": short(id),
    });
    assert_eq!(gateway.reported("tank-1").await, shown(back.clone()));

    // It keeps its version when the site has another one, which has none here before it came.
    let take = move |tx: &mut WriteTx<'_>| Ok(shelf::remove(tx, &id)?);
    gateway.twins.store().write(take).await.unwrap();
    let version = gateway.version("tank-1").await;
    gateway.hear("tank-1", &at(id, Progress::FellBack)).await.unwrap();
    assert_eq!(gateway.reported("tank-1").await, shown(back));
    assert_eq!(gateway.version("tank-1").await, version);
    for other in [ArtefactId([0xab; 32]), flow] {
        gateway.hear("tank-1", &at(other, Progress::Runs)).await.unwrap();
        let other = json!({"progress": "runs", "artefact": short(other)});
        assert_eq!(gateway.reported("tank-1").await, shown(other));
    }
    gateway.hear("tank-1", &says(None)).await.unwrap();
    assert_eq!(gateway.reported("tank-1").await, shown(Json::Null), "what is no more goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_firmware_of_one_message_are_one_change() {
    let gateway = Gateway::new().await;
    let message = [vectors::HEALTH_FOUR, vectors::FIRMWARE_FETCHING].concat();
    gateway.hear("tank-1", &message).await.unwrap();
    let name = Section::Reported.document("tank-1").unwrap();
    let page = gateway.twins.history(name, None, 10).await.unwrap().unwrap();
    assert_eq!(page.changes.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn firmware_that_does_not_follow_the_format_is_refused_with_its_message() {
    let gateway = Gateway::new().await;
    let says = at(ArtefactId([2; 32]), Progress::Trial);
    let payload = &says[4..says.len() - 4];
    let mut unknown = payload.to_vec();
    let place = unknown.len() - 3;
    assert_eq!(unknown[place], Progress::Trial as u8);
    unknown[place] = 2;
    let long = [&[65][..], &[b'x'; 65], &payload[BOARD.len() + 1..]].concat();
    for (wrong, why) in [
        (&payload[..0], "the data ends too early"),
        (&payload[..20], "the data ends too early"),
        (&payload[..payload.len() - 1], "the data ends too early"),
        (&[payload, &[0]].concat(), "the data does not follow the format"),
        (&unknown, "the data does not follow the format"),
        (&long, "the data does not follow the format"),
    ] {
        let wrong = envelope(device::FIRMWARE, |out| out.extend_from_slice(wrong));
        let message = [vectors::HEALTH_FOUR, &wrong[..]].concat();
        let Outcome { reason, text } = gateway.hear("tank-1", &message).await.unwrap_err();
        let expected = format!("{why} (at envelope 1)");
        assert_eq!((reason, text.as_deref()), (Reason::PayloadFormatInvalid, Some(&*expected)));
        assert_eq!(gateway.reported("tank-1").await, json!({}), "nothing of it is taken");
    }
}
