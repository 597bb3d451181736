//! A device on the emulated board that only measures, and posts its samples to its gateway by HTTP:
//! `gateway=` is the address of that.
//!
//! It takes no workflows and no other firmware: who wants those runs `node`.

#![no_std]
#![no_main]

use cortex_m_rt::entry;
use embassy_executor::Spawner;
use holdfast_firmware::post::{self, Room};
use holdfast_firmware::sampler;
use holdfast_firmware::uplink::Pace;
use holdfast_firmware_an385::{Device, Wrong, end, tank};
use holdfast_firmware_net::Network;
use static_cell::StaticCell;

#[entry]
fn main() -> ! {
    holdfast_firmware_an385::run(begin)
}

#[embassy_executor::task]
async fn measure(node: &'static Device, mut tank: tank::Tank) {
    _ = sampler::keep(node, &mut tank).await;
    end()
}

#[embassy_executor::task]
async fn hand_on(node: &'static Device, dial: &'static mut Network, room: &'static mut Room) {
    _ = post::run(node, node.about.sensors, dial, Pace::default(), room).await;
    end()
}

fn begin(spawner: Spawner) -> Result<(), Wrong> {
    static ROOM: StaticCell<Room> = StaticCell::new();
    let (node, network, tank) = holdfast_firmware_an385::begin(spawner, false)?;
    spawner.spawn(measure(node, tank)?);
    spawner.spawn(hand_on(node, network, ROOM.init_with(Room::new))?);
    Ok(())
}
