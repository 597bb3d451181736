//! A gateway that comes back after a long time.

use holdfast_tests::faults::Replay;
use holdfast_tests::scenarios::{Scale, backlog};

#[test]
fn live_readings_leave_before_the_backlog() {
    let replay = Replay::new("scenarios", "backlog::live_readings_leave_before_the_backlog", 7);
    backlog::backlog(Scale::test(replay.seed()));
}
