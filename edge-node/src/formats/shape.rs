//! The shapes of bodies, for the description of the routes that take them.
//!
//! The decoders read text without building such values; tests hold the two against each other.

use holdfast_node::time_text::Time;
use schemars::{JsonSchema, Schema};
use serde_json::Value;
use std::collections::BTreeMap;

/// A member may be left out, which is not the same as `null`.
fn without_null(schema: &mut Schema) {
    let members = schema.get_mut("properties").and_then(Value::as_object_mut);
    for member in members.into_iter().flat_map(|members| members.values_mut()) {
        if let Some(Value::Array(kinds)) = member.get_mut("type") {
            kinds.retain(|kind| kind != "null");
        }
        for word in ["anyOf", "oneOf", "enum"] {
            if let Some(Value::Array(choices)) = member.get_mut(word) {
                choices.retain(|choice| !choice.is_null() && choice["type"] != "null");
            }
        }
    }
}

/// One item, or several.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it is a shape, no value of it is made")]
pub enum Items {
    /// One.
    One(Box<Item>),
    /// At most 10,000.
    Several(Vec<Item>),
}

/// A message of a device: one reading (`metric` and `value`), or several that are stored together
/// or not at all (`values`).
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = without_null)]
#[allow(dead_code, reason = "it is a shape, no value of it is made")]
pub struct Item {
    /// The device; may be left out with a device token.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._:-]{1,64}$"))]
    device: Option<String>,
    /// What is measured.
    #[schemars(length(min = 1, max = 128))]
    metric: Option<String>,
    /// What was measured.
    value: Option<Scalar>,
    /// Several metrics, each a value or an object of value and unit.
    values: Option<BTreeMap<String, ValueOrPair>>,
    /// A UCUM code where one is known.
    unit: Option<String>,
    /// The units of `values`, by metric.
    units: Option<BTreeMap<String, String>>,
    /// When it was measured; the time of receipt otherwise.
    time: Option<Time>,
    /// How long ago it was measured, for a device without a clock; instead of `time`.
    age_ms: Option<u64>,
    /// `good` otherwise.
    quality: Option<Grade>,
    /// The start of the device; with `seq`.
    boot: Option<u64>,
    /// The number of the message since that start: a repeated message changes nothing.
    #[schemars(range(min = 1))]
    seq: Option<u64>,
}

/// A measured value.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it is a shape, no value of it is made")]
pub enum Scalar {
    /// A number.
    Number(f64),
    /// On or off.
    Switch(bool),
    /// A text.
    Text(#[schemars(length(max = 256))] String),
}

/// A value, with its unit or without.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it is a shape, no value of it is made")]
pub enum ValueOrPair {
    /// Without.
    Value(Scalar),
    /// With.
    Pair {
        /// The value.
        value: Scalar,
        /// Its unit.
        unit: Option<String>,
    },
}

/// How good a reading is.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code, reason = "it is a shape, no value of it is made")]
pub enum Grade {
    /// As it should be.
    Good,
    /// Not sure.
    Uncertain,
    /// Wrong.
    Bad,
}

/// A pack of SenML in JSON (RFC 8428).
#[derive(JsonSchema)]
#[allow(dead_code, reason = "it is a shape, no value of it is made")]
pub struct Pack(Vec<BTreeMap<String, Value>>);
