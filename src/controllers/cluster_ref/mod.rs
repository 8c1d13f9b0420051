//! RedisClusterRef: keeps the status of a reference, and the ConfigMap applications mount, what the cloud says.

pub mod config_map;
pub mod plan;
pub mod target;

use std::sync::Arc;

use jiff::Timestamp;

use self::plan::{Input, Plan, View, plan};
use super::context::{Context, Objects};
use super::report;
use super::requeue;
use super::runner::{Outcome, Reconcile, ReconcileError};
use crate::api::conditions::{READY, is_true};
use crate::api::shared::generation;
use crate::api::{RedisClusterRef, RedisClusterRefStatus, reconcile_requested_at};
use crate::inventory::{Subscriber, SubscriberKind};

impl Reconcile for RedisClusterRef {
    const KIND: &'static str = "RedisClusterRef";

    fn objects(ctx: &Context) -> &Objects<Self> {
        &ctx.cluster_refs
    }

    async fn reconcile(self: Arc<Self>, ctx: Arc<Context>) -> Result<Outcome, ReconcileError> {
        let who = subscriber(&self);
        if self.metadata.deletion_timestamp.is_some() {
            ctx.inventory.forget(&who);
            return Ok(Outcome::settled(requeue::WHEN_CHANGED));
        }
        let view = observe(&ctx, &self, &who).await;
        let config_map = config_map::observe(&ctx, &self).await?;
        let previous = self.status.clone().unwrap_or_default();
        let Plan { status, config_map: write, requeue_after } = plan(&Input {
            spec: &self.spec,
            generation: generation(&*self),
            requested_at: reconcile_requested_at(&*self),
            previous: &previous,
            view,
            config_map,
            heartbeat: ctx.settings.status_heartbeat,
            now: Timestamp::now(),
        });
        if status != previous
            && !is_asked_for(&self, &previous)
            && let Err(wait) = ctx.pace.write(&who.namespace, &who.name)
        {
            return Ok(Outcome::settled(wait));
        }
        if let Some(write) = write {
            config_map::apply(&ctx, &self, &write).await?;
        }
        config_map::remove_renamed(&ctx, &self, &previous).await?;
        let requeue_after = requeue::jittered(requeue_after);
        report(&ctx, &self, &previous, &status).await?;
        Ok(if status == previous { Outcome::settled(requeue_after) } else { Outcome::applied(requeue_after) })
    }

    fn changed(ctx: &Context, namespace: &str, name: &str) {
        for sync in ctx.parameter_syncs.filter(|sync| sync.metadata.namespace.as_deref() == Some(namespace)) {
            let Ok(sync) = &sync.0 else { continue };
            let concerned = sync.spec.cluster_selector.is_some()
                || sync.spec.cluster_ref.as_ref().is_some_and(|reference| reference.name == name);
            if concerned {
                ctx.wakers.parameter_syncs.wake(namespace, sync.metadata.name.as_deref().unwrap_or_default());
            }
        }
        let waits = |request: &crate::api::RedisFlushRequest| {
            request.metadata.namespace.as_deref() == Some(namespace)
                && request.spec.cluster_ref.name == name
                && !request.status.as_ref().and_then(|status| status.phase).is_some_and(|phase| phase.is_terminal())
        };
        for request in ctx.flush_requests.filter(waits) {
            let Ok(request) = &request.0 else { continue };
            ctx.wakers.flush_requests.wake(namespace, request.metadata.name.as_deref().unwrap_or_default());
        }
    }

    fn forget(ctx: &Context, namespace: &str, name: &str) {
        ctx.metrics.forget_cluster(namespace, name);
        ctx.inventory.forget(&Subscriber {
            kind: SubscriberKind::ClusterRef,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
    }
}

/// The reference as a subscriber of the inventory.
fn subscriber(reference: &RedisClusterRef) -> Subscriber {
    Subscriber {
        kind: SubscriberKind::ClusterRef,
        namespace: reference.metadata.namespace.clone().unwrap_or_default(),
        name: reference.metadata.name.clone().unwrap_or_default(),
    }
}

/// Whether somebody changed the object since the last status: then it is written at once.
fn is_asked_for(reference: &RedisClusterRef, previous: &RedisClusterRefStatus) -> bool {
    previous.observed_generation != Some(generation(reference))
        || reconcile_requested_at(reference) != previous.last_handled_reconcile_at
}

/// Dereferences the Secret and asks the inventory.
async fn observe(ctx: &Context, reference: &RedisClusterRef, who: &Subscriber) -> View {
    if reference.spec.suspend {
        ctx.inventory.forget(who);
        return View::Suspended;
    }
    let force = reconcile_requested_at(reference)
        .filter(|token| reference.status.as_ref().and_then(|s| s.last_handled_reconcile_at.as_ref()) != Some(token));
    let interval = std::time::Duration::from(reference.spec.poll_interval);
    match target::observe(ctx, reference, who, interval, force.as_deref()).await {
        Ok(seen) => {
            ctx.inventory.keep(who, &[(&seen.connection, seen.want)]);
            View::Seen(seen.observation)
        }
        Err(problem) => {
            ctx.inventory.forget(who);
            View::Blocked(problem)
        }
    }
}

async fn report(
    ctx: &Context,
    reference: &RedisClusterRef,
    previous: &RedisClusterRefStatus,
    status: &RedisClusterRefStatus,
) -> Result<(), ReconcileError> {
    let who = subscriber(reference);
    ctx.metrics.cluster_ready(&who.namespace, &who.name, is_true(&status.conditions, READY));
    if status == previous {
        return Ok(());
    }
    report::apply_status(ctx, reference, status).await?;
    if let Some(note) = report::ready_changed(&previous.conditions, &status.conditions) {
        report::publish(ctx, reference, &note).await;
    }
    Ok(())
}
