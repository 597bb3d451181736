//! The text format of Prometheus, version 0.0.4.
//!
//! A crate for it keeps a registry of metrics that it owns. Here the numbers live where they are
//! counted and are only written down, which is this page.

use holdfast_sync::counts::Durations;
use std::fmt::{Display, Write as _};

/// Metrics that are being written.
#[derive(Debug, Default)]
pub struct Exposition {
    out: String,
}

/// Label and value.
pub type Label<'a> = (&'a str, &'a str);

impl Exposition {
    /// Begins a counter, whose name ends in `_total`.
    pub fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        debug_assert!(name.ends_with("_total"), "{name} is a counter");
        self.family(name, "counter", help)
    }

    /// Begins a gauge.
    pub fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "gauge", help)
    }

    /// Begins a histogram, whose name ends in `_seconds`.
    pub fn histogram<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        debug_assert!(name.ends_with("_seconds"), "{name} is in seconds");
        self.family(name, "histogram", help)
    }

    fn family<'a>(&'a mut self, name: &'a str, kind: &str, help: &str) -> Family<'a> {
        debug_assert!(!help.contains(['\\', '\n']), "help is one plain line");
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Family { exposition: self, name }
    }

    fn line(&mut self, text: impl Display) {
        self.out.write_fmt(format_args!("{text}")).expect("a text takes all");
    }

    /// All that was written.
    #[must_use]
    pub fn finish(self) -> String {
        self.out
    }
}

/// A metric whose values follow.
#[derive(Debug)]
pub struct Family<'a> {
    exposition: &'a mut Exposition,
    name: &'a str,
}

impl Family<'_> {
    /// The value, when there is one only.
    pub fn is(&mut self, value: impl Display) {
        self.with(&[], value);
    }

    /// The value, when it is known.
    pub fn is_if_known(&mut self, value: Option<impl Display>) {
        if let Some(value) = value {
            self.is(value);
        }
    }

    /// The value for these labels.
    pub fn with(&mut self, labels: &[Label<'_>], value: impl Display) {
        self.sample("", labels, None, value);
    }

    /// The durations for these labels.
    pub fn durations(&mut self, labels: &[Label<'_>], durations: &Durations) {
        let (bounds, count) = durations.cumulated();
        for (bound_us, so_far) in bounds {
            let bound = (bound_us as f64 / 1e6).to_string();
            self.sample("_bucket", labels, Some(("le", &bound)), so_far);
        }
        self.sample("_bucket", labels, Some(("le", "+Inf")), count);
        self.sample("_sum", labels, None, durations.sum_us() as f64 / 1e6);
        self.sample("_count", labels, None, count);
    }

    fn sample(
        &mut self,
        part: &str,
        labels: &[Label<'_>],
        last: Option<Label<'_>>,
        value: impl Display,
    ) {
        let name = self.name;
        self.exposition.line(format_args!("{name}{part}"));
        for (number, (label, text)) in labels.iter().copied().chain(last).enumerate() {
            let begin = if number == 0 { '{' } else { ',' };
            self.exposition.line(format_args!("{begin}{label}=\""));
            for c in text.chars() {
                match c {
                    '\\' => self.exposition.out.push_str("\\\\"),
                    '"' => self.exposition.out.push_str("\\\""),
                    '\n' => self.exposition.out.push_str("\\n"),
                    other => self.exposition.out.push(other),
                }
            }
            self.exposition.out.push('"');
        }
        let end = if labels.is_empty() && last.is_none() { "" } else { "}" };
        self.exposition.line(format_args!("{end} {value}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_written_as_the_format_has_it() {
        let mut out = Exposition::default();
        let mut family = out.counter("a_total", "What happened.");
        family.with(&[("by", "x\\\"\n"), ("of", "")], 7);
        out.gauge("b", "What is.").is_if_known(None::<u64>);
        out.gauge("c", "What is.").is(1.5);
        let took = Durations::new(&[1_000, 2_500_000]);
        took.note(400);
        took.note(9_000_000);
        out.histogram("d_seconds", "How long.").durations(&[("of", "y")], &took);
        let expected = "\
# HELP a_total What happened.
# TYPE a_total counter
a_total{by=\"x\\\\\\\"\\n\",of=\"\"} 7
# HELP b What is.
# TYPE b gauge
# HELP c What is.
# TYPE c gauge
c 1.5
# HELP d_seconds How long.
# TYPE d_seconds histogram
d_seconds_bucket{of=\"y\",le=\"0.001\"} 1
d_seconds_bucket{of=\"y\",le=\"2.5\"} 1
d_seconds_bucket{of=\"y\",le=\"+Inf\"} 2
d_seconds_sum{of=\"y\"} 9.0004
d_seconds_count{of=\"y\"} 2
";
        assert_eq!(out.finish(), expected);
    }
}
