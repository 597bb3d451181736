//! What a gateway takes up as time goes by.

use holdfast_tests::scenarios::{Scale, year};

#[test]
fn a_year_of_one_gateway_takes_no_more_than_was_promised() {
    year::year(Scale::test(0x9ea7));
}
