//! What the node tells devices with our firmware of its own accord: what they should be, what they
//! are to do, and which workflows and which firmware they are to have.
//!
//! State is told, not queued: a device asks after each connect, and from then on is told what
//! changes, until its connection ends. A message that is lost on the way costs nothing, for the
//! next ask brings all of it again. What is read and what is sent for one device is one step that
//! no other comes between, so it is never told something older after something newer, and a
//! command whose answer is on disk is not sent once more.

use super::letters::{Letters, envelope};
use super::section::Shows;
use super::{Said, flows, order, pieces, updates};
use crate::device_commands::{Book, CommandId, Reply};
use crate::mqtt::broker::Reach;
use crate::mqtt::message::Message;
use crate::mqtt::packet::{Publish, PublishProperties, QoS, Topic};
use bytes::Bytes;
use holdfast_core::artefact::ArtefactId;
use holdfast_core::device;
use holdfast_core::device::command::{NO_COMMAND, Named};
use holdfast_core::device::desired::Version;
use holdfast_core::device::flows::Fetch;
use holdfast_core::device::gateway::Time;
use holdfast_core::state::Policy;
use holdfast_node::artefacts::{Images, Slot};
use holdfast_node::runs::{Desk, Offer};
use holdfast_node::twins::{Condition, Patch, Section, Twins};
use holdfast_sync::Fault;
use holdfast_sync::docs::Contents;
use holdfast_sync::store::Snapshot;
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a device reports, below `device`, as long as its desired section fits no message.
const TOO_LARGE: &str = "too large";

/// How devices with our firmware are told; clones share it.
#[derive(Clone)]
pub struct Downlink(Arc<Inner>);

struct Inner {
    twins: Twins,
    book: Book,
    reach: Reach,
    desk: Desk,
    images: Images,
    attached: Mutex<HashMap<String, Here>>,
}

/// A device that has asked for something over connections that are open.
#[derive(Default)]
struct Here {
    connections: usize,
    /// Of them, those over which it has asked what it should be.
    asked: usize,
    /// The workflows that it was told of last, once it has said which it has.
    offer: Option<Offer>,
    /// Where its next image of firmware goes, once it has said so.
    slot: Option<Slot>,
    /// The image that it was told of last, or that it is to have none.
    image: Option<Option<ArtefactId>>,
    sending: Arc<tokio::sync::Mutex<()>>,
}

/// A connection over which a device has asked for something, for as long as it is open.
pub struct Attached {
    downlink: Downlink,
    device: String,
    /// Whether it was what the device should be.
    has_asked: bool,
    sending: Arc<tokio::sync::Mutex<()>>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut attached = self.downlink.here();
        if let Some(here) = attached.get_mut(&self.device) {
            here.connections -= 1;
            here.asked -= usize::from(self.has_asked);
            if here.connections == 0 {
                attached.remove(&self.device);
            }
        }
    }
}

impl Downlink {
    /// One that reads twins and commands, and sends through the broker.
    #[must_use]
    pub fn new(twins: Twins, book: Book, reach: Reach, (desk, images): (Desk, Images)) -> Self {
        Self(Arc::new(Inner { twins, book, reach, desk, images, attached: Mutex::default() }))
    }

    fn here(&self) -> MutexGuard<'_, HashMap<String, Here>> {
        // A panic while it was held left it whole: devices come and go in one step.
        self.0.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a device has asked for something over a connection.
    #[must_use]
    pub fn attach(&self, device: &str) -> Attached {
        let mut attached = self.here();
        let here = attached.entry(device.to_owned()).or_default();
        here.connections += 1;
        let sending = Arc::clone(&here.sending);
        Attached { downlink: self.clone(), device: device.to_owned(), has_asked: false, sending }
    }

