//! What the tests of state share: cells and paths drawn at random.

mod clocks;
mod interleavings;
mod laws;
mod replicas;
mod resolution;
mod sizes;
mod vectors;
mod views;

use super::{Author, Cell, Content, Elements, Role, Tally, Value};
use crate::codec::Reader;
use crate::hlc::Stamp;
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

/// What a drawn cell says; it owns what the cell borrows.
#[derive(Clone, Debug)]
pub(super) struct OwnedCell {
    head: (u64, u8, Role),
    content: OwnedContent,
}

#[derive(Clone, Debug)]
enum OwnedContent {
    Tombstone,
    Value(Value<'static>),
    Text(String),
    Array(String),
    Counter(Tally),
    Set(Vec<u8>),
}

impl OwnedCell {
    /// The cell.
    pub(super) fn get(&self) -> Cell<'_> {
        let (stamp, author, role) = self.head;
        let content = match &self.content {
            OwnedContent::Tombstone => Content::Tombstone,
            OwnedContent::Value(value) => Content::Value(*value),
            OwnedContent::Text(text) => Content::Value(Value::text(text).unwrap()),
            OwnedContent::Array(json) => Content::Value(Value::array(json).unwrap()),
            OwnedContent::Counter(tally) => Content::Counter(*tally),
            OwnedContent::Set(bytes) => {
                Content::Set(Elements::read(&mut Reader::new(bytes)).unwrap())
            }
        };
        Cell { stamp: Stamp(stamp), author: Author([author; 8]), role, content }
    }
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(&[Role::Hub, Role::Edge, Role::Device][..])
}

fn plain() -> impl Strategy<Value = OwnedContent> {
    prop_oneof![
        Just(OwnedContent::Tombstone),
        any::<bool>().prop_map(|on| OwnedContent::Value(Value::Bool(on))),
        (-3i64..3).prop_map(|int| OwnedContent::Value(Value::Int(int))),
        any::<i64>().prop_map(|int| OwnedContent::Value(Value::Int(int))),
        (-6i64..6).prop_map(|n| OwnedContent::Value(Value::float(n as f64 / 2.0).unwrap())),
        any::<f64>()
            .prop_filter_map("finite", |n| Value::float(n).ok())
            .prop_map(OwnedContent::Value),
        "[a-zé ]{0,6}".prop_map(OwnedContent::Text),
        prop::sample::select(&["[]", "[1]", "[[\"a\"]]"][..])
            .prop_map(|json| OwnedContent::Array(json.into())),
    ]
}

fn part() -> impl Strategy<Value = OwnedContent> {
    let set = prop::collection::btree_map(-3i64..3, 1u16..6, 0..5).prop_map(|items| {
        let mut bytes = Vec::new();
        let items = items.iter().map(|(int, length)| (Value::Int(*int), *length));
        Elements::encode(items, &mut bytes).unwrap();
        OwnedContent::Set(bytes)
    });
    let tally = (0u64..9, 0u64..9).prop_map(|(plus, minus)| Tally { plus, minus });
    prop_oneof![
        tally.prop_map(OwnedContent::Counter),
        (any::<u64>(), any::<u64>())
            .prop_map(|(plus, minus)| OwnedContent::Counter(Tally { plus, minus })),
        set,
    ]
}

fn owned(content: impl Strategy<Value = OwnedContent>) -> impl Strategy<Value = OwnedCell> {
    // Few stamps and authors, so that equal ones meet.
    let stamp = prop_oneof![1u64..6, 1u64..1 << 63];
    ((stamp, 1u8..5, role()), content).prop_map(|(head, content)| OwnedCell { head, content })
}

/// A cell of any content.
pub(super) fn some_cell() -> impl Strategy<Value = OwnedCell> {
    owned(prop_oneof![3 => plain(), 1 => part()])
}

/// A cell with a value or a tombstone.
pub(super) fn plain_cell() -> impl Strategy<Value = OwnedCell> {
    owned(plain())
}
