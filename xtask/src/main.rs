//! Development tasks: `cargo xtask generate`, `cargo xtask demo`, `cargo xtask faults`, `cargo xtask bench`,
//! `cargo xtask gitops`, `cargo xtask workflows`, `cargo xtask ci`.

mod bench;
mod ci;
mod demo;
mod faults;
mod generate;
mod gitops;
mod output;
mod workflows;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Development tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Write the CustomResourceDefinitions to crds/
    Generate(generate::Arguments),
    /// Show the operator at work, on a real API server and a fake cloud
    Demo(demo::Arguments),
    /// Prove with a killed, paused and cut-off operator that a flush is sent at most once
    Faults(faults::Arguments),
    /// Measure the operator with many references
    Bench(bench::Arguments),
    /// Check what kstatus and Argo CD make of live objects in every state against docs/gitops.md
    Gitops(gitops::Arguments),
    /// Check the GitHub workflow files with actionlint
    Workflows,
    /// Run everything that continuous integration runs
    Ci,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Generate(arguments) => generate::main(&arguments).map_err(|error| error.to_string()),
        Task::Demo(arguments) => demo::main(&arguments).map_err(|error| error.to_string()),
        Task::Faults(arguments) => faults::main(&arguments).map_err(|error| error.to_string()),
        Task::Bench(arguments) => bench::main(&arguments).map_err(|error| error.to_string()),
        Task::Gitops(arguments) => gitops::main(&arguments).map_err(|error| error.to_string()),
        Task::Workflows => workflows::main().map_err(|error| error.to_string()),
        Task::Ci => ci::main().map_err(|error| error.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            let _ = writeln!(std::io::stderr(), "xtask: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root, the folder above this package's.
fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
