//! Programs of this workspace, built by cargo.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::process::Command;

use crate::root;

const OPERATOR: &str = "managed-redis-operator";

/// Builds the operator, visibly, and gives its path.
///
/// # Errors
/// When cargo cannot be started or the build fails.
pub async fn build() -> Result<PathBuf> {
    build_member(OPERATOR).await
}

/// As [`build`], for release.
///
/// # Errors
/// As [`build`].
pub async fn build_release() -> Result<PathBuf> {
    build_with(OPERATOR, &["--package", OPERATOR, "--release"]).await
}

/// As [`build`], for another program of the workspace.
///
/// # Errors
/// As [`build`].
pub async fn build_member(name: &str) -> Result<PathBuf> {
    // Of the whole workspace: with the features of the tests' build, whose dependencies are thus used again.
    build_with(name, &["--workspace"]).await
}

async fn build_with(name: &str, flags: &[&str]) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.args(["build", "--bin", name, "--message-format", "json-render-diagnostics"]).args(flags);
    command.current_dir(root()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    let failed = || format!("cannot run {}", cargo.display());
    let output = command.spawn().with_context(failed)?.wait_with_output().await.with_context(failed)?;
    if !output.status.success() {
        // cargo has said why.
        bail!("`cargo build --bin {name}` failed ({})", output.status);
    }
    let found = executable(&String::from_utf8_lossy(&output.stdout), name);
    found.with_context(|| format!("`cargo build --bin {name}` did not say where the program is"))
}

/// The program among cargo's messages (<https://doc.rust-lang.org/cargo/reference/external-tools.html>).
#[must_use]
pub fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = artifacts.filter(|message| message["target"]["name"] == name);
    programs.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_where_the_program_is() {
        let messages = [
            r#"{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}"#,
            r#"{"reason":"compiler-artifact","target":{"name":"managed_redis_operator"},"executable":null}"#,
            r#"{"reason":"compiler-artifact","target":{"name":"managed-redis-operator"},"executable":"/t/debug/mro"}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ];
        assert_eq!(executable(&messages.join("\n"), "managed-redis-operator"), Some(PathBuf::from("/t/debug/mro")));
        assert_eq!(executable(messages[0], "managed-redis-operator"), None);
    }
}
