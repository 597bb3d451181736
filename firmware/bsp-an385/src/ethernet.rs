//! The LAN9118 Ethernet controller as a driver for `embassy-net`.
//!
//! Frames go through the controller's FIFOs word by word, with one buffer each way. A frame stays
//! in the FIFO until the stack takes it, so what the stack has no time for waits in the controller
//! and not here.
//!
//! The interrupt handler only masks what has happened and wakes the stack. Whoever finds nothing
//! left to do lets that interrupt through again and looks once more, so nothing that comes in
//! between is slept through.

use crate::interrupt::{self, Interrupt};
use crate::register::Register;
use core::sync::atomic::AtomicBool;
use core::task::Context;
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};
use embassy_sync::waitqueue::AtomicWaker;

/// An Ethernet frame without its checksum, which the controller adds and this driver drops.
const MAX_FRAME_BYTES: usize = 1514;
const CHECKSUM_BYTES: usize = 4;

const RECEIVED: Register = Register::at(0x4020_0000);
const TO_SEND: Register = Register::at(0x4020_0020);
const RECEIVE_STATUS: Register = Register::at(0x4020_0040);
/// The same, left in its FIFO.
const RECEIVE_STATUS_PEEK: Register = Register::at(0x4020_0044);
const INTERRUPT_CONFIG: Register = Register::at(0x4020_0054);
const INTERRUPT_STATUS: Register = Register::at(0x4020_0058);
const INTERRUPT_ENABLE: Register = Register::at(0x4020_005c);
const BYTE_TEST: Register = Register::at(0x4020_0064);
const FIFO_LEVELS: Register = Register::at(0x4020_0068);
const TRANSMIT_CONFIG: Register = Register::at(0x4020_0070);
const HARDWARE_CONFIG: Register = Register::at(0x4020_0074);
const RECEIVE_FIFO: Register = Register::at(0x4020_007c);
const TRANSMIT_FIFO: Register = Register::at(0x4020_0080);
const MAC_COMMAND: Register = Register::at(0x4020_00a4);
const MAC_DATA: Register = Register::at(0x4020_00a8);

/// What `BYTE_TEST` reads when the controller is there and its bytes are in our order.
const BYTES_IN_ORDER: u32 = 0x8765_4321;
const SOFT_RESET: u32 = 1;
/// Frames are sent once they are whole, out of a FIFO of 5 KiB.
const STORE_AND_FORWARD: u32 = 1 << 20 | 5 << 16;
/// To the processor: on, high when active, driven both ways.
const INTERRUPT_LINE: u32 = 1 << 8 | 1 << 4 | 1;
const FRAME_IS_THERE: u32 = 1 << 3;
const LINK_CHANGES: u32 = 1 << 18;
/// On, and not stopped by statuses of sent frames that nobody reads.
const TRANSMIT_ON: u32 = 1 << 1 | 1 << 2;
const FIRST_AND_LAST: u32 = 1 << 13 | 1 << 12;
const FRAME_IS_BAD: u32 = 1 << 15;

/// Registers of the address filter, behind `MAC_COMMAND`.
const MAC_CONTROL: u32 = 1;
const MAC_ADDRESS_HIGH: u32 = 2;
const MAC_ADDRESS_LOW: u32 = 3;
const MII_ACCESS: u32 = 6;
const MII_DATA: u32 = 7;
const MAC_BUSY: u32 = 1 << 31;
const MAC_READ: u32 = 1 << 30;
/// Both ways at once, receiver on, transmitter on.
const MAC_ON: u32 = 1 << 20 | 1 << 3 | 1 << 2;

/// Registers of the PHY, behind `MII_ACCESS`.
const PHY: u32 = 1 << 11;
const PHY_STATUS: u32 = 1;
const PHY_INTERRUPTS: u32 = 29;
const PHY_INTERRUPT_MASK: u32 = 30;
const LINK_IS_UP: u32 = 1 << 2;
/// Energy, negotiation over, remote fault, link down.
const LINK_EVENTS: u32 = 0xf0;
const MII_BUSY: u32 = 1;
const MII_WRITE: u32 = 1 << 1;

static OWNED: AtomicBool = AtomicBool::new(false);
static WAKER: AtomicWaker = AtomicWaker::new();

/// There is no such controller on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absent;

/// The controller.
pub struct Ethernet {
    address: [u8; 6],
    receiving: [u8; MAX_FRAME_BYTES],
    sending: [u8; MAX_FRAME_BYTES],
}

impl Ethernet {
    /// Resets the controller and turns it on under `address`.
    ///
    /// # Errors
    /// [`Absent`].
    ///
    /// # Panics
    /// It was made before.
    pub fn new(address: [u8; 6]) -> Result<Self, Absent> {
        interrupt::claim(&OWNED);
        if BYTE_TEST.read() != BYTES_IN_ORDER {
            return Err(Absent);
        }
        HARDWARE_CONFIG.write(SOFT_RESET);
        while HARDWARE_CONFIG.read() & SOFT_RESET != 0 {}
        HARDWARE_CONFIG.write(STORE_AND_FORWARD);
        let [a, b, c, d, e, f] = address;
        mac_write(MAC_ADDRESS_HIGH, u32::from(u16::from_le_bytes([e, f])));
        mac_write(MAC_ADDRESS_LOW, u32::from_le_bytes([a, b, c, d]));
        INTERRUPT_ENABLE.write(0);
        INTERRUPT_STATUS.write(u32::MAX);
        INTERRUPT_CONFIG.write(INTERRUPT_LINE);
        // One frame is enough for an interrupt.
        FIFO_LEVELS.write(0);
        phy_write(PHY_INTERRUPT_MASK, LINK_EVENTS);
        TRANSMIT_CONFIG.write(TRANSMIT_ON);
        mac_write(MAC_CONTROL, MAC_ON);
        interrupt::enable(Interrupt::Ethernet);
        Ok(Self { address, receiving: [0; MAX_FRAME_BYTES], sending: [0; MAX_FRAME_BYTES] })
    }
}

