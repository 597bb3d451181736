//! Links that are cut, slow, lossy, doubling and reordering.

use holdfast_sync::net::Transport;
use holdfast_tests::faults::Replay;
use holdfast_tests::scenarios::{Scale, links};

#[test]
fn bad_links_lose_nothing_and_local_work_goes_on() {
    let name = "links::bad_links_lose_nothing_and_local_work_goes_on";
    let replay = Replay::new("scenarios", name, 7);
    links::links(Scale::test(replay.seed()));
}

#[test]
fn bad_links_lose_nothing_and_local_work_goes_on_over_quic() {
    let name = "links::bad_links_lose_nothing_and_local_work_goes_on_over_quic";
    let replay = Replay::new("scenarios", name, 8);
    links::links(Scale::test(replay.seed()).over(Transport::Quic));
}
