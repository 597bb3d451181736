//! What somebody decides about a part of a run that is parked.

use super::{Data, RunError, find, id_of};
use crate::auth::Admin;
use crate::http::{Json as Body, Path};
use crate::problem::Problem;
use crate::routes::NoContent;
use crate::runs::effect::{owned, type_name};
use crate::runs::{Decision, Flow, Run, Runs};
use axum::extract::State;
use axum::http::StatusCode;
use holdfast_core::flow::image::Named;
use holdfast_core::flow::view::{self, Wait};
use holdfast_core::flow::{Memory, Op, Slot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What somebody decides.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RunDecision")]
pub struct DecisionShape {
    /// The part of the run, from its `waits`; the only one that is parked otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fiber: Option<u8>,
    /// `retry`, `skip`, `set` or `compensate`.
    pub how: String,
    /// With `set`: variables and their new values. With `skip`: those that the answer would have
    /// set, where they have no default.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
}

pub(super) async fn decide(
    Admin(who): Admin,
    State(data): State<Data>,
    State(runs): State<Runs>,
    Path(run): Path<String>,
    Body(decision): Body<DecisionShape>,
) -> Result<NoContent, Problem> {
    let id = id_of(&run)?;
    let found = find(&data, id).await?;
    let flow = runs.library().get(&found.workflow, &found.version).cloned();
    let flow = flow.ok_or_else(|| RunError::NoRun.problem())?;
    let fiber = match decision.fiber {
        Some(fiber) => fiber,
        None => only_parked(&found, &flow)?,
    };
    for decision in decisions(&flow, &found, fiber, &decision)? {
        let done = runs.resolve(id, fiber, decision, &who.grant.name).await;
        done.map_err(|error| error.problem())?;
    }
    Ok(NoContent)
}

fn only_parked(run: &Run, flow: &Flow) -> Result<u8, Problem> {
    let image = flow.image();
    let memory = Memory::new(&run.memory, image.sizes);
    let parked = memory.into_iter().flat_map(|memory| view::waits(&image, memory));
    let parked: Vec<u8> = parked
        .filter(|waiting| matches!(waiting.wait, Wait::Decision(_)))
        .map(|waiting| waiting.fiber)
        .collect();
    match parked[..] {
        [fiber] => Ok(fiber),
        [] => Err(Problem::new(StatusCode::CONFLICT, "nothing-parked", "nothing of it is parked")),
        _ => Err(Problem::invalid("invalid-decision", "more than one part of it is parked")
            .at("/fiber")
            .expected("the `fiber` of one of its `waits`")),
    }
}

fn decisions(
    flow: &Flow,
    run: &Run,
    fiber: u8,
    decision: &DecisionShape,
) -> Result<Vec<Decision>, Problem> {
    let single = match decision.how.as_str() {
        "retry" => Decision::Retry,
        "skip" => return skip(flow, run, fiber, &decision.values),
        "compensate" => Decision::Compensate,
        "set" => return sets(flow, &decision.values),
        other => {
            let detail = format!("`{other}` is no decision");
            return Err(Problem::invalid("invalid-decision", detail)
                .at("/how")
                .expected("retry, skip, set or compensate"));
        }
    };
    Ok(vec![single])
}

/// Going on behind an effect without its answer: what that would have set somebody has to say.
fn skip(
    flow: &Flow,
    run: &Run,
    fiber: u8,
    values: &Map<String, Value>,
) -> Result<Vec<Decision>, Problem> {
    let image = flow.image();
    let memory = Memory::new(&run.memory, image.sizes);
    let place = memory.and_then(|memory| {
        view::waits(&image, memory).find(|wait| wait.fiber == fiber).map(|wait| wait.pc)
    });
    let effect = place.and_then(|pc| match image.op(pc)? {
        Op::Do { effect } => image.effect(effect),
        _ => None,
    });
    let lacking = effect.into_iter().flat_map(|effect| effect.answers).filter_map(|field| {
        let mut names = image.names();
        let (_, name) = names.find(|(named, _)| *named == Named::Slot(field.slot))?;
        (field.default.is_none() && !values.contains_key(name)).then(|| name.to_owned())
    });
    let lacking: Vec<String> = lacking.collect();
    if let Some(first) = lacking.first() {
        let detail = format!("without an answer {} would have no value", lacking.join(" and "));
        return Err(Problem::invalid("invalid-decision", detail)
            .at(format!("/values/{first}"))
            .expected(format!("`skip` with values, such as {{\"{first}\": ...}}")));
    }
    let mut decisions = sets(flow, values)?;
    decisions.push(Decision::Skip);
    Ok(decisions)
}

fn sets(flow: &Flow, values: &Map<String, Value>) -> Result<Vec<Decision>, Problem> {
    let image = flow.image();
    let mut out = Vec::new();
    for (name, value) in values {
        let slot = image.names().find_map(|(named, known)| match named {
            Named::Slot(slot) if known == name => Some(slot),
            _ => None,
        });
        let slot: Slot = slot.ok_or_else(|| {
            let detail = format!("the workflow has no variable `{name}`");
            Problem::invalid("invalid-decision", detail).at(format!("/values/{name}"))
        })?;
        let owned = owned(&image, slot, value).ok_or_else(|| {
            let wanted = type_name(&image, slot);
            Problem::invalid("invalid-decision", format!("`{name}` is to be {wanted}, not {value}"))
                .at(format!("/values/{name}"))
        })?;
        out.push(Decision::Set(slot, owned));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::compile;
    use crate::runs::record::Installed;
    use holdfast_core::flow::memory::bytes_of;
    use holdfast_core::flow::{Code, Input, Moment, Outcome, Tier, start, step};
    use serde_json::json;

    const DEFINITION: &str = r#"
workflow: fill
version: "1"
unhandled: park
output: {percent: percent}
steps:
  - command: fill
    device: tank-1
    result: {percent: {path: percent, type: int}, note: {path: note, type: text, default: ""}}
"#;

    /// A run whose command is parked, with its workflow.
    fn parked() -> (Flow, Run) {
        let image = compile(DEFINITION).unwrap().image;
        let by = String::new();
        let installed = Installed { added_ms: 0, by, is_enabled: true, origin: None, image };
        let flow = Flow::accept(installed, &Tier::NODE).unwrap();
        let mut memory = vec![0; bytes_of(flow.image().sizes)];
        let moment = Moment { now_ms: 1, entropy: 0 };
        start(&flow.image(), &mut memory, &[], moment).unwrap();
        let failed = Input::Result { serial: 1, outcome: Outcome::Failed(Code::REFUSED) };
        step(&flow.image(), &mut memory, &failed, moment).unwrap();
        let run =
            Run { workflow: "fill".to_owned(), version: "1".to_owned(), memory, ..Run::default() };
        (flow, run)
    }

    #[test]
    fn an_effect_is_skipped_with_what_its_answer_would_have_set() {
        let (flow, run) = parked();
        let decide = |values: Value| {
            let how = "skip".to_owned();
            let values = values.as_object().unwrap().clone();
            decisions(&flow, &run, 0, &DecisionShape { fiber: None, how, values })
        };
        let problem = decide(json!({})).unwrap_err();
        let told = format!("{problem:?}");
        assert!(told.contains("without an answer percent would have no value"), "{told}");
        assert!(told.contains("/values/percent"), "{told}");
        let decided = decide(json!({ "percent": 5 })).unwrap();
        assert!(matches!(decided[..], [Decision::Set(..), Decision::Skip]), "{decided:?}");
    }
}
