//! What the reconciles of all kinds may touch. What belongs to one kind is in a context of its own, which derefs to this one.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio_util::sync::CancellationToken;

use super::secrets::Secrets;
use crate::inventory::Inventory;
use crate::metrics::Metrics;
use crate::runtime::machinery::Machinery;
use crate::runtime::status::StatusWriter;

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
    /// Maximum concurrent reconciles per kind.
    pub workers: u16,
    /// How many clusters one RedisParameterSync covers. Every one can be about every cluster, so both numbers have to be bounded.
    pub max_clusters_per_sync: u16,
    /// Whether ConfigMaps may be read and written, for `spec.connectionConfigMap`.
    pub connection_config_maps: bool,
}

/// What the reconciles of all kinds may touch.
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// The clouds, as last read.
    pub inventory: Inventory,
    /// Credentials of the tenants.
    pub secrets: Secrets,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Writes statuses.
    pub statuses: StatusWriter,
    /// Flags.
    pub settings: Settings,
    /// Cancelled when the process is about to end: nothing that cannot be undone may be begun any more.
    pub stopping: CancellationToken,
}

impl Context {
    /// A context of this machinery.
    pub fn new(machinery: &Machinery, inventory: Inventory, settings: Settings, stopping: CancellationToken) -> Self {
        Self {
            client: machinery.client.clone(),
            inventory,
            secrets: Secrets::new(machinery.client.clone()),
            metrics: Arc::clone(&machinery.metrics),
            statuses: machinery.statuses.clone(),
            settings,
            stopping,
        }
    }
}
