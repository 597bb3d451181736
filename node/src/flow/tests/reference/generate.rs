//! Definitions drawn from a seed: small ones, with every step and every type in them.
//!
//! They are written as text, so that they go through the parser as well. What is written is meant
//! to be accepted: the writer knows which variables there are, of which kind, and which have a
//! value on every way. What it does not know about (registers, branches at once) it leaves to the
//! compiler to refuse.

use super::expressions;
use crate::flow::expression::typed::Kind;

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit as u64) as usize
    }

    /// Whether something is done that is done so many times in a hundred.
    pub(super) fn often(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// A variable, and whether it has a value on every way that leads here.
#[derive(Clone, Debug)]
pub(super) struct Var {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) set: bool,
}

/// Where steps stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    pub(super) pad: usize,
    pub(super) depth: usize,
    pub(super) whose: Whose,
    /// Nothing in it can be undone.
    pub(super) repeated: bool,
    /// It stands in the image several times.
    pub(super) copied: bool,
    pub(super) caught: bool,
    /// It may end here, and not go on.
    pub(super) ends: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Run,
    Branch,
    Undo,
}

impl Around {
    pub(super) const fn deeper(self, pad: usize) -> Self {
        Self { pad: self.pad + pad, depth: self.depth + 1, ..self }
    }
}

pub(super) const KINDS: [Kind; 6] =
    [Kind::Int, Kind::Decimal, Kind::Bool, Kind::Text, Kind::Duration, Kind::Time];
const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "k", "m", "n", "w"];
pub(super) const ERRORS: [&str; 11] = [
    "dry",
    "full",
    "timeout",
    "late",
    "busy",
    "refused",
    "overflow",
    "division-by-zero",
    "text-too-long",
    "missing",
    "in-doubt",
];
pub(super) const LENGTHS: [&str; 8] = ["0s", "3ms", "10ms", "700ms", "1s", "30s", "10m", "40m"];
/// Steps of a definition, about.
const STEPS: usize = 22;

/// What writes a definition.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) random: Random,
    out: String,
    pub(super) vars: Vec<Var>,
    left: usize,
    pub(super) labels: usize,
    signals: Vec<(String, Vec<(String, Kind)>)>,
}

/// A text as YAML has it.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The definition of a seed.
pub(super) fn definition(random: Random) -> String {
    let mut writer = Writer {
        random,
        out: "workflow: drawn\nversion: \"1\"\nerrors: [dry, full]\n".to_owned(),
        vars: Vec::new(),
        left: 0,
        labels: 0,
        signals: Vec::new(),
    };
    writer.left = 3 + writer.random.below(STEPS);
    let left = writer.head();
    let around = Around {
        pad: 2,
        depth: 0,
        whose: Whose::Run,
        repeated: false,
        copied: false,
        caught: false,
        ends: true,
    };
    writer.line(0, "steps:");
    writer.line(2, "- let:");
    for (name, kind) in left {
        let expr = writer.expr(kind, 1, around);
        writer.line(6, &format!("{name}: {expr}"));
        writer.declare(name, kind, true);
    }
    let mut goes_on = true;
    while goes_on && writer.left > 0 {
        goes_on = writer.step(around);
    }
    writer.out
}

impl Writer {
    /// All but the steps; what the run leaves is to be set at the beginning.
    fn head(&mut self) -> Vec<(&'static str, Kind)> {
        let lasts = self.random.pick(&["30d", "30d", "30d", "1h", "90s", "forever"]);
        let unhandled = self.random.pick(&["fail", "park"]);
        self.line(0, &format!("lasts: {lasts}\nunhandled: {unhandled}"));
        let count = self.random.below(4);
        if count > 0 {
            self.line(0, "input:");
        }
        for name in ["in0", "in1", "in2"].into_iter().take(count) {
            let kind = self.random.pick(&KINDS);
            let field = self.field(kind);
            self.line(2, &format!("{name}: {field}"));
            self.declare(name, kind, true);
        }
        let count = self.random.below(3);
        if count > 0 {
            self.line(0, "signals:");
        }
        for name in ["ready", "stop"].into_iter().take(count) {
            let mut fields = Vec::new();
            let mut texts = Vec::new();
            for field in ["by", "why"].into_iter().take(self.random.below(3)) {
                let kind = self.random.pick(&KINDS);
                texts.push(format!("{field}: {}", self.field(kind)));
                let called = format!("{name}.{field}");
                self.declare(&called, kind, false);
                fields.push((called, kind));
            }
            self.line(2, &format!("{name}: {{{}}}", texts.join(", ")));
            self.signals.push((name.to_owned(), fields));
        }
        let mut left = Vec::new();
        for name in ["left", "right"] {
            left.push((name, self.random.pick(&KINDS)));
        }
        let text = self.random.pick(&["left", "min(left, left)", "text(left)", "left"]);
        let text = if left[0].1 == Kind::Text || left[0].1 == Kind::Bool { "left" } else { text };
        self.line(0, &format!("output: {{first: \"{text}\", second: right}}"));
        left
    }

