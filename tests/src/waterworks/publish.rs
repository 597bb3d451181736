//! Posting over MQTT: a batch is one message of QoS 1, settled by its PUBACK.

use super::item::Item;
use super::post::{Delivery, Rejected, encode};
use crate::client::mqtt::{Login, Wire};
use holdfast_edge::mqtt::reason::Reason;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A device that publishes to a gateway whose address may change.
#[derive(Debug)]
pub(super) struct Publisher {
    address: watch::Receiver<SocketAddr>,
    token: String,
    wire: Option<Wire>,
}

impl Publisher {
    pub(super) fn new(address: watch::Receiver<SocketAddr>, token: &str) -> Self {
        Self { address, token: token.to_owned(), wire: None }
    }

    /// Publishes items of one device, once.
    ///
    /// # Errors
    /// Why they may not have been taken, in words: they are to be published again.
    pub(super) async fn publish(&mut self, items: &[Item]) -> Result<Delivery, String> {
        let Some(first) = items.first() else { return Ok(Delivery::default()) };
        let device = &first.key.device;
        if self.address.has_changed().unwrap_or(false) {
            self.wire = None;
        }
        let said = tokio::time::timeout(LIMIT, self.say(device, items)).await;
        let (reason, text) = match said {
            Ok(Ok(said)) => said,
            Ok(Err(error)) => {
                self.wire = None;
                return Err(error.to_string());
            }
            Err(_) => {
                self.wire = None;
                return Err(format!("no answer within {LIMIT:?}"));
            }
        };
        match reason {
            Reason::QuotaExceeded | Reason::Unspecified => Err(text),
            // A reason string with a success tells of items that were not stored.
            reason if reason.is_failure() || !text.is_empty() => {
                let of =
                    |index| Rejected { index, code: reason.name().into(), detail: text.clone() };
                let rejected = (0..items.len()).map(of).collect();
                Ok(Delivery { rejected, ..Delivery::default() })
            }
            _ => Ok(Delivery { accepted: items.len() as u64, ..Delivery::default() }),
        }
    }

    async fn say(&mut self, device: &str, items: &[Item]) -> std::io::Result<(Reason, String)> {
        let wire = match &mut self.wire {
            Some(wire) => wire,
            none => {
                let address = *self.address.borrow_and_update();
                let login = Login::passing(device, &self.token);
                none.insert(Wire::open_as(address, login).await?.0)
            }
        };
        // Without a content type lines would be taken for one object.
        let body = encode(items, usize::MAX).1;
        let text = String::from_utf8(body.into()).map_err(std::io::Error::other)?;
        wire.say(&format!("devices/{device}/readings"), text).await
    }
}
