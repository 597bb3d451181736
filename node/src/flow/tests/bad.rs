//! Definitions that are not accepted, each with what is said of it.

use super::*;

#[test]
fn several_faults_are_told_at_once() {
    let wrong = compile(&whole(
        "steps:\n  - let: {n: 1 +}\n  - comand: stop\n  - wait: n\n  - let: {x: y + 1, z: x * 2}\n",
    ));
    let told: Vec<_> = wrong.unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:#?}");
}
