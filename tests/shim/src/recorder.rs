//! The journal being written: one per process, opened at the first call that it records.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libc::c_int;

use crate::format::{HEADER, Op, record_len};
use crate::{paths, sys};

const DIR_ENV: &str = "HOLDFAST_POWERCUT_DIR";
const JOURNAL_ENV: &str = "HOLDFAST_POWERCUT_JOURNAL";

/// Where to record and what.
pub struct Recorder {
    root: PathBuf,
    journal: CString,
    state: Mutex<Option<State>>,
    ops: AtomicU64,
}

/// The journal, and the number of every file of this process.
pub struct State {
    journal: c_int,
    files: HashMap<(u64, u64), u32>,
    last: u32,
}

/// The recorder, if the environment asks for one.
pub fn recorder() -> Option<&'static Recorder> {
    static RECORDER: OnceLock<Option<Recorder>> = OnceLock::new();
    RECORDER
        .get_or_init(|| {
            let root = PathBuf::from(std::env::var_os(DIR_ENV)?);
            let journal = CString::new(std::env::var_os(JOURNAL_ENV)?.into_vec()).ok()?;
            let (state, ops) = (Mutex::new(None), AtomicU64::new(0));
            Some(Recorder { root, journal, state, ops })
        })
        .as_ref()
}

/// The recorder and the path relative to its directory, if the path is to be recorded.
pub fn tracked(dir: c_int, path: &CStr) -> Option<(&'static Recorder, Vec<u8>)> {
    let recorder = recorder()?;
    Some((recorder, paths::below(&recorder.root, dir, path)?))
}

impl Recorder {
    /// Held while a call is made and recorded.
    pub fn lock(&self) -> Guard<'_> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = state.is_none();
        state.get_or_insert_with(|| State {
            journal: open_journal(&self.journal),
            files: HashMap::new(),
            last: 0,
        });
        let mut guard = Guard { recorder: self, state };
        if fresh {
            guard.record(Op::Start);
        }
        guard
    }

    /// How many operations are in the journal since this process began.
    pub fn ops(&self) -> u64 {
        self.ops.load(SeqCst)
    }
}

/// The right to append to the journal.
pub struct Guard<'a> {
    recorder: &'a Recorder,
    state: MutexGuard<'a, Option<State>>,
}

impl Guard<'_> {
    /// Appends one operation.
    pub fn record(&mut self, op: Op<'_>) {
        let (header, first, second) = op.encode();
        let journal = self.state().journal;
        // Short records go out in one call, so that a killed process rarely leaves half of one.
        let mut small = [0; 512];
        let len = HEADER + first.len() + second.len();
        let whole = if let Some(small) = small.get_mut(..len) {
            small[..HEADER].copy_from_slice(&header);
            small[HEADER..HEADER + first.len()].copy_from_slice(first);
            small[HEADER + first.len()..].copy_from_slice(second);
            sys::write_all(journal, small)
        } else {
            sys::write_all(journal, &header)
                && sys::write_all(journal, first)
                && sys::write_all(journal, second)
        };
        if !whole {
            sys::give_up("the journal cannot be written");
        }
        self.recorder.ops.fetch_add(1, SeqCst);
    }

    /// The number of an open file; one just created is never mistaken for a removed one whose
    /// inode it got.
    pub fn number(&mut self, stat: &libc::stat, created: bool) -> u32 {
        let state = self.state();
        let key = (stat.st_dev, stat.st_ino);
        match state.files.get(&key) {
            Some(number) if !created => *number,
            _ => {
                state.last += 1;
                state.files.insert(key, state.last);
                state.last
            }
        }
    }

    fn state(&mut self) -> &mut State {
        self.state.as_mut().expect("`lock` made the state")
    }
}

/// Opens the journal for appending after its last whole record.
fn open_journal(path: &CStr) -> c_int {
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
    let fd = sys::openat(libc::AT_FDCWD, path, flags, 0o600);
    if fd < 0 {
        sys::give_up("the journal cannot be opened");
    }
    // SAFETY: plain calls on a descriptor that is ours.
    unsafe {
        if libc::flock(fd, libc::LOCK_EX | libc::LOCK_NB) != 0 {
            sys::give_up("two processes write one journal");
        }
        let size = sys::stat(fd).st_size;
        let mut whole = 0;
        let mut prefix = [0; 4];
        while libc::pread(fd, prefix.as_mut_ptr().cast(), 4, whole) == 4 {
            let next = whole + record_len(prefix) as i64;
            if next > size {
                break;
            }
            whole = next;
        }
        if whole < size && libc::syscall(libc::SYS_ftruncate, fd, whole) != 0 {
            sys::give_up("the journal's torn end cannot be removed");
        }
    }
    fd
}
