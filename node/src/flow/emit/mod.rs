//! From steps to operations: names get registers, types are checked, code is written.
//!
//! The steps are gone through in the order in which they stand. What is wrong with one is told, and
//! the next one is looked at. What comes out is a draft of an image that the verifier then judges.

mod able;
mod block;
mod branches;
mod compute;
mod effects;
mod names;
mod needs;
mod registers;
mod steps;
mod waits;

use super::definition::{Constant, Declared, Definition, Named};
use super::diagnostic::{Place, Report, Told};
use super::expression::Expr;
use super::expression::typed::{Kind, Value};
use block::Program;
use holdfast_core::codec::Sink;
use holdfast_core::flow::about::About;
use holdfast_core::flow::draft::Draft;
use holdfast_core::flow::field::{Default as FieldDefault, Field};
use holdfast_core::flow::image::{PARKS, Part};
use holdfast_core::flow::signal::{Source, put_head};
use holdfast_core::flow::verify::{FIBERS_MAX, HANDLERS_MAX, SIGNALS_MAX, UNDOS_MAX};
use holdfast_core::flow::{Op, Slot};
use names::Names;
use registers::{Register, Registers};
use std::collections::{BTreeMap, BTreeSet};

/// The run itself, a branch of it, or what undoes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Run,
    Branch,
    Undo,
}

/// Where code stands.
#[derive(Clone, Copy, Debug)]
struct Context {
    whose: Whose,
    /// The loop around it, if there is one.
    repeated: Option<&'static str>,
    /// Whether it stands in the image several times.
    copied: bool,
}

struct Emitter<'d> {
    definition: &'d Definition,
    report: &'d mut Report,
    names: Names,
    registers: Registers,
    program: Program,
    draft: Draft,
    context: Context,
    labels: BTreeMap<String, Place>,
    /// Variables that branches set.
    set_in_branches: BTreeSet<String>,
    /// Whether a way through the steps ends well.
    ends_well: bool,
    /// The step whose code is written.
    place: Place,
}

/// Makes a draft of a definition. What is wrong was told where there is none.
pub(super) fn emit(definition: &Definition, report: &mut Report) -> Result<Draft, Told> {
    let errors = definition.errors.iter().map(|name| name.text.clone()).collect::<Vec<_>>();
    let signals = definition.signals.iter().map(|(name, _)| name.text.clone()).collect();
    let about = About {
        id: &definition.id,
        version: &definition.version,
        title: &definition.title,
        placement: definition.placement,
        concurrent: definition.concurrent,
        overlap: definition.overlap,
        priority: definition.priority,
    };
    let mut draft = Draft::new(&about);
    draft.errors.clone_from(&errors);
    draft.lasts_s = definition.lasts_s;
    draft.triggers.clone_from(&definition.triggers);
    draft.flags = if definition.parks { PARKS } else { 0 };
    let mut emitter = Emitter {
        definition,
        report,
        names: Names::new(errors, signals),
        registers: Registers::default(),
        program: Program::new(),
        draft,
        context: Context { whose: Whose::Run, repeated: None, copied: false },
        labels: BTreeMap::new(),
        set_in_branches: needs::set_in_branches(&definition.steps),
        ends_well: false,
        place: Place { line: 1, column: 1 },
    };
    emitter.sizes()?;
    emitter.inputs()?;
    emitter.signals()?;
    if emitter.steps(&definition.steps) {
        emitter.place = definition.steps.last().map_or(emitter.place, |step| step.place);
        emitter.succeed()?;
    }
    if emitter.report.is_clean() { emitter.finish() } else { Err(Told) }
}

