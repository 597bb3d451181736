//! A local write: which cells it puts, and with which stamps.
//!
//! A write gets a stamp above every cell that its path meets, and what it meets above and below
//! becomes tombstones. All edits of a write are one change of the document.

use super::contents::Contents;
use super::limits::{CHANGE_OPERATIONS, CHANGE_REPLACES, HARD_BYTES, LIVE_KEYS};
use super::{DocumentName, Refusal};
use holdfast_core::codec::Reader;
use holdfast_core::hlc::Stamp;
use holdfast_core::limits::SET_MAX_AUTHORS;
use holdfast_core::state::{
    Author, Cell, Concurrent, Content, Elements, Key, Lattice as _, Path, Policy, Role, Rule,
    Tally, Value, resolve,
};
use std::collections::{BTreeMap, BTreeSet};

/// What is to become of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What<'a> {
    /// It holds a value, in the place of what is at it, above and below.
    Put(Value<'a>),
    /// It holds nothing, and nothing does below it.
    Delete,
    /// A counter counts by so much.
    Count(i64),
    /// A set holds an element.
    Add(Value<'a>),
    /// A set does not hold an element.
    Remove(Value<'a>),
}

/// A path and what is to become of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edit<'a> {
    /// The path.
    pub path: Path<'a>,
    /// What is to become of it.
    pub what: What<'a>,
}

/// In whose name a write is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The author of its cells: this node, or the device whose document it is.
    pub author: Author,
    /// The author's role.
    pub role: Role,
    /// The author's clock.
    pub clock: Stamp,
}

/// A write being put together.
pub(super) struct Plan<'a> {
    name: &'a DocumentName,
    policy: &'a Policy<'a>,
    writer: Writer,
    contents: Contents,
    changed: BTreeSet<String>,
}

impl<'a> Plan<'a> {
    pub(super) const fn new(
        name: &'a DocumentName,
        policy: &'a Policy<'a>,
        writer: Writer,
        contents: Contents,
    ) -> Self {
        Self { name, policy, writer, contents, changed: BTreeSet::new() }
    }

    /// The cells to put, by key; none when the document is as it should be. Refuses what would make
    /// the document grow beyond its bounds; whatever makes it smaller is taken.
    pub(super) fn puts(mut self, edits: &[Edit<'_>]) -> Result<Vec<(String, Vec<u8>)>, Refusal> {
        let before: BTreeMap<String, usize> =
            self.contents.iter().map(|(key, cells)| (key.to_owned(), cells.len())).collect();
        let before_edits = self.contents.size();
        edits.iter().try_for_each(|edit| self.edit(edit))?;
        let size = self.contents.size();
        if size.bytes > HARD_BYTES.max(before_edits.bytes) {
            return Err(Refusal::Full);
        }
        if size.live > LIVE_KEYS.max(before_edits.live) {
            return Err(Refusal::Keys);
        }
        let replaced = self.changed.iter().filter_map(|key| before.get(key)).sum::<usize>();
        if self.changed.len() > CHANGE_OPERATIONS || replaced > CHANGE_REPLACES {
            return Err(Refusal::Count);
        }
        let cells: BTreeMap<_, _> = self.contents.iter().collect();
        let put = |key: &String| (key.clone(), cells[key.as_str()][0].clone());
        Ok(self.changed.iter().map(put).collect())
    }

    fn edit(&mut self, edit: &Edit<'_>) -> Result<(), Refusal> {
        let Edit { path, what } = *edit;
        let rule = self.policy.rule(self.name.path(), path);
        let fits = match what {
            What::Put(_) => !rule.is_type(),
            What::Delete => true,
            What::Count(_) => rule == Rule::Counter,
            What::Add(_) | What::Remove(_) => rule == Rule::Set,
        };
        if !fits {
            return Err(Refusal::Type);
        }
        match what {
            What::Put(value) => self.put_value(path, value),
            What::Delete => self.delete(path),
            What::Count(by) => self.count(path, by),
            What::Add(element) => self.turn(path, element, true),
            What::Remove(element) => self.turn(path, element, false),
        }
    }

    fn stamp(&self, path: Path<'_>) -> Stamp {
        self.writer.clock.over(self.contents.met(path))
    }

    fn put(&mut self, path: Path<'_>, stamp: Stamp, content: Content<'_>) -> Result<(), Refusal> {
        let Writer { author, role, .. } = self.writer;
        let cell = Cell { stamp, author, role, content };
        let mut bytes = Vec::new();
        cell.encode(&mut bytes).map_err(Refusal::Cell)?;
        let key = Key::of(path, &cell).to_string();
        self.contents.replace(key.clone(), bytes);
        self.changed.insert(key);
        Ok(())
    }

    fn put_value(&mut self, path: Path<'_>, value: Value<'_>) -> Result<(), Refusal> {
        let others = self.live(|other| other.meets(path) && other != path);
        let same = |cell: &Cell<'_>| {
            let writer = (cell.author, cell.role) == (self.writer.author, self.writer.role);
            writer && cell.value() == Some(value)
        };
        if others.is_empty() && matches!(self.contents.at(path).as_slice(), [cell] if same(cell)) {
            return Ok(());
        }
        let stamp = self.stamp(path);
        for other in others {
            let other = Path::new(&other).map_err(Refusal::Cell)?;
            self.put(other, stamp, Content::Tombstone)?;
        }
        self.put(path, stamp, Content::Value(value))
    }

