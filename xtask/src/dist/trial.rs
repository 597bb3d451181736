//! The packages in a root of their own: installed, used, removed and purged.
//!
//! The root is a minimal Debian made by debootstrap, without a service manager; the unit's command
//! line is run by hand, as the unit's user. Every step is printed, and each has to hold.

use super::{NODES, Node};
use crate::child;
use crate::needs::{self, Need, need};
use crate::workspace::Problem;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What makes the root.
pub const NEEDS: &[Need] = &[need("debootstrap", "debootstrap")];
/// The node that is used; the other is only installed and purged.
const USED: &Node = &NODES[0];
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at the same thing.
const PAUSE: Duration = Duration::from_millis(200);

/// Makes the root below `target`, goes through everything, and removes the root.
pub fn run(target: &Path, packages: &[PathBuf]) -> Result<(), Problem> {
    if !needs::is_root() {
        return Err(
            "a root of its own can be made by root only: sudo -E cargo xtask dist --try".into()
        );
    }
    if packages.len() != NODES.len() {
        return Err("there are no packages for this machine to try".into());
    }
    let root = Root { dir: target.join("dist/root") };
    root.remove()?;
    root.make()?;
    let tried = root.try_out(packages);
    if child::interrupted() {
        return Err("interrupted".into());
    }
    tried.and(root.remove())
}

struct Root {
    dir: PathBuf,
}

impl Root {
    fn make(&self) -> Result<(), Problem> {
        step("a fresh Debian, by debootstrap");
        let ask = |arguments: &[&str]| {
            let output = child::command("apt-get", Path::new("/")).args(arguments).output();
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            text.ok().and_then(|text| text.lines().next().map(str::to_owned))
        };
        let of = |field: &str| ask(&["indextargets", "--format", field, "Created-By: Packages"]);
        let (suite, mirror) = (of("$(CODENAME)"), of("$(SITE)"));
        let from = suite.zip(mirror).ok_or("apt-get knows no mirror to make a root from")?;
        let mut make = child::command("debootstrap", Path::new("/"));
        make.args(["--variant=minbase", "--include=adduser,tzdata", &from.0])
            .arg(&self.dir)
            .arg(&from.1);
        make.stdout(Stdio::null());
        run_to_end(&mut make, "debootstrap")
    }