impl Emitter<'_> {
    /// Branches and undo places, as the steps need them.
    fn sizes(&mut self) -> Result<(), Told> {
        let needs = needs::of(&self.definition.steps);
        let place = self.definition.steps.first().map_or(self.place, |step| step.place);
        let most = u32::from(FIBERS_MAX) - 1;
        if needs.fibers > most {
            let message = format!("{} branches run at once: at most {most} can", needs.fibers);
            return Err(self.report.advise(place, message, "lower `at_once`"));
        }
        let most = u32::from(UNDOS_MAX);
        if needs.undos > most {
            let message = format!("{} steps can be to undo at once: at most {most}", needs.undos);
            return Err(self.report.advise(
                place,
                message,
                "put a part into a workflow of its own",
            ));
        }
        let byte = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        self.draft.fibers = byte(1 + needs.fibers);
        self.draft.undos = byte(needs.undos);
        Ok(())
    }

    /// A register that a variable keeps.
    fn keep(&mut self, kind: Kind) -> Result<Register, Told> {
        self.registers.keep(kind.register()).ok_or_else(|| self.no_register(kind))
    }

    fn no_register(&mut self, kind: Kind) -> Told {
        let texts = kind == Kind::Text;
        let is_text = |slot: Slot| matches!(slot, Slot::Text(_)) == texts;
        let meanings = self.names.all.iter().filter_map(|variable| variable.meaning);
        let variables = meanings.filter(|(_, slot)| is_text(*slot)).count();
        let (most, what) = if texts { (32, "texts") } else { (64, "numbers") };
        let message = format!(
            "no register is left here: a workflow has {most} for {what}, and {variables} hold \
             variables"
        );
        let advice = "use fewer variables, or fewer branches: each branch has its own";
        self.report.advise(self.place, message, advice)
    }

    fn inputs(&mut self) -> Result<(), Told> {
        let definition = self.definition;
        for declared in &definition.inputs {
            self.field_of(&declared.name.text, declared, Part::Inputs)?;
        }
        Ok(())
    }

    /// A variable that comes from outside, and the field that brings it.
    fn field_of(&mut self, name: &str, declared: &Declared, part: Part) -> Result<(), Told> {
        let slot = self.keep(declared.kind)?.slot;
        let place = declared.name.place;
        self.names.declare(name, place, Some((declared.kind, slot)));
        let default = declared.default.as_ref().map(default_of);
        let field = Field { name: &declared.name.text, slot, default };
        self.draft.field(part, &field);
        Ok(())
    }

    fn signals(&mut self) -> Result<(), Told> {
        let definition = self.definition;
        for (name, brings) in &definition.signals {
            self.place = name.place;
            self.signal(&name.text, &Source::Outside)?;
            // A vector takes whatever comes.
            let part = Part::Signals;
            let _ = self.draft.parts[part as usize].put_uint(brings.len() as u64);
            for declared in brings {
                let variable = format!("{}.{}", name.text, declared.name.text);
                self.field_of(&variable, declared, part)?;
            }
        }
        Ok(())
    }

    /// Adds the head of a signal, and gives its number.
    fn signal(&mut self, name: &str, source: &Source<'_>) -> Result<u8, Told> {
        let number = self.draft.signals;
        if number >= SIGNALS_MAX {
            let message = format!("this is more than a run can wait for: {SIGNALS_MAX} signals");
            let advice = "each condition is one, in each branch of an `each`";
            return Err(self.report.advise(self.place, message, advice));
        }
        self.draft.signals += 1;
        // A vector takes whatever comes.
        let _ = put_head(&mut self.draft.parts[Part::Signals as usize], name, source);
        Ok(number)
    }

    /// The run ends well, with its outputs.
    fn succeed(&mut self) -> Result<(), Told> {
        let definition = self.definition;
        let mut slots = Vec::new();
        for (name, expr) in &definition.outputs {
            slots.push(self.output(name, expr)?);
        }
        if !self.ends_well {
            self.ends_well = true;
            for ((name, _), slot) in definition.outputs.iter().zip(slots) {
                let field = Field { name: &name.text, slot, default: None };
                self.draft.field(Part::Outputs, &field);
            }
        }
        self.op(Op::Succeed);
        Ok(())
    }

    /// Where an output stands: with the variable that it is, or in a register of its own, which is
    /// the same one at every end.
    fn output(&mut self, name: &Named, expr: &Expr) -> Result<Slot, Told> {
        let typed = self.check(expr)?;
        if let Value::Variable(slot) = typed.value
            && self.names.is_of_run(slot)
        {
            return Ok(slot);
        }
        let output = format!("output.{}", name.text);
        let slot = match self.names.find(&output).map(|index| self.names.all[index].meaning) {
            Some(Some((_, slot))) => slot,
            _ => {
                let slot = self.keep(typed.kind)?.slot;
                self.names.declare_of_run(&output, name.place, (typed.kind, slot));
                slot
            }
        };
        self.value(&typed, Some(slot)).map(|held| held.slot)
    }

    fn finish(mut self) -> Result<Draft, Told> {
        if let (false, Some((name, _))) = (self.ends_well, self.definition.outputs.first()) {
            let message = "no way through the steps ends well, so nothing is left as output";
            return Err(self.report.advise(name.place, message, "leave `output` away"));
        }
        if self.program.handlers() > usize::from(HANDLERS_MAX) {
            let message = format!(
                "{} errors are caught in all its branches: at most {HANDLERS_MAX} can be",
                self.program.handlers()
            );
            return Err(self.report.wrong(self.place, message));
        }
        self.program.lay_out(&mut self.draft);
        self.draft.types = self.registers.types().to_vec();
        self.draft.texts = self.registers.texts();
        let part = &mut self.draft.parts[Part::Names as usize];
        for variable in &self.names.all {
            let Some((_, slot)) = variable.meaning else { continue };
            let bytes = match slot {
                Slot::Number(reg) => [0, reg],
                Slot::Text(reg) => [1, reg],
            };
            // A vector takes whatever comes.
            let _ = part.put(&bytes).and_then(|()| part.put_bytes(variable.shown.as_bytes()));
        }
        self.warn();
        Ok(self.draft)
    }

    /// What is there and not used.
    fn warn(&mut self) {
        for declared in &self.definition.inputs {
            let name = &declared.name;
            let used = self.names.all.iter().any(|known| known.name == name.text && known.read);
            if !used {
                let message = format!("the input `{}` is not used", name.text);
                self.report.warn(name.place, message, "leave it away, or use it");
            }
        }
    }
}

const fn default_of(constant: &Constant) -> FieldDefault<'_> {
    match constant {
        Constant::Number(number) => FieldDefault::Number(*number),
        Constant::Text(text) => FieldDefault::Text(text.as_str()),
    }
}
