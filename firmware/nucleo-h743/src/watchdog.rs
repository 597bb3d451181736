//! The independent watchdog: it starts the board again when nobody has fed it for a while, by a
//! clock of its own. The loader starts it; once started it is not stopped but by a reset.

use embassy_stm32::Peri;
use embassy_stm32::peripherals::IWDG1;
use embassy_stm32::wdg::IndependentWatchdog;

/// Seconds that nobody may feed it. A task waits for two erases of a page at most, one of the log
/// and one beside it, which take up to four seconds each as the flash is driven here.
const PATIENCE_S: u32 = 20;

/// The watchdog.
pub struct Watchdog(IndependentWatchdog<'static, IWDG1>);

impl Watchdog {
    /// Starts it; where it runs already, feeds it.
    #[must_use]
    pub fn start(dog: Peri<'static, IWDG1>) -> Self {
        let mut dog = IndependentWatchdog::new(dog, PATIENCE_S * 1_000_000);
        dog.unleash();
        dog.pet();
        Self(dog)
    }

    /// Has it count from the start.
    pub fn feed(&mut self) {
        self.0.pet();
    }
}