    /// A type, or a type with a default.
    pub(super) fn field(&mut self, kind: Kind) -> String {
        if self.random.often(60) {
            return kind.name().to_owned();
        }
        format!("{{type: {}, default: {}}}", kind.name(), self.plain(kind))
    }

    /// A value as it stands in YAML.
    fn plain(&mut self, kind: Kind) -> String {
        let all: &[&str] = match kind {
            Kind::Int => &["0", "7", "-3"],
            Kind::Decimal => &["0.5", "-2.25", "3"],
            Kind::Bool => &["true", "false"],
            Kind::Text => &["none", "\"a\\\"b\"", "\"\""],
            Kind::Duration => &["90s", "0s"],
            Kind::Time => &["\"1970-01-01T00:30:00Z\""],
        };
        self.random.pick(all).to_owned()
    }

    pub(super) fn line(&mut self, pad: usize, text: &str) {
        self.out.push_str(&" ".repeat(pad));
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn declare(&mut self, name: &str, kind: Kind, set: bool) {
        self.vars.push(Var { name: name.to_owned(), kind, set });
    }

    /// Something gets a value: a variable that there is, or a new one of this kind.
    pub(super) fn target(&mut self, kind: Kind) -> (usize, Kind) {
        let name = if self.random.often(15) { "left" } else { self.random.pick(&NAMES) };
        let known = self.vars.iter().rposition(|var| var.name == name);
        let at = known.unwrap_or_else(|| {
            self.declare(name, kind, false);
            self.vars.len() - 1
        });
        (at, self.vars[at].kind)
    }

    pub(super) fn flags(&self) -> Vec<bool> {
        self.vars.iter().map(|var| var.set).collect()
    }

    /// What has a value is what has one on all of these ways.
    fn meet(&mut self, ways: &[Vec<bool>]) {
        for (index, var) in self.vars.iter_mut().enumerate() {
            var.set = ways.iter().all(|way| way.get(index).copied().unwrap_or(false));
        }
    }

    fn expr(&mut self, kind: Kind, depth: usize, around: Around) -> String {
        quoted(&expressions::draw(self, kind, depth, around))
    }

    /// Some steps; whether the way goes on behind them.
    pub(super) fn steps(&mut self, around: Around) -> bool {
        for round in 0..1 + self.random.below(3) {
            if round > 0 && self.left == 0 {
                break;
            }
            if !self.step(around) {
                return false;
            }
        }
        true
    }

    fn step(&mut self, around: Around) -> bool {
        self.left = self.left.saturating_sub(1);
        let flat = around.depth >= 4 || self.left == 0;
        match self.random.below(if flat { 56 } else { 100 }) {
            0..16 => self.assign(around),
            16..38 => return self.effect(around),
            38..46 => return self.wait(around),
            46..53 => return self.wait_for(around),
            53..56 if around.ends && (around.depth > 0 || self.left == 0) => {
                return self.end(around);
            }
            53..56 => self.assign(around),
            56..66 => return self.choose(around),
            66..73 => self.repeat(around),
            73..84 => return self.attempt(around),
            84..91 => return self.each(around),
            91..98 if around.whose != Whose::Undo => self.parallel(around),
            98.. if around.ends && (around.depth > 1 || self.left < 4) => {
                return self.forever(around);
            }
            _ => return self.attempt(around),
        }
        true
    }

    fn assign(&mut self, around: Around) {
        self.line(around.pad, "- let:");
        let mut written: Vec<usize> = Vec::new();
        for _ in 0..1 + self.random.below(2) {
            let kind = self.random.pick(&KINDS);
            let begun = self.vars.len();
            let (at, kind) = self.target(kind);
            if written.contains(&at) {
                continue;
            }
            // It is not there yet in the expression with which it begins.
            let is_new = self.vars.len() > begun;
            let var = is_new.then(|| self.vars.remove(at));
            let expr = self.expr(kind, 3, around);
            self.vars.extend(var);
            let name = self.vars[at].name.clone();
            self.line(around.pad + 4, &format!("{name}: {expr}"));
            self.vars[at].set = true;
            written.push(at);
        }
    }

    /// What a scope of its own has begins and ends with it.
    pub(super) fn scope<T>(
        &mut self,
        items: &[(String, Kind)],
        write: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let (count, flags) = (self.vars.len(), self.flags());
        for (name, kind) in items {
            self.declare(name, *kind, true);
        }
        let out = write(self);
        self.vars.truncate(count);
        self.meet(&[flags]);
        out
    }

    /// Clauses, so many times in a hundred; whether the way goes on behind the step.
    pub(super) fn catches(
        &mut self,
        percent: usize,
        start: &[bool],
        goes_on: bool,
        around: Around,
    ) -> bool {
        if !self.random.often(percent) {
            return goes_on;
        }
        let mut ways: Vec<_> = goes_on.then(|| self.flags()).into_iter().collect();
        self.line(around.pad + 2, "catch:");
        for _ in 0..1 + self.random.below(2) {
            let on = self.errors();
            self.line(around.pad + 4, &format!("- on: {on}"));
            self.meet(&[start.to_vec()]);
            let around = Around { caught: true, ..around.deeper(8) };
            if self.random.often(20) {
                self.line(around.pad - 2, "do: []");
                ways.push(self.flags());
                continue;
            }
            self.line(around.pad - 2, "do:");
            if self.steps(around) {
                ways.push(self.flags());
            }
        }
        self.meet(&ways);
        !ways.is_empty()
    }

    fn late(&mut self, around: Around) {
        if self.random.often(45) {
            let over = self.random.pick(&["0s", "1s", "1m"]);
            let then = self.random.pick(&["fire", "skip", "restart"]);
            self.line(around.pad + 2, &format!("late: {{if_over: {over}, then: {then}}}"));
        }
    }

    /// A length of time, as it stands or computed.
    fn length(&mut self, around: Around) -> String {
        if self.random.often(60) {
            return self.random.pick(&LENGTHS).to_owned();
        }
        self.expr(Kind::Duration, 2, around)
    }

    fn wait(&mut self, around: Around) -> bool {
        let start = self.flags();
        if self.random.often(65) {
            let length = self.length(around);
            self.line(around.pad, &format!("- wait: {length}"));
        } else {
            let time = match self.random.below(4) {
                0 => "1970-01-01T01:00:00Z".to_owned(),
                1 => self.expr(Kind::Time, 2, around),
                _ => quoted("now() + duration('20s')"),
            };
            self.line(around.pad, &format!("- wait_until: {time}"));
        }
        self.late(around);
        self.label(around);
        self.catches(35, &start, true, around)
    }

    fn wait_for(&mut self, around: Around) -> bool {
        let (start, mut fields) = (self.flags(), Vec::new());
        if !self.signals.is_empty() && self.random.often(80) {
            let index = self.random.below(self.signals.len());
            let name = self.signals[index].0.clone();
            fields.clone_from(&self.signals[index].1);
            self.line(around.pad, &format!("- wait_for: {name}"));
        } else if !around.copied {
            let test = self.random.pick(&["above: 3.0", "below: 2", "equals: 1", "silent: 15m"]);
            let condition = format!("{{device: ps-1, metric: level, {test}}}");
            self.line(around.pad, &format!("- wait_for: {condition}"));
        } else {
            return self.wait(around);
        }
        if self.random.often(60) {
            let within = self.length(around);
            self.line(around.pad + 2, &format!("within: {within}"));
        }
        self.label(around);
        for var in &mut self.vars {
            var.set |= fields.iter().any(|(name, _)| *name == var.name);
        }
        self.catches(40, &start, true, around)
    }

    fn end(&mut self, around: Around) -> bool {
        if around.whose == Whose::Run && self.random.often(25) {
            self.line(around.pad, "- succeed: true");
        } else {
            let error = self.random.pick(&ERRORS);
            self.line(around.pad, &format!("- fail: {error}"));
        }
        false
    }

    fn choose(&mut self, around: Around) -> bool {
        let (start, mut ways) = (self.flags(), Vec::new());
        self.line(around.pad, "- choose:");
        let inner = around.deeper(8);
        for _ in 0..1 + self.random.below(2) {
            let condition = self.expr(Kind::Bool, 2, around);
            self.line(around.pad + 4, &format!("- if: {condition}"));
            self.line(around.pad + 6, "do:");
            if self.steps(inner) {
                ways.push(self.flags());
            }
            self.meet(std::slice::from_ref(&start));
        }
        if self.random.often(50) {
            self.line(around.pad + 4, "- else:");
            if self.steps(inner) {
                ways.push(self.flags());
            }
        } else {
            ways.push(start);
        }
        self.meet(&ways);
        !ways.is_empty()
    }

    fn repeat(&mut self, around: Around) {
        let (at_most, start) = (1 + self.random.below(4), self.flags());
        let checks = self.random.often(65);
        if checks {
            let condition = self.expr(Kind::Bool, 2, around);
            self.line(around.pad, "- repeat:");
            self.line(
                around.pad + 4,
                &format!("at_most: {at_most}\n{}while: {condition}", " ".repeat(around.pad + 4)),
            );
        } else {
            self.line(around.pad, &format!("- repeat: {{at_most: {at_most}}}"));
        }
        self.line(around.pad + 2, "do:");
        let repeated = around.repeated || at_most > 1;
        let inner = Around { repeated, ends: around.ends && checks, ..around.deeper(4) };
        if !self.steps(inner) || checks {
            self.meet(&[start]);
        }
    }

    fn attempt(&mut self, around: Around) -> bool {
        let start = self.flags();
        self.line(around.pad, "- try:");
        let goes_on = self.steps(around.deeper(4));
        self.catches(100, &start, goes_on, around)
    }

    fn each(&mut self, around: Around) -> bool {
        let texts = ["x", "y", "zz"];
        let numbers = ["1", "2", "3"];
        let decimals = ["0.5", "2", "-1.25"];
        let maps = ["{name: p, n: 4}", "{name: q, n: 5}", "{name: r, n: 6}"];
        let (all, fields) = match self.random.below(4) {
            0 => (texts, vec![("it".to_owned(), Kind::Text)]),
            1 => (numbers, vec![("it".to_owned(), Kind::Int)]),
            2 => (decimals, vec![("it".to_owned(), Kind::Decimal)]),
            _ => (maps, vec![("it.name".to_owned(), Kind::Text), ("it.n".to_owned(), Kind::Int)]),
        };
        let count = 1 + self.random.below(3);
        let at_once = match around.whose {
            Whose::Undo => 1,
            _ => 1 + self.random.below(3),
        };
        let items = all[..count].join(", ");
        let (branches, start) = (count.min(at_once), self.flags());
        // An item that begins in another one is called the same, which is another variable.
        self.line(around.pad, &format!("- each: {{in: [{items}], as: it, at_once: {at_once}}}"));
        self.line(around.pad + 2, "do:");
        let alone = branches == 1;
        let inner = Around {
            whose: if alone { around.whose } else { Whose::Branch },
            repeated: around.repeated || branches < count,
            copied: around.copied || !alone,
            ends: around.ends && (!alone || count == 1),
            ..around.deeper(4)
        };
        let mut way = Vec::new();
        let goes_on = self.scope(&fields, |writer| {
            let goes_on = writer.steps(inner);
            way = writer.flags();
            goes_on
        });
        self.meet(&[if alone { way } else { start }]);
        goes_on || !alone
    }

    fn parallel(&mut self, around: Around) {
        let start = self.flags();
        self.line(around.pad, "- parallel:");
        let inner = Around { whose: Whose::Branch, ends: true, ..around.deeper(6) };
        for _ in 0..1 + self.random.below(3) {
            if self.random.often(4) {
                self.line(around.pad + 4, "- []");
                continue;
            }
            self.line(around.pad + 4, "-");
            self.scope(&[], |writer| writer.steps(inner));
        }
        self.label(around);
        self.meet(&[start]);
    }

    fn forever(&mut self, around: Around) -> bool {
        self.line(around.pad, "- forever:");
        let inner = Around { repeated: true, ..around.deeper(4) };
        let length = self.random.pick(&LENGTHS);
        self.line(inner.pad, &format!("- wait: {length}"));
        self.steps(inner);
        false
    }
}
