//! The `ebbtide` program. All of it is in the library, so that tests and the
//! demo run what the program runs: see `ebbtide::cli` for the command line,
//! and the crate's front page for the tour.

use std::process::ExitCode;

/// An exchange allocates a dozen times and more, in pieces that the system's
/// allocator has no short way for.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    ebbtide::cli::main()
}
