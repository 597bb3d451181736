//! Workflows for devices: what they may do is what a device can.

use super::*;
use holdfast_core::flow::Tier;
use holdfast_core::flow::about::Placement;
use holdfast_core::flow::verify::{Place, verify};

const GUARD: &str = include_str!("../../../../docs/examples/tank-guard.yaml");

#[test]
fn the_example_fits_a_device() {
    let compiled = compile(GUARD).unwrap();
    assert_eq!((compiled.placement, compiled.warnings.len()), (Placement::Device, 0));
    let mut places = [Place::NOWHERE; 256];
    let image = verify(&compiled.image, &Tier::DEVICE, &mut places).unwrap();
    assert_eq!(bytes_of(image.sizes), 113);
}

#[test]
fn what_is_parked_where_nobody_decides_is_warned_of() {
    let lines = "unhandled: park\nsteps: [{actuate: valve, value: 0}]\n";
    let compiled = compile(&whole(&format!("placement: device\n{lines}"))).unwrap();
    let told = compiled.warnings[0].to_string();
    assert!(told.starts_with("4:12: nobody decides on a device"), "{told}");
    assert_eq!(compile(&whole(lines)).unwrap().warnings, []);
}

#[test]
fn a_device_answers_what_is_asked_of_its_readings_and_its_twin() {
    let lines = "placement: device\nsteps:\n  - choose:\n      - if: reading('tank-1', 'level') \
                 > 2.0 && twin_bool('tank-1', 'desired/armed')\n        do: [{actuate: valve, \
                 value: \"${reading('tank-1', 'level')}\"}]\n";
    compile(&whole(lines)).unwrap();
}
