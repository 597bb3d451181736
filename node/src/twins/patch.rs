//! Merge patches (RFC 7396) as edits of a document.
//!
//! A patch is read once into steps, each at the path of its names, and everything that no document
//! could take is refused here with the place in the patch. What the steps do to a document depends
//! on one thing in it: an object takes the place of a value that stands at its path, even an empty
//! object, which is nothing by itself.

use holdfast_core::limits::{
    ARRAY_MAX_DEPTH, CELL_VALUE_MAX_BYTES, PATH_MAX_BYTES, PATH_MAX_SEGMENTS,
};
use holdfast_core::state::{Path, Value};
use holdfast_core::{Reject, reading::Finite};
use holdfast_sync::docs::limits::{CHANGE_OPERATIONS, LIVE_KEYS};
use holdfast_sync::docs::{Edit, What};
use serde_json::{Map, Value as Json};

/// What is wrong with a patch, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The stable code.
    pub code: &'static str,
    /// A JSON pointer into the patch.
    pub at: String,
    /// What is wrong.
    pub detail: String,
    /// What would have been taken.
    pub expected: String,
}

/// A value that a patch puts.
#[derive(Clone, Debug, PartialEq)]
enum Leaf {
    Bool(bool),
    Int(i64),
    Float(Finite),
    Text(String),
    Array(String),
}

impl Leaf {
    fn value(&self) -> Value<'_> {
        const CHECKED: &str = "checked when the patch was read";
        match self {
            Self::Bool(on) => Value::Bool(*on),
            Self::Int(int) => Value::Int(*int),
            Self::Float(number) => Value::Float(*number),
            Self::Text(text) => Value::text(text).expect(CHECKED),
            Self::Array(json) => Value::array(json).expect(CHECKED),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Put(Leaf),
    Delete,
    /// An object stands here; its members have steps of their own.
    Object,
}

/// A patch whose parts a document can take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    steps: Vec<(String, Step)>,
    puts: u64,
}

impl Patch {
    /// Reads a patch of a section, which is always an object.
    ///
    /// # Errors
    /// What no document could take, and where.
    pub fn read(json: &Json) -> Result<Self, Wrong> {
        let Json::Object(members) = json else {
            return Err(Wrong {
                code: "not-an-object",
                at: String::new(),
                detail: format!("the patch is {}, and a section is an object", kind(json)),
                expected: "an object; null as the value of a member deletes it".to_owned(),
            });
        };
        let mut out = Self::default();
        out.object(&mut Place::default(), members)?;
        Ok(out)
    }

    /// Whether it can change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The edits that it comes to in a document; `is_value` says whether a value stands at a path.
    #[must_use]
    pub fn edits(&self, is_value: impl Fn(&str) -> bool) -> Vec<Edit<'_>> {
        let each = self.steps.iter().filter_map(|(path, step)| {
            let what = match step {
                Step::Put(leaf) => What::Put(leaf.value()),
                Step::Delete => What::Delete,
                Step::Object if is_value(path) => What::Delete,
                Step::Object => return None,
            };
            let path = Path::new(path).expect("checked when the patch was read");
            Some(Edit { path, what })
        });
        each.collect()
    }

    fn object(&mut self, place: &mut Place, members: &Map<String, Json>) -> Result<(), Wrong> {
        for (name, json) in members {
            place.enter(name)?;
            let step = match json {
                Json::Null => Step::Delete,
                Json::Object(_) => Step::Object,
                other => Step::Put(leaf(place, other)?),
            };
            self.push(place, step)?;
            if let Json::Object(members) = json {
                self.object(place, members)?;
            }
            place.leave();
        }
        Ok(())
    }

    fn push(&mut self, place: &Place, step: Step) -> Result<(), Wrong> {
        self.puts += u64::from(matches!(step, Step::Put(_)));
        if self.puts > LIVE_KEYS {
            let detail = format!("this is value {} of the patch", self.puts);
            let expected = format!("at most {LIVE_KEYS} values, as many as a section has");
            return Err(place.wrong("too-many-keys", detail, expected));
        }
        if self.steps.len() >= CHANGE_OPERATIONS {
            let detail = format!("this is member {} of the patch", self.steps.len() + 1);
            let expected = format!("at most {CHANGE_OPERATIONS} members, objects counted in");
            return Err(place.wrong("too-many-keys", detail, expected));
        }
        self.steps.push((place.path(), step));
        Ok(())
    }
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

