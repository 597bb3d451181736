//! The message that a command is, and the one that answers it.

use super::record::{CommandId, ERROR_MAX, JSON_MAX, Record, Reply};
use crate::mqtt::message::Moment;
use crate::mqtt::packet::{Binary, Publish, PublishProperties, QoS, Topic, Utf8};
use bytes::Bytes;
use holdfast_node::time_text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::fmt;

/// Where a device answers.
///
/// # Panics
/// Never: what can be a device can be a level of a topic.
#[must_use]
pub fn replies(device: &str) -> Topic {
    Topic::try_from(format!("devices/{device}/replies").as_str()).expect("a device is a level")
}

/// The message of a command, as it is sent at `now`.
pub(super) fn of(device: &str, id: CommandId, record: &Record, now: &Moment) -> Publish {
    let topic = format!("devices/{device}/commands/{}", record.name);
    let expires = time_text::format(record.expires());
    let mut payload = json!({ "id": id.to_string(), "expires": expires });
    if let Some(args) = &record.args {
        payload["args"] = args.clone();
    }
    let correlation = Bytes::from(id.to_string());
    let properties = PublishProperties {
        response_topic: Some(replies(device)),
        correlation: Some(Binary::new(correlation).expect("it is short")),
        content_type: Some(Utf8::try_from("application/json").expect("it is short")),
        expiry_s: record.left_s(now).map(|left| u32::try_from(left).unwrap_or(u32::MAX)),
        ..PublishProperties::default()
    };
    Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: Topic::try_from(topic.as_str()).expect("both are levels"),
        packet_id: None,
        payload: payload.to_string().into(),
        properties,
    }
}

/// Why something is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyError(String);

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReplyError {}

/// What a device answers: `result` or `error`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CommandReply")]
pub struct ReplyBody {
    /// Which command it answers, where that is not said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What came of it: any JSON.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    pub result: Option<Json>,
    /// Why it could not be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A member that is there is not nothing, even if it is `null`.
fn there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

impl ReplyBody {
    /// Which command it answers, and how; `otherwise` is the command where it names none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(self, otherwise: Option<&str>) -> Result<(CommandId, Reply), ReplyError> {
        let wrong = |text: &str| ReplyError(text.to_owned());
        let id = self.id.as_deref().or(otherwise);
        let id = id.ok_or_else(|| wrong("which command it answers is not said: give its `id`"))?;
        let id = CommandId::parse(id).ok_or_else(|| {
            ReplyError(format!("`{id}` is no command's id: those are 32 hexadecimal digits"))
        })?;
        let reply = match (self.result, self.error) {
            (Some(result), None) if result.to_string().len() > JSON_MAX => {
                return Err(ReplyError(format!("`result` has more than {JSON_MAX} bytes")));
            }
            (None, Some(text)) if text.len() > ERROR_MAX => {
                return Err(ReplyError(format!("`error` has more than {ERROR_MAX} bytes")));
            }
            (Some(result), None) => Reply::Done(result),
            (None, Some(text)) => Reply::Failed(text),
            _ => return Err(wrong("expected either `result` or `error`")),
        };
        Ok((id, reply))
    }
}

/// Reads the payload of an answer; which command it is for is told by `correlation` where the
/// payload does not.
///
/// # Errors
/// What is wrong with it.
pub fn reply(payload: &[u8], correlation: Option<&[u8]>) -> Result<(CommandId, Reply), ReplyError> {
    let body: ReplyBody = serde_json::from_slice(payload).map_err(|error| {
        let expected = "{\"id\":\"...\",\"result\":...} or {\"id\":\"...\",\"error\":\"...\"}";
        ReplyError(format!("the payload is no answer: {error}; expected {expected}"))
    })?;
    body.read(correlation.and_then(|bytes| std::str::from_utf8(bytes).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019e2b3c4d5e8f90a1b2c3d4e5f60718";

    fn read(text: &str) -> Result<(CommandId, Reply), String> {
        reply(text.as_bytes(), None).map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_says_what_came_of_which_command() {
        let id = CommandId::parse(ID).unwrap();
        let done = read(&format!(r#"{{"id":"{ID}","result":null}}"#));
        assert_eq!(done, Ok((id, Reply::Done(Json::Null))));
        let failed = read(&format!(r#"{{"id":"{ID}","error":"stuck"}}"#));
        assert_eq!(failed, Ok((id, Reply::Failed("stuck".to_owned()))));
        let by_correlation = reply(br#"{"result":1}"#, Some(ID.as_bytes()));
        assert_eq!(by_correlation, Ok((id, Reply::Done(json!(1)))));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let long = format!(r#"{{"id":"{ID}","error":"{}"}}"#, "x".repeat(ERROR_MAX + 1));
        for (text, part) in [
            ("on", "no answer"),
            (r#"{"result":1}"#, "give its `id`"),
            (r#"{"id":"12","result":1}"#, "32 hexadecimal"),
            (&format!(r#"{{"id":"{ID}"}}"#), "either `result` or `error`"),
            (&format!(r#"{{"id":"{ID}","result":1,"error":"x"}}"#), "either"),
            (&format!(r#"{{"id":"{ID}","resutl":1}}"#), "resutl"),
            (&long, "1024 bytes"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(part), "{text}: {told}");
        }
    }

    #[test]
    fn a_command_is_the_message_that_the_page_shows() {
        let ordered = Moment { wall_ms: 1_795_953_600_000, boot: 1, steady_ms: 0 };
        let record = Record {
            name: "open".to_owned(),
            args: Some(json!({ "percent": 50 })),
            by: "token t".to_owned(),
            ordered,
            lasts_s: 60,
            key: String::new(),
            reply: None,
        };
        let now = Moment { steady_ms: 20_000, ..ordered };
        let message = of("ps-017", CommandId::parse(ID).unwrap(), &record, &now);
        assert_eq!(message.topic.as_str(), "devices/ps-017/commands/open");
        let payload: Json = serde_json::from_slice(&message.payload).unwrap();
        let expected =
            json!({ "id": ID, "args": { "percent": 50 }, "expires": "2026-11-29T12:01:00Z" });
        assert_eq!(payload, expected);
        assert_eq!(message.properties.expiry_s, Some(40));
        assert_eq!(message.properties.response_topic, Some(replies("ps-017")));
        assert!(!message.retain && message.qos == QoS::AtLeastOnce);
    }
}
