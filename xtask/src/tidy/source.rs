//! The text files of the repository, and Rust with its comments and literals blanked out.

use crate::child;
use std::path::Path;

/// A text file of the repository.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it is, from the root, with `/` between.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl Source {
    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        has_extension(&self.path, "rs")
    }

    /// Whether it is a test: a file below a folder of tests, or a module of tests by its name.
    pub fn is_test(&self) -> bool {
        let (folder, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let inner = folder.split_once('/').map_or("", |(_, inner)| inner);
        file == "tests.rs" || inner.split('/').any(|part| part == "tests")
    }
}

/// Whether `path` ends in `.extension`.
pub fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

/// Reads every text file that belongs to the repository: what git tracks or would track.
pub fn read_sources(root: &Path) -> Vec<Source> {
    let listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = child::command("git", root).args(listing).output();
    let paths = match listed {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect()
        }
        _ => walk(root, ""),
    };
    let read = |path: String| {
        let text = std::fs::read_to_string(root.join(&path)).ok()?;
        Some(Source { path, text })
    };
    paths.into_iter().filter_map(read).collect()
}

/// Without git (a release archive) everything counts but build output.
fn walk(root: &Path, below: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(root.join(below)) else { return found };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if ["target", ".git", "node_modules"].contains(&name.as_str()) {
            continue;
        }
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(walk(root, &path)),
            _ => found.push(path),
        }
    }
    found.sort();
    found
}

/// Rust code with comments, strings and characters turned to blanks, line for line.
pub fn mask(code: &str) -> String {
    let chars: Vec<char> = code.chars().collect();
    let mut masked = String::with_capacity(code.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end > at {
            let blank = |c: &char| if *c == '\n' { '\n' } else { ' ' };
            masked.extend(chars[at..end].iter().map(blank));
            at = end;
        } else {
            masked.push(chars[at]);
            at += 1;
        }
    }
    masked
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    match (chars[at], next) {
        ('/', Some('/')) => find(chars, at, |rest| rest[0] == '\n'),
        ('/', Some('*')) => block_end(chars, at),
        ('"', _) => string_end(chars, at),
        ('r', Some('"' | '#')) if !continues_a_word(chars, at) => raw_end(chars, at),
        // A character, not a lifetime: `'x'` or `'\n'`.
        ('\'', Some('\\')) => find(chars, at + 3, |rest| rest[0] == '\'') + 1,
        ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
    .min(chars.len())
}

/// Whether the `r` at `at` belongs to a longer word. `br"…"` is raw as well: there the word is `b`.
fn continues_a_word(chars: &[char], at: usize) -> bool {
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
    let before: Vec<char> = chars[..at].iter().rev().copied().take_while(is_word).take(2).collect();
    !matches!(before[..], [] | ['b'])
}

fn find(chars: &[char], from: usize, is_end: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|i| is_end(&chars[*i..])).unwrap_or(chars.len())
}

fn block_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut i = at;
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn raw_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    // `r#name` is an identifier.
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let close = |rest: &[char]| {
        rest[0] == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|c| *c == '#')
    };
    find(chars, at + 2 + hashes, close) + 1 + hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_code_is_not() {
        let code = "a /* b /* c */ d */ e // f\n\"g \\\" h\" i 'j' '\\'' &'k l";
        let words: Vec<String> = mask(code).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, vec!["a", "e", "i", "&'k", "l"]);
        assert_eq!(mask(code).chars().count(), code.chars().count());
    }

    #[test]
    fn raw_strings_end_where_they_say() {
        let code = "x r#\"a \" b\"# y br\"c\" r#type for\"d\"";
        let words: Vec<String> = mask(code).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, vec!["x", "y", "b", "r#type", "for"]);
    }

    #[test]
    fn what_never_ends_is_blank_to_the_end() {
        assert_eq!(mask("a \"b").trim(), "a");
        assert_eq!(mask("a /* b").trim(), "a");
        assert_eq!(mask("a r#\"b\"").trim(), "a");
    }

    #[test]
    fn tests_are_known_by_their_place() {
        let is_test = |path: &str| Source { path: path.into(), text: String::new() }.is_test();
        assert!(is_test("sync/tests/it/main.rs"));
        assert!(is_test("core/src/hlc/tests.rs"));
        assert!(is_test("tests/tests/scenarios/main.rs"));
        assert!(!is_test("tests/src/proxy.rs"));
        assert!(!is_test("core/src/hlc.rs"));
    }
}
