//! What a scenario did to the system, counted, and the line that does it again.
//!
//! A campaign that never hits what it aims at proves nothing. So a scenario declares its faults
//! first, counts each one where it really struck, prints the tally, and fails when one of them
//! never did. A failure of any kind prints the command that replays the run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

/// Overrides the seed of a run, decimal or `0x` hexadecimal.
pub const SEED_ENV: &str = "HOLDFAST_SEED";

/// How often each fault struck, by its sentence ("killed between commit and answer").
#[derive(Debug, Default)]
pub struct Tally {
    counts: Mutex<BTreeMap<String, u64>>,
}

/// The faults that a run declared but never met.
#[derive(Debug, PartialEq, Eq)]
pub struct NeverStruck(pub Vec<String>);

impl fmt::Display for NeverStruck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faults that never struck: {}", self.0.join("; "))
    }
}

impl std::error::Error for NeverStruck {}

impl Tally {
    /// A tally of faults that must each strike at least once.
    #[must_use]
    pub fn of(faults: &[&str]) -> Self {
        Self { counts: Mutex::new(faults.iter().map(|f| ((*f).to_owned(), 0)).collect()) }
    }

    /// The fault struck once.
    pub fn strike(&self, fault: &str) {
        self.add(fault, 1);
    }

    /// The fault struck `times` times, for counters kept elsewhere (a link's dropped packets).
    /// Declares the fault if it was not declared yet, also when `times` is 0.
    pub fn add(&self, fault: &str, times: u64) {
        *self.lock().entry(fault.to_owned()).or_insert(0) += times;
    }

    /// How often the fault struck so far.
    #[must_use]
    pub fn count(&self, fault: &str) -> u64 {
        self.lock().get(fault).copied().unwrap_or(0)
    }

    /// Whether every fault struck that was declared.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lock().values().all(|count| *count > 0)
    }

    /// Prints the tally of a finished run and says whether every fault struck.
    ///
    /// # Errors
    /// Names the declared faults whose count is 0.
    pub fn finish(&self) -> Result<(), NeverStruck> {
        print!("{self}");
        let missed: Vec<_> =
            self.lock().iter().filter(|(_, n)| **n == 0).map(|(f, _)| f.clone()).collect();
        if missed.is_empty() { Ok(()) } else { Err(NeverStruck(missed)) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u64>> {
        // A panicking scenario still prints its tally, so a poisoned lock is taken as it is.
        self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (fault, count) in self.lock().iter() {
            writeln!(f, "struck: {fault} {count}")?;
        }
        Ok(())
    }
}

/// Held for the length of a scenario; prints the replay command if the scenario panics.
#[derive(Debug)]
pub struct Replay {
    seed: u64,
    target: &'static str,
    test: String,
}

impl Replay {
    /// For `test` of the integration-test binary `target`. The seed is the one given in the
    /// environment, else `default_seed`: the test command's seeds are fixed.
    ///
    /// # Panics
    /// When the environment holds a seed that is no number.
    #[must_use]
    pub fn new(target: &'static str, test: &str, default_seed: u64) -> Self {
        let seed = match std::env::var(SEED_ENV) {
            Ok(text) => parse_seed(&text)
                .unwrap_or_else(|| panic!("{SEED_ENV}={text} is not a 64-bit number")),
            Err(_) => default_seed,
        };
        Self { seed, target, test: test.to_owned() }
    }

    /// The seed of this run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, target, test } = self;
        write!(
            f,
            "replay: {SEED_ENV}={seed:#x} cargo test -p holdfast-tests --test {target} -- \
             --exact {test}"
        )
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{self}");
        }
    }
}

fn parse_seed(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_never_struck_fails_the_run() {
        let tally = Tally::of(&["killed between commit and answer", "link cut"]);
        tally.strike("link cut");
        let missed = tally.finish().unwrap_err();
        assert_eq!(missed, NeverStruck(vec!["killed between commit and answer".into()]));
        tally.add("killed between commit and answer", 7);
        assert_eq!(tally.finish(), Ok(()));
        assert!(tally.to_string().contains("struck: killed between commit and answer 7\n"));
    }

    #[test]
    fn the_replay_line_names_seed_target_and_test() {
        let replay = Replay { seed: 255, target: "scenarios", test: "kill::under_load".into() };
        let line = replay.to_string();
        assert!(line.starts_with("replay: HOLDFAST_SEED=0xff cargo test -p holdfast-tests"));
        assert!(line.ends_with("--test scenarios -- --exact kill::under_load"));
        assert_eq!(parse_seed("0xff"), Some(255));
        assert_eq!(parse_seed("17"), Some(17));
        assert_eq!(parse_seed("seventeen"), None);
    }
}
