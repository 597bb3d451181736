//! The cases of `vectors/views.txt`: that they are made as they are, and that they hold.

use super::super::vectors::{DOCUMENT, VIEWS, Wrong, check};
use super::super::{
    Author, Cell, Concurrent, Content, Elements, Line, Path, Pattern, Policy, Role, Rule, Tally,
    Value, View, digest,
};
use crate::hlc::Stamp;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::format;
use std::string::String;
use std::vec::Vec;

const CASES: u64 = 200;
const RULES: [(&str, Rule); 8] = [
    ("last/**", Rule::Lww),
    ("max/**", Rule::Max),
    ("min/**", Rule::Min),
    ("hub/**", Rule::HubWins),
    ("edge/**", Rule::EdgeWins),
    ("keep/**", Rule::KeepAll),
    ("count/*", Rule::Counter),
    ("set/*", Rule::Set),
];
const ABOVE: [&str; 6] = ["last", "max", "min", "hub", "edge", "keep"];
const BELOW: [&str; 5] = ["", "/a", "/a/b", "/c", "/c-d"];

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

fn cell(random: &mut Random, content: Content<'_>) -> Vec<u8> {
    let roles = [Role::Hub, Role::Edge, Role::Device];
    let who = random.below(3);
    let stamp = Stamp::new(1_790_000_000_000 + random.below(4), random.below(3) as u16);
    let role = roles[who as usize];
    let mut out = Vec::new();
    Cell { stamp, author: Author([who as u8 + 1; 8]), role, content }.encode(&mut out).unwrap();
    out
}

fn plain(random: &mut Random) -> Vec<u8> {
    let content = match random.below(7) {
        0 => Content::Tombstone,
        1 => Content::Value(Value::Bool(random.below(2) == 1)),
        2 => Content::Value(
            Value::text(["auto", "off", "", "später"][random.below(4) as usize]).unwrap(),
        ),
        3 => Content::Value(Value::float(random.below(9) as f64 / 4.0).unwrap()),
        _ => Content::Value(Value::Int(random.below(9) as i64 - 4)),
    };
    cell(random, content)
}

fn counted(random: &mut Random) -> Vec<u8> {
    let tally = Tally { plus: random.below(100), minus: random.below(100) };
    cell(random, Content::Counter(tally))
}

fn collected(random: &mut Random) -> Vec<u8> {
    let mut items: Vec<_> =
        (0..4).filter(|_| random.below(2) == 1).map(|n| (Value::Int(n), 1 + n as u16)).collect();
    items.sort_unstable_by_key(|(value, _)| format!("{value:?}"));
    let mut bytes = Vec::new();
    Elements::encode(items.iter().copied(), &mut bytes).unwrap();
    let elements = Elements::read(&mut crate::codec::Reader::new(&bytes)).unwrap();
    cell(random, Content::Set(elements))
}

/// A case of its own for each number.
fn made(number: u64) -> String {
    let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut cells: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for _ in 0..=random.below(6) {
        let above = ABOVE[random.below(6) as usize];
        let path = format!("{above}{}", BELOW[random.below(5) as usize]);
        let of_path = cells.entry(path).or_default();
        of_path.extend((0..=random.below(3)).map(|_| plain(&mut random)));
        of_path.truncate(3);
    }
    let mut policy = Policy::LWW.as_bytes().to_vec();
    if !number.is_multiple_of(3) {
        policy.clear();
        let pattern = |text| Pattern::new(text).unwrap();
        let line = |(path, rule)| Line { document: pattern("**"), path: pattern(path), rule };
        Policy::encode(&RULES.map(line), &mut policy).unwrap();
        let counts = (0..=random.below(2)).map(|_| counted(&mut random)).collect();
        cells.insert("count/n".into(), counts);
        let sets = (0..=random.below(2)).map(|_| collected(&mut random)).collect();
        cells.insert("set/s".into(), sets);
    }
    let mut paths: Vec<_> = cells.into_iter().collect();
    paths.sort_by(|(a, _), (b, _)| Path::new(a).unwrap().cmp(&Path::new(b).unwrap()));
    let mut read: Vec<(Path<'_>, Vec<Cell<'_>>)> = paths
        .iter()
        .map(|(path, cells)| {
            let cells = cells.iter().map(|cell| Cell::from_bytes(cell).unwrap());
            (Path::new(path).unwrap(), cells.collect())
        })
        .collect();
    let entries: Vec<_> =
        read.iter_mut().map(|(path, cells)| (*path, Concurrent::sort(cells))).collect();
    let (held, document) = (Policy::from_bytes(&policy).unwrap(), Path::new(DOCUMENT).unwrap());
    let view = View::new(entries.iter().copied(), |path| held.rule(document, path));
    let mut line = format!("{} {}", hex(&policy), hex(&digest(document, held.id(), view).0));
    for (path, cells) in &paths {
        let cells: Vec<_> = cells.iter().map(|cell| hex(cell)).collect();
        write!(line, " {path}={}", cells.join(",")).unwrap();
    }
    line
}

#[test]
fn the_cases_are_as_they_were_made_and_hold() {
    let all: Vec<_> = (0..CASES).map(made).collect();
    let held: Vec<_> = VIEWS.lines().collect();
    assert_eq!(held.len(), all.len());
    for (number, (case, made)) in held.iter().zip(&all).enumerate() {
        assert_eq!(case, made, "case {number}");
        assert_eq!(check(case), Ok(()), "case {number}");
    }
}

#[test]
fn a_case_that_does_not_hold_is_told() {
    let case = VIEWS.lines().next().unwrap();
    let flipped = |from: usize| {
        let mut bytes = case.as_bytes().to_vec();
        bytes[from] = if bytes[from] == b'0' { b'1' } else { b'0' };
        check(core::str::from_utf8(&bytes).unwrap())
    };
    let digest = case.find(' ').unwrap() + 1;
    assert!(matches!(flipped(digest), Err(Wrong::View(_))));
    assert_eq!(check("00"), Err(Wrong::Form));
    assert_eq!(check(&case.replacen('=', "=z", 1)), Err(Wrong::Form));
}
