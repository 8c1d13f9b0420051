//! The operator's binary: parses the command line and dispatches.

use std::process::ExitCode;

use clap::Parser as _;
use managed_redis_operator::cli::{self, Cli};

/// glibc's allocator keeps what a list of ten thousand clusters took; this one gives it back within seconds.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match cli::main(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            #[expect(clippy::print_stderr, reason = "errors of a command belong on stderr")]
            {
                eprintln!("managed-redis-operator: {sentence}");
            }
            ExitCode::FAILURE
        }
    }
}
