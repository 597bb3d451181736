//! The serial lines: UART0 for what a program has to say, UART1 for its traffic.
//!
//! The console waits for each byte and needs no interrupt, so it also works where nothing else does
//! any more. The line of UART1 has a buffer each way, which its interrupts fill and empty while
//! tasks do other things. While the buffer of what came in is full, the device keeps its byte and
//! its interrupt is off; the far end waits as long as the line can make it.

use crate::interrupt::{self, Interrupt};
use crate::register::Register;
use crate::time;
use core::cell::RefCell;
use core::convert::Infallible;
use core::fmt;
use core::future::poll_fn;
use core::sync::atomic::AtomicBool;
use core::task::Poll;
use critical_section::Mutex;
use embassy_sync::waitqueue::AtomicWaker;
use embedded_io_async::{ErrorType, Read, Write};

struct Uart {
    data: Register,
    state: Register,
    control: Register,
    /// Reads which interrupts are raised; ones written to it clear them.
    interrupts: Register,
    divider: Register,
}

const fn uart(base: usize) -> Uart {
    Uart {
        data: Register::at(base),
        state: Register::at(base + 4),
        control: Register::at(base + 8),
        interrupts: Register::at(base + 12),
        divider: Register::at(base + 16),
    }
}

const UART0: Uart = uart(0x4000_4000);
const UART1: Uart = uart(0x4000_5000);

/// 115,200 baud of 25 MHz.
const DIVIDER: u32 = 25_000_000 / 115_200;
/// In `state`.
const CANNOT_SEND: u32 = 1;
const HAS_RECEIVED: u32 = 1 << 1;
/// In `control`, where the receiver follows the transmitter bit by bit.
const TRANSMIT: u32 = 1;
const RECEIVE: u32 = 1 << 1;
const TRANSMIT_INTERRUPT: u32 = 1 << 2;
const RECEIVE_INTERRUPT: u32 = 1 << 3;
/// In `interrupts`.
const TRANSMITTED: u32 = 1;
const RECEIVED: u32 = 1 << 1;

/// What a program says, on UART0.
#[derive(Clone, Copy, Debug)]
pub struct Console(());

impl Console {
    /// Turns the line on. More than one is fine; what they write is not kept apart.
    #[must_use]
    pub fn open() -> Self {
        UART0.divider.write(DIVIDER);
        UART0.control.write(TRANSMIT);
        Self(())
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while UART0.state.read() & CANNOT_SEND != 0 {}
            UART0.data.write(byte.into());
        }
        Ok(())
    }
}

/// Bytes in the order they came, in a buffer of the program.
struct Ring {
    buffer: &'static mut [u8],
    first: usize,
    length: usize,
}

impl Ring {
    fn new(buffer: &'static mut [u8]) -> Self {
        assert!(!buffer.is_empty(), "a line without a buffer would carry nothing");
        Self { buffer, first: 0, length: 0 }
    }

    fn is_full(&self) -> bool {
        self.length == self.buffer.len()
    }

    fn push(&mut self, byte: u8) {
        let place = (self.first + self.length) % self.buffer.len();
        self.buffer[place] = byte;
        self.length += 1;
    }

    fn pop(&mut self) -> Option<u8> {
        let byte = (self.length > 0).then(|| self.buffer[self.first])?;
        self.first = (self.first + 1) % self.buffer.len();
        self.length -= 1;
        Some(byte)
    }
}

struct Line {
    received: Ring,
    to_send: Ring,
    /// Whether a byte is on its way whose interrupt will ask for the next.
    is_sending: bool,
}

static OWNED: AtomicBool = AtomicBool::new(false);
static LINE: Mutex<RefCell<Option<Line>>> = Mutex::new(RefCell::new(None));
static RECEIVER: AtomicWaker = AtomicWaker::new();
static SENDER: AtomicWaker = AtomicWaker::new();

impl Line {
    /// Takes what the device has, for as long as there is room.
    fn receive(&mut self) {
        let quiet = RECEIVE | TRANSMIT | TRANSMIT_INTERRUPT;
        // The interrupt is on before the device is asked, so a byte that comes later raises it.
        UART1.control.write(quiet | RECEIVE_INTERRUPT);
        while !self.received.is_full() && UART1.state.read() & HAS_RECEIVED != 0 {
            self.received.push(UART1.data.read() as u8);
        }
        if self.received.is_full() {
            UART1.control.write(quiet);
        }
    }

