//! Writes of the status, each refused unless the object is at the version on which the status was planned.
//!
//! Attempts are counted in the status, so no count may be overwritten by a status that was planned without it, be it from a cached
//! copy or in a late write of a dead process.

use kube::api::Api;

use super::context::SyncContext;
use crate::api::{RedisParameterSync, RedisParameterSyncStatus};

/// What came of a status write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WriteResult {
    /// The object is at this version now; none if it is gone.
    WrittenAt(Option<String>),
    /// Another process wrote meanwhile, so the plan may be outdated.
    Outdated,
}

/// Writes a status that was planned on this version of the object.
pub(super) async fn write(
    ctx: &SyncContext,
    sync: &RedisParameterSync,
    version: Option<&str>,
    status: &RedisParameterSyncStatus,
) -> Result<WriteResult, kube::Error> {
    match ctx.statuses.apply::<RedisParameterSync>(&sync.metadata, version, status).await {
        Ok(version) => Ok(WriteResult::WrittenAt(version)),
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(WriteResult::Outdated),
        Err(error) => Err(error),
    }
}

/// Writes the status with the cloud's answers over the one in which their attempts were counted, whatever else of the object was
/// changed meanwhile.
pub(super) async fn write_answers(
    ctx: &SyncContext,
    sync: &RedisParameterSync,
    version: &str,
    counted: &RedisParameterSyncStatus,
    answered: &RedisParameterSyncStatus,
) -> Result<(), kube::Error> {
    let mut version = Some(version.to_owned());
    while version.is_some() && write(ctx, sync, version.as_deref(), answered).await? == WriteResult::Outdated {
        let latest = latest(ctx, sync).await?;
        // Otherwise another process has continued from there: each attempt stays counted, and the sync status tells its result.
        let is_ours = latest.as_ref().is_some_and(|latest| latest.status.as_ref() == Some(counted));
        version = latest.filter(|_| is_ours).and_then(|latest| latest.metadata.resource_version);
    }
    Ok(())
}

/// The object as it is stored now; none if it is gone or was created again.
pub(super) async fn latest(
    ctx: &SyncContext,
    sync: &RedisParameterSync,
) -> Result<Option<RedisParameterSync>, kube::Error> {
    let namespace = sync.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<RedisParameterSync> = Api::namespaced(ctx.client.clone(), namespace);
    let latest = api.get_opt(sync.metadata.name.as_deref().unwrap_or_default()).await?;
    Ok(latest.filter(|latest| latest.metadata.uid == sync.metadata.uid))
}
