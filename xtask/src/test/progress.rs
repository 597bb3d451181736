//! A long lane says where it is: one line that is rewritten on a terminal, a line now and then
//! elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a log file gets a line.
const EVERY: Duration = Duration::from_secs(10);

/// The progress of one lane.
pub struct Progress {
    lane: &'static str,
    total: usize,
    done: usize,
    terminal: bool,
    last: Instant,
}

impl Progress {
    /// Of a lane with `total` tests.
    pub fn new(lane: &'static str, total: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { lane, total, done: 0, terminal, last: Instant::now() }
    }

    /// One more test is done.
    pub fn step(&mut self, name: &str) {
        self.done += 1;
        let (lane, done, total) = (self.lane, self.done, self.total);
        if self.terminal {
            eprint!("\r\x1b[K   {lane} {done}/{total} {name:.60}");
            // Nothing depends on the line having reached the terminal.
            let _ = std::io::stderr().flush();
        } else if self.last.elapsed() >= EVERY {
            eprintln!("   {lane} {done}/{total}");
            self.last = Instant::now();
        }
    }

    /// Prints a line that stays.
    pub fn line(&self, text: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{text}");
    }

    /// The lane is done.
    pub fn end(self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
