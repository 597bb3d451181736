//! Nodes that come back from backups, and upkeep that is cut off.

use holdfast_tests::scenarios::{Scale, fixture, restore, upkeep};

#[test]
fn a_restored_node_comes_back_into_agreement() {
    restore::restore(Scale::test(0xbac));
}

#[test]
fn upkeep_that_is_killed_loses_and_doubles_nothing() {
    upkeep::upkeep(Scale::test(0xcee));
}

#[test]
fn stores_of_earlier_releases_are_opened() {
    fixture::opened();
}
