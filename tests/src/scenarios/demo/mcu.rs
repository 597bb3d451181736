//! A device of the demonstration that runs our firmware, on an emulated microcontroller. Where
//! there is no emulator the demonstration does without it, and says so.

use super::{Failure, LIMIT, say};
use crate::process::{Edge, Hub};
use crate::scenarios::firmware::{Mcu, exported, flows};
use tempfile::TempDir;

const NAME: &str = "mcu-1";

/// The device, if there is one.
pub(super) struct Emulated(Option<(Mcu, TempDir)>);

impl Emulated {
    /// Starts it.
    pub(super) fn start(edge: &Edge, hub: &Hub) -> Result<Self, Failure> {
        if !Mcu::can_be() {
            say("Without an emulated device: qemu-system-arm or the firmware is not here.");
            return Ok(Self(None));
        }
        say("An emulated Cortex-M3 measures a tank, and keeps what it measures in its flash.");
        let dir = tempfile::tempdir()?;
        let mut mcu = Mcu::new(NAME, dir.path(), edge.mqtt(), &edge.device_token(NAME)?);
        mcu.trust(flows::fleet_of(edge));
        mcu.start()?;
        flows::assign(hub, dir.path(), &flows::of_the_valve());
        Ok(Self(Some((mcu, dir))))
    }

    /// Waits until it has the workflow that its site has it use.
    pub(super) fn has_workflow(&self, edge: &Edge) {
        if self.0.is_some() {
            flows::has(edge, NAME, LIMIT);
            println!("    {NAME} has a workflow, signed at the hub, for the valve of its tank");
        }
    }

    /// The power goes.
    pub(super) fn without_power(&mut self) {
        if let Some((mcu, _)) = &mut self.0 {
            mcu.kill();
            println!("    {NAME} loses its power, too, with {} samples kept", mcu.kept().len());
        }
    }

    /// It has power for a while, and no gateway.
    pub(super) fn alone(&mut self) -> Result<(), Failure> {
        if let Some((mcu, _)) = &mut self.0 {
            mcu.start()?;
            flows::has_run(mcu, LIMIT);
            mcu.kill();
            println!(
                "    {NAME} starts without a gateway: its workflow moves the valve all the same"
            );
        }
        Ok(())
    }

    /// The power is back.
    pub(super) fn with_power(&mut self, edge: &Edge) -> Result<(), Failure> {
        if let Some((mcu, _)) = &mut self.0 {
            mcu.move_to(edge.mqtt());
            mcu.start()?;
        }
        Ok(())
    }

    /// Stops it, once the gateway has what it kept.
    pub(super) async fn stop(self, edge: &Edge, hub: &Hub) -> Result<(), Failure> {
        let Some((mut mcu, _dir)) = self.0 else { return Ok(()) };
        mcu.note();
        let begun = tokio::time::Instant::now();
        loop {
            let there = exported(edge);
            if there.get(NAME).is_some_and(|there| mcu.kept().is_subset(there)) {
                break;
            }
            if begun.elapsed() > LIMIT {
                return Err(format!("samples of {NAME} did not get to the gateway").into());
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
        let runs = flows::judge(edge, hub, &mcu, LIMIT);
        let (kept, starts) = (mcu.kept().len(), mcu.starts());
        mcu.kill();
        println!("    {NAME}: {kept} samples in {starts} starts, each of them at its gateway once");
        println!("    and {runs} runs of its workflow, as gateway and hub tell them");
        Ok(())
    }
}
