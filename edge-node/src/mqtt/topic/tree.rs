//! A tree of topics or filters by their levels.
//!
//! Under filters it tells what a topic matches, under topics which of them a filter matches. It
//! is an arena of nodes: no step recurses, and what is removed leaves nothing behind. A visit
//! follows the levels of what is looked up; where several ways go on (the level itself, `+`, `#`)
//! it follows those that exist. Each node is looked at once at most, and only if what leads to it
//! matches: a visit costs levels times matches, plus the ways that match and then come to nothing.

use super::{Filter, LEVELS_MAX, Topic, is_reserved, levels};
use std::collections::BTreeMap;

/// The index of the node above all first levels.
const ROOT: usize = 0;

#[derive(Clone, Debug)]
struct Node<T> {
    parent: usize,
    level: Box<[u8]>,
    children: BTreeMap<Box<[u8]>, usize>,
    value: Option<T>,
}

/// Values by topic or by pattern. A shared filter stands under its pattern, without its group.
#[derive(Clone, Debug)]
pub struct Tree<T> {
    nodes: Vec<Option<Node<T>>>,
    free: Vec<usize>,
    len: usize,
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        let root =
            Node { parent: ROOT, level: Box::default(), children: BTreeMap::new(), value: None };
        Self { nodes: vec![Some(root)], free: Vec::new(), len: 0 }
    }
}

impl<T> Tree<T> {
    /// One without values.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many values there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts `value` under a filter and returns what was there.
    pub fn insert_filter(&mut self, filter: &Filter, value: T) -> Option<T> {
        self.insert(filter.pattern_bytes(), value)
    }

    /// Puts `value` under a topic and returns what was there.
    pub fn insert_topic(&mut self, topic: &Topic, value: T) -> Option<T> {
        self.insert(topic.bytes(), value)
    }

    /// What is under a filter.
    #[must_use]
    pub fn get_filter(&self, filter: &Filter) -> Option<&T> {
        self.node(self.find(filter.pattern_bytes())?).value.as_ref()
    }

    /// What is under a topic.
    #[must_use]
    pub fn get_topic(&self, topic: &Topic) -> Option<&T> {
        self.node(self.find(topic.bytes())?).value.as_ref()
    }

    /// What is under a filter, to be changed.
    pub fn get_filter_mut(&mut self, filter: &Filter) -> Option<&mut T> {
        let at = self.find(filter.pattern_bytes())?;
        self.node_mut(at).value.as_mut()
    }

    /// What is under a topic, to be changed.
    pub fn get_topic_mut(&mut self, topic: &Topic) -> Option<&mut T> {
        let at = self.find(topic.bytes())?;
        self.node_mut(at).value.as_mut()
    }

    /// Takes away what is under a filter.
    pub fn remove_filter(&mut self, filter: &Filter) -> Option<T> {
        self.remove(filter.pattern_bytes())
    }

    /// Takes away what is under a topic.
    pub fn remove_topic(&mut self, topic: &Topic) -> Option<T> {
        self.remove(topic.bytes())
    }

    /// Visits the values of all filters that match `topic`, in no particular order.
    pub fn matching<'a>(&'a self, topic: &Topic, mut visit: impl FnMut(&'a T)) {
        let topic = topic.bytes();
        let levels: Vec<&[u8]> = levels(topic).collect();
        let mut open = vec![(ROOT, 0)];
        while let Some((at, depth)) = open.pop() {
            let node = self.node(at);
            let wild = depth > 0 || !is_reserved(topic);
            let child = |level: &[u8]| node.children.get(level).copied();
            if let Some(rest) = child(b"#").filter(|_| wild) {
                visit_value(self.node(rest), &mut visit);
            }
            let Some(level) = levels.get(depth) else {
                visit_value(node, &mut visit);
                continue;
            };
            let any = child(b"+").filter(|_| wild);
            open.extend(any.into_iter().chain(child(level)).map(|next| (next, depth + 1)));
        }
    }

    /// Visits the values of all topics that `filter` matches, in no particular order.
    pub fn matched_by<'a>(&'a self, filter: &Filter, mut visit: impl FnMut(&'a T)) {
        let pattern: Vec<&[u8]> = levels(filter.pattern_bytes()).collect();
        let mut open = vec![(ROOT, 0)];
        while let Some((at, depth)) = open.pop() {
            let node = self.node(at);
            let children = node.children.iter();
            let unreserved = children.filter(|(level, _)| depth > 0 || !is_reserved(level));
            match pattern.get(depth.min(pattern.len() - 1)) {
                Some(&b"#") => {
                    visit_value(node, &mut visit);
                    open.extend(unreserved.map(|(_, next)| (*next, depth + 1)));
                }
                _ if depth == pattern.len() => visit_value(node, &mut visit),
                Some(&b"+") => open.extend(unreserved.map(|(_, next)| (*next, depth + 1))),
                Some(level) => {
                    open.extend(node.children.get(*level).map(|next| (*next, depth + 1)));
                }
                None => unreachable!("a pattern has at least one level"),
            }
        }
    }

    fn node(&self, at: usize) -> &Node<T> {
        self.nodes[at].as_ref().expect("whoever points to a node keeps it")
    }

    fn node_mut(&mut self, at: usize) -> &mut Node<T> {
        self.nodes[at].as_mut().expect("whoever points to a node keeps it")
    }

    fn find(&self, text: &[u8]) -> Option<usize> {
        levels(text).try_fold(ROOT, |at, level| self.node(at).children.get(level).copied())
    }

    fn insert(&mut self, text: &[u8], value: T) -> Option<T> {
        debug_assert!(levels(text).count() <= LEVELS_MAX, "checked when it was made");
        let mut at = ROOT;
        for level in levels(text) {
            at = match self.node(at).children.get(level) {
                Some(next) => *next,
                None => self.grow(at, level),
            };
        }
        let replaced = self.node_mut(at).value.replace(value);
        self.len += usize::from(replaced.is_none());
        replaced
    }

    fn grow(&mut self, parent: usize, level: &[u8]) -> usize {
        let level: Box<[u8]> = level.into();
        let name = level.clone();
        let node = Some(Node { parent, level, children: BTreeMap::new(), value: None });
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        self.node_mut(parent).children.insert(name, at);
        at
    }

    fn remove(&mut self, text: &[u8]) -> Option<T> {
        let mut at = self.find(text)?;
        let removed = self.node_mut(at).value.take()?;
        self.len -= 1;
        while at != ROOT && self.node(at).value.is_none() && self.node(at).children.is_empty() {
            let node = self.nodes[at].take().expect("it was just looked at");
            self.node_mut(node.parent).children.remove(&node.level);
            self.free.push(at);
            at = node.parent;
        }
        Some(removed)
    }
}

#[cfg(test)]
impl<T> Tree<T> {
    /// Nodes that were ever in use at a time, the root included, and how many of them are free.
    pub(super) fn allocated(&self) -> (usize, usize) {
        (self.nodes.len(), self.free.len())
    }
}

fn visit_value<'a, T>(node: &'a Node<T>, visit: &mut impl FnMut(&'a T)) {
    if let Some(value) = &node.value {
        visit(value);
    }
}
