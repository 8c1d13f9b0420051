//! Tasks that are programs of their own in this workspace, so that the other tasks are compiled without them.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;

/// The command line of such a task: the program itself reads it, and answers `--help`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<OsString>,
}

/// Builds a program and becomes it, so that signals and the exit code are its own.
///
/// # Errors
/// When it cannot be built or started.
pub(crate) fn run(program: &str, subcommand: Option<&str>, arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let path = runtime.block_on(harness::program::build_member(program))?;
    let failed = Command::new(&path).args(subcommand).args(&arguments.arguments).exec();
    Err(failed).with_context(|| format!("cannot run {}", path.display()))
}
