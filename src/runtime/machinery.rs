//! What the controllers of all kinds share.

use std::sync::Arc;

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use super::status::StatusWriter;
use super::watches::Watches;
use crate::api::FIELD_MANAGER;
use crate::metrics::Metrics;

/// What the controllers of all kinds share. Cheap to clone.
#[derive(Clone)]
pub struct Machinery {
    /// The Kubernetes API.
    pub client: Client,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// All watches of the process.
    pub watches: Arc<Watches>,
    /// Writes statuses.
    pub statuses: StatusWriter,
    /// Publishes events, for the queue of each kind.
    pub recorder: Recorder,
    /// Maximum concurrent reconciles per kind.
    pub workers: u16,
}

impl Machinery {
    /// The machinery of a process with this identity.
    pub fn new(client: Client, metrics: Arc<Metrics>, identity: String, workers: u16) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(identity) };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            statuses: StatusWriter::new(client.clone(), Arc::clone(&metrics)),
            watches: Arc::default(),
            client,
            metrics,
            workers,
        }
    }
}
