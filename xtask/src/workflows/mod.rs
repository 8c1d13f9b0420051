//! `cargo xtask workflows`: checks the GitHub workflow files.

mod rules;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use testbed::{Program, assets};

use rules::{File, findings};

use harness::root;
use harness::terminal::say;

const FOLDER: &str = ".github/workflows";

/// Runs actionlint over the workflow files, and looks whether they keep this repository's rules.
///
/// # Errors
/// When anything is wrong with a file, or actionlint cannot be run.
pub(crate) fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let program = runtime.context("prepare")?.block_on(assets::ensure(Program::Actionlint))?;
    let files = files()?;
    ensure!(!files.is_empty(), "{FOLDER} has no workflow files");
    // What is installed besides must not decide about the outcome.
    let mut command = Command::new(program);
    command.args(["-shellcheck=", "-pyflakes="]).args(&files).current_dir(root());
    let status = command.status().context("run actionlint")?;
    // actionlint has said what.
    ensure!(status.success(), "actionlint found something wrong with {FOLDER} ({status})");
    let broken = broken(&files)?;
    ensure!(
        broken.is_empty(),
        "the workflow files break rules (xtask/src/workflows/rules.rs):\n  {}",
        broken.join("\n  ")
    );
    say(format_args!("{} workflow files are sound", files.len()));
    Ok(())
}

/// The rules that the files break.
fn broken(files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        texts.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text));
    }
    let files: Vec<File<'_>> = texts.iter().map(|(name, text)| File { name, text }).collect();
    Ok(findings(&files, &|script| std::fs::read_to_string(root().join(script)).ok()))
}

fn files() -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root().join(FOLDER)).with_context(|| format!("read {FOLDER}"))? {
        files.push(entry.with_context(|| format!("read {FOLDER}"))?.path());
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
