//! Sets of values: each is a file of the chart's `tests/`, which is no part of the package.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail, ensure};
use delivery::chart;
use delivery::helm::{CommandFailed, Helm};

use super::objects::{self, ChartObject};

/// What the chart renders for a set of values.
#[derive(Debug)]
pub(super) struct ChartCase {
    /// Name of the file, without its end.
    pub name: String,
    /// The objects, sorted.
    pub objects: Vec<ChartObject>,
}

/// The case in which no value is set.
pub(super) const DEFAULT: &str = "default";

impl ChartCase {
    /// Reads what Helm rendered.
    ///
    /// # Errors
    /// When it is not Kubernetes objects.
    pub(super) fn read(name: String, text: &str) -> anyhow::Result<Self> {
        let objects = objects::read(&format!("case {name}"), text)?;
        Ok(Self { name, objects })
    }
}

/// The case without values.
///
/// # Errors
/// When its file is gone.
pub(super) fn default(cases: &[ChartCase]) -> anyhow::Result<&ChartCase> {
    let missing = || anyhow!("tests/cases has no {DEFAULT}.values.yaml");
    cases.iter().find(|case| case.name == DEFAULT).ok_or_else(missing)
}

/// The folder of the chart's tests.
pub(super) fn folder(name: &str) -> PathBuf {
    chart::folder().join("tests").join(name)
}

/// The files of a folder of the tests whose names end so: name without the end, and path; sorted.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn files(name: &str, end: &str) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let folder = folder(name);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(end) {
            files.push((name.to_owned(), path));
        }
    }
    files.sort();
    Ok(files)
}

/// Text of a file.
///
/// # Errors
/// When it cannot be read.
pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Sees to it that Helm refuses each set of `tests/refused` with the words of its first line; how many there are.
///
/// # Errors
/// When one is accepted, or refused with other words.
pub(super) async fn check_refused(helm: &Helm) -> anyhow::Result<usize> {
    let files = files("refused", ".yaml")?;
    for (name, path) in &files {
        let text = text(path)?;
        let Some(words) = text.lines().next().and_then(|line| line.strip_prefix("# ")) else {
            bail!("the first line of tests/refused/{name}.yaml is not the words wanted");
        };
        let said = match helm.template(path).await {
            Err(error) => error.downcast::<CommandFailed>()?.output,
            Ok(_) => bail!("tests/refused/{name}.yaml is accepted"),
        };
        ensure!(
            said.contains(words),
            "tests/refused/{name}.yaml is refused, but not with the words {words:?}:\n{said}"
        );
    }
    Ok(files.len())
}
