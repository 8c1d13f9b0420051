//! CustomResourceDefinitions on a test server.

use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::Condition as _;

use crate::error::TestbedError;

/// How long a definition may take to be served. It is a fraction of a second unless the machine is very busy.
const SERVED_WITHIN: Duration = Duration::from_secs(60);
/// Pause between two looks at it.
const POLL: Duration = Duration::from_millis(25);

/// Applies `crds` (server-side, field manager `testbed`) and waits until the API server serves every one of them.
///
/// Tests that run in parallel may install the same definitions at the same time.
///
/// # Errors
/// [`TestbedError::Kube`] if a definition is refused, with the API server's reason; [`TestbedError::CrdNotServed`] if it
/// is accepted but not served in time, for one because its names collide with another's.
pub async fn install(client: &kube::Client, crds: &[CustomResourceDefinition]) -> Result<(), TestbedError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let apply = PatchParams::apply("testbed").force();
    for crd in crds {
        api.patch(&crd.name_any(), &apply, &Patch::Apply(crd)).await?;
    }
    let started = Instant::now();
    for crd in crds {
        let name = crd.name_any();
        while let Err(answer) = served(client, &api, &name).await? {
            if started.elapsed() >= SERVED_WITHIN {
                return Err(TestbedError::CrdNotServed { name, bound: SERVED_WITHIN, answer });
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}

/// Whether a definition is established and its objects can be listed. The second comes a moment after the first: the
/// handler learns of new definitions by a watch of its own, and answers 404 until then.
async fn served(
    client: &kube::Client,
    api: &Api<CustomResourceDefinition>,
    name: &str,
) -> Result<Result<(), String>, TestbedError> {
    let crd = api.get(name).await?;
    if !is_crd_established().matches_object(Some(&crd)) {
        return Ok(Err("it is not established".to_owned()));
    }
    for version in crd.spec.versions.iter().filter(|version| version.served) {
        let resource = ApiResource {
            group: crd.spec.group.clone(),
            version: version.name.clone(),
            api_version: format!("{}/{}", crd.spec.group, version.name),
            kind: crd.spec.names.kind.clone(),
            plural: crd.spec.names.plural.clone(),
        };
        let objects: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        match objects.list(&ListParams::default().limit(1)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(Err(status.message)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Ok(()))
}
