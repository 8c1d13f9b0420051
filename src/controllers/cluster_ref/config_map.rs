//! The ConfigMap from which applications take the connection: made, owned and kept in step by its reference. It is created with
//! its data whole, and changed only as it was last seen, so that nobody else's is ever written to.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Map, Value, json};

use super::ownership::{MADE_FOR, MANAGED_BY, Ownership, other_owners, ownership};
use super::plan::{ConfigMapState, ConfigMapWrite, MapProblem};
use crate::api::shared::{LocalRef, whole_seconds};
use crate::api::{FIELD_MANAGER, RedisClusterRef, RedisClusterRefStatus};
use crate::controllers::context::Context;
use crate::text::one_line;

/// Present while the connection could not be confirmed; its value is since when.
pub const STALE_SINCE: &str = "managedredis.dev/stale-since";

/// Longest sentence of the API server that a condition repeats, in characters.
const MAX_SENTENCE_CHARS: usize = 500;
/// A read or a deletion that takes longer is given up: it is tried again, and the status cannot wait for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// When to try again what failed for no reason that is known here.
const AGAIN: Duration = Duration::from_secs(10);

/// The ConfigMap the spec names, as it stands.
#[derive(Debug)]
pub struct Looked {
    /// What the plan makes of it.
    pub state: ConfigMapState,
    /// The object, if it is the reference's own.
    own: Option<ConfigMap>,
}

/// Looks at the ConfigMap the spec names. That it cannot be read is a state as well.
pub async fn observe(ctx: &Context, reference: &RedisClusterRef) -> Looked {
    let only = |state| Looked { state, own: None };
    if !ctx.settings.connection_config_maps {
        return only(ConfigMapState::Disabled);
    }
    match &reference.spec.connection_config_map {
        None => only(ConfigMapState::NotWanted),
        Some(LocalRef { name }) => look(&api(ctx, reference), reference, name).await,
    }
}

/// Looks at the ConfigMap of a name.
pub async fn look(api: &Api<ConfigMap>, reference: &RedisClusterRef, name: &str) -> Looked {
    let only = |state| Looked { state, own: None };
    match within(PATIENCE, api.get_opt(name)).await {
        Ok(None) => only(ConfigMapState::Absent),
        Ok(Some(found)) => match ownership(&found.metadata, reference.meta()) {
            Ownership::Foreign => only(ConfigMapState::NotOwned),
            own => Looked {
                state: ConfigMapState::Owned {
                    stale: found.annotations().contains_key(STALE_SINCE),
                    data: found.data.clone().unwrap_or_default(),
                    intact: own == Ownership::Own,
                },
                own: Some(found),
            },
        },
        Err(Failed::Lost) => only(ConfigMapState::Absent),
        Err(Failed::Problem(problem)) => only(ConfigMapState::Failed(problem.doing("cannot be read"))),
    }
}

/// Why a request about a ConfigMap came to nothing.
#[derive(Debug)]
pub enum Failed {
    /// It is not any more what was seen: somebody else created, changed or deleted it.
    Lost,
    /// Anything else.
    Problem(MapProblem),
}

impl From<kube::Error> for Failed {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = &error else {
            return Self::passing(&format!("the Kubernetes API could not be asked ({error})"));
        };
        let sentence = one_line(&status.message, MAX_SENTENCE_CHARS);
        match status.code {
            404 | 409 => Self::Lost,
            429 | 500.. => Self::passing(&sentence),
            _ => Self::Problem(MapProblem { message: sentence, needs_a_person: true, again: AGAIN }),
        }
    }
}

impl Failed {
    fn passing(message: &str) -> Self {
        let message = one_line(message, MAX_SENTENCE_CHARS);
        Self::Problem(MapProblem { message, needs_a_person: false, again: AGAIN })
    }
}

impl MapProblem {
    /// Somebody else writes it all the time.
    pub(super) fn contended() -> Self {
        let message = "is changed by somebody else whenever it is to be written. It is tried again.".to_owned();
        Self { message, needs_a_person: false, again: AGAIN }
    }

    /// The problem as a part of a sentence that begins with the ConfigMap's name.
    pub(super) fn doing(self, what: &str) -> Self {
        let cause = self.message.trim_end_matches('.');
        let message = format!("{what}: {cause}. Applications may find it missing or out of date. It is tried again.");
        Self { message, ..self }
    }
}

