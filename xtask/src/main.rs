//! Development tasks: `cargo xtask generate`, `chart`, `image`, `demo`, `gitops`, `workflows`, `faults`, `bench`, `e2e`,
//! `release` and `ci`.

mod bench;
mod chart;
mod ci;
mod demo;
mod generate;
mod image;
mod passthrough;
mod release;
mod workflows;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use harness::describe;

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
    #[command(disable_help_flag = true)]
    Faults(passthrough::Arguments),
    /// Measure the operator with many references
    Bench(bench::Arguments),
    /// Check what kstatus and Argo CD make of live objects in every state against docs/gitops.md
    #[command(disable_help_flag = true)]
    Gitops(passthrough::Arguments),
    /// Check the GitHub workflow files with actionlint
    Workflows,
    /// Build the operator's image
    Image(image::Arguments),
    /// Publish what a tag becomes, or rehearse it on this machine
    Release(release::Arguments),
    /// Install, kill, upgrade, drain and uninstall the operator on real nodes
    #[command(disable_help_flag = true)]
    E2e(passthrough::Arguments),
    /// Run everything that continuous integration runs
    Ci,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Generate(arguments) => generate::main(&arguments).map_err(|error| describe(&error)),
        Task::Chart(arguments) => chart::main(&arguments).map_err(|error| describe(&error)),
        Task::Demo(arguments) => demo::main(&arguments).map_err(|error| error.to_string()),
        Task::Faults(arguments) => passthrough::verify("faults", &arguments).map_err(|error| describe(&error)),
        Task::Bench(arguments) => bench::main(&arguments).map_err(|error| error.to_string()),
        Task::Gitops(arguments) => passthrough::verify("gitops", &arguments).map_err(|error| describe(&error)),
        Task::Workflows => workflows::main().map_err(|error| describe(&error)),
        Task::Image(arguments) => image::main(&arguments).map_err(|error| describe(&error)),
        Task::Release(arguments) => release::main(&arguments).map_err(|error| describe(&error)),
        Task::E2e(arguments) => passthrough::verify("e2e", &arguments).map_err(|error| describe(&error)),
        Task::Ci => ci::main().map_err(|error| describe(&error)),
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
