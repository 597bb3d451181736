//! Effects: arguments from registers, answers into registers, and what undoes what was done.

use super::super::definition::Named;
use super::super::definition::effect::{Answer, Effect, Retry};
use super::super::definition::template::{self, Template};
use super::super::diagnostic::Told;
use super::super::expression::Expr;
use super::super::expression::typed::{Kind, Typed, Value};
use super::block::Code;
use super::compute::Held;
use super::{Emitter, Whose, default_of};
use holdfast_core::flow::effect::{Argument, Head, IDEMPOTENT, Piece, encode, put_number};
use holdfast_core::flow::field::Field;
use holdfast_core::flow::image::Retry as Rule;
use holdfast_core::flow::{LITERAL_MAX_BYTES, Op, PIECES_MAX, Slot};

/// A piece with its text.
enum Made {
    Literal(String),
    Number(u8),
    Text(u8),
    Quoted(u8),
    Escaped(u8),
}

impl Made {
    fn piece(&self) -> Piece<'_> {
        match self {
            Self::Literal(text) => Piece::Literal(text),
            Self::Number(reg) => Piece::Number(*reg),
            Self::Text(reg) => Piece::Text(*reg),
            Self::Quoted(reg) => Piece::Quoted(*reg),
            Self::Escaped(reg) => Piece::Escaped(*reg),
        }
    }
}

/// How a value stands in an argument.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    Escaped,
}

