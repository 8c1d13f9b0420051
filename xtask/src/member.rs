//! Tasks that are programs of their own in this workspace, so that the other tasks are compiled without them.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::Args;

use crate::root;

/// The command line of such a task: the program itself reads it, and answers `--help`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    /// The task's own flags: see its --help
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    flags: Vec<OsString>,
}

/// Builds a member of the workspace and becomes it: signals and the exit code are then the program's own.
///
/// # Errors
/// When cargo cannot be started.
pub fn run(package: &str, subcommand: &[&str], arguments: &Arguments) -> io::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // Not in the root: paths among the flags are relative to where the caller is.
    command.arg("run").arg("--manifest-path").arg(root().join("Cargo.toml"));
    command.args(["--package", package, "--"]).args(subcommand).args(&arguments.flags);
    Err(command.exec())
}
