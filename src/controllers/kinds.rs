//! The kinds of this operator, and how they are wired. A new kind is registered here.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::cluster_ref::context::ReferenceContext;
use super::context::{Context, Settings};
use super::flush_request::context::FlushContext;
use super::kind::{Controllers, Kinds, Registry};
use super::parameter_sync::context::SyncContext;
use super::parameter_sync::reminders::Reminders;
use crate::api::{RedisClusterRef, RedisFlushRequest, RedisParameterSync};
use crate::cloud::HttpCore;
use crate::inventory::{Inventory, NotifySubscriber, Subscriber, SubscriberKind, Urgency};
use crate::runtime::machinery::Machinery;
use crate::runtime::runner::Objects;
use crate::runtime::trigger::Trigger;

/// Registers all kinds.
pub(crate) fn register(
    machinery: &Machinery,
    cloud: HttpCore,
    settings: Settings,
    stopping: CancellationToken,
) -> (Arc<Context>, Arc<Kinds>, Controllers) {
    let references = Objects::<RedisClusterRef>::new(machinery);
    let syncs = Objects::<RedisParameterSync>::new(machinery);
    let flushes = Objects::<RedisFlushRequest>::new(machinery);
    let reminders = Reminders::new(syncs.trigger.clone());
    let inventory =
        Inventory::new(cloud, news_of_the_cloud(references.trigger.clone(), syncs.trigger.clone(), &reminders));
    let ctx = Arc::new(Context::new(machinery, inventory, settings, stopping));

    let sync_ctx = Arc::new(SyncContext::new(Arc::clone(&ctx), &syncs, Arc::clone(&references.store), reminders));
    let flush_ctx = Arc::new(FlushContext::new(Arc::clone(&ctx), &flushes));
    let followers = vec![Arc::clone(&sync_ctx) as _, Arc::clone(&flush_ctx) as _];
    let reference_ctx = Arc::new(ReferenceContext::new(Arc::clone(&ctx), &references, followers));

    let mut registry = Registry::default();
    registry.register(machinery, references, reference_ctx);
    registry.register(machinery, syncs, sync_ctx);
    registry.register(machinery, flushes, flush_ctx);
    let (kinds, controllers) = registry.finish();
    (ctx, kinds, controllers)
}

/// Triggers an object when the inventory has news for it.
fn news_of_the_cloud(
    references: Trigger<RedisClusterRef>,
    syncs: Trigger<RedisParameterSync>,
    reminders: &Reminders,
) -> NotifySubscriber {
    let reminders = reminders.clone();
    Arc::new(move |subscriber: &Subscriber, urgency: Urgency| {
        let key = subscriber.key.clone();
        match (subscriber.kind, urgency) {
            (SubscriberKind::ClusterRef, Urgency::RefreshRequested) => references.trigger_requested(key),
            (SubscriberKind::ClusterRef, Urgency::Routine) => references.trigger(key),
            (SubscriberKind::ParameterSync, Urgency::RefreshRequested) => syncs.trigger_requested(key),
            (SubscriberKind::ParameterSync, Urgency::Routine) => reminders.remind(&key),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::api::crds;
    use crate::cloud::CloudSettings;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn every_kind_with_a_crd_is_registered() {
        let client = kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let metrics = Arc::new(Metrics::new());
        let cloud = HttpCore::new(CloudSettings::default(), Arc::new(())).unwrap();
        let settings = Settings {
            status_heartbeat: Duration::from_secs(600),
            poll_interval: Duration::from_secs(60),
            flush_claim_retention: Duration::from_secs(3600),
            operator_namespace: "operator".to_owned(),
            identity: "a".to_owned(),
            workers: 1,
            max_clusters_per_sync: 200,
            connection_config_maps: true,
        };
        let machinery = Machinery::new(client, metrics, "a".to_owned(), 1);
        let (_, kinds, _) = register(&machinery, cloud, settings, CancellationToken::new());
        let registered: BTreeSet<String> = kinds.iter().map(|kind| kind.name().to_owned()).collect();
        let wanted: BTreeSet<String> = crds().into_iter().map(|crd| crd.spec.names.kind).collect();
        assert_eq!((registered, kinds.count()), (wanted.clone(), wanted.len()));
    }
}
