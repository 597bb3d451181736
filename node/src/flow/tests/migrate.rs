//! Runs that go on as ones of another version.

use super::*;
use holdfast_core::flow::verify::Place;
use holdfast_core::flow::{Tier, Version, migrate, verify};

/// What the verifier finds of each operation.
fn places(image: &[u8]) -> Vec<Place> {
    let mut places = vec![Place::NOWHERE; usize::from(Tier::NODE.ops)];
    verify(image, &Tier::NODE, &mut places).unwrap();
    places
}

impl Run {
    /// Goes on as a run of another version, or says why not.
    fn migrate(&mut self, lines: &str) -> Result<(), String> {
        let new = compile(&whole(lines)).unwrap_or_else(|wrong| panic!("{}", wrong[0])).image;
        let (old, is) = (self.image(), Image::parse(&new).unwrap());
        let (was_places, is_places) = (places(&self.image), places(&new));
        let mut memory = vec![0; bytes_of(is.sizes)];
        let from = (Version { image: &old, places: &was_places }, self.memory());
        let to = (Version { image: &is, places: &is_places }, memory.as_mut_slice());
        migrate(from, to).map_err(|obstacle| obstacle.to_string())?;
        view::check(&is, &memory).unwrap();
        (self.image, self.memory) = (new, memory);
        Ok(())
    }
}

const OLD: &str = r#"input: {device: text, limit: {type: decimal, default: 2.5}}
steps:
  - let: {n: 3}
  - command: open
    device: ${device}
    label: opening
    retry: {attempts: 5, first: 1s}
  - wait: 10m
    label: filling
  - publish: a
    payload: {n: "${n}", limit: "${limit}"}
"#;

fn begun() -> Run {
    Run::with(OLD, &[Some(Given::Text("valve-3")), None])
}

#[test]
fn what_is_under_way_goes_on_under_its_key_and_behind_it_comes_the_new_version() {
    let new = r#"input: {limit: {type: decimal, default: 1.0}, device: text}
steps:
  - let: {other: 7, n: 0}
  - publish: before
    payload: ON
  - let: {other: 8, n: n + 1}
  - command: open
    device: ${device}
    label: opening
  - publish: b
    payload: {n: "${n}", limit: "${limit}"}
"#;
    let mut run = begun();
    run.failed(1, Code::FAILED);
    // `other` is what the old version has not got.
    assert_eq!(
        run.migrate(new).unwrap_err(),
        "it has no value for `other`, which the other version needs there"
    );
    let new = new.replace("other: 7, ", "").replace("other: 8, ", "");
    run.migrate(&new).unwrap();
    run.pass(1_000);
    assert_eq!(run.asked(), ["1 command device=valve-3 name=open"]);
    run.done(1);
    assert_eq!(run.asked(), [r#"2 publish topic=b payload={"n":3,"limit":2.5}"#]);
}

#[test]
fn a_wait_ends_when_it_would_have_ended() {
    let new = OLD.replace("wait: 10m", "wait: 3h").replace("publish: a", "publish: c");
    let mut run = begun();
    run.done(1);
    run.pass(599_000);
    run.migrate(&new).unwrap();
    assert_eq!(run.asked(), [] as [&str; 0]);
    run.pass(1_000);
    assert_eq!(run.asked(), [r#"2 publish topic=c payload={"n":3,"limit":2.5}"#]);
}

#[test]
fn what_stands_in_the_way_is_said() {
    let told = |old: &str, new: &str, go: fn(&mut Run)| {
        let mut run = Run::of(old);
        go(&mut run);
        let before = run.memory.clone();
        let told = run.migrate(new).unwrap_err();
        assert_eq!(run.memory, before, "it stays as it was");
        told
    };
    let nothing = |_: &mut Run| {};
    let waits = "steps:\n  - wait: 1m\n    label: here\n";
    for (old, new, wanted) in [
        ("steps:\n  - wait: 1m\n", waits, "it waits where there is no label"),
        (waits, "steps:\n  - wait: 1m\n", "the other version has no label `here`"),
        (
            waits,
            "steps:\n  - publish: a\n    payload: ON\n    label: here\n",
            "at the label `here` the other version does something else",
        ),
        (
            "steps:\n  - publish: a\n    payload: ON\n    label: here\n",
            "steps:\n  - command: a\n    device: b\n    label: here\n",
            "at the label `here` the other version does something else",
        ),
        (
            waits,
            "steps:\n  - let: {n: 1}\n  - wait: 1m\n    label: here\n  - let: {n: n + 1}\n",
            "it has no value for `n`, which the other version needs there",
        ),
        (
            "steps:\n  - let: {n: 1}\n  - wait: 1m\n    label: here\n  - let: {n: n + 1}\n",
            "steps:\n  - let: {n: 1.5}\n  - wait: 1m\n    label: here\n  - let: {n: n + 1.0}\n",
            "it has no value for `n`, which the other version needs there",
        ),
        (
            "steps:\n  - let: {n: 1}\n  - publish: a\n    payload: \"${n}\"\n    label: here\n",
            "steps:\n  - let: {n: 1}\n  - publish: a\n    payload: \"${n + 1}\"\n    label: here\n",
            "the other version needs a value there that has no name of its own",
        ),
        (
            "steps:\n  - parallel:\n      - - wait: 1m\n          label: here\n      - - wait: 2m",
            waits,
            "branches of it are under way",
        ),
        (
            "steps:\n  - repeat: {at_most: 3}\n    do:\n      - wait: 1m\n        label: here\n",
            waits,
            "it is in a loop, and the other version has other ones",
        ),
    ] {
        let go = if old.contains("repeat") { |run: &mut Run| run.pass(60_000) } else { nothing };
        assert_eq!(told(old, new, go), wanted, "{old}\n{new}");
    }
    let undoes = "steps:\n  - publish: a\n    payload: ON\n    undo: [{publish: b, payload: ON}]\n\
                  \x20 - wait: 1m\n    label: here\n";
    assert_eq!(
        told(undoes, waits, |run| run.done(1)),
        "what it did would be undone by the old version"
    );
    let over = |run: &mut Run| run.pass(60_000);
    assert_eq!(told(waits, waits, over), "it is over, or undoes what it did");
}

#[test]
fn an_error_and_a_signal_keep_their_names() {
    let of = |errors: &str, signals: &str, then: &str| {
        format!(
            r#"errors: [{errors}]
signals: {{{signals}}}
unhandled: park
steps:
  - publish: a
    payload: ON
    label: here
  - wait_for: go
  - publish: {then}
    payload: ON
"#
        )
    };
    let mut run = Run::of(&of("dry", "stop: {}, go: {}", "old"));
    run.signal("go", &[]);
    run.failed(1, Code::REFUSED);
    assert_eq!(run.waits(), [Wait::Decision(Code::REFUSED)]);
    run.migrate(&of("wet, dry", "go: {}, other: {}", "new")).unwrap();
    run.skip(0).unwrap();
    run.settle();
    assert_eq!(run.asked(), ["2 publish topic=new payload=ON"], "`go` had come before");
}