    /// Hands the device the next byte unless it is busy.
    fn send(&mut self) {
        if self.is_sending {
            return;
        }
        if let Some(byte) = self.to_send.pop() {
            self.is_sending = true;
            UART1.data.write(byte.into());
        }
    }
}

/// Does something with the line, which is there once its two ends are.
fn with_line<R>(work: impl FnOnce(&mut Line) -> R) -> Option<R> {
    critical_section::with(|cs| LINE.borrow_ref_mut(cs).as_mut().map(work))
}

/// A byte came in.
pub extern "C" fn on_receive() {
    UART1.interrupts.write(RECEIVED);
    with_line(Line::receive);
    RECEIVER.wake();
}

/// A byte went out.
pub extern "C" fn on_transmit() {
    UART1.interrupts.write(TRANSMITTED);
    with_line(|line| {
        line.is_sending = false;
        line.send();
    });
    SENDER.wake();
}

/// The line of UART1: both of its ends.
pub struct Serial {
    receiver: Receiver,
    sender: Sender,
}

/// The end of UART1 that bytes come out of.
pub struct Receiver(());

/// The end of UART1 that bytes go into.
pub struct Sender(());

impl Serial {
    /// Turns the line on, with a buffer for what comes in and one for what goes out.
    ///
    /// # Panics
    /// It was made before, or a buffer is empty.
    pub fn new(received: &'static mut [u8], to_send: &'static mut [u8]) -> Self {
        interrupt::claim(&OWNED);
        let (received, to_send) = (Ring::new(received), Ring::new(to_send));
        let mut line = Line { received, to_send, is_sending: false };
        UART1.divider.write(DIVIDER);
        line.receive();
        critical_section::with(|cs| LINE.replace(cs, Some(line)));
        interrupt::enable(Interrupt::Uart1Receive);
        interrupt::enable(Interrupt::Uart1Transmit);
        // The emulator does not notice that its line is wanted now before something else happens.
        time::ring();
        Self { receiver: Receiver(()), sender: Sender(()) }
    }

    /// Its ends, for tasks of their own.
    #[must_use]
    pub fn split(self) -> (Receiver, Sender) {
        (self.receiver, self.sender)
    }
}

impl ErrorType for Receiver {
    type Error = Infallible;
}

impl ErrorType for Sender {
    type Error = Infallible;
}

impl ErrorType for Serial {
    type Error = Infallible;
}

/// Nothing is lost when it is dropped before its end.
impl Read for Receiver {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        if bytes.is_empty() {
            return Ok(0);
        }
        poll_fn(|cx| {
            RECEIVER.register(cx.waker());
            let read = with_line(|line| {
                let places = bytes.iter_mut();
                let taken = places.map_while(|place| line.received.pop().map(|byte| *place = byte));
                let read = taken.count();
                if read > 0 {
                    line.receive();
                }
                read
            });
            read.filter(|read| *read > 0).map_or(Poll::Pending, |read| Poll::Ready(Ok(read)))
        })
        .await
    }
}

/// Nothing is written when it is dropped before its end.
impl Write for Sender {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        if bytes.is_empty() {
            return Ok(0);
        }
        poll_fn(|cx| {
            SENDER.register(cx.waker());
            let written = with_line(|line| {
                let room = line.to_send.buffer.len() - line.to_send.length;
                let some = bytes.iter().take(room);
                let written = some.map(|byte| line.to_send.push(*byte)).count();
                line.send();
                written
            });
            let written = written.filter(|written| *written > 0);
            written.map_or(Poll::Pending, |written| Poll::Ready(Ok(written)))
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        poll_fn(|cx| {
            SENDER.register(cx.waker());
            let is_busy = with_line(|line| line.is_sending || line.to_send.length > 0);
            if is_busy == Some(true) { Poll::Pending } else { Poll::Ready(Ok(())) }
        })
        .await
    }
}

impl Read for Serial {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        self.receiver.read(bytes).await
    }
}

impl Write for Serial {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.sender.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        self.sender.flush().await
    }
}
