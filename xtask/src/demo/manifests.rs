//! The manifests of `examples/`, read and applied.

use std::path::{Path, PathBuf};

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt as _, discovery};
use managed_redis_operator::api::GROUP;

use super::expect::{Board, Found};
use super::seen::Key;

const FIELD_MANAGER: &str = "xtask-demo";

/// Why the examples cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A file is no manifest.
    #[error("{} is not a manifest: {reason}", path.display())]
    NotAManifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The API server refused a Secret, or could not be asked.
    #[error("cannot apply {object}: {reason}")]
    Apply {
        /// Kind and name.
        object: String,
        /// What the API server said.
        reason: String,
    },
}

/// The objects of a folder's YAML files, by file name.
///
/// # Errors
/// When a file cannot be read or is no manifest.
pub fn read(folder: &Path) -> Result<Vec<DynamicObject>, ManifestError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ManifestError::Read { path, source }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut objects = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(failed(&path))?;
        let documents: Vec<DynamicObject> = serde_saphyr::from_multiple(&text)
            .map_err(|error| ManifestError::NotAManifest { path: path.clone(), reason: error.to_string() })?;
        objects.extend(documents);
    }
    Ok(objects)
}

/// Applies an object, unknown fields refused, as `kubectl apply --server-side` does. What the API server refuses of the
/// operator's own kinds is put on the board: a mistake is an example too.
///
/// # Errors
/// When the API server cannot be asked, or refuses an object of another kind.
pub async fn apply(
    client: &Client,
    namespace: &str,
    object: &DynamicObject,
    board: &mut Board,
) -> Result<(), ManifestError> {
    let types = object.types.clone().unwrap_or_default();
    let key = Key::new(&types.kind, &object.name_any());
    let failed =
        |error: &kube::Error| ManifestError::Apply { object: key.as_str().to_owned(), reason: sentence(error) };
    let kind = GroupVersionKind::try_from(&types)
        .map_err(|error| ManifestError::Apply { object: key.as_str().to_owned(), reason: error.to_string() })?;
    let (resource, _) = discovery::pinned_kind(client, &kind).await.map_err(|error| failed(&error))?;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let params = PatchParams::apply(FIELD_MANAGER).force().validation_strict();
    match api.patch(&object.name_any(), &params, &Patch::Apply(object)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if kind.group == GROUP && status.is_invalid() => {
            board.insert(key, Found::Refused(status.message.clone()));
            Ok(())
        }
        Err(error) => Err(failed(&error)),
    }
}

/// What the API server said, where it said something.
pub fn sentence(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fake_cloud::Seed;
    use k8s_openapi::api::core::v1::Secret;

    use super::super::expect::EXPECTATIONS;
    use super::*;
    use crate::root;

    fn examples() -> Vec<DynamicObject> {
        let mut objects = read(&root().join("examples")).unwrap();
        objects.extend(read(&root().join("examples/bad")).unwrap());
        objects
    }

    #[test]
    fn something_is_expected_of_every_example_and_nothing_of_anything_else() {
        let key = |object: DynamicObject| {
            let types = object.types.clone().unwrap();
            types.api_version.starts_with(GROUP).then(|| Key::new(&types.kind, &object.name_any()))
        };
        let examples: BTreeSet<Key> = examples().into_iter().filter_map(key).collect();
        assert_eq!(examples, EXPECTATIONS.iter().map(|expectation| expectation.key()).collect());
    }

    /// An example is copied: a namespace in it would be one more thing to change.
    #[test]
    fn examples_leave_the_namespace_to_the_user() {
        for object in examples() {
            assert_eq!(object.namespace(), None, "{}", object.name_any());
        }
    }

    #[tokio::test]
    async fn the_seed_knows_the_credentials_of_the_examples() {
        let seed = Seed::load(&root().join("fake-cloud/seeds/demo.yaml")).unwrap();
        let secrets: Vec<Secret> = examples()
            .into_iter()
            .filter(|object| object.types.as_ref().is_some_and(|types| types.kind == "Secret"))
            .map(|object| object.try_parse().unwrap())
            .collect();
        let value = |key: &str| {
            let values = secrets.iter().filter_map(|secret| secret.string_data.as_ref()?.get(key)).cloned();
            values.collect::<Vec<_>>()
        };
        let ids: Vec<String> = seed.kakao_cloud.credentials.iter().map(|credential| credential.id.clone()).collect();
        assert_eq!(value("KAKAOCLOUD_APPLICATION_CREDENTIAL_ID"), ids);
        let keys: Vec<String> = seed.ncp.keys.iter().map(|key| key.access_key.clone()).collect();
        assert_eq!(value("NCLOUD_ACCESS_KEY"), keys);
    }
}