    fn delete(&mut self, path: Path<'_>) -> Result<(), Refusal> {
        let stamp = self.stamp(path);
        for gone in self.live(|other| other == path || other.is_below(path)) {
            let gone = Path::new(&gone).map_err(Refusal::Cell)?;
            self.put(gone, stamp, Content::Tombstone)?;
        }
        Ok(())
    }

    /// The paths of live values that `meant` chooses. Parts are counted back, never deleted.
    fn live(&self, meant: impl Fn(Path<'_>) -> bool) -> BTreeSet<String> {
        let values = self
            .contents
            .parsed()
            .filter(|(key, cell)| key.author.is_none() && cell.is_live() && meant(key.path));
        values.map(|(key, _)| key.path.as_str().to_owned()).collect()
    }

    fn count(&mut self, path: Path<'_>, by: i64) -> Result<(), Refusal> {
        if by == 0 {
            return Ok(());
        }
        let mut tally = Tally::default();
        for part in self.contents.parts(path, self.writer.author) {
            if let Content::Counter(other) = part.content {
                // Two tallies always have room for each other.
                let _ = tally.join(&other);
            }
        }
        let tally = tally.counted(by).map_err(|_| Refusal::Exhausted)?;
        self.put(path, self.stamp(path), Content::Counter(tally))
    }

    fn turn(&mut self, path: Path<'_>, element: Value<'_>, present: bool) -> Result<(), Refusal> {
        let Some(encoded) = self.turned(path, element, present)? else { return Ok(()) };
        let elements = Elements::read(&mut Reader::new(&encoded)).map_err(Refusal::Cell)?;
        self.put(path, self.stamp(path), Content::Set(elements))
    }

    /// The writer's elements once `element` is there or not; nothing when it is so already.
    fn turned(
        &self,
        path: Path<'_>,
        element: Value<'_>,
        present: bool,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let mut cells = self.contents.at(path);
        let cells = Concurrent::sort(&mut cells);
        let mut union = resolve(cells, Rule::Set).union();
        let length = union.find(|(value, _)| *value == element).map_or(0, |(_, length)| length);
        if (length % 2 == 1) == present {
            return Ok(None);
        }
        let length = length.checked_add(1).ok_or(Refusal::Exhausted)?;
        let own = self.contents.parts(path, self.writer.author);
        let authors: BTreeSet<_> = cells.as_slice().iter().map(|cell| cell.author).collect();
        if own.is_empty() && authors.len() >= SET_MAX_AUTHORS {
            return Err(Refusal::Count);
        }
        let mut items: BTreeMap<Value<'_>, u16> = BTreeMap::new();
        for part in &own {
            let Content::Set(elements) = part.content else { continue };
            for (value, length) in elements.iter() {
                let held = items.entry(value).or_default();
                *held = length.max(*held);
            }
        }
        items.insert(element, length);
        let mut encoded = Vec::new();
        let items = items.iter().map(|(value, length)| (*value, *length));
        Elements::encode(items, &mut encoded).map_err(Refusal::Cell)?;
        Ok(Some(encoded))
    }
}
