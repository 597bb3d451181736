//! What a writer wants: edits of every kind, on paths under every rule, over and below each other.

use super::rng::Rng;
use holdfast_core::state::{Path, Text, Value};
use holdfast_sync::docs::{DocumentName, Edit, What};
use std::sync::OnceLock;

/// Paths whose cells are values. The last two have parts of counters and sets below them.
const VALUES: [&str; 13] = [
    "last",
    "last/a",
    "last/a/b",
    "last/c",
    "max/v",
    "max/v/low",
    "min/v",
    "hub/v",
    "hub/v/x",
    "edge/v",
    "keep/v",
    "count",
    "set",
];
/// Of these few, so that writers meet.
const KEPT: [&str; 3] = ["keep/v", "keep/v/x", "keep/w"];
const COUNTERS: [&str; 2] = ["count/n", "count/m"];
const SETS: [&str; 2] = ["set/s", "set/t"];

/// A write that waits for its turn.
#[derive(Clone, Debug)]
pub struct Draft {
    pub document: DocumentName,
    /// In the name of the device whose document it is.
    pub by_device: bool,
    pub edits: Vec<(&'static str, What<'static>)>,
}

impl Draft {
    pub fn draw(documents: &[DocumentName], is_hub: bool, long: bool, rng: &mut Rng) -> Self {
        let document = documents[rng.within(0, documents.len() as u64) as usize].clone();
        let by_device = !is_hub && document.device().is_some() && rng.percent(30);
        let edits = (0..rng.pick(&[1, 1, 1, 2, 3])).map(|_| edit(long, rng)).collect();
        Self { document, by_device, edits }
    }

    pub fn edits(&self) -> Vec<Edit<'static>> {
        let edit = |(path, what): &(&'static str, What<'static>)| Edit {
            path: Path::new(path).unwrap(),
            what: *what,
        };
        self.edits.iter().map(edit).collect()
    }
}

fn edit(long: bool, rng: &mut Rng) -> (&'static str, What<'static>) {
    match rng.within(0, 12) {
        0..=4 if long && rng.percent(50) => (rng.pick(&VALUES), What::Put(long_text(rng))),
        0..=4 => (rng.pick(&VALUES), What::Put(value(rng))),
        5 | 6 => (rng.pick(&KEPT), What::Put(value(rng))),
        7 => {
            let all = [VALUES.as_slice(), &KEPT, &COUNTERS, &SETS].concat();
            (rng.pick(&all), What::Delete)
        }
        8 | 9 => (rng.pick(&COUNTERS), What::Count(rng.within(0, 9) as i64 - 4)),
        10 => (rng.pick(&SETS), What::Add(value(rng))),
        _ => (rng.pick(&SETS), What::Remove(value(rng))),
    }
}

/// A text that does not compress well.
fn long_text(rng: &mut Rng) -> Value<'static> {
    static TEXTS: OnceLock<Vec<String>> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| {
        let mut rng = Rng(7);
        (1..=8).map(|n| (0..n * 30).map(|_| format!("{:016x}", rng.next())).collect()).collect()
    });
    let text = &texts[rng.within(0, texts.len() as u64) as usize];
    Value::Text(Text::new(text).unwrap())
}

fn value(rng: &mut Rng) -> Value<'static> {
    match rng.within(0, 8) {
        0 => Value::Bool(rng.percent(50)),
        1 => {
            Value::Text(Text::new(rng.pick(&["auto", "off", "a longer text than others"])).unwrap())
        }
        n => Value::Int(n as i64),
    }
}
