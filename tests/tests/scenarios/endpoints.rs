//! Devices that send anything, and clocks that say anything.

use holdfast_tests::scenarios::{Scale, bad_input, clocks};

#[test]
fn bad_input_gets_a_precise_error_and_harms_nobody_else() {
    bad_input::bad_input(Scale::test(0xbad));
}

#[test]
fn wrong_clocks_are_flagged_and_break_nothing() {
    clocks::clocks(Scale::test(0xc10c));
}
