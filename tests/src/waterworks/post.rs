//! Posting a batch until it is acknowledged, as a device with a buffer does.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::Value as Json;
use tokio::sync::watch;

use super::item::Item;
use super::publish::Publisher;
use crate::client::{Answer, Client};

/// Items that go as an array, at most; more go as lines.
const FEW: usize = 20;

/// How long to repeat, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Pause before each repetition.
    pub pause: Duration,
    /// Time after which a batch is given up; `None` is never.
    pub limit: Option<Duration>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { pause: Duration::from_millis(50), limit: None }
    }
}

/// An item that the gateway took no responsibility for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Index in the batch.
    pub index: usize,
    /// Stable code of the reason.
    pub code: String,
    /// The reason in words.
    pub detail: String,
}

/// How a batch was answered in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Items accepted now.
    pub accepted: u64,
    /// Items recognised as accepted before.
    pub duplicates: u64,
    /// Items refused.
    pub rejected: Vec<Rejected>,
    /// How often the post was repeated.
    pub retries: u64,
}

/// The batch was not acknowledged in time; what became of it is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GaveUp {
    /// How often the post was repeated.
    pub retries: u64,
    /// What the last attempt ended with.
    pub last: String,
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gave up after {} repetitions: {}", self.retries, self.last)
    }
}

impl std::error::Error for GaveUp {}

/// Posts batches to a gateway whose address may change.
#[derive(Debug)]
pub struct Poster {
    way: Way,
    patience: Patience,
}

#[derive(Debug)]
enum Way {
    Http { address: watch::Receiver<SocketAddr>, client: Client },
    Mqtt(Publisher),
}

impl Poster {
    /// A poster that follows `address`.
    #[must_use]
    pub fn new(address: watch::Receiver<SocketAddr>, token: &str, patience: Patience) -> Self {
        let limit = Duration::from_secs(10);
        let client = Client::new(*address.borrow()).with_token(token).with_limit(limit);
        Self { way: Way::Http { address, client }, patience }
    }

    /// One that posts over MQTT, batches of one device at a time.
    #[must_use]
    pub fn over_mqtt(
        address: watch::Receiver<SocketAddr>,
        token: &str,
        patience: Patience,
    ) -> Self {
        Self { way: Way::Mqtt(Publisher::new(address, token)), patience }
    }

    /// Posts the items until there is an answer that settles them. Repeated are posts without an
    /// answer, and those answered 408, 429 or 5xx: the fault lies with the gateway or the link.
    /// Any other error settles all items as rejected.
    ///
    /// # Errors
    /// When patience ran out.
    pub async fn deliver(&mut self, items: &[Item]) -> Result<Delivery, GaveUp> {
        let began = Instant::now();
        let mut retries = 0;
        loop {
            let answer = match &mut self.way {
                Way::Http { address, client } => {
                    if address.has_changed().unwrap_or(false) {
                        client.move_to(*address.borrow_and_update());
                    }
                    post(client, items).await
                }
                Way::Mqtt(publisher) => publisher.publish(items).await,
            };
            let last = match answer {
                Ok(delivery) => return Ok(Delivery { retries, ..delivery }),
                Err(last) => last,
            };
            if self.patience.limit.is_some_and(|limit| began.elapsed() > limit) {
                return Err(GaveUp { retries, last });
            }
            retries += 1;
            tokio::time::sleep(self.patience.pause).await;
        }
    }
}

/// Posts items once; why they may not have been taken, in words.
async fn post(client: &mut Client, items: &[Item]) -> Result<Delivery, String> {
    let (content_type, body) = encode(items, FEW);
    match client.post("/v1/readings", content_type, body).await {
        Ok(answer) if answer.status.is_success() => read_answer(&answer)
            .ok_or_else(|| format!("an answer that says nothing: {}", answer.text())),
        Ok(answer) if is_final(answer.status) => Ok(all_rejected(items.len(), &answer)),
        Ok(answer) => Err(format!("{}: {}", answer.status, answer.text())),
        Err(no_answer) => Err(no_answer.to_string()),
    }
}

/// One item goes as an object, fewer than `few` as an array, others as lines.
pub(super) fn encode(items: &[Item], few: usize) -> (&'static str, bytes::Bytes) {
    let mut body = String::new();
    let content_type = match items {
        [item] => {
            item.write_json(&mut body);
            "application/json"
        }
        items if items.len() < few => {
            for item in items {
                body.push(if body.is_empty() { '[' } else { ',' });
                item.write_json(&mut body);
            }
            body.push(']');
            "application/json"
        }
        many => {
            for item in many {
                item.write_json(&mut body);
                body.push('\n');
            }
            "application/x-ndjson"
        }
    };
    (content_type, body.into())
}

fn is_final(status: StatusCode) -> bool {
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    status.is_client_error() && !passing.contains(&status)
}

fn read_answer(answer: &Answer) -> Option<Delivery> {
    let json = answer.json();
    let count = |name: &str| json.get(name).and_then(Json::as_u64);
    let rejected = json.get("rejected").and_then(Json::as_array).cloned().unwrap_or_default();
    let rejected: Option<Vec<_>> = rejected
        .iter()
        .map(|entry| {
            let text = |name: &str| entry.get(name).and_then(Json::as_str).unwrap_or_default();
            let index = usize::try_from(entry.get("index")?.as_u64()?).ok()?;
            Some(Rejected { index, code: text("code").into(), detail: text("detail").into() })
        })
        .collect();
    Some(Delivery {
        accepted: count("accepted")?,
        duplicates: count("duplicates").unwrap_or(0),
        rejected: rejected?,
        retries: 0,
    })
}

fn all_rejected(items: usize, answer: &Answer) -> Delivery {
    let code = answer.problem().unwrap_or_else(|| answer.status.as_str().to_owned());
    let detail = answer.text();
    let rejected = (0..items)
        .map(|index| Rejected { index, code: code.clone(), detail: detail.clone() })
        .collect();
    Delivery { rejected, ..Delivery::default() }
}
