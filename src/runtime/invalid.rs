//! Objects that this version of the operator cannot read: their status says so, and their deletion is let through.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::events::{EventQueue, Note};
use super::machinery::Machinery;
use super::reconcile::{Outcome, Reconcile, ReconcileError};
use super::requeue;
use crate::api::Reason;
use crate::api::conditions::{self, ConditionStatus, DesiredCondition, READY, STALLED};
use crate::object_key::ObjectKey;

/// Says in the status of an object that it cannot be read, and leaves the rest of the status as it is.
pub(super) async fn report<K: Reconcile>(
    machinery: &Machinery,
    events: &EventQueue,
    key: &ObjectKey,
) -> Result<Outcome, ReconcileError> {
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(machinery.client.clone(), key.namespace(), &resource);
    let Some(object) = api.get_opt(key.name()).await? else { return Ok(Outcome::settled(requeue::WHEN_CHANGED)) };
    if object.metadata.deletion_timestamp.is_some() {
        release::<K>(&api, &object).await?;
        return Ok(Outcome::applied(requeue::WHEN_CHANGED));
    }
    let Some(error) = unreadable::<K>(&object) else { return Ok(Outcome::settled(requeue::WHEN_CHANGED)) };
    let before = object.data.get("status").cloned().unwrap_or_else(|| json!({}));
    let after = status(&before, object.metadata.generation.unwrap_or_default(), &error, Timestamp::now());
    if after == before {
        return Ok(Outcome::settled(requeue::WHEN_CHANGED));
    }
    let written = machinery.statuses.apply::<K>(&object.metadata, None, &after).await;
    if let Err(kube::Error::Api(status)) = &written
        && status.code == 422
    {
        // The status has no room for it, so an event says it.
        let message = format!("{} The API server refuses to write this into its status.", message(&error));
        let note = Note { warning: true, reason: Reason::InvalidObject, message };
        events.publish_about(object.object_ref(&resource), note);
    }
    written?;
    Ok(Outcome::applied(requeue::WHEN_CHANGED))
}

/// Why an object cannot be read, with the path of the field; none if it can: then the watch brings it.
fn unreadable<K: Reconcile>(object: &DynamicObject) -> Option<String> {
    let value = match serde_json::to_value(object) {
        Ok(value) => value,
        Err(error) => return Some(error.to_string()),
    };
    let error = serde_path_to_error::deserialize::<_, K>(value).err()?;
    Some(format!("field {}: {}", error.path(), error.inner()))
}

/// Takes the operator's finalizer off: an object that cannot be read holds nothing that is under way.
async fn release<K: Reconcile>(api: &Api<DynamicObject>, object: &DynamicObject) -> Result<(), kube::Error> {
    let Some(finalizer) = K::FINALIZER else { return Ok(()) };
    if !object.finalizers().iter().any(|have| have == finalizer) {
        return Ok(());
    }
    let rest: Vec<&String> = object.finalizers().iter().filter(|have| *have != finalizer).collect();
    let patch = json!({ "metadata": { "resourceVersion": object.resource_version(), "finalizers": rest } });
    api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
}

/// Says that an object cannot be read.
pub(crate) fn message(error: &str) -> String {
    format!(
        "The operator cannot read this object: {error}. It may have been written for another version of the CRD. Correct its \
         spec, or create it again."
    )
}

fn status(before: &Value, generation: i64, error: &str, now: Timestamp) -> Value {
    let existing: Option<Vec<Condition>> =
        before.get("conditions").cloned().and_then(|have| serde_json::from_value(have).ok());
    let message = message(error);
    let desired = vec![
        DesiredCondition::new(READY, ConditionStatus::False, Reason::InvalidObject, message.clone()),
        DesiredCondition::new(STALLED, ConditionStatus::True, Reason::InvalidObject, message),
    ];
    let merged = conditions::merge(&existing.unwrap_or_default(), desired, generation, now);
    let mut after = before.clone();
    if !after.is_object() {
        after = json!({});
    }
    after["conditions"] = json!(merged);
    after["observedGeneration"] = json!(generation);
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_keeps_the_rest_of_its_status() {
        let before = json!({ "state": "Running", "conditions": "not a list" });
        let after = status(&before, 3, "missing field `confirm`", Timestamp::UNIX_EPOCH);
        assert_eq!(after["state"], "Running");
        assert_eq!(after["conditions"][1]["type"], "Stalled");
        assert!(after["conditions"][0]["message"].as_str().unwrap().contains("missing field `confirm`"));
        assert_eq!(status(&after, 3, "missing field `confirm`", Timestamp::now()), after, "stable");
    }
}
