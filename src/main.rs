//! The `ebbtide` program. All of it is in the library, so that tests and the
//! demo run what the program runs: see `ebbtide::cli` for the command line,
//! and the crate's front page for the tour.

use std::process::ExitCode;

/// An exchange allocates a dozen times; this takes a third less of it than the
/// system's allocator, and a process that has shed its load is smaller.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ebbtide::cli::main()
}
