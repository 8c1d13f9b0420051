//! The thin shell: resolve the clusters, plan, write, ask the cloud, write again.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::api::Api;
use tracing::{info, warn};

use super::coverage::Who;
use super::targets::{Resolved, leave, resolve};
use super::turns::Turn;
use super::{ApplyResult, ErrorKind, Event, EventType, Input, Plan, plan};
use crate::api::shared::generation;
use crate::api::{RedisParameterSync, RedisParameterSyncStatus, reconcile_requested_at};
use crate::cloud::{self, CloudError, Executed};
use crate::controllers::context::Context;
use crate::inventory::{Connection, Source, Subscriber, SubscriberKind};
use crate::runtime::events::{self, Note};
use crate::runtime::requeue;
use crate::runtime::runner::{Outcome, Reconcile, ReconcileError};
use crate::runtime::status::apply_status_at;
use crate::runtime::store::Store;
use crate::runtime::stored::Watched;
use crate::runtime::workers::Worker;

/// Requests for application of one object under way at once.
const CONCURRENT_APPLIES: usize = 4;
/// When to look again after somebody else wrote the status meanwhile.
const SOON: Duration = Duration::from_secs(1);
/// A pass begins no request later than this.
const BEGIN_WITHIN: Duration = Duration::from_secs(30);

impl Watched for RedisParameterSync {
    const PACKED: bool = true;

    /// The echoes of what the operator wrote wait behind what a person changed: there is one for every pass of every object.
    fn is_awaited(&self) -> bool {
        let status = self.status.as_ref();
        let handled = status.and_then(|status| status.last_handled_reconcile_at.as_ref());
        self.metadata.deletion_timestamp.is_some()
            || status.and_then(|status| status.observed_generation) != Some(generation(self))
            || reconcile_requested_at(self).is_some_and(|asked| handled != Some(&asked))
    }
}

impl Reconcile for RedisParameterSync {
    const KIND: &'static str = "RedisParameterSync";

    fn objects(ctx: &Context) -> &Store<Self> {
        &ctx.parameter_syncs
    }

    async fn reconcile(self: Arc<Self>, ctx: Arc<Context>, _worker: Worker) -> Result<Outcome, ReconcileError> {
        let who = subscriber(&self);
        ctx.wakers.reminders.begin(&who.namespace, &who.name);
        if self.metadata.deletion_timestamp.is_some() {
            ctx.inventory.forget(&who);
            leave(&ctx, &who);
            return Ok(Outcome::settled(requeue::WHEN_CHANGED));
        }
        let resolved = resolve(&ctx, &self, &who).await;
        let planned = decide(&ctx, &self, &resolved, &HashSet::new());
        if planned.applies.is_empty() {
            ctx.turns.leave(&who.namespace, &who.name);
            return settle(&ctx, &self, planned).await;
        }
        let (turns, held) = take_turns(&ctx, &who, &planned, &resolved);
        // Attempts are counted in the status, so the copy they are counted in must not be an old one.
        let Some(current) = current(&ctx, &self).await? else { return Ok(Outcome::settled(requeue::WHEN_CHANGED)) };
        let planned = decide(&ctx, &current, &resolved, &held);
        if planned.applies.is_empty() {
            return settle(&ctx, &current, planned).await;
        }
        let Written::At(Some(version)) =
            write(&ctx, &current, current.metadata.resource_version.as_deref(), &planned).await?
        else {
            return Ok(Outcome::settled(SOON));
        };
        publish(&ctx, &current, &planned.events).await;
        let answers = ask(&ctx, &current, &planned, &resolved).await;
        drop(turns);
        let counted = planned.status.clone();
        let recorded = planned.record(&answers, Timestamp::now(), rand::random());
        record(&ctx, &current, Some(version), &counted, &recorded).await?;
        publish(&ctx, &current, &recorded.events).await;
        measure(&ctx, &current, &recorded.status);
        Ok(Outcome::applied(recorded.requeue_after))
    }

    fn forget(ctx: &Context, namespace: &str, name: &str) {
        ctx.metrics.forget_parameter_sync(namespace, name);
        ctx.wakers.reminders.forget(namespace, name);
        let who =
            Subscriber { kind: SubscriberKind::ParameterSync, namespace: namespace.to_owned(), name: name.to_owned() };
        ctx.inventory.forget(&who);
        leave(ctx, &who);
    }
}

fn subscriber(sync: &RedisParameterSync) -> Subscriber {
    Subscriber {
        kind: SubscriberKind::ParameterSync,
        namespace: sync.metadata.namespace.clone().unwrap_or_default(),
        name: sync.metadata.name.clone().unwrap_or_default(),
    }
}

