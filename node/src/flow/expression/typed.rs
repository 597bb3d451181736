//! Types: what each part of an expression is, and where a number becomes a decimal.
//!
//! Int and decimal mix, and the int becomes a decimal; nothing else becomes anything by itself. A
//! duration and a time are kept as milliseconds, and what may be done with them follows from what
//! they mean: a time and a duration make a time, two times have a duration between them.

use super::super::diagnostic::{Place, Report, Told, suggestion};
use super::super::duration;
use super::{Binary, Expr, Node};
use holdfast_core::flow::op::{Change, Compare, Find, Math};
use holdfast_core::flow::{Code, Reg, Slot, TEXT_MAX_BYTES, Type, decimal};

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    Int,
    Decimal,
    Bool,
    Text,
    Duration,
    Time,
}

impl Kind {
    pub(in super::super) const ALL: [Self; 6] =
        [Self::Text, Self::Int, Self::Decimal, Self::Bool, Self::Duration, Self::Time];

    /// The word in definitions.
    pub(in super::super) const fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Decimal => "decimal",
            Self::Bool => "bool",
            Self::Text => "text",
            Self::Duration => "duration",
            Self::Time => "time",
        }
    }

    /// Of which type its register is; a text has one of the other sort.
    pub(in super::super) const fn register(self) -> Option<Type> {
        match self {
            Self::Int | Self::Duration | Self::Time => Some(Type::Int),
            Self::Decimal => Some(Type::Decimal),
            Self::Bool => Some(Type::Bool),
            Self::Text => None,
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Decimal)
    }
}

/// What the node is asked while an expression is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Asked {
    /// The newest value of a series.
    Reading,
    /// A value in the twin of a device.
    Twin,
    /// A part of the site's time, by its name.
    Clock(&'static str),
}

/// An expression whose types are right.
#[derive(Clone, Debug)]
pub(in super::super) struct Typed {
    pub(in super::super) kind: Kind,
    pub(in super::super) place: Place,
    pub(in super::super) value: Value,
}

/// What it is made of; a pair is in a box.
#[derive(Clone, Debug)]
pub(in super::super) enum Value {
    Number(i64),
    Text(String),
    Variable(Slot),
    Math(Math, Box<[Typed; 2]>),
    Change(Change, Box<Typed>),
    Compare(Compare, Box<[Typed; 2]>),
    /// The second compared with the first, which is computed first all the same.
    Reversed(Compare, Box<[Typed; 2]>),
    Find(Find, Box<[Typed; 2]>),
    Not(Box<Typed>),
    And(Box<[Typed; 2]>),
    Or(Box<[Typed; 2]>),
    Choice(Box<[Typed; 3]>),
    Join(Box<[Typed; 2]>),
    /// A number as a text.
    Shown(Box<Typed>),
    Length(Box<Typed>),
    Now,
    /// Whether the error in the register is this one.
    Caught(Reg, Code),
    Ask(Asked, Vec<Typed>),
}

/// What names in an expression mean.
pub(in super::super) trait Names {
    /// A variable.
    ///
    /// # Errors
    /// When there is none, which is told then.
    fn variable(
        &mut self,
        name: &str,
        place: Place,
        report: &mut Report,
    ) -> Result<(Kind, Slot), Told>;
    /// The register with the error that was caught, inside of a `catch`.
    fn caught(&self) -> Option<Reg>;
    /// An error by its name.
    ///
    /// # Errors
    /// When there is none, which is told then.
    fn error(&self, name: &str, place: Place, report: &mut Report) -> Result<Code, Told>;
}

/// Gives every part of an expression its type.
pub(in super::super) fn check(
    expr: &Expr,
    names: &mut dyn Names,
    report: &mut Report,
) -> Result<Typed, Told> {
    Check { names, report }.expr(expr)
}

/// The same value as another kind, where it becomes one by itself.
pub(in super::super) fn convert(typed: Typed, to: Kind) -> Result<Typed, Typed> {
    match (typed.kind, to, &typed.value) {
        (from, to, _) if from == to => Ok(typed),
        (Kind::Int, Kind::Decimal, Value::Number(value)) => match decimal::of_int(*value) {
            Some(value) => Ok(Typed { kind: to, value: Value::Number(value), ..typed }),
            None => Err(typed),
        },
        (Kind::Int, Kind::Decimal, _) => {
            let place = typed.place;
            Ok(Typed { kind: to, place, value: Value::Change(Change::ToDecimal, typed.into()) })
        }
        _ => Err(typed),
    }
}

