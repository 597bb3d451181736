//! Calls that change directories: rename, link, unlink, mkdir, rmdir.

use std::ffi::CStr;

use libc::{c_char, c_int, c_uint, mode_t};

use crate::format::Op;
use crate::recorder::tracked;
use crate::sys;

/// Makes a call on one name and records it if it succeeded.
fn named(
    dir: c_int,
    path: *const c_char,
    call: impl FnOnce() -> c_int,
    op: impl FnOnce(&[u8]) -> Op<'_>,
) -> c_int {
    // SAFETY: the callers' paths are terminated strings.
    let Some((recorder, inside)) = tracked(dir, unsafe { CStr::from_ptr(path) }) else {
        return call();
    };
    let mut guard = recorder.lock();
    let result = call();
    if result == 0 {
        guard.record(op(&inside));
    }
    result
}

/// Makes a call on two names and records it if it succeeded; one that crosses the directory's
/// edge is refused as if it crossed file systems.
fn paired(
    from: (c_int, *const c_char),
    to: (c_int, *const c_char),
    call: impl FnOnce() -> c_int,
    op: impl for<'a> FnOnce(&'a [u8], &'a [u8]) -> Op<'a>,
) -> c_int {
    // SAFETY: the callers' paths are terminated strings.
    let (old, new) =
        unsafe { (tracked(from.0, CStr::from_ptr(from.1)), tracked(to.0, CStr::from_ptr(to.1))) };
    match (old, new) {
        (None, None) => call(),
        (Some((recorder, from)), Some((_, to))) => {
            let mut guard = recorder.lock();
            let result = call();
            if result == 0 {
                guard.record(op(&from, &to));
            }
            result
        }
        _ => sys::fail(libc::EXDEV),
    }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat2(
    old_dir: c_int,
    old: *const c_char,
    new_dir: c_int,
    new: *const c_char,
    flags: c_uint,
) -> c_int {
    if flags & !libc::RENAME_NOREPLACE != 0 {
        return sys::fail(libc::EINVAL);
    }
    // SAFETY: arguments go through as the caller gave them.
    let call = || unsafe {
        libc::syscall(libc::SYS_renameat2, old_dir, old, new_dir, new, flags) as c_int
    };
    paired((old_dir, old), (new_dir, new), call, |from, to| Op::Rename { from, to })
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat(
    old_dir: c_int,
    old: *const c_char,
    new_dir: c_int,
    new: *const c_char,
) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { renameat2(old_dir, old, new_dir, new, 0) }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(old: *const c_char, new: *const c_char) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { renameat2(libc::AT_FDCWD, old, libc::AT_FDCWD, new, 0) }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkat(
    old_dir: c_int,
    old: *const c_char,
    new_dir: c_int,
    new: *const c_char,
    flags: c_int,
) -> c_int {
    // SAFETY: arguments go through as the caller gave them.
    let call =
        || unsafe { libc::syscall(libc::SYS_linkat, old_dir, old, new_dir, new, flags) as c_int };
    paired((old_dir, old), (new_dir, new), call, |from, to| Op::Link { from, to })
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn link(old: *const c_char, new: *const c_char) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { linkat(libc::AT_FDCWD, old, libc::AT_FDCWD, new, 0) }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: arguments go through as the caller gave them.
    let call = || unsafe { libc::syscall(libc::SYS_unlinkat, dir, path, flags) as c_int };
    if flags & libc::AT_REMOVEDIR != 0 {
        named(dir, path, call, |path| Op::Rmdir { path })
    } else {
        named(dir, path, call, |path| Op::Unlink { path })
    }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { unlinkat(libc::AT_FDCWD, path, 0) }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { unlinkat(libc::AT_FDCWD, path, libc::AT_REMOVEDIR) }
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdirat(dir: c_int, path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: arguments go through as the caller gave them.
    let call = || unsafe { libc::syscall(libc::SYS_mkdirat, dir, path, mode) as c_int };
    named(dir, path, call, |path| Op::Mkdir { path })
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { mkdirat(libc::AT_FDCWD, path, mode) }
}
