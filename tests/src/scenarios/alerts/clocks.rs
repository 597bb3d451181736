//! Alerts when the clock of the gateway is set, and silence over restarts.

use super::log::said;
use super::{DEVICE, HIGH, LOW, RULE, SOON, active, equal, fleet, post};
use crate::faults::Tally;
use crate::process::{Edge, Fleet, Settings};
use crate::scenarios::Scale;
use crate::scenarios::audit::{rest, verify};
use crate::scenarios::load::block_on;
use crate::wait::until_async;
use serde_json::{Value, json};

/// How the gateway's clock is wrong, as libfaketime takes it, and what happens then.
const WRONG: [(&str, &str); 3] = [
    ("+10y", "gateway clock set ten years ahead and back"),
    ("-10y", "gateway clock set ten years back and ahead"),
    ("+90s", "gateway clock set 90 s ahead and back"),
];
const RIGHT: &str = "crossing by a right clock after a wrong one";
const SILENCE: &str = "gateway killed while a device was silent";
/// Short enough to wait for, far longer than a post and a start take.
const SILENT_AFTER: &str = "4s";

/// Sets the gateway's clock between crossings, and kills it while its device is silent.
///
/// # Panics
/// When a crossing or a silence is not said exactly once, or a fault never struck.
pub fn clocks(scale: Scale) {
    block_on(campaign(scale));
}

async fn campaign(scale: Scale) {
    let faked = Settings::default().clock("+1y");
    let mut faults = vec![SILENCE];
    match &faked {
        Ok(_) => faults.extend(WRONG.iter().map(|(_, fault)| *fault).chain([RIGHT])),
        Err(reason) => println!("{reason}: the gateway's own clock stays right"),
    }
    let tally = Tally::of(&faults);
    let mut seq = 0;
    let settings = Settings::default().env("HOLDFAST_ALERTS_DEVICE_SILENT_AFTER", "1h");
    let mut clocked = fleet(scale.seed, &settings);
    let mut crossings = 0;
    if faked.is_ok() {
        for turn in 0..scale.of(60, WRONG.len() as u64) {
            let (spec, fault) = WRONG[turn as usize % WRONG.len()];
            let clock = Settings::default().clock(spec).expect("it was looked for before");
            for (clock, fault) in [(clock, fault), (Settings::default(), RIGHT)] {
                let edge = &mut clocked.edges[0];
                edge.stop().expect("the gateway stops in good order");
                edge.start_with(&clock).expect("the gateway starts by any clock");
                cross(edge, &mut seq).await;
                tally.strike(fault);
                crossings += 1;
            }
        }
    }
    finish(clocked, RULE, crossings).await;

    let settings = Settings::default().env("HOLDFAST_ALERTS_DEVICE_SILENT_AFTER", SILENT_AFTER);
    let mut silent = fleet(scale.seed, &settings);
    let silences = scale.of(20, 1);
    for _ in 0..silences {
        let edge = &mut silent.edges[0];
        one(edge, &mut seq, LOW).await;
        active(edge, "device-silent", 0).await;
        edge.kill9().expect("the gateway dies");
        tally.strike(SILENCE);
        edge.start().expect("the gateway starts again");
        let alerts = active(edge, "device-silent", 1).await;
        assert_eq!(alerts[0]["device"], DEVICE, "{alerts:?}");
    }
    one(&silent.edges[0], &mut seq, LOW).await;
    active(&silent.edges[0], "device-silent", 0).await;
    finish(silent, "device-silent", silences as usize).await;
    tally.finish().expect("every fault struck");
}

/// One reading without a time of its own: the gateway's clock stamps it.
async fn one(edge: &Edge, seq: &mut u64, value: f64) {
    *seq += 1;
    let body = json!({
        "device": DEVICE, "metric": "level", "unit": "m", "value": value, "boot": 1, "seq": *seq,
    });
    post(edge, &body).await;
}

/// Crosses the threshold there and back.
async fn cross(edge: &Edge, seq: &mut u64) {
    for (value, wanted) in [(HIGH, 1), (LOW, 0)] {
        one(edge, seq, value).await;
        active(edge, RULE, wanted).await;
    }
}

/// Gateway and hub show so many alerts of a rule, all over, and both logs say each once and once.
async fn finish(mut fleet: Fleet, rule: &str, number: usize) {
    let alerts = equal(&fleet, rule).await;
    assert_eq!(alerts.len(), number, "{alerts:?}");
    let is_over = |alert: &Value| alert["cleared"]["reason"] == "over";
    assert!(alerts.iter().all(is_over), "{alerts:?}");
    rest(&fleet).await;
    // Of the clock, too: it is said when it is wrong and when it is believed again, which may be
    // just now, so both still run.
    let here = until_async("the same of all alerts in both logs", SOON, async || {
        let (here, there) = (said(fleet.edges[0].data()), said(fleet.hub.data()));
        here.iter().all(|(id, counts)| there.get(id) == Some(counts)).then_some(here)
    })
    .await;
    assert!(here.len() >= number, "{here:?}");
    assert!(here.values().all(|counts| counts.0 == 1 && counts.1 <= 1), "{here:?}");
    verify(&mut fleet);
}
