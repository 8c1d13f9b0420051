//! The examples for Flux and Argo CD: what in them is of the three kinds.

use std::io;
use std::path::{Path, PathBuf};

use kube::api::DynamicObject;
use managed_redis_operator::api::GROUP;

/// The folders, from the repository's root.
const FOLDERS: [&str; 2] = ["examples/flux", "examples/argocd"];

/// Why the examples cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ExampleError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file is no manifest.
    #[error("{} is not a manifest: {reason}", path.display())]
    NotAManifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The objects of the three kinds.
///
/// # Errors
/// When a file cannot be read or is no manifest.
pub fn objects(root: &Path) -> Result<Vec<DynamicObject>, ExampleError> {
    let mut objects = Vec::new();
    for folder in FOLDERS {
        read(&root.join(folder), &mut objects)?;
    }
    objects.retain(|object| object.types.as_ref().is_some_and(|types| types.api_version.starts_with(GROUP)));
    Ok(objects)
}

fn read(folder: &Path, objects: &mut Vec<DynamicObject>) -> Result<(), ExampleError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ExampleError::Read { path, source }
    };
    for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        if path.is_dir() {
            read(&path, objects)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).map_err(failed(&path))?;
            let found: Vec<DynamicObject> = serde_saphyr::from_multiple(&text)
                .map_err(|error| ExampleError::NotAManifest { path, reason: error.to_string() })?;
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
        let objects = objects(crate::root()).unwrap();
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
