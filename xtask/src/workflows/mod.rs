//! `cargo xtask workflows`: checks the GitHub workflow files.

mod rules;

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use testbed::{AssetsError, Program, assets};

use rules::{File, findings};

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
    /// There is nothing to check.
    #[error("{FOLDER} has no workflow files")]
    Nothing,
    /// Rules that the files break.
    #[error("the workflow files break rules (xtask/src/workflows/rules.rs):\n  {}", .0.join("\n  "))]
    Broken(Vec<String>),
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> WorkflowsError {
    let what = what.into();
    move |source| WorkflowsError::Io { what, source }
}

/// Runs actionlint over the workflow files, and looks whether they keep this repository's rules.
///
/// # Errors
/// When anything is wrong with a file, or actionlint cannot be run.
pub fn main() -> Result<(), WorkflowsError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let program = runtime.map_err(failed("prepare"))?.block_on(assets::ensure(Program::Actionlint))?;
    let files = files()?;
    if files.is_empty() {
        return Err(WorkflowsError::Nothing);
    }
    // What is installed besides must not decide about the outcome.
    let mut command = Command::new(program);
    command.args(["-shellcheck=", "-pyflakes="]).args(&files).current_dir(root());
    let status = command.status().map_err(failed("run actionlint"))?;
    if !status.success() {
        return Err(WorkflowsError::Found(status));
    }
    let broken = broken(&files)?;
    if !broken.is_empty() {
        return Err(WorkflowsError::Broken(broken));
    }
    say(format_args!("{} workflow files are sound", files.len()));
    Ok(())
}

/// The rules that the files break.
fn broken(files: &[PathBuf]) -> Result<Vec<String>, WorkflowsError> {
    let mut texts = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(path).map_err(failed(format!("read {}", path.display())))?;
        texts.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text));
    }
    let files: Vec<File<'_>> = texts.iter().map(|(name, text)| File { name, text }).collect();
    Ok(findings(&files, &|script| std::fs::read_to_string(root().join(script)).ok()))
}

fn files() -> Result<Vec<PathBuf>, WorkflowsError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root().join(FOLDER)).map_err(failed(format!("read {FOLDER}")))? {
        files.push(entry.map_err(failed(format!("read {FOLDER}")))?.path());
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    /// The folders below one, as `/a/b` from the repository's root, that have a file of this name.
    fn folders_with(file: &str, folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() && name != "target" && name != ".git" {
                folders_with(file, &path, found);
            } else if name == file {
                found.insert(format!("/{}", folder.strip_prefix(root()).unwrap().display()));
            }
        }
    }

    /// GitHub tells nobody of a folder that dependabot.yml forgets or misspells.
    #[test]
    fn dependabot_looks_at_every_lock_file() {
        let text = std::fs::read_to_string(root().join(".github/dependabot.yml")).unwrap();
        let config: Value = serde_saphyr::from_str(&text).unwrap();
        let updates = config["updates"].as_array().unwrap();
        for (ecosystem, file) in [("cargo", "Cargo.lock"), ("gomod", "go.mod")] {
            let update = updates.iter().find(|update| update["package-ecosystem"] == ecosystem).unwrap();
            let looked: Vec<&str> =
                update["directories"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let mut folders = BTreeSet::new();
            folders_with(file, root(), &mut folders);
            assert!(!folders.is_empty(), "{file}");
            for folder in folders {
                let any = folder.rsplit_once('/').map(|(parent, _)| format!("{parent}/*"));
                let is_looked_at =
                    looked.contains(&folder.as_str()) || any.is_some_and(|any| looked.contains(&any.as_str()));
                assert!(is_looked_at, "{ecosystem}: {folder}");
            }
        }
    }

    #[test]
    fn the_workflows_of_this_repository_keep_the_rules() {
        assert_eq!(broken(&files().unwrap()).unwrap(), [""; 0]);
    }
}
