//! The serial line that goes through the board's programmer to a computer: what the device says
//! goes out by it, and who the device is comes in. 115,200 baud, eight bits, no parity.
//!
//! Interrupts carry both ways, so a line is said without waiting for it while there is room. In a
//! panic, where nothing else works, bytes go out by hand.

use core::cell::RefCell;
use core::fmt::{self, Write};
use embassy_stm32::Peri;
use embassy_stm32::bind_interrupts;
use embassy_stm32::pac;
use embassy_stm32::peripherals::{PD8, PD9, USART3};
use embassy_stm32::usart::{
    BufferedInterruptHandler, BufferedUart, BufferedUartRx, BufferedUartTx, Config,
};
use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::ThreadModeRawMutex;
use embedded_io_async::Read;
use holdfast_firmware::memory::Identity;
use holdfast_firmware::provision::{Line, Wrong};
use static_cell::ConstStaticCell;

bind_interrupts!(struct Irqs {
    USART3 => BufferedInterruptHandler<USART3>;
});

/// Bytes that may wait to go out: all that a start says.
const OUT_BYTES: usize = 1024;
/// Bytes that may wait to be read, as the flash may keep the processor busy.
const IN_BYTES: usize = 512;

type Out = Option<BufferedUartTx<'static>>;

static OUT: Mutex<ThreadModeRawMutex, RefCell<Out>> = Mutex::new(RefCell::new(None));

/// Turns the line on; the end of it that lines come out of.
pub fn open(
    uart: Peri<'static, USART3>,
    sends: Peri<'static, PD8>,
    receives: Peri<'static, PD9>,
) -> Option<Lines> {
    static TO_SEND: ConstStaticCell<[u8; OUT_BYTES]> = ConstStaticCell::new([0; OUT_BYTES]);
    static RECEIVED: ConstStaticCell<[u8; IN_BYTES]> = ConstStaticCell::new([0; IN_BYTES]);
    let (to_send, received) = (TO_SEND.take(), RECEIVED.take());
    // As it is by default.
    let config = Config::default();
    let uart = BufferedUart::new(uart, receives, sends, to_send, received, Irqs, config).ok()?;
    let (out, bytes) = uart.split();
    OUT.lock(|place| place.replace(Some(out)));
    Some(Lines { bytes, line: Line::new() })
}

/// Who the device is, as somebody types it.
pub struct Lines {
    bytes: BufferedUartRx<'static>,
    line: Line,
}

impl Lines {
    /// The next line.
    pub async fn next(&mut self) -> Result<Identity, Wrong> {
        let mut byte = [0];
        loop {
            // What was garbled on its way makes a line that cannot be read.
            match self.bytes.read(&mut byte).await {
                Ok(1..) => {}
                _ => continue,
            }
            if let Some(said) = self.line.push(byte[0]) {
                return said;
            }
        }
    }
}

/// Says a line.
pub fn say(line: fmt::Arguments<'_>) {
    OUT.lock(|out| {
        if let Some(out) = &mut *out.borrow_mut() {
            // There is nobody to tell that a line cannot be said.
            let _ = write!(Sink(out), "{line}\r\n");
        }
    });
}

/// Waits until all that was said is on the wire.
pub fn flush() {
    OUT.lock(|out| {
        if let Some(out) = &mut *out.borrow_mut() {
            let _ = embedded_io::Write::flush(out);
            while !pac::USART3.isr().read().tc() {}
        }
    });
}

struct Sink<'o>(&'o mut BufferedUartTx<'static>);

impl Write for Sink<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        embedded_io::Write::write_all(self.0, text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// The line without its driver, for a program that breaks down.
pub struct ByHand;

impl Write for ByHand {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !pac::USART3.cr1().read().te() {
            return Err(fmt::Error);
        }
        for byte in text.bytes() {
            while !pac::USART3.isr().read().txe() {}
            pac::USART3.tdr().write(|data| data.set_dr(byte.into()));
        }
        while !pac::USART3.isr().read().tc() {}
        Ok(())
    }
}
