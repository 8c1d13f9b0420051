//! Development tasks: `cargo xtask generate`, `chart`, `image`, `demo`, `gitops`, `workflows`, `faults`, `bench`, `e2e`,
//! `release` and `ci`.

mod bench;
mod buildah;
mod chart;
mod ci;
mod demo;
mod e2e;
mod faults;
mod generate;
mod gitops;
mod image;
mod release;
mod workflows;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use harness::{root, terminal as output};

/// Development tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Write the files that follow from others: CRDs, the chart's templates of them, install.yaml, tables
    Generate(generate::Arguments),
    /// Check the Helm chart and the manifests with Helm and a real API server
    Chart(chart::Arguments),
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
    /// Build the operator's image
    Image(image::Arguments),
    /// Publish what a tag becomes, or rehearse it on this machine
    Release(release::Arguments),
    /// Install, kill, upgrade, drain and uninstall the operator on real nodes
    E2e(e2e::Arguments),
    /// Run everything that continuous integration runs
    Ci,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Generate(arguments) => generate::main(&arguments).map_err(|error| error.to_string()),
        Task::Chart(arguments) => chart::main(&arguments).map_err(|error| error.to_string()),
        Task::Demo(arguments) => demo::main(&arguments).map_err(|error| error.to_string()),
        Task::Faults(arguments) => faults::main(&arguments).map_err(|error| error.to_string()),
        Task::Bench(arguments) => bench::main(&arguments).map_err(|error| error.to_string()),
        Task::Gitops(arguments) => gitops::main(&arguments).map_err(|error| error.to_string()),
        Task::Workflows => workflows::main().map_err(|error| error.to_string()),
        Task::Image(arguments) => image::main(&arguments).map_err(|error| error.to_string()),
        Task::Release(arguments) => release::main(&arguments).map_err(|error| error.to_string()),
        Task::E2e(arguments) => e2e::main(&arguments).map_err(|error| error.to_string()),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
