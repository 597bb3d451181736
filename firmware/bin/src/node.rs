//! A whole device on the emulated board: it measures, keeps, acts and runs workflows, and talks to
//! its gateway by MQTT.
//!
//! With `fleet=` it takes workflows and other firmware, too. The loader starts it, and may have put
//! it where another was: then it is on trial until its gateway answers.

#![no_std]
#![no_main]

use bsp_an385::restart::restart;
use cortex_m_rt::entry;
use embassy_executor::Spawner;
use holdfast_firmware::uplink::{self, Pace, Room};
use holdfast_firmware::{actor, sampler, update};
use holdfast_firmware_an385::{Device, Wrong, end, tank};
use holdfast_firmware_net::Network;
use static_cell::StaticCell;

#[entry]
fn main() -> ! {
    holdfast_firmware_an385::run(begin)
}

#[embassy_executor::task]
async fn measure(node: &'static Device, mut tank: tank::Tank) {
    _ = sampler::run(node, &mut tank).await;
    end()
}

#[embassy_executor::task]
async fn act(node: &'static Device) {
    _ = actor::run(node, &mut tank::Valve).await;
    end()
}

#[embassy_executor::task]
async fn hand_on(node: &'static Device, dial: &'static mut Network, room: &'static mut Room) {
    match uplink::run(node, node.about.sensors, dial, Pace::default(), room).await {
        Ok(()) => restart(),
        Err(_) => end(),
    }
}

/// Goes back to the firmware before this one, if no gateway is heard.
#[embassy_executor::task]
async fn prove(node: &'static Device) {
    update::trial(node).await;
    restart()
}

fn begin(spawner: Spawner) -> Result<(), Wrong> {
    static ROOM: StaticCell<Room> = StaticCell::new();
    let (node, network, tank) = holdfast_firmware_an385::begin(spawner, true)?;
    spawner.spawn(measure(node, tank)?);
    spawner.spawn(act(node)?);
    spawner.spawn(hand_on(node, network, ROOM.init_with(Room::new))?);
    spawner.spawn(prove(node)?);
    Ok(())
}
