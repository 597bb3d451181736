//! The schema that editors read says the same as the compiler, and the documentation both.

use super::super::definition::{TOP, step, triggers};
use super::super::diagnostic::Report;
use super::super::source::{Node, Value, parse};
use super::*;
use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value as Json;

const SCHEMA: &str = include_str!("../../../../docs/workflow.schema.json");
const GUIDE: &str = include_str!("../../../../docs/workflows.md");

/// The definitions of the guide: what is indented there and begins with the id.
fn examples() -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut inside = false;
    for line in GUIDE.lines() {
        match line.strip_prefix("    ") {
            Some(line) if line.starts_with("workflow: ") => {
                inside = true;
                out.push(format!("{line}\n"));
            }
            Some(line) if inside => out.last_mut().unwrap().push_str(&format!("{line}\n")),
            _ => inside = false,
        }
    }
    out
}

fn json(node: &Node<'_>) -> Json {
    match &node.value {
        Value::Scalar(scalar) if scalar.is_null() => Json::Null,
        Value::Scalar(scalar) => {
            let plain = scalar.plain.then(|| serde_json::from_str::<Json>(&scalar.text).ok());
            plain.flatten().unwrap_or_else(|| scalar.text.as_str().into())
        }
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => {
            entries.iter().map(|(key, value)| (key.text.clone(), json(value))).collect()
        }
    }
}

struct Judge {
    schemas: Schemas,
    schema: SchemaIndex,
}

impl Judge {
    fn new() -> Self {
        let name = "http://holdfast.test/workflow.schema.json";
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        compiler.add_resource(name, serde_json::from_str(SCHEMA).unwrap()).unwrap();
        let schema = compiler.compile(name, &mut schemas).unwrap();
        Self { schemas, schema }
    }

    fn judge(&self, text: &str) -> Result<(), String> {
        let tree = parse(text, &mut Report::default()).unwrap();
        let tree = json(&tree);
        let judged = self.schemas.validate(&tree, self.schema);
        judged.map_err(|error| error.to_string())
    }
}

#[test]
fn every_example_is_accepted_by_the_compiler_and_the_schema() {
    let (judge, examples) = (Judge::new(), examples());
    assert!(examples.len() >= 6, "{}", examples.len());
    for example in examples {
        if let Err(wrong) = compile(&example) {
            panic!("{}\n{example}", wrong[0]);
        }
        judge.judge(&example).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}

#[test]
fn the_guide_names_every_step_and_key() {
    let triggers =
        triggers().map(|(name, beside, inside)| (name, beside.to_vec(), inside.to_vec()));
    for (name, keys, inner) in step::shapes().into_iter().chain(triggers) {
        for key in keys.into_iter().chain(inner).chain([name]) {
            let known = ["`", "{", ", ", " "].iter().any(|before| {
                [":", ",", "`", "}", " "]
                    .iter()
                    .any(|behind| GUIDE.contains(&format!("{before}{key}{behind}")))
            });
            assert!(known, "`{key}` of `{name}`");
        }
    }
}

#[test]
fn the_schema_has_the_keys_that_the_compiler_takes() {
    let schema: Json = serde_json::from_str(SCHEMA).unwrap();
    let sorted = |mut keys: Vec<String>| {
        keys.sort();
        keys
    };
    let compare = |what: &str, at: &Json, keys: &[&str]| {
        let found = at["properties"].as_object().map(|it| it.keys().cloned().collect());
        let wanted = keys.iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(sorted(found.unwrap_or_default()), sorted(wanted), "{what}");
        assert_eq!(at["additionalProperties"], false, "{what}");
    };
    let part = |name: &str| &schema["$defs"][name];
    for (name, keys, inner) in step::shapes() {
        compare(name, part(name), &keys);
        let within = match name {
            "wait_for" => part("condition"),
            _ => &part(name)["properties"][name],
        };
        if !inner.is_empty() {
            compare(name, within, &inner);
        }
    }
    let steps = part("step")["oneOf"].as_array().unwrap().len();
    assert_eq!(steps, step::shapes().len());
    for (name, beside, inside) in triggers() {
        let at = part(&format!("on_{name}"));
        compare(name, at, beside);
        let head = &at["properties"][name];
        // That of an alert may be a word alone.
        let head = if name == "alert" { &head["oneOf"][1] } else { head };
        if !inside.is_empty() {
            compare(name, head, inside);
        }
    }
    assert_eq!(part("trigger")["oneOf"].as_array().unwrap().len(), triggers().count());
    compare("a workflow", &schema, TOP[0].1);
    compare("runs", part("runs"), TOP[1].1);
    compare("declared", part("declaration"), TOP[2].1);
    for (name, at) in
        [("late", "late"), ("catch", "clause"), ("retry", "rule"), ("result", "taken")]
    {
        let keys = step::SMALL.iter().find(|(known, _)| *known == name).unwrap().1;
        compare(name, part(at), keys);
    }
}

#[test]
fn the_schema_refuses_what_has_another_form() {
    let judge = Judge::new();
    for bad in [
        "titel: x\nsteps: [{fail: busy}]\n",
        "title: x\n",
        "steps: [{comand: stop, device: d}]\n",
        "steps: [{command: stop}]\n",
        "steps: [{publish: a, payload: b, qos: 3}]\n",
        "steps: [{wait: 1m, publish: a, payload: b}]\n",
        "steps: [{repeat: {while: true}, do: [{wait: 1s}]}]\n",
        "steps: [{wait_for: {device: d, metric: m}}]\n",
        "steps: [{try: [{wait: 1s}]}]\n",
        "steps: [{command: c, device: d, timeout: 30}]\n",
        "on: [{reading: {device: d, metric: m}}]\nsteps: [{wait: 1m}]\n",
        "on: [{reading: {device: d, metric: m, above: 3, silent: 1m}}]\nsteps: [{wait: 1m}]\n",
        "on: [{rollup: {device: d, metric: m, above: 3, width: 1m}}]\nsteps: [{wait: 1m}]\n",
        "on: [{twin: {device: d, path: state}}]\nsteps: [{wait: 1m}]\n",
        "on: [{schedule: every 1h, missed: all}]\nsteps: [{wait: 1m}]\n",
        "on: [{message: a, alert: b}]\nsteps: [{wait: 1m}]\n",
    ] {
        judge.judge(&whole(bad)).expect_err(bad);
        compile(&whole(bad)).expect_err(bad);
    }
}
