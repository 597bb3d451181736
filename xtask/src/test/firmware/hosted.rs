//! Programs of the firmware's tests that need something of this machine.
//!
//! Each gets a fresh folder to run in, and what it needs as arguments: the names of files in that
//! folder, or the port of somebody on this machine who sends back what he gets.

use super::emulator::{Emulator, Folder, command};
use crate::firmware::bench;
use crate::workspace::Problem;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

type Work = fn(&Path) -> Result<(), Problem>;

const PROGRAMS: [(&str, Work); 5] =
    [("day", day), ("flash", flash), ("net", net), ("torn", torn), ("uart", uart)];

/// Of devices that have another end: a console that nobody reads.
const NOTHING: [&str; 2] = ["-serial", "null"];

/// What runs the program of this name, if it cannot run by itself.
pub fn program(name: &str) -> Option<&'static (&'static str, Work)> {
    PROGRAMS.iter().find(|(known, _)| *known == name)
}

/// A day in virtual time, twice side by side: the flashes are equal to the byte.
fn day(image: &Path) -> Result<(), Problem> {
    let folders = [Folder::new()?, Folder::new()?];
    let arguments = ["file=flash".to_owned(), "hours=24".to_owned()];
    // An instruction is 32 ns, and nobody waits for time to pass.
    let devices = [&NOTHING[..], &["-icount", "shift=5,sleep=off"]].concat();
    let start = |folder| Emulator::start(image, folder, &arguments, &devices);
    let [one, other] = [start(&folders[0])?, start(&folders[1])?];
    one.end()?;
    other.end()?;
    let read = |folder: &Folder| {
        fs::read(folder.path().join("flash")).map_err(|error| format!("flash: {error}"))
    };
    let is_equal = read(&folders[0])? == read(&folders[1])?;
    if is_equal { Ok(()) } else { Err("two runs have left different flashes".into()) }
}

fn flash(image: &Path) -> Result<(), Problem> {
    let folder = Folder::new()?;
    let short = fs::write(folder.path().join("short"), [0; 100]);
    short.map_err(|error| format!("short: {error}"))?;
    let arguments = ["file=flash".to_owned(), "short=short".to_owned()];
    Emulator::start(image, &folder, &arguments, &NOTHING)?.end()
}