fn mac_wait() {
    while MAC_COMMAND.read() & MAC_BUSY != 0 {}
}

fn mac_write(register: u32, value: u32) {
    MAC_DATA.write(value);
    MAC_COMMAND.write(MAC_BUSY | register);
    mac_wait();
}

fn mac_read(register: u32) -> u32 {
    MAC_COMMAND.write(MAC_BUSY | MAC_READ | register);
    mac_wait();
    MAC_DATA.read()
}

fn phy_access(register: u32, write: u32) {
    mac_write(MII_ACCESS, PHY | register << 6 | write | MII_BUSY);
    while mac_read(MII_ACCESS) & MII_BUSY != 0 {}
}

fn phy_write(register: u32, value: u32) {
    mac_write(MII_DATA, value);
    phy_access(register, MII_WRITE);
}

fn phy_read(register: u32) -> u32 {
    phy_access(register, 0);
    mac_read(MII_DATA)
}

/// Lets an interrupt through.
fn listen_for(what: u32) {
    critical_section::with(|_| INTERRUPT_ENABLE.write(INTERRUPT_ENABLE.read() | what));
}

/// Something has happened that somebody waits for.
pub extern "C" fn on_interrupt() {
    INTERRUPT_ENABLE.write(INTERRUPT_ENABLE.read() & !INTERRUPT_STATUS.read());
    WAKER.wake();
}

/// Whether a good frame is there. Bad ones before it are dropped.
fn has_frame() -> bool {
    while RECEIVE_FIFO.read() >> 16 & 0xff != 0 {
        let status = RECEIVE_STATUS_PEEK.read();
        let bytes = frame_bytes(status);
        let fits = (CHECKSUM_BYTES..=MAX_FRAME_BYTES + CHECKSUM_BYTES).contains(&bytes);
        if fits && status & FRAME_IS_BAD == 0 {
            return true;
        }
        take_frame(&mut []);
    }
    false
}

/// How long the frame of a status is, its checksum included.
fn frame_bytes(status: u32) -> usize {
    (status >> 16 & 0x3fff) as usize
}

/// Takes the next frame with its status out of the FIFOs. What `buffer` has no room for is dropped.
fn take_frame(buffer: &mut [u8]) -> usize {
    let bytes = frame_bytes(RECEIVE_STATUS.read());
    let mut rooms = buffer.chunks_mut(4);
    for _ in 0..bytes.div_ceil(4) {
        let word = RECEIVED.read().to_le_bytes();
        if let Some(room) = rooms.next() {
            room.copy_from_slice(&word[..room.len()]);
        }
    }
    bytes.saturating_sub(CHECKSUM_BYTES)
}

/// A frame that is there.
pub struct RxToken<'a>(&'a mut [u8; MAX_FRAME_BYTES]);

impl embassy_net_driver::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        let bytes = take_frame(self.0);
        f(&mut self.0[..bytes])
    }
}

/// Room for a frame.
pub struct TxToken<'a>(&'a mut [u8; MAX_FRAME_BYTES]);

impl embassy_net_driver::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let frame = &mut self.0[..length];
        let result = f(frame);
        TO_SEND.write(FIRST_AND_LAST | length as u32);
        TO_SEND.write(length as u32);
        for bytes in frame.chunks(4) {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            TO_SEND.write(u32::from_le_bytes(word));
        }
        result
    }
}

/// Whether a whole frame with its two words of commands has room.
fn has_room() -> bool {
    TRANSMIT_FIFO.read() & 0xffff >= MAX_FRAME_BYTES.next_multiple_of(4) as u32 + 8
}

impl Driver for Ethernet {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(RxToken<'_>, TxToken<'_>)> {
        WAKER.register(cx.waker());
        if !has_frame() {
            INTERRUPT_STATUS.write(FRAME_IS_THERE);
            listen_for(FRAME_IS_THERE);
            if !has_frame() {
                return None;
            }
        }
        if !has_room() {
            cx.waker().wake_by_ref();
            return None;
        }
        Some((RxToken(&mut self.receiving), TxToken(&mut self.sending)))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<TxToken<'_>> {
        if !has_room() {
            // The wire empties the FIFO in a tenth of a millisecond, so asking again is no worse
            // than an interrupt.
            cx.waker().wake_by_ref();
            return None;
        }
        Some(TxToken(&mut self.sending))
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        WAKER.register(cx.waker());
        // Reading the events clears them. What happens after that is another interrupt, so the
        // state read below is never an old one for long.
        phy_read(PHY_INTERRUPTS);
        listen_for(LINK_CHANGES);
        if phy_read(PHY_STATUS) & LINK_IS_UP == 0 { LinkState::Down } else { LinkState::Up }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = MAX_FRAME_BYTES;
        capabilities.max_burst_size = Some(1);
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}
