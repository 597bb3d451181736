//! Calls that change or sync the content of a file.

use libc::{c_char, c_int, c_void, iovec, off_t, size_t, ssize_t};

use crate::descriptors::file_of;
use crate::format::Op;
use crate::recorder::{Guard, recorder, tracked};
use crate::sys::{self, Ret};

/// Makes a write and records it, if the descriptor is a recorded file. `offset` is `None` where
/// the file's own cursor decides.
fn written(
    fd: c_int,
    offset: Option<u64>,
    call: impl FnOnce() -> Ret,
    data: impl FnOnce() -> Vec<u8>,
) -> ssize_t {
    let (Some(file), Some(recorder)) = (file_of(fd), recorder()) else {
        return call() as ssize_t;
    };
    let mut guard = recorder.lock();
    let flags = sys::open_flags(fd);
    let begun_at = if flags & libc::O_APPEND != 0 {
        sys::stat(fd).st_size as u64
    } else {
        offset.unwrap_or_else(|| sys::position(fd))
    };
    let n = call();
    if let Ok(n @ 1..) = usize::try_from(n) {
        let mut data = data();
        data.truncate(n);
        guard.record(Op::Write { file, offset: begun_at, data: &data });
        if flags & libc::O_DSYNC != 0 {
            guard.record(Op::Sync { file, begun: recorder.ops() });
        }
    }
    n as ssize_t
}

