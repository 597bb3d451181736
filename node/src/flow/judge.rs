//! The verifier's word on what was compiled, in terms of the steps.
//!
//! Most of what the verifier refuses is told before, with the name of what is wrong. What only it
//! sees (a value that may be missing on one way, a round that does not wait, what a device has no
//! room for) is brought back to a line and a column here.

use super::definition::Definition;
use super::diagnostic::{Place, Report, Told};
use holdfast_core::flow::about::Placement;
use holdfast_core::flow::draft::Draft;
use holdfast_core::flow::image::{Image, Named};
use holdfast_core::flow::memory::{FIBER_BYTES, TEXT_BYTES, bytes_of};
use holdfast_core::flow::signal::{Source, Word, signal};
use holdfast_core::flow::verify::{Place as Known, Rejection, Tier, Why, fuel_of, verify};
use holdfast_core::flow::{Op, Pc, Slot};

/// What the nodes take on which a workflow is to run.
pub(super) const fn tier_of(placement: Placement) -> Tier {
    match placement {
        Placement::Device => Tier::DEVICE,
        _ => Tier::NODE,
    }
}

/// The image, if the nodes that it is for accept it.
pub(super) fn judge(
    draft: &Draft,
    definition: &Definition,
    report: &mut Report,
) -> Result<Vec<u8>, Told> {
    let tier = tier_of(definition.placement);
    let start = Place { line: 1, column: 1 };
    let Ok(bytes) = draft.encode() else {
        let message = "the image is longer than one can be";
        return Err(report.advise(start, message, "put a part into a workflow of its own"));
    };
    let mut known = vec![Known::NOWHERE; draft.ops.len()];
    let Err(rejection) = verify(&bytes, &tier, &mut known) else { return Ok(bytes) };
    let Ok(image) = Image::parse(&bytes) else {
        return Err(report.wrong(start, format!("the image is not accepted: {rejection}")));
    };
    let judge = Judge { image, definition, tier, length: bytes.len() };
    let pc = rejection.pc.or(if rejection.why == Why::Fuel { longest(&image) } else { None });
    let place = pc.and_then(|pc| image.line_of(pc));
    let place = place.map_or(start, |(line, column)| Place { line, column });
    let (message, advice) = judge.words(rejection, &known);
    Err(report.tell(place, message, advice.map(str::to_owned)))
}

/// The end of the loop that has the most rounds.
fn longest(image: &Image<'_>) -> Option<Pc> {
    let rounds = |pc: &Pc| match image.op(*pc) {
        Some(Op::Again { limit, .. }) => Some(limit),
        _ => None,
    };
    (0..image.counts.ops).max_by_key(rounds)
}

struct Judge<'a> {
    image: Image<'a>,
    definition: &'a Definition,
    tier: Tier,
    length: usize,
}