fn decide(ctx: &Context, sync: &RedisParameterSync, resolved: &Resolved, held: &HashSet<String>) -> Plan {
    let asked = reconcile_requested_at(sync);
    let handled = sync.status.as_ref().and_then(|status| status.last_handled_reconcile_at.clone());
    let requested_at = if resolved.forced_reads_done { asked } else { handled };
    plan(&Input {
        spec: &sync.spec,
        generation: generation(sync),
        requested_at: requested_at.as_deref(),
        previous: sync.status.as_ref(),
        targets: resolved.targets.as_deref(),
        beyond: resolved.beyond,
        most: usize::from(ctx.settings.max_clusters_per_sync),
        now: Timestamp::now(),
        poll_interval: ctx.settings.poll_interval,
        jitter: rand::random(),
        held,
    })
}

/// A pass that asks for nothing.
async fn settle(ctx: &Context, sync: &RedisParameterSync, planned: Plan) -> Result<Outcome, ReconcileError> {
    measure(ctx, sync, &planned.status);
    if sync.status.as_ref() == Some(&planned.status) {
        return Ok(Outcome::settled(planned.requeue_after));
    }
    if write(ctx, sync, sync.metadata.resource_version.as_deref(), &planned).await? == Written::Outdated {
        return Ok(Outcome::settled(SOON));
    }
    publish(ctx, sync, &planned.events).await;
    Ok(Outcome::applied(planned.requeue_after))
}

/// What became of a status write.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    /// The object is at this version now; none if it is gone.
    At(Option<String>),
    /// Somebody else wrote meanwhile, so what was planned may be outdated.
    Outdated,
}

/// Writes a status that was planned on this version. Attempts are counted in it, so none may be overwritten by what was
/// planned without it, be it by a cached copy or by a write of a dead process that comes late.
async fn write(
    ctx: &Context,
    sync: &RedisParameterSync,
    version: Option<&str>,
    planned: &Plan,
) -> Result<Written, kube::Error> {
    match apply_status_at(ctx, sync, version, &planned.status).await {
        Ok(version) => Ok(Written::At(version)),
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(Written::Outdated),
        Err(error) => Err(error),
    }
}

/// Writes the answers over the status in which their attempts were counted, whatever else of the object was changed meanwhile.
async fn record(
    ctx: &Context,
    sync: &RedisParameterSync,
    mut version: Option<String>,
    counted: &RedisParameterSyncStatus,
    recorded: &Plan,
) -> Result<(), kube::Error> {
    while version.is_some() && write(ctx, sync, version.as_deref(), recorded).await? == Written::Outdated {
        let current = current(ctx, sync).await?;
        // Otherwise somebody else has gone on from there: each attempt stays counted, and the sync status tells its result.
        let is_ours = current.as_ref().is_some_and(|current| current.status.as_ref() == Some(counted));
        version = current.filter(|_| is_ours).and_then(|current| current.metadata.resource_version.clone());
    }
    Ok(())
}

async fn current(ctx: &Context, sync: &RedisParameterSync) -> Result<Option<Arc<RedisParameterSync>>, kube::Error> {
    let namespace = sync.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<RedisParameterSync> = Api::namespaced(ctx.client.clone(), namespace);
    let current = api.get_opt(sync.metadata.name.as_deref().unwrap_or_default()).await?;
    Ok(current.filter(|current| current.metadata.uid == sync.metadata.uid).map(Arc::new))
}

/// A turn at each connection that the plan wants to ask, and the clusters of those connections that have none left.
fn take_turns(ctx: &Context, who: &Subscriber, planned: &Plan, resolved: &Resolved) -> (Vec<Turn>, HashSet<String>) {
    let label = |id: &String| resolved.connections.get(id).map(|connection| connection.label());
    let wanted: BTreeSet<&str> = planned.applies.iter().filter_map(|apply| label(&apply.id)).collect();
    let taken: Vec<(&str, Turn)> = wanted
        .into_iter()
        .filter_map(|connection| Some((connection, ctx.turns.take(connection, &who.namespace, &who.name)?)))
        .collect();
    let has_turn = |connection: &str| taken.iter().any(|(label, _)| *label == connection);
    let held = resolved.connections.iter().filter(|(_, connection)| !has_turn(connection.label()));
    let held = held.map(|(id, _)| id.clone()).collect();
    (taken.into_iter().map(|(_, turn)| turn).collect(), held)
}

