//! The Helm chart in this repository.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use harness::root;

/// The chart, from the repository's root.
pub const CHART: &str = "charts/managed-redis-operator";
/// Name and namespace of the release that is rendered and installed.
pub const RELEASE: &str = "managed-redis-operator";

/// The chart's folder.
#[must_use]
pub fn folder() -> PathBuf {
    root().join(CHART)
}

/// Copies the chart to another folder, to change it there.
///
/// # Errors
/// When something cannot be read or written.
pub fn copy_to(copy: &Path) -> anyhow::Result<()> {
    copy_folder(&folder(), copy)
}

/// Copies a folder with all that is in it.
fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", from.display()))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            std::fs::copy(&path, &target).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}
