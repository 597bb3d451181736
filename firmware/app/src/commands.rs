//! What the device was told to do: each command once, whatever comes twice and whenever the power
//! goes.
//!
//! That a command is begun is in flash before anything is done, and what came of it before it is
//! answered. One that was begun and has no answer at the next start is answered as failed: whether
//! the valve moved is not known then, and to move it again is for whoever asked. An answer is sent
//! until the gateway has it on its disk, and what was done is remembered until the gateway says
//! that nothing so old comes any more.

use crate::actor::failed;
use crate::log::{Fault, Log};
use embassy_time::{Duration, Instant};
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::Reject;
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::device::command::{Command, CommandId, Outcome, Reply};

/// Commands that are remembered.
const KEPT: usize = 8;
/// Bytes of an answer.
const REPLY_MAX_BYTES: usize = 96;
/// Bytes of a command.
pub const COMMAND_MAX_BYTES: usize = 384;

const COMMANDS: u8 = 50;

const CUT_OFF: Outcome<'static> = failed("the power went before it was done");
const LONG: Outcome<'static> = failed("the command is longer than this device takes");
const LONG_ANSWER: Outcome<'static> = failed("the answer is longer than this device keeps");

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Begun = 1,
    Answered = 2,
    /// And the gateway has the answer.
    Safe = 3,
}

impl Phase {
    const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Begun),
            2 => Some(Self::Answered),
            3 => Some(Self::Safe),
            _ => None,
        }
    }
}

struct Kept {
    id: CommandId,
    phase: Phase,
    reply: heapless::Vec<u8, REPLY_MAX_BYTES>,
}

/// A command that is to be begun.
pub struct Waiting {
    until: Instant,
    /// As it came.
    pub payload: heapless::Vec<u8, COMMAND_MAX_BYTES>,
}

/// The commands.
pub struct Commands {
    kept: heapless::Vec<Kept, KEPT>,
    waiting: Option<Waiting>,
    /// One came that could not be taken.
    turned_away: bool,
}