async fn within<T>(limit: Duration, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failed> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(Failed::from),
        Err(_) => Err(Failed::passing(&format!("the Kubernetes API has not answered for {} s", limit.as_secs()))),
    }
}

/// One write of the ConfigMap, ready to be sent.
#[derive(Debug)]
pub struct Write {
    api: Api<ConfigMap>,
    name: String,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Create(Box<ConfigMap>),
    /// A merge patch with the UID and the version that were seen.
    Change(Value),
}

impl Write {
    /// What has to be sent so that the ConfigMap becomes as planned.
    pub fn new(
        api: Api<ConfigMap>,
        reference: &RedisClusterRef,
        name: &str,
        looked: &Looked,
        write: &ConfigMapWrite,
    ) -> Self {
        let body = match &looked.own {
            None => Body::Create(Box::new(whole(reference, name, write))),
            Some(seen) => Body::Change(change(reference, seen, write)),
        };
        Self { api, name: name.to_owned(), body }
    }

    /// Sends it, and waits for the answer at most as long as the API server waits for a webhook.
    ///
    /// # Errors
    /// [`Failed::Lost`] if the ConfigMap is not any more what was seen; nothing was written then.
    pub async fn send(self) -> Result<(), Failed> {
        const LONGEST: Duration = Duration::from_secs(35);
        let Self { api, name, body } = self;
        match body {
            Body::Create(map) => {
                let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
                within(LONGEST, api.create(&params, &map)).await.map(drop)
            }
            Body::Change(patch) => {
                let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
                within(LONGEST, api.patch(&name, &params, &Patch::Merge(&patch))).await.map(drop)
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

/// The merge patch that makes the ConfigMap `seen` as planned. Nothing of what it held is left, whoever wrote it: after a restore
/// its fields are another manager's, and would stay if they were applied.
fn change(reference: &RedisClusterRef, seen: &ConfigMap, write: &ConfigMapWrite) -> Value {
    let gone = seen.data.iter().flatten().map(|(key, _)| (key.clone(), Value::Null));
    let data: Map<String, Value> =
        gone.chain(write.data.iter().map(|(key, value)| (key.clone(), json!(value)))).collect();
    let mut owners = other_owners(&seen.metadata, reference.meta());
    owners.extend(reference.controller_owner_ref(&()));
    json!({
        "metadata": {
            "uid": seen.uid(),
            "resourceVersion": seen.resource_version(),
            "labels": { MANAGED_BY: FIELD_MANAGER },
            "annotations": { MADE_FOR: reference.name_any(), STALE_SINCE: write.stale_since.map(whole_seconds) },
            "ownerReferences": owners,
        },
        "data": data,
        "binaryData": null,
    })
}

/// Deletes the ConfigMap an earlier spec named, if it is still the reference's own. False if it has to be tried again.
pub async fn remove_renamed(ctx: &Context, reference: &RedisClusterRef, previous: &RedisClusterRefStatus) -> bool {
    if !ctx.settings.connection_config_maps {
        return true;
    }
    let wanted = reference.spec.connection_config_map.as_ref().map(|wanted| wanted.name.as_str());
    let Some(old) = previous.connection_config_map.as_deref().filter(|old| Some(*old) != wanted) else { return true };
    match remove(&api(ctx, reference), reference, old).await {
        Ok(()) => true,
        // It was changed a moment ago; who changed it may have taken it over.
        Err(Failed::Lost) => false,
        Err(Failed::Problem(problem)) => {
            tracing::warn!(config_map = old, error = problem.message, "a ConfigMap that is not wanted any more stays");
            false
        }
    }
}

async fn remove(api: &Api<ConfigMap>, reference: &RedisClusterRef, name: &str) -> Result<(), Failed> {
    let Some(found) = within(PATIENCE, api.get_opt(name)).await? else { return Ok(()) };
    if ownership(&found.metadata, reference.meta()) == Ownership::Foreign {
        return Ok(());
    }
    let seen = Preconditions { uid: found.uid(), resource_version: found.resource_version() };
    match within(PATIENCE, api.delete(name, &DeleteParams::default().preconditions(seen))).await {
        Err(Failed::Lost) if within(PATIENCE, api.get_opt(name)).await?.is_none() => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// ConfigMaps of the reference's namespace.
pub fn api(ctx: &Context, reference: &RedisClusterRef) -> Api<ConfigMap> {
    Api::namespaced(ctx.client.clone(), &reference.namespace().unwrap_or_default())
}