/// Where in a patch its reader is.
#[derive(Debug, Default)]
struct Place {
    names: Vec<String>,
}

impl Place {
    fn path(&self) -> String {
        self.names.join("/")
    }

    fn pointer(&self) -> String {
        let step = |name: &String| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        self.names.iter().map(step).collect()
    }

    fn wrong(&self, code: &'static str, detail: String, expected: String) -> Wrong {
        Wrong { code, at: self.pointer(), detail, expected }
    }

    fn enter(&mut self, name: &str) -> Result<(), Wrong> {
        self.names.push(name.to_owned());
        let invalid = |detail: String| {
            let expected = format!(
                "names without / # * and control characters, not empty, not . or .., at most \
                 {PATH_MAX_SEGMENTS} deep and {PATH_MAX_BYTES} bytes in all"
            );
            self.wrong(Reject::Path.code(), detail, expected)
        };
        if self.names.len() > PATH_MAX_SEGMENTS {
            return Err(invalid(format!("this is {} names deep", self.names.len())));
        }
        let bytes = self.path().len();
        if bytes > PATH_MAX_BYTES {
            return Err(invalid(format!("the path down to here has {bytes} bytes")));
        }
        let taken = name.chars().find(|c| c.is_control() || matches!(c, '/' | '#' | '*'));
        match (name, taken) {
            ("", _) => Err(invalid("a name is empty".to_owned())),
            ("." | "..", _) => Err(invalid(format!("`{name}` is no name"))),
            (_, Some(taken)) => Err(invalid(format!("a name has the character {taken:?}"))),
            _ => Ok(()),
        }
    }

    fn leave(&mut self) {
        self.names.pop();
    }
}

