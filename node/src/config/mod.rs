//! Configuration in layers: defaults, TOML file, `HOLDFAST_<SECTION>_<KEY>`, flags; the last wins.
//!
//! A service has a struct of sections with `#[serde(default, deny_unknown_fields)]`; its defaults
//! say which keys there are and of which kind, so nothing is listed twice. No key is optional:
//! "none" is an empty text or list. A section that is empty by default holds sections whose names
//! people choose. Every error names the place and what was expected.

mod log;
mod template;
mod transport;
mod values;

pub use log::Log;
pub use template::{check_template, uncomment};
pub use transport::TransportWord;
pub use values::{Bytes, Duration, Listen, ListenOrOff};

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

/// What every environment variable of ours starts with.
const PREFIX: &str = "HOLDFAST_";

/// Where a wrong setting stands, and what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file and line, the environment variable, or the flag.
    pub place: String,
    /// What was found and what was expected.
    pub detail: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.detail)
    }
}

impl std::error::Error for ConfigError {}

/// What was read.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The configuration.
    pub config: T,
    /// Variables that look like ours and set nothing: another service's, or a typo.
    pub unused: Vec<String>,
}

/// The layers above the defaults.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    file: Option<(PathBuf, String)>,
    environment: Vec<(String, String)>,
    flags: Vec<(String, String)>,
}

impl Layers {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be read.
    pub fn file(mut self, path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
            place: path.display().to_string(),
            detail: format!("cannot be read: {error}"),
        })?;
        self.file = Some((path.to_owned(), text));
        Ok(self)
    }

    /// Takes environment variables, for example all of `std::env::vars()`.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX));
        self.environment.extend(ours);
        self
    }

    /// Sets `section.key` from a flag, if it was given.
    #[must_use]
    pub fn flag(mut self, key: &str, value: Option<impl fmt::Display>) -> Self {
        self.flags.extend(value.map(|value| (key.to_owned(), value.to_string())));
        self
    }

    /// Puts the layers together.
    ///
    /// # Errors
    /// The first wrong setting.
    pub fn load<T: Default + Serialize + DeserializeOwned>(self) -> Result<Loaded<T>, ConfigError> {
        let mut table = defaults::<T>();
        let keys = Keys::of(&table);
        if let Some((path, text)) = &self.file {
            read_file::<T>(path, text, &keys, &mut table)?;
        }
        let mut unused = Vec::new();
        for (name, text) in &self.environment {
            match keys.by_variable.get(name) {
                Some(key) => set::<T>(&mut table, key, text, name)?,
                None => unused.push(name.clone()),
            }
        }
        for (key, text) in &self.flags {
            let place = format!("flag for {key}");
            if !keys.by_path.contains_key(key) {
                return Err(ConfigError { place, detail: keys.unknown(key) });
            }
            set::<T>(&mut table, key, text, &place)?;
        }
        let config = read(&table).expect("each layer was checked as it was added");
        Ok(Loaded { config, unused })
    }
}

fn defaults<T: Default + Serialize>() -> Table {
    Table::try_from(T::default()).expect("a configuration is a table of texts, numbers and lists")
}

/// The keys that a configuration has: paths such as `http.listen`.
struct Keys {
    /// Whether the path is a section.
    by_path: BTreeMap<String, bool>,
    by_variable: BTreeMap<String, String>,
    /// Sections of sections that have names of their own.
    named: BTreeSet<String>,
}

impl Keys {
    fn of(defaults: &Table) -> Self {
        let (by_path, by_variable, named) = Default::default();
        let mut keys = Self { by_path, by_variable, named };
        keys.add("", defaults);
        keys
    }

    fn add(&mut self, parent: &str, table: &Table) {
        for (name, value) in table {
            let path = join(parent, name);
            self.by_path.insert(path.clone(), value.is_table());
            match value {
                Value::Table(table) if table.is_empty() => drop(self.named.insert(path)),
                Value::Table(table) => self.add(&path, table),
                _ => {
                    let variable = PREFIX.to_owned() + &path.replace('.', "_").to_uppercase();
                    self.by_variable.insert(variable, path);
                }
            }
        }
    }

