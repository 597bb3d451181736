//! Steps that wait: for a length of time, a point in time, a signal or a condition.

use super::super::definition::Named;
use super::super::definition::step::{Awaited, Lateness};
use super::super::definition::template::{Piece, Template};
use super::super::diagnostic::Told;
use super::super::expression::Expr;
use super::super::expression::typed::{Kind, Value};
use super::Emitter;
use super::compute::Held;
use holdfast_core::codec::Sink;
use holdfast_core::flow::image::Part;
use holdfast_core::flow::signal::{Source, Word};
use holdfast_core::flow::{NAME_MAX_BYTES, Op, Reg, Slot};
use holdfast_core::limits::{DEVICE_MAX_BYTES, METRIC_MAX_BYTES};

/// A device or a metric of a condition.
enum Meant {
    Text(String),
    Register(Reg),
}

impl Meant {
    fn word(&self) -> Word<'_> {
        match self {
            Self::Text(text) => Word::Literal(text),
            Self::Register(reg) => Word::Register(*reg),
        }
    }
}

impl Emitter<'_> {
    pub(super) fn wait(
        &mut self,
        length: &Expr,
        Lateness { late, tolerance_s }: Lateness,
        label: Option<&Named>,
    ) -> Result<(), Told> {
        let typed = self.wanted(length, Kind::Duration, "what `wait` waits for")?;
        let held = self.value(&typed, None)?;
        self.mark(label);
        self.op(Op::Sleep { a: held.reg(), late, tolerance_s });
        self.give(held);
        Ok(())
    }

    pub(super) fn until(
        &mut self,
        time: &Expr,
        Lateness { late, tolerance_s }: Lateness,
        label: Option<&Named>,
    ) -> Result<(), Told> {
        let typed = self.wanted(time, Kind::Time, "what `wait_until` waits for")?;
        let held = self.value(&typed, None)?;
        self.mark(label);
        self.op(Op::Until { a: held.reg(), late, tolerance_s });
        self.give(held);
        Ok(())
    }

    pub(super) fn listen(
        &mut self,
        what: &Awaited,
        within: Option<&Expr>,
        label: Option<&Named>,
    ) -> Result<(), Told> {
        let signal = self.awaited(what);
        let held: Option<Held> = match within {
            Some(expr) => {
                let typed = self.wanted(expr, Kind::Duration, "what stands behind `within`")?;
                Some(self.value(&typed, None)?)
            }
            None => None,
        };
        let signal = signal?;
        self.mark(label);
        self.op(Op::Listen { signal, within: held.map(Held::reg) });
        if let Some(held) = held {
            self.give(held);
        }
        Ok(())
    }

    fn awaited(&mut self, what: &Awaited) -> Result<u8, Told> {
        match what {
            Awaited::Signal(name) => {
                let known = self.names.signal(&name.text, name.place, self.report)?;
                self.check_heard(name).map(|()| known)
            }
            Awaited::Condition { device, metric, rule, words } => {
                let device = self.meant(device, "device", DEVICE_MAX_BYTES);
                let metric = self.meant(metric, "metric", METRIC_MAX_BYTES);
                let (device, metric) = (device?, metric?);
                let mut name = match &metric {
                    Meant::Text(text) => format!("{text} {words}"),
                    Meant::Register(_) => words.clone(),
                };
                while name.len() > NAME_MAX_BYTES {
                    name.pop();
                }
                let (device, metric) = (device.word(), metric.word());
                let source = Source::Condition { device, metric, rule: *rule };
                let number = self.signal(&name, &source)?;
                // A condition brings nothing. A vector takes whatever comes.
                let _ = self.draft.parts[Part::Signals as usize].put_uint(0);
                Ok(number)
            }
        }
    }

    /// A text that stands there, or the variable that has it: it is looked at while it waits.
    fn meant(&mut self, template: &Template, what: &str, most: usize) -> Result<Meant, Told> {
        if let Some(plain) = template.plain() {
            if !(1..=most).contains(&plain.len()) {
                let message = format!("the {what} has {} bytes: 1 to {most}", plain.len());
                return Err(self.report.wrong(self.place, message));
            }
            return Ok(Meant::Text(plain.to_owned()));
        }
        if let [Piece::Value(expr)] = template.0.as_slice() {
            let typed = self.check(expr)?;
            if let (Kind::Text, Value::Variable(Slot::Text(reg))) = (typed.kind, &typed.value) {
                return Ok(Meant::Register(*reg));
            }
        }
        let message = format!("the {what} of a condition is a plain text or one `${{variable}}`");
        let advice = "make a variable of it before, with `let`";
        Err(self.report.advise(self.place, message, advice))
    }
}
