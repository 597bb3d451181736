//! What names mean where they stand: variables in their scopes, errors, what was caught.
//!
//! A branch, an undoing and the steps of an `each` have a scope of their own: what begins there
//! ends there. Elsewhere a variable is there from its first `let` on.

use super::super::diagnostic::{Place, Report, Told, closest, suggestion};
use super::super::expression::typed::{self, Kind};
use holdfast_core::flow::{Code, Reg, Slot};
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    /// The name in the image, where each is there once.
    pub(super) shown: String,
    /// `None` where what is wrong with it has been told.
    pub(super) meaning: Option<(Kind, Slot)>,
    pub(super) place: Place,
    pub(super) read: bool,
}

#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) all: Vec<Variable>,
    scopes: Vec<BTreeMap<String, usize>>,
    errors: Vec<String>,
    signals: Vec<String>,
    caught: Vec<Option<Reg>>,
    /// What ended with its scope, and what that was.
    gone: BTreeMap<String, &'static str>,
}

impl Names {
    pub(super) fn new(errors: Vec<String>, signals: Vec<String>) -> Self {
        let scopes = vec![BTreeMap::new()];
        Self { scopes, errors, signals, caught: vec![None], ..Self::default() }
    }

    pub(super) fn begin_scope(&mut self) {
        self.scopes.push(BTreeMap::new());
    }

    /// A scope ends; `what` it was is said to whoever looks for a name of it.
    pub(super) fn end_scope(&mut self, what: &'static str) {
        for name in self.scopes.pop().unwrap_or_default().into_keys() {
            self.gone.insert(name, what);
        }
    }

    /// What is caught from here on; `None` where nothing is.
    pub(super) fn begin_catch(&mut self, reg: Option<Reg>) {
        self.caught.push(reg);
    }

    pub(super) fn end_catch(&mut self) {
        self.caught.pop();
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name)).copied()
    }

    /// A new variable of the innermost scope.
    pub(super) fn declare(&mut self, name: &str, place: Place, meaning: Option<(Kind, Slot)>) {
        // What has no register is not in the image.
        let same = match meaning {
            Some(_) => self.all.iter().filter(|known| known.name == name).count(),
            None => 0,
        };
        let shown = if same == 0 { name.to_owned() } else { format!("{name}#{}", same + 1) };
        let index = self.all.len();
        self.all.push(Variable { name: name.to_owned(), shown, meaning, place, read: false });
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), index);
        }
    }

    /// A new variable of the run itself.
    pub(super) fn declare_of_run(&mut self, name: &str, place: Place, meaning: (Kind, Slot)) {
        let (name, index) = (name.to_owned(), self.all.len());
        if let Some(scope) = self.scopes.first_mut() {
            scope.insert(name.clone(), index);
        }
        let (shown, meaning) = (name.clone(), Some(meaning));
        self.all.push(Variable { name, shown, meaning, place, read: true });
    }

    /// Whether a register is that of a variable of the run itself, everywhere the same.
    pub(super) fn is_of_run(&self, slot: Slot) -> bool {
        let run = self.scopes.first().into_iter().flat_map(BTreeMap::values);
        run.into_iter().any(|index| self.all[*index].meaning.is_some_and(|(_, own)| own == slot))
    }

    /// The name of a variable that another branch may have, too: one of a scope further out.
    pub(super) fn known_outside(&self, slot: Slot) -> Option<&str> {
        let own = self.scopes.last();
        let variable = self.all.iter().enumerate().find(|(index, variable)| {
            variable.meaning.is_some_and(|(_, known)| known == slot)
                && !own.is_some_and(|scope| scope.values().any(|own| own == index))
        });
        variable.map(|(_, variable)| variable.name.as_str())
    }

    fn unknown(&self, name: &str, place: Place, report: &mut Report) -> Told {
        let message = format!("there is no variable `{name}` here");
        let prefix = format!("{name}.");
        let known = || self.scopes.iter().flat_map(|scope| scope.keys().map(String::as_str));
        if let Some(field) = known().find(|known| known.starts_with(&prefix)) {
            return report.advise(place, message, format!("say which field, such as `{field}`"));
        }
        if let Some(what) = self.gone.get(name) {
            let advice = format!("it ended with {what}: give it a value before, with `let`");
            return report.advise(place, message, advice);
        }
        match closest(name, known()) {
            Some(known) => report.advise(place, message, format!("did you mean `{known}`?")),
            None => {
                let advice = format!("a text is written in quotes within the expression: '{name}'");
                report.advise(place, message, advice)
            }
        }
    }

    /// The number of a signal.
    pub(super) fn signal(&self, name: &str, place: Place, report: &mut Report) -> Result<u8, Told> {
        let found = self.signals.iter().position(|known| known == name);
        found.and_then(|index| u8::try_from(index).ok()).ok_or_else(|| {
            let message = format!("there is no signal `{name}`");
            let known = self.signals.iter().map(String::as_str);
            let advice = suggestion(name, known);
            let advice = advice.unwrap_or_else(|| "signals stand below `signals`".to_owned());
            report.advise(place, message, advice)
        })
    }
}

impl typed::Names for Names {
    fn variable(
        &mut self,
        name: &str,
        place: Place,
        report: &mut Report,
    ) -> Result<(Kind, Slot), Told> {
        let Some(index) = self.find(name) else {
            return Err(self.unknown(name, place, report));
        };
        self.all[index].read = true;
        self.all[index].meaning.ok_or(Told)
    }

    fn caught(&self) -> Option<Reg> {
        self.caught.last().copied().flatten()
    }

    fn error(&self, name: &str, place: Place, report: &mut Report) -> Result<Code, Told> {
        if let Some(code) = Code::by_name(name) {
            return Ok(code);
        }
        let own = self.errors.iter().position(|known| known == name);
        own.and_then(|index| u16::try_from(index).ok()).map(Code::own).ok_or_else(|| {
            let own = self.errors.iter().map(String::as_str);
            let known = Code::BUILT_IN.iter().map(|(_, name)| *name).chain(own);
            let message = format!("there is no error `{name}`");
            match closest(name, known) {
                Some(known) => report.advise(place, message, format!("did you mean `{known}`?")),
                None => report.advise(place, message, "its own errors stand below `errors`"),
            }
        })
    }
}
