//! Clients come and go: sessions begin, are taken up, taken over, left and lost.

use super::mailbox::{Answer, Opened};
use super::session::Session;
use super::state::State;
use super::work::{Effect, Failing, Work};
use super::{Gone, Open};
use crate::mqtt::connection::Accepted;
use crate::mqtt::ledger::{Change, KeptWill, NEVER};
use crate::mqtt::message::Message;
use crate::mqtt::packet::{Connect, Utf8, Version};
use crate::mqtt::reason::Reason;
use std::borrow::Cow;
use std::sync::Arc;

/// Bytes of the longest client identifier; the standard asks for 23.
const CLIENT_ID_MAX: usize = 1_024;

/// Why a client is not let in.
type Refusal = (Reason, Cow<'static, str>);

impl State {
    pub(super) fn open(&mut self, open: Open, work: &mut Work) {
        if let Err((reason, text)) = self.try_open(&open, work) {
            work.answer(&open.mailbox, Answer::Refused(reason, text));
        }
    }

    fn try_open(&mut self, open: &Open, work: &mut Work) -> Result<(), Refusal> {
        let Open { id, connect, owner, fresh_id, mailbox, peer } = open;
        let (client, assigned) = client_id(connect, fresh_id)?;
        let asked_s = asked_expiry(connect);
        let expiry_s = Session::allowed_expiry(asked_s, &self.limits);
        if let Some(key) = self.by_client.get(&client).copied() {
            let session = &self.sessions[&key];
            if session.owner != *owner {
                let text = "the client identifier is that of another user's session";
                return Err((Reason::NotAuthorized, text.into()));
            }
            self.take_over(key, connect.clean_start, work);
        } else if self.sessions.len() >= self.limits.sessions {
            let most = self.limits.sessions;
            let text = format!("this node has {most} sessions, which is as many as it may");
            return Err((Reason::QuotaExceeded, text.into()));
        }
        let resumed = self.by_client.get(&client).copied();
        let key = resumed.unwrap_or_else(|| self.new_key());
        let session = self
            .sessions
            .entry(key)
            .or_insert_with(|| Session::new(key, client.clone(), owner.clone(), expiry_s));
        session.expiry_s = expiry_s;
        (session.away, session.grace_ms) = (None, None);
        session.connection = Some(*id);
        (session.peer, session.version) = (Some(*peer), Some(connect.version));
        session.will = connect.will.as_ref().map(|will| KeptWill {
            delay_s: will.properties.delay_s.unwrap_or(0),
            message: Message::of_will(will, self.now),
        });
        let (is_kept, had_record) = (session.is_kept, session.no.is_some());
        let needs_record = is_kept || session.will.is_some();
        self.by_client.insert(client.clone(), key);
        self.by_connection.insert(*id, key);
        if needs_record && !had_record {
            let no = self.new_no();
            self.sessions.get_mut(&key).expect("it was just put there").no = Some(no);
        }
        let session = self.sessions.get_mut(&key).expect("it was just put there");
        mailbox.begin(is_kept, session.queue.next);
        session.subscriber.attach(Some(Arc::clone(mailbox)));
        let accepted = Accepted {
            session_present: resumed.is_some(),
            assigned_client_id: assigned,
            session_expiry_s: (expiry_s != asked_s).then_some(expiry_s),
            held: session.held.iter().copied().collect(),
        };
        let opened = Opened {
            key,
            accepted,
            client,
            kept: if is_kept { session.no } else { None },
            progress: session.queue.progress.clone(),
            sent: session.queue.sent,
        };
        work.answer(mailbox, Answer::Opened(Box::new(opened)));
        self.write_session(key, work);
        self.schedule(key);
        Ok(())
    }

    /// The client of a session has connected anew: its old connection ends, and its session too,
    /// unless it goes on.
    fn take_over(&mut self, key: u64, clean_start: bool, work: &mut Work) {
        let session = self.sessions.get_mut(&key).expect("the caller found it");
        let goes_on = session.is_kept && session.expiry_s > 0 && !clean_start;
        if let Some(id) = session.connection.take() {
            if let Some(mailbox) = session.mailbox() {
                let text = "another connection uses the client identifier";
                work.answer(&mailbox, Answer::End(Reason::SessionTakenOver, text.into()));
            }
            session.subscriber.attach(None);
            // How far it was is not known: it has not said so yet, and will not be asked any more.
            session.queue.may_all_be_sent();
            session.away = Some(self.now);
            self.by_connection.remove(&id);
        }
        // A will that may wait is not published where the session goes on; else its time has come.
        let session = self.sessions.get_mut(&key).expect("it is still there");
        let waits = goes_on && session.will.as_ref().is_some_and(|will| will.delay_s > 0)
            || session.grace_ms.is_some();
        if let Some(will) = session.will_of(self.now).filter(|_| !waits) {
            work.effects.push(Effect::LastWill(Arc::new(will)));
        }
        session.will = None;
        if !goes_on {
            self.end_session(key, work);
        }
    }

    /// Writes down what is known of a session, if it has a record.
    pub(super) fn write_session(&mut self, key: u64, work: &mut Work) {
        let Some(session) = self.sessions.get(&key) else { return };
        let Some(no) = session.no else { return };
        match session.record(no).encode() {
            Ok(value) => work.changes.push(Change::Session(session.client.clone(), value)),
            Err(unfit) => tracing::error!(%unfit, client = session.client, "not written down"),
        }
        work.failing.push(Failing::Session(session.client.clone(), session.connection));
    }

    pub(super) fn ended(&mut self, gone: Gone, work: &mut Work) {
        if self.is_stopping && gone.ended.with_will {
            // The node leaves its clients, not they it: the next start gives them time to return.
            return;
        }
        // Who was taken over has no session any more.
        let Some(key) = self.by_connection.remove(&gone.id) else { return };
        let now = self.now;
        let longest = self.limits.session_expiry_s;
        let Some(session) = self.sessions.get_mut(&key) else { return };
        session.connection = None;
        session.dropped += session.mailbox().map_or(0, |mailbox| mailbox.dropped());
        session.subscriber.attach(None);
        session.queue.sent = session.queue.sent.max(gone.sent);
        session.away = Some(now);
        if let Some(expiry_s) = gone.ended.session_expiry_s {
            session.expiry_s = expiry_s.min(longest);
        }
        if !gone.ended.with_will {
            session.will = None;
        }
        if session.expiry_s == 0 && session.will.is_none() {
            return self.end_session(key, work);
        }
        self.write_session(key, work);
        self.schedule(key);
    }
}

/// The client identifier, and whether it was given by this node.
fn client_id(connect: &Connect, fresh: &str) -> Result<(String, Option<Utf8>), Refusal> {
    let id = &connect.client_id;
    if id.bytes().len() > CLIENT_ID_MAX {
        let text = format!("{} bytes, expected at most {CLIENT_ID_MAX}", id.bytes().len());
        return Err((Reason::ClientIdInvalid, text.into()));
    }
    if !id.is_empty() {
        return Ok((id.as_str().to_owned(), None));
    }
    if connect.version == Version::V311 && !connect.clean_start {
        let text = "a session that is to be kept needs a client identifier";
        return Err((Reason::ClientIdInvalid, text.into()));
    }
    let assigned = Utf8::try_from(fresh).expect("letters and digits");
    Ok((fresh.to_owned(), Some(assigned).filter(|_| connect.version == Version::V5)))
}

/// Seconds that the client wants its session to outlive the connection.
fn asked_expiry(connect: &Connect) -> u32 {
    match connect.version {
        Version::V5 => connect.properties.session_expiry_s.unwrap_or(0),
        Version::V311 if connect.clean_start => 0,
        Version::V311 => NEVER,
    }
}
