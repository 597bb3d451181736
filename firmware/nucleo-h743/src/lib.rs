//! The STM32H743ZI Nucleo-144, as far as its loader and its node share it: the flash inside the
//! processor and what lies where in it, the watchdog, why the board started and how it starts
//! again.
//!
//! What only a node has, Ethernet, the serial line, the button, the light and the thermometer, is
//! in `src/bin/node`. The loader leaves the clock as it is after a reset and turns nothing on but
//! the watchdog, so a node finds the processor as if it had started by itself.

#![no_std]

mod fault;
pub mod flash;
pub mod places;
pub mod reset;
pub mod watchdog;
