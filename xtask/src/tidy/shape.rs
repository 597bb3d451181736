//! The shape of files: sizes, widths, prose at the top, nothing left over.

use super::source::{Source, has_extension, mask};

/// A file that is longer than this before its tests holds more than one thing.
const MAX_LINES: usize = 600;
/// The width that still fits two files side by side.
const MAX_WIDTH: usize = 100;
/// Fewer words than this are a title and no sentence.
const MIN_WORDS: usize = 4;
/// Marks of work that is not done, split so that this file does not hold them.
const WORDS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
/// The same in code, where comments and strings do not count.
const CODE: &[&str] = &["todo!", "unimplemented!", "dbg!", "#[ignore"];

/// Files that are too long before their tests; test files may be as long as they need.
pub fn sizes(sources: &[Source]) -> Vec<String> {
    let long = |source: &&Source| source.is_rust() && !source.is_test();
    let finding = |source: &Source| {
        let lines = lines_before_tests(&source.text);
        let path = &source.path;
        (lines > MAX_LINES).then(|| format!("{path}: {lines} lines before its tests (600 at most)"))
    };
    sources.iter().filter(long).filter_map(finding).collect()
}

fn lines_before_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let begins = |i: &usize| {
        let next = lines.get(i + 1).copied().unwrap_or_default();
        lines[*i] == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{')
    };
    (0..lines.len()).find(begins).unwrap_or(lines.len())
}

/// Lines of Rust that are too wide.
pub fn widths(sources: &[Source]) -> Vec<String> {
    each_line(sources.iter().filter(|source| source.is_rust()), |line| {
        let width = line.chars().count();
        (width > MAX_WIDTH).then(|| format!("{width} columns (100 at most)"))
    })
}

/// Marks that say that something is unfinished.
pub fn marks(sources: &[Source]) -> Vec<String> {
    let ours = |source: &&Source| !source.path.contains("/vendor/") && source.path != "Cargo.lock";
    let mut findings = each_line(sources.iter().filter(ours), |line| {
        let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.find(|word| WORDS.contains(word)).map(|word| format!("{word} is left over"))
    });
    let rust = sources.iter().filter(|source| source.is_rust());
    let masked: Vec<Source> = rust.map(|s| Source { text: mask(&s.text), ..s.clone() }).collect();
    findings.extend(each_line(masked.iter(), |line| {
        let found = CODE.iter().find(|mark| line.contains(**mark))?;
        Some(format!("`{found}` is left over"))
    }));
    findings
}

/// Modules that do not say in a sentence what they are.
pub fn prose(sources: &[Source]) -> Vec<String> {
    let rust = sources.iter().filter(|source| source.is_rust());
    let silent = rust.filter(|source| !begins_with_a_sentence(&source.text));
    silent.map(|s| format!("{}: does not open with a sentence of `//!` prose", s.path)).collect()
}

fn begins_with_a_sentence(text: &str) -> bool {
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    let prose: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    prose.len() >= MIN_WORDS && prose.iter().any(|word| word.ends_with(['.', '?', '!']))
}

fn each_line<'a>(
    sources: impl Iterator<Item = &'a Source>,
    judge: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.filter(|source| !has_extension(&source.path, "svg")) {
        for (number, line) in (1..).zip(source.text.lines()) {
            if let Some(finding) = judge(line) {
                findings.push(format!("{}:{number}: {finding}", source.path));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(text: &str) -> Source {
        Source { path: "core/src/a.rs".into(), text: text.into() }
    }

    #[test]
    fn a_file_is_measured_up_to_its_tests() {
        let long = "x\n".repeat(MAX_LINES + 1);
        assert_eq!(sizes(&[rust(&long)]).len(), 1);
        let tested = format!("{}#[cfg(test)]\nmod tests {{\n{long}}}\n", "x\n".repeat(MAX_LINES));
        assert!(sizes(&[rust(&tested)]).is_empty());
        let named = format!("#[cfg(test)]\nmod tests;\n{long}");
        assert_eq!(sizes(&[rust(&named)]).len(), 1);
        assert!(sizes(&[Source { path: "core/tests/a.rs".into(), text: long }]).is_empty());
    }

    #[test]
    fn width_counts_characters_not_bytes() {
        assert!(widths(&[rust(&"é".repeat(MAX_WIDTH))]).is_empty());
        assert_eq!(widths(&[rust(&format!("\n{}", "é".repeat(MAX_WIDTH + 1)))]).len(), 1);
    }

    #[test]
    fn each_mark_is_seen() {
        for word in WORDS {
            assert_eq!(marks(&[rust(&format!("// {word}: later"))]).len(), 1, "{word}");
        }
        for mark in CODE {
            assert_eq!(marks(&[rust(&format!("    {mark}"))]).len(), 1, "{mark}");
            assert!(marks(&[rust(&format!("// never {mark}"))]).is_empty(), "{mark}");
        }
        assert!(marks(&[rust("fn todo() {}")]).is_empty());
    }

    #[test]
    fn a_module_opens_with_a_sentence() {
        assert!(prose(&[rust("//! The store keeps what was acknowledged.\n")]).is_empty());
        assert!(prose(&[rust("//! # Title\n//!\n//! It has one writer.\n")]).is_empty());
        assert_eq!(prose(&[rust("//! Store\nuse a;\n")]).len(), 1);
        assert_eq!(prose(&[rust("use a;\n//! Too late to be of any help.\n")]).len(), 1);
        assert_eq!(prose(&[rust("")]).len(), 1);
    }
}