/// A function: what it takes, for messages.
struct Function {
    name: &'static str,
    arguments: usize,
    form: &'static str,
}

const fn function(name: &'static str, arguments: usize, form: &'static str) -> Function {
    Function { name, arguments, form }
}

const FUNCTIONS: [Function; 19] = [
    function("now", 0, "now()"),
    function("duration", 1, "duration(\"5m\")"),
    function("int", 1, "int(decimal)"),
    function("decimal", 1, "decimal(int)"),
    function("text", 1, "text(value)"),
    function("round", 1, "round(decimal)"),
    function("abs", 1, "abs(number)"),
    function("min", 2, "min(number, number)"),
    function("max", 2, "max(number, number)"),
    function("size", 1, "size(text)"),
    function("error_is", 1, "error_is(\"timeout\")"),
    function("reading", 2, "reading(device, metric)"),
    function("twin_int", 2, "twin_int(device, path)"),
    function("twin_decimal", 2, "twin_decimal(device, path)"),
    function("twin_text", 2, "twin_text(device, path)"),
    function("twin_bool", 2, "twin_bool(device, path)"),
    function("hour", 0, "hour()"),
    function("minute", 0, "minute()"),
    function("weekday", 0, "weekday()"),
];

/// What CEL has and this has not.
const FOREIGN: [&str; 21] = [
    "has",
    "all",
    "exists",
    "exists_one",
    "map",
    "filter",
    "matches",
    "timestamp",
    "uint",
    "double",
    "string",
    "bool",
    "bytes",
    "dyn",
    "type",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getDayOfWeek",
    "getFullYear",
    "getDate",
];

const METHODS: [(&str, Find); 3] =
    [("startsWith", Find::Starts), ("endsWith", Find::Ends), ("contains", Find::Has)];

struct Check<'c> {
    names: &'c mut dyn Names,
    report: &'c mut Report,
}

