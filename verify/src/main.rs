//! What judges the operator from outside: `cargo xtask faults`, `gitops` and `e2e` run this program.

mod e2e;
mod faults;
mod gitops;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use harness::terminal::exit_code;

/// Judges the operator from outside.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
struct Arguments {
    #[command(subcommand)]
    judge: Judge,
}

#[derive(Debug, Subcommand)]
enum Judge {
    /// Prove with a killed, paused and cut-off operator that a flush is sent at most once
    Faults(faults::Arguments),
    /// Check what kstatus and Argo CD make of live objects in every state against docs/gitops.md
    Gitops(gitops::Arguments),
    /// Install, kill, upgrade, drain and uninstall the operator on real nodes
    E2e(e2e::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().judge {
        Judge::Faults(arguments) => faults::main(&arguments),
        Judge::Gitops(arguments) => gitops::main(&arguments),
        Judge::E2e(arguments) => e2e::main(&arguments),
    };
    exit_code(&outcome)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Arguments::command().debug_assert();
    }
}
