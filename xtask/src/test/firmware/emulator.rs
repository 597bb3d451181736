//! An emulated board with a program in it, in a folder of its own.
//!
//! The program's lines are read as they come, so a test can answer them, and the emulator ends with
//! the value that stands for it, by its own process and no other.

use super::LIMIT;
use crate::child;
use crate::workspace::Problem;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The board, as in `firmware/.cargo/config.toml`.
const BOARD: [&str; 6] = ["-M", "mps2-an385", "-display", "none", "-monitor", "none"];
/// How often somebody who waits for a line looks whether the command is to end.
const POLL: Duration = Duration::from_millis(50);

/// A folder that goes when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a fresh one.
    pub fn new() -> Result<Self, Problem> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("holdfast-firmware-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running emulator.
pub struct Emulator {
    process: Child,
    lines: Receiver<String>,
    started: Instant,
}

impl Emulator {
    /// Starts `image` in `folder`, with `key=value` arguments for the program and `devices` for the
    /// board.
    pub fn start(
        image: &Path,
        folder: &Folder,
        arguments: &[String],
        devices: &[&str],
    ) -> Result<Self, Problem> {
        let mut semihosting = "enable=on,target=native,arg=program".to_owned();
        for argument in arguments {
            // A comma is doubled where it does not end an argument.
            semihosting += &format!(",arg={}", argument.replace(',', ",,"));
        }
        let mut qemu = Command::new("qemu-system-arm");
        qemu.args(BOARD).args(devices).args(["-semihosting-config", &semihosting]);
        qemu.arg("-kernel").arg(image).current_dir(folder.path());
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let spawned = qemu.spawn();
        let mut process = spawned.map_err(|error| format!("cannot run the emulator: {error}"))?;
        let stdout = process.stdout.take().expect("it is piped");
        let (sender, lines) = channel();
        // It ends with the emulator, which closes its end of the pipe.
        thread::spawn(move || {
            let read = BufReader::new(stdout).lines().map_while(Result::ok);
            read.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Ok(Self { process, lines, started: Instant::now() })
    }

    /// The next line of the program, or none if it has ended.
    pub fn line(&mut self) -> Result<Option<String>, Problem> {
        loop {
            match self.lines.recv_timeout(POLL) {
                Ok(line) => return Ok(Some(line)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if child::interrupted() => {
                    return Err("it was interrupted".into());
                }
                Err(RecvTimeoutError::Timeout) if self.started.elapsed() > LIMIT => {
                    return Err(format!("it did not end within {} s", LIMIT.as_secs()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Shows the lines that are still to come, and whether the program ended well.
    pub fn end(mut self) -> Result<(), Problem> {
        while let Some(line) = self.line()? {
            eprintln!("{line}");
        }
        let status = self.process.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("the program failed ({status})")) }
    }

    /// Ends the emulator at once, wherever it is, and gives back what it had still said.
    pub fn kill(mut self) -> Result<Vec<String>, Problem> {
        self.process.kill().map_err(|error| error.to_string())?;
        let mut rest = Vec::new();
        while let Some(line) = self.line()? {
            rest.push(line);
        }
        Ok(rest)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Does one command of the emulator's own protocol, at the socket it was told to listen on.
pub fn command(socket: &Path, command: &str) -> Result<(), Problem> {
    let talk = || -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut answers = BufReader::new(stream.try_clone()?).lines();
        // A greeting comes first. Between answers there may be events.
        for command in [r#"{"execute":"qmp_capabilities"}"#, command] {
            stream.write_all(command.as_bytes())?;
            loop {
                let answer = answers.next().transpose()?.unwrap_or_default();
                if answer.contains(r#""return""#) {
                    break;
                }
                if answer.is_empty() || answer.contains(r#""error""#) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    };
    match talk() {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("the emulator refused {command}")),
        Err(error) => Err(format!("{}: {error}", socket.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_fresh_and_goes() {
        let (one, other) = (Folder::new().unwrap(), Folder::new().unwrap());
        assert_ne!(one.path(), other.path());
        let path = one.path().to_owned();
        fs::write(path.join("a"), "").unwrap();
        drop(one);
        assert!(!path.exists());
    }

    #[test]
    fn the_board_is_the_one_that_cargo_runs_programs_on() {
        let config = crate::workspace::root().join("firmware/.cargo/config.toml");
        let config = fs::read_to_string(config).unwrap();
        assert!(BOARD.iter().all(|word| config.contains(&format!("\"{word}\""))));
    }
}
