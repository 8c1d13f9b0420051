//! The ConfigMap in the Kubernetes API. It is created with its data whole, and changed only as it was observed, so that a
//! ConfigMap of another object is never written to.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Map, Value, json};

use super::super::messages;
use super::origin::{MADE_FOR, MANAGED_BY, Origin, other_owners};
use super::state::{ConfigMapProblem, ConfigMapState, ConfigMapWrite};
use crate::api::shared::whole_seconds;
use crate::api::{FIELD_MANAGER, RedisClusterRef};
use crate::text::one_line;

/// Present while the connection could not be confirmed; its value is since when.
pub const STALE_SINCE: &str = "managedredis.dev/stale-since";

/// Longest sentence of the API server that a condition repeats, in characters.
const MAX_SENTENCE_CHARS: usize = 500;
/// A read or a deletion that takes longer is given up and tried again later: the status cannot wait for it.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// The API server waits up to 30 s for a webhook.
const WRITE_TIMEOUT: Duration = Duration::from_secs(35);
/// When to try again what failed for no reason that is known here.
const AGAIN: Duration = Duration::from_secs(10);

/// The ConfigMap of a name, as observed.
#[derive(Debug)]
pub struct ObservedConfigMap {
    /// What the plan looks at.
    pub state: ConfigMapState,
    /// The object, if it was made for the reference.
    own: Option<ConfigMap>,
}

impl ObservedConfigMap {
    /// A state without an object.
    pub(in super::super) fn only(state: ConfigMapState) -> Self {
        Self { state, own: None }
    }
}

/// Reads the ConfigMap of a name. That it cannot be read is a state as well.
pub async fn observe(api: &Api<ConfigMap>, reference: &RedisClusterRef, name: &str) -> ObservedConfigMap {
    match within(READ_TIMEOUT, api.get_opt(name)).await {
        Ok(Some(found)) => match Origin::of(&found.metadata, reference.meta()) {
            Origin::Foreign => ObservedConfigMap::only(ConfigMapState::NotOwned),
            origin => ObservedConfigMap {
                state: ConfigMapState::Owned {
                    stale: found.annotations().contains_key(STALE_SINCE),
                    data: found.data.clone().unwrap_or_default(),
                    intact: origin == Origin::Own,
                },
                own: Some(found),
            },
        },
        Ok(None) | Err(ConfigMapError::Lost) => ObservedConfigMap::only(ConfigMapState::Absent),
        Err(ConfigMapError::Problem(problem)) => {
            ObservedConfigMap::only(ConfigMapState::Failed(problem.because("cannot be read")))
        }
    }
}

/// Why a request about a ConfigMap failed.
#[derive(Debug)]
pub enum ConfigMapError {
    /// The ConfigMap is not any more as it was observed: somebody else created, changed or deleted it.
    Lost,
    /// Anything else.
    Problem(ConfigMapProblem),
}

impl From<kube::Error> for ConfigMapError {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = &error else { return Self::passing(&messages::api_unreachable(&error)) };
        let message = one_line(&status.message, MAX_SENTENCE_CHARS);
        match status.code {
            404 | 409 => Self::Lost,
            429 | 500.. => Self::passing(&message),
            _ => Self::Problem(ConfigMapProblem { message, needs_a_person: true, again: AGAIN }),
        }
    }
}

impl ConfigMapError {
    fn passing(message: &str) -> Self {
        let message = one_line(message, MAX_SENTENCE_CHARS);
        Self::Problem(ConfigMapProblem { message, needs_a_person: false, again: AGAIN })
    }
}

impl ConfigMapProblem {
    /// Somebody else writes the ConfigMap all the time.
    pub(in super::super) fn contended() -> Self {
        Self { message: messages::CONFIG_MAP_CONTENDED.to_owned(), needs_a_person: false, again: AGAIN }
    }

    /// The problem as the cause of what cannot be done.
    pub(super) fn because(self, cannot: &str) -> Self {
        Self { message: messages::config_map_failed(cannot, &self.message), ..self }
    }
}

async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ConfigMapError> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(ConfigMapError::from),
        Err(_) => Err(ConfigMapError::passing(&messages::api_silent(limit))),
    }
}

/// One write of the ConfigMap, ready to be sent.
#[derive(Debug)]
pub struct Write {
    api: Api<ConfigMap>,
    name: String,
    payload: Payload,
}

#[derive(Debug)]
enum Payload {
    Create(Box<ConfigMap>),
    /// A merge patch with the UID and the version that were observed.
    Change(Value),
}