impl Judge<'_> {
    fn words(&self, rejection: Rejection, known: &[Known]) -> (String, Option<&'static str>) {
        let node = match self.definition.placement {
            Placement::Device => "a device",
            _ => "a node",
        };
        let divide = Some("put a part into a workflow of its own, and `run` it");
        match rejection.why {
            Why::Unwritten => {
                let name = rejection.pc.and_then(|pc| self.unwritten(pc, known));
                let name = name.unwrap_or_else(|| "a variable".to_owned());
                (
                    format!("{name} may have no value here"),
                    Some("not every way leads through the step that sets it: set it before"),
                )
            }
            Why::Output => (
                format!("the run can end here without a value for {}", self.left(rejection, known)),
                Some("set the variables of `output` on every way, or at the beginning"),
            ),
            Why::Endless => (
                "a round of `forever` can pass without waiting for a time or a signal".to_owned(),
                Some(
                    "have a `wait`, `wait_until` or `wait_for` in it that is in no `choose` and \
                     no `try`",
                ),
            ),
            Why::Memory => {
                let (bytes, most) = (bytes_of(self.image.sizes), self.tier.memory_bytes);
                let message = format!("a run takes {bytes} bytes of memory: {node} gives {most}");
                (message, Some(MEMORY))
            }
            Why::Fuel => {
                let (fuel, most) = (fuel_of(&self.image), self.tier.fuel);
                let message = format!("a step can take {fuel} operations: {node} takes {most}");
                (message, Some("each operation counts for each round of its loops: fewer rounds"))
            }
            Why::Long => {
                let (bytes, most) = (self.length, self.tier.image_bytes);
                (format!("the image has {bytes} bytes: {node} takes {most}"), divide)
            }
            Why::Ops => {
                let (ops, most) = (self.image.counts.ops, self.tier.ops);
                (format!("the workflow has {ops} operations: {node} takes {most}"), divide)
            }
            _ => (
                format!("the image is not accepted: {rejection}"),
                Some("this is a fault of the compiler: please tell us, with the definition"),
            ),
        }
    }

    /// The variables that an operation reads and that may have no value.
    fn unwritten(&self, pc: Pc, known: &[Known]) -> Option<String> {
        let here = known.get(usize::from(pc))?;
        let missing = self.reads(self.image.op(pc)?).into_iter().filter(|slot| !here.has(*slot));
        let names = missing.filter_map(|slot| {
            let mut names = self.image.names();
            let (_, name) = names.find(|(named, _)| *named == Named::Slot(slot))?;
            Some(format!("`{}`", name.split('#').next().unwrap_or(name)))
        });
        let mut names: Vec<_> = names.collect();
        names.dedup();
        (!names.is_empty()).then(|| names.join(" and "))
    }

    /// The outputs that may have no value.
    fn left(&self, rejection: Rejection, known: &[Known]) -> String {
        let here = rejection.pc.and_then(|pc| known.get(usize::from(pc)));
        let has = |slot| here.is_some_and(|here| here.has(slot));
        let names = self.image.outputs().filter(|field| !has(field.slot));
        names.map(|field| format!("`{}`", field.name)).collect::<Vec<_>>().join(" and ")
    }

    fn reads(&self, op: Op) -> Vec<Slot> {
        let number = Slot::Number;
        match op {
            Op::JumpIf { a, .. } | Op::JumpIfNot { a, .. } => vec![number(a)],
            Op::Sleep { a, .. } | Op::Until { a, .. } | Op::Move { a, .. } => vec![number(a)],
            Op::Change { a, .. } | Op::Not { a, .. } | Op::Pick { a, .. } => vec![number(a)],
            Op::TextOf { a, .. } | Op::TextPick { a, .. } => vec![number(a)],
            Op::Math { a, b, .. } | Op::Compare { a, b, .. } => vec![number(a), number(b)],
            Op::TextMove { a, .. } | Op::TextLen { a, .. } => vec![Slot::Text(a)],
            Op::TextJoin { a, b, .. }
            | Op::TextCompare { a, b, .. }
            | Op::TextFind { a, b, .. } => vec![Slot::Text(a), Slot::Text(b)],
            Op::Do { effect } => {
                let effect = self.image.effect(effect);
                let templates = effect.iter().flat_map(|effect| effect.arguments());
                templates.flat_map(|(_, pieces)| pieces).filter_map(|piece| piece.slot()).collect()
            }
            Op::Listen { signal: index, within } => {
                let mut out: Vec<_> = within.map(number).into_iter().collect();
                if let Some(Source::Condition { device, metric, .. }) =
                    signal(&self.image, index).map(|signal| signal.source)
                {
                    out.extend([device, metric].into_iter().filter_map(|word| match word {
                        Word::Register(reg) => Some(Slot::Text(reg)),
                        Word::Literal(_) => None,
                    }));
                }
                out
            }
            _ => Vec::new(),
        }
    }
}

/// What takes how much memory.
const MEMORY: &str = "a text takes 65 bytes, a number 8, a branch 20: use fewer variables";
const _: () = assert!(TEXT_BYTES == 65 && FIBER_BYTES == 20);
