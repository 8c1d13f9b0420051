//! The ConfigMap from which applications take the connection: made, owned and kept in step by its reference.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Resource as _, ResourceExt as _};
use serde_json::json;

use super::plan::{ConfigMapState, ConfigMapWrite};
use crate::api::shared::{LocalRef, whole_seconds};
use crate::api::{FIELD_MANAGER, RedisClusterRef, RedisClusterRefStatus};
use crate::controllers::context::Context;

/// Present while the connection could not be confirmed; its value is since when.
pub const STALE_SINCE: &str = "managedredis.dev/stale-since";

/// The ConfigMap the spec names, as it stands.
///
/// # Errors
/// What the Kubernetes API refuses.
pub async fn observe(ctx: &Context, reference: &RedisClusterRef) -> Result<ConfigMapState, kube::Error> {
    if !ctx.settings.connection_config_maps {
        return Ok(ConfigMapState::Disabled);
    }
    let Some(LocalRef { name }) = &reference.spec.connection_config_map else { return Ok(ConfigMapState::NotWanted) };
    Ok(match api(ctx, reference).get_opt(name).await? {
        None => ConfigMapState::Absent,
        Some(found) if is_owned(&found, reference) => ConfigMapState::Owned {
            stale: found.annotations().contains_key(STALE_SINCE),
            data: found.data.unwrap_or_default(),
        },
        Some(_) => ConfigMapState::NotOwned,
    })
}

/// Applies the ConfigMap.
///
/// # Errors
/// What the Kubernetes API refuses.
pub async fn apply(ctx: &Context, reference: &RedisClusterRef, write: &ConfigMapWrite) -> Result<(), kube::Error> {
    let Some(LocalRef { name }) = &reference.spec.connection_config_map else { return Ok(()) };
    let stale = write.stale_since.map(|since| json!({ STALE_SINCE: whole_seconds(since) }));
    let patch = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": { "app.kubernetes.io/managed-by": FIELD_MANAGER },
            "annotations": stale.unwrap_or_else(|| json!({})),
            "ownerReferences": [reference.controller_owner_ref(&())],
        },
        "data": write.data,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api(ctx, reference).patch(name, &params, &Patch::Apply(&patch)).await.map(drop)
}

/// Deletes the ConfigMap an earlier spec named, if it is still the reference's own.
///
/// # Errors
/// What the Kubernetes API refuses.
pub async fn remove_renamed(
    ctx: &Context,
    reference: &RedisClusterRef,
    previous: &RedisClusterRefStatus,
) -> Result<(), kube::Error> {
    if !ctx.settings.connection_config_maps {
        return Ok(());
    }
    let wanted = reference.spec.connection_config_map.as_ref().map(|wanted| wanted.name.as_str());
    let Some(old) = previous.connection_config_map.as_deref().filter(|old| Some(*old) != wanted) else { return Ok(()) };
    let api = api(ctx, reference);
    let Some(found) = api.get_opt(old).await?.filter(|found| is_owned(found, reference)) else { return Ok(()) };
    let params = DeleteParams::default().preconditions(Preconditions { uid: found.uid(), resource_version: None });
    match api.delete(old, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_owned(found: &ConfigMap, reference: &RedisClusterRef) -> bool {
    let uid = reference.uid();
    found.owner_references().iter().any(|owner| owner.controller == Some(true) && Some(&owner.uid) == uid.as_ref())
}

fn api(ctx: &Context, reference: &RedisClusterRef) -> Api<ConfigMap> {
    Api::namespaced(ctx.client.clone(), &reference.namespace().unwrap_or_default())
}
