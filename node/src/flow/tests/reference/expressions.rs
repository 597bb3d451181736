//! Expressions of a kind, drawn for a place at which some variables have a value.

use super::generate::{Around, Writer};
use crate::flow::expression::typed::Kind;

const INTS: [&str; 9] = ["0", "1", "2", "3", "7", "-1", "1000", "60", "4"];
const DECIMALS: [&str; 9] =
    ["0.0", "0.5", "2.25", "0.000001", "3.1", "100.125", "0.3", "0.333333", "1.5"];
/// What soon does not fit.
const GREAT: [&str; 3] = ["9223372036854775807", "4611686018427387904", "9223372036855"];
const GREAT_DECIMALS: [&str; 2] = ["9223372036854.775807", "3037000.5"];
const TEXTS: [&str; 9] = [
    "''",
    "'a'",
    "'low'",
    "\"q\\\"t\"",
    "'é\\n'",
    "'it\\'s'",
    "'0123456789012345678901234567890123456789'",
    "'back\\\\'",
    "'lower'",
];
const DURATIONS: [&str; 7] = [
    "duration('0s')",
    "duration('1s')",
    "duration(\"1h30m\")",
    "duration('250ms')",
    "duration('20s')",
    "duration('5m')",
    "duration('3s')",
];
const ERRORS: [&str; 6] = ["timeout", "dry", "late", "overflow", "busy", "in-doubt"];
const SIGNS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

/// An expression of a kind, of so many parts in each other at most.
pub(super) fn draw(writer: &mut Writer, kind: Kind, depth: usize, around: Around) -> String {
    let known = writer.vars.iter().enumerate().rev().filter(|(index, var)| {
        let hidden = writer.vars[index + 1..].iter().any(|other| other.name == var.name);
        var.kind == kind && var.set && !hidden
    });
    let known: Vec<_> = known.map(|(_, var)| var.name.clone()).collect();
    if !known.is_empty() && writer.random.often(if depth == 0 { 75 } else { 45 }) {
        return known[writer.random.below(known.len())].clone();
    }
    if depth == 0 {
        return literal(writer, kind);
    }
    let mut draw = Draw { writer, depth: depth - 1, around };
    match draw.writer.random.below(12) {
        0 | 1 => literal(draw.writer, kind),
        2 => {
            let condition = draw.of(Kind::Bool);
            let (yes, no) = (draw.of(kind), draw.of(kind));
            format!("({condition} ? {yes} : {no})")
        }
        _ => match kind {
            Kind::Int => draw.int(),
            Kind::Decimal => draw.decimal(),
            Kind::Bool => draw.truth(),
            Kind::Text => draw.text(),
            Kind::Duration => draw.duration(),
            Kind::Time => draw.time(),
        },
    }
}

fn literal(writer: &mut Writer, kind: Kind) -> String {
    let random = &mut writer.random;
    match kind {
        Kind::Int if random.often(8) => random.pick(&GREAT).to_owned(),
        Kind::Decimal if random.often(8) => random.pick(&GREAT_DECIMALS).to_owned(),
        Kind::Int => random.pick(&INTS).to_owned(),
        Kind::Decimal => random.pick(&DECIMALS).to_owned(),
        Kind::Bool => random.pick(&["true", "false"]).to_owned(),
        Kind::Text => random.pick(&TEXTS).to_owned(),
        Kind::Duration if random.often(5) => "duration('106751991167d')".to_owned(),
        Kind::Duration => random.pick(&DURATIONS).to_owned(),
        Kind::Time => "now()".to_owned(),
    }
}

struct Draw<'w> {
    writer: &'w mut Writer,
    depth: usize,
    around: Around,
}

