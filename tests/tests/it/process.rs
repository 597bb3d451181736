//! Starting, hearing and ending processes.

use std::time::Duration;

use holdfast_tests::process::{LIMIT, Launch, Settings};
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
