//! The journal read as a file system saw it: nodes with their changes, and changes of names.
//!
//! Reading resolves file numbers to nodes and notes for each change whether a sync covered it.
//! What survives of the rest is decided elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use super::format::Op;
use super::tree::{Entry, list};

/// A file or directory, whatever it is called.
pub(super) type NodeId = usize;

/// Which name leads to which node.
pub(super) type Names = BTreeMap<Vec<u8>, NodeId>;

/// A change of a file's content or length.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    Write { offset: u64, data: &'a [u8] },
    Truncate { len: u64 },
    Allocate { len: u64 },
}

/// A file or directory.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub directory: bool,
    /// Where its first content is, for what was there at the beginning.
    pub base: Option<PathBuf>,
    pub mode: u32,
    /// Changes with the number of their operation.
    pub changes: Vec<(usize, Change<'a>)>,
    /// Changes before this operation are durable.
    pub synced_to: usize,
}

/// What happened to a name.
#[derive(Debug, Clone, Copy)]
pub(super) enum NameChange<'a> {
    Add { path: &'a [u8] },
    Move { from: &'a [u8], to: &'a [u8] },
    Remove { path: &'a [u8] },
}

/// A change of one or two directories.
#[derive(Debug)]
pub(super) struct NameOp<'a> {
    pub at: usize,
    pub change: NameChange<'a>,
    /// The node that the changed name leads to.
    pub node: NodeId,
    /// The directories whose sync makes it durable.
    parents: Vec<NodeId>,
    /// A sync of such a directory covered it.
    pub directory_synced: bool,
    /// A sync of the node itself covered it.
    pub node_synced: bool,
}

/// All of a journal up to a cut.
#[derive(Debug)]
pub(super) struct History<'a> {
    pub nodes: Vec<Node<'a>>,
    /// The names at the beginning.
    pub first: Names,
    pub name_ops: Vec<NameOp<'a>>,
    /// The names as processes saw them at the end.
    last: Names,
    numbers: HashMap<u32, NodeId>,
    process_start: usize,
}

impl<'a> History<'a> {
    /// Reads operations on top of the directory `base`.
    pub fn read(base: &Path, ops: impl Iterator<Item = Op<'a>>) -> io::Result<Self> {
        let mut history = Self::of_base(base)?;
        for (at, op) in ops.enumerate() {
            history.apply(at, op).ok_or_else(|| {
                let what = format!("operation {at} contradicts those before it: {}", brief(&op));
                io::Error::new(io::ErrorKind::InvalidData, what)
            })?;
        }
        Ok(history)
    }

    fn of_base(base: &Path) -> io::Result<Self> {
        let (mut nodes, mut first) = (Vec::new(), Names::new());
        for (path, entry) in list(base)? {
            first.insert(path, nodes.len());
            nodes.push(match entry {
                Entry::Directory { mode } => Node { directory: true, ..Node::made(mode) },
                Entry::File { source, mode } => Node { base: Some(source), ..Node::made(mode) },
            });
        }
        let last = first.clone();
        let (name_ops, numbers) = (Vec::new(), HashMap::new());
        Ok(Self { nodes, first, name_ops, last, numbers, process_start: 0 })
    }

