//! What a section shows: its paths with their values, as an object of JSON, and who wrote each.

use holdfast_core::hlc::Stamp;
use holdfast_core::state::{Author, Cell, Policy, Resolved, Role, Shown as Outcome, Value};
use holdfast_sync::docs::{Contents, DocumentName};
use serde_json::{Map, Number, Value as Json};
use std::collections::BTreeMap;

/// A value with who wrote it and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// The value, never null.
    pub value: Json,
    /// When it was written, by its author's clock.
    pub stamp: Stamp,
    /// Who wrote it.
    pub author: Author,
    /// What the author was then.
    pub role: Role,
}

/// The paths that show something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown(BTreeMap<String, Leaf>);

impl Shown {
    /// What `contents` show under `policy`.
    #[must_use]
    pub fn of(name: &DocumentName, contents: &Contents, policy: &Policy<'_>) -> Self {
        contents.view(name, policy, |view| {
            let seen = view.filter(Resolved::is_in_view);
            Self(seen.filter_map(|r| Some((r.path.as_str().to_owned(), leaf(&r)?))).collect())
        })
    }

    /// What stands at a path, if a value does.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Leaf> {
        self.0.get(path)
    }

    /// The paths with what stands there.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Leaf)> {
        self.0.iter().map(|(path, leaf)| (path.as_str(), leaf))
    }

    /// As an object.
    #[must_use]
    pub fn object(&self) -> Map<String, Json> {
        nest(self.0.iter().map(|(path, leaf)| (path.as_str(), leaf.value.clone())))
    }
}

/// Makes an object of ascending paths and what stands there; what lies below a path where something
/// stands, be it null, is left out.
#[must_use]
pub fn nest<'a>(paths: impl Iterator<Item = (&'a str, Json)>) -> Map<String, Json> {
    let mut out = Map::new();
    for (path, value) in paths {
        let (mut place, mut names) = (Some(&mut out), path.split('/'));
        let name = names.next_back().unwrap_or(path);
        for parent in names {
            let inner = place.map(|place| place.entry(parent).or_insert_with(|| Map::new().into()));
            place = inner.and_then(Json::as_object_mut);
        }
        if let Some(place) = place {
            place.insert(name.to_owned(), value);
        }
    }
    out
}

fn leaf(resolved: &Resolved<'_, '_, '_>) -> Option<Leaf> {
    let outcome = &resolved.outcome;
    let value = match outcome.shown() {
        Outcome::Value(value) => json(value),
        Outcome::Counter(total) => total.into(),
        Outcome::Set => outcome.union().present().map(json).collect(),
        Outcome::Absent => return None,
    };
    let winner = outcome.winner().map(|cell| (cell.stamp, cell.author));
    let (stamp, author) = winner.or_else(|| outcome.last_write())?;
    let by = |cell: &&Cell<'_>| (cell.stamp, cell.author) == (stamp, author);
    let role = outcome.cells().iter().find(by)?.role;
    Some(Leaf { value, stamp, author, role })
}

/// A value as JSON.
#[must_use]
pub fn json(value: Value<'_>) -> Json {
    match value {
        Value::Bool(on) => on.into(),
        Value::Int(int) => int.into(),
        Value::Float(number) => {
            Number::from_f64(number.get()).expect("a value is a finite number").into()
        }
        Value::Text(text) => text.as_str().into(),
        Value::Array(array) => serde_json::from_str(array.as_str())
            .expect("an array is JSON, checked when it was read"),
    }
}

/// Whether two values are the same to people: `5` and `5.0` are.
#[must_use]
pub fn same(one: &Json, other: &Json) -> bool {
    let number = |json: &Json| match json {
        Json::Number(number) => match number.as_i64() {
            Some(int) => Some(Value::Int(int)),
            None => Value::float(number.as_f64()?).ok(),
        },
        _ => None,
    };
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one.weigh(&other).is_eq(),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_are_nested_and_nothing_stands_below_what_is_gone() {
        let paths =
            [("a", json!(null)), ("a/b", json!(null)), ("c/d/e", json!(1)), ("c/f", json!([]))];
        let nested = nest(paths.into_iter());
        assert_eq!(Json::Object(nested), json!({"a": null, "c": {"d": {"e": 1}, "f": []}}));
    }

    #[test]
    fn numbers_are_the_same_by_size_and_all_else_by_what_it_is() {
        assert!(same(&json!(5), &json!(5.0)));
        assert!(!same(&json!(9_007_199_254_740_993_i64), &json!(9_007_199_254_740_992.0)));
        assert!(!same(&json!("5"), &json!(5)));
        assert!(same(&json!([1, "a"]), &json!([1, "a"])));
        assert!(!same(&json!(true), &json!(1)));
    }
}
