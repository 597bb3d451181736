//! The vectors of `docs/formats/flow.md`, and of every machine.

use super::super::vectors::{EVERYTHING, JOURNALS, check, journal};
use super::mutations::of_everything;

/// Where the vectors stand, for whoever has changed what they are about: `HOLDFAST_BLESS=1`.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/flow/vectors");
const SEEDS: u64 = 64;

#[test]
fn the_image_of_everything_is_the_one_that_is_kept() {
    let bytes = of_everything().encode().unwrap();
    if std::env::var_os("HOLDFAST_BLESS").is_some() {
        std::fs::write(std::format!("{FOLDER}/everything.flow"), &bytes).unwrap();
        return;
    }
    assert_eq!(bytes, EVERYTHING);
    let page = include_str!("../../../../docs/formats/flow.md");
    let digest = std::format!("{} bytes, BLAKE3 `{}`", bytes.len(), blake3::hash(&bytes));
    assert!(page.contains(&digest), "docs/formats/flow.md does not have: {digest}");
}

#[test]
fn every_run_leaves_the_journal_that_is_kept() {
    if std::env::var_os("HOLDFAST_BLESS").is_some() {
        let line = |seed| {
            let (steps, digest) = journal(seed).unwrap();
            std::format!("{seed} {steps} {}\n", blake3::Hash::from_bytes(digest))
        };
        let lines: std::string::String = (0..SEEDS).map(line).collect();
        std::fs::write(std::format!("{FOLDER}/journals.txt"), lines).unwrap();
        return;
    }
    assert_eq!(JOURNALS.lines().count() as u64, SEEDS);
    for line in JOURNALS.lines() {
        assert_eq!(check(line), Ok(()), "{line}");
    }
}
