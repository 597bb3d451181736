//! Telling somebody: what a `notify` step says is repeated until somebody says that they know.
//!
//! What is said of one thing, by one workflow, to one target, of one device, is an incident; while
//! it is open it is one *notice*, whose text is the newest and which counts how often it was said.
//! A notice is a row that is written in the transaction of the step that says it ([`book`]). A task
//! sends it on each of its *channels* ([`task`]): at once, then every hour, for a week at most; one
//! that fails is tried again before. How far each channel is stands in the row, and what is sent
//! carries a key that is the same when it is sent again after a crash.
//!
//! Byte-exact page: `docs/formats/runs.md`.

mod acknowledge;
mod book;
mod message;
mod record;
pub mod settings;
mod smtp;
mod task;

pub use record::{Channel, Notice, NoticeId, State};
pub use settings::{Mail, Targets, Workflows, outward};

use crate::metrics::Exposition;
use crate::requests::Requests;
use crate::runs::{Asked, Failure};
use crate::tls::Authorities;
use book::Said;
use holdfast_core::Device;
use holdfast_core::flow::Code;
use holdfast_core::flow::effect::Argument;
use holdfast_core::limits::NOTE_MAX_BYTES;
use holdfast_sync::Fault;
use holdfast_sync::counts::Counter;
use holdfast_sync::store::{Snapshot, WriteTx};
use serde_json::{Value as Json, json};
use settings::Ways;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Who can be told, and what they are told; clones are the same.
#[derive(Clone)]
pub struct Notices(Arc<Inner>);

struct Inner {
    ways: Ways,
    /// By which somebody says that they know.
    program: &'static str,
    /// Something was said in a transaction that is perhaps not on disk yet.
    is_said: AtomicBool,
    wake: Notify,
    sent: Counter,
    failed: Counter,
}

impl Notices {
    /// With the targets of a configuration whose files are in `folder`; `program` is the node's.
    ///
    /// # Errors
    /// A sentence about what cannot be used, with its key.
    pub fn of(
        settings: (&Mail, &Targets),
        folder: &Path,
        authorities: &Authorities,
        (requests, program): (Requests, &'static str),
    ) -> Result<Self, String> {
        let ways = Ways::of(settings, folder, authorities, requests)?;
        let (sent, failed) = Default::default();
        let (is_said, wake) = (AtomicBool::new(false), Notify::new());
        Ok(Self(Arc::new(Inner { ways, program, is_said, wake, sent, failed })))
    }

    /// Whether there is a target of this name.
    #[must_use]
    pub fn knows(&self, target: &str) -> bool {
        self.0.ways.targets.contains_key(target)
    }

    /// Does what a `notify` step asks for, in its transaction.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn say(&self, tx: &mut WriteTx<'_>, asked: &Asked) -> Result<Result<Json, Failure>, Fault> {
        let said = match self.said(asked) {
            Ok(said) => said,
            Err(failure) => return Ok(Err(failure)),
        };
        self.0.is_said.store(true, Ordering::Release);
        Ok(match book::say(tx, &said)? {
            Some(id) => Ok(json!({ "notice": id.to_string() })),
            None => {
                let text = format!("{} notices are open: acknowledge some", book::OPEN_MAX);
                Err(Failure::new(Code::BUSY, text))
            }
        })
    }

    fn said<'a>(&self, asked: &'a Asked) -> Result<Said<'a>, Failure> {
        let (target, text) = (asked.need(Argument::Target)?, asked.need(Argument::Text)?);
        let device = asked.get(Argument::Device).unwrap_or_default();
        let invalid = |text: String| Err(Failure::new(Code::INVALID, text));
        if !self.knows(target) {
            return invalid(format!("nobody is called `{target}`: no section `notify.{target}`"));
        }
        if !device.is_empty() && Device::new(device).is_err() {
            return invalid(format!("`{device}` is no device's id"));
        }
        let text = &text[..text.floor_char_boundary(NOTE_MAX_BYTES)];
        let (key, run, workflow) = (asked.key(), asked.run, asked.workflow.as_str());
        Ok(Said { key, run, workflow, target, device, text })
    }

    /// What was said is on disk: it is sent.
    pub fn settled(&self) {
        if self.0.is_said.swap(false, Ordering::AcqRel) {
            self.0.wake.notify_one();
        }
    }

    /// Tells how much was sent.
    pub fn tell(&self, out: &mut Exposition) {
        let help = "Mails and requests that told somebody something.";
        out.counter("holdfast_notices_sent_total", help).is(self.0.sent.get());
        let help = "Mails and requests that nobody took; each is tried again.";
        out.counter("holdfast_notices_failed_total", help).is(self.0.failed.get());
    }
}

/// The newest notices that are kept, or all that are open; the newest first.
///
/// # Errors
/// A fault of the store.
pub fn list(
    view: &Snapshot<'_>,
    is_open: bool,
    most: usize,
) -> Result<Vec<(NoticeId, Notice)>, Fault> {
    if !is_open {
        return book::newest(view, most);
    }
    let mut open = book::open(view)?;
    open.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    open.truncate(most);
    Ok(open)
}
