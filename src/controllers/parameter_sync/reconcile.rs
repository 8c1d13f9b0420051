//! The thin shell around the plan: observe, plan, act, report, requeue.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::apply::{acquire_slots, request_applications};
use super::context::SyncContext;
use super::input::Input;
use super::notify::release;
use super::observe::{ObservedClusters, observe, subscriber};
use super::plan::{Plan, plan};
use super::write::{WriteResult, latest, write, write_answers};
use crate::api::shared::generation;
use crate::api::{RedisParameterSync, RedisParameterSyncStatus, reconcile_requested_at};
use crate::controllers::kind::Kind;
use crate::controllers::secrets::SecretKey;
use crate::inventory::SubscriberKind;
use crate::object_key::ObjectKey;
use crate::runtime::events::Note;
use crate::runtime::reconcile::{Outcome, Reconcile, ReconcileError};
use crate::runtime::requeue::WHEN_CHANGED;
use crate::runtime::stored::Watched;
use crate::runtime::workers::Worker;

/// When the next pass is after another process wrote the status meanwhile.
const SOON: Duration = Duration::from_secs(1);

impl Watched for RedisParameterSync {
    const PACKED: bool = true;

    /// The echoes of what the operator wrote wait behind what a person changed: there is one for every pass of every object.
    fn is_awaited(&self) -> bool {
        let status = self.status.as_ref();
        let handled = status.and_then(|status| status.last_handled_reconcile_at.as_ref());
        self.metadata.deletion_timestamp.is_some()
            || status.and_then(|status| status.observed_generation) != Some(generation(self))
            || reconcile_requested_at(self).is_some_and(|requested| handled != Some(&requested))
    }
}

impl Reconcile for RedisParameterSync {
    const KIND: &'static str = "RedisParameterSync";
    type Context = SyncContext;

    async fn reconcile(self: Arc<Self>, ctx: Arc<SyncContext>, _worker: Worker) -> Result<Outcome, ReconcileError> {
        let key = ObjectKey::of(&self.metadata);
        ctx.reminders.begin_pass(&key);
        if self.metadata.deletion_timestamp.is_some() {
            forget(&ctx, &key);
            return Ok(Outcome::settled(WHEN_CHANGED));
        }
        let observed = observe(&ctx, &self, &key).await;
        let planned = plan_for(&ctx, &self, &observed, &HashSet::new());
        let acted = act(&ctx, self, &observed, planned).await?;
        let reported = report(&ctx, &acted).await?;
        Ok(requeue(&acted, reported))
    }

    fn forget(ctx: &SyncContext, key: &ObjectKey) {
        ctx.metrics.forget_parameter_sync(key.namespace(), key.name());
        ctx.reminders.forget(key);
        forget(ctx, key);
    }
}

impl Kind for RedisParameterSync {
    const SUBSCRIBER: Option<SubscriberKind> = Some(SubscriberKind::ParameterSync);

    /// Only objects that name a parameter group have a Secret of their own; the others hear of it from their references.
    fn secret_changed(ctx: &SyncContext, secret: &SecretKey) {
        for sync in ctx.membership.with_parameter_group(&secret.namespace) {
            ctx.reminders.remind(&sync);
        }
    }

    /// A parameter sync that was reconciled before all references were listed waits for them. Most often the list triggers it, but
    /// not one that is empty or refused.
    fn all_known(ctx: &SyncContext) {
        for sync in ctx.parameter_syncs.filter(|_| true) {
            ctx.trigger.trigger(ObjectKey::of(&sync.metadata));
        }
    }
}

/// The object is gone, or about to be: it subscribes to nothing and claims nothing.
fn forget(ctx: &SyncContext, key: &ObjectKey) {
    ctx.inventory.forget(&subscriber(key));
    release(ctx, key);
}

/// The plan for the status that this copy of the object has.
fn plan_for(
    ctx: &SyncContext,
    sync: &RedisParameterSync,
    observed: &ObservedClusters,
    without_slot: &HashSet<String>,
) -> Plan {
    let handled = sync.status.as_ref().and_then(|status| status.last_handled_reconcile_at.clone());
    let refresh_requested = if observed.refresh_done { reconcile_requested_at(sync) } else { handled };
    plan(&Input {
        spec: &sync.spec,
        generation: generation(sync),
        refresh_requested: refresh_requested.as_deref(),
        previous: sync.status.as_ref(),
        clusters: observed.clusters.as_deref(),
        left_out: observed.left_out,
        max_clusters: ctx.settings.max_clusters_per_sync.into(),
        now: Timestamp::now(),
        poll_interval: ctx.settings.poll_interval,
        jitter: rand::random(),
        without_slot,
    })
}

