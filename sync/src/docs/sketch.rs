//! A rateless sketch of a set: what two large sets differ in, for the price of the difference.
//!
//! A set of 8-byte items becomes an endless list of *symbols*; each item is in the first symbol,
//! in about two thirds of the next few, in ever fewer behind them. A symbol holds the exclusive-or
//! of its items, that of 32 bits of their hashes under a key, and their number, of which the lowest
//! byte is enough: it only has to tell one item from none and from one too many, and the hash tells
//! the rest. The symbols of one set less those of another are the symbols of their difference, and
//! from about one and a half times as many as it has items they can be taken apart again. Nobody
//! has to know its size before: more symbols are asked for until they can.
//!
//! Source: Yang, Gilad, Alizadeh, "Practical Rateless Set Reconciliation", SIGCOMM 2024. The hash
//! is keyed by whoever sends, anew each time, so nobody can make items that cancel out.
//! Byte-exact page: `docs/formats/exchange.md`.

use holdfast_core::Reject;
use holdfast_core::codec::{Reader, Sink};
use siphasher::sip::SipHasher24;
use std::collections::BTreeSet;
use std::hash::Hasher as _;

/// What is in a set: a hash of 64 bits, itself under the key.
pub type Item = u64;

/// The key of the hash.
pub type SketchKey = [u8; 16];

/// A symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symbol {
    sum: Item,
    check: u32,
    count: i8,
}

/// The hash of `bytes` under a key.
pub fn hash_of(key: &SketchKey, bytes: &[u8]) -> u64 {
    let mut hash = SipHasher24::new_with_key(key);
    hash.write(bytes);
    hash.finish()
}

/// The symbols that an item is in, ascending from 0.
struct Places {
    random: u64,
    next: u64,
}

impl Places {
    const fn new(hash: u64) -> Self {
        Self { random: hash, next: 0 }
    }
}

impl Iterator for Places {
    type Item = u64;

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "places are bounded by the number of symbols; division and root are exact IEEE"
    )]
    fn next(&mut self) -> Option<u64> {
        let place = self.next;
        // A full-period generator modulo 2^64; its upper 32 bits are uniform.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let uniform = ((self.random >> 32) as f64 + 1.0) / (1u64 << 32) as f64;
        // The chance of being in symbol i is 1 / (1 + i / 2): invert its cumulative product.
        let step = (place as f64 + 1.5) * (1.0 / uniform.sqrt() - 1.0);
        self.next = place.saturating_add((step.ceil() as u64).max(1));
        Some(place)
    }
}

impl Symbol {
    const fn add(&mut self, item: Item, check: u32, count: i8) {
        self.sum ^= item;
        self.check ^= check;
        self.count = self.count.wrapping_add(count);
    }

    /// What is left when the items of `other` are taken out.
    const fn less(&mut self, other: &Self) {
        self.add(other.sum, other.check, other.count.wrapping_neg());
    }

    /// Appends the symbol.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn put(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put(&self.sum.to_le_bytes())?;
        out.put(&self.check.to_le_bytes())?;
        out.put(&self.count.to_le_bytes())
    }

    /// Reads a symbol.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        let sum = Item::from_le_bytes(reader.array()?);
        let check = u32::from_le_bytes(reader.array()?);
        let count = i8::from_le_bytes(reader.array()?);
        Ok(Self { sum, check, count })
    }
}

/// The first `count` symbols of a set.
pub fn symbols(items: impl Iterator<Item = Item>, key: &SketchKey, count: usize) -> Vec<Symbol> {
    let mut out = vec![Symbol::default(); count];
    for item in items {
        let hash = hash_of(key, &item.to_le_bytes());
        for place in Places::new(hash).take_while(|place| *place < count as u64) {
            out[place as usize].add(item, hash as u32, 1);
        }
    }
    out
}

/// In what two sets differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Items of theirs that are not ours.
    pub theirs: BTreeSet<Item>,
    /// Items of ours that are not theirs.
    pub ours: BTreeSet<Item>,
}

