//! What a reconcile may touch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use tokio_util::sync::CancellationToken;

use super::cluster_ref::map_writes::MapWrites;
use super::credentials::Secrets;
use super::flush_request::sends::Sends;
use super::flush_request::slots::Slots;
use super::flush_request::targets::Targets;
use super::parameter_sync::coverage::Coverage;
use super::parameter_sync::membership::Membership;
use super::parameter_sync::reminders::Reminders;
use super::parameter_sync::turns::Turns;
use crate::api::{FIELD_MANAGER, RedisClusterRef, RedisFlushRequest, RedisParameterSync};
use crate::cloud::HttpCore;
use crate::inventory::Inventory;
use crate::metrics::Metrics;
use crate::runtime::events::EventQueue;
use crate::runtime::store::Store;
use crate::runtime::trigger::Trigger;
use crate::runtime::watches::Watches;
use crate::runtime::write_limit::WriteLimit;

/// What the operator's flags decide about reconciling.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often an unchanged status is written again.
    pub status_heartbeat: Duration,
    /// How often a connection is read for objects that name no interval of their own.
    pub poll_interval: Duration,
    /// How long a flush claim outlives its request.
    pub flush_claim_retention: Duration,
    /// Namespace of the operator's own objects: leader lease and flush claims.
    pub operator_namespace: String,
    /// Identity of this process, unique for each start.
    pub identity: String,
    /// Reconciles of one kind under way at once.
    pub workers: u16,
    /// How many clusters one RedisParameterSync covers. Every one can be about every cluster, so both numbers have to be bounded.
    pub max_clusters_per_sync: u16,
    /// Whether ConfigMaps may be read and written, for `spec.connectionConfigMap`.
    pub connection_config_maps: bool,
}

/// How often each object failed in a row.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<(&'static str, String, String), u32>>);

impl Failures {
    /// Counts a failure; how many there are now in a row.
    pub fn add(&self, kind: &'static str, namespace: &str, name: &str) -> u32 {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry((kind, namespace.to_owned(), name.to_owned())).or_insert(0);
        *count = count.saturating_add(1);
        *count
    }

    /// The object was reconciled, or is gone.
    pub fn reset(&self, kind: &'static str, namespace: &str, name: &str) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !failures.is_empty() {
            failures.remove(&(kind, namespace.to_owned(), name.to_owned()));
        }
    }
}

/// A waker for each kind.
#[derive(Clone, Debug)]
pub struct Triggers {
    /// For references.
    pub cluster_refs: Trigger<RedisClusterRef>,
    /// For parameter syncs that a person waits for, or whose turn has come.
    pub parameter_syncs: Trigger<RedisParameterSync>,
    /// For parameter syncs when something they follow has changed.
    pub reminders: Reminders,
    /// For flush requests.
    pub flush_requests: Trigger<RedisFlushRequest>,
}

/// What a reconcile may touch.
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// The clouds, as last read.
    pub inventory: Inventory,
    /// Builds clients of the clouds.
    pub cloud: Arc<HttpCore>,
    /// Credentials of the tenants.
    pub secrets: Secrets,
    /// The references, as last watched.
    pub cluster_refs: Store<RedisClusterRef>,
    /// The parameter syncs, as last watched.
    pub parameter_syncs: Store<RedisParameterSync>,
    /// The flush requests, as last watched.
    pub flush_requests: Store<RedisFlushRequest>,
    /// Which flush request is at which target.
    pub flush_targets: Targets,
    /// Which flush requests talk with a cloud now.
    pub flush_slots: Slots,
    /// The flushes under way, by connection.
    pub flush_sends: Sends,
    /// Whether the API server is heard.
    pub watches: Arc<Watches>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Publishes events at once.
    pub recorder: Recorder,
    /// Publishes events that can wait.
    pub announcer: EventQueue,
    /// Backoff of each object.
    pub failures: Failures,
    /// Which parameter sync applies to which cluster.
    pub coverage: Coverage,
    /// Which clusters each parameter sync is about.
    pub membership: Membership,
    /// Which parameter syncs ask a connection now.
    pub turns: Turns,
    /// Bounds status writes that nobody asked for.
    pub pace: WriteLimit,
    /// Writes of ConfigMaps under way.
    pub map_writes: Arc<MapWrites>,
    /// Flags.
    pub settings: Settings,
    /// TriggerStream objects of other kinds.
    pub wakers: Triggers,
    /// Cancelled when the process is about to end: nothing that cannot be undone may be begun any more.
    pub stopping: CancellationToken,
}

impl Context {
    /// A context with empty stores. It needs a Tokio runtime.
    pub fn new(
        client: Client,
        inventory: Inventory,
        cloud: Arc<HttpCore>,
        metrics: Arc<Metrics>,
        settings: Settings,
        wakers: Triggers,
        stopping: CancellationToken,
    ) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(settings.identity.clone()) };
        let recorder = Recorder::new(client.clone(), reporter);
        Self {
            announcer: EventQueue::start(recorder.clone()),
            recorder,
            secrets: Secrets::new(client.clone()),
            client,
            inventory,
            cloud,
            cluster_refs: Store::default(),
            parameter_syncs: Store::default(),
            flush_requests: Store::default(),
            flush_targets: Targets::default(),
            flush_slots: Slots::new(wakers.flush_requests.clone()),
            flush_sends: Sends::default(),
            watches: Arc::default(),
            metrics,
            failures: Failures::default(),
            coverage: Coverage::default(),
            membership: Membership::default(),
            turns: Turns::new(wakers.parameter_syncs.clone()),
            pace: WriteLimit::default(),
            map_writes: Arc::default(),
            settings,
            wakers,
            stopping,
        }
    }
}
