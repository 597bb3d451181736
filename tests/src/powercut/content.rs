//! What a file holds after a power cut: its synced changes, and some of the others.

use std::fs;
use std::io;

use super::cut::{Aftermath, DataRule};
use super::history::{Change, Node};
use crate::rng::Rng;

/// The unit a disk writes whole.
const SECTOR: u64 = 512;

/// The content of a file, its unsynced changes surviving by `rule`.
pub(super) fn surviving(
    node: &Node<'_>,
    rule: DataRule,
    rng: &mut Rng,
    aftermath: &mut Aftermath,
) -> io::Result<Vec<u8>> {
    let mut content = match &node.base {
        Some(path) => fs::read(path)?,
        None => Vec::new(),
    };
    let split = node.changes.partition_point(|(at, _)| *at < node.synced_to);
    let (synced, open) = node.changes.split_at(split);
    for (_, change) in synced {
        apply(&mut content, change);
    }
    aftermath.unsynced += open.len() as u64;
    match rule {
        DataRule::Kept => open.iter().for_each(|(_, change)| apply(&mut content, change)),
        DataRule::Lost => aftermath.lost += open.len() as u64,
        DataRule::Prefix => {
            let kept = rng.index(open.len() + 1);
            open[..kept].iter().for_each(|(_, change)| apply(&mut content, change));
            aftermath.lost += (open.len() - kept) as u64;
            if let Some((_, next)) = open.get(kept) {
                tear(&mut content, next, rng, aftermath);
            }
        }
        DataRule::Scattered => scatter(&mut content, open, rng, aftermath),
    }
    Ok(content)
}

/// Each change is kept, lost or torn, and what survives may be in another order.
fn scatter(
    content: &mut Vec<u8>,
    open: &[(usize, Change<'_>)],
    rng: &mut Rng,
    aftermath: &mut Aftermath,
) {
    let mut order: Vec<_> = open.iter().map(|(_, change)| change).collect();
    if order.len() > 1 && rng.chance(0.5) {
        rng.shuffle(&mut order);
        aftermath.reordered += 1;
    }
    for change in order {
        match rng.index(4) {
            0 => aftermath.lost += 1,
            1 => tear(content, change, rng, aftermath),
            _ => apply(content, change),
        }
    }
}

/// Some sectors of a write survive and some do not; a change of length is all or nothing.
fn tear(content: &mut Vec<u8>, change: &Change<'_>, rng: &mut Rng, aftermath: &mut Aftermath) {
    let Change::Write { offset, data } = change else {
        if rng.chance(0.5) {
            apply(content, change);
        } else {
            aftermath.lost += 1;
        }
        return;
    };
    let (mut at, mut rest, mut kept, mut dropped) = (*offset, *data, 0, 0);
    while !rest.is_empty() {
        let in_sector = (SECTOR - at % SECTOR).min(rest.len() as u64) as usize;
        let (sector, after) = rest.split_at(in_sector);
        if rng.chance(0.5) {
            apply(content, &Change::Write { offset: at, data: sector });
            kept += 1;
        } else {
            dropped += 1;
        }
        at += in_sector as u64;
        rest = after;
    }
    match (kept, dropped) {
        (_, 0) => {}
        (0, _) => aftermath.lost += 1,
        _ => aftermath.torn += 1,
    }
}

fn apply(content: &mut Vec<u8>, change: &Change<'_>) {
    match *change {
        Change::Write { offset, data } => {
            let (start, end) = (offset as usize, offset as usize + data.len());
            if content.len() < end {
                content.resize(end, 0);
            }
            content[start..end].copy_from_slice(data);
        }
        Change::Truncate { len } => content.resize(len as usize, 0),
        Change::Allocate { len } => content.resize(content.len().max(len as usize), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(changes: Vec<(usize, Change<'_>)>, synced_to: usize) -> Node<'_> {
        Node { directory: false, base: None, mode: 0o600, changes, synced_to }
    }

    #[test]
    fn synced_bytes_stay_and_a_torn_write_keeps_whole_sectors() {
        let (old, new) = ([1u8; 2048], [2u8; 1500]);
        let node = file(
            vec![
                (1, Change::Write { offset: 0, data: &old }),
                (5, Change::Write { offset: 300, data: &new }),
            ],
            3,
        );
        let mut torn = 0;
        for seed in 0..200 {
            let mut aftermath = Aftermath::default();
            let mut rng = Rng::new(seed);
            let content = surviving(&node, DataRule::Scattered, &mut rng, &mut aftermath).unwrap();
            assert_eq!(content.len(), 2048);
            assert!(content[..300].iter().chain(&content[1800..]).all(|b| *b == 1));
            for sector in [300..512, 512..1024, 1024..1536, 1536..1800] {
                assert!(content[sector.clone()].iter().all(|b| *b == content[sector.start]));
            }
            torn += aftermath.torn;
        }
        assert!(torn > 10, "torn {torn} times");
    }

    #[test]
    fn a_prefix_never_skips_a_change() {
        let changes = (0..8).map(|n| (n, Change::Write { offset: n as u64 * 4, data: b"full" }));
        let node = file(changes.collect(), 2);
        for seed in 0..100 {
            let (mut rng, mut aftermath) = (Rng::new(seed), Aftermath::default());
            let content = surviving(&node, DataRule::Prefix, &mut rng, &mut aftermath).unwrap();
            assert!(content.len() >= 8, "the synced two are there");
            assert!(content.chunks(4).all(|c| c == b"full"), "no hole: {content:?}");
        }
    }
}
