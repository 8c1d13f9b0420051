//! Runs one controller: watch, queue, bounded concurrency, a deadline and a backoff for each object.
//!
//! An object that cannot be read, a reconcile that panics or hangs costs that one object, nobody else.

use std::fmt::Debug;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::channel::mpsc::unbounded;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::store;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info_span, warn};

use super::context::{Context, Objects};
use super::requeue;
use super::wake::Wakes;
use crate::api::FIELD_MANAGER;
use crate::api::conditions::{self, Desired, READY, STALLED, Truth};

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
    /// It took too long.
    #[error("the reconcile took longer than {} s", DEADLINE.as_secs())]
    Deadline,
    /// A bug.
    #[error("the reconcile panicked; this is a bug of the operator")]
    Panic,
}

/// A kind with a controller.
pub trait Reconcile:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// Name in logs and metrics.
    const KIND: &'static str;

    /// Its objects in the context.
    fn objects(ctx: &Context) -> &Objects<Self>;

    /// Brings one object up to date.
    fn reconcile(self: Arc<Self>, ctx: Arc<Context>) -> impl Future<Output = Result<Outcome, ReconcileError>> + Send;

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
    fn apis<K: Reconcile>(&self, ctx: &Context) -> Vec<Api<DeserializeGuard<K>>> {
        if self.namespaces.is_empty() {
            return vec![Api::all(ctx.client.clone())];
        }
        self.namespaces.iter().map(|namespace| Api::namespaced(ctx.client.clone(), namespace)).collect()
    }

    fn watch_config(&self) -> watcher::Config {
        let config = watcher::Config::default();
        match &self.labels {
            Some(labels) => config.labels(labels),
            None => config,
        }
    }
}

/// Runs the controller of a kind until `shutdown`; reconciles under way are finished first.
pub async fn run<K: Reconcile>(ctx: Arc<Context>, scope: Scope, wakes: Wakes<K>, shutdown: CancellationToken) {
    let apis = scope.apis::<K>(&ctx);
    let mut wakes = route(wakes, apis.len(), &scope);
    let (readers, writers): (Vec<_>, Vec<_>) = apis.iter().map(|_| store()).unzip();
    K::objects(&ctx).watch(readers.clone());
    let controllers = apis.into_iter().zip(readers).zip(writers).map(|((api, reader), writer)| {
        let tap = Arc::clone(&ctx);
        let mut is_filled = false;
        let objects = watcher(api, scope.watch_config())
            .default_backoff()
            .modify(|object| object.managed_fields_mut().clear())
            .reflect(writer)
            .inspect_ok(move |event| {
                if matches!(event, Event::InitDone) && !is_filled {
                    is_filled = true;
                    K::objects(&tap).filled();
                }
                tell_others::<K>(&tap, event);
            })
            .applied_objects();
        Controller::for_stream(objects, reader)
            .with_config(Config::default().concurrency(ctx.settings.workers))
            .reconcile_on(wakes.remove(0))
            .graceful_shutdown_on(shutdown.clone().cancelled_owned())
            .run(reconcile::<K>, back_off::<K>, Arc::clone(&ctx))
            .for_each(|result| async move {
                if let Err(error) = result {
                    debug!(kind = K::KIND, %error, "reconcile not done");
                }
            })
    });
    futures::future::join_all(controllers).await;
}

/// Hands each namespace's controller the wakes of its own objects.
fn route<K: Reconcile>(wakes: Wakes<K>, controllers: usize, scope: &Scope) -> Vec<Wakes<K>> {
    if controllers == 1 {
        return vec![wakes];
    }
    let (senders, receivers): (Vec<_>, Vec<_>) = scope.namespaces.iter().map(|_| unbounded()).unzip();
    let namespaces = scope.namespaces.clone();
    tokio::spawn(wakes.for_each(move |object| {
        let place = namespaces.iter().position(|namespace| object.namespace.as_ref() == Some(namespace));
        if let Some(sender) = place.and_then(|place| senders.get(place)) {
            let _: Result<(), _> = sender.unbounded_send(object);
        }
        std::future::ready(())
    }));
    receivers
}

fn tell_others<K: Reconcile>(ctx: &Context, event: &Event<DeserializeGuard<K>>) {
    match event {
        Event::Apply(object) | Event::InitApply(object) => {
            K::changed(ctx, &object.namespace().unwrap_or_default(), &object.name_any());
        }
        Event::Delete(object) => {
            let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
            ctx.failures.reset(K::KIND, &namespace, &name);
            K::forget(ctx, &namespace, &name);
            K::changed(ctx, &namespace, &name);
        }
        Event::Init | Event::InitDone => {}
    }
}

async fn reconcile<K: Reconcile>(
    object: Arc<DeserializeGuard<K>>,
    ctx: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let span = info_span!("reconcile", kind = K::KIND, %namespace, %name);
    let started = Instant::now();
    let work = async {
        match &object.0 {
            Ok(object) => Arc::new(object.clone()).reconcile(Arc::clone(&ctx)).await,
            Err(_) => report_invalid::<K>(&ctx, &namespace, &name).await,
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
    match result {
        Ok(outcome) => {
            ctx.failures.reset(K::KIND, &namespace, &name);
            Ok(Action::requeue(outcome.requeue_after))
        }
        Err(error) => {
            span.in_scope(|| warn!(%error, "reconcile failed"));
            Err(error)
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is the controller's")]
fn back_off<K: Reconcile>(object: Arc<DeserializeGuard<K>>, _: &ReconcileError, ctx: Arc<Context>) -> Action {
    let failures = ctx.failures.add(K::KIND, &object.namespace().unwrap_or_default(), &object.name_any());
    Action::requeue(requeue::jittered(requeue::after_failures(failures)))
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
    api.patch_status(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await?;
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

fn invalid_status(before: &Value, generation: i64, error: &str, now: Timestamp) -> Value {
    let existing: Option<Vec<Condition>> =
        before.get("conditions").cloned().and_then(|have| serde_json::from_value(have).ok());
    let message = format!(
        "the object cannot be read, it may have been written for another version of its CRD: {error}; \
         correct its spec or create it anew"
    );
    let desired = vec![
        Desired::new(READY, Truth::False, "InvalidObject", message.clone()),
        Desired::new(STALLED, Truth::True, "InvalidObject", message),
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