impl Emitter<'_> {
    pub(super) fn effect(&mut self, effect: &Effect, label: Option<&Named>) -> Result<(), Told> {
        let mut helds = Vec::new();
        let mut arguments = Vec::new();
        let mut done = self.check_able(effect.kind);
        for (argument, template) in &effect.arguments {
            match self.argument(template, &mut helds) {
                Ok(made) => arguments.push((*argument, made)),
                Err(told) => done = Err(told),
            }
        }
        let answers = self.answers(&effect.results);
        let retries = self.retries(&effect.retries);
        if let (Ok(()), Ok(answers)) = (done, &answers) {
            self.ask_with(effect, &arguments, answers, retries, label);
        }
        for held in helds {
            self.give(held);
        }
        if let Some(steps) = &effect.undo {
            self.undo(steps)?;
        }
        done.and(answers.map(|_| ()))
    }

    fn ask_with(
        &mut self,
        effect: &Effect,
        arguments: &[(Argument, Vec<Made>)],
        answers: &[(Slot, &Answer)],
        retries: (u16, u16),
        label: Option<&Named>,
    ) {
        let pieces: Vec<(Argument, Vec<Piece<'_>>)> = arguments
            .iter()
            .map(|(argument, made)| (*argument, made.iter().map(Made::piece).collect()))
            .collect();
        let said: Vec<(Argument, &[Piece<'_>])> =
            pieces.iter().map(|(argument, pieces)| (*argument, pieces.as_slice())).collect();
        let fields: Vec<_> = answers
            .iter()
            .map(|(slot, answer)| Field {
                name: &answer.path,
                slot: *slot,
                default: answer.default.as_ref().map(default_of),
            })
            .collect();
        let flags = if effect.idempotent { IDEMPOTENT } else { 0 };
        let head = Head { kind: effect.kind, flags, timeout_ms: effect.timeout_ms, retries };
        let mut bytes = Vec::new();
        // A vector takes whatever comes.
        let _ = encode(&mut bytes, &head, &said, &fields);
        self.mark(label);
        self.ask_for(bytes);
    }

    fn argument(&mut self, template: &Template, helds: &mut Vec<Held>) -> Result<Vec<Made>, Told> {
        let mut out = Vec::new();
        let mut done = Ok(());
        for piece in &template.0 {
            let (expr, form) = match piece {
                template::Piece::Literal(text) => {
                    literals(text, &mut out);
                    continue;
                }
                template::Piece::Value(expr) => (expr, Form::Text),
                template::Piece::Json(expr) => (expr, Form::Json),
                template::Piece::Escaped(expr) => (expr, Form::Escaped),
            };
            match self.piece(expr, form, helds) {
                Ok(made) => out.push(made),
                Err(told) => done = Err(told),
            }
        }
        if out.len() as u64 > PIECES_MAX {
            let message = format!("an argument has {} pieces: at most {PIECES_MAX}", out.len());
            return Err(self.report.advise(self.place, message, "send less at once"));
        }
        done.map(|()| out)
    }

    fn piece(&mut self, expr: &Expr, form: Form, helds: &mut Vec<Held>) -> Result<Made, Told> {
        let typed = self.check(expr)?;
        if let Some(text) = constant(&typed) {
            let quoted = serde_json::Value::from(text.as_str()).to_string();
            return Ok(Made::Literal(match (form, typed.kind) {
                (Form::Json, Kind::Text) => quoted,
                (Form::Escaped, Kind::Text) => quoted[1..quoted.len() - 1].to_owned(),
                _ => text,
            }));
        }
        let held = self.asked_with(&typed)?;
        helds.push(held);
        Ok(match (held.slot, form) {
            (Slot::Number(reg), _) => Made::Number(reg),
            (Slot::Text(reg), Form::Text) => Made::Text(reg),
            (Slot::Text(reg), Form::Json) => Made::Quoted(reg),
            (Slot::Text(reg), Form::Escaped) => Made::Escaped(reg),
        })
    }

    /// A value that an effect is asked for with. Each attempt is filled in anew and has to be the
    /// same, so a variable that another branch may set meanwhile is copied.
    pub(super) fn asked_with(&mut self, typed: &Typed) -> Result<Held, Told> {
        let shared = |name: &str| self.set_in_branches.contains(name);
        if let Value::Variable(slot) = typed.value
            && self.context.whose == Whose::Branch
            && self.names.known_outside(slot).is_some_and(shared)
        {
            let copy = self.take(typed.kind)?;
            self.value(typed, Some(copy.slot))?;
            return Ok(copy);
        }
        self.value(typed, None)
    }

    /// The variables that an answer sets.
    fn answers<'a>(&mut self, results: &'a [Answer]) -> Result<Vec<(Slot, &'a Answer)>, Told> {
        let mut out = Vec::new();
        let mut done = Ok(());
        for answer in results {
            match self.result_variable(answer) {
                Ok(slot) => out.push((slot, answer)),
                Err(told) => done = Err(told),
            }
        }
        done.map(|()| out)
    }

    fn result_variable(&mut self, answer: &Answer) -> Result<Slot, Told> {
        let Some(index) = self.names.find(&answer.name.text) else {
            let slot = self.keep(answer.kind)?.slot;
            let meaning = Some((answer.kind, slot));
            self.names.declare(&answer.name.text, answer.name.place, meaning);
            return Ok(slot);
        };
        let (kind, slot) = self.names.all[index].meaning.ok_or(Told)?;
        if kind != answer.kind {
            return Err(self.other_type(index, answer.kind, &answer.name));
        }
        Ok(slot)
    }

    /// The place of these rules among those of the image, and how many there are.
    fn retries(&mut self, retries: &[Retry]) -> (u16, u16) {
        let mut rules = Vec::new();
        for retry in retries {
            for error in self.caught_errors(&retry.on) {
                rules.push(Rule {
                    error,
                    attempts: retry.attempts,
                    jitter: retry.jitter,
                    first_ms: retry.first_ms,
                    cap_ms: retry.cap_ms,
                    rate: retry.rate,
                });
            }
        }
        let word = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        if rules.is_empty() {
            return (0, 0);
        }
        let table = &mut self.draft.retries;
        let known = table.windows(rules.len()).position(|window| *window == rules[..]);
        let first = known.unwrap_or(table.len());
        let count = rules.len();
        if known.is_none() {
            table.extend(rules);
        }
        (word(first), word(count))
    }

    /// What undoes a step, from when it is done on.
    fn undo(&mut self, steps: &[super::super::definition::step::Step]) -> Result<(), Told> {
        if self.context.whose == Whose::Undo {
            let message = "an undoing is not undone";
            return Err(self.forbidden(self.place, message, "leave the inner `undo` away"));
        }
        if let Some(repeated) = self.context.repeated {
            let message = format!("`undo` stands in `{repeated}`: each round would be undone");
            let advice = "put the step before the loop, or its round into a workflow of its own";
            return Err(self.forbidden(self.place, &message, advice));
        }
        let (block, before) = self.program.begin();
        self.program.resume(before);
        self.code(Code::Guard { block });
        self.program.resume(block);
        let context = self.context;
        self.context.whose = Whose::Undo;
        self.names.begin_scope();
        self.names.begin_catch(None);
        if self.steps(steps) {
            self.op(Op::Undone);
        }
        self.names.end_catch();
        self.names.end_scope("its `undo`");
        self.context = context;
        self.program.resume(before);
        Ok(())
    }
}

/// A text as pieces that are not too long.
fn literals(text: &str, out: &mut Vec<Made>) {
    let mut rest = text;
    while !rest.is_empty() {
        let end = (1..=rest.len().min(LITERAL_MAX_BYTES)).rev();
        let end = end.into_iter().find(|end| rest.is_char_boundary(*end)).unwrap_or(rest.len());
        out.push(Made::Literal(rest[..end].to_owned()));
        rest = &rest[end..];
    }
}

/// What is known beforehand, as people write it.
fn constant(typed: &Typed) -> Option<String> {
    match &typed.value {
        Value::Text(text) => Some(text.clone()),
        Value::Number(number) => {
            let mut bytes = Vec::new();
            put_number(&mut bytes, typed.kind.register()?, *number).ok()?;
            String::from_utf8(bytes).ok()
        }
        _ => None,
    }
}