impl Write {
    /// What to send so that the ConfigMap becomes as planned.
    pub fn new(
        api: Api<ConfigMap>,
        reference: &RedisClusterRef,
        name: &str,
        observed: &ObservedConfigMap,
        write: &ConfigMapWrite,
    ) -> Self {
        let payload = match &observed.own {
            None => Payload::Create(Box::new(whole(reference, name, write))),
            Some(own) => Payload::Change(change(reference, own, write)),
        };
        Self { api, name: name.to_owned(), payload }
    }

    /// Sends it, and waits for the answer as long as the API server waits for a webhook.
    ///
    /// # Errors
    /// [`ConfigMapError::Lost`] if the ConfigMap is not any more as it was observed; nothing was written then.
    pub async fn send(self) -> Result<(), ConfigMapError> {
        let Self { api, name, payload } = self;
        let field_manager = Some(FIELD_MANAGER.to_owned());
        match payload {
            Payload::Create(map) => {
                let params = PostParams { field_manager, ..PostParams::default() };
                within(WRITE_TIMEOUT, api.create(&params, &map)).await.map(drop)
            }
            Payload::Change(patch) => {
                let params = PatchParams { field_manager, ..PatchParams::default() };
                within(WRITE_TIMEOUT, api.patch(&name, &params, &Patch::Merge(&patch))).await.map(drop)
            }
        }
    }
}

/// The ConfigMap as it is created.
fn whole(reference: &RedisClusterRef, name: &str, write: &ConfigMapWrite) -> ConfigMap {
    let mut map = ConfigMap { data: Some(write.data.clone()), ..ConfigMap::default() };
    map.metadata.name = Some(name.to_owned());
    map.metadata.owner_references = Some(reference.controller_owner_ref(&()).into_iter().collect());
    map.labels_mut().insert(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned());
    map.annotations_mut().insert(MADE_FOR.to_owned(), reference.name_any());
    if let Some(since) = write.stale_since {
        map.annotations_mut().insert(STALE_SINCE.to_owned(), whole_seconds(since).0.to_string());
    }
    map
}

/// The merge patch that makes the ConfigMap `own` as planned. All its data goes, whoever wrote it: after a restore its fields have
/// another field manager, and would stay if they were applied.
fn change(reference: &RedisClusterRef, own: &ConfigMap, write: &ConfigMapWrite) -> Value {
    let gone = own.data.iter().flatten().map(|(key, _)| (key.clone(), Value::Null));
    let data: Map<String, Value> =
        gone.chain(write.data.iter().map(|(key, value)| (key.clone(), json!(value)))).collect();
    let mut owners = other_owners(&own.metadata, reference.meta());
    owners.extend(reference.controller_owner_ref(&()));
    json!({
        "metadata": {
            "uid": own.uid(),
            "resourceVersion": own.resource_version(),
            "labels": { MANAGED_BY: FIELD_MANAGER },
            "annotations": { MADE_FOR: reference.name_any(), STALE_SINCE: write.stale_since.map(whole_seconds) },
            "ownerReferences": owners,
        },
        "data": data,
        "binaryData": null,
    })
}

/// Deletes a ConfigMap that is not wanted any more, if it was made for the reference. False if it has to be tried again.
pub(in super::super) async fn remove(api: &Api<ConfigMap>, reference: &RedisClusterRef, name: &str) -> bool {
    match try_remove(api, reference, name).await {
        Ok(()) => true,
        // Somebody changed it a moment ago, and may have made it theirs.
        Err(ConfigMapError::Lost) => false,
        Err(ConfigMapError::Problem(problem)) => {
            tracing::warn!(
                config_map = name,
                error = problem.message,
                "an obsolete ConfigMap could not be deleted; retrying"
            );
            false
        }
    }
}

async fn try_remove(api: &Api<ConfigMap>, reference: &RedisClusterRef, name: &str) -> Result<(), ConfigMapError> {
    let Some(found) = within(READ_TIMEOUT, api.get_opt(name)).await? else { return Ok(()) };
    if Origin::of(&found.metadata, reference.meta()) == Origin::Foreign {
        return Ok(());
    }
    let observed = Preconditions { uid: found.uid(), resource_version: found.resource_version() };
    match within(READ_TIMEOUT, api.delete(name, &DeleteParams::default().preconditions(observed))).await {
        Err(ConfigMapError::Lost) if within(READ_TIMEOUT, api.get_opt(name)).await?.is_none() => Ok(()),
        outcome => outcome.map(drop),
    }
}
