//! Runs one controller: watch, queue, bounded concurrency, a deadline and a backoff for each object.
//!
//! An object that cannot be read, a reconcile that panics or hangs costs that one object, nobody else.

use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info_span, warn};

use super::events::Note;
use super::guard::Guarded;
use super::queue::{Lane, ObjectKey, Queue};
use super::requeue;
use super::store::{Change, Store, WatchCache};
use super::stored::{Unreadable, Watched};
use super::trigger::TriggerStream;
use super::watch::{self, Heard};
use super::watch_health::WatchId;
use super::watch_time;
use super::workers::{Worker, Workers};
use crate::api::FIELD_MANAGER;
use crate::api::conditions::{self, ConditionStatus, DesiredCondition, READY, STALLED};
use crate::controllers::context::Context;

/// A reconcile that takes longer than this is given up and tried again.
const DEADLINE: Duration = Duration::from_secs(120);

/// What came of a reconcile, for metrics and the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The label of `reconcile_total`.
    pub word: &'static str,
    /// When to look again, if nothing happens before.
    pub requeue_after: Duration,
}

impl Outcome {
    /// The object is as it should be.
    pub fn settled(requeue_after: Duration) -> Self {
        Self { word: "settled", requeue_after }
    }

    /// Something was written.
    pub fn applied(requeue_after: Duration) -> Self {
        Self { word: "applied", requeue_after }
    }
}

/// Why a reconcile has to be done again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The Kubernetes API did not do as asked.
    #[error("the Kubernetes API: {0}")]
    Kube(#[from] kube::Error),
    /// The Kubernetes API refuses to record what the reconcile came to, and will do so again: an invalid object, an admission
    /// webhook, a quota.
    #[error("the Kubernetes API refuses the write: {0}")]
    Refused(String),
    /// It took too long.
    #[error("the reconcile took longer than {} s", DEADLINE.as_secs())]
    Deadline,
    /// A bug.
    #[error("the reconcile panicked; this is a bug of the operator")]
    Panic,
}

/// A kind with a controller.
pub trait Reconcile: Watched + Debug {
    /// Name in logs and metrics.
    const KIND: &'static str;

    /// Its objects in the context.
    fn objects(ctx: &Context) -> &Store<Self>;

    /// Brings one object up to date. The worker is held until the end, unless the reconcile leaves it before.
    fn reconcile(
        self: Arc<Self>,
        ctx: Arc<Context>,
        worker: Worker,
    ) -> impl Future<Output = Result<Outcome, ReconcileError>> + Send;

    /// An object was created, changed, or deleted: what else should look again.
    fn changed(_ctx: &Context, _namespace: &str, _name: &str) {}

    /// An object is gone.
    fn forget(ctx: &Context, namespace: &str, name: &str);

    /// A finalizer of this operator, to take off objects that cannot be read when they are deleted.
    const FINALIZER: Option<&'static str> = None;
}

/// Which objects a controller watches.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Namespaces; empty means all of them.
    pub namespaces: Vec<String>,
    /// Label selector.
    pub labels: Option<String>,
}

impl Scope {
    /// What is watched, one watch each: the namespaces, or all of them at once (none).
    fn parts(&self) -> Vec<Option<String>> {
        if self.namespaces.is_empty() { vec![None] } else { self.namespaces.iter().cloned().map(Some).collect() }
    }
}

