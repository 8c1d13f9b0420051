//! Runs one controller: watch, queue, bounded concurrency, a deadline and a backoff for each object.
//!
//! An object that cannot be read, a reconcile that panics or hangs costs that one object, nobody else.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt as _, StreamExt as _};
use kube::api::Api;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, debug, info_span, warn};

use super::events::EventQueue;
use super::guard::Guarded;
use super::invalid;
use super::machinery::Machinery;
use super::queue::{Queue, QueueLane};
use super::reconcile::{DEADLINE, Outcome, Reconcile, ReconcileError};
use super::requeue;
use super::store::{Change, Store, WatchCache};
use super::stored::UnreadableObject;
use super::trigger::{Trigger, TriggerStream};
use super::watch::{self, WatchItem};
use super::watch_health::WatchId;
use super::watch_time;
use super::workers::{Worker, Workers};
use crate::object_key::ObjectKey;

/// How long the end of a controller waits for events that are not published yet.
const EVENTS_WITHIN: Duration = Duration::from_secs(1);

/// Which objects a controller watches.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
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

/// The objects of a kind and what goes with them. Made before the context of the kind, which holds some of it.
pub struct Objects<K> {
    /// The objects, as last watched.
    pub store: Arc<Store<K>>,
    /// Sends one of them back into the queue.
    pub trigger: Trigger<K>,
    /// Publishes events about them.
    pub events: EventQueue,
    triggered: TriggerStream,
}

impl<K: Reconcile> Objects<K> {
    /// None is known yet. It needs a Tokio runtime.
    pub fn new(machinery: &Machinery) -> Self {
        let (trigger, triggered) = Trigger::channel();
        Self { store: Arc::default(), trigger, events: EventQueue::start(machinery.recorder.clone()), triggered }
    }
}

/// The controller of one kind.
pub(crate) struct Controller<K: Reconcile> {
    parts: Arc<ControllerParts<K>>,
    triggered: TriggerStream,
}

/// What the loop of a controller and its reconciles share.
struct ControllerParts<K: Reconcile> {
    machinery: Machinery,
    store: Arc<Store<K>>,
    events: EventQueue,
    ctx: Arc<K::Context>,
}

type WatchStreams<K> = SelectAll<BoxStream<'static, (usize, WatchItem<K>)>>;

/// How a reconcile ended.
struct Reconciled {
    key: ObjectKey,
    result: Result<Outcome, ReconcileError>,
    span: Span,
}

impl<K: Reconcile> Controller<K> {
    /// A controller that does not run yet.
    pub(crate) fn new(machinery: Machinery, objects: Objects<K>, ctx: Arc<K::Context>) -> Self {
        let Objects { store, events, triggered, .. } = objects;
        Self { parts: Arc::new(ControllerParts { machinery, store, events, ctx }), triggered }
    }

    /// Runs until `shutdown`. Reconciles under way are finished first.
    pub(crate) async fn run(self, scope: Scope, shutdown: CancellationToken) {
        let Self { parts, mut triggered } = self;
        let (mut caches, mut watched) = parts.watch(&scope);
        let mut queue = Queue::default();
        let workers = Workers::new(parts.machinery.workers);
        let mut running = JoinSet::new();
        while !shutdown.is_cancelled() {
            let now = Instant::now();
            while let Some(worker) = workers.take()
                && let Some(key) = queue.pop(now)
            {
                running.spawn(reconcile(key, Arc::clone(&parts), worker));
            }
            let due = queue.next_due().unwrap_or(now + requeue::WHEN_CHANGED);
            tokio::select! {
                Some((index, item)) = watched.next() => {
                    if let Some(cache) = caches.get_mut(index) {
                        parts.take_in(&mut queue, cache, item);
                    }
                }
                Some((key, lane)) = triggered.next() => {
                    // An object that does not exist is not reconciled.
                    if parts.store.contains(&key) {
                        queue.push(&key, lane);
                    }
                }
                Some(reconciled) = running.join_next(), if !running.is_empty() => {
                    // It cannot fail: panics are caught in it, and nobody aborts it.
                    if let Ok(reconciled) = reconciled {
                        requeue_after(&mut queue, reconciled);
                    }
                }
                () = workers.one_is_left() => {}
                () = tokio::time::sleep_until(due.into()) => {}
                () = shutdown.cancelled() => {}
            }
        }
        while running.join_next().await.is_some() {}
        if tokio::time::timeout(EVENTS_WITHIN, parts.events.drained()).await.is_err() {
            debug!(kind = K::KIND, "some events are not published before the end");
        }
    }
}

