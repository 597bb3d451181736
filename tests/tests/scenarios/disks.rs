//! Disks without room, and disks that change what they hold.

use holdfast_tests::scenarios::{Scale, full, rot};

#[test]
fn no_room_drops_what_was_declared_or_refuses_and_loses_nothing_acknowledged() {
    full::full(Scale::test(0xf011));
}

#[test]
fn a_flipped_bit_or_a_lost_tail_is_named_or_harmless_and_the_rest_is_synced() {
    rot::rot(Scale::test(0x407));
}
