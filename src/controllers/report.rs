//! Writing what a plan decided: a status, only if it differs, and events, only on change.

use http::HeaderValue;
use http::header::ACCEPT;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::core::{PartialObjectMeta, Request};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::warn;

use super::context::Context;
use crate::api::FIELD_MANAGER;
use crate::api::conditions::{self, READY};
use crate::text;

/// The Events API refuses longer notes.
const MAX_NOTE_BYTES: usize = 1000;

/// Asks for an answer without spec and status
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches>).
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Something worth telling once, when it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether a person should look.
    pub warning: bool,
    /// What happened, in a word.
    pub reason: String,
    /// What happened, as a sentence.
    pub message: String,
}

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

/// Publishes an event; a failure is logged and costs nothing else.
pub async fn publish<K: Resource<DynamicType = ()>>(ctx: &Context, object: &K, note: &Note) {
    publish_about(&ctx.recorder, &object.object_ref(&()), note).await;
}

/// As [`publish`], about an object by its reference.
pub async fn publish_about(recorder: &Recorder, about: &ObjectReference, note: &Note) {
    let event = Event {
        type_: if note.warning { EventType::Warning } else { EventType::Normal },
        reason: note.reason.clone(),
        note: Some(text::sentence(&note.message, MAX_NOTE_BYTES)),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, about).await {
        warn!(reason = %note.reason, %error, "an event could not be published");
    }
}

/// The event for a change of the Ready condition, if it changed.
pub fn ready_changed(before: &[Condition], after: &[Condition]) -> Option<Note> {
    let now = conditions::find(after, READY)?;
    let same = conditions::find(before, READY).is_some_and(|was| was.status == now.status && was.reason == now.reason);
    let warning = conditions::find(after, conditions::STALLED).is_some();
    // The moment before the first read comes back is not worth an event.
    (!same && now.reason != "Observing").then(|| Note {
        warning,
        reason: now.reason.clone(),
        message: now.message.clone(),
    })
}
