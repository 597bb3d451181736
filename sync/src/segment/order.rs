//! The order in which series take turns: a guess by the last successor, and where it was wrong.

use super::SegmentError;
use holdfast_core::Reject;

/// Guesses the next series from the one before.
struct Guess {
    /// What followed each series the last time; the last place stands for the beginning.
    successors: Vec<Option<u32>>,
    before: usize,
    /// Series seen so far; they are numbered by first use.
    seen: u32,
}

impl Guess {
    fn new(series: usize) -> Self {
        Self { successors: vec![None; series + 1], before: series, seen: 0 }
    }

    fn next(&self) -> u32 {
        let unused = if self.seen as usize + 1 < self.successors.len() { self.seen } else { 0 };
        self.successors[self.before].unwrap_or(unused)
    }

    fn learn(&mut self, series: u32) {
        self.successors[self.before] = Some(series);
        self.before = series as usize;
        self.seen = self.seen.max(series + 1);
    }
}

/// The columns `hits` and `misses` of rows of these series, numbered by first use below `series`.
pub(super) fn encode(rows: &[u32], series: usize) -> (Vec<i64>, Vec<i64>) {
    let (mut hits, mut misses, mut run) = (Vec::new(), Vec::new(), 0);
    let mut guess = Guess::new(series);
    for row in rows {
        if guess.next() == *row {
            run += 1;
        } else {
            hits.push(run);
            misses.push(i64::from(*row));
            run = 0;
        }
        guess.learn(*row);
    }
    (hits, misses)
}

/// The series of `count` rows.
pub(super) fn decode(
    hits: &[i64],
    misses: &[i64],
    count: usize,
    series: usize,
) -> Result<Vec<u32>, SegmentError> {
    let mut out = Vec::with_capacity(count);
    let mut guess = Guess::new(series);
    let mut turns = hits.iter().zip(misses);
    let mut turn = turns.next();
    let mut run = 0;
    while out.len() < count {
        let next = match turn {
            Some((hits, miss)) if *hits == run => {
                turn = turns.next();
                run = 0;
                u32::try_from(*miss).map_err(|_| Reject::Malformed)?
            }
            _ => {
                run += 1;
                guess.next()
            }
        };
        if next as usize >= series || next > guess.seen {
            return Err(Reject::Malformed.into());
        }
        guess.learn(next);
        out.push(next);
    }
    let all = turn.is_none() && guess.seen as usize == series && hits.len() == misses.len();
    if all { Ok(out) } else { Err(Reject::Malformed.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Numbers by first use, as the encoder of a segment gives them.
    fn by_first_use(raw: &[u32]) -> (Vec<u32>, usize) {
        let mut seen = Vec::new();
        let rows = raw.iter().map(|name| {
            let known = seen.iter().position(|s| s == name);
            known.unwrap_or_else(|| {
                seen.push(*name);
                seen.len() - 1
            }) as u32
        });
        let rows = rows.collect();
        (rows, seen.len())
    }

    #[test]
    fn devices_that_take_turns_cost_nothing() {
        let rows: Vec<u32> = (0..1000).map(|i| i % 7).collect();
        assert_eq!(encode(&rows, 7), (vec![], vec![]));
    }

    proptest! {
        #[test]
        fn orders_read_back(raw in prop::collection::vec(0u32..9, 1..200)) {
            let (rows, series) = by_first_use(&raw);
            let (hits, misses) = encode(&rows, series);
            prop_assert_eq!(decode(&hits, &misses, rows.len(), series).unwrap(), rows);
        }

        #[test]
        fn any_columns_are_read_without_panic(
            hits in prop::collection::vec(-3i64..20, 0..20),
            misses in prop::collection::vec(-3i64..20, 0..20),
        ) {
            let _ = decode(&hits, &misses, 100, 9);
        }
    }
}
