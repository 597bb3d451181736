//! Definitions that are not accepted, each with all that is said of it.
//!
//! `bad.txt` is a list: a line with `#` and what is wrong, the definition, a line `=>`, and what
//! the compiler says. Each has the head that [`whole`] gives, so its first line is the third.

use super::*;

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_to_do() {
    let mut count = 0;
    let cases = include_str!("bad.txt").split("\n# ").map(|case| case.trim_start_matches("# "));
    for case in cases {
        let (title, rest) = case.split_once('\n').unwrap();
        let (definition, wanted) = rest.split_once("\n=>").unwrap();
        let told = match compile(&whole(definition)) {
            Ok(_) => "it is accepted".to_owned(),
            Err(wrong) => wrong.iter().map(|one| format!("{one}\n")).collect(),
        };
        assert_eq!(told.trim_end(), wanted.trim(), "{title}");
        count += 1;
    }
    assert!(count >= 90, "{count}");
}