/// Asks the cloud for every application of the plan; each is sent once.
async fn ask(
    ctx: &Context,
    sync: &RedisParameterSync,
    planned: &Plan,
    resolved: &Resolved,
) -> Vec<(String, ApplyResult)> {
    let me = &Who::of(sync);
    let begun = Instant::now();
    // Owned items: a borrowing closure is not general enough for a Send future.
    futures::stream::iter(planned.applies.clone())
        .map(|apply| async move {
            let result = match resolved.connections.get(&apply.id) {
                // The next pass asks for the rest, so that a cloud that hangs does not run into the reconcile's deadline.
                Some(_) if begun.elapsed() > BEGIN_WITHIN => ApplyResult::Busy,
                Some(_) if !ctx.coverage.ask(me, &apply.id, resolved.at, Timestamp::now()) => ApplyResult::Busy,
                Some(connection) => apply_one(connection, &apply.id).await,
                None => ApplyResult::Error {
                    code: None,
                    message: "the cluster's connection is gone".to_owned(),
                    kind: ErrorKind::NotSent,
                },
            };
            match &result {
                ApplyResult::Accepted => info!(cluster = %apply.name, attempt = apply.attempt, "application accepted"),
                ApplyResult::Busy => info!(cluster = %apply.name, "the cluster is busy; asked again later"),
                ApplyResult::Error { message, .. } => {
                    warn!(cluster = %apply.name, attempt = apply.attempt, error = %message, "application failed");
                }
            }
            ctx.metrics.parameter_apply(match &result {
                ApplyResult::Accepted => "accepted",
                ApplyResult::Busy => "busy",
                ApplyResult::Error { .. } => "failed",
            });
            (apply.id, result)
        })
        .buffer_unordered(CONCURRENT_APPLIES)
        .collect()
        .await
}

async fn apply_one(connection: &Connection, id: &str) -> ApplyResult {
    let Source::Kakao(client) = connection.source() else {
        let message = "only KakaoCloud applies parameter groups".to_owned();
        return ApplyResult::Error { code: None, message, kind: ErrorKind::NotSent };
    };
    match client.apply_parameter_group(id).await {
        Ok(_) => ApplyResult::Accepted,
        Err(error) => answer(&error),
    }
}

fn answer(error: &CloudError) -> ApplyResult {
    if error.kind == cloud::ErrorKind::Busy {
        return ApplyResult::Busy;
    }
    let never_arrived = error.executed == Executed::No && error.http_status.is_none();
    let kind = match error.kind {
        // Turned away at the door: the cloud did nothing about the cluster.
        cloud::ErrorKind::RateLimited => ErrorKind::NotSent,
        _ if never_arrived => ErrorKind::NotSent,
        _ => ErrorKind::Failed,
    };
    let code = error.code.clone().or_else(|| error.http_status.map(|status| status.to_string()));
    ApplyResult::Error { code, message: error.to_string(), kind }
}

fn measure(ctx: &Context, sync: &RedisParameterSync, status: &RedisParameterSyncStatus) {
    let who = subscriber(sync);
    let failing = i64::from(status.failing.unwrap_or_default());
    ctx.metrics.parameter_sync_failing(&who.namespace, &who.name, failing);
}

async fn publish(ctx: &Context, sync: &RedisParameterSync, events: &[Event]) {
    for event in events {
        let note = Note {
            warning: event.type_ == EventType::Warning,
            reason: event.reason.to_owned(),
            message: event.note.clone(),
        };
        events::publish(ctx, sync, &note).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Provider;

    fn error(kind: cloud::ErrorKind, http_status: Option<u16>, executed: Executed) -> CloudError {
        CloudError {
            provider: Provider::KakaoCloud,
            operation: "applyParameterGroup",
            kind,
            http_status,
            code: None,
            message: String::new(),
            trace_id: None,
            retry_after: None,
            executed,
        }
    }

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

    #[test]
    fn only_what_reached_the_cluster_is_an_attempt() {
        use crate::cloud::ErrorKind as Kind;
        let kind_of = |error: &CloudError| match answer(error) {
            ApplyResult::Error { kind, .. } => Some(kind),
            ApplyResult::Accepted | ApplyResult::Busy => None,
        };
        assert_eq!(answer(&error(Kind::Busy, Some(409), Executed::No)), ApplyResult::Busy);
        for (error, wanted) in [
            (error(Kind::Unavailable, None, Executed::No), ErrorKind::NotSent),
            (error(Kind::Unavailable, None, Executed::Unknown), ErrorKind::Failed),
            (error(Kind::Unavailable, Some(500), Executed::Unknown), ErrorKind::Failed),
            (error(Kind::RateLimited, Some(429), Executed::No), ErrorKind::NotSent),
            (error(Kind::BadRequest, Some(400), Executed::No), ErrorKind::Failed),
        ] {
            assert_eq!(kind_of(&error), Some(wanted), "{error:?}");
        }
    }
}