fn leaf(place: &Place, json: &Json) -> Result<Leaf, Wrong> {
    let long = |bytes: usize| {
        let detail = format!("the value has {bytes} bytes");
        let expected = format!("at most {CELL_VALUE_MAX_BYTES} bytes");
        place.wrong(Reject::Long.code(), detail, expected)
    };
    match json {
        Json::Bool(on) => Ok(Leaf::Bool(*on)),
        Json::Number(number) => match (number.as_i64(), number.as_f64().map(Finite::new)) {
            (Some(int), _) => Ok(Leaf::Int(int)),
            (None, Some(Ok(float))) => Ok(Leaf::Float(float)),
            (None, _) => {
                let detail = "the number is outside of a 64-bit float".to_owned();
                Err(place.wrong(Reject::NonFinite.code(), detail, "a finite number".to_owned()))
            }
        },
        Json::String(text) if text.len() > CELL_VALUE_MAX_BYTES => Err(long(text.len())),
        Json::String(text) => Ok(Leaf::Text(text.clone())),
        other => {
            let mut sorted = other.clone();
            sorted.sort_all_objects();
            let json = sorted.to_string();
            match Value::array(&json) {
                Ok(_) => Ok(Leaf::Array(json)),
                Err(Reject::Long) => Err(long(json.len())),
                Err(reject) => {
                    let detail = "the array is nested too deeply".to_owned();
                    let expected = format!("at most {ARRAY_MAX_DEPTH} brackets within each other");
                    Err(place.wrong(reject.code(), detail, expected))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(patch: &Json) -> (String, &'static str) {
        let wrong = Patch::read(patch).expect_err("no document can take it");
        assert!(!wrong.detail.is_empty() && !wrong.expected.is_empty());
        (wrong.at, wrong.code)
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for patch in [json!(null), json!([1]), json!("x"), json!(7), json!(true)] {
            assert_eq!(wrong(&patch), (String::new(), "not-an-object"), "{patch}");
        }
        let text = "x".repeat(4097);
        let deep = (0..17).fold(json!(1), |inner, _| json!([inner]));
        let long = "n".repeat(100);
        for (patch, at, code) in [
            (json!({"a": {"": 1}}), "/a/", "invalid-path"),
            (json!({"a": {".": 1}}), "/a/.", "invalid-path"),
            (json!({"..": 1}), "/..", "invalid-path"),
            (json!({"a/b": 1}), "/a~1b", "invalid-path"),
            (json!({"a~": {"b#": null}}), "/a~0/b#", "invalid-path"),
            (json!({"*": {}}), "/*", "invalid-path"),
            (json!({"a\nb": 1}), "/a\nb", "invalid-path"),
            (
                json!({"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": 1}}}}}}}}}),
                "/a/b/c/d/e/f/g/h/i",
                "invalid-path",
            ),
            (
                json!({&long: {"m".repeat(28): 1}}),
                &*format!("/{long}/{}", "m".repeat(28)),
                "invalid-path",
            ),
            (json!({"a": {"b": text}}), "/a/b", "value-too-long"),
            (json!({"a": [text]}), "/a", "value-too-long"),
            (json!({"a": deep}), "/a", "invalid-array"),
        ] {
            assert_eq!(wrong(&patch), (at.to_owned(), code), "{patch}");
        }
        let whole = json!({&long: {"m".repeat(27): 1}, "b": {"c": "x".repeat(4096)}});
        assert!(Patch::read(&whole).is_ok());
    }

    #[test]
    fn a_patch_has_no_more_values_and_members_than_a_document_can_take() {
        let many = |count: u64, value: &Json| -> Json {
            Json::Object((0..count).map(|n| (format!("k{n:04}"), value.clone())).collect())
        };
        assert!(Patch::read(&many(LIVE_KEYS, &json!(1))).is_ok());
        let (at, code) = wrong(&many(LIVE_KEYS + 1, &json!(1)));
        assert_eq!((&*at, code), ("/k0200", "too-many-keys"));
        assert!(Patch::read(&many(512, &json!(null))).is_ok());
        let (at, code) = wrong(&many(513, &json!(null)));
        assert_eq!((&*at, code), ("/k0512", "too-many-keys"));
    }

    #[test]
    fn numbers_stay_what_they_are() {
        for (json, leaf) in [
            ("5", Leaf::Int(5)),
            ("-9223372036854775808", Leaf::Int(i64::MIN)),
            ("5.0", Leaf::Float(Finite::new(5.0).unwrap())),
            ("1e3", Leaf::Float(Finite::new(1000.0).unwrap())),
            (
                "18446744073709551615",
                Leaf::Float(Finite::new(18_446_744_073_709_551_615.0).unwrap()),
            ),
        ] {
            let json: Json = serde_json::from_str(json).unwrap();
            assert_eq!(super::leaf(&Place::default(), &json), Ok(leaf), "{json}");
        }
    }

    #[test]
    fn an_object_takes_the_place_of_a_value_and_only_of_one() {
        let patch = Patch::read(&json!({"a": {"b": null}, "c": {}})).unwrap();
        let edits = |value: &str| {
            let edits = patch.edits(|path| path == value).into_iter();
            edits.map(|edit| edit.path.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(edits("a"), ["a", "a/b"]);
        assert_eq!(edits("c"), ["a/b", "c"]);
        assert_eq!(edits("x"), ["a/b"]);
    }

    #[test]
    fn the_objects_in_an_array_have_their_members_in_order() {
        let patch = Patch::read(&json!({"a": [{"b": 1, "a": {"d": 1, "c": 2}}]})).unwrap();
        let [(_, Step::Put(Leaf::Array(json)))] = &patch.steps[..] else { panic!("{patch:?}") };
        assert_eq!(json, r#"[{"a":{"c":2,"d":1},"b":1}]"#);
    }
}
