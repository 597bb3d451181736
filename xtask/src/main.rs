//! The project's commands: `cargo xtask test | demo | soak | bench | dist | firmware | tidy`.
//!
//! Everything a contributor or a build machine runs is a subcommand here, so there is one place to
//! look and no shell to port. `test` is made of lanes and ends with one line that counts; `tidy`
//! checks what the compiler cannot; the other commands build the real binaries and become the
//! program that drives them.

mod child;
mod cross;
mod dist;
mod firmware;
mod launch;
mod needs;
mod peers;
mod report;
mod test;
mod tidy;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The commands of the project.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", version, after_help = "Example:\n  cargo xtask test")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the tests, lane by lane, and count them
    ///
    /// Without a lane, every lane that holds something runs. The last line is always
    /// `N passed, N failed, N skipped`. As root on Debian, or with CI=true, missing programs are
    /// installed; otherwise the lanes that need them are left out and named. With CI=true a lane
    /// that is left out is a failure.
    #[command(after_help = "Examples:\n  cargo xtask test\n  cargo xtask test unit\n  \
                      cargo xtask test scenario --filter kill --show-output")]
    Test(test::Options),
    /// Show the whole path of a reading, through an outage and a crash, in the terminal
    #[command(after_help = "Examples:\n  cargo xtask demo --quick\n  cargo xtask demo --keep")]
    Demo(launch::DemoOptions),
    /// Run a campaign of faults with its full numbers
    #[command(after_help = "Example:\n  cargo xtask soak first-light")]
    Soak(launch::NamedOptions),
    /// Measure, in a release build, and print each figure with its target and its peers
    ///
    /// Peers are InfluxDB 1, NATS JetStream and plain SQLite, for documents samod and PouchDB, for
    /// MQTT Mosquitto, RabbitMQ and NATS, for workflows duroxide and Node-RED, all measured in the
    /// same run. A peer that is not here is left out and named; --install-peers fetches or builds
    /// it.
    #[command(after_help = "Examples:\n  cargo xtask bench ingest --install-peers\n  \
                      cargo xtask bench sync --json")]
    Bench(launch::BenchOptions),
    /// Build both nodes for PCs and ARM boards, stripped, and make Debian packages of them
    ///
    /// The packages and the sizes of the programs are printed; what is made lies in target/dist/.
    /// Cross compilers are Debian's: as root on Debian they are installed, elsewhere the line that
    /// installs them is printed.
    #[command(after_help = "Examples:\n  cargo xtask dist\n  cargo xtask dist aarch64\n  \
                      sudo -E cargo xtask dist --try")]
    Dist(dist::Options),
    /// Build, test, weigh, measure or run what runs on a device
    #[command(subcommand)]
    Firmware(firmware::Firmware),
    /// Check what the compiler does not: who knows whom, sizes, marks, licences, promises
    #[command(after_help = "Example:\n  cargo xtask tidy")]
    Tidy,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Demo(options) => launch::demo(&options),
        Command::Soak(options) => launch::soak(&options),
        Command::Bench(options) => launch::bench(&options),
        Command::Dist(options) => dist::run(&options),
        Command::Firmware(command) => firmware::run(&command),
        Command::Tidy => tidy::run(),
    };
    match outcome {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}
