//! For tests: a flash in memory that behaves as a part does. A unit is written once between erases,
//! a page is erased as a whole, and when the power goes in the middle of an erase some of the page
//! is cleared and some is not. Of a part with error correction the unit that it was at fits no
//! correction any more, which a board reads as zeros.

use crate::log::{Fault, Log};
use core::cell::{Cell, RefCell};
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

/// Why an operation did not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The power went.
    Power,
    /// A unit was to be written that is not erased.
    Twice,
}

impl NorFlashError for Broken {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

/// A flash in memory: what is erased at once, and what is written at once. A clone is another hold
/// of the same.
#[derive(Clone)]
pub struct Chip<const PAGE: usize, const UNIT: usize> {
    pub bytes: Rc<RefCell<Vec<u8>>>,
    /// How often each page was erased.
    pub erased: Rc<RefCell<Vec<u32>>>,
    /// Units that are written or erased until the power goes.
    pub left: Rc<Cell<u64>>,
    /// The power goes within the unit that would be the next one, and not before it: once.
    pub tears: Rc<Cell<bool>>,
}

/// As beside a microcontroller.
pub type Outside = Chip<4096, 4>;

impl<const PAGE: usize, const UNIT: usize> Chip<PAGE, UNIT> {
    pub fn new(pages: usize) -> Self {
        let bytes = Rc::new(RefCell::new(vec![0xff; pages * PAGE]));
        let erased = Rc::new(RefCell::new(vec![0; pages]));
        let (left, tears) = (Rc::new(Cell::new(u64::MAX)), Rc::default());
        Self { bytes, erased, left, tears }
    }

    pub fn try_open(&self) -> Result<Log<Self>, Fault<Broken>> {
        Log::open(self.clone(), 0..self.capacity() as u32)
    }

    pub fn open(&self) -> Log<Self> {
        self.try_open().expect("there is power")
    }

    fn spend(&self, at: usize) -> Result<(), Broken> {
        if let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            return Ok(());
        }
        if self.tears.take() {
            self.bytes.borrow_mut()[at..at + UNIT].fill(0);
        }
        Err(Broken::Power)
    }
}

impl<const PAGE: usize, const UNIT: usize> ErrorType for Chip<PAGE, UNIT> {
    type Error = Broken;
}

impl<const PAGE: usize, const UNIT: usize> ReadNorFlash for Chip<PAGE, UNIT> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Broken> {
        let at = offset as usize;
        bytes.copy_from_slice(&self.bytes.borrow()[at..at + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.borrow().len()
    }
}

impl<const PAGE: usize, const UNIT: usize> NorFlash for Chip<PAGE, UNIT> {
    const WRITE_SIZE: usize = UNIT;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Broken> {
        for page in from as usize / PAGE..to as usize / PAGE {
            self.erased.borrow_mut()[page] += 1;
            // It goes through the page with large steps, so that what is left of a torn erase is
            // not simply its end.
            for step in 0..PAGE / UNIT {
                let at = page * PAGE + (step * 389 % (PAGE / UNIT)) * UNIT;
                self.spend(at)?;
                self.bytes.borrow_mut()[at..at + UNIT].fill(0xff);
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Broken> {
        let mut units: Vec<_> = bytes.chunks_exact(UNIT).enumerate().collect();
        // Some parts write a row of bytes in an order of their own.
        if UNIT > 4 {
            units.reverse();
        }
        for (number, unit) in units {
            let at = offset as usize + number * UNIT;
            self.spend(at)?;
            let mut all = self.bytes.borrow_mut();
            let there = &mut all[at..at + UNIT];
            if there.iter().any(|byte| *byte != 0xff) {
                return Err(Broken::Twice);
            }
            there.copy_from_slice(unit);
        }
        assert_eq!(bytes.len() % UNIT, 0, "whole units");
        Ok(())
    }
}

/// A generator of numbers that is the same everywhere (Steele, Lea, Flood: SplitMix, 2014).
pub struct Draw(pub u64);

impl Draw {
    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % end
    }
}
