//! Many gateways that join at the same time.

use holdfast_sync::net::Transport;
use holdfast_tests::faults::Replay;
use holdfast_tests::scenarios::{Scale, enrolment};

#[test]
fn many_nodes_enrol_at_once() {
    let replay = Replay::new("scenarios", "enrolment::many_nodes_enrol_at_once", 7);
    enrolment::two_hundred_nodes_enrol_at_once(Scale::test(replay.seed()));
}

#[test]
fn many_nodes_enrol_at_once_over_quic() {
    let name = "enrolment::many_nodes_enrol_at_once_over_quic";
    let replay = Replay::new("scenarios", name, 8);
    enrolment::two_hundred_nodes_enrol_at_once(Scale::test(replay.seed()).over(Transport::Quic));
}
