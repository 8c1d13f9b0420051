//! The one writer of statuses: server-side apply of a whole status.

use http::HeaderValue;
use http::header::ACCEPT;
use kube::api::{Patch, PatchParams};
use kube::core::{PartialObjectMeta, Request};
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::api::FIELD_MANAGER;
use crate::controllers::context::Context;

/// Asks for an answer without spec and status
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches>).
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Applies a whole status by server-side apply. Does nothing if the object is gone or was re-created meanwhile.
///
/// # Errors
/// Whatever else the Kubernetes API refuses.
pub async fn apply_status<K, S>(ctx: &Context, object: &K, status: &S) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
    S: Serialize,
{
    apply_status_at(ctx, object, None, status).await.map(drop)
}

/// As [`apply_status`], refused with a conflict if the object is not at `version` any more. Gives back the version it is at
/// afterwards; none if it is gone.
///
/// # Errors
/// The conflict, and whatever else the Kubernetes API refuses.
pub async fn apply_status_at<K, S>(
    ctx: &Context,
    object: &K,
    version: Option<&str>,
    status: &S,
) -> Result<Option<String>, kube::Error>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
    S: Serialize,
{
    let namespace = object.namespace().unwrap_or_default();
    // The UID keeps a status from landing on another object of the same name.
    let mut metadata = json!({ "name": object.name_any(), "uid": object.uid() });
    if let Some(version) = version {
        metadata["resourceVersion"] = json!(version);
    }
    let patch =
        json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata, "status": status });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let mut request = Request::new(K::url_path(&(), Some(&namespace)))
        .patch_subresource("status", &object.name_any(), &params, &Patch::Apply(&patch))
        .map_err(kube::Error::BuildRequest)?;
    // The status that stands is the one in the patch: sending it back would be work for both sides.
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(METADATA_ONLY));
    match ctx.client.request::<PartialObjectMeta<K>>(request).await {
        Ok(written) => {
            ctx.metrics.status_written(kind_name::<K>());
            Ok(written.metadata.resource_version)
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(kube::Error::Api(status)) if status.is_conflict() && status.message.contains("uid") => Ok(None),
        Err(error) => Err(error),
    }
}

/// The kind as a metric label.
fn kind_name<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::kind(&()) {
        std::borrow::Cow::Borrowed(kind) => kind,
        std::borrow::Cow::Owned(_) => "other",
    }
}
