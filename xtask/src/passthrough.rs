//! Tasks that are programs of their own: cargo builds and runs them, so that a change of one does not compile the others again.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;
use clap::Args;
use harness::root;

/// What the program is given, as it is.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Flags of the program; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Has cargo build and run a command of the package `verify`, in place of this process: signals and the exit status are its own.
///
/// # Errors
/// When cargo cannot be started.
pub fn verify(command: &str, arguments: &Arguments) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut run = Command::new(&cargo);
    run.args(["run", "--package", "verify", "--", command]).args(&arguments.arguments).current_dir(root());
    Err(run.exec()).with_context(|| format!("cannot run {}", cargo.display()))
}