/// What came of acting on a plan.
enum Acted {
    /// No application was due: the status of this plan, made for this version of the object, is to be written.
    NothingDue { sync: Arc<RedisParameterSync>, planned: Plan },
    /// Applications were requested after they were counted, which brought the object to this version.
    Requested { sync: Arc<RedisParameterSync>, version: String, counted: RedisParameterSyncStatus, answered: Plan },
    /// Another process wrote the status meanwhile, or the object is gone since; nothing was requested.
    Outdated,
    /// The object is gone.
    Gone,
}

/// Requests the applications that are due, after their attempts were counted in the status.
async fn act(
    ctx: &SyncContext,
    sync: Arc<RedisParameterSync>,
    observed: &ObservedClusters,
    planned: Plan,
) -> Result<Acted, ReconcileError> {
    let key = ObjectKey::of(&sync.metadata);
    if planned.applies.is_empty() {
        ctx.apply_slots.withdraw(&key);
        return Ok(Acted::NothingDue { sync, planned });
    }
    let (slots, without_slot) = acquire_slots(ctx, &key, &planned.applies, &observed.connections);
    // Attempts are counted in the status, so the copy they are counted in must not be an old one.
    let Some(sync) = latest(ctx, &sync).await?.map(Arc::new) else { return Ok(Acted::Gone) };
    let planned = plan_for(ctx, &sync, observed, &without_slot);
    if planned.applies.is_empty() {
        return Ok(Acted::NothingDue { sync, planned });
    }
    let version = sync.metadata.resource_version.as_deref();
    let WriteResult::WrittenAt(Some(version)) = write(ctx, &sync, version, &planned.status).await? else {
        return Ok(Acted::Outdated);
    };
    publish(ctx, &sync, &planned.events);
    let answers = request_applications(ctx, &sync, &planned.applies, observed).await;
    drop(slots);
    let counted = planned.status.clone();
    let answered = planned.record(&answers, Timestamp::now(), rand::random());
    Ok(Acted::Requested { sync, version, counted, answered })
}

/// What came of reporting.
#[derive(Clone, Copy)]
enum Reported {
    /// The status says it already.
    Unchanged,
    Written,
    /// Another process wrote the status meanwhile.
    Outdated,
}

/// Writes the status and publishes the events.
async fn report(ctx: &SyncContext, acted: &Acted) -> Result<Reported, ReconcileError> {
    match acted {
        Acted::NothingDue { sync, planned } => {
            measure(ctx, sync, &planned.status);
            if sync.status.as_ref() == Some(&planned.status) {
                return Ok(Reported::Unchanged);
            }
            let version = sync.metadata.resource_version.as_deref();
            if write(ctx, sync, version, &planned.status).await? == WriteResult::Outdated {
                return Ok(Reported::Outdated);
            }
            publish(ctx, sync, &planned.events);
        }
        Acted::Requested { sync, version, counted, answered } => {
            write_answers(ctx, sync, version, counted, &answered.status).await?;
            publish(ctx, sync, &answered.events);
            measure(ctx, sync, &answered.status);
        }
        Acted::Outdated | Acted::Gone => return Ok(Reported::Unchanged),
    }
    Ok(Reported::Written)
}

/// When the next pass is, if nothing changes before.
fn requeue(acted: &Acted, reported: Reported) -> Outcome {
    let planned = match acted {
        Acted::NothingDue { planned, .. } | Acted::Requested { answered: planned, .. } => planned,
        Acted::Outdated => return Outcome::settled(SOON),
        Acted::Gone => return Outcome::settled(WHEN_CHANGED),
    };
    match reported {
        Reported::Unchanged => Outcome::settled(planned.requeue_after),
        Reported::Written => Outcome::applied(planned.requeue_after),
        Reported::Outdated => Outcome::settled(SOON),
    }
}

fn measure(ctx: &SyncContext, sync: &RedisParameterSync, status: &RedisParameterSyncStatus) {
    let key = ObjectKey::of(&sync.metadata);
    let failing = i64::from(status.failing.unwrap_or_default());
    ctx.metrics.parameter_sync_failing(key.namespace(), key.name(), failing);
}

fn publish(ctx: &SyncContext, sync: &RedisParameterSync, notes: &[Note]) {
    for note in notes {
        ctx.events.publish(sync, note.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_waits_for_what_was_not_handled_and_for_no_echo() {
        let sync = |annotation: &str, observed: i64| -> RedisParameterSync {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisParameterSync",
                "metadata": { "name": "a", "generation": 2,
                              "annotations": { "managedredis.dev/reconcile-requested-at": annotation } },
                "spec": { "clusterRef": { "name": "a" } },
                "status": { "observedGeneration": observed, "lastHandledReconcileAt": "1" },
            }))
            .unwrap()
        };
        let awaited = [sync("1", 2), sync("1", 1), sync("2", 2)].map(|sync| sync.is_awaited());
        assert_eq!(awaited, [false, true, true]);
    }
}
