//! Mappings in the configuration: names of shipped ones, and ones of one's own.
//!
//! In a file they are a list under `mqtt.mappings` whose entries are texts or tables. Everything is
//! checked as it is read, so that an error names its line: a value by its own type, and what values
//! mean together when the table is made a [`Mapping`].

use super::mapping::{Mapping, Template, TimeFormat};
use super::{compile, shipped};
use crate::mqtt::topic::Filter;
use serde::de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Mappings of a node, shipped ones counted each. A topic is held against all of them.
pub const MAPPINGS_MAX: usize = 64;

/// The mappings that are in force, in their order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Entry>")]
pub struct Mappings(Vec<Entry>);

impl Mappings {
    pub(super) fn compiled(&self) -> impl Iterator<Item = &Arc<Mapping>> {
        self.0.iter().flat_map(|entry| &entry.mappings)
    }
}

impl TryFrom<Vec<Entry>> for Mappings {
    type Error = String;

    fn try_from(entries: Vec<Entry>) -> Result<Self, String> {
        let count: usize = entries.iter().map(|entry| entry.mappings.len()).sum();
        if count > MAPPINGS_MAX {
            return Err(format!("{count} mappings: expected at most {MAPPINGS_MAX}"));
        }
        Ok(Self(entries))
    }
}

/// One entry of the list.
#[derive(Clone, Debug)]
struct Entry {
    said: Said,
    mappings: Vec<Arc<Mapping>>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Said {
    Shipped(String),
    Own(Box<MappingSettings>),
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.said.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a shipped mapping, or a table with a mapping")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Entry, E> {
        let mappings = shipped::named(name).map_err(E::custom)?;
        Ok(Entry { said: Said::Shipped(name.to_owned()), mappings })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
        let own = MappingSettings::deserialize(MapAccessDeserializer::new(map))?;
        let mappings = own.compiled().map_err(de::Error::custom)?;
        Ok(Entry { said: Said::Own(Box::new(own)), mappings })
    }
}

/// One mapping; `docs/formats/mqtt-topics.md` says what each key means and what holds without it.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MappingSettings {
    /// What it is called.
    pub name: Option<String>,
    /// The shipped mapping whose keys hold where this one says nothing.
    pub like: Option<String>,
    /// The topics that it takes.
    pub topic: Option<OneOrMore<TopicFilter>>,
    /// Topics of these that it does not take.
    pub except: Option<Vec<TopicFilter>>,
    /// What the text of the first `+` begins with.
    pub begins: Option<String>,
    /// The device.
    pub device: Option<Template>,
    /// What a plain value is called, and what stands before the names of members.
    pub metric: Option<Template>,
    /// The object that is flattened, as a JSON pointer.
    pub root: Option<String>,
    /// What the payload has to say in order to be taken.
    pub when: Option<WhenSettings>,
    /// Where the payload says its time.
    pub time: Option<TimeSettings>,
    /// Members that are taken by their path.
    pub fields: Option<Vec<FieldSettings>>,
    /// What becomes of the other members.
    pub rest: Option<Rest>,
    /// Names whose members are not flattened.
    pub skip: Option<Vec<String>>,
    /// Whether texts are readings, too.
    pub texts: Option<bool>,
    /// Whether the names of members are written small.
    pub lowercase: Option<bool>,
    /// Units by name.
    pub units: Option<BTreeMap<String, String>>,
    /// Numbers that mean that there is no value.
    pub none: Option<Vec<f64>>,
}

/// What a payload has to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhenSettings {
    /// Where, as a JSON pointer.
    pub path: String,
    /// One of these.
    pub is: OneOrMore<String>,
}

/// Where a payload says its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeSettings {
    /// Where, as a JSON pointer.
    pub path: String,
    /// How, the first that fits.
    pub format: OneOrMore<TimeFormat>,
    /// What becomes of a message whose time cannot be read.
    #[serde(default)]
    pub otherwise: Otherwise,
}

/// What becomes of a message whose time cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// It is refused.
    #[default]
    Refuse,
    /// It has the time of its receipt.
    Receipt,
}

/// What becomes of members that are not named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rest {
    /// Nothing.
    #[default]
    Ignore,
    /// Numbers and switches become readings.
    Flatten,
}

/// A member that is taken by its path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldSettings {
    /// Where, as a JSON pointer; empty for a plain value.
    pub path: String,
    /// What it is called.
    pub metric: String,
    /// Its unit.
    #[serde(default)]
    pub unit: Option<String>,
    /// What it is multiplied by.
    #[serde(default)]
    pub scale: Option<f64>,
}

impl MappingSettings {
    /// What a table is. One that says nothing but `like` is what it is like, if that is a family
    /// all of it: beside tables there is no other way of naming it.
    fn compiled(&self) -> Result<Vec<Arc<Mapping>>, String> {
        let Some(name) = &self.like else { return Ok(vec![Arc::new(compile::mapping(self)?)]) };
        if *self == (Self { like: self.like.clone(), ..Self::default() }) {
            return shipped::named(name);
        }
        Ok(vec![Arc::new(compile::mapping(&self.over(shipped::settings(name)?))?)])
    }

    /// These settings, and where they say nothing those of `base`.
    pub(super) fn over(&self, base: &Self) -> Self {
        let own = self.clone();
        let base = base.clone();
        Self {
            name: own.name,
            like: own.like,
            topic: own.topic.or(base.topic),
            except: own.except.or(base.except),
            begins: own.begins.or(base.begins),
            device: own.device.or(base.device),
            metric: own.metric.or(base.metric),
            root: own.root.or(base.root),
            when: own.when.or(base.when),
            time: own.time.or(base.time),
            fields: own.fields.or(base.fields),
            rest: own.rest.or(base.rest),
            skip: own.skip.or(base.skip),
            texts: own.texts.or(base.texts),
            lowercase: own.lowercase.or(base.lowercase),
            units: own.units.or(base.units),
            none: own.none.or(base.none),
        }
    }
}

/// A list that is written without brackets when it has one entry.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct OneOrMore<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMoreVisitor(PhantomData))
    }
}

struct OneOrMoreVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMoreVisitor<T> {
    type Value = OneOrMore<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or a list of texts")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMore<T>, E> {
        let one = T::deserialize(de::value::StrDeserializer::<E>::new(text))?;
        Ok(OneOrMore(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMore<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element()? {
            all.push(one);
        }
        if all.is_empty() {
            return Err(de::Error::custom("an empty list: expected at least one entry"));
        }
        Ok(OneOrMore(all))
    }
}

/// A topic filter that a mapping may have: plain, and not of topics that are ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicFilter(pub Filter);

impl TryFrom<String> for TopicFilter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = |what: String| format!("`{text}` is no topic of a mapping: {what}");
        let filter = Filter::try_from(text.as_str()).map_err(|fault| wrong(fault.to_string()))?;
        let first = text.split('/').next().unwrap_or_default();
        if first.starts_with('$') || first == "devices" {
            let what = "topics that begin with `$` or `devices/` have their meaning already";
            return Err(wrong(what.to_owned()));
        }
        Ok(Self(filter))
    }
}

impl From<TopicFilter> for String {
    fn from(filter: TopicFilter) -> Self {
        filter.0.as_str().to_owned()
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