/// Takes apart what is left of `theirs` without `ours`, equally many symbols of each; `None` when
/// there are too few.
pub fn difference(theirs: &[Symbol], ours: &[Symbol], key: &SketchKey) -> Option<Difference> {
    let mut left: Vec<Symbol> = theirs.to_vec();
    left.iter_mut().zip(ours).for_each(|(left, ours)| left.less(ours));
    let mut out = Difference::default();
    let mut next: Vec<usize> = (0..left.len()).collect();
    // Each symbol gives one item at most, so what a hostile peer sends comes to an end.
    let (mut steps, count_of) = (left.len(), left.len() as u64);
    while let Some(at) = next.pop() {
        let Symbol { sum, check, count } = left[at];
        let hash = hash_of(key, &sum.to_le_bytes());
        if !matches!(count, -1 | 1) || hash as u32 != check || steps == 0 {
            continue;
        }
        steps -= 1;
        let side = if count == 1 { &mut out.theirs } else { &mut out.ours };
        side.insert(sum);
        for place in Places::new(hash).take_while(|place| *place < count_of) {
            left[place as usize].add(sum, check, -count);
            next.push(place as usize);
        }
    }
    left.iter().all(|symbol| *symbol == Symbol::default()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: SketchKey = [9; 16];

    fn item(n: u64) -> Item {
        hash_of(&[1; 16], &n.to_le_bytes())
    }

    fn sets(common: u64, theirs: u64, ours: u64) -> (Vec<Item>, Vec<Item>) {
        let all: Vec<Item> = (0..common + theirs + ours).map(item).collect();
        let (common, rest) = all.split_at(common as usize);
        let (theirs, ours) = rest.split_at(theirs as usize);
        ([common, theirs].concat(), [common, ours].concat())
    }

    fn differ(theirs: &[Item], ours: &[Item], count: usize) -> Option<Difference> {
        let (theirs, ours) = (
            symbols(theirs.iter().copied(), &KEY, count),
            symbols(ours.iter().copied(), &KEY, count),
        );
        difference(&theirs, &ours, &KEY)
    }

    /// The vector of `docs/formats/exchange.md`.
    #[test]
    fn golden_vector() {
        let items = [1, 2, 3].map(|byte| Item::from_le_bytes([byte; 8]));
        let mut bytes = Vec::new();
        symbols(items.into_iter(), &KEY, 3)
            .iter()
            .for_each(|symbol| symbol.put(&mut bytes).unwrap());
        assert_eq!(data_encoding::HEXLOWER.encode(&bytes), GOLDEN);
        let mut reader = Reader::new(&bytes);
        let read: Vec<_> = (0..3).map(|_| Symbol::read(&mut reader).unwrap()).collect();
        assert_eq!(read, symbols(items.into_iter(), &KEY, 3));
    }

    const GOLDEN: &str = "00000000000000001ab66bc00302020202020202026f295b4201\
        0202020202020202759f308202";

    #[test]
    fn a_difference_costs_about_one_and_a_half_symbols_an_item() {
        let mut needed = 0;
        for round in 0..50 {
            let (theirs, ours) = sets(1_000 + round, 60, 40);
            let first = (100..400).find(|count| differ(&theirs, &ours, *count).is_some());
            needed += first.expect("four symbols an item are always enough");
        }
        assert!((100 * 50..190 * 50).contains(&needed), "{} symbols for 100", needed / 50);
    }

    #[test]
    fn equal_sets_need_one_symbol() {
        let (theirs, ours) = sets(500, 0, 0);
        assert_eq!(differ(&theirs, &ours, 1), Some(Difference::default()));
    }

    proptest! {
        #[test]
        fn what_is_taken_apart_is_the_difference(
            common in 0..300u64, theirs in 0..40u64, ours in 0..40u64, count in 1..200usize
        ) {
            let (a, b) = sets(common, theirs, ours);
            if let Some(found) = differ(&a, &b, count) {
                prop_assert_eq!(found.theirs, a[common as usize..].iter().copied().collect());
                prop_assert_eq!(found.ours, b[common as usize..].iter().copied().collect());
            } else {
                prop_assert!(count < 4 * (theirs + ours) as usize + 40);
            }
        }

        #[test]
        fn whatever_a_peer_sends_comes_to_an_end(
            bytes in prop::collection::vec(any::<u8>(), 0..4_000)
        ) {
            let mut reader = Reader::new(&bytes);
            let theirs: Vec<_> = std::iter::from_fn(|| Symbol::read(&mut reader).ok()).collect();
            let ours = symbols([item(1), item(2)].into_iter(), &KEY, theirs.len());
            if let Some(found) = difference(&theirs, &ours, &KEY) {
                prop_assert!(found.theirs.len() + found.ours.len() <= theirs.len());
            }
        }
    }
}
