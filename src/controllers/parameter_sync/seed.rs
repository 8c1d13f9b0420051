//! What a new process takes over from the statuses before its first pass, so that a restart changes no owner.

use std::sync::Arc;
use std::time::Duration;

use kube::core::SelectorExt as _;

use super::claims::{StoredClaims, has_unshown_clusters};
use super::context::SyncContext;
use super::membership::SyncScope;
use super::notify::summary_of;
use super::reference::ReferenceSummary;
use super::sync_status::SyncStatus;
use crate::api::RedisParameterSync;
use crate::api::shared::selector;
use crate::object_key::ObjectKey;
use crate::runtime::store::Oldest;

/// How long a pass waits for the objects after a start.
const UNTIL_FILLED: Duration = Duration::from_secs(30);

/// Takes over the claims of all objects, once. After a start that waits for the objects: without them nothing can be decided.
pub(super) async fn seed(ctx: &SyncContext) {
    if ctx.ownership.is_seeded() {
        return;
    }
    let filled = async {
        ctx.parameter_syncs.ready().await;
        ctx.cluster_refs.ready().await;
    };
    if tokio::time::timeout(UNTIL_FILLED, filled).await.is_ok() {
        ctx.ownership.seed(|| ctx.parameter_syncs.collect(|sync| stored_claims(ctx, sync)));
    }
}

/// The references that the selector of an object matches; none if it has no selector.
///
/// # Errors
/// Why the selector cannot be used.
pub(super) fn selected_references(ctx: &SyncContext, sync: &RedisParameterSync) -> Result<Arc<Oldest>, String> {
    let SyncScope::Selector(text) = SyncScope::of(sync) else { return Ok(Arc::default()) };
    let selector = selector(&sync.spec.cluster_selector.clone().unwrap_or_default())?;
    let namespace = sync.metadata.namespace.as_deref().unwrap_or_default();
    let max_clusters = usize::from(ctx.settings.max_clusters_per_sync);
    let find = || ctx.cluster_refs.oldest(namespace, max_clusters, |labels| selector.matches(labels));
    Ok(ctx.membership.selected(namespace, &text, ctx.cluster_refs.round(namespace), find))
}

/// What an object claims by its status and, for clusters that only count there, by the statuses of its references.
fn stored_claims(ctx: &SyncContext, sync: &RedisParameterSync) -> Option<StoredClaims> {
    if sync.spec.suspend {
        return None;
    }
    let mut stored = StoredClaims::of(sync);
    if sync.spec.cluster_selector.is_some() && has_unshown_clusters(sync) {
        ctx.membership.set_scope(stored.claimant.key(), SyncScope::of(sync));
        let selected = selected_references(ctx, sync).unwrap_or_default();
        stored.clusters.extend(selected.keys.iter().filter_map(|reference| cluster_in_sync(ctx, reference)));
    }
    Some(stored)
}

/// ID of a reference's cluster, if the status of the reference shows it In-Sync.
fn cluster_in_sync(ctx: &SyncContext, reference: &ObjectKey) -> Option<String> {
    match &*ctx.membership.summary(reference, || summary_of(ctx, reference))? {
        ReferenceSummary::Kakao { id, shown_group: Some(group), .. } => {
            let word = group.sync_status.as_deref()?;
            id.clone().filter(|_| SyncStatus::parse(word) == SyncStatus::InSync)
        }
        _ => None,
    }
}
