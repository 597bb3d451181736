//! Power, its cable and the gateway fail while a device posts its samples by HTTP: none that it has
//! said is in its flash is missing in the end, and none is there twice, whichever answer was lost.

use super::{Mcu, outages};
use crate::faults::Tally;
use crate::process::{Edge, Settings};
use crate::rng::Rng;
use crate::scenarios::{Scale, tell};
use std::time::Duration;

const POWER: &str = "posting device without power";
const CABLE: &str = "cable of a posting device pulled";
const GATEWAY: &str = "gateway of a posting device killed";
/// Faults at full size.
const FAULTS: u64 = 150;

/// Lets them fail, in turn and at random moments.
///
/// # Panics
/// When a promise is broken, or the device does not come back.
pub fn post(scale: Scale) {
    let mut rng = Rng::new(scale.seed);
    let dir = tempfile::tempdir().expect("a directory");
    let tally = Tally::of(&[POWER, CABLE, GATEWAY]);
    let edge = Edge::init("ps-000", &dir.path().join("edge"), Settings::default());
    let mut edge = edge.expect("the gateway is made");
    edge.start().expect("it starts");
    let stays = Settings::default().env("HOLDFAST_HTTP_LISTEN", edge.http().to_string());
    let token = edge.device_token("mcu-0").expect("a token");
    let mut device = Mcu::that_posts("mcu-0", dir.path(), edge.http(), &token);
    device.start().expect("it starts");
    let faults = scale.of(FAULTS, 12);
    for fault in 0..faults {
        std::thread::sleep(Duration::from_millis(50 + rng.below(900)));
        let within = Duration::from_millis(rng.below(1_000));
        let struck = [POWER, GATEWAY, POWER, CABLE][(fault % 4) as usize];
        match struck {
            POWER => {
                device.kill();
                device.start().expect("it starts again");
            }
            GATEWAY => {
                edge.kill9().expect("the gateway is killed");
                std::thread::sleep(within);
                edge.start_with(&stays).expect("it starts again");
            }
            _ => {
                device.plug(false).expect("the cable is pulled");
                std::thread::sleep(within);
                device.plug(true).expect("the cable is put in");
            }
        }
        tally.strike(struck);
        device.note();
        tell("firmware-post", fault, faults);
    }
    let devices = [device];
    outages::judge(&devices, &outages::arrived(&edge, &devices));
    tally.finish().expect("every fault happened");
}
