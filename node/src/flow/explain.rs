//! An image in words: what a node that runs it will do, from the image alone.
//!
//! The outline follows the operations. Those that compute are told as the variables that they set;
//! branches and undoings stand indented below the operation that begins them. Every operation
//! belongs to one line, so that it can be told of a run where it stands. The same image has the
//! same words.

use super::begins::begins_with;
use super::duration;
use holdfast_core::Reject;
use holdfast_core::flow::about::About;
use holdfast_core::flow::effect::{Effect, Piece, put_number};
use holdfast_core::flow::field::{Default, Field};
use holdfast_core::flow::image::{Image, Named, PARKS, Part, Retry, Type};
use holdfast_core::flow::memory::bytes_of;
use holdfast_core::flow::op::Late;
use holdfast_core::flow::signal::{Signal, Source, Word, signal};
use holdfast_core::flow::verify::{Place, Tier, fuel_of, verify};
use holdfast_core::flow::{Code, Op, Pc, Slot};
use std::fmt::{self, Write as _};

/// Tells what is in an image.
///
/// # Errors
/// Why it is none that a node would accept, in a sentence.
pub fn explain(bytes: &[u8]) -> Result<String, String> {
    let ops = Image::parse(bytes).map_or(0, |image| usize::from(image.counts.ops));
    let mut places = vec![Place::NOWHERE; ops];
    let image =
        verify(bytes, &Tier::NODE, &mut places).map_err(|rejection| rejection.to_string())?;
    let about =
        About::read(image.part(Part::About)).map_err(|reject: Reject| reject.to_string())?;
    Ok(Outline::of(&image, &about, bytes.len()).to_string())
}

/// A line of an outline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// How far it is indented.
    pub depth: usize,
    /// The line of the source; 0 where the image does not say.
    pub line: u32,
    /// What is done there.
    pub text: String,
    /// The line of the outline with which it goes on, where nothing fails.
    pub next: Option<usize>,
}

/// What a workflow does, line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// What it is called.
    pub title: String,
    /// What holds for all of it: a word, and what is so.
    pub head: Vec<(&'static str, String)>,
    /// Its steps.
    pub lines: Vec<Told>,
    /// Of each operation, the line to which it belongs.
    places: Vec<Option<usize>>,
}

impl Outline {
    /// The outline of an image that was verified.
    #[must_use]
    pub fn of(image: &Image<'_>, about: &About<'_>, bytes: usize) -> Self {
        let places = vec![None; usize::from(image.counts.ops)];
        let out = Self { title: String::new(), head: Vec::new(), lines: Vec::new(), places };
        let mut walk = Walk { image, out, untold: Vec::new() };
        walk.head(about, bytes);
        walk.code(0, 0);
        walk.follow();
        walk.out
    }

    /// The line to which an operation belongs.
    #[must_use]
    pub fn place(&self, pc: Pc) -> Option<usize> {
        self.places.get(usize::from(pc)).copied().flatten()
    }
}

impl fmt::Display for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for (word, text) in &self.head {
            writeln!(f, "  {word:<12} {text}")?;
        }
        writeln!(f, "steps")?;
        for Told { depth, line, text, .. } in &self.lines {
            writeln!(f, "{line:>5}  {}{text}", "  ".repeat(*depth))?;
        }
        Ok(())
    }
}

struct Walk<'a> {
    image: &'a Image<'a>,
    out: Outline,
    /// Operations that belong to the line that comes next.
    untold: Vec<Pc>,
}

