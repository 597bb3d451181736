//! The other end of a client, for tests.

use core::cell::RefCell;
use core::convert::Infallible;
use core::future::poll_fn;
use core::task::Poll;
use embedded_io_async::{Read, Write};
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec::Vec;

/// A stream to a server that is a script.
#[derive(Clone)]
pub struct Wire(Rc<RefCell<Script>>);

struct Script {
    /// What it says, in pieces each of which has to be waited for once.
    says: VecDeque<Vec<u8>>,
    has_waited: bool,
    is_over: bool,
    /// Bytes that it takes yet, and at once.
    takes: usize,
    takes_at_once: usize,
    told: Vec<u8>,
    /// Bytes of that which were flushed.
    flushed: usize,
}

impl Wire {
    pub fn new(says: &[&[u8]]) -> Self {
        let wire = Self(Rc::new(RefCell::new(Script {
            says: VecDeque::new(),
            has_waited: false,
            is_over: false,
            takes: usize::MAX,
            takes_at_once: usize::MAX,
            told: Vec::new(),
            flushed: 0,
        })));
        wire.say(says);
        wire
    }

    pub fn say(&self, says: &[&[u8]]) {
        self.0.borrow_mut().says.extend(says.iter().map(|piece| piece.to_vec()));
    }

    /// Nothing more comes than was said.
    pub fn end(&self) {
        self.0.borrow_mut().is_over = true;
    }

    pub fn takes(&self, takes: usize) {
        self.0.borrow_mut().takes = takes;
    }

    pub fn takes_at_once(&self, takes: usize) {
        self.0.borrow_mut().takes_at_once = takes;
    }

    pub fn told_len(&self) -> usize {
        self.0.borrow().told.len()
    }

    /// What it was told since this was last asked, all of which is to be flushed.
    pub fn told(&self) -> Vec<u8> {
        let mut script = self.0.borrow_mut();
        assert_eq!(core::mem::take(&mut script.flushed), script.told.len());
        core::mem::take(&mut script.told)
    }
}

impl embedded_io_async::ErrorType for Wire {
    type Error = Infallible;
}

impl Read for Wire {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|_| {
            let mut script = self.0.borrow_mut();
            let Some(piece) = script.says.front_mut() else {
                return if script.is_over { Poll::Ready(Ok(0)) } else { Poll::Pending };
            };
            let read = piece.len().min(out.len());
            let rest = piece.split_off(read);
            let given = core::mem::replace(piece, rest);
            let is_end = piece.is_empty();
            // Each piece is waited for once.
            if !script.has_waited {
                script.says[0].splice(0..0, given);
                script.has_waited = true;
                return Poll::Pending;
            }
            if is_end {
                script.says.pop_front();
                script.has_waited = false;
            }
            out[..read].copy_from_slice(&given);
            Poll::Ready(Ok(read))
        })
        .await
    }
}

impl Write for Wire {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        poll_fn(|_| {
            let mut script = self.0.borrow_mut();
            let written = bytes.len().min(script.takes).min(script.takes_at_once);
            if written == 0 {
                return if script.is_over { Poll::Ready(Ok(0)) } else { Poll::Pending };
            }
            script.takes -= written;
            script.told.extend(&bytes[..written]);
            Poll::Ready(Ok(written))
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        let mut script = self.0.borrow_mut();
        script.flushed = script.told.len();
        Ok(())
    }
}
