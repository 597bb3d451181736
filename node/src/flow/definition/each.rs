//! What `each` goes through: a list that stands there, of texts, of numbers, or of maps of them.

use super::super::diagnostic::{Report, Told};
use super::super::expression::typed::Kind;
use super::super::source::{Node, Value};
use super::fields::{self, Fields, Named};
use super::step::{Action, EACH, some_steps};
use super::{Constant, constant};
use holdfast_core::flow::TEXT_MAX_BYTES;
use holdfast_core::flow::verify::FIBERS_MAX;

/// Items of a list: an index of one has eight bits.
const ITEMS_MAX: usize = 255;

/// The items, a column for each field; a list of plain values has one without a name.
#[derive(Clone, Debug)]
pub(in super::super) struct Items {
    pub(in super::super) count: usize,
    pub(in super::super) columns: Vec<Column>,
}

/// One field of all items.
#[derive(Clone, Debug)]
pub(in super::super) struct Column {
    pub(in super::super) name: Option<String>,
    pub(in super::super) kind: Kind,
    pub(in super::super) values: Vec<Constant>,
}

/// Reads `each: {in, as, at_once}` with its `do`.
pub(super) fn read(
    head: &Node<'_>,
    step: &Fields<'_>,
    report: &mut Report,
) -> Result<Action, Told> {
    let fields = Fields::read(head, "`each`", &EACH, report)?;
    let items = fields.need("in", report).and_then(|node| items(node, report));
    let name = match fields.get("as") {
        Some(node) => {
            let scalar = fields::scalar(node, "a name", report)?;
            fields::name(scalar, "an item", report)
        }
        None => Ok(Named { text: "item".to_owned(), place: head.place }),
    };
    let at_once = fields.or("at_once", 1, report, |node, report| {
        // One fiber is the run itself.
        fields::whole(node, 1, u32::from(FIBERS_MAX) - 1, report)
    });
    let body = some_steps(step.need("do", report)?, "do", report);
    Ok(Action::Each { items: items?, name: name?, at_once, body: body? })
}

fn items(node: &Node<'_>, report: &mut Report) -> Result<Items, Told> {
    let list = fields::list(node, "`in`", report)?;
    let count = list.len();
    if !(1..=ITEMS_MAX).contains(&count) {
        let message = format!("`in` has {count} items: 1 to {ITEMS_MAX} can be gone through");
        return Err(report.wrong(node.place, message));
    }
    let maps = list.iter().filter(|item| matches!(item.value, Value::Map(_))).count();
    if maps == 0 {
        let values: Vec<_> = list.iter().collect();
        let columns = vec![column(None, &values, report)?];
        return Ok(Items { count, columns });
    }
    let first = Fields::of(&list[0], "an item", report)?;
    let keys: Vec<_> = first.entries().iter().map(|(key, _)| key.text.as_str()).collect();
    if keys.is_empty() {
        return Err(report.wrong(list[0].place, "an item has no fields"));
    }
    let all = list.iter().map(|item| Fields::read(item, "an item", &keys, report));
    let all = all.collect::<Vec<_>>().into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut columns = Vec::new();
    for (key, _) in first.entries() {
        let name = fields::name(key, "a field", report)?;
        let values = all.iter().map(|item| item.need(&name.text, report));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        columns.push(column(Some(name.text), &values, report)?);
    }
    Ok(Items { count, columns })
}

fn column(name: Option<String>, nodes: &[&Node<'_>], report: &mut Report) -> Result<Column, Told> {
    let of = |node: &Node<'_>| match &node.value {
        Value::Scalar(scalar) if !scalar.plain => Kind::Text,
        Value::Scalar(scalar) if scalar.text.parse::<i64>().is_ok() => Kind::Int,
        Value::Scalar(scalar) if scalar.text.parse::<f64>().is_ok() => Kind::Decimal,
        _ => Kind::Text,
    };
    let kinds: Vec<_> = nodes.iter().map(|node| of(node)).collect();
    let kind = match kinds.iter().find(|kind| **kind != Kind::Int) {
        None => Kind::Int,
        Some(_) if kinds.contains(&Kind::Text) => Kind::Text,
        Some(_) => Kind::Decimal,
    };
    if let Some(at) = kinds.iter().position(|known| *known != kind && kind == Kind::Text) {
        let message = "texts and numbers stand in one list";
        return Err(report.advise(nodes[at].place, message, "a number in quotes is a text"));
    }
    let values = nodes.iter().map(|node| {
        if kind == Kind::Text {
            return fields::short(node, "a text", TEXT_MAX_BYTES, report).map(Constant::Text);
        }
        constant(node, kind, report)
    });
    let values = values.collect::<Result<Vec<_>, _>>()?;
    Ok(Column { name, kind, values })
}