    fn remove(&self) -> Result<(), Problem> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if self.dir.exists() => Err(format!("{}: {error}", self.dir.display())),
            _ => Ok(()),
        }
    }

    fn try_out(&self, packages: &[PathBuf]) -> Result<(), Problem> {
        for package in packages {
            let name = package.file_name().ok_or("a package has a name")?;
            let inside = Path::new("tmp").join(name);
            let copied = fs::copy(package, self.dir.join(&inside));
            copied.map_err(|error| format!("{}: {error}", package.display()))?;
            self.show(None, &["dpkg", "--install", &format!("/{}", inside.display())])?;
        }
        let config = format!("/etc/holdfast/{}.toml", USED.short);
        let data = format!("/var/lib/holdfast/{}", USED.short);
        let user = Some("holdfast");
        self.show(user, &[USED.name, "init", "--config", &config, "--data", &data])?;
        self.use_node(&config, &data)?;
        self.show(user, &[USED.name, "verify", "--config", &config])?;

        self.show(None, &["dpkg", "--purge", USED.name])?;
        self.holds(&[&config, &format!("{data}/node.key")], &["/usr/bin/holdfast-edge"])?;
        self.show(None, &["rm", "-r", &config, &data])?;
        self.show(None, &["dpkg", "--purge", NODES[1].name])?;
        let gone = ["/etc/holdfast", "/var/lib/holdfast", "/usr/bin/holdfast-hub"];
        self.holds(&[], &gone)?;
        let users = fs::read_to_string(self.dir.join("etc/passwd")).unwrap_or_default();
        if users.contains("holdfast") {
            return Err("the user holdfast is left behind".into());
        }
        println!("Installed, used, removed and purged; the data was kept until it was removed.");
        Ok(())
    }

    /// The command line of the unit, a reading in, the reading out, a stop in good order.
    fn use_node(&self, config: &str, data: &str) -> Result<(), Problem> {
        let unit = format!("usr/lib/systemd/system/{}.service", USED.name);
        let unit = fs::read_to_string(self.dir.join(unit)).map_err(|e| e.to_string())?;
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart="));
        let words: Vec<&str> = line.ok_or("the unit starts nothing")?.split(' ').collect();
        let mut command = self.command(Some("holdfast"), &words);
        command
            .env("HOLDFAST_HTTP_LISTEN", "127.0.0.1:0")
            .env("HOLDFAST_MQTT_LISTEN", "127.0.0.1:0");
        command.stdout(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("{}: {error}", words[0]))?;
        let mut node = Running(child);
        let address = node.address()?;
        let token = fs::read_to_string(self.dir.join(&data[1..]).join("admin.token"));
        let token = token.map_err(|error| format!("admin.token: {error}"))?;
        let reading = r#"{"device":"tank-1","metric":"level","value":2.31,"unit":"m"}"#;
        let posted = http(&address, &token, "POST", "/v1/readings", reading)?;
        expect(&posted, r#""accepted":1"#)?;
        let path = "/v1/readings?device=tank-1&metric=level&unit=m";
        let deadline = Instant::now() + LIMIT;
        // What was acknowledged is shown as soon as the pipeline has read it.
        while let Err(missing) = expect(&http(&address, &token, "GET", path, "")?, ":2.31") {
            if Instant::now() > deadline {
                return Err(missing);
            }
            thread::sleep(PAUSE);
        }
        println!("  (it ran as `{}`)", words.join(" "));
        node.stop().and_then(|()| self.holds(&[config], &[]))
    }

    fn command(&self, user: Option<&str>, words: &[&str]) -> Command {
        let mut command = child::command("chroot", Path::new("/"));
        if let Some(user) = user {
            command.arg(format!("--userspec={user}:{user}"));
        }
        command.arg(&self.dir).args(words).stdin(Stdio::null());
        command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
        command
    }

    fn show(&self, user: Option<&str>, words: &[&str]) -> Result<(), Problem> {
        step(&format!("{}{}", user.map_or(String::new(), |u| format!("[{u}] ")), words.join(" ")));
        run_to_end(&mut self.command(user, words), words[0])
    }

    /// Whether paths of the root are there, and others are not.
    fn holds(&self, there: &[&str], gone: &[&str]) -> Result<(), Problem> {
        let exists = |path: &&&str| self.dir.join(&path[1..]).exists();
        if let Some(path) = there.iter().find(|path| !exists(path)) {
            return Err(format!("{path} is gone and should be there"));
        }
        match gone.iter().find(exists) {
            Some(path) => Err(format!("{path} is there and should be gone")),
            None => Ok(()),
        }
    }
}

/// A node that is ended with this value.
struct Running(Child);

impl Running {
    /// Where it serves HTTP, once it is ready.
    fn address(&mut self) -> Result<String, Problem> {
        let out = self.0.stdout.take().ok_or("the node has no output")?;
        let mut address = None;
        for line in BufReader::new(out).lines() {
            let line = line.map_err(|error| error.to_string())?;
            println!("  {line}");
            address = line.strip_prefix("listening http ").map(str::to_owned).or(address);
            if line == "ready" {
                return address.ok_or_else(|| "the node says no address".into());
            }
        }
        Err("the node ended before it was ready".into())
    }

    fn stop(mut self) -> Result<(), Problem> {
        let process = libc::pid_t::try_from(self.0.id()).expect("a process id fits its type");
        // SAFETY: kill takes no pointers, and the child was not waited for yet.
        unsafe { libc::kill(process, libc::SIGTERM) };
        let status = self.0.wait().map_err(|error| error.to_string())?;
        status.success().then_some(()).ok_or_else(|| format!("the node ended with {status}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended in good order unless a step failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn step(text: &str) {
    println!("\n$ {text}");
}

fn run_to_end(command: &mut Command, name: &str) -> Result<(), Problem> {
    let end = child::run(command, None).map_err(|error| format!("cannot run {name}: {error}"))?;
    end.success().then_some(()).ok_or_else(|| format!("{name} failed"))
}

fn expect(answer: &str, part: &str) -> Result<(), Problem> {
    answer.contains(part).then_some(()).ok_or_else(|| format!("no {part} in {answer}"))
}

/// One request on a connection of its own; the answer whole, head and body.
fn http(
    address: &str,
    token: &str,
    method: &str,
    path: &str,
    body: &str,
) -> Result<String, Problem> {
    step(&format!("{method} {path} {body}"));
    let failed = |error: std::io::Error| format!("{method} {path}: {error}");
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(failed)?;
    let (token, length) = (token.trim(), body.len());
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    println!("  {}\n  {body}", head.lines().next().unwrap_or_default());
    Ok(answer)
}
