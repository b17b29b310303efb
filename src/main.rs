//! The `ebbtide` program. All of it is in the library, so that tests and the
//! demo run what the program runs: see `ebbtide::cli` for the command line,
//! and the crate's front page for the tour.

use std::process::ExitCode;

fn main() -> ExitCode {
    ebbtide::cli::main()
}
