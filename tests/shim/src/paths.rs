//! Which of the caller's paths lie below the recorded directory, and where.

use std::ffi::{CStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use libc::c_int;

/// The path relative to `root`, or `None` if it lies elsewhere or is volatile by design. Links
/// are not followed: the harness hands out paths that have none.
pub fn below(root: &Path, dir: c_int, path: &CStr) -> Option<Vec<u8>> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
    let absolute = if path.is_absolute() { path.to_owned() } else { base(dir)?.join(path) };
    let inside = normal(&absolute);
    let inside = inside.strip_prefix(root).ok()?.as_os_str().as_bytes();
    (!inside.ends_with(b"-shm")).then(|| inside.to_vec())
}

fn base(dir: c_int) -> Option<PathBuf> {
    if dir == libc::AT_FDCWD {
        return std::env::current_dir().ok();
    }
    let link = std::ffi::CString::new(format!("/proc/self/fd/{dir}")).ok()?;
    let mut target = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: the buffer is as long as said and the link's name is terminated.
    let len = unsafe { libc::readlink(link.as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    target.truncate(usize::try_from(len).ok()?);
    Some(PathBuf::from(OsString::from_vec(target)))
}

fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}
