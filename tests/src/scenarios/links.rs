//! Bad links: cut, slow, lossy, doubling, reordering; whatever they do, both ends agree afterwards.
//!
//! Each gateway of a fleet has a link of its own kind. Under load the links go bad, gateways are
//! started anew so that the handshake has to get through, too, and then something has to arrive
//! over each link that lets anything through, while behind the cut one ingest goes on. Then all
//! links heal and the audit follows. What really happened to packets is counted by the proxies.

use super::audit::{audit, edge_client, hub_client, look};
use super::load::{self, SOON, block_on, online, progress};
use super::{Scale, tell};
use crate::faults::Tally;
use crate::net::{Counts, Link, Profile};
use crate::process::{Fleet, FleetPlan, Settings};
use crate::rng::Rng;
use crate::wait::until_async;
use crate::waterworks::Shift;

/// Rounds of bad and good times.
const FULL: u64 = 10;
/// Windows short enough to close several times in a round.
const WIDTHS_S: [u32; 2] = [2, 10];
/// Entries that have to arrive over a bad link in each round.
const ARRIVE: u64 = 25;
/// The kinds of link, one for each gateway; `None` is a cut. Over the last but one of the ladder a
/// session still gets somewhere, over the last it may or may not.
const LINKS: [Option<Link>; 6] = [
    None,
    Some(Link::Slow2kBps),
    Some(Link::Lossy30pct),
    Some(Link::DupReorder),
    Some(Link::CellEdge),
    Some(Link::Absurd),
];

const CUT: &str = "packets dropped by a cut";
const LOST: &str = "packets lost";
const DOUBLED: &str = "packets doubled";
const REORDERED: &str = "packets reordered";
const HELD: &str = "packets held by a slow link";

/// Has all kinds of bad links go bad and heal under load, then audits.
///
/// # Panics
/// When nothing gets over a link that is usable, or the audit finds anything.
pub fn links(scale: Scale) {
    block_on(campaign(scale));
}

async fn campaign(scale: Scale) {
    let plan = FleetPlan::new(LINKS.len(), scale.seed).with(&scale.node());
    let widths = WIDTHS_S.map(|width| format!("{width}s")).join(",");
    let edge = plan.edge.clone().with(&Settings::default().env("HOLDFAST_ROLLUPS_WIDTHS", widths));
    let mut fleet = FleetPlan { edge, ..plan }.build().expect("the fleet starts");
    let shifts = fleet.edges.iter().zip(1..);
    let shifts: Vec<_> =
        shifts.map(|(edge, boot)| load::start(edge, scale.seed, boot, 2, 500)).collect();
    let mut rng = Rng::keyed(scale.seed, &[2]);
    let tally = Tally::of(&[CUT, LOST, DOUBLED, REORDERED, HELD]);
    let rounds = scale.of(FULL, 1);
    for round in 1..=rounds {
        for (edge, shift) in fleet.edges.iter().zip(&shifts) {
            online(edge).await;
            progress(shift, shift.acknowledged(), 4).await;
        }
        go_bad(&mut fleet, &shifts, &mut rng);
        for number in 0..fleet.edges.len() {
            over_bad_link(&fleet, &shifts, number).await;
        }
        fleet.links.iter().for_each(|link| link.set_link(Link::Perfect));
        tell("links", round, rounds);
    }
    let counts = fleet.links.iter().map(|link| link.counts()).flat_map(|c| [c.up, c.down]);
    counts.for_each(|counts| note(&tally, counts));
    let mut accounts = Vec::new();
    for shift in shifts {
        accounts.push(shift.stop().await);
    }
    let report = audit(&mut fleet, &accounts, &WIDTHS_S).await;
    println!("links: {rounds} rounds over {} links; {report}", LINKS.len());
    tally.finish().expect("every kind of fault struck");
}

/// Makes the links bad, and has a gateway or two come up behind theirs.
fn go_bad(fleet: &mut Fleet, shifts: &[Shift], rng: &mut Rng) {
    for (link, kind) in fleet.links.iter().zip(LINKS) {
        link.set_profile(kind.map_or_else(Profile::cut, Link::profile));
    }
    for (edge, shift) in fleet.edges.iter_mut().zip(shifts) {
        if rng.chance(0.5) {
            edge.stop().expect("the gateway stops in good order");
            edge.start().expect("the gateway starts without a link");
            shift.move_to(edge.http());
        }
    }
}

/// Behind every link posts go on being acknowledged; over every usable one something arrives.
async fn over_bad_link(fleet: &Fleet, shifts: &[Shift], number: usize) {
    let (edge, shift) = (&fleet.edges[number], &shifts[number]);
    progress(shift, shift.acknowledged(), ARRIVE as usize).await;
    let answered = look(&mut edge_client(edge), "/v1/series").await;
    assert!(answered["total"].as_u64() > Some(0), "queries go on: {answered}");
    let Some(kind) = LINKS[number].filter(|kind| *kind != Link::Absurd) else { return };
    let before = at_hub(fleet, number).await;
    let what = format!("{ARRIVE} more readings of {} over {}", edge.name(), kind.name());
    until_async(&what, SOON, || async {
        (at_hub(fleet, number).await >= before + ARRIVE).then_some(())
    })
    .await;
}

/// How many reading entries of a gateway are on the hub.
async fn at_hub(fleet: &Fleet, number: usize) -> u64 {
    let path = format!("/v1/nodes/north/{}", fleet.edges[number].name());
    let node = look(&mut hub_client(&fleet.hub), &path).await;
    node["entries"]["reading"].as_u64().expect("the hub says how much it holds")
}

fn note(tally: &Tally, counts: Counts) {
    tally.add(CUT, counts.cut);
    tally.add(LOST, counts.lost);
    tally.add(DOUBLED, counts.duplicated);
    tally.add(REORDERED, counts.reordered);
    tally.add(HELD, counts.delayed);
}
