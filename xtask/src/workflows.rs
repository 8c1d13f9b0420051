//! `cargo xtask workflows`: checks the GitHub workflow files.

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use testbed::{AssetsError, Program, assets};

use crate::output::say;
use crate::root;

const FOLDER: &str = ".github/workflows";

/// Why the workflow files are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowsError {
    /// actionlint is not there and cannot be built.
    #[error(transparent)]
    Assets(#[from] AssetsError),
    /// A file, the folder or actionlint cannot be used.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// actionlint found something; it has said what.
    #[error("actionlint found something wrong with {FOLDER} ({0})")]
    Found(ExitStatus),
    /// Actions that are not pinned.
    #[error("pin actions by commit, with the version as a comment (`uses: owner/action@40-HEX-DIGITS # v1.2.3`):\n  {}", .0.join("\n  "))]
    NotPinned(Vec<String>),
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> WorkflowsError {
    let what = what.into();
    move |source| WorkflowsError::Io { what, source }
}

/// Runs actionlint over the workflow files, and looks whether every action is pinned.
///
/// # Errors
/// When anything is wrong with a file, or actionlint cannot be run.
pub fn main() -> Result<(), WorkflowsError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let program = runtime.map_err(failed("prepare"))?.block_on(assets::ensure(Program::Actionlint))?;
    let files = files()?;
    let mut not_pinned = Vec::new();
    for path in &files {
        let text = std::fs::read_to_string(path).map_err(failed(format!("read {}", path.display())))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        not_pinned.extend(unpinned(&text).map(|line| format!("{name}: {line}")));
    }
    // What is installed besides must not decide about the outcome.
    let mut command = Command::new(program);
    command.args(["-shellcheck=", "-pyflakes="]).args(&files).current_dir(root());
    let status = command.status().map_err(failed("run actionlint"))?;
    if !status.success() {
        return Err(WorkflowsError::Found(status));
    }
    if !not_pinned.is_empty() {
        return Err(WorkflowsError::NotPinned(not_pinned));
    }
    say(format_args!("{} workflow files are sound", files.len()));
    Ok(())
}

fn files() -> Result<Vec<PathBuf>, WorkflowsError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root().join(FOLDER)).map_err(failed(format!("read {FOLDER}")))? {
        files.push(entry.map_err(failed(format!("read {FOLDER}")))?.path());
    }
    files.sort();
    Ok(files)
}

/// The lines that use an action of somebody else by something that can be moved: a tag or a branch.
fn unpinned(workflow: &str) -> impl Iterator<Item = &str> {
    workflow.lines().map(str::trim).filter(|line| {
        let used = line.trim_start_matches("- ").strip_prefix("uses:").map(str::trim);
        used.is_some_and(|used| !used.starts_with("./") && !is_pinned(used))
    })
}

/// Whether a use reads `owner/action@COMMIT # vVERSION`.
fn is_pinned(used: &str) -> bool {
    let Some((action, version)) = used.split_once(" # v") else { return false };
    let commit = action.split_once('@').map_or("", |(_, commit)| commit.trim_end());
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    commit.len() == 40 && commit.bytes().all(hexadecimal) && version.starts_with(|digit: char| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_moved_is_found() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let workflow = format!(
            "jobs:\n  a:\n    uses: ./.github/workflows/ci.yaml\n    steps:\n      - uses: a/b@{commit} # v1.2.3\n      \
             - uses: a/tag@v1\n      - name: x\n        uses: a/branch@main # v1\n      - uses: a/bare@{commit}\n"
        );
        let found: Vec<&str> = unpinned(&workflow).collect();
        let bare = format!("- uses: a/bare@{commit}");
        assert_eq!(found, ["- uses: a/tag@v1", "uses: a/branch@main # v1", bare.as_str()]);
    }
}
