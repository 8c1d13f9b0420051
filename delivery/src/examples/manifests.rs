//! The manifests of `examples/`, read and applied.

use std::path::Path;

use anyhow::Context as _;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt as _, discovery};
use managed_redis_operator::api::GROUP;

use super::expected::{ExampleOutcome, ExampleOutcomes};
use super::seen::ObjectName;

const FIELD_MANAGER: &str = "xtask-demo";

/// The objects of a folder's YAML files, by file name.
///
/// # Errors
/// When a file cannot be read or is no manifest.
pub fn read(folder: &Path) -> anyhow::Result<Vec<DynamicObject>> {
    let cannot_read = |path: &Path| format!("cannot read {}", path.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| cannot_read(folder))? {
        let path = entry.with_context(|| cannot_read(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut objects = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).with_context(|| cannot_read(&path))?;
        let documents: Vec<DynamicObject> =
            serde_saphyr::from_multiple(&text).with_context(|| format!("{} is not a manifest", path.display()))?;
        objects.extend(documents);
    }
    Ok(objects)
}

/// Applies an object, unknown fields refused, as `kubectl apply --server-side` does. What the API server refuses of the
/// operator's own kinds is put among the outcomes: a mistake is an example too.
///
/// # Errors
/// When the API server cannot be asked, or refuses an object of another kind.
pub async fn apply(
    client: &Client,
    namespace: &str,
    object: &DynamicObject,
    outcomes: &mut ExampleOutcomes,
) -> anyhow::Result<()> {
    let types = object.types.clone().unwrap_or_default();
    let key = ObjectName::new(&types.kind, &object.name_any());
    let cannot_apply = || format!("cannot apply {}", key.as_str());
    let kind = GroupVersionKind::try_from(&types).with_context(cannot_apply)?;
    let (resource, _) = discovery::pinned_kind(client, &kind).await.with_context(cannot_apply)?;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let params = PatchParams::apply(FIELD_MANAGER).force().validation_strict();
    match api.patch(&object.name_any(), &params, &Patch::Apply(object)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if kind.group == GROUP && status.is_invalid() => {
            outcomes.insert(key, ExampleOutcome::Refused(status.message.clone()));
            Ok(())
        }
        Err(error) => Err(error).with_context(cannot_apply),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fake_cloud::Seed;
    use k8s_openapi::api::core::v1::Secret;

    use super::super::expected::EXPECTATIONS;
    use harness::root;

    use super::*;

    fn examples() -> Vec<DynamicObject> {
        let mut objects = read(&root().join("examples")).unwrap();
        objects.extend(read(&root().join("examples/bad")).unwrap());
        objects
    }

    #[test]
    fn something_is_expected_of_every_example_and_nothing_of_anything_else() {
        let key = |object: DynamicObject| {
            let types = object.types.clone().unwrap();
            types.api_version.starts_with(GROUP).then(|| ObjectName::new(&types.kind, &object.name_any()))
        };
        let examples: BTreeSet<ObjectName> = examples().into_iter().filter_map(key).collect();
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