impl Draw<'_> {
    fn of(&mut self, kind: Kind) -> String {
        draw(self.writer, kind, self.depth, self.around)
    }

    fn pick(&mut self, all: &[&'static str]) -> &'static str {
        self.writer.random.pick(all)
    }

    /// Two of a kind, with one of the signs between.
    fn two(&mut self, signs: &[&'static str], a: Kind, b: Kind) -> String {
        let (a, sign, b) = (self.of(a), self.pick(signs), self.of(b));
        format!("({a} {sign} {b})")
    }

    /// Something that is asked for.
    fn asked(&mut self, function: &str) -> String {
        let device =
            if self.writer.random.often(70) { "'ps-1'".to_owned() } else { self.of(Kind::Text) };
        format!("{function}({device}, 'level')")
    }

    fn either(&mut self, kind: Kind) -> String {
        let function = self.pick(&["min", "max"]);
        let (a, b) = (self.of(kind), self.of(kind));
        format!("{function}({a}, {b})")
    }

    fn int(&mut self) -> String {
        match self.writer.random.below(16) {
            0..7 => self.two(&["+", "-", "*", "/", "%"], Kind::Int, Kind::Int),
            7 => format!("int({})", self.of(Kind::Decimal)),
            8 => format!("round({})", self.of(Kind::Decimal)),
            9 => format!("int({})", self.of(Kind::Duration)),
            10 => format!("size({})", self.of(Kind::Text)),
            11 => format!("abs({})", self.of(Kind::Int)),
            12 => format!("-({})", self.of(Kind::Int)),
            13 => self.either(Kind::Int),
            14 => self.pick(&["hour()", "minute()", "weekday()"]).to_owned(),
            _ => self.asked("twin_int"),
        }
    }

    fn decimal(&mut self) -> String {
        let signs = ["+", "-", "*", "/"];
        match self.writer.random.below(14) {
            0..4 => self.two(&signs, Kind::Decimal, Kind::Decimal),
            // A great number that stands there is told to be too great.
            4 | 5 => {
                let (int, sign, decimal) =
                    (self.of(Kind::Int), self.pick(&signs), self.of(Kind::Decimal));
                format!("(({int} + 0) {sign} {decimal})")
            }
            6 => {
                let (decimal, int) = (self.of(Kind::Decimal), self.of(Kind::Int));
                format!("({decimal} * ({int} % 100))")
            }
            7 => format!("decimal({})", self.of(Kind::Int)),
            8 => format!("abs({})", self.of(Kind::Decimal)),
            9 => format!("-({})", self.of(Kind::Decimal)),
            10 => self.either(Kind::Decimal),
            11 => {
                let (condition, int) = (self.of(Kind::Bool), self.of(Kind::Int));
                format!("({condition} ? {} : ({int} / 1))", self.of(Kind::Decimal))
            }
            12 => self.asked("twin_decimal"),
            _ => self.asked("reading"),
        }
    }

    fn truth(&mut self) -> String {
        match self.writer.random.below(14) {
            0..3 => self.two(&SIGNS, Kind::Int, Kind::Int),
            3 | 4 => self.two(&SIGNS, Kind::Decimal, Kind::Decimal),
            5 => self.two(&SIGNS, Kind::Text, Kind::Text),
            6 => self.two(&SIGNS, Kind::Duration, Kind::Duration),
            7 => self.two(&SIGNS, Kind::Time, Kind::Time),
            8 => self.two(&["==", "!="], Kind::Bool, Kind::Bool),
            9 | 10 => self.two(&["&&", "||"], Kind::Bool, Kind::Bool),
            11 => format!("!({})", self.of(Kind::Bool)),
            12 if self.around.caught => format!("error_is('{}')", self.pick(&ERRORS)),
            12 => {
                let method = self.pick(&["startsWith", "endsWith", "contains"]);
                let (text, part) = (self.of(Kind::Text), self.of(Kind::Text));
                format!("({text}).{method}({part})")
            }
            _ => self.asked("twin_bool"),
        }
    }

    fn text(&mut self) -> String {
        match self.writer.random.below(10) {
            0..5 => self.two(&["+"], Kind::Text, Kind::Text),
            5 => format!("text({})", self.of(Kind::Int)),
            6 => format!("text({})", self.of(Kind::Decimal)),
            7 => format!("text({})", self.of(Kind::Bool)),
            8 => format!("text({})", self.of(Kind::Duration)),
            _ => self.asked("twin_text"),
        }
    }

    fn duration(&mut self) -> String {
        match self.writer.random.below(10) {
            0..3 => self.two(&["+", "-"], Kind::Duration, Kind::Duration),
            3 | 4 => self.two(&["*", "/"], Kind::Duration, Kind::Int),
            5 => self.two(&["*"], Kind::Int, Kind::Duration),
            6 => self.two(&["-"], Kind::Time, Kind::Time),
            7 => format!("-({})", self.of(Kind::Duration)),
            8 => format!("abs({})", self.of(Kind::Duration)),
            _ => self.either(Kind::Duration),
        }
    }

    fn time(&mut self) -> String {
        match self.writer.random.below(8) {
            0..4 => self.two(&["+", "-"], Kind::Time, Kind::Duration),
            4 | 5 => self.two(&["+"], Kind::Duration, Kind::Time),
            6 => self.either(Kind::Time),
            _ => "now()".to_owned(),
        }
    }
}
