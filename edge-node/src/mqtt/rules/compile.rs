//! From the settings of a mapping to the mapping: what its values mean together.
//!
//! All limits are far above what any layout needs that is known, and low enough that a message
//! costs little whatever the configuration says.

use super::mapping::{
    DEPTH_MAX, Field, Mapping, PATH_MAX, Part, Scale, Shape, Template, Time, UnitOf, When,
};
use super::settings::{FieldSettings, MappingSettings, Otherwise, Rest, TopicFilter};
use crate::mqtt::topic::Filter;
use holdfast_core::{Metric, Unit};
use std::collections::BTreeMap;

/// Topics of a mapping, and topics that it leaves out.
const TOPICS_MAX: usize = 32;
/// Members that are taken by their path.
const FIELDS_MAX: usize = 64;
/// Names that are left out, and texts of a condition.
const NAMES_MAX: usize = 64;
/// Units by name.
const UNITS_MAX: usize = 128;
/// Numbers that mean that there is no value.
const NONE_MAX: usize = 8;
/// Bytes of a name or template: twice what the longest name has that can come of it.
const TEXT_MAX: usize = 256;

/// Makes a mapping.
///
/// # Errors
/// The first thing that is wrong, with what was expected.
pub(super) fn mapping(settings: &MappingSettings) -> Result<Mapping, String> {
    let topics = topics(settings)?;
    let flatten = settings.rest.unwrap_or_default() == Rest::Flatten;
    let device = settings.device.clone().filter(|device| !device.is_empty());
    let device = device.ok_or("`device` is missing: expected a template such as \"{1}\"")?;
    check_template("device", &device, &topics)?;
    let metric = settings.metric.clone().unwrap_or_default();
    check_template("metric", &metric, &topics)?;
    if metric.parts().iter().any(|part| matches!(part, Part::At(_))) {
        return Err("`metric` is made of the topic alone: expected no `{/path}` in it".to_owned());
    }
    let fields = fields(settings.fields.as_deref().unwrap_or_default())?;
    if fields.is_empty() && metric.is_empty() && !flatten {
        let expected = "expected `fields`, `rest = \"flatten\"`, or a `metric` for plain values";
        return Err(format!("it makes no readings: {expected}"));
    }
    let begins = settings.begins.clone().unwrap_or_default();
    if !begins.is_empty() && topics.iter().any(|topic| topic.places() == 0) {
        return Err("`begins` is about the first `+`: expected one in each topic".to_owned());
    }
    let root = settings.root.as_deref().unwrap_or_default();
    if !root.is_empty() {
        check_pointer("root", root)?;
    }
    let mut mapping = Mapping {
        name: name(settings, &topics)?,
        except: except(settings)?,
        topics,
        begins: begins.into(),
        device,
        metric,
        root: root.into(),
        wanted: Vec::new(),
        when: when(settings)?,
        time: time(settings)?,
        fields,
        flatten,
        texts: settings.texts.unwrap_or_default(),
        lowercase: settings.lowercase.unwrap_or_default(),
        skip: skip(settings)?,
        units: units(settings.units.as_ref())?,
        none: none(settings)?,
    };
    mapping.wanted = wanted(&mapping)?;
    Ok(mapping)
}

fn topics(settings: &MappingSettings) -> Result<Vec<Shape>, String> {
    let topics = settings.topic.as_ref();
    let topics = topics.ok_or("`topic` is missing: expected a filter such as \"plant/+/state\"")?;
    check_count("topic", topics.0.len(), TOPICS_MAX)?;
    Ok(topics.0.iter().map(|TopicFilter(filter)| Shape::new(filter.clone())).collect())
}

fn except(settings: &MappingSettings) -> Result<Vec<Filter>, String> {
    let except = settings.except.as_deref().unwrap_or_default();
    check_count("except", except.len(), TOPICS_MAX)?;
    Ok(except.iter().map(|TopicFilter(filter)| filter.clone()).collect())
}

fn name(settings: &MappingSettings, topics: &[Shape]) -> Result<Box<str>, String> {
    match &settings.name {
        None => Ok(topics[0].filter().as_str().into()),
        Some(name) if (1..=TEXT_MAX).contains(&name.len()) => Ok(name.as_str().into()),
        Some(_) => Err(format!("`name` has 1 to {TEXT_MAX} bytes")),
    }
}

/// Every place of a template is one that all topics have.
fn check_template(key: &str, template: &Template, topics: &[Shape]) -> Result<(), String> {
    let text = template.to_string();
    if text.len() > TEXT_MAX {
        return Err(format!("`{key}` has {} bytes: expected at most {TEXT_MAX}", text.len()));
    }
    for part in template.parts() {
        let lacking = topics.iter().find(|topic| match part {
            Part::Level(number) => *number > topic.places(),
            Part::Rest => !topic.has_rest(),
            Part::Said(_) | Part::At(_) => false,
        });
        if let Some(topic) = lacking {
            let filter = topic.filter();
            let (what, of) = match part {
                Part::Level(number) => (format!("{{{number}}}"), format!("{number} `+`")),
                _ => ("{#}".to_owned(), "a `#`".to_owned()),
            };
            return Err(format!("`{key}` has `{what}`: expected {of} in `{filter}`"));
        }
        if let Part::At(path) = part {
            check_pointer(key, path)?;
        }
    }
    Ok(())
}

