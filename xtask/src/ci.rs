//! `cargo xtask ci`: what continuous integration runs.

use std::process::Command;

use anyhow::{Context as _, ensure};

use harness::root;

const SCRIPT: &str = ".ci/run";

/// Runs the script in the repository's root.
///
/// # Errors
/// When it cannot be started or a check fails.
pub(crate) fn main() -> anyhow::Result<()> {
    let status = Command::new(root().join(SCRIPT)).current_dir(root()).status();
    let status = status.with_context(|| format!("cannot run {SCRIPT}"))?;
    // The script has said which check failed.
    ensure!(status.success(), "{SCRIPT} failed ({status})");
    Ok(())
}