/// All parts of a gathering write in one piece.
///
/// # Safety
/// As `writev` requires it of its arguments.
unsafe fn gathered(parts: *const iovec, count: c_int) -> Vec<u8> {
    let mut all = Vec::new();
    for i in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the caller's promise: `count` parts, each readable for its length.
        all.extend_from_slice(unsafe {
            let part = *parts.add(i);
            sys::bytes(part.iov_base, part.iov_len)
        });
    }
    all
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, data: *const c_void, len: size_t) -> ssize_t {
    // SAFETY: arguments go through as the caller gave them.
    written(
        fd,
        None,
        || unsafe { libc::syscall(libc::SYS_write, fd, data, len) },
        || {
            // SAFETY: the caller's data is readable, the call above just read it.
            unsafe { sys::bytes(data, len) }.to_vec()
        },
    )
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(
    fd: c_int,
    data: *const c_void,
    len: size_t,
    offset: off_t,
) -> ssize_t {
    // SAFETY: arguments go through as the caller gave them.
    let call = || unsafe { libc::syscall(libc::SYS_pwrite64, fd, data, len, offset) };
    written(fd, Some(offset as u64), call, || {
        // SAFETY: the caller's data is readable, the call above just read it.
        unsafe { sys::bytes(data, len) }.to_vec()
    })
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(
    fd: c_int,
    data: *const c_void,
    len: size_t,
    offset: off_t,
) -> ssize_t {
    // SAFETY: the caller's promise is the same.
    unsafe { pwrite(fd, data, len, offset) }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: arguments go through as the caller gave them.
    written(
        fd,
        None,
        || unsafe { libc::syscall(libc::SYS_writev, fd, parts, count) },
        || {
            // SAFETY: the call above just read the same parts.
            unsafe { gathered(parts, count) }
        },
    )
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwritev(
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    offset: off_t,
) -> ssize_t {
    // SAFETY: arguments go through as the caller gave them; the offset's high half is 0 here.
    let call = || unsafe { libc::syscall(libc::SYS_pwritev, fd, parts, count, offset, 0) };
    // SAFETY: the call just read the same parts.
    written(fd, Some(offset as u64), call, || unsafe { gathered(parts, count) })
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwritev64(
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    offset: off_t,
) -> ssize_t {
    // SAFETY: the caller's promise is the same.
    unsafe { pwritev(fd, parts, count, offset) }
}

/// Makes a call that changes the file's length and records it if it succeeded.
fn resized(fd: c_int, call: impl FnOnce() -> Ret, op: impl FnOnce(u32) -> Op<'static>) -> c_int {
    let mut guard: Option<(Guard<'_>, u32)> =
        file_of(fd).and_then(|file| Some((recorder()?.lock(), file)));
    let result = call() as c_int;
    if let (0, Some((guard, file))) = (result, &mut guard) {
        guard.record(op(*file));
    }
    result
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate(fd: c_int, len: off_t) -> c_int {
    // SAFETY: the call takes no memory.
    let call = || unsafe { libc::syscall(libc::SYS_ftruncate, fd, len) };
    resized(fd, call, |file| Op::Truncate { file, len: len as u64 })
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate64(fd: c_int, len: off_t) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { ftruncate(fd, len) }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn truncate(path: *const c_char, len: off_t) -> c_int {
    // SAFETY: the caller's path is a terminated string.
    let name = unsafe { std::ffi::CStr::from_ptr(path) };
    if tracked(libc::AT_FDCWD, name).is_none() {
        // SAFETY: arguments go through as the caller gave them.
        return unsafe { libc::syscall(libc::SYS_truncate, path, len) as c_int };
    }
    // SAFETY: the same path, opened for long enough to be cut by its number.
    unsafe {
        let fd = crate::descriptors::open(path, libc::O_WRONLY | libc::O_CLOEXEC, 0);
        if fd < 0 {
            return -1;
        }
        let result = ftruncate(fd, len);
        crate::descriptors::close(fd);
        result
    }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn truncate64(path: *const c_char, len: off_t) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { truncate(path, len) }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fallocate(fd: c_int, mode: c_int, offset: off_t, len: off_t) -> c_int {
    if mode != 0 && file_of(fd).is_some() {
        return sys::fail(libc::EOPNOTSUPP);
    }
    // SAFETY: the call takes no memory.
    let call = || unsafe { libc::syscall(libc::SYS_fallocate, fd, mode, offset, len) };
    resized(fd, call, |file| Op::Allocate { file, len: (offset + len) as u64 })
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fallocate64(fd: c_int, mode: c_int, offset: off_t, len: off_t) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { fallocate(fd, mode, offset, len) }
}

/// # Safety
/// As the C library's function of this name, which returns its error number. File systems that
/// cannot reserve space say so; the C library would write zeros instead.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_fallocate(fd: c_int, offset: off_t, len: off_t) -> c_int {
    // SAFETY: the call takes no memory.
    if unsafe { fallocate(fd, 0, offset, len) } == 0 { 0 } else { sys::errno() }
}

/// # Safety
/// As [`posix_fallocate`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_fallocate64(fd: c_int, offset: off_t, len: off_t) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { posix_fallocate(fd, offset, len) }
}

/// Syncs outside the lock, so that writers go on meanwhile, and records what it surely covered.
fn synced(fd: c_int, number: libc::c_long) -> c_int {
    let begun = recorder().map(crate::recorder::Recorder::ops);
    // SAFETY: the call takes no memory.
    let result = unsafe { libc::syscall(number, fd) as c_int };
    if let (0, Some(file), Some(recorder), Some(begun)) = (result, file_of(fd), recorder(), begun) {
        recorder.lock().record(Op::Sync { file, begun });
    }
    result
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    synced(fd, libc::SYS_fsync)
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    synced(fd, libc::SYS_fdatasync)
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copy_file_range(
    from: c_int,
    from_offset: *mut off_t,
    to: c_int,
    to_offset: *mut off_t,
    len: size_t,
    flags: libc::c_uint,
) -> ssize_t {
    if file_of(to).is_some() {
        return sys::fail(libc::EXDEV) as ssize_t;
    }
    let number = libc::SYS_copy_file_range;
    // SAFETY: arguments go through as the caller gave them.
    unsafe { libc::syscall(number, from, from_offset, to, to_offset, len, flags) as ssize_t }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendfile(
    to: c_int,
    from: c_int,
    offset: *mut off_t,
    len: size_t,
) -> ssize_t {
    if file_of(to).is_some() {
        return sys::fail(libc::EINVAL) as ssize_t;
    }
    // SAFETY: arguments go through as the caller gave them.
    unsafe { libc::syscall(libc::SYS_sendfile, to, from, offset, len) as ssize_t }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendfile64(
    to: c_int,
    from: c_int,
    offset: *mut off_t,
    len: size_t,
) -> ssize_t {
    // SAFETY: the caller's promise is the same.
    unsafe { sendfile(to, from, offset, len) }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn splice(
    from: c_int,
    from_offset: *mut off_t,
    to: c_int,
    to_offset: *mut off_t,
    len: size_t,
    flags: libc::c_uint,
) -> ssize_t {
    if file_of(to).is_some() {
        return sys::fail(libc::EINVAL) as ssize_t;
    }
    let number = libc::SYS_splice;
    // SAFETY: arguments go through as the caller gave them.
    unsafe { libc::syscall(number, from, from_offset, to, to_offset, len, flags) as ssize_t }
}
