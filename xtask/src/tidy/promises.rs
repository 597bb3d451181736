//! Promises name their tests, and the tests are there.
//!
//! `docs/PROMISES.md` has one `### ` section per promise. A section names tests in backticks as
//! `path/to/file.rs::name_of_the_function`, or says in a line that begins `Not held yet:` what
//! does not hold.

use super::source::Source;

const FILE: &str = "docs/PROMISES.md";
/// The promises of the design, each with a section `### P<number> `.
const PROMISES: u32 = 11;
const NOT_YET: &str = "Not held yet:";

/// Judges the promises against the tests in `sources`.
pub fn check(sources: &[Source]) -> Vec<String> {
    let Some(file) = sources.iter().find(|source| source.path == FILE) else {
        return vec![format!("{FILE}: is missing")];
    };
    let sections = sections(&file.text);
    let mut findings = Vec::new();
    for number in 1..=PROMISES {
        let title = format!("P{number} ");
        if !sections.iter().any(|section| section.title.starts_with(&title)) {
            findings.push(format!("{FILE}: promise {number} has no section `### {title}…`"));
        }
    }
    for section in &sections {
        let (line, title) = (section.line, section.title);
        let tests: Vec<&str> = section.body.iter().flat_map(|line| named_tests(line)).collect();
        let not_yet = section.body.iter().any(|line| says_what_is_missing(line));
        if tests.is_empty() && !not_yet {
            let want = format!("names no test and has no line `{NOT_YET} …`");
            findings.push(format!("{FILE}:{line}: `{title}` {want}"));
        }
        for test in tests.into_iter().filter(|test| !exists(sources, test)) {
            findings.push(format!("{FILE}:{line}: there is no test `{test}`"));
        }
    }
    findings
}

struct Section<'a> {
    line: usize,
    title: &'a str,
    body: Vec<&'a str>,
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut inside = false;
    for (line, content) in (1..).zip(text.lines()) {
        if let Some(title) = content.strip_prefix("### ") {
            sections.push(Section { line, title, body: Vec::new() });
            inside = true;
        } else if content.starts_with('#') {
            inside = false;
        } else if let Some(section) = sections.last_mut().filter(|_| inside) {
            section.body.push(content);
        }
    }
    sections
}

fn named_tests(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|quoted| quoted.contains(".rs::"))
}

fn says_what_is_missing(line: &str) -> bool {
    let line = line.trim_start_matches(['-', ' ']);
    line.strip_prefix(NOT_YET).is_some_and(|rest| !rest.trim().is_empty())
}

fn exists(sources: &[Source], test: &str) -> bool {
    let Some((path, name)) = test.split_once("::") else { return false };
    let file = sources.iter().find(|source| source.path == path);
    file.is_some_and(|file| holds_test(&file.text, name))
}

/// Whether a function of this name stands under a `#[test]` or `#[…::test]`, with nothing but
/// other attributes and comments between.
fn holds_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_it = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with(['(', '<']))
    };
    let is_test = |line: &str| {
        let attribute = line.strip_prefix("#[").and_then(|rest| rest.split([']', '(']).next());
        attribute.is_some_and(|path| path == "test" || path.ends_with("::test"))
    };
    let is_between = |line: &&&str| line.starts_with("#[") || line.starts_with("//");
    (0..lines.len())
        .filter(|at| is_it(lines[*at]))
        .any(|at| lines[..at].iter().rev().take_while(is_between).any(|line| is_test(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promises(change: impl Fn(String) -> String) -> Vec<Source> {
        let section = |n| format!("### P{n} It holds\n\n`core/tests/a.rs::it_holds`\n\n");
        let text = change((1..=PROMISES).map(section).collect());
        let test = "#[test]\n// why\nfn it_holds() {}\n";
        let file = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        vec![file(FILE, &text), file("core/tests/a.rs", test)]
    }

    #[test]
    fn a_promise_with_a_test_or_with_what_is_missing_is_fine() {
        assert!(check(&promises(|text| text)).is_empty());
        let honest =
            |text: String| text.replacen("`core/tests/a.rs::it_holds`", "Not held yet: a", 1);
        assert!(check(&promises(honest)).is_empty());
    }

    #[test]
    fn what_is_absent_is_found() {
        assert_eq!(check(&[]).len(), 1);
        assert_eq!(check(&promises(|text| text.replace("### P11 ", "### Q "))).len(), 1);
        assert_eq!(check(&promises(|text| text.replacen("::it_holds", "::gone", 1))).len(), 1);
        assert_eq!(check(&promises(|text| text.replacen("a.rs::", "b.rs::", 1))).len(), 1);
        let bare = |text: String| text.replacen("`core/tests/a.rs::it_holds`", "Trust us.", 1);
        assert_eq!(check(&promises(bare)).len(), 1);
        let empty = |text: String| text.replacen("`core/tests/a.rs::it_holds`", "Not held yet:", 1);
        assert_eq!(check(&promises(empty)).len(), 1);
    }

    #[test]
    fn a_test_is_a_function_under_its_attribute() {
        assert!(holds_test("#[tokio::test(flavor = \"x\")]\nasync fn a() {}", "a"));
        assert!(holds_test("proptest! {\n    #[test]\n    fn a(x in 0..3u8) {}\n}", "a"));
        assert!(!holds_test("fn a() {}", "a"));
        assert!(!holds_test("#[test]\nfn ab() {}", "a"));
        assert!(!holds_test("#[test]\nfn b() {}\nfn a() {}", "a"));
        assert!(!holds_test("// fn a() {}", "a"));
    }
}
