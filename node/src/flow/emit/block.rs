//! Code in blocks: the run, each branch and each undoing has one of its own.
//!
//! Places within a block are labels until all is written. Then the blocks stand one behind the
//! other, those that begin others first, as the verifier wants them.

use super::super::diagnostic::Place;
use holdfast_core::codec::Sink;
use holdfast_core::flow::draft::Draft;
use holdfast_core::flow::image::{Handler, Part};
use holdfast_core::flow::{Code as Error, Op, Pc, Reg};

/// A place in a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

/// An operation whose places are not known yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Code {
    Op(Op),
    Jump(Label),
    JumpIf(Reg, Label),
    JumpIfNot(Reg, Label),
    Again { counter: u8, to: Label, limit: u16 },
    Fork { block: usize, fibers: u8, undos: u8 },
    Guard { block: usize },
}

#[derive(Debug, Default)]
struct Block {
    code: Vec<(Code, Place)>,
    labels: Vec<usize>,
    handlers: Vec<(usize, usize, Label, Error)>,
    /// Places that are called something.
    marks: Vec<(usize, String)>,
}

/// All blocks, and the one that is written.
#[derive(Debug)]
pub(super) struct Program {
    blocks: Vec<Block>,
    current: usize,
}

impl Program {
    pub(super) fn new() -> Self {
        Self { blocks: vec![Block::default()], current: 0 }
    }

    fn block(&mut self) -> &mut Block {
        &mut self.blocks[self.current]
    }

    /// Begins another block, and gives it and the one that was written.
    pub(super) fn begin(&mut self) -> (usize, usize) {
        let before = self.current;
        self.blocks.push(Block::default());
        self.current = self.blocks.len() - 1;
        (self.current, before)
    }

    /// Goes on with a block that was left.
    pub(super) const fn resume(&mut self, block: usize) {
        self.current = block;
    }

    pub(super) fn push(&mut self, code: Code, place: Place) {
        self.block().code.push((code, place));
    }

    /// How many operations the block has.
    pub(super) fn here(&self) -> usize {
        self.blocks[self.current].code.len()
    }

    /// How many operations there are in all.
    pub(super) fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.code.len()).sum()
    }

    /// A label whose place is not known yet.
    pub(super) fn label(&mut self) -> Label {
        let labels = &mut self.block().labels;
        labels.push(usize::MAX);
        Label(labels.len() - 1)
    }

    /// The label stands here.
    pub(super) fn put(&mut self, label: Label) {
        let here = self.here();
        self.block().labels[label.0] = here;
    }

    /// Errors from `from` up to `end` lead to the label.
    pub(super) fn handle(&mut self, from: usize, end: usize, to: Label, error: Error) {
        if from < end {
            self.block().handlers.push((from, end - 1, to, error));
        }
    }

    pub(super) fn handlers(&self) -> usize {
        self.blocks.iter().map(|block| block.handlers.len()).sum()
    }

    /// The operation that comes next is called so.
    pub(super) fn mark(&mut self, name: String) {
        let here = self.here();
        self.block().marks.push((here, name));
    }

    /// Writes the code, its handlers, its labels and where it comes from.
    pub(super) fn lay_out(&self, draft: &mut Draft) {
        let mut starts = vec![0];
        for block in &self.blocks {
            starts.push(starts[starts.len() - 1] + block.code.len());
        }
        let pc = |at: usize| Pc::try_from(at).unwrap_or(Pc::MAX);
        let mut lines = Lines::default();
        for (block, start) in self.blocks.iter().zip(&starts) {
            let to = |label: Label| pc(start + block.labels[label.0]);
            for (code, place) in &block.code {
                lines.put(&mut draft.parts[Part::Lines as usize], draft.ops.len(), *place);
                draft.push(match *code {
                    Code::Op(op) => op,
                    Code::Jump(label) => Op::Jump { to: to(label) },
                    Code::JumpIf(a, label) => Op::JumpIf { a, to: to(label) },
                    Code::JumpIfNot(a, label) => Op::JumpIfNot { a, to: to(label) },
                    Code::Again { counter, to: label, limit } => {
                        Op::Again { counter, to: to(label), limit }
                    }
                    Code::Fork { block, fibers, undos } => {
                        Op::Fork { to: pc(starts[block]), fibers, undos }
                    }
                    Code::Guard { block } => Op::Guard { to: pc(starts[block]) },
                });
            }
            let handlers = block.handlers.iter().map(|(from, last, label, error)| Handler {
                from: pc(start + from),
                last: pc(start + last),
                to: to(*label),
                error: *error,
            });
            draft.handlers.extend(handlers);
            for (at, name) in &block.marks {
                draft.label(pc(start + at), name);
            }
        }
    }
}

/// Where operations come from, each place once.
#[derive(Default)]
struct Lines {
    last: usize,
    place: Option<Place>,
}

impl Lines {
    fn put(&mut self, part: &mut Vec<u8>, at: usize, place: Place) {
        if self.place == Some(place) {
            return;
        }
        // A vector takes whatever comes.
        let _ = part.put_uint((at - self.last) as u64);
        let _ = part.put_uint(u64::from(place.line));
        let _ = part.put_uint(u64::from(place.column));
        (self.last, self.place) = (at, Some(place));
    }
}
