//! Whatever is written: nothing crashes, and no fault of the compiler's own comes to light.

use super::*;
use proptest::prelude::*;

const GUIDE: &str = include_str!("../../../../docs/workflows.md");
const BAD: &str = include_str!("bad.txt");

/// Definitions to spoil: those of the guide, and those with faults.
fn definitions() -> Vec<String> {
    let mut all: Vec<String> = BAD
        .split("\n# ")
        .filter_map(|case| case.split_once('\n')?.1.split_once("\n=>"))
        .map(|(definition, _)| whole(definition))
        .collect();
    let guide = GUIDE.split("\n\n").filter(|block| block.trim_start().starts_with("workflow:"));
    all.extend(guide.map(|block| block.replace("\n    ", "\n").trim_start().to_owned()));
    all
}

/// What is put in place of something else.
const PIECES: [&str; 24] = [
    "",
    "\n",
    "  ",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "'",
    "\"",
    "${",
    "n",
    "1",
    "0.5",
    "wait: 1s",
    "do",
    "catch",
    "undo: []",
    "at_once: 2",
    "else",
    "é",
    "&",
    "fail: busy",
];

fn judge(text: &str) {
    match compile(text) {
        Ok(compiled) => assert!(super::super::explain(&compiled.image).is_ok()),
        Err(wrong) => {
            assert!(!wrong.is_empty());
            for diagnostic in wrong {
                let told = diagnostic.to_string();
                assert!(!told.contains("fault of the compiler"), "{told}\n{text}");
                let lines = u32::try_from(text.lines().count()).unwrap();
                assert!((1..=lines + 1).contains(&diagnostic.line), "{told}\n{text}");
            }
        }
    }
}

/// Where something is put, in place of how much, and what.
fn place() -> impl Strategy<Value = (prop::sample::Index, usize, usize)> {
    (any::<prop::sample::Index>(), 0usize..6, 0..PIECES.len())
}

#[test]
fn what_is_as_long_as_may_be_is_judged_all_the_same() {
    let long = |begin: &str, part: &dyn Fn(usize) -> String, end: &str| {
        let mut text = whole(begin);
        for index in 0.. {
            let part = part(index);
            if text.len() + part.len() + end.len() > 256 << 10 {
                break;
            }
            text.push_str(&part);
        }
        text + end
    };
    for text in [
        long("", &|index| format!("k{index}: 1\n"), ""),
        long("steps:\n", &|_| "  - x: y\n".to_owned(), ""),
        long("steps:\n  - let:\n", &|index| format!("      v{index}: w{index}\n"), ""),
        long("steps:\n", &|index| format!("  - let: {{v{index}: 1, 2}}\n"), ""),
        long("steps:\n", &|index| format!("  - publish: ${{v{index}}}\n    payload: x\n"), ""),
        long("steps:\n  - publish: \"", &|_| "${n}".to_owned(), "\"\n    payload: x\n"),
        long("steps:\n  - let: {n: \"1", &|_| " + 1".to_owned(), "\"}\n"),
        long("steps:\n  - let: {n: \"1", &|_| "(".to_owned(), "\"}\n"),
        long("steps: ", &|_| "[".to_owned(), ""),
        long("steps: ", &|_| "{a: ".to_owned(), ""),
        long("steps:\n", &|_| "  - wait: 1s\n".to_owned(), ""),
    ] {
        assert!(compile(&text).is_err());
        judge(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_spoiled_definition_is_accepted_or_told(
        which in any::<prop::sample::Index>(),
        places in prop::collection::vec(place(), 1..4),
    ) {
        let all = definitions();
        let mut text: Vec<char> = which.get(&all).chars().collect();
        for (place, len, piece) in places {
            let at = place.index(text.len().max(1)).min(text.len());
            let end = (at + len).min(text.len());
            text.splice(at..end, PIECES[piece].chars());
        }
        judge(&text.into_iter().collect::<String>());
    }

    #[test]
    fn steps_in_another_order_are_accepted_or_told(
        which in any::<prop::sample::Index>(),
        swaps in prop::collection::vec(any::<[prop::sample::Index; 2]>(), 1..3),
    ) {
        let all = definitions();
        let mut lines: Vec<&str> = which.get(&all).lines().collect();
        for [a, b] in swaps {
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            lines[a] = lines[b];
        }
        judge(&(lines.join("\n") + "\n"));
    }
}