impl Check<'_> {
    fn expr(&mut self, expr: &Expr) -> Result<Typed, Told> {
        let place = expr.place;
        let made = |kind, value| Ok(Typed { kind, place, value });
        match &expr.node {
            Node::Int(value) => made(Kind::Int, Value::Number(*value)),
            Node::Decimal(value) => made(Kind::Decimal, Value::Number(*value)),
            Node::Duration(value) => made(Kind::Duration, Value::Number(*value)),
            Node::Time(value) => made(Kind::Time, Value::Number(*value)),
            Node::Bool(value) => made(Kind::Bool, Value::Number(i64::from(*value))),
            Node::Text(text) if text.len() > TEXT_MAX_BYTES => {
                let len = text.len();
                let message = format!("the text has {len} bytes: at most {TEXT_MAX_BYTES}");
                let advice = "longer ones can stand in an argument of a step, around `${...}`";
                Err(self.report.advise(place, message, advice))
            }
            Node::Text(text) => made(Kind::Text, Value::Text(text.clone())),
            Node::Name(name) => {
                let (kind, slot) = self.names.variable(name, place, self.report)?;
                made(kind, Value::Variable(slot))
            }
            Node::Call(name, arguments) => self.call(place, name, arguments),
            Node::Method(text, name, arguments) => self.method(place, text, name, arguments),
            Node::Negative(of) => self.negative(place, of),
            Node::Not(of) => {
                let of = self.wanted(of, Kind::Bool, "`!`")?;
                made(Kind::Bool, Value::Not(of.into()))
            }
            Node::Binary(binary, left, right) => self.binary(place, *binary, left, right),
            Node::Choice(condition, yes, no) => {
                let condition = self.wanted(condition, Kind::Bool, "what stands before `?`");
                let (yes, no) = (self.expr(yes), self.expr(no));
                let (condition, [yes, no]) = (condition?, self.alike(place, "?:", yes?, no?)?);
                made(yes.kind, Value::Choice([condition, yes, no].into()))
            }
        }
    }

    /// A part that has to be of a kind.
    fn wanted(&mut self, expr: &Expr, kind: Kind, what: &str) -> Result<Typed, Told> {
        let typed = self.expr(expr)?;
        convert(typed, kind).map_err(|typed| {
            let (found, wanted) = (typed.kind.name(), kind.name());
            self.report.wrong(expr.place, format!("{what} takes {wanted}, not {found}"))
        })
    }

    fn mismatch(&mut self, place: Place, sign: &str, a: Kind, b: Kind) -> Told {
        let message = format!("`{sign}` does not go between {} and {}", a.name(), b.name());
        let advice = match (sign, a, b) {
            ("+", Kind::Text, _) | ("+", _, Kind::Text) => "`text(x)` makes a text of a number",
            ("+", Kind::Time, Kind::Time) => {
                "a time and a duration make a time: `t + duration(..)`"
            }
            (_, Kind::Duration, Kind::Int | Kind::Decimal)
            | (_, Kind::Int | Kind::Decimal, Kind::Duration) => {
                "a duration is written `duration(\"5m\")`"
            }
            ("/" | "*", Kind::Duration, Kind::Duration) => "a duration goes with an int",
            _ => return self.report.wrong(place, message),
        };
        self.report.advise(place, message, advice)
    }

    /// Two values of one kind.
    fn alike(&mut self, place: Place, sign: &str, a: Typed, b: Typed) -> Result<[Typed; 2], Told> {
        let (left, right) = (a.kind, b.kind);
        let kind = if left == Kind::Decimal || right != Kind::Decimal { left } else { right };
        match (convert(a, kind), convert(b, kind)) {
            (Ok(a), Ok(b)) => Ok([a, b]),
            _ => Err(self.mismatch(place, sign, left, right)),
        }
    }

    fn negative(&mut self, place: Place, of: &Expr) -> Result<Typed, Told> {
        let of = self.expr(of)?;
        let kind = of.kind;
        if !kind.is_number() && kind != Kind::Duration {
            let message = format!("`-` takes a number, not {}", kind.name());
            return Err(self.report.wrong(place, message));
        }
        let value = match of.value {
            Value::Number(value) => Value::Number(-value),
            _ => Value::Change(Change::Neg, of.into()),
        };
        Ok(Typed { kind, place, value })
    }

    fn binary(
        &mut self,
        place: Place,
        binary: Binary,
        left: &Expr,
        right: &Expr,
    ) -> Result<Typed, Told> {
        let made = |kind, value| Ok(Typed { kind, place, value });
        let sign = binary.sign();
        if matches!(binary, Binary::And | Binary::Or) {
            let what = format!("`{sign}`");
            let left = self.wanted(left, Kind::Bool, &what);
            let right = self.wanted(right, Kind::Bool, &what);
            let pair = [left?, right?].into();
            let value = if binary == Binary::And { Value::And(pair) } else { Value::Or(pair) };
            return made(Kind::Bool, value);
        }
        let (left, right) = (self.expr(left), self.expr(right));
        let (left, right) = (left?, right?);
        match binary {
            Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge => {
                let [a, b] = self.alike(place, sign, left, right)?;
                if a.kind == Kind::Bool && !matches!(binary, Binary::Eq | Binary::Ne) {
                    return Err(self.mismatch(place, sign, a.kind, b.kind));
                }
                let pair = [a, b].into();
                let value = match binary {
                    Binary::Eq => Value::Compare(Compare::Eq, pair),
                    Binary::Ne => Value::Compare(Compare::Ne, pair),
                    Binary::Lt => Value::Compare(Compare::Lt, pair),
                    Binary::Le => Value::Compare(Compare::Le, pair),
                    Binary::Gt => Value::Reversed(Compare::Lt, pair),
                    _ => Value::Reversed(Compare::Le, pair),
                };
                made(Kind::Bool, value)
            }
            _ => self.math(place, binary, left, right),
        }
    }

    fn math(&mut self, place: Place, how: Binary, a: Typed, b: Typed) -> Result<Typed, Told> {
        use Kind::{Decimal, Duration, Int, Text, Time};
        let plain = match how {
            Binary::Add => Math::Add,
            Binary::Sub => Math::Sub,
            Binary::Mul => Math::Mul,
            Binary::Div => Math::Div,
            _ => Math::Rem,
        };
        let decimals = match how {
            Binary::Mul => Math::MulDecimal,
            Binary::Div => Math::DivDecimal,
            _ => plain,
        };
        let kind = match (how, a.kind, b.kind) {
            (_, Int, Int) => Int,
            (Binary::Rem, ..) => return Err(self.mismatch(place, how.sign(), a.kind, b.kind)),
            (_, Int | Decimal, Int | Decimal) => Decimal,
            (Binary::Add, Text, Text) => {
                return Ok(Typed { kind: Text, place, value: Value::Join([a, b].into()) });
            }
            (Binary::Add | Binary::Sub, Duration, Duration) | (Binary::Sub, Time, Time) => Duration,
            (Binary::Add | Binary::Sub, Time, Duration) | (Binary::Add, Duration, Time) => Time,
            (Binary::Mul | Binary::Div, Duration, Int) | (Binary::Mul, Int, Duration) => Duration,
            _ => return Err(self.mismatch(place, how.sign(), a.kind, b.kind)),
        };
        if kind != Decimal {
            return Ok(Typed { kind, place, value: Value::Math(plain, [a, b].into()) });
        }
        let pair = self.alike(place, how.sign(), a, b)?;
        Ok(Typed { kind, place, value: Value::Math(decimals, pair.into()) })
    }

    fn method(
        &mut self,
        place: Place,
        text: &Expr,
        name: &str,
        arguments: &[Expr],
    ) -> Result<Typed, Told> {
        let known = METHODS.iter().find(|(known, _)| *known == name);
        let Some((_, how)) = known else {
            if FOREIGN.contains(&name) {
                let message = format!("`.{name}()` is not supported");
                let advice = "there are `t.startsWith(u)`, `t.endsWith(u)` and `t.contains(u)`";
                return Err(self.report.advise(place, message, advice));
            }
            let message = format!("unknown function `.{name}()`");
            let advice = suggestion(name, METHODS.iter().map(|(known, _)| *known));
            return Err(self.report.tell(place, message, advice));
        };
        let [part] = arguments else {
            let message = format!("`.{name}()` takes one text, not {}", arguments.len());
            return Err(self.report.wrong(place, message));
        };
        let text = self.wanted(text, Kind::Text, "what stands before the point");
        let part = self.wanted(part, Kind::Text, &format!("`.{name}()`"));
        let value = Value::Find(*how, [text?, part?].into());
        Ok(Typed { kind: Kind::Bool, place, value })
    }

    fn call(&mut self, place: Place, name: &str, arguments: &[Expr]) -> Result<Typed, Told> {
        let Some(known) = FUNCTIONS.iter().find(|known| known.name == name) else {
            if FOREIGN.contains(&name) || name == "twin" {
                let message = format!("`{name}()` is not supported");
                let advice = match name {
                    "twin" => "say of which type: `twin_int`, `twin_decimal`, `twin_text`, ..",
                    "double" => "`decimal(x)` makes a decimal",
                    "string" => "`text(x)` makes a text",
                    _ => return Err(self.report.wrong(place, message)),
                };
                return Err(self.report.advise(place, message, advice));
            }
            let message = format!("unknown function `{name}()`");
            let names = FUNCTIONS.iter().map(|function| function.name);
            return Err(self.report.tell(place, message, suggestion(name, names)));
        };
        if arguments.len() != known.arguments {
            let (takes, given) = (known.arguments, arguments.len());
            let plural = if takes == 1 { "" } else { "s" };
            let message = format!("`{name}()` takes {takes} argument{plural}, not {given}");
            let advice = format!("write `{}`", known.form);
            return Err(self.report.advise(place, message, advice));
        }
        let made = |kind, value| Ok(Typed { kind, place, value });
        match (name, arguments) {
            ("now", _) => made(Kind::Time, Value::Now),
            ("hour", _) => made(Kind::Int, Value::Ask(Asked::Clock("hour"), Vec::new())),
            ("minute", _) => made(Kind::Int, Value::Ask(Asked::Clock("minute"), Vec::new())),
            ("weekday", _) => made(Kind::Int, Value::Ask(Asked::Clock("weekday"), Vec::new())),
            ("duration" | "error_is", [of]) => self.of_literal(place, name, of),
            ("min" | "max", [a, b]) => {
                let (a, b) = (self.expr(a), self.expr(b));
                let pair = self.alike(place, name, a?, b?)?;
                let kind = pair[0].kind;
                if matches!(kind, Kind::Bool | Kind::Text) {
                    let message = format!("`{name}()` takes numbers, not {}", kind.name());
                    return Err(self.report.wrong(place, message));
                }
                let how = if name == "min" { Math::Min } else { Math::Max };
                made(kind, Value::Math(how, pair.into()))
            }
            (_, [device, path]) => self.ask(place, name, device, path),
            (_, [of]) => {
                let of = self.expr(of)?;
                self.of_one(place, name, of)
            }
            _ => Err(self.report.wrong(place, format!("`{}` is not called so", known.form))),
        }
    }

    /// What is asked of a device.
    fn ask(&mut self, place: Place, name: &str, device: &Expr, path: &Expr) -> Result<Typed, Told> {
        let what = format!("`{name}()`");
        let device = self.wanted(device, Kind::Text, &what);
        let path = self.wanted(path, Kind::Text, &what);
        let arguments = vec![device?, path?];
        let (asked, kind) = match name {
            "twin_int" => (Asked::Twin, Kind::Int),
            "twin_decimal" => (Asked::Twin, Kind::Decimal),
            "twin_text" => (Asked::Twin, Kind::Text),
            "twin_bool" => (Asked::Twin, Kind::Bool),
            _ => (Asked::Reading, Kind::Decimal),
        };
        Ok(Typed { kind, place, value: Value::Ask(asked, arguments) })
    }

    /// A function of a text that has to stand there.
    fn of_literal(&mut self, place: Place, name: &str, of: &Expr) -> Result<Typed, Told> {
        let Node::Text(text) = &of.node else {
            let message = format!("`{name}()` takes a text in quotes, as it stands");
            return Err(self.report.wrong(of.place, message));
        };
        if name == "duration" {
            let Some(ms) = duration::parse(text) else {
                let message = format!("expected {}, got `{text}`", duration::EXPECTED);
                return Err(self.report.wrong(of.place, message));
            };
            return Ok(Typed { kind: Kind::Duration, place, value: Value::Number(ms) });
        }
        let code = self.names.error(text, of.place, self.report)?;
        let Some(reg) = self.names.caught() else {
            let advice = "elsewhere nothing was caught: use `catch` with `on`";
            let message = "`error_is()` stands outside of a `catch`";
            return Err(self.report.advise(place, message, advice));
        };
        Ok(Typed { kind: Kind::Bool, place, value: Value::Caught(reg, code) })
    }

    fn of_one(&mut self, place: Place, name: &str, of: Typed) -> Result<Typed, Told> {
        let (found, made) = (of.kind, |kind, value| Ok(Typed { kind, place, value }));
        match (name, found) {
            ("int", Kind::Int) | ("decimal", Kind::Decimal) | ("text", Kind::Text) => Ok(of),
            ("int", Kind::Duration | Kind::Time) => Ok(Typed { kind: Kind::Int, ..of }),
            ("int", Kind::Decimal) => made(Kind::Int, Value::Change(Change::ToInt, of.into())),
            ("round", Kind::Decimal) => made(Kind::Int, Value::Change(Change::Round, of.into())),
            ("decimal", Kind::Int) => {
                made(Kind::Decimal, Value::Change(Change::ToDecimal, of.into()))
            }
            ("text", _) => made(Kind::Text, Value::Shown(of.into())),
            ("abs", kind @ (Kind::Int | Kind::Decimal | Kind::Duration)) => {
                made(kind, Value::Change(Change::Abs, of.into()))
            }
            ("size", Kind::Text) => made(Kind::Int, Value::Length(of.into())),
            _ => {
                let form = FUNCTIONS.iter().find(|known| known.name == name);
                let message = format!("`{name}()` does not take {}", found.name());
                let advice = format!("it is `{}`", form.map_or(name, |known| known.form));
                Err(self.report.advise(place, message, advice))
            }
        }
    }
}
