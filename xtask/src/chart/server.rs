//! What a real API server says of the renders.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context as _, anyhow};
use harness::root;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery;
use testbed::ApiServer;

use super::cases::{self, ChartCase, text};
use super::objects::{self, ChartObject};

/// Sends every object of every case, and of `deploy/install.yaml`, in a strict dry run; how many different ones there were.
///
/// # Errors
/// With the first that is refused, and why.
pub(super) async fn dry_run(server: &ApiServer, rendered: &[ChartCase]) -> anyhow::Result<usize> {
    let client = server.client()?;
    install_monitoring(&client).await?;
    let mut applier = Applier::new(client.clone());
    let install = objects::read("deploy/install.yaml", &text(&root().join("deploy/install.yaml"))?)?;
    let all = rendered.iter().flat_map(|case| case.objects.iter().map(|object| (case.name.as_str(), object)));
    let all: Vec<(&str, &ChartObject)> =
        all.chain(install.iter().map(|object| ("deploy/install.yaml", object))).collect();
    let namespaces: BTreeSet<&str> = all.iter().map(|(_, object)| object.id.namespace.as_str()).collect();
    for name in namespaces.into_iter().filter(|name| !name.is_empty()) {
        create_namespace(&client, name).await?;
    }
    let mut seen = BTreeSet::new();
    for (case, object) in all {
        if seen.insert(&object.text) {
            applier.dry_run(object).await.map_err(|error| match error {
                kube::Error::Api(status) => {
                    anyhow!("case {case}: the API server refuses {}: {}", object.id, status.message)
                }
                other => other.into(),
            })?;
        }
    }
    Ok(seen.len())
}

/// Creates a namespace, unless it is there.
///
/// # Errors
/// What the API server refuses.
pub(super) async fn create_namespace(client: &Client, name: &str) -> anyhow::Result<()> {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    match Api::all(client.clone()).create(&PostParams::default(), &namespace).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Installs the Prometheus operator's CRDs, against which its kinds are checked.
async fn install_monitoring(client: &Client) -> anyhow::Result<()> {
    let mut crds: Vec<CustomResourceDefinition> = Vec::new();
    for (name, path) in cases::files("monitoring", ".yaml")? {
        let crd = serde_saphyr::from_str(&text(&path)?).with_context(|| format!("{name} is no Kubernetes object"))?;
        crds.push(crd);
    }
    testbed::crds::install(client, &crds).await?;
    Ok(())
}

/// Applies objects of any kind.
struct Applier {
    client: Client,
    resources: HashMap<(String, String), ApiResource>,
}

impl Applier {
    fn new(client: Client) -> Self {
        Self { client, resources: HashMap::new() }
    }

    /// What the API server calls the kind.
    async fn resource(&mut self, object: &ChartObject) -> Result<ApiResource, kube::Error> {
        let key = (object.id.api_version.clone(), object.id.kind.clone());
        if let Some(known) = self.resources.get(&key) {
            return Ok(known.clone());
        }
        let (group, version) = key.0.split_once('/').unwrap_or(("", &key.0));
        let kind = GroupVersionKind::gvk(group, version, &key.1);
        let (resource, _) = discovery::pinned_kind(&self.client, &kind).await?;
        self.resources.insert(key, resource.clone());
        Ok(resource)
    }

    /// Applies an object without storing it; unknown fields, and fields given twice, are errors.
    async fn dry_run(&mut self, object: &ChartObject) -> Result<(), kube::Error> {
        let resource = self.resource(object).await?;
        let api: Api<DynamicObject> = match object.id.namespace.as_str() {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        };
        let params = PatchParams::apply("chart").force().dry_run().validation_strict();
        api.patch(&object.id.name, &params, &Patch::Apply(&object.value)).await.map(drop)
    }
}
