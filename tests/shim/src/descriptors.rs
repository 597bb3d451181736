//! Which descriptors are recorded files: `open` and its kin, duplicates, `close`.

use std::ffi::CStr;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use libc::{c_char, c_int, mode_t};

use crate::format::Op;
use crate::recorder::tracked;
use crate::sys;

/// Descriptors above this are not recorded; nodes run with far lower limits.
const DESCRIPTORS: usize = 65_536;

/// The file's number by descriptor; 0 is a descriptor that is not recorded.
static FILES: [AtomicU32; DESCRIPTORS] = [const { AtomicU32::new(0) }; DESCRIPTORS];

/// The number of the recorded file behind a descriptor.
pub fn file_of(fd: c_int) -> Option<u32> {
    let number = FILES.get(usize::try_from(fd).ok()?)?.load(SeqCst);
    (number != 0).then_some(number)
}

fn bind(fd: c_int, number: u32) {
    if let Some(slot) = usize::try_from(fd).ok().and_then(|fd| FILES.get(fd)) {
        slot.store(number, SeqCst);
    }
}

fn open_recorded(dir: c_int, path: &CStr, flags: c_int, mode: mode_t) -> c_int {
    // A file without a name would enter the directory by a link from /proc; callers fall back.
    let unnamed = flags & libc::O_TMPFILE == libc::O_TMPFILE;
    let Some((recorder, inside)) = tracked(dir, path) else {
        return sys::openat(dir, path, flags, mode);
    };
    if unnamed {
        return sys::fail(libc::EOPNOTSUPP);
    }
    let mut guard = recorder.lock();
    let created = flags & libc::O_CREAT != 0 && !sys::exists(dir, path);
    let fd = sys::openat(dir, path, flags, mode);
    if fd < 0 {
        return fd;
    }
    let stat = sys::stat(fd);
    let directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let file = guard.number(&stat, created);
    let mode = stat.st_mode & 0o7777;
    guard.record(Op::Open { file, created, directory, mode, path: &inside });
    if flags & libc::O_TRUNC != 0 && !created {
        guard.record(Op::Truncate { file, len: 0 });
    }
    bind(fd, file);
    fd
}

/// # Safety
/// As the C library's function of this name. The mode is variadic in C; on 64-bit Linux it comes
/// in the same register, and is only looked at when a file may be made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's path is a terminated string.
    open_recorded(libc::AT_FDCWD, unsafe { CStr::from_ptr(path) }, flags, mode)
}

/// # Safety
/// As [`open`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { open(path, flags, mode) }
}

/// # Safety
/// As [`open`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat(
    dir: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    // SAFETY: the caller's path is a terminated string.
    open_recorded(dir, unsafe { CStr::from_ptr(path) }, flags, mode)
}

/// # Safety
/// As [`open`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat64(
    dir: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { openat(dir, path, flags, mode) }
}

/// # Safety
/// As [`open`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn creat(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { open(path, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, mode) }
}

/// # Safety
/// As [`open`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn creat64(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { creat(path, mode) }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    // Before the call: afterwards another thread may have got the same descriptor.
    bind(fd, 0);
    // SAFETY: the caller gives up its descriptor.
    unsafe { libc::syscall(libc::SYS_close, fd) as c_int }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup(fd: c_int) -> c_int {
    // SAFETY: the call takes no memory.
    copied(fd, unsafe { libc::syscall(libc::SYS_dup, fd) as c_int })
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup2(fd: c_int, to: c_int) -> c_int {
    if fd == to {
        // SAFETY: the call only looks whether the descriptor is open.
        let open = unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_GETFD, 0) } >= 0;
        return if open { fd } else { -1 };
    }
    // SAFETY: the call takes no memory.
    unsafe { dup3(fd, to, 0) }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup3(fd: c_int, to: c_int, flags: c_int) -> c_int {
    // SAFETY: the call takes no memory.
    copied(fd, unsafe { libc::syscall(libc::SYS_dup3, fd, to, flags) as c_int })
}

/// # Safety
/// As the C library's function of this name, whose third argument is variadic: on 64-bit Linux it
/// comes in the same register, whatever its type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: arguments go through as the caller gave them.
    let result = unsafe { libc::syscall(libc::SYS_fcntl, fd, command, argument) as c_int };
    match command {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => copied(fd, result),
        _ => result,
    }
}

/// # Safety
/// As [`fcntl`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { fcntl(fd, command, argument) }
}

fn copied(from: c_int, to: c_int) -> c_int {
    if to >= 0 {
        bind(to, file_of(from).unwrap_or(0));
    }
    to
}
