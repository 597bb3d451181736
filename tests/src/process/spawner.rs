//! One thread that starts all processes.
//!
//! Linux delivers the parent-death signal when the starting *thread* ends, and threads of a test
//! runtime come and go. This one lives as long as the harness.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};

type Order = (Command, Sender<io::Result<Child>>);

/// Starts a process that leads its own group and is killed when the harness dies.
pub(super) fn spawn(mut command: Command) -> io::Result<Child> {
    static ORDERS: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    command.process_group(0);
    // SAFETY: between fork and exec only one system call is made, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0, 0, 0) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
    let (answer, started) = channel();
    ORDERS
        .get_or_init(|| Mutex::new(start_thread()))
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .expect("the spawner's thread never ends");
    started.recv().expect("the spawner's thread answers every order")
}

fn start_thread() -> Sender<Order> {
    let (orders, inbox) = channel::<Order>();
    std::thread::Builder::new()
        .name("spawner".into())
        .spawn(move || {
            for (mut command, answer) in inbox {
                // Whoever ordered waits for the answer, unless it is panicking.
                let _ = answer.send(command.spawn());
            }
        })
        .expect("a thread can be started");
    orders
}
