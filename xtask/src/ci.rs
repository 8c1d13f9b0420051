//! `cargo xtask ci`: what continuous integration runs.

use std::io;
use std::process::{Command, ExitStatus};

use crate::root;

const SCRIPT: &str = ".ci/run";

/// Why the checks did not pass.
#[derive(Debug, thiserror::Error)]
pub enum CiError {
    /// The script cannot be started.
    #[error("cannot run {SCRIPT}: {0}")]
    Start(#[from] io::Error),
    /// A check failed; the script has said which.
    #[error("{SCRIPT} failed ({0})")]
    Failed(ExitStatus),
}

/// Runs the script in the repository's root.
///
/// # Errors
/// When it cannot be started or a check fails.
pub fn main() -> Result<(), CiError> {
    let status = Command::new(root().join(SCRIPT)).current_dir(root()).status()?;
    if status.success() { Ok(()) } else { Err(CiError::Failed(status)) }
}