    /// What only one may do at a time who sends to a device, if it is one of which `is` is true.
    fn sending_if(
        &self,
        device: &str,
        is: impl FnOnce(&Here) -> bool,
    ) -> Option<Arc<tokio::sync::Mutex<()>>> {
        self.here().get(device).filter(|here| is(here)).map(|here| Arc::clone(&here.sending))
    }

    /// The same of a device that has asked what it should be.
    fn sending(&self, device: &str) -> Option<Arc<tokio::sync::Mutex<()>>> {
        self.sending_if(device, |here| here.asked > 0)
    }

    /// Answers what a device has said, that is on disk, and has not asked about.
    pub fn answer(&self, device: &str, said: &Said, time: Time) {
        let mut letters = Letters::default();
        said.answer(time, &mut letters);
        self.send(device, letters);
    }

    /// Tells a device that what it should be has changed, if it has asked.
    pub async fn section_changed(&self, device: &str) {
        let Some(sending) = self.sending(device) else { return };
        let alone = sending.lock().await;
        let Some((section, fits)) = self.section(device, None).await else { return };
        let mut letters = Letters::default();
        letters.push(&section);
        self.send(device, letters);
        drop(alone);
        self.show_fit(device, fits).await;
    }

    /// Tells a device what it is to do, if it has asked.
    pub async fn ordered(&self, device: &str, id: CommandId) {
        let Some(sending) = self.sending(device) else { return };
        let alone = sending.lock().await;
        let record = match self.0.book.get(device, id).await {
            Ok(record) => record,
            Err(fault) => return unread(device, &fault),
        };
        let now = self.0.book.now();
        let Some(record) = record.filter(|record| record.is_waiting(&now)) else { return };
        match order::command(id, &record, &now) {
            Ok(command) => {
                let mut letters = Letters::default();
                letters.push(&command);
                self.send(device, letters);
            }
            Err(why) => {
                drop(alone);
                self.give_up(device, id, &why).await;
            }
        }
    }

    /// The devices that have said which workflows they have.
    #[must_use]
    pub fn holders(&self) -> Vec<String> {
        let attached = self.here();
        let holders = attached.iter().filter(|(_, here)| here.offer.is_some());
        holders.map(|(device, _)| device.clone()).collect()
    }

    /// Tells a device which workflows it is to have, if it has said which it has and they are
    /// others than it was told last.
    pub async fn flows_changed(&self, device: &str) {
        let Some(sending) = self.sending_if(device, |here| here.offer.is_some()) else { return };
        let _alone = sending.lock().await;
        let Some(offer) = self.offer(device).await else { return };
        if !self.is_other(device, &offer) {
            return;
        }
        let mut letters = Letters::default();
        self.tell_offer(device, offer, &mut letters);
        self.send(device, letters);
    }

    async fn offer(&self, device: &str) -> Option<Offer> {
        let tags = self.0.twins.part(Section::Tags.document(device)?).await;
        match tags {
            Ok(part) => Some(self.0.desk.offer(device, &part.shown)),
            Err(fault) => {
                unread(device, &fault);
                None
            }
        }
    }

    fn is_other(&self, device: &str, offer: &Offer) -> bool {
        self.here().get(device).is_some_and(|here| here.offer.as_ref() != Some(offer))
    }

    /// Puts into `letters` which workflows a device is to have, and notes that it is told so.
    fn tell_offer(&self, device: &str, offer: Offer, letters: &mut Letters) {
        if let Some(wanted) = flows::wanted(&offer.artefacts) {
            letters.push(&wanted);
        }
        let mut attached = self.here();
        let Some(here) = attached.get_mut(device) else { return };
        let known = here.offer.as_ref().map_or(&[][..], |offer| &offer.left_out);
        if !offer.left_out.is_empty() && offer.left_out != known {
            let left_out = offer.left_out.join(", ");
            tracing::warn!(device, left_out, "a device has no place for all of its workflows");
        }
        here.offer = Some(offer);
    }

