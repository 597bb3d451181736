//! A watchdog: it starts the board again when nobody has fed it for a while.
//!
//! It counts down at the timers' rate from what it was started with; at zero it raises the
//! interrupt that cannot be masked, which stands still here, and at the second zero it resets the
//! board (CMSDK watchdog, Arm DDI 0479, 3.4). Once started it is not stopped.

use crate::register::Register;
use crate::time::COUNTS_HZ;

const LOAD: Register = Register::at(0x4000_8000);
const CONTROL: Register = Register::at(0x4000_8008);
const CLEAR: Register = Register::at(0x4000_800c);

/// It counts, and resets.
const ENABLED: u32 = 0b11;

/// Seconds that nobody may feed it: two rounds of half of that.
pub const PATIENCE_S: u32 = 8;

/// Starts it, or feeds it.
pub fn start() {
    LOAD.write(COUNTS_HZ as u32 * (PATIENCE_S / 2));
    CONTROL.write(ENABLED);
}

/// Has it count from the start.
pub fn feed() {
    CLEAR.write(1);
}
