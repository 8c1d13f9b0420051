//! Development tasks: `cargo xtask generate`, `chart`, `image`, `demo`, `gitops`, `workflows`, `faults`, `bench`, `e2e`,
//! `release` and `ci`.

mod chart;
mod ci;
mod demo;
mod generate;
mod image;
mod member;
mod release;
mod workflows;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use harness::terminal::exit_code;

/// Development tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
struct Arguments {
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
    Faults(member::Arguments),
    /// Measure the operator with many references
    #[command(disable_help_flag = true)]
    Bench(member::Arguments),
    /// Check what kstatus and Argo CD make of live objects in every state against docs/gitops.md
    #[command(disable_help_flag = true)]
    Gitops(member::Arguments),
    /// Check the GitHub workflow files with actionlint
    Workflows,
    /// Build the operator's image
    Image(image::Arguments),
    /// Publish what a tag becomes, or rehearse it on this machine
    Release(release::Arguments),
    /// Install, kill, upgrade, drain and uninstall the operator on real nodes
    #[command(disable_help_flag = true)]
    E2e(member::Arguments),
    /// Run everything that continuous integration runs
    Ci,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Generate(arguments) => generate::main(&arguments),
        Task::Chart(arguments) => chart::main(&arguments),
        Task::Demo(arguments) => demo::main(&arguments),
        Task::Faults(arguments) => member::run("verify", Some("faults"), &arguments),
        Task::Bench(arguments) => member::run("bench", None, &arguments),
        Task::Gitops(arguments) => member::run("verify", Some("gitops"), &arguments),
        Task::Workflows => workflows::main(),
        Task::Image(arguments) => image::main(&arguments),
        Task::Release(arguments) => release::main(&arguments),
        Task::E2e(arguments) => member::run("verify", Some("e2e"), &arguments),
        Task::Ci => ci::main(),
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
