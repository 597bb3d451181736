//! Messages as they come, as server-sent events: what a page builds its tree of topics from.
//!
//! First comes what is retained, then `ready`, then what is published from now on. A payload is cut
//! after [`SHOWN`] bytes, since people look at it; its whole size is told. Who does not keep up is
//! told in `missed` how many messages it was not sent, and goes on with the next.

use super::{filter, stopping};
use crate::mqtt::broker::Shown;
use crate::mqtt::message::Message;
use crate::mqtt::packet::Filter;
use crate::service::App;
use axum::extract::State;
use axum::response::sse::{Event, KeepAliveStream, Sse};
use data_encoding::BASE64;
use futures::stream::{self, Stream};
use holdfast_node::auth::Reader;
use holdfast_node::events::{Events, kept_alive};
use holdfast_node::http::Query;
use holdfast_node::problem::Problem;
use holdfast_node::time_text::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::convert::Infallible;

/// Bytes of a payload that are shown.
const SHOWN: usize = 1 << 10;
/// Seconds after which somebody else may have stopped watching.
const RETRY_S: u64 = 10;

/// A message, as the event `message` carries it.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Told<'a> {
    topic: &'a str,
    /// The payload, if what is shown of it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// The payload in Base64, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// The size of the whole payload.
    bytes: usize,
    /// Whether there is more of it than is shown.
    cut: bool,
    qos: u8,
    /// Whether it is retained; one without a payload takes away what was.
    retain: bool,
    at: Time,
}

impl<'a> Told<'a> {
    fn of(message: &'a Message, retain: bool) -> Self {
        let payload = message.payload();
        let start = &payload[..payload.len().min(SHOWN)];
        let text = match std::str::from_utf8(start) {
            Ok(text) => Some(text),
            // A character that the cut has split is left out.
            Err(wrong) if wrong.error_len().is_none() && start.len() < payload.len() => {
                std::str::from_utf8(&start[..wrong.valid_up_to()]).ok()
            }
            Err(_) => None,
        };
        Self {
            topic: message.topic().as_str(),
            base64: text.is_none().then(|| BASE64.encode(start)),
            text,
            bytes: payload.len(),
            cut: start.len() < payload.len(),
            qos: message.qos() as u8,
            retain,
            at: Time(message.at.time()),
        }
    }
}

fn event(shown: &Shown) -> Event {
    let (kind, data) = match shown {
        Shown::Message(message, retain) => ("message", json!(Told::of(message, *retain))),
        Shown::Ready(retained, left_out) => {
            ("ready", json!({ "retained": retained, "left_out": left_out }))
        }
        Shown::Missed(missed) => ("missed", json!({ "missed": missed })),
    };
    Event::default().event(kind).data(data.to_string())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WatchQuery {
    /// A topic filter, `#` otherwise; what begins with `$` only where the filter does.
    filter: Option<String>,
}

/// A shared subscription would take messages away from the clients that share it.
fn own(filter: &Filter) -> Result<(), Problem> {
    if filter.share().is_none() {
        return Ok(());
    }
    let detail = "a shared subscription would take messages from the clients of its group";
    Err(Problem::parameter("filter", detail).expected("the filter without `$share/NAME/`"))
}

pub(super) async fn watch(
    _: Reader,
    State(app): State<App>,
    State(events): State<Events>,
    Query(query): Query<WatchQuery>,
) -> Result<Sse<KeepAliveStream<impl Stream<Item = Result<Event, Infallible>>>>, Problem> {
    let filter = filter(query.filter.as_deref())?;
    own(&filter)?;
    let watch = app.mqtt.reach.look(move |broker, _| broker.watch(filter)).await;
    let watch = watch.map_err(|fault| stopping(&fault))?.ok_or_else(|| {
        let detail = "as many pages watch messages as may at a time";
        Problem::unavailable("watchers", detail, RETRY_S)
    })?;
    let state = (watch, events.stopping());
    Ok(kept_alive(stream::unfold(state, |(mut watch, stop)| async move {
        tokio::select! {
            shown = watch.next() => Some((Ok(event(&shown)), (watch, stop))),
            () = stop.cancelled() => None,
        }
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::message::Moment;
    use crate::mqtt::packet::{Publish, PublishProperties, QoS, Topic};
    use serde_json::Value;

    fn told(payload: &[u8]) -> Value {
        let publish = Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: Topic::try_from("a").unwrap(),
            packet_id: None,
            payload: payload.to_vec().into(),
            properties: PublishProperties::default(),
        };
        let at = Moment { wall_ms: 0, boot: 1, steady_ms: 0 };
        json!(Told::of(&Message::new(&publish, at), true))
    }

    #[test]
    fn text_is_told_as_text_and_all_else_in_base64() {
        let text = told("<b>1,5 µm</b>".as_bytes());
        assert_eq!(
            text,
            json!({
                "topic": "a", "text": "<b>1,5 µm</b>", "bytes": 14, "cut": false, "qos": 1,
                "retain": true, "at": "1970-01-01T00:00:00Z",
            })
        );
        let bytes = told(&[0xFF, 0]);
        assert_eq!((&bytes["base64"], &bytes["bytes"]), (&json!("/wA="), &json!(2)));
        assert!(bytes.get("text").is_none(), "{bytes}");
        assert_eq!(told(b"")["text"], "");
        let half = told("µ".as_bytes().split_at(1).0);
        assert_eq!(half["base64"], "wg==", "half a character is no text when nothing was cut");
    }

    #[test]
    fn a_long_payload_is_cut_between_characters_and_its_size_told() {
        let long = told("µ".repeat(600).as_bytes());
        assert_eq!(long["text"].as_str().map(|text| text.chars().count()), Some(512));
        assert_eq!((&long["bytes"], &long["cut"]), (&json!(1_200), &json!(true)));
        let odd = told(format!("x{}", "µ".repeat(600)).as_bytes());
        assert_eq!(odd["text"].as_str().map(str::len), Some(1_023), "no half of a character");
        let bytes = told(&[0xFF; 5_000]);
        assert_eq!(bytes["base64"].as_str().map(str::len), Some(1_368));
        assert_eq!((&bytes["bytes"], &bytes["cut"]), (&json!(5_000), &json!(true)));
    }
}
