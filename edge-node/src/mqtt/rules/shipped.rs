//! The mappings that come with the program, written as those of a configuration are.
//!
//! A name is a family (`shelly`), which stands for all its mappings, or one of them
//! (`shelly/rpc`).

use super::compile;
use super::mapping::Mapping;
use super::settings::MappingSettings;
use serde::Deserialize;
use std::sync::{Arc, LazyLock};

/// As people write it.
const TEXT: &str = include_str!("shipped.toml");
const VALID: &str = "the text is checked by the tests";

/// One of them.
pub(super) struct Shipped {
    name: String,
    settings: MappingSettings,
    pub(super) mapping: Arc<Mapping>,
}

static ALL: LazyLock<Vec<Shipped>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        mappings: Vec<MappingSettings>,
    }
    let file: File = toml::from_str(TEXT).expect(VALID);
    let mut all: Vec<Shipped> = Vec::with_capacity(file.mappings.len());
    for said in file.mappings {
        let base = all.iter().find(|known| Some(&known.name) == said.like.as_ref());
        let settings = base.map_or_else(|| said.clone(), |base| said.over(&base.settings));
        let mapping = Arc::new(compile::mapping(&settings).expect(VALID));
        all.push(Shipped { name: said.name.expect(VALID), settings, mapping });
    }
    all
});

/// All of them, in their order.
pub(super) fn all() -> impl Iterator<Item = &'static Shipped> {
    ALL.iter()
}

/// Whether `name` is that of the mapping, or of its family.
fn is_called(shipped: &Shipped, name: &str) -> bool {
    let rest = shipped.name.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The mappings of a name.
///
/// # Errors
/// A sentence with the names that there are.
pub(super) fn named(name: &str) -> Result<Vec<Arc<Mapping>>, String> {
    let found: Vec<_> = all().filter(|shipped| is_called(shipped, name)).collect();
    if found.is_empty() {
        return Err(unknown(name, all().filter_map(|one| one.name.split('/').next())));
    }
    Ok(found.into_iter().map(|shipped| Arc::clone(&shipped.mapping)).collect())
}

/// The settings of one mapping.
///
/// # Errors
/// A sentence with the names that there are.
pub(super) fn settings(name: &str) -> Result<&'static MappingSettings, String> {
    let found = all().find(|shipped| shipped.name == name);
    let names = || all().map(|shipped| shipped.name.as_str());
    found.map(|shipped| &shipped.settings).ok_or_else(|| unknown(name, names()))
}

fn unknown(name: &str, known: impl Iterator<Item = &'static str>) -> String {
    let mut names: Vec<&str> = known.collect();
    names.dedup();
    format!("`{name}` is no shipped mapping: expected one of {}", names.join(", "))
}
