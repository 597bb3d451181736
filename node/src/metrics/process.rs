//! What the operating system knows of the process, from `/proc/self`, under the names that all
//! programs have for it. What cannot be read is left out.

use super::Exposition;
use std::fs;

/// Places in `/proc/self/stat`, counted from the state, which follows the name (proc(5)).
const UTIME: usize = 11;
const STIME: usize = 12;

pub(super) fn tell(out: &mut Exposition) {
    let cpu = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_seconds(&stat));
    out.counter("process_cpu_seconds_total", "Processor time used, by user and system.")
        .is_if_known(cpu);
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = pages.split(' ').map(|word| word.parse::<u64>().ok());
    let mut bytes =
        || pages.next().flatten().map(|pages| pages * rustix::param::page_size() as u64);
    let (virtual_bytes, resident_bytes) = (bytes(), bytes());
    out.gauge("process_resident_memory_bytes", "Memory in use.").is_if_known(resident_bytes);
    out.gauge("process_virtual_memory_bytes", "Memory that is addressed.")
        .is_if_known(virtual_bytes);
    // One of them is the folder that is being read.
    let open = fs::read_dir("/proc/self/fd").ok().map(|all| all.count().saturating_sub(1));
    out.gauge("process_open_fds", "Open files and sockets.").is_if_known(open);
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    out.gauge("process_max_fds", "Files and sockets that may be open.")
        .is_if_known(max_files(&limits));
}

/// The name of the program may have blanks and brackets in it; the last bracket ends it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Some((ticks(UTIME)? + ticks(STIME)?) as f64 / per_second)
}

fn max_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 9 8 7";
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(cpu_seconds(stat), Some(200.0 / per_second));
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
        let limits = "Limit  Soft  Hard  Units\nMax open files    1024    4096  files\n";
        assert_eq!(max_files(limits), Some(1024));
        assert_eq!(max_files("Max open files  unlimited  unlimited  files"), None);
    }

    #[test]
    fn this_process_is_there() {
        let mut out = Exposition::default();
        tell(&mut out);
        let text = out.finish();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse::<f64>().ok())
        };
        assert!(value("process_resident_memory_bytes").unwrap() > 1e5, "{text}");
        assert!(value("process_open_fds").unwrap() >= 3.0, "{text}");
        assert!(value("process_cpu_seconds_total").is_some(), "{text}");
    }
}
