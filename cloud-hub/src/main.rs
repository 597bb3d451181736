//! `holdfast-hub`: the hub's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_hub::commands::main()
}
