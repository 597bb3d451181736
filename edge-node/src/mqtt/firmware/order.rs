//! A command as a device gets it, and what it answers, from JSON and to JSON.
//!
//! A microcontroller reads no JSON: arguments are the leaves of an object, each at its path, as in
//! a twin. What has no such form, or is longer than a message, no device can be asked to do, and
//! whoever ordered it is told why.

use super::letters::envelope;
use crate::device_commands::{CommandId, Record, Reply};
use crate::mqtt::message::Moment;
use holdfast_core::device::command::{self, Arguments, Command, Outcome, put_argument};
use holdfast_core::device::{self, MESSAGE_MAX_BYTES};
use holdfast_core::limits::TEXT_MAX_BYTES;
use holdfast_core::reading::Text;
use holdfast_core::state::Path;
use holdfast_core::{Reject, Value};
use serde_json::{Map, Value as Json};

/// The envelope of a command that is sent at `now`.
///
/// # Errors
/// Why no device can be sent it.
pub fn command(id: CommandId, record: &Record, now: &Moment) -> Result<Vec<u8>, String> {
    let mut arguments = Vec::new();
    match &record.args {
        None => {}
        Some(Json::Object(members)) => put(&mut arguments, "", members)?,
        Some(_) => return Err("the arguments are no object".to_owned()),
    }
    let arguments = Arguments::read(&arguments).map_err(|reject: Reject| reject.to_string())?;
    let expires_ms = record.left_ms(now).unwrap_or_default();
    let command = Command { id: id.0, expires_ms, name: &record.name, arguments };
    envelope(device::COMMAND, |out| command.encode(out)).ok_or_else(|| {
        let bytes = arguments.as_bytes().len();
        format!("the arguments take {bytes} bytes, more than a message of {MESSAGE_MAX_BYTES} has")
    })
}

/// Appends the leaves of an object, in the order of their paths.
fn put(out: &mut Vec<u8>, above: &str, members: &Map<String, Json>) -> Result<(), String> {
    for (name, json) in members {
        let path = if above.is_empty() { name.clone() } else { format!("{above}/{name}") };
        let wrong = |what: &str| format!("the argument `{path}` {what}");
        let checked = Path::new(&path).map_err(|reject| wrong(&format!("cannot be: {reject}")))?;
        // A name with a slash would be two.
        if name.contains('/') {
            return Err(wrong(&format!("cannot be: {}", Reject::Path)));
        }
        let value =
            match json {
                Json::Object(members) => {
                    put(out, &path, members)?;
                    continue;
                }
                Json::Bool(on) => Value::Bool(*on),
                Json::Number(number) => match number.as_i64() {
                    Some(int) => Value::Int(int),
                    None => Value::float(number.as_f64().unwrap_or(f64::NAN))
                        .map_err(|reject| wrong(&reject.to_string()))?,
                },
                Json::String(text) => Value::Text(Text::new(text).map_err(|_| {
                    wrong(&format!("is a text of more than {TEXT_MAX_BYTES} bytes"))
                })?),
                Json::Null => return Err(wrong("is null")),
                Json::Array(_) => return Err(wrong("is an array")),
            };
        put_argument(out, checked, &value).map_err(|reject| reject.to_string())?;
    }
    Ok(())
}

/// What a device answers, as it is kept.
#[must_use]
pub fn reply(reply: &command::Reply<'_>) -> (CommandId, Reply) {
    let outcome = match reply.outcome {
        Outcome::Done(value) => Reply::Done(value.map_or(Json::Null, json)),
        Outcome::Failed(text) => Reply::Failed(text.as_str().to_owned()),
    };
    (CommandId(reply.id), outcome)
}

fn json(value: Value<'_>) -> Json {
    match value {
        Value::Float(number) => number.get().into(),
        Value::Int(int) => int.into(),
        Value::Bool(on) => on.into(),
        Value::Text(text) => text.as_str().into(),
    }
}