fn check_pointer(key: &str, path: &str) -> Result<(), String> {
    let escapes = || path.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    let levels = path.split('/').count() - 1;
    if !path.starts_with('/') || path.len() > PATH_MAX || levels > DEPTH_MAX || !escapes() {
        return Err(format!(
            "`{path}` of `{key}` is no path: expected a JSON pointer such as \"/sensor/temp\" with \
             at most {DEPTH_MAX} levels and {PATH_MAX} bytes"
        ));
    }
    Ok(())
}

fn check_count(key: &str, count: usize, max: usize) -> Result<(), String> {
    if count > max {
        return Err(format!("`{key}` has {count} entries: expected at most {max}"));
    }
    Ok(())
}

fn fields(settings: &[FieldSettings]) -> Result<Vec<Field>, String> {
    check_count("fields", settings.len(), FIELDS_MAX)?;
    let mut fields: Vec<Field> = Vec::with_capacity(settings.len());
    for FieldSettings { path, metric, unit, scale } in settings {
        if !path.is_empty() {
            check_pointer("fields", path)?;
        }
        Metric::new(metric).map_err(|reject| format!("the metric `{metric}`: {reject}"))?;
        if fields.iter().any(|field| *field.path == **path) {
            return Err(format!("two `fields` take `{path}`: expected each path once"));
        }
        if fields.iter().any(|field| *field.metric == **metric) {
            return Err(format!("two `fields` are called `{metric}`: expected different metrics"));
        }
        if scale.is_some_and(|scale| scale == 0.0 || !scale.is_finite()) {
            return Err(format!("the scale of `{metric}`: expected a number that is not 0"));
        }
        fields.push(Field {
            path: path.as_str().into(),
            metric: metric.as_str().into(),
            unit: unit.as_deref().map(|unit| unit_of(metric, unit)).transpose()?,
            scale: scale.map(Scale::new),
        });
    }
    Ok(fields)
}

/// A unit as it stands, or `{/path}` where the payload says it.
fn unit_of(name: &str, unit: &str) -> Result<UnitOf, String> {
    if let Some(path) = unit.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'))
        && path.starts_with('/')
    {
        check_pointer("unit", path)?;
        return Ok(UnitOf::At(path.into()));
    }
    Unit::new(unit).map_err(|reject| format!("the unit `{unit}` of `{name}`: {reject}"))?;
    Ok(UnitOf::Said(unit.into()))
}

fn units(settings: Option<&BTreeMap<String, String>>) -> Result<Vec<(Box<str>, UnitOf)>, String> {
    let Some(settings) = settings else { return Ok(Vec::new()) };
    check_count("units", settings.len(), UNITS_MAX)?;
    let one = |(name, unit): (&String, &String)| Ok((name.as_str().into(), unit_of(name, unit)?));
    settings.iter().map(one).collect()
}

fn when(settings: &MappingSettings) -> Result<Option<When>, String> {
    let Some(when) = &settings.when else { return Ok(None) };
    check_pointer("when", &when.path)?;
    check_count("is", when.is.0.len(), NAMES_MAX)?;
    let is = when.is.0.iter().map(|text| text.as_str().into()).collect();
    Ok(Some(When { path: when.path.as_str().into(), is }))
}

fn time(settings: &MappingSettings) -> Result<Option<Time>, String> {
    let Some(time) = &settings.time else { return Ok(None) };
    check_pointer("time", &time.path)?;
    let formats = time.format.0.clone();
    check_count("format", formats.len(), NONE_MAX)?;
    let or_receipt = time.otherwise == Otherwise::Receipt;
    Ok(Some(Time { path: time.path.as_str().into(), formats, or_receipt }))
}

fn skip(settings: &MappingSettings) -> Result<Vec<Box<str>>, String> {
    let skip = settings.skip.as_deref().unwrap_or_default();
    check_count("skip", skip.len(), NAMES_MAX)?;
    let mut skip: Vec<Box<str>> = skip.iter().map(|name| name.as_str().into()).collect();
    skip.sort_unstable();
    Ok(skip)
}

fn none(settings: &MappingSettings) -> Result<Vec<f64>, String> {
    let none = settings.none.clone().unwrap_or_default();
    check_count("none", none.len(), NONE_MAX)?;
    Ok(none)
}

/// All paths that anything asks for. What is skipped by name cannot be asked for by path.
fn wanted(mapping: &Mapping) -> Result<Vec<Box<str>>, String> {
    let unit = |unit: &UnitOf| match unit {
        UnitOf::At(path) => Some(path.clone()),
        UnitOf::Said(_) => None,
    };
    let mut wanted: Vec<Box<str>> = Vec::new();
    wanted.extend(mapping.when.as_ref().map(|when| when.path.clone()));
    wanted.extend(mapping.time.as_ref().map(|time| time.path.clone()));
    wanted.extend(mapping.units.iter().filter_map(|(_, of)| unit(of)));
    wanted.extend(mapping.device.parts().iter().filter_map(|part| match part {
        Part::At(path) => Some(path.clone()),
        _ => None,
    }));
    for field in mapping.fields.iter().filter(|field| !field.path.is_empty()) {
        wanted.push(field.path.clone());
        wanted.extend(field.unit.as_ref().and_then(unit));
    }
    wanted.sort_unstable();
    wanted.dedup();
    let is_skipped = |path: &str| {
        path.split('/').skip(1).any(|name| mapping.skip.iter().any(|skip| **skip == *name))
    };
    match wanted.iter().find(|path| is_skipped(path)) {
        Some(path) => Err(format!("`{path}` is asked for, but a name of it is in `skip`")),
        None => Ok(wanted),
    }
}
