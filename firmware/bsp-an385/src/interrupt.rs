//! The table of interrupts: which handler the processor enters for which device.
//!
//! It is written out here rather than made of names that a program could replace, because each
//! device has one driver and that driver is in this package. All interrupts keep the priority they
//! have after reset, the same one, so no handler interrupts another.

use crate::{ethernet, time, uart};
use core::sync::atomic::{AtomicBool, Ordering};
use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;

/// The interrupts that have a handler, by the number of their line.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub enum Interrupt {
    Uart1Receive = 2,
    Uart1Transmit = 3,
    Timer0 = 8,
    Timer1 = 9,
    Ethernet = 13,
}

// SAFETY: the numbers are those of the lines, each once, and the table below has a place for each.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self as u16
    }
}

/// Lets an interrupt through; its driver has put the device in order before.
pub fn enable(interrupt: Interrupt) {
    // SAFETY: unmasking breaks a critical section made by masking lines; there is none of that kind
    // here, critical sections mask all interrupts at the processor.
    unsafe { NVIC::unmask(interrupt) };
}

/// Marks a device as owned.
///
/// # Panics
/// It is owned already.
pub fn claim(owned: &AtomicBool) {
    let before = critical_section::with(|_| {
        let before = owned.load(Ordering::Relaxed);
        owned.store(true, Ordering::Relaxed);
        before
    });
    assert!(!before, "a device has one owner");
}

type Handler = unsafe extern "C" fn();

unsafe extern "C" {
    /// Where the runtime sends what nobody handles.
    fn DefaultHandler();
}

/// The lines up to the last one that is used.
const LINES: usize = Interrupt::Ethernet as usize + 1;

const fn table() -> [Handler; LINES] {
    let mut table: [Handler; LINES] = [DefaultHandler; LINES];
    table[Interrupt::Uart1Receive as usize] = uart::on_receive;
    table[Interrupt::Uart1Transmit as usize] = uart::on_transmit;
    table[Interrupt::Timer0 as usize] = time::on_wrap;
    table[Interrupt::Timer1 as usize] = time::on_alarm;
    table[Interrupt::Ethernet as usize] = ethernet::on_interrupt;
    table
}

/// The runtime's linker script puts this section behind the exceptions and keeps it by this name.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".vector_table.interrupts")]
static __INTERRUPTS: [Handler; LINES] = table();
