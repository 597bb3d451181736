//! Acts: brings about what the device should be, and does what it is told.
//!
//! Both come from flash, never from a message: what is desired is there also when there is no
//! gateway, a command is begun only after that is written down, and an output is moved as it stands
//! in the memory of a run. The board's part is [`Actuators`], which says what is so by [`Reports`].

use crate::flows::{Asked, Flows};
use crate::log::Fault;
use crate::node::{Event, Node};
use crate::twin::Wanted;
use core::cell::RefCell;
use core::convert::Infallible;
use embassy_time::{Duration, with_timeout};
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::Reject;
use holdfast_core::device::command::{Command, Outcome};
use holdfast_core::flow::Code;
use holdfast_core::reading::Text;
use holdfast_core::state::{Path, Value};

/// How long the time is not looked at, at most: a day.
const LOOK_MS: u64 = 86_400_000;

/// What a board can do.
pub trait Actuators {
    /// Brings about what is desired: at the start, and whenever that changes.
    fn apply(&mut self, desired: &Wanted, reports: Reports<'_>);

    /// Moves an output, as a workflow wants it. Done twice it is as if it were done once.
    ///
    /// # Errors
    /// Why it was not done: [`Code::MISSING`] where there is no such output, [`Code::INVALID`] for
    /// what it cannot be.
    fn actuate(
        &mut self,
        asked: &Asked,
        reports: Reports<'_>,
    ) -> impl Future<Output = Result<(), Code>>;

    /// Does what it is told, and says what came of it. Never twice for one command.
    fn carry_out(
        &mut self,
        command: &Command<'_>,
        reports: Reports<'_>,
    ) -> impl Future<Output = Outcome<'static>>;
}

type Say<'r> = dyn Fn(Path<'_>, Option<Value<'_>>) -> Result<(), Reject> + 'r;

/// Says what the device is, in its twin.
#[derive(Clone, Copy)]
pub struct Reports<'r>(&'r Say<'r>);

impl Reports<'_> {
    /// Says what is so at a path; with none that nothing is.
    ///
    /// # Errors
    /// [`Reject::Full`] when there is no room; [`Reject::Path`] for what is no path, or the
    /// gateway's.
    pub fn say(&self, path: &str, value: Option<Value<'_>>) -> Result<(), Reject> {
        (self.0)(Path::new(path)?, value)
    }
}

/// That something was not done, and why, in a few words.
///
/// # Panics
/// When they are more than a text may have.
#[must_use]
pub const fn failed(why: &'static str) -> Outcome<'static> {
    match Text::new(why) {
        Ok(text) => Outcome::Failed(text),
        Err(_) => panic!("it is short"),
    }
}

/// Acts for ever.
///
/// # Errors
/// A fault of the flash.
pub async fn run<F: NorFlash>(
    node: &Node<F>,
    actuators: &mut impl Actuators,
) -> Result<Infallible, Fault<F::Error>> {
    node.take_up()?;
    // The board cannot do anything about a flash that fails; the device ends.
    let fault = RefCell::new(None);
    let say = |path: Path<'_>, value: Option<Value<'_>>| match node.report(path, value) {
        Err(Fault::Reject(reject)) => Err(reject),
        Err(other) => {
            fault.replace(Some(other));
            Ok(())
        }
        Ok(()) => Ok(()),
    };
    let reports = Reports(&say);
    let mut applied = None;
    loop {
        let version = node.twin.borrow().version();
        if applied != Some(version) {
            applied = Some(version);
            let desired = node.twin.borrow().desired().clone();
            actuators.apply(&desired, reports);
        }
        while let Some(waiting) = node.begin_command()? {
            let command = Command::decode(&waiting.payload)?;
            (node.about.tell)(Event::Begun { id: command.id });
            let outcome = actuators.carry_out(&command, reports).await;
            node.end_command(command.id, outcome)?;
        }
        while let Some(asked) = node.with_flows(Flows::asked)? {
            let outcome = actuators.actuate(&asked, reports).await;
            node.with_flows(|flows, log, here| flows.moved(log, here, &asked, outcome))?;
        }
        if let Some(fault) = fault.take() {
            return Err(fault);
        }
        node.with_flows(Flows::tick)?;
        let next = node.with_flows(|flows, _, here| Ok(flows.next_ms(here)))?;
        let next = Duration::from_millis(next.unwrap_or(LOOK_MS).min(LOOK_MS));
        _ = with_timeout(next, node.work.wait()).await;
    }
}
