//! The examples for Flux and Argo CD: what in them is of the three kinds.

use std::path::Path;

use anyhow::Context as _;
use kube::api::DynamicObject;
use managed_redis_operator::api::GROUP;

/// The folders, from the repository's root.
const FOLDERS: [&str; 2] = ["examples/flux", "examples/argocd"];

/// The objects of the three kinds.
///
/// # Errors
/// When a file cannot be read or is no manifest.
pub(super) fn objects(root: &Path) -> anyhow::Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for folder in FOLDERS {
        read(&root.join(folder), &mut objects)?;
    }
    objects.retain(|object| object.types.as_ref().is_some_and(|types| types.api_version.starts_with(GROUP)));
    Ok(objects)
}

fn read(folder: &Path, objects: &mut Vec<DynamicObject>) -> anyhow::Result<()> {
    let cannot_read = |path: &Path| format!("cannot read {}", path.display());
    for entry in std::fs::read_dir(folder).with_context(|| cannot_read(folder))? {
        let path = entry.with_context(|| cannot_read(folder))?.path();
        if path.is_dir() {
            read(&path, objects)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).with_context(|| cannot_read(&path))?;
            let found: Vec<DynamicObject> =
                serde_saphyr::from_multiple(&text).with_context(|| format!("{} is not a manifest", path.display()))?;
            objects.extend(found);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules of docs/gitops.md for requests in Git.
    #[test]
    fn flush_requests_in_git_are_safe_to_apply_for_ever() {
        let objects = objects(harness::root()).unwrap();
        let requests: Vec<_> = objects
            .iter()
            .filter(|object| object.types.as_ref().is_some_and(|types| types.kind == "RedisFlushRequest"))
            .collect();
        assert!(!requests.is_empty() && requests.len() < objects.len(), "there are requests and references");
        for request in requests {
            let spec = &request.data["spec"];
            assert!(spec["requestID"].is_string() && spec["notAfter"].is_string(), "{spec}");
            assert!(spec["ttlAfterFinished"].is_null(), "{spec}");
        }
    }
}