impl<K: Reconcile> ControllerParts<K> {
    /// Begins a watch for each part of the scope.
    fn watch(&self, scope: &Scope) -> (Vec<WatchCache<K>>, WatchStreams<K>) {
        let parts = scope.parts();
        self.store.begin(parts.len());
        let lasts_seconds = watch_time::seconds(parts.len());
        let caches = parts.iter().cloned().map(WatchCache::new).collect();
        let streams = parts.into_iter().enumerate().map(|(index, namespace)| {
            let client = self.machinery.client.clone();
            let api: Api<Guarded<K>> = match &namespace {
                Some(namespace) => Api::namespaced(client, namespace),
                None => Api::all(client),
            };
            let id = WatchId { kind: K::KIND, namespace };
            let watches = Arc::clone(&self.machinery.watches);
            let events = watch::events(api, scope.labels.clone(), id, watches, lasts_seconds);
            events.map(move |item| (index, item)).boxed()
        });
        (caches, futures::stream::select_all(streams))
    }

    /// Takes in what a watch brought.
    fn take_in(&self, queue: &mut Queue, cache: &mut WatchCache<K>, item: WatchItem<K>) {
        match item {
            Ok(event) => {
                let changes = cache.take_in(&self.store, event);
                changes.into_iter().for_each(|change| self.changed(queue, change));
            }
            Err(watch::ListRefused) => cache.is_not_awaited(&self.store),
        }
    }

    /// An object changed: it is reconciled, and so is what depends on it.
    fn changed(&self, queue: &mut Queue, change: Change) {
        let key = match change {
            Change::Changed { key, is_awaited } => {
                queue.push(&key, if is_awaited { QueueLane::Interactive } else { QueueLane::Periodic });
                key
            }
            Change::Gone(key) => {
                queue.remove(&key);
                K::forget(&self.ctx, &key);
                key
            }
        };
        K::changed(&self.ctx, &key);
    }
}

/// Reconciles an object, within the deadline.
async fn reconcile<K: Reconcile>(key: ObjectKey, parts: Arc<ControllerParts<K>>, worker: Worker) -> Reconciled {
    let span = info_span!("reconcile", kind = K::KIND, namespace = %key.namespace(), name = %key.name());
    let started = Instant::now();
    let work = async {
        match parts.store.get(&key) {
            Some(Ok(object)) => object.reconcile(Arc::clone(&parts.ctx), worker).await,
            Some(Err(UnreadableObject)) => invalid::report::<K>(&parts.machinery, &parts.events, &key).await,
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
    parts.machinery.metrics.reconciled(K::KIND, word, started.elapsed().as_secs_f64());
    Reconciled { key, result, span }
}

/// Gives an object back to the queue after its reconcile.
fn requeue_after(queue: &mut Queue, reconciled: Reconciled) {
    let Reconciled { key, result, span } = reconciled;
    let now = Instant::now();
    match result {
        Ok(outcome) => queue.done(&key, now + outcome.requeue_after),
        Err(error) => {
            let wait = |failures| requeue::jittered(requeue::after_failures(failures));
            let failures = queue.failed(&key, |failures| now + wait(failures));
            // What goes on failing is logged ever less often.
            if failures.is_power_of_two() {
                span.in_scope(|| warn!(%error, failures, "reconcile failed"));
            } else {
                span.in_scope(|| debug!(%error, failures, "reconcile failed"));
            }
        }
    }
}