    /// The devices that have said which firmware they have.
    #[must_use]
    pub fn updatable(&self) -> Vec<String> {
        let attached = self.here();
        let updatable = attached.iter().filter(|(_, here)| here.slot.is_some());
        updatable.map(|(device, _)| device.clone()).collect()
    }

    /// Tells a device which firmware it is to have, if it has said which it has and it is another
    /// one than it was told last.
    pub async fn image_changed(&self, device: &str) {
        let Some(sending) = self.sending_if(device, |here| here.slot.is_some()) else { return };
        let _alone = sending.lock().await;
        let mut letters = Letters::default();
        self.tell_image(device, true, &mut letters).await;
        self.send(device, letters);
    }

    /// Puts into `letters` which firmware a device is to have, or only where that is news, and
    /// notes that it is told so.
    async fn tell_image(&self, device: &str, only_news: bool, letters: &mut Letters) {
        let known = self.here().get(device).and_then(|here| Some((here.slot.clone()?, here.image)));
        let Some((slot, told)) = known else { return };
        let image = match self.0.images.offer(device, &slot).await {
            Ok(image) => image,
            Err(fault) => return unread(device, &fault),
        };
        if only_news && told == Some(image) {
            return;
        }
        if let Some(wanted) = updates::wanted(image) {
            letters.push(&wanted);
        }
        if let Some(here) = self.here().get_mut(device) {
            here.image = Some(image);
        }
    }

    /// Puts the pieces that a device asks for into `letters`.
    async fn tell_pieces(&self, device: &str, fetches: &[Fetch], letters: &mut Letters) {
        let fetches = fetches.to_vec();
        let read = move |view: &Snapshot<'_>| {
            fetches.iter().map(|fetch| pieces::piece(view, *fetch)).collect::<Result<Vec<_>, _>>()
        };
        match self.0.twins.store().read(read).await {
            Ok(pieces) => pieces.iter().flatten().for_each(|piece| letters.push(piece)),
            Err(fault) => unread(device, &fault),
        }
    }

    /// An envelope with what a device should be, and whether all of it is in there.
    async fn section(&self, device: &str, held: Option<Version>) -> Option<(Vec<u8>, bool)> {
        let name = Section::Desired.document(device)?;
        let twins = &self.0.twins;
        let of = name.clone();
        let contents = twins.store().read(move |view: &Snapshot<'_>| Contents::read(view, &of));
        let contents = match contents.await {
            Ok(contents) => contents,
            Err(fault) => {
                unread(device, &fault);
                return None;
            }
        };
        let bytes = twins.policy(&name);
        let policy = Policy::from_bytes(&bytes).unwrap_or(Policy::LWW);
        Some(Shows::of(&name, &contents, &policy).envelope(held))
    }

    /// Shows people whether a device can have its section. What is shown already is not written.
    async fn show_fit(&self, device: &str, fits: bool) {
        let Some(name) = Section::Reported.document(device) else { return };
        let twins = &self.0.twins;
        let part = match twins.part(name.clone()).await {
            Ok(part) => part,
            Err(fault) => return unread(device, &fault),
        };
        let path = format!("{}/desired", device::reported::RESERVED);
        let shown = part.shown.at(&path).map(|leaf| &leaf.value);
        let wanted = if fits { Json::Null } else { TOO_LARGE.into() };
        if shown.unwrap_or(&Json::Null) == &wanted {
            return;
        }
        if !fits {
            tracing::warn!(device, "what is desired of a device is too large for it");
        }
        let patch = json!({ device::reported::RESERVED: { "desired": wanted } });
        let patch = Patch::read(&patch).expect("a path and a text");
        if let Err(error) = twins.patch(name, patch, Condition::default()).await {
            let problem = error.problem();
            tracing::error!(device, %problem, "that a section is too large cannot be shown");
        }
    }

    /// Answers a command that cannot be sent to a device, in its place.
    async fn give_up(&self, device: &str, id: CommandId, why: &str) {
        tracing::warn!(device, %id, why, "a command cannot be sent to a device");
        let reply = Reply::Failed(format!("the gateway cannot send it to this device: {why}"));
        if let Err(error) = self.0.book.answer(device, id, reply).await {
            tracing::error!(device, %id, %error, "a command that cannot be sent waits on");
        }
    }

    fn send(&self, device: &str, letters: Letters) {
        let Ok(topic) = Topic::try_from(format!("devices/{device}/watermark").as_str()) else {
            return;
        };
        for payload in letters.finish() {
            let publish = Publish {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic: topic.clone(),
                packet_id: None,
                payload: Bytes::from(payload),
                properties: PublishProperties::default(),
            };
            let reach = &self.0.reach;
            reach.put_now(&Arc::new(Message::new(&publish, reach.now())), None);
        }
    }
}

