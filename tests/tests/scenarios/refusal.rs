//! Nodes that do not belong to the fleet, and those whose time was over.

use holdfast_tests::faults::Replay;
use holdfast_tests::scenarios::{Scale, refusal};

#[test]
fn a_node_that_does_not_belong_is_refused_and_told_why() {
    let name = "refusal::a_node_that_does_not_belong_is_refused_and_told_why";
    let replay = Replay::new("scenarios", name, 7);
    refusal::refusals(Scale::test(replay.seed()));
}