fn net(image: &Path) -> Result<(), Problem> {
    let (folder, peer) = (Folder::new()?, Peer::new()?);
    let arguments = [format!("port={}", peer.port)];
    let devices = "-serial null -netdev user,id=n0 -net nic,model=lan9118,netdev=n0 \
                   -qmp unix:control,server=on,wait=off";
    let devices: Vec<&str> = devices.split_whitespace().collect();
    let mut emulator = Emulator::start(image, &folder, &arguments, &devices)?;
    let mut pulled = 0;
    while let Some(line) = emulator.line()? {
        eprintln!("{line}");
        let is_up = match line.as_str() {
            "pull the cable" => false,
            "plug it in" => true,
            _ => continue,
        };
        let arguments = format!(r#"{{"name":"n0","up":{is_up}}}"#);
        let set_link = format!(r#"{{"execute":"set_link","arguments":{arguments}}}"#);
        command(&folder.path().join("control"), &set_link)?;
        pulled += u32::from(!is_up);
    }
    emulator.end()?;
    eprintln!("struck: cable pulled {pulled} times");
    if pulled == 0 { Err("the cable was never pulled".into()) } else { Ok(()) }
}

fn uart(image: &Path) -> Result<(), Problem> {
    let (folder, peer) = (Folder::new()?, Peer::new()?);
    let line = format!("tcp:127.0.0.1:{},nodelay=on", peer.port);
    let devices = ["-serial", "file:console", "-serial", &line];
    Emulator::start(image, &folder, &[], &devices)?.end()?;
    let console = fs::read_to_string(folder.path().join("console")).unwrap_or_default();
    let said = console.starts_with("16384 bytes came back in ") && console.ends_with(" ms\n");
    if said { Ok(()) } else { Err(format!("the console reads {console:?}")) }
}

/// Counts instructions twice, side by side: each says all figures, and they are the same.
pub fn bench(image: &Path) -> Result<(), Problem> {
    let folder = Folder::new()?;
    let start = || Emulator::start(image, &folder, &[], &bench::DEVICES);
    let said = [start()?, start()?].map(|mut emulator| {
        let mut said = String::new();
        while let Some(line) = emulator.line()? {
            said += &line;
            said.push('\n');
        }
        emulator.end().map_err(|problem| format!("{problem}; it said:\n{said}"))?;
        Ok::<_, Problem>(said)
    });
    let [one, other] = said;
    let (one, other) = (one?, other?);
    bench::read(&one)?;
    if one == other { Ok(()) } else { Err(format!("two runs differ:\n{one}\n{other}")) }
}

/// How often the emulator is killed at least: every other time when the program is about to erase.
const KILLS: u32 = 20;
/// How often an erase must really have been cut off.
const IN_ERASE: u32 = 3;
/// Without that until then, something is wrong.
const MAX_KILLS: u32 = 200;

/// Kills the emulator while the program pushes into its log, and lets each next run look whether
/// all is there that the one before had said was pushed.
fn torn(image: &Path) -> Result<(), Problem> {
    let folder = Folder::new()?;
    let start = |least: u32, last: &str| {
        let least = format!("least={least}");
        let arguments = ["file=flash".to_owned(), least, format!("last={last}")];
        Emulator::start(image, &folder, &arguments, &NOTHING)
    };
    let (mut least, mut kills, mut in_erase) = (0, 0, 0);
    let mut was_erasing = false;
    while kills < KILLS || in_erase < IN_ERASE {
        if kills == MAX_KILLS {
            return Err(format!("of {kills} kills, {in_erase} cut off an erase"));
        }
        let mut emulator = start(least, "no")?;
        let mut lines: Vec<String> = Vec::new();
        // A page holds about 80 samples. Seven has no divisor in common with 80, so kills strike in
        // all parts of a page.
        let enough = |lines: &[String]| {
            let at_erase = lines.last().is_some_and(|line| line == "erasing");
            lines.len() > 5 + kills as usize * 7 % 80 && (at_erase || kills % 2 == 0)
        };
        while !enough(&lines) {
            let Some(line) = emulator.line()? else {
                let said = lines.join("\n");
                return Err(format!("after {kills} kills the program ended by itself:\n{said}"));
            };
            lines.push(line);
        }
        lines.extend(emulator.kill()?);
        kills += 1;
        in_erase += u32::from(was_erasing && lines.iter().any(|line| line == "half erased"));
        was_erasing = lines.last().is_some_and(|line| line == "erasing");
        // A last line that was cut off reads as a smaller number, which was pushed before.
        let pushed = lines.iter().filter_map(|line| line.strip_prefix("pushed ")?.parse().ok());
        least = pushed.fold(least, u32::max);
    }
    start(least, "yes")?.end()?;
    eprintln!(
        "struck: killed {kills} times within {least} samples, {in_erase} of them in an erase"
    );
    Ok(())
}

/// Somebody on this machine who sends back what he gets, to any number of callers at a time.
struct Peer {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    fn new() -> Result<Self, Problem> {
        let listen = || -> io::Result<(TcpListener, u16)> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let port = listener.local_addr()?.port();
            Ok((listener, port))
        };
        let (listener, port) = listen().map_err(|error| format!("cannot listen: {error}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                // It ends when the caller does, and all callers are emulators that are ended.
                thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
        Ok(Self { port, stop, thread: Some(thread) })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A last caller lets it see the flag.
        let called = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| called) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn every_row_has_its_program() {
        let sources = crate::workspace::root().join("firmware/tests/src");
        for (name, _) in PROGRAMS {
            assert!(sources.join(name).with_extension("rs").exists(), "{name}");
        }
    }

    #[test]
    fn the_peer_sends_back_what_it_gets_and_ends() {
        let peer = Peer::new().unwrap();
        let mut callers = [0, 1].map(|_| {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, peer.port)).unwrap();
            (&stream).write_all(b"pump").unwrap();
            stream
        });
        for caller in &mut callers {
            let mut back = [0; 4];
            caller.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"pump");
        }
        drop(callers);
        drop(peer);
    }
}
