//! The CustomResourceDefinitions of `crds/`.

use std::path::PathBuf;

use anyhow::Context as _;
use harness::root;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// Where the definitions are, from the repository's root. It holds nothing else but what kustomize reads.
pub const FOLDER: &str = "crds";
/// What `kubectl apply -k` reads.
pub const KUSTOMIZATION: &str = "kustomization.yaml";

/// The definitions as they are installed: read from the files, not made from the types.
///
/// # Errors
/// When the folder cannot be read or a file in it is no CustomResourceDefinition.
pub fn shipped() -> anyhow::Result<Vec<CustomResourceDefinition>> {
    let folder = root().join(FOLDER);
    let cannot_read = || format!("cannot read {}", folder.display());
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(cannot_read)? {
        paths.push(entry.with_context(cannot_read)?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|end| end == "yaml") && !path.ends_with(KUSTOMIZATION));
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_saphyr::from_str(&text).with_context(|| format!("{} is not as YAML should be", path.display()))
        })
        .collect()
}
