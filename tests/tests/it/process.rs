//! Starting, hearing and ending processes.

use std::time::Duration;

use holdfast_tests::process::{BIN_DIR_ENV, LIMIT, Launch, Settings};
use holdfast_tests::wait::until;

fn server() -> Launch {
    Launch::binary("holdfast-scribe").args(["server"])
}

fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_server_is_heard_and_killed_by_its_own_number() {
    let mut running = server().start().unwrap();
    let address = running.listening("http", LIMIT).unwrap();
    running.ready(LIMIT).unwrap();
    std::net::TcpStream::connect(address).unwrap();
    let told = running.logged("started as", LIMIT).unwrap();
    assert!(told.ends_with(&running.pid().to_string()), "{told}");
    let pid = running.pid();
    running.kill9().unwrap();
    assert!(!exists(pid) && !running.is_running().unwrap());
    // A second kill finds nothing to kill.
    running.kill9().unwrap();
}

#[test]
fn a_line_that_never_comes_is_an_error_with_the_last_words() {
    let running = server().start().unwrap();
    running.ready(LIMIT).unwrap();
    running.logged("started", LIMIT).unwrap();
    let error = running.listening("mqtt", Duration::from_millis(50)).unwrap_err().to_string();
    assert!(error.contains("never said `listening mqtt`"), "{error}");
    assert!(error.contains("scribe: started as"), "{error}");

    let failed = Launch::binary("holdfast-scribe").args(["no-such-habit"]).run(LIMIT).unwrap();
    let error = failed.expect_success().unwrap_err().to_string();
    assert!(error.contains("no-such-habit"), "{error}");
}

#[test]
fn termination_reports_how_it_ended_and_drop_leaves_nothing() {
    use std::os::unix::process::ExitStatusExt;
    let mut running = server().start().unwrap();
    running.ready(LIMIT).unwrap();
    let status = running.terminate(LIMIT).unwrap();
    assert_eq!(status.signal(), Some(libc::SIGTERM));

    let dropped = server().start().unwrap();
    let pid = dropped.pid();
    drop(dropped);
    assert!(!exists(pid));
}

#[test]
fn a_wrapper_stays_out_of_the_way_of_signals() {
    let settings = Settings::default().wrapper(["env", "HOLDFAST_UNUSED=1"]);
    let mut running = server().settings(&settings).start().unwrap();
    running.ready(LIMIT).unwrap();
    let told = running.logged("started as", LIMIT).unwrap();
    assert!(told.ends_with(&running.pid().to_string()), "env execs, so the number is the server's");
    running.kill9().unwrap();
}

#[test]
fn an_injected_fault_reaches_the_program() {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        eprintln!("skipped: strace is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let settings =
        Settings::default().inject("fdatasync:error=EIO:when=3", &dir.path().join("log"));
    let failed = Launch::binary("holdfast-scribe")
        .args(["records"])
        .args([dir.path()])
        .args(["10"])
        .settings(&settings)
        .run(LIMIT)
        .unwrap();
    assert!(!failed.success);
    assert_eq!(failed.stdout.len(), 2, "two records were acknowledged: {failed:?}");
}

#[test]
fn a_clock_can_be_set_back() {
    let settings = match Settings::default().clock("@1970-01-01 00:00:10") {
        Ok(settings) => settings,
        Err(reason) => return eprintln!("{reason}"),
    };
    let running = server().settings(&settings.env("TZ", "UTC")).start().unwrap();
    let told = running.logged("by its clock", LIMIT).unwrap();
    let seconds: u64 = told.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(seconds < 1_000_000, "{told}");
}

/// Stand-ins for the binaries that only follow the conventions of their command lines.
const HUB: &str = r#"#!/bin/sh
case "$1" in
init) mkdir -p "$3" && echo " admin " > "$3/admin.token" && echo "for $5" > "$5";;
serve) test -f "$3" || exit 1
    echo "listening http 127.0.0.1:1"; echo "listening sync 127.0.0.1:$(( $$ % 60000 + 1 ))"
    echo ready
    exec sleep 1000;;
token) echo "give this to the node:"; echo "enrol:$4:$6:$HOLDFAST_SYNC_ADVERTISE"; echo;;
*) echo "no command $1" >&2; exit 2;;
esac
"#;
const EDGE: &str = r#"#!/bin/sh
case "$1" in
init) mkdir -p "$5" && echo admin > "$5/admin.token" && echo "data = $5" > "$3";;
join) echo "$2" > "$4.joined";;
token) echo "token for $*";;
run) test -f "$3.joined" || { echo "not joined" >&2; exit 1; }
    echo "listening mqtt 127.0.0.1:4"; echo "listening http 127.0.0.1:3"; echo ready
    exec sleep 1000;;
*) echo "no command $1" >&2; exit 2;;
esac
"#;

#[test]
fn a_fleet_is_built_by_the_conventions_of_the_command_lines() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    for (name, script) in [("holdfast-hub", HUB), ("holdfast-edge", EDGE)] {
        let path = dir.path().join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let settings = Settings::default().env(BIN_DIR_ENV, dir.path());
    let done = Launch::binary("holdfast-scribe").args(["fleet"]).settings(&settings).run(LIMIT);
    let said = done.unwrap().expect_success().unwrap();
    assert_eq!(said[0], "ps-000 joined by enrol:north:ps-000 through its link");
    assert_eq!(said[1], "ps-001 joined by enrol:north:ps-001 through its link");
    assert_eq!(said[2], "the hub came back and its token is admin");
}

#[test]
fn a_dying_harness_takes_its_processes_along() {
    let mut harness = Launch::binary("holdfast-scribe").args(["harness"]).start().unwrap();
    let server: u32 = harness.line("the server's number", LIMIT, |line| line.parse().ok()).unwrap();
    assert!(exists(server));
    harness.kill9().unwrap();
    // The orphan may stay a zombie until init has reaped it.
    until("the server to be gone", LIMIT, || {
        let state = std::fs::read_to_string(format!("/proc/{server}/stat")).unwrap_or_default();
        (state.is_empty() || state.contains(") Z ")).then_some(())
    });
}