impl Attached {
    /// Answers what the device has said and asked for: all that there is for it.
    pub async fn answer(&mut self, said: &Said, time: Time) {
        let asks = said.ask.is_some();
        if asks
            && !std::mem::replace(&mut self.has_asked, true)
            && let Some(here) = self.downlink.here().get_mut(&self.device)
        {
            here.asked += 1;
        }
        let (downlink, device) = (&self.downlink, self.device.as_str());
        let alone = self.sending.lock().await;
        let mut letters = Letters::default();
        said.answer(time, &mut letters);
        let (commands, unfit) = if asks { self.commands().await } else { Default::default() };
        if let Some(oldest) = commands.oldest {
            letters.push(&oldest);
        }
        let section = if asks { downlink.section(device, said.ask).await } else { None };
        if let Some((section, _)) = &section {
            letters.push(section);
        }
        if said.holds_flows
            && let Some(offer) = downlink.offer(device).await
        {
            downlink.tell_offer(device, offer, &mut letters);
        }
        if let Some(slot) = &said.slot {
            // Noted before it is looked up: from here on whatever changes is told.
            if let Some(here) = downlink.here().get_mut(device) {
                here.slot = Some(slot.clone());
            }
            downlink.tell_image(device, false, &mut letters).await;
        }
        if !said.fetches.is_empty() {
            downlink.tell_pieces(device, &said.fetches, &mut letters).await;
        }
        commands.waiting.iter().for_each(|command| letters.push(command));
        downlink.send(device, letters);
        drop(alone);
        for (id, why) in unfit {
            downlink.give_up(device, id, &why).await;
        }
        if let Some((_, fits)) = section {
            downlink.show_fit(device, fits).await;
        }
    }

    /// The commands that wait for the device, and those that it cannot be sent, with the reason.
    async fn commands(&self) -> (Commands, Vec<(CommandId, String)>) {
        let book = &self.downlink.0.book;
        let mut out = Commands::default();
        let mut unfit = Vec::new();
        let all = match book.of(&self.device).await {
            Ok(all) => all,
            Err(fault) => {
                unread(&self.device, &fault);
                return (out, unfit);
            }
        };
        let now = book.now();
        let mut oldest = None;
        for (id, record) in all.iter().filter(|(_, record)| record.is_waiting(&now)) {
            match order::command(*id, record, &now) {
                Ok(command) => {
                    oldest.get_or_insert(id.0);
                    out.waiting.push(command);
                }
                Err(why) => unfit.push((*id, why)),
            }
        }
        let named = Named { id: oldest.unwrap_or(NO_COMMAND) };
        out.oldest = envelope(device::COMMANDS, |out| named.encode(out));
        (out, unfit)
    }
}

/// Envelopes with the commands of a device.
#[derive(Default)]
struct Commands {
    /// Which the oldest is; not known where they cannot be read.
    oldest: Option<Vec<u8>>,
    waiting: Vec<Vec<u8>>,
}

fn unread(device: &str, fault: &Fault) {
    tracing::error!(device, %fault, "what a device is to be told cannot be read");
}
