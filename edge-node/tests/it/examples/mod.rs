//! The examples of `docs/examples`: each is simulated as its page says, and tells what is kept.

mod recordings;
mod two_days;

use recordings::ALL;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of a recording.
const RECORDING_MAX: usize = 60_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples")
}

/// Whether what is kept is to be written anew.
fn is_blessed() -> bool {
    std::env::var_os("HOLDFAST_BLESS").is_some()
}

fn compare(file: &str, made: &str) {
    let path = folder().join(file);
    if is_blessed() {
        std::fs::write(&path, made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    let mut lines = kept.lines().zip(made.lines()).enumerate();
    if let Some((line, (kept, made))) = lines.find(|(_, (kept, made))| kept != made) {
        panic!("{file}:{}: kept is\n{kept}\nmade was\n{made}", line + 1);
    }
    assert!(kept == made, "{file}: {} bytes are kept, {} were made", kept.len(), made.len());
}

/// The command lines of the page, by the names of their examples.
fn commands() -> Vec<(String, Vec<String>)> {
    let page = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let page = page.replace("\\\n", " ");
    let lines = page.lines().map(str::trim).filter(|line| line.starts_with("holdfast-edge "));
    let lines = lines.filter(|line| line.contains(" workflow simulate "));
    let commands = lines.map(|line| {
        let words = split(line);
        let name = words[3].strip_suffix(".yaml").expect("the first file is the definition");
        (name.to_owned(), words[1..].to_vec())
    });
    commands.collect()
}

/// The words of a command line, as a shell takes them apart.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted, mut is_word) =
        (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => (is_quoted, is_word) = (!is_quoted, true),
            ' ' if !is_quoted => {
                if std::mem::take(&mut is_word) {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => {
                word.push(other);
                is_word = true;
            }
        }
    }
    if is_word {
        words.push(word);
    }
    words
}

fn simulate(words: &[String]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-edge"));
    let done = command.args(words).current_dir(folder()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.success(), text(done.stdout), text(done.stderr))
}

#[test]
fn recordings_are_as_their_rules_say() {
    for recording in ALL {
        let made = recording.csv();
        assert!(made.len() <= RECORDING_MAX, "{}: {} bytes", recording.name, made.len());
        compare(&format!("{}.csv", recording.name), &made);
    }
}

#[test]
fn each_example_tells_what_is_kept() {
    let commands = commands();
    let mut names: Vec<_> = commands.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let mut wanted = ALL.map(|recording| recording.name);
    wanted.sort_unstable();
    assert_eq!(names, wanted, "the page has a command for each example");
    for (name, words) in commands {
        let (is_done, told, wrong) = simulate(&words);
        assert!(is_done, "{name}: {wrong}");
        assert_eq!(wrong, "", "{name}");
        compare(&format!("{name}.txt"), &told);
    }
}
