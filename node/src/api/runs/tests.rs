//! Runs as an answer shows them.

use super::*;
use serde_json::json;

#[test]
fn a_run_on_a_device_is_shown_with_it_whether_under_way_or_over() {
    let run = Run {
        workflow: "guard".to_owned(),
        version: "1".to_owned(),
        by: "reading tank-1 level 2.01 on tank-1".to_owned(),
        stepped_ms: 1_800_000_000_000,
        memory: vec![1, Phase::Running as u8],
        device: Some("tank-1".to_owned()),
        ..Run::default()
    };
    let afar = Afar { run: run.clone(), count: 7 };
    let read = run_in(Table::RunOnDevice, &afar.encode()).unwrap();
    assert_eq!(read, run);
    assert_eq!(run_in(Table::RunOver, &run.encode()).unwrap(), run);
    // Its device had no clock when it began.
    let shape = RunShape::of(RunId([0; 16]), &run, None);
    let shape = serde_json::to_value(shape).unwrap();
    assert_eq!(
        shape,
        json!({
            "id": "00000000000000000000000000000000",
            "device": "tank-1",
            "workflow": "guard",
            "version": "1",
            "state": "running",
            "by": "reading tank-1 level 2.01 on tank-1",
            "began": "2027-01-15T08:00:00Z",
            "stepped": "2027-01-15T08:00:00Z",
            "error": null,
            "output": null,
            "waits": [],
        })
    );
}
