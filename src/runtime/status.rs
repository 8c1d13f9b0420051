//! The one writer of statuses: server-side apply of a whole status.

use std::sync::Arc;

use http::HeaderValue;
use http::header::ACCEPT;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::core::{NamespaceResourceScope, PartialObjectMeta, Request};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::api::FIELD_MANAGER;
use crate::metrics::Metrics;

/// Asks for an answer without spec and status
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches>).
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Writes statuses, and counts the writes.
#[derive(Clone)]
pub struct StatusWriter {
    client: Client,
    metrics: Arc<Metrics>,
}

impl StatusWriter {
    /// Writes through this client.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self { client, metrics }
    }

    /// Applies a whole status to the object of this metadata. With a `version` the write is refused with a conflict if the object
    /// is at another one by now. Returns the version the object is at afterwards; none if it is gone or was created anew
    /// meanwhile.
    ///
    /// # Errors
    /// The conflict, and whatever else the Kubernetes API refuses.
    pub async fn apply<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(
        &self,
        object: &ObjectMeta,
        version: Option<&str>,
        status: &impl Serialize,
    ) -> Result<Option<String>, kube::Error> {
        let mut request = request::<K>(object, version, status)?;
        // The status that is stored is the one in the patch: sending it back would be work for both sides.
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(METADATA_ONLY));
        match self.send::<K, PartialObjectMeta>(request).await {
            Ok(written) => Ok(written.metadata.resource_version),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            Err(kube::Error::Api(status)) if status.is_conflict() && status.message.contains("uid") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As [`StatusWriter::apply`], and returns the whole object as it is stored afterwards.
    ///
    /// # Errors
    /// Whatever the Kubernetes API refuses, also that the object is gone.
    pub async fn apply_and_read<K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned>(
        &self,
        object: &ObjectMeta,
        version: Option<&str>,
        status: &impl Serialize,
    ) -> Result<K, kube::Error> {
        self.send::<K, K>(request::<K>(object, version, status)?).await
    }

    async fn send<K: Resource<DynamicType = ()>, A: DeserializeOwned>(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<A, kube::Error> {
        let written = self.client.request(request).await?;
        self.metrics.status_written(kind_name::<K>());
        Ok(written)
    }
}

fn request<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(
    object: &ObjectMeta,
    version: Option<&str>,
    status: &impl Serialize,
) -> Result<http::Request<Vec<u8>>, kube::Error> {
    // The UID keeps a status from landing on another object of the same name.
    let mut metadata = json!({ "name": object.name, "uid": object.uid });
    if let Some(version) = version {
        metadata["resourceVersion"] = json!(version);
    }
    let patch =
        json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata, "status": status });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let (namespace, name) = (object.namespace.as_deref(), object.name.as_deref().unwrap_or_default());
    Request::new(K::url_path(&(), namespace))
        .patch_subresource("status", name, &params, &Patch::Apply(&patch))
        .map_err(kube::Error::BuildRequest)
}

/// The kind as a metric label.
fn kind_name<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::kind(&()) {
        std::borrow::Cow::Borrowed(kind) => kind,
        std::borrow::Cow::Owned(_) => "other",
    }
}