    /// A sentence about a key that does not exist, with the closest one that does.
    fn unknown(&self, path: &str) -> String {
        let split = |path| str::rsplit_once(path, '.').unwrap_or(("", path));
        let (parent, name) = split(path);
        let scored = self.by_path.keys().map(|known| {
            let (known_parent, known_name) = split(known);
            let likeness = strsim::jaro_winkler(name, known_name);
            // Of two names alike, the one in the same section is meant.
            (likeness + if parent == known_parent { 0.1 } else { 0.0 }, likeness, known)
        });
        let alike = scored.filter(|(_, likeness, _)| *likeness > 0.75);
        let closest = alike.max_by(|a, b| a.0.total_cmp(&b.0));
        match closest {
            Some((_, _, known)) => format!("unknown key `{path}`; did you mean `{known}`?"),
            None => format!("unknown key `{path}`"),
        }
    }
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

fn read_file<T: DeserializeOwned>(
    path: &Path,
    text: &str,
    keys: &Keys,
    table: &mut Table,
) -> Result<(), ConfigError> {
    let at = |byte: usize, detail: String| {
        let line = text[..byte.min(text.len())].matches('\n').count() + 1;
        ConfigError { place: format!("{}:{line}", path.display()), detail }
    };
    let explain = |error: &toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let key = text[..start].rsplit('\n').next().and_then(|line| line.split_once('='));
        let key = key.map(|(key, _)| format!("`{}`: ", key.trim())).unwrap_or_default();
        at(start, key + error.message())
    };
    let spanned = DeTable::parse(text).map_err(|error| explain(&error))?;
    check_keys(spanned.get_ref(), "", keys).map_err(|(byte, detail)| at(byte, detail))?;
    toml::from_str::<T>(text).map_err(|error| explain(&error))?;
    merge(table, toml::from_str(text).map_err(|error| explain(&error))?);
    Ok(())
}

/// Finds the first key of a file that does not exist, with its place.
fn check_keys(table: &DeTable<'_>, parent: &str, keys: &Keys) -> Result<(), (usize, String)> {
    for (name, value) in table {
        let path = join(parent, name.get_ref());
        match (keys.by_path.get(&path), value.get_ref()) {
            (None, _) => return Err((name.span().start, keys.unknown(&path))),
            // What stands there the type of such a section says.
            (Some(true), DeValue::Table(_)) if keys.named.contains(&path) => {}
            (Some(true), DeValue::Table(table)) => check_keys(table, &path, keys)?,
            (Some(_), _) => {}
        }
    }
    Ok(())
}

fn merge(into: &mut Table, from: Table) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

/// Sets one key from text, and checks that the whole is still valid.
fn set<T: DeserializeOwned>(
    table: &mut Table,
    key: &str,
    text: &str,
    place: &str,
) -> Result<(), ConfigError> {
    let wrong = |detail: String| ConfigError { place: place.to_owned(), detail };
    let mut slot = &mut *table;
    let (sections, name) = key.rsplit_once('.').unwrap_or(("", key));
    for section in sections.split('.').filter(|section| !section.is_empty()) {
        slot = match slot.get_mut(section) {
            Some(Value::Table(table)) => table,
            _ => unreachable!("the path of a known key"),
        };
    }
    let default = slot.get_mut(name).expect("a known key");
    *default = parse_as(default, text).map_err(wrong)?;
    read::<T>(table).map(drop).map_err(|error| wrong(error.message().to_owned()))
}

/// What a table says, read from its text: of each way that leads to a configuration the compiler
/// makes code for all of its sections, so there is one, the way of a file.
fn read<T: DeserializeOwned>(table: &Table) -> Result<T, toml::de::Error> {
    toml::from_str(&table.to_string())
}

/// Reads text as the kind of value that is there now.
fn parse_as(kind: &Value, text: &str) -> Result<Value, String> {
    let expected = |what: &str| format!("expected {what}, got `{text}`");
    match kind {
        Value::Integer(_) => {
            text.parse().map(Value::Integer).map_err(|_| expected("a whole number"))
        }
        Value::Float(_) => text.parse().map(Value::Float).map_err(|_| expected("a number")),
        Value::Boolean(_) => {
            text.parse().map(Value::Boolean).map_err(|_| expected("true or false"))
        }
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        Value::Table(_) => Err("a section cannot be set as a whole".to_owned()),
        Value::String(_) | Value::Datetime(_) => Ok(Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests;
