//! Measures, and keeps what came out: each sensor at its own pace, whatever the uplink does.

use crate::log::Fault;
use crate::node::{Event, Node};
use crate::record::Record;
use crate::sensors::{Sensors, due, next_due};
use embassy_time::{Instant, Timer};
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::Value;

/// A delay after which what was due meanwhile is not made up for.
const LATE_MS: u64 = 10_000;

/// Measures for ever, and has workflows see it.
///
/// # Errors
/// A fault of the flash: what is measured cannot be kept, and the device is to start anew.
pub async fn run<F: NorFlash>(
    node: &Node<F>,
    sensors: &mut impl Sensors,
) -> Result<(), Fault<F::Error>> {
    node.take_up()?;
    sample(node, sensors, |sensor, value| node.sampled(sensor, value)).await
}

/// Measures for ever, on a device without workflows.
///
/// # Errors
/// As [`run`].
pub async fn keep<F: NorFlash>(
    node: &Node<F>,
    sensors: &mut impl Sensors,
) -> Result<(), Fault<F::Error>> {
    sample(node, sensors, |_, _| Ok(())).await
}

async fn sample<F: NorFlash>(
    node: &Node<F>,
    sensors: &mut impl Sensors,
    seen: impl Fn(u8, &Value<'_>) -> Result<(), Fault<F::Error>>,
) -> Result<(), Fault<F::Error>> {
    let (mut last, mut sequence) = (node.uptime_ms(), 0);
    loop {
        let Some(at) = next_due(sensors.table(), last) else {
            return core::future::pending().await;
        };
        Timer::at(Instant::from_millis(at)).await;
        let now = node.uptime_ms();
        last = if now - at > LATE_MS { now } else { at };
        for place in 0..sensors.table().len() {
            let sensor = sensors.table()[place];
            if due(core::slice::from_ref(&sensor), at).next().is_none() {
                continue;
            }
            let Some(measured) = sensors.measure(sensor.number).await else { continue };
            sequence += 1;
            let record = Record {
                boot: node.boot,
                sequence,
                uptime_ms: node.uptime_ms(),
                sensor: sensor.number,
                quality: measured.quality,
                value: measured.value,
            };
            node.log.borrow_mut().push(&record)?;
            (node.about.tell)(Event::Kept { boot: node.boot, sequence });
            seen(sensor.number, &measured.value)?;
        }
    }
}
