//! The operator's binary: parses the command line and dispatches.

use std::process::ExitCode;

use clap::Parser as _;
use managed_redis_operator::cli::{self, Cli};

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