/// Runs the controller of a kind until `shutdown`; reconciles under way are finished first.
pub async fn run<K: Reconcile>(ctx: Arc<Context>, scope: Scope, mut wakes: TriggerStream, shutdown: CancellationToken) {
    let parts = scope.parts();
    K::objects(&ctx).begin(parts.len());
    let lasts_seconds = watch_time::seconds(parts.len());
    let mut intakes: Vec<WatchCache<K>> = parts.iter().cloned().map(WatchCache::new).collect();
    let streams = parts.into_iter().enumerate().map(|(index, namespace)| {
        let api: Api<Guarded<K>> = match &namespace {
            Some(namespace) => Api::namespaced(ctx.client.clone(), namespace),
            None => Api::all(ctx.client.clone()),
        };
        let id = WatchId { kind: K::KIND, namespace };
        let events = watch::events(api, scope.labels.clone(), id, Arc::clone(&ctx.watches), lasts_seconds);
        events.map(move |heard| (index, heard)).boxed()
    });
    let mut events = futures::stream::select_all(streams);
    let mut queue = Queue::default();
    let workers = Workers::new(ctx.settings.workers);
    let mut running = JoinSet::new();
    while !shutdown.is_cancelled() {
        let now = Instant::now();
        while let Some(worker) = workers.take()
            && let Some(key) = queue.pop(now)
        {
            running.spawn(reconcile::<K>(key, Arc::clone(&ctx), worker));
        }
        let due = queue.next_due().unwrap_or(now + requeue::WHEN_CHANGED);
        tokio::select! {
            Some((index, heard)) = events.next() => {
                if let Some(intake) = intakes.get_mut(index) {
                    hear::<K>(&ctx, &mut queue, intake, heard);
                }
            }
            Some((key, lane)) = wakes.next() => {
                // What is not there has no use for being looked at.
                if K::objects(&ctx).contains(key.namespace(), key.name()) {
                    queue.push(&key, lane);
                }
            }
            Some(done) = running.join_next(), if !running.is_empty() => {
                // It cannot fail: panics are caught in it, and nobody aborts it.
                if let Ok((key, again)) = done {
                    queue.done(&key, Instant::now() + again);
                }
            }
            () = workers.one_is_left() => {}
            () = tokio::time::sleep_until(due.into()) => {}
            () = shutdown.cancelled() => {}
        }
    }
    while running.join_next().await.is_some() {}
}

/// Takes in what a watch brought.
fn hear<K: Reconcile>(ctx: &Context, queue: &mut Queue, intake: &mut WatchCache<K>, heard: Heard<K>) {
    let objects = K::objects(ctx);
    match heard {
        Ok(event) => {
            let changes = intake.take_in(objects, event);
            changes.into_iter().for_each(|change| take_in::<K>(ctx, queue, change));
        }
        Err(watch::Refused) => intake.is_not_awaited(objects),
    }
}

/// An object changed: it is looked at, and so is what depends on it.
fn take_in<K: Reconcile>(ctx: &Context, queue: &mut Queue, change: Change) {
    match change {
        Change::Changed { key, is_awaited } => {
            queue.push(&key, if is_awaited { Lane::Interactive } else { Lane::Periodic });
            K::changed(ctx, key.namespace(), key.name());
        }
        Change::Gone(key) => {
            queue.remove(&key);
            ctx.failures.reset(K::KIND, key.namespace(), key.name());
            K::forget(ctx, key.namespace(), key.name());
            K::changed(ctx, key.namespace(), key.name());
        }
    }
}

/// Reconciles an object; after how long it is looked at again.
async fn reconcile<K: Reconcile>(key: ObjectKey, ctx: Arc<Context>, worker: Worker) -> (ObjectKey, Duration) {
    let (namespace, name) = (key.namespace(), key.name());
    let span = info_span!("reconcile", kind = K::KIND, %namespace, %name);
    let started = Instant::now();
    let work = async {
        match K::objects(&ctx).get(namespace, name) {
            Some(Ok(object)) => object.reconcile(Arc::clone(&ctx), worker).await,
            Some(Err(Unreadable)) => report_invalid::<K>(&ctx, namespace, name).await,
            None => Ok(Outcome::settled(requeue::WHEN_CHANGED)),
        }
    };
    let guarded = AssertUnwindSafe(tokio::time::timeout(DEADLINE, work)).catch_unwind().instrument(span.clone());
    let result = match guarded.await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(ReconcileError::Deadline),
        Err(_) => Err(ReconcileError::Panic),
    };
    let word = result.as_ref().map_or("failed", |outcome| outcome.word);
    ctx.metrics.reconciled(K::KIND, word, started.elapsed().as_secs_f64());
    let again = match result {
        Ok(outcome) => {
            ctx.failures.reset(K::KIND, namespace, name);
            outcome.requeue_after
        }
        Err(error) => {
            // Of an object that is gone by now nothing is remembered.
            let is_there = K::objects(&ctx).contains(namespace, name);
            let failures = if is_there { ctx.failures.add(K::KIND, namespace, name) } else { 1 };
            // What goes on failing is told ever less often.
            if failures.is_power_of_two() {
                span.in_scope(|| warn!(%error, failures, "reconcile failed"));
            } else {
                span.in_scope(|| debug!(%error, failures, "reconcile failed"));
            }
            requeue::jittered(requeue::after_failures(failures))
        }
    };
    (key, again)
}

