//! Disks without room, and disks that change what they hold.

use holdfast_tests::scenarios::{Scale, full};

#[test]
fn no_room_drops_what_was_declared_or_refuses_and_loses_nothing_acknowledged() {
    full::full(Scale::test(0xf011));
}
