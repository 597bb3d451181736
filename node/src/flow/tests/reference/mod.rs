//! The step machine against a naive reference: random definitions, random inputs, equal journals.
//!
//! A definition is drawn from a seed ([`generate`]), compiled to an image, and read as a tree. The
//! machine of `core` runs the image, the reference ([`interpret`]) goes through the tree, and both
//! are told the same ([`play`]). After every input their journals ([`compare`]) have to be equal.
//! `HOLDFAST_SEEDS=100000` plays more of them, `HOLDFAST_SEED=17` one.

mod compare;
mod effects;
mod evaluate;
mod expressions;
mod generate;
mod interpret;
mod play;
mod resolve;
mod run;
mod values;

use super::super::diagnostic::Report;
use super::super::{compile, definition, source};
use generate::Random;
use holdfast_core::flow::Image;
use play::Struck;
use std::ops::Range;

/// Seeds of the test command.
const SEEDS: u64 = 5_000;
/// How many of a hundred definitions have to be accepted.
const ACCEPTED: u64 = 60;
/// What has to come about in a campaign of any size.
const STRUCK: [&str; 24] = [
    "a branch waits",
    "undoing waits",
    "asked by a step",
    "asked by an expression",
    "waits to repeat",
    "waits for a time",
    "waits for a signal",
    "parked",
    "tick",
    "done",
    "failed",
    "signal",
    "retry",
    "skip",
    "set",
    "compensate",
    "cancel",
    "clockset",
    "start refused",
    "ended Succeeded",
    "ended Failed",
    "ended Cancelled",
    "ended Undoing",
    "ended Running",
];
/// How a seed is played again.
const REPLAY: &str = "cargo test -p holdfast-node --lib flow::tests::reference";

fn seeds() -> Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("HOLDFAST_SEED") {
        return seed..seed + 1;
    }
    0..number("HOLDFAST_SEEDS").unwrap_or(SEEDS).max(SEEDS)
}

/// Draws definitions until one is accepted, and plays a run of it.
fn one(seed: u64, struck: &mut Struck) -> Result<(), String> {
    let mut random = Random(seed.wrapping_mul(0x5851_f42d_4c95_7f2d));
    loop {
        let text = generate::definition(Random(random.bits()));
        let image = match compile(&text) {
            Ok(compiled) => compiled.image,
            Err(wrong) => {
                let message = wrong[0].to_string();
                if message.contains("fault of the compiler") {
                    return Err(format!("{text}\n{message}"));
                }
                *struck.entry("refused".to_owned()).or_default() += 1;
                continue;
            }
        };
        *struck.entry("accepted".to_owned()).or_default() += 1;
        let mut report = Report::default();
        let definition = source::parse(&text, &mut report)
            .and_then(|tree| definition::read(&tree, &mut report))
            .expect("it was accepted");
        let image = Image::parse(&image).expect("it was accepted");
        return play::play(&definition, &image, random, struck)
            .map_err(|wrong| format!("{text}\n{wrong}"));
    }
}

/// Plays all `seeds`, and says how often what came about. Panics at the first that is wrong.
fn campaign(seeds: Range<u64>, mut tell: impl FnMut(u64)) {
    let (mut struck, many) = (Struck::new(), seeds.end - seeds.start > 1);
    for (done, seed) in (0..).zip(seeds) {
        if let Err(wrong) = one(seed, &mut struck) {
            panic!("seed {seed}\n{wrong}\nreplay: HOLDFAST_SEED={seed} {REPLAY}");
        }
        tell(done);
    }
    for (what, times) in &struck {
        println!("struck: {what} {times}");
    }
    let times = |what: &str| struck.get(what).copied().unwrap_or_default();
    let share = times("accepted") * 100 / (times("accepted") + times("refused"));
    println!("struck: definitions accepted, of a hundred {share}");
    for what in STRUCK.iter().filter(|_| many) {
        assert!(times(what) > 0, "`{what}` never struck");
    }
    assert!(!many || share >= ACCEPTED, "{share} of a hundred definitions are accepted");
}

#[test]
fn the_machine_does_what_the_guide_says_whatever_happens() {
    campaign(seeds(), |_| {});
}