impl Commands {
    /// Those that are in flash.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn open<F: NorFlash>(log: &mut Log<F>) -> Result<Self, Fault<F::Error>> {
        let mut commands = Self { kept: heapless::Vec::new(), waiting: None, turned_away: false };
        let mut reader = Reader::new(log.get(COMMANDS)?.unwrap_or_default());
        while let Ok(kept) = Kept::read(&mut reader) {
            commands.kept.push(kept).map_err(|_| Reject::Full)?;
        }
        for kept in &mut commands.kept {
            if kept.phase == Phase::Begun {
                kept.end(CUT_OFF);
            }
        }
        Ok(commands)
    }

    /// Takes a command, if it is a new one and none waits yet; whether there is something to do.
    /// One that does not come to be begun comes again.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn take<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        command: &Command<'_>,
        payload: &[u8],
    ) -> Result<bool, Fault<F::Error>> {
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.id == command.id) {
            if kept.phase == Phase::Safe {
                // The gateway asks again, so it has forgotten the answer.
                kept.phase = Phase::Answered;
            }
            return Ok(false);
        }
        if !self.has_room() {
            self.turned_away = true;
            return Ok(false);
        }
        let Ok(payload) = heapless::Vec::from_slice(payload) else {
            let mut kept = Kept::new(command.id);
            kept.end(LONG);
            _ = self.kept.push(kept);
            self.write(log)?;
            return Ok(false);
        };
        let until =
            Instant::now() + Duration::from_millis(command.expires_ms.min(u64::MAX / 2_000));
        self.waiting = Some(Waiting { until, payload });
        Ok(true)
    }

    /// The command that waits, which is begun from now on.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn begin<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
    ) -> Result<Option<Waiting>, Fault<F::Error>> {
        let in_time = |waiting: &Waiting| Instant::now() < waiting.until;
        let Some(waiting) = self.waiting.take().filter(in_time) else { return Ok(None) };
        let command = Command::decode(&waiting.payload)?;
        self.kept.push(Kept::new(command.id)).map_err(|_| Reject::Full)?;
        self.write(log)?;
        Ok(Some(waiting))
    }

    /// Puts down what came of a command that was begun.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn end<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        id: CommandId,
        outcome: Outcome<'_>,
    ) -> Result<(), Fault<F::Error>> {
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.id == id) {
            kept.end(outcome);
        }
        self.write(log)
    }

    /// An answer that the gateway does not have yet, the oldest.
    #[must_use]
    pub fn answer(&self) -> Option<(CommandId, &[u8])> {
        let kept = self.kept.iter().find(|kept| kept.phase == Phase::Answered);
        kept.map(|kept| (kept.id, &kept.reply[..]))
    }

    /// Whether to ask for commands that came when they could not be taken: once, as soon as they
    /// can be.
    pub fn asks_again(&mut self) -> bool {
        // The gateway's answer frees what it needs no more.
        let frees = self.kept.iter().any(|kept| kept.phase == Phase::Safe);
        let is_due = self.turned_away && (self.has_room() || (self.is_idle() && frees));
        self.turned_away &= !is_due;
        is_due
    }

    fn has_room(&self) -> bool {
        self.is_idle() && !self.kept.is_full()
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_none() && self.kept.iter().all(|kept| kept.phase != Phase::Begun)
    }

    /// The gateway needs no more answers to a command. It is written down with the next that
    /// happens: until then it would say so again.
    pub fn replied(&mut self, id: CommandId) {
        let kept = self.kept.iter_mut().find(|kept| kept.id == id);
        if let Some(kept) = kept.filter(|kept| kept.phase == Phase::Answered) {
            kept.phase = Phase::Safe;
        }
    }

    /// Nothing older than `oldest` comes any more; with zeros nothing at all that came before.
    pub fn forget(&mut self, oldest: CommandId) {
        let comes = |id: &CommandId| oldest != [0; 16] && *id >= oldest;
        self.kept.retain(|kept| kept.phase != Phase::Safe || comes(&kept.id));
    }

    fn write<F: NorFlash>(&self, log: &mut Log<F>) -> Result<(), Fault<F::Error>> {
        let mut value = heapless::Vec::<u8, { KEPT * (REPLY_MAX_BYTES + 18) }>::new();
        for Kept { id, phase, reply } in &self.kept {
            value.put(id)?;
            value.put_u8(*phase as u8)?;
            value.put_bytes(reply)?;
        }
        log.put(&[(COMMANDS, &value)])
    }
}

impl Kept {
    const fn new(id: CommandId) -> Self {
        Self { id, phase: Phase::Begun, reply: heapless::Vec::new() }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        let id = reader.array()?;
        let phase = Phase::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
        let reply = reader.bytes(REPLY_MAX_BYTES)?;
        let reply = heapless::Vec::from_slice(reply).map_err(|_| Reject::Full)?;
        Ok(Self { id, phase, reply })
    }