/// Says in the status of an object that it cannot be read, leaving the rest of the status as it is.
async fn report_invalid<K: Reconcile>(ctx: &Context, namespace: &str, name: &str) -> Result<Outcome, ReconcileError> {
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), namespace, &ApiResource::erase::<K>(&()));
    let Some(object) = api.get_opt(name).await? else { return Ok(Outcome::settled(requeue::WHEN_CHANGED)) };
    if object.metadata.deletion_timestamp.is_some() {
        release::<K>(&api, &object).await?;
        return Ok(Outcome::applied(requeue::WHEN_CHANGED));
    }
    let Some(error) = unreadable::<K>(&object) else { return Ok(Outcome::settled(requeue::WHEN_CHANGED)) };
    let before = object.data.get("status").cloned().unwrap_or_else(|| json!({}));
    let after = invalid_status(&before, object.metadata.generation.unwrap_or_default(), &error, Timestamp::now());
    if after == before {
        return Ok(Outcome::settled(requeue::WHEN_CHANGED));
    }
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": name, "uid": object.metadata.uid },
        "status": after,
    });
    let written = api.patch_status(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await;
    if let Err(kube::Error::Api(status)) = &written
        && status.code == 422
    {
        // The status has no room for it, so an event says it.
        let message = format!("{}. The API server refuses to write this into its status.", invalid_message(&error));
        let note = Note { warning: true, reason: "InvalidObject".to_owned(), message };
        ctx.announcer.announce_about(object.object_ref(&ApiResource::erase::<K>(&())), note);
    }
    written?;
    ctx.metrics.status_written(K::KIND);
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

/// An object that nobody can read holds nothing that is under way: its deletion is let through.
async fn release<K: Reconcile>(api: &Api<DynamicObject>, object: &DynamicObject) -> Result<(), kube::Error> {
    let Some(finalizer) = K::FINALIZER else { return Ok(()) };
    if !object.finalizers().iter().any(|have| have == finalizer) {
        return Ok(());
    }
    let rest: Vec<&String> = object.finalizers().iter().filter(|have| *have != finalizer).collect();
    let patch = json!({ "metadata": { "resourceVersion": object.resource_version(), "finalizers": rest } });
    api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
}

fn invalid_message(error: &str) -> String {
    format!(
        "the object cannot be read, it may have been written for another version of its CRD: {error}; \
         correct its spec or create it anew"
    )
}

fn invalid_status(before: &Value, generation: i64, error: &str, now: Timestamp) -> Value {
    let existing: Option<Vec<Condition>> =
        before.get("conditions").cloned().and_then(|have| serde_json::from_value(have).ok());
    let message = invalid_message(error);
    let desired = vec![
        DesiredCondition::new(READY, ConditionStatus::False, "InvalidObject", message.clone()),
        DesiredCondition::new(STALLED, ConditionStatus::True, "InvalidObject", message),
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
        let after = invalid_status(&before, 3, "missing field `confirm`", Timestamp::UNIX_EPOCH);
        assert_eq!(after["state"], "Running");
        assert_eq!(after["conditions"][1]["type"], "Stalled");
        assert!(after["conditions"][0]["message"].as_str().unwrap().contains("missing field `confirm`"));
        assert_eq!(invalid_status(&after, 3, "missing field `confirm`", Timestamp::now()), after, "stable");
    }
}
