//! What ran and how it went: one record per check or test, and the summary made of them.

use crate::test::Lane;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// How one test went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It ran and holds.
    Passed,
    /// It ran and does not hold, or it could not run although it had to.
    Failed,
    /// It did not run, and need not.
    Skipped,
}

/// One test, check or lane that was left out.
#[derive(Debug, Clone)]
pub struct Record {
    /// The lane it ran in.
    pub lane: Lane,
    /// Its name, unique in the lane.
    pub name: String,
    /// How it went.
    pub verdict: Verdict,
    /// What it took, where that is known for it alone.
    pub took: Option<Duration>,
    /// What it printed.
    pub log: Option<PathBuf>,
}

impl Record {
    /// A record that has neither a duration of its own nor a log.
    pub fn new(lane: Lane, name: impl Into<String>, verdict: Verdict) -> Self {
        Self { lane, name: name.into(), verdict, took: None, log: None }
    }

    /// A check that either holds or does not.
    pub fn check(lane: Lane, name: impl Into<String>, holds: bool) -> Self {
        let verdict = if holds { Verdict::Passed } else { Verdict::Failed };
        Self::new(lane, name, verdict)
    }
}

/// How many slowest tests the summary names.
const SLOWEST: usize = 10;

/// The summary: seconds per lane, the slowest tests, what failed, and the one line that counts.
pub fn summary(lanes: &[(String, Duration)], records: &[Record]) -> String {
    let mut text = String::from("\nseconds per lane\n");
    for (name, took) in lanes {
        let _ = writeln!(text, "{:>9.1}  {name}", took.as_secs_f64());
    }
    let mut timed: Vec<(&Record, Duration)> =
        records.iter().filter_map(|record| Some((record, record.took?))).collect();
    timed.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
    if !timed.is_empty() {
        text.push_str("slowest\n");
    }
    for (record, took) in timed.iter().take(SLOWEST) {
        let seconds = took.as_secs_f64();
        let _ = writeln!(text, "{seconds:>9.2}  {:<8}  {}", record.lane.name(), record.name);
    }
    for (title, verdict) in [("left out", Verdict::Skipped), ("failed", Verdict::Failed)] {
        let matching: Vec<_> = records.iter().filter(|record| record.verdict == verdict).collect();
        if !matching.is_empty() {
            let _ = writeln!(text, "{title}");
        }
        for record in matching {
            let _ = writeln!(text, "           {:<8}  {}", record.lane.name(), record.name);
            let log = record.log.as_ref().filter(|_| verdict == Verdict::Failed);
            if let Some(log) = log {
                let _ = writeln!(text, "           {:<8}  {}", "", log.display());
            }
        }
    }
    let _ = write!(
        text,
        "{} passed, {} failed, {} skipped",
        count(records, Verdict::Passed),
        count(records, Verdict::Failed),
        count(records, Verdict::Skipped)
    );
    text
}

/// How many of `records` went like this.
pub fn count(records: &[Record], verdict: Verdict) -> usize {
    records.iter().filter(|record| record.verdict == verdict).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_and_nothing_follows_it() {
        let records = [
            Record::new(Lane::Unit, "a", Verdict::Passed),
            Record::new(Lane::Unit, "b", Verdict::Failed),
            Record::new(Lane::Web, "c", Verdict::Skipped),
        ];
        let text = summary(&[("unit".into(), Duration::from_millis(1500))], &records);
        assert_eq!(text.lines().last(), Some("1 passed, 1 failed, 1 skipped"));
        assert!(!text.ends_with('\n'));
        assert!(text.contains("1.5  unit"));
    }

    #[test]
    fn only_the_slowest_are_named_and_the_slowest_first() {
        let record = |n: u64| Record {
            took: Some(Duration::from_secs(n)),
            ..Record::new(Lane::Sim, format!("test-{n:02}"), Verdict::Passed)
        };
        let records: Vec<Record> = (1..=12).map(record).collect();
        let text = summary(&[], &records);
        assert!(!text.contains("test-02"));
        assert!(text.find("test-12").unwrap() < text.find("test-03").unwrap());
    }
}