impl Walk<'_> {
    fn head(&mut self, about: &About<'_>, bytes: usize) {
        let image = self.image;
        let About { id, version, title, placement, concurrent, overlap, priority } = *about;
        let title = if title.is_empty() { String::new() } else { format!(": {title}") };
        self.out.title = format!("{id} version {version}{title}");
        let (placement, overlap) = (placement.name(), overlap.name());
        let lasts = match image.lasts_s {
            0 => "for ever".to_owned(),
            seconds => duration::shown(u64::from(seconds) * 1_000),
        };
        let parks = image.flags & PARKS != 0;
        let unhandled = if parks { "waits for a person" } else { "ends the run" };
        let fields = |fields: Vec<String>| match fields.is_empty() {
            true => "nothing".to_owned(),
            false => fields.join(", "),
        };
        let inputs = fields(image.inputs().map(|field| self.field(&field)).collect());
        let outputs = fields(image.outputs().map(|field| self.field(&field)).collect());
        let signals = (0..image.sizes.signals).filter_map(|index| signal(image, index));
        let signals: Vec<_> = signals.map(|known| ("signal", self.signal(&known))).collect();
        let begins = image.triggers().map(|(_, trigger)| begins_with(&trigger, image));
        let begins: Vec<_> = begins.map(|words| ("begins at", words)).collect();
        let sizes = image.sizes;
        let (numbers, texts) = (sizes.numbers, sizes.texts);
        let (branches, undos) = (sizes.fibers - 1, sizes.undos);
        let memory = format!(
            "{} bytes: {numbers} numbers, {texts} texts, {branches} branches, {undos} undo places",
            bytes_of(sizes)
        );
        let (ops, fuel) = (image.counts.ops, fuel_of(image));
        let head = &mut self.out.head;
        head.push((
            "runs on",
            format!("{placement}, at most {concurrent} at once, then {overlap}"),
        ));
        head.push(("lasts", format!("{lasts}; priority {priority}")));
        head.push(("unhandled", unhandled.to_owned()));
        head.push(("is given", inputs));
        head.push(("leaves", outputs));
        head.extend(begins);
        head.extend(signals);
        head.push(("memory", memory));
        head.push(("image", format!("{bytes} bytes, {ops} operations")));
        head.push(("longest turn", format!("{fuel} operations")));
    }

    /// Says of each line with which one it goes on.
    fn follow(&mut self) {
        let ops = self.image.counts.ops;
        // A jump ahead is told by no line: who stands there is on the way to where it leads.
        for pc in (0..ops).rev() {
            if let Some(to) = self.ahead(pc) {
                self.out.places[usize::from(pc)] = self.out.place(to);
            }
        }
        for pc in 0..ops {
            let (Some(place), Some(op)) = (self.out.place(pc), self.image.op(pc)) else { continue };
            if self.ahead(pc).is_some() {
                continue;
            }
            let next = match op {
                Op::End | Op::Succeed | Op::Fail { .. } | Op::Rethrow | Op::Undone => None,
                Op::Jump { to } => Some(to),
                _ => (pc + 1..ops).find(|pc| !matches!(self.image.op(*pc), Some(Op::Guard { .. }))),
            };
            let next = next.and_then(|pc| self.out.place(pc));
            self.out.lines[place].next = next.filter(|next| *next != place);
        }
    }

    fn ahead(&self, pc: Pc) -> Option<Pc> {
        match self.image.op(pc) {
            Some(Op::Jump { to }) if to > pc => Some(to),
            _ => None,
        }
    }

    fn field(&self, field: &Field<'_>) -> String {
        let kind = match field.slot {
            Slot::Text(_) => "text",
            Slot::Number(reg) => self.image.type_of(reg).map_or("?", Type::name),
        };
        let default = match (field.default, field.slot) {
            (Some(Default::Text(text)), _) => format!(" = \"{text}\""),
            (Some(Default::Number(number)), Slot::Number(reg)) => {
                format!(" = {}", self.number(reg, number))
            }
            _ => String::new(),
        };
        format!("{}: {kind}{default}", field.name)
    }

    fn number(&self, reg: u8, number: i64) -> String {
        let of = self.image.type_of(reg).unwrap_or(Type::Int);
        let mut bytes = Vec::new();
        // A vector takes whatever comes.
        let _ = put_number(&mut bytes, of, number);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn signal(&self, signal: &Signal<'_>) -> String {
        let word = |word: Word<'_>| match word {
            Word::Literal(text) => text.to_owned(),
            Word::Register(reg) => format!("${{{}}}", self.name(Slot::Text(reg))),
        };
        let from = match signal.source {
            Source::Outside => "from outside".to_owned(),
            Source::Condition { device, metric, rule } => {
                let hold = match rule.hold_ns {
                    0 => String::new(),
                    ns => format!(" for {}", duration::shown(ns.unsigned_abs() / 1_000_000)),
                };
                format!("device {}, metric {}{hold}", word(device), word(metric))
            }
        };
        let values: Vec<_> = signal.values.map(|field| self.field(&field)).collect();
        let brings = match values.is_empty() {
            true => String::new(),
            false => format!(", brings {}", values.join(", ")),
        };
        format!("{}: {from}{brings}", signal.name)
    }

    /// What a register is called, or its number.
    fn name(&self, slot: Slot) -> String {
        let mut names = self.image.names();
        let found = names.find(|(named, _)| *named == Named::Slot(slot));
        match (found, slot) {
            (Some((_, name)), _) => name.to_owned(),
            (None, Slot::Number(reg)) => format!("n{reg}"),
            (None, Slot::Text(reg)) => format!("t{reg}"),
        }
    }

    /// A variable that an operation sets; what is only computed with has no name.
    fn sets(&self, op: Op) -> Option<String> {
        let slot = match op {
            Op::Set { d, .. }
            | Op::Const { d, .. }
            | Op::Move { d, .. }
            | Op::Math { d, .. }
            | Op::Change { d, .. }
            | Op::Compare { d, .. }
            | Op::Not { d, .. }
            | Op::And { d, .. }
            | Op::Or { d, .. }
            | Op::Now { d }
            | Op::Caught { d }
            | Op::Pick { d, .. }
            | Op::TextCompare { d, .. }
            | Op::TextFind { d, .. }
            | Op::TextLen { d, .. } => Slot::Number(d),
            Op::TextConst { d, .. }
            | Op::TextMove { d, .. }
            | Op::TextJoin { d, .. }
            | Op::TextOf { d, .. }
            | Op::TextPick { d, .. } => Slot::Text(d),
            _ => return None,
        };
        let mut names = self.image.names();
        let name = names.find(|(named, _)| *named == Named::Slot(slot)).map(|(_, name)| name);
        name.map(str::to_owned)
    }

    /// The operations of one context, from where it begins to where another one does.
    fn code(&mut self, from: Pc, depth: usize) {
        let begins: Vec<_> = (0..self.image.counts.ops)
            .filter_map(|pc| match self.image.op(pc)? {
                Op::Fork { to, .. } | Op::Guard { to } => Some(to),
                _ => None,
            })
            .collect();
        let end = begins.iter().copied().filter(|pc| *pc > from).min();
        let end = end.unwrap_or(self.image.counts.ops);
        let mut set: Vec<String> = Vec::new();
        let mut last = None;
        for pc in from..end {
            let Some(op) = self.image.op(pc) else { return };
            let place = self.image.line_of(pc);
            if place != last {
                self.put_set(&mut set, last, depth);
                last = place;
            }
            for handler in self.image.handlers().filter(|handler| handler.to == pc) {
                let error = match handler.error {
                    Code::NONE => "any error",
                    code => self.image.error_name(code).unwrap_or("an error"),
                };
                let [from, last] = [handler.from, handler.last].map(|pc| self.line_number(pc));
                let text = match from == last {
                    true => format!("after {error} of line {from}:"),
                    false => format!("after {error} of lines {from} to {last}:"),
                };
                self.put(place, depth, &text);
            }
            if let Some(name) = self.sets(op) {
                self.untold.push(pc);
                if !set.contains(&name) {
                    set.push(name);
                }
                continue;
            }
            let Some(words) = self.op(pc, op) else {
                if self.ahead(pc).is_none() {
                    self.untold.push(pc);
                }
                continue;
            };
            self.put_set(&mut set, place, depth);
            self.untold.push(pc);
            self.put(place, depth, &words);
            if let Op::Fork { to, .. } | Op::Guard { to } = op {
                self.code(to, depth + 1);
            }
        }
        self.put_set(&mut set, last, depth);
    }

    fn put_set(&mut self, set: &mut Vec<String>, place: Option<(u32, u32)>, depth: usize) {
        if !set.is_empty() {
            let text = format!("sets {}", set.join(", "));
            self.put(place, depth, &text);
            set.clear();
        }
    }

    fn put(&mut self, place: Option<(u32, u32)>, depth: usize, text: &str) {
        let line = place.map_or(0, |(line, _)| line);
        for pc in self.untold.drain(..) {
            self.out.places[usize::from(pc)] = Some(self.out.lines.len());
        }
        self.out.lines.push(Told { depth, line, text: text.to_owned(), next: None });
    }

    fn line_number(&self, pc: Pc) -> u32 {
        self.image.line_of(pc).map_or(0, |(line, _)| line)
    }

    fn op(&self, pc: Pc, op: Op) -> Option<String> {
        let number = |reg| self.name(Slot::Number(reg));
        let labels = || self.image.labels().find(|(at, _)| *at == pc);
        let label = labels().map(|(_, name)| format!(" [{name}]")).unwrap_or_default();
        Some(match op {
            Op::JumpIf { to, .. } | Op::JumpIfNot { to, .. } => {
                format!("goes on here, or in line {}", self.line_number(to))
            }
            Op::Jump { to } if to > pc => return None,
            Op::Jump { to } => format!("once more from line {}", self.line_number(to)),
            Op::Fork { fibers: 1, .. } => "branch".to_owned(),
            Op::Fork { fibers, .. } => format!("branch, with {} of its own", fibers - 1),
            Op::Join => format!("waits for its branches{label}"),
            Op::End => "end of the branch".to_owned(),
            Op::Succeed => "ends well".to_owned(),
            Op::Fail { error } => {
                format!("fails with {}", self.image.error_name(error).unwrap_or("an error"))
            }
            Op::Rethrow => "fails again with what was caught".to_owned(),
            Op::Guard { .. } => "from here on undone by".to_owned(),
            Op::Undone => "end of the undoing".to_owned(),
            Op::Loop { .. } => "loop".to_owned(),
            Op::Again { to, limit, .. } => {
                let line = self.line_number(to);
                format!("once more from line {line}, at most {limit} times")
            }
            Op::Do { effect } => {
                let effect = self.image.effect(effect)?;
                format!("{}{label}", self.effect(&effect))
            }
            Op::Sleep { a, late, tolerance_s } => {
                let length = self.length(pc, a);
                format!("waits for {length}{}{label}", lateness(late, tolerance_s))
            }
            Op::Until { a, late, tolerance_s } => {
                format!("waits until {}{}{label}", number(a), lateness(late, tolerance_s))
            }
            Op::Listen { signal: index, within } => {
                let name = signal(self.image, index).map_or("", |signal| signal.name);
                let within = within.map(|reg| format!(", within {}", self.length(pc, reg)));
                format!("waits for signal {name}{}{label}", within.unwrap_or_default())
            }
            _ => return None,
        })
    }

    /// A length of time that is computed just before `pc`, or the variable that has it.
    fn length(&self, pc: Pc, reg: u8) -> String {
        let ms = match pc.checked_sub(1).and_then(|before| self.image.op(before)) {
            Some(Op::Set { d, value }) if d == reg => Some(i64::from(value)),
            Some(Op::Const { d, index }) if d == reg => self.image.constant(index),
            _ => None,
        };
        let ms = ms.and_then(|ms| u64::try_from(ms).ok());
        ms.map_or_else(|| self.name(Slot::Number(reg)), duration::shown)
    }

    fn effect(&self, effect: &Effect<'_>) -> String {
        let mut out = format!("does {}", effect.kind.name());
        for (argument, template) in effect.arguments() {
            let _ = write!(out, " {}=", format!("{argument:?}").to_lowercase());
            for piece in template {
                match piece {
                    Piece::Literal(text) => out.push_str(text),
                    piece => {
                        let name = piece.slot().map(|slot| self.name(slot)).unwrap_or_default();
                        let _ = write!(out, "${{{name}}}");
                    }
                }
            }
        }
        if effect.timeout_ms > 0 {
            let _ = write!(out, "; timeout {}", duration::shown(effect.timeout_ms));
        }
        let last = effect.retry_first.saturating_add(effect.retry_count);
        for rule in (effect.retry_first..last).filter_map(|index| self.image.retry(index)) {
            let _ = write!(out, "; {}", self.retry(&rule));
        }
        let taken: Vec<_> = effect.answers.map(|field| self.taken(&field)).collect();
        if !taken.is_empty() {
            let _ = write!(out, "; takes {}", taken.join(", "));
        }
        if !effect.is_idempotent() {
            out.push_str("; not done twice");
        }
        out
    }

    fn taken(&self, field: &Field<'_>) -> String {
        format!("{} from {}", self.name(field.slot), field.name)
    }

    fn retry(&self, rule: &Retry) -> String {
        let error = match rule.error {
            Code::NONE => "any error".to_owned(),
            code => self.image.error_name(code).unwrap_or("an error").to_owned(),
        };
        let first = duration::shown(u64::from(rule.first_ms));
        let cap = duration::shown(u64::from(rule.cap_ms));
        format!("{} attempts after {error}, {first} to {cap} apart", rule.attempts)
    }
}

fn lateness(late: Late, tolerance_s: u32) -> String {
    let over = duration::shown(u64::from(tolerance_s) * 1_000);
    match late {
        Late::Fire => String::new(),
        Late::Skip => format!(", fails with late if {over} over"),
        Late::Restart => format!(", begins anew if {over} over"),
    }
}