    fn apply(&mut self, at: usize, op: Op<'a>) -> Option<()> {
        match op {
            Op::Start => {
                self.numbers.clear();
                self.process_start = at;
            }
            Op::Open { file, created, directory, mode, path } => {
                let node = if created {
                    self.add(at, path, Node::made(mode))?
                } else {
                    *self.last.get(path)?
                };
                (self.nodes[node].directory == directory).then_some(())?;
                self.numbers.insert(file, node);
            }
            Op::Write { file, offset, data } => {
                self.change(at, file, Change::Write { offset, data })?;
            }
            Op::Truncate { file, len } => self.change(at, file, Change::Truncate { len })?,
            Op::Allocate { file, len } => self.change(at, file, Change::Allocate { len })?,
            Op::Sync { file, begun } => {
                let node = *self.numbers.get(&file)?;
                self.sync(node, self.process_start + usize::try_from(begun).ok()?);
            }
            Op::Rename { from, to } => self.rename(at, from, to)?,
            Op::Link { from, to } => {
                let node = *self.last.get(from)?;
                self.last.insert(to.to_vec(), node);
                self.note(at, NameChange::Add { path: to }, node, &[to])?;
            }
            Op::Unlink { path } | Op::Rmdir { path } => {
                let node = self.last.remove(path)?;
                self.note(at, NameChange::Remove { path }, node, &[path])?;
            }
            Op::Mkdir { path } => {
                self.add(at, path, Node { directory: true, ..Node::made(0o755) })?;
            }
        }
        Some(())
    }

    fn add(&mut self, at: usize, path: &'a [u8], node: Node<'a>) -> Option<NodeId> {
        let id = self.nodes.len();
        self.nodes.push(node);
        self.last.insert(path.to_vec(), id);
        self.note(at, NameChange::Add { path }, id, &[path])?;
        Some(id)
    }

    fn rename(&mut self, at: usize, from: &'a [u8], to: &'a [u8]) -> Option<()> {
        let node = *self.last.get(from)?;
        // Between two names of one file a rename succeeds and does nothing (POSIX).
        if self.last.get(to) == Some(&node) {
            return Some(());
        }
        move_names(&mut self.last, from, to);
        self.note(at, NameChange::Move { from, to }, node, &[from, to])
    }

    fn note(
        &mut self,
        at: usize,
        change: NameChange<'a>,
        node: NodeId,
        paths: &[&[u8]],
    ) -> Option<()> {
        let parents: Option<Vec<_>> =
            paths.iter().map(|path| self.last.get(parent(path)).copied()).collect();
        self.name_ops.push(NameOp {
            at,
            change,
            node,
            parents: parents?,
            directory_synced: false,
            node_synced: false,
        });
        Some(())
    }

    fn change(&mut self, at: usize, file: u32, change: Change<'a>) -> Option<()> {
        let node = *self.numbers.get(&file)?;
        self.nodes[node].changes.push((at, change));
        Some(())
    }

    fn sync(&mut self, node: NodeId, before: usize) {
        let synced = &mut self.nodes[node].synced_to;
        *synced = before.max(*synced);
        for op in self.name_ops.iter_mut().rev().filter(|op| op.at < before) {
            op.directory_synced |= op.parents.contains(&node);
            op.node_synced |= op.node == node;
        }
    }
}

impl Node<'_> {
    fn made(mode: u32) -> Self {
        Self { directory: false, base: None, mode, changes: Vec::new(), synced_to: 0 }
    }
}

/// The directory in which a name is.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|b| *b == b'/').map_or(b"", |slash| &path[..slash])
}

/// Moves a name and, if it is a directory's, everything below it.
pub(super) fn move_names(names: &mut Names, from: &[u8], to: &[u8]) {
    let below = [from, b"/"].concat();
    let moved: Vec<_> = names
        .range(from.to_vec()..)
        .take_while(|(path, _)| path.starts_with(from))
        .filter(|(path, _)| path.as_slice() == from || path.starts_with(&below))
        .map(|(path, _)| path.clone())
        .collect();
    for path in moved {
        if let Some(node) = names.remove(&path) {
            names.insert([to, &path[from.len()..]].concat(), node);
        }
    }
}

/// An operation without its data.
fn brief(op: &Op<'_>) -> String {
    match op {
        Op::Write { file, offset, data } => {
            format!("Write {{ file: {file}, offset: {offset}, {} bytes }}", data.len())
        }
        Op::Open { file, created, path, .. } => {
            format!("Open {{ file: {file}, created: {created}, {:?} }}", path.escape_ascii())
        }
        other => format!("{other:?}"),
    }
}
