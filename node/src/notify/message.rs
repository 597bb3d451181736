//! A notice as it is sent: JSON to a webhook, or a mail that people read.

use super::record::{Notice, NoticeId};
use super::settings::Way;
use super::smtp::Letter;
use crate::requests::{Call, Place, Requests};
use crate::time_text::Time;
use bytes::Bytes;
use holdfast_core::Timestamp;
use lettre::message::Mailbox;
use serde_json::json;
use std::time::Duration;

/// What people are told goes before what services are asked.
const PRIORITY: u8 = 9;
/// How long a webhook has to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Characters of the subject of a mail.
const SUBJECT_MAX: usize = 120;

fn since(notice: &Notice) -> Time {
    Time(Timestamp::from_millis(notice.since_ms).unwrap_or_default())
}

/// Posts a notice.
///
/// # Errors
/// What went wrong, in words.
pub(super) async fn post(
    requests: &Requests,
    place: &Place,
    (id, notice, key): (NoticeId, &Notice, &str),
) -> Result<(), String> {
    let body = json!({
        "notice": id.to_string(),
        "workflow": notice.workflow,
        "run": notice.runs.last().map(ToString::to_string),
        "target": notice.target,
        "device": (!notice.device.is_empty()).then_some(&notice.device),
        "text": notice.text,
        "count": notice.count,
        "since": since(notice),
    });
    let body = Bytes::from(body.to_string());
    let (method, content_type) = ("POST", "application/json");
    let (priority, limit) = (PRIORITY, TIMEOUT);
    let call = Call { method, place, key, content_type, body, priority, limit };
    requests.call(call).await.map(drop).map_err(|failure| failure.to_string())
}

/// The mail that tells one of those whom `ways` name how `program` is told that they know.
pub(super) fn letter<'a>(
    (id, notice, key): (NoticeId, &Notice, &'a str),
    to: &'a Mailbox,
    (ways, program): (&[Way], &str),
) -> Letter<'a> {
    let all = ways.iter().filter_map(|way| match way {
        Way::Mail(mailbox) => Some(mailbox.clone()),
        Way::Webhook(_) => None,
    });
    let Notice { workflow, device, text, count, .. } = notice;
    let line = text.lines().next().unwrap_or_default();
    // What a device has reported is a part of the text: in a head it must not begin a line.
    let subject = format!("{workflow}: {line}");
    let subject = subject.chars().filter(|c| !c.is_control()).take(SUBJECT_MAX).collect();
    let about = if device.is_empty() { String::new() } else { format!("Device: {device}\n") };
    let said = match count {
        1 => String::new(),
        count => format!(", {count} times by now"),
    };
    let run = notice.runs.last().map(ToString::to_string).unwrap_or_default();
    let since = since(notice);
    let text = format!(
        "{text}\n\n{about}Workflow: {workflow}\nRun: {run}\nSince: {since}{said}\n\n\
         This is repeated every hour until somebody says that they know:\n\
         {program} workflow acknowledge {id}\n"
    );
    Letter { all: all.collect(), to, key, subject, text }
}
