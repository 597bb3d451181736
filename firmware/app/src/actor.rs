//! Acts: brings about what the device should be, and does what it is told.
//!
//! Both come from flash, never from a message: what is desired is there also when there is no
//! gateway, and a command is begun only after that is written down. The board's part is
//! [`Actuators`], which says what is so by [`Reports`].

use crate::log::Fault;
use crate::node::{Event, Node};
use crate::twin::Wanted;
use core::cell::RefCell;
use core::convert::Infallible;
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::Reject;
use holdfast_core::device::command::{Command, Outcome};
use holdfast_core::reading::Text;
use holdfast_core::state::{Path, Value};

/// What a board can do.
pub trait Actuators {
    /// Brings about what is desired: at the start, and whenever that changes.
    fn apply(&mut self, desired: &Wanted, reports: Reports<'_>);

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
        if let Some(fault) = fault.take() {
            return Err(fault);
        }
        node.work.wait().await;
    }
}