    fn end(&mut self, outcome: Outcome<'_>) {
        for outcome in [outcome, LONG_ANSWER] {
            self.reply.clear();
            if (Reply { id: self.id, outcome }).encode(&mut self.reply).is_ok() {
                break;
            }
        }
        self.phase = Phase::Answered;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chip::Outside;
    use holdfast_core::Value;
    use holdfast_core::device::command::{Arguments, NO_COMMAND};
    use holdfast_core::reading::Text;
    use std::vec;
    use std::vec::Vec;

    fn id(number: u8) -> CommandId {
        [number; 16]
    }

    fn payload(number: u8, expires_ms: u64) -> Vec<u8> {
        let arguments = Arguments::read(&[]).unwrap();
        let command = Command { id: id(number), expires_ms, name: "open", arguments };
        let mut out = heapless::Vec::<u8, 64>::new();
        command.encode(&mut out).unwrap();
        out.to_vec()
    }

    fn take(commands: &mut Commands, log: &mut Log<Outside>, number: u8) -> bool {
        let payload = payload(number, 60_000);
        commands.take(log, &Command::decode(&payload).unwrap(), &payload).unwrap()
    }

    fn done(commands: &mut Commands, log: &mut Log<Outside>, number: u8) {
        assert!(take(commands, log, number), "{number}");
        commands.begin(log).unwrap().unwrap();
        commands.end(log, id(number), Outcome::Done(Some(Value::Int(5)))).unwrap();
    }

    fn answer(commands: &Commands) -> Option<(u8, Outcome<'_>)> {
        let (id, reply) = commands.answer()?;
        let reply = Reply::decode(reply).unwrap();
        assert_eq!(reply.id, id);
        Some((id[0], reply.outcome))
    }

    #[test]
    fn a_command_is_done_once_however_often_it_comes() {
        let chip = Outside::new(3);
        let mut log = chip.open();
        let mut commands = Commands::open(&mut log).unwrap();
        assert!(take(&mut commands, &mut log, 1));
        assert!(!take(&mut commands, &mut log, 1), "it waits already");
        commands.begin(&mut log).unwrap().unwrap();
        assert!(!take(&mut commands, &mut log, 1), "it is being done");
        assert!(commands.begin(&mut log).unwrap().is_none());
        commands.end(&mut log, id(1), Outcome::Done(None)).unwrap();
        assert!(!take(&mut commands, &mut log, 1), "it is done");
        assert_eq!(answer(&commands), Some((1, Outcome::Done(None))));
        commands.replied(id(1));
        assert_eq!(answer(&commands), None);
        assert!(!take(&mut commands, &mut log, 1), "it is answered");
        assert_eq!(answer(&commands), Some((1, Outcome::Done(None))), "and is so again");

        let mut log = chip.open();
        let mut commands = Commands::open(&mut log).unwrap();
        assert!(!take(&mut commands, &mut log, 1), "it was done before the power went");
        commands.replied(id(1));
        commands.forget(id(1));
        assert!(!take(&mut commands, &mut log, 1), "it may still come");
        commands.replied(id(1));
        commands.forget(NO_COMMAND);
        assert!(commands.kept.is_empty());
    }

    #[test]
    fn a_command_that_the_power_cut_off_is_answered_as_failed_and_not_done_again() {
        let chip = Outside::new(3);
        let mut log = chip.open();
        let mut commands = Commands::open(&mut log).unwrap();
        assert!(take(&mut commands, &mut log, 1));
        commands.begin(&mut log).unwrap().unwrap();
        let mut log = chip.open();
        let mut commands = Commands::open(&mut log).unwrap();
        assert!(!take(&mut commands, &mut log, 1));
        assert_eq!(answer(&commands), Some((1, CUT_OFF)));
    }

    #[test]
    fn one_is_taken_at_a_time_and_the_others_are_asked_for_again() {
        let mut log = Outside::new(3).open();
        let mut commands = Commands::open(&mut log).unwrap();
        assert!(take(&mut commands, &mut log, 1));
        assert!(!take(&mut commands, &mut log, 2));
        assert!(!commands.asks_again(), "there is no room yet");
        commands.begin(&mut log).unwrap().unwrap();
        assert!(!commands.asks_again());
        commands.end(&mut log, id(1), Outcome::Done(None)).unwrap();
        assert!(commands.asks_again());
        assert!(!commands.asks_again(), "once");
        for number in 2..=KEPT as u8 {
            done(&mut commands, &mut log, number);
        }
        assert!(!take(&mut commands, &mut log, 9), "answers are more than a new command");
        assert!(!commands.asks_again());
        commands.replied(id(1));
        assert!(commands.asks_again(), "for the word that it may be forgotten");
        commands.forget(id(9));
        assert!(take(&mut commands, &mut log, 9));
    }

    #[test]
    fn what_comes_too_late_or_is_too_long_is_not_begun() {
        let mut log = Outside::new(3).open();
        let mut commands = Commands::open(&mut log).unwrap();
        let late = payload(1, 0);
        assert!(commands.take(&mut log, &Command::decode(&late).unwrap(), &late).unwrap());
        assert!(commands.begin(&mut log).unwrap().is_none());
        let long = vec![0; COMMAND_MAX_BYTES + 1];
        let fit = payload(2, 60_000);
        assert!(!commands.take(&mut log, &Command::decode(&fit).unwrap(), &long).unwrap());
        assert_eq!(answer(&commands), Some((2, LONG)));
        let text = "x".repeat(200);
        done(&mut commands, &mut log, 3);
        commands.end(&mut log, id(3), Outcome::Failed(Text::new(&text).unwrap())).unwrap();
        commands.replied(id(2));
        assert_eq!(answer(&commands), Some((3, LONG_ANSWER)));
    }
}
