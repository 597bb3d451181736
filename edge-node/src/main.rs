//! `holdfast-edge`: the gateway's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_edge::commands::main()
}
