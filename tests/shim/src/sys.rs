//! System calls made directly, because the C library's functions of the same names are ours.

use std::ffi::CStr;

use libc::{c_int, c_long, c_void};

/// Result of a system call as the C library gives it: -1 and `errno`, or the value.
pub type Ret = c_long;

/// `openat`.
pub fn openat(dir: c_int, path: &CStr, flags: c_int, mode: libc::mode_t) -> c_int {
    // SAFETY: the path is a terminated string that outlives the call.
    unsafe { libc::syscall(libc::SYS_openat, dir, path.as_ptr(), flags, mode) as c_int }
}

/// Whether the path names something, links not followed to their end.
pub fn exists(dir: c_int, path: &CStr) -> bool {
    // SAFETY: as for `openat`; the call only looks.
    unsafe { libc::syscall(libc::SYS_faccessat, dir, path.as_ptr(), libc::F_OK) == 0 }
}

/// Identity, size and kind of an open file.
pub fn stat(fd: c_int) -> libc::stat {
    // SAFETY: all-zero is a valid `stat`, and the C library fills it for a descriptor we own.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        assert!(libc::fstat(fd, &raw mut stat) == 0, "an open file has a status");
        stat
    }
}

/// The flags with which a file was opened.
pub fn open_flags(fd: c_int) -> c_int {
    // SAFETY: the call only looks.
    unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_GETFL, 0) as c_int }
}

/// The file's cursor.
pub fn position(fd: c_int) -> u64 {
    // SAFETY: the call only looks.
    unsafe { libc::syscall(libc::SYS_lseek, fd, 0, libc::SEEK_CUR) as u64 }
}

/// Writes all bytes to the journal, or says that it could not.
pub fn write_all(fd: c_int, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        // SAFETY: pointer and length are those of a live slice.
        let n = unsafe { libc::syscall(libc::SYS_write, fd, bytes.as_ptr(), bytes.len()) };
        match usize::try_from(n) {
            Ok(n) => bytes = &bytes[n..],
            Err(_) if errno() == libc::EINTR => {}
            Err(_) => return false,
        }
    }
    true
}

/// The last error number of this thread.
pub fn errno() -> c_int {
    // SAFETY: the location is this thread's own.
    unsafe { *libc::__errno_location() }
}

/// Fails a call with an error number, as the C library does.
pub fn fail(number: c_int) -> c_int {
    // SAFETY: the location is this thread's own.
    unsafe { *libc::__errno_location() = number };
    -1
}

/// Ends the process: a record that is missing would make every later verdict wrong.
pub fn give_up(reason: &str) -> ! {
    let line = format!("holdfast-shim: {reason}: {}\n", std::io::Error::last_os_error());
    // Nothing is left to do if standard error is gone as well.
    let _ = write_all(2, line.as_bytes());
    std::process::abort()
}

/// The bytes a caller hands to a write.
///
/// # Safety
/// `data` must be readable for `len` bytes, as `write` requires it too.
pub unsafe fn bytes<'a>(data: *const c_void, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(data.cast(), len) }
}
