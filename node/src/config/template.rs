//! Files with every key commented, and the proof that they tell the truth.
//!
//! In a template `# text` is prose and `#key = value` a setting at its default; sections stand as
//! they are.

use super::defaults;
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Table;

/// The template with all its settings in force.
#[must_use]
pub fn uncomment(template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    for line in template.lines() {
        let setting = line.strip_prefix('#').filter(|rest| rest.starts_with(char::is_alphabetic));
        out.push_str(setting.unwrap_or(line));
        out.push('\n');
    }
    out
}

/// Checks that a template shows every key of `T` at its default, and by itself changes nothing.
///
/// # Errors
/// A sentence about the first difference.
pub fn check_template<T: Default + Serialize + DeserializeOwned>(
    template: &str,
) -> Result<(), String> {
    let plain: T = toml::from_str(template).map_err(|error| format!("as it is: {error}"))?;
    let shown = uncomment(template);
    toml::from_str::<T>(&shown).map_err(|error| format!("uncommented: {error}"))?;
    let plain = Table::try_from(plain).map_err(|error| error.to_string())?;
    let shown: Table = toml::from_str(&shown).map_err(|error| error.to_string())?;
    let defaults = defaults::<T>();
    if plain != defaults {
        return Err("as it is, it changes a default".to_owned());
    }
    compare(&shown, &defaults, "")
}

fn compare(shown: &Table, defaults: &Table, parent: &str) -> Result<(), String> {
    for (name, default) in defaults {
        let path = super::join(parent, name);
        match (shown.get(name), default) {
            (None, _) => return Err(format!("`{path}` is not shown")),
            (Some(toml::Value::Table(shown)), toml::Value::Table(default)) => {
                compare(shown, default, &path)?;
            }
            (Some(shown), default) if shown != default => {
                return Err(format!("`{path}` is shown as {shown}, its default is {default}"));
            }
            _ => {}
        }
    }
    Ok(())
}
