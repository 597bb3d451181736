//! The page of the statements is whole: all numbers are there in their order, and each names tests
//! that are there, or says why it has none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How many statements each section has, in version 3.1.1.
const IN_311: &[(&str, u32)] = &[
    ("1.5.3", 3),
    ("2.2.2", 2),
    ("2.3.1", 7),
    ("3.1.0", 2),
    ("3.1.2", 24),
    ("3.1.3", 11),
    ("3.1.4", 5),
    ("3.2.0", 1),
    ("3.2.2", 6),
    ("3.3.1", 12),
    ("3.3.2", 3),
    ("3.3.4", 1),
    ("3.3.5", 2),
    ("3.6.1", 1),
    ("3.8.1", 1),
    ("3.8.3", 4),
    ("3.8.4", 6),
    ("3.9.3", 2),
    ("3.10.1", 1),
    ("3.10.3", 2),
    ("3.10.4", 6),
    ("3.12.4", 1),
    ("3.14.1", 1),
    ("3.14.4", 3),
    ("4.1.0", 2),
    ("4.3.1", 1),
    ("4.3.2", 2),
    ("4.3.3", 2),
    ("4.4.0", 1),
    ("4.5.0", 2),
    ("4.6.0", 6),
    ("4.7.1", 3),
    ("4.7.2", 1),
    ("4.7.3", 4),
    ("4.8.0", 2),
    ("6.0.0", 4),
    ("7.0.0", 2),
    ("7.1.1", 1),
    ("7.1.2", 1),
];
/// And in version 5, where the first of 2.2.1 was taken out.
const IN_5: &[(&str, u32)] = &[
    ("1.5.4", 3),
    ("1.5.5", 1),
    ("1.5.7", 1),
    ("2.1.3", 1),
    ("2.2.1", 6),
    ("2.2.2", 1),
    ("3.1.0", 2),
    ("3.1.2", 30),
    ("3.1.3", 12),
    ("3.1.4", 6),
    ("3.2.0", 2),
    ("3.2.2", 22),
    ("3.3.1", 13),
    ("3.3.2", 20),
    ("3.3.4", 10),
    ("3.4.2", 3),
    ("3.5.2", 3),
    ("3.6.1", 1),
    ("3.6.2", 3),
    ("3.7.2", 3),
    ("3.8.1", 1),
    ("3.8.3", 5),
    ("3.8.4", 8),
    ("3.9.2", 2),
    ("3.9.3", 2),
    ("3.10.1", 1),
    ("3.10.3", 2),
    ("3.10.4", 6),
    ("3.11.2", 2),
    ("3.11.3", 2),
    ("3.12.4", 1),
    ("3.14.0", 1),
    ("3.14.1", 1),
    ("3.14.2", 4),
    ("3.14.4", 3),
    ("3.15.1", 1),
    ("3.15.2", 3),
    ("4.1.0", 2),
    ("4.2", 1),
    ("4.3.1", 1),
    ("4.3.2", 5),
    ("4.3.3", 13),
    ("4.4.0", 2),
    ("4.5.0", 2),
    ("4.6.0", 6),
    ("4.7.0", 1),
    ("4.7.1", 2),
    ("4.7.2", 1),
    ("4.7.3", 4),
    ("4.8.2", 6),
    ("4.9.0", 3),
    ("4.12.0", 7),
    ("4.12.1", 2),
    ("4.13.1", 1),
    ("4.13.2", 1),
    ("6.0.0", 4),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The rows of the table below a title: the number, what it says, and what shows it.
fn rows(title: &str) -> Vec<[String; 3]> {
    let page = std::fs::read_to_string(root().join("docs/mqtt-conformance.md")).unwrap();
    let section = page.split("\n## ").find(|part| part.starts_with(title)).unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| MQTT-"));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            assert_eq!(cells.len(), 5, "{line}");
            [cells[1], cells[2], cells[3]].map(str::to_owned)
        })
        .collect()
}

/// The functions of all tests where those of MQTT may be.
fn tests() -> BTreeSet<String> {
    let mut folders = ["edge-node/src/mqtt", "edge-node/tests", "node/src/http", "tests/tests"]
        .map(|folder| root().join(folder))
        .to_vec();
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.extend(tests_of(&std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

fn tests_of(text: &str) -> Vec<String> {
    let (mut found, mut is_test) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(rest) = line.trim_start_matches("async ").strip_prefix("fn ") {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            found.extend(is_test.then(|| name.to_owned()));
            is_test = false;
        }
    }
    found
}

fn check(title: &str, sections: &[(&str, u32)], missing: &str) {
    let rows = rows(title);
    let expected: Vec<String> = sections
        .iter()
        .flat_map(|(section, count)| (1..=*count).map(move |n| format!("MQTT-{section}-{n}")))
        .filter(|number| number != missing)
        .collect();
    let numbers: Vec<&String> = rows.iter().map(|[number, ..]| number).collect();
    let differ = expected.iter().zip(&numbers).find(|(one, other)| one != *other);
    assert_eq!(differ, None, "{title}: the first that is not as expected");
    assert_eq!(expected.len(), numbers.len(), "{title}");
    let tests = tests();
    let mut texts = BTreeMap::new();
    for [number, what, shown] in &rows {
        assert!(what.ends_with('.'), "{number}: `{what}` is no sentence");
        assert_eq!(texts.insert(what, number), None, "{number} says what another says");
        let names: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        for name in &names {
            assert!(tests.contains(*name), "{number}: there is no test `{name}`");
        }
        let is_excused = ["A client's", "Does not apply", "Advice", "Not so"]
            .iter()
            .any(|why| shown.starts_with(why));
        assert!(!names.is_empty() || is_excused, "{number}: `{shown}` names no test");
    }
}

#[test]
fn every_statement_of_version_3_1_1_names_what_shows_it() {
    check("MQTT 3.1.1\n", IN_311, "");
}

#[test]
fn every_statement_of_version_5_names_what_shows_it() {
    check("MQTT 5\n", IN_5, "MQTT-2.2.1-1");
}

#[test]
fn a_test_is_a_function_below_its_mark() {
    let text = "#[test]\n// why\nfn a() {}\nfn b() {}\n    #[tokio::test]\n    async fn c() {}";
    assert_eq!(tests_of(text), ["a", "c"]);
}
