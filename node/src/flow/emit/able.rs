//! What a node can do that a workflow is placed on: above all a device, which moves its own
//! outputs, reads its own readings, and hears of nothing else.
//!
//! The verifier would refuse the same, of an image; here it is told of the step, and what to do
//! about it.

use super::super::definition::Named;
use super::super::diagnostic::{Place, Told};
use super::super::expression::typed::Asked;
use super::super::judge::tier_of;
use super::Emitter;
use holdfast_core::flow::about::Placement;
use holdfast_core::flow::effect::Kind;

impl Emitter<'_> {
    /// That an effect is one that the node of the workflow brings about.
    pub(super) fn check_able(&mut self, kind: Kind) -> Result<(), Told> {
        let placement = self.definition.placement;
        let name = kind.name();
        if kind == Kind::Actuate && matches!(placement, Placement::Edge | Placement::Hub) {
            let message = "`actuate` moves an output of the device that it runs on, and this \
                           workflow runs on none";
            let advice = "say `placement: device`, or have a device do it with `command` or `set`";
            return Err(self.report.advise(self.place, message, advice));
        }
        if tier_of(placement).effects & kind.bit() != 0 {
            return Ok(());
        }
        let message = format!("a device does no `{name}`: it moves its outputs, with `actuate`");
        let advice = "have a workflow of the gateway do it, begun by what the device measures or \
                      reports";
        Err(self.report.advise(self.place, message, advice))
    }

    /// The same of what an expression asks for.
    pub(super) fn check_asked(&mut self, asked: Asked, place: Place) -> Result<(), Told> {
        let Asked::Clock(part) = asked else { return Ok(()) };
        if tier_of(self.definition.placement).effects & Kind::Clock.bit() != 0 {
            return Ok(());
        }
        let message = format!("a device knows no time zone, so there is no `{part}()` on it");
        let advice = "wait for a length of time, or have a workflow of the gateway do it";
        Err(self.report.advise(place, message, advice))
    }

    /// That a signal can come to the node of the workflow.
    pub(super) fn check_heard(&mut self, signal: &Named) -> Result<(), Told> {
        if self.definition.placement != Placement::Device {
            return Ok(());
        }
        let message = format!("a device is sent no signals, so nobody tells it `{}`", signal.text);
        let advice =
            "wait for a condition over its own readings: `wait_for: {device, metric, above}`";
        Err(self.report.advise(signal.place, message, advice))
    }
}
