//! What a user sees: the references' statuses, from a watch of the bench's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::api::{Api, ApiResource, Object};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt as _};
use managed_redis_operator::api::RedisClusterRef;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A field that nobody reads here.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Ignored {}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Shown {
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    conditions: Vec<ShownCondition>,
    #[serde(default)]
    cluster: Option<ShownCluster>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownCluster {
    #[serde(default)]
    parameter_group: Option<Ignored>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct ShownCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

/// One reference as it was last seen.
#[derive(Clone, Debug)]
pub(crate) struct ReferenceState {
    /// Whether it is Ready.
    pub ready: bool,
    /// Whether it shows its parameter group, which the cloud's list leaves out for clusters in cluster mode.
    pub whole: bool,
    /// The state that the cloud reported.
    pub state: Option<String>,
    /// When this state was first seen.
    pub at: Instant,
}

#[derive(Default)]
struct ReferenceStates {
    references: HashMap<String, ReferenceState>,
    ready: usize,
    whole: usize,
}

/// All references of a namespace as they were last seen.
pub(crate) struct References {
    all: Arc<Mutex<ReferenceStates>>,
    changed: watch::Receiver<()>,
    task: AbortHandle,
}

impl Drop for References {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl References {
    /// Begins to watch.
    pub(crate) fn watch(client: Client, namespace: &str) -> Self {
        let api: Api<Object<Ignored, Shown>> =
            Api::namespaced_with(client, namespace, &ApiResource::erase::<RedisClusterRef>(&()));
        let all: Arc<Mutex<ReferenceStates>> = Arc::default();
        let (sender, changed) = watch::channel(());
        let writer = Arc::clone(&all);
        let task = tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
            while let Some(event) = events.next().await {
                // The watcher restarts a watch that ended.
                let Ok(event) = event else { continue };
                writer.lock().unwrap_or_else(PoisonError::into_inner).take_in(event);
                let _ = sender.send(());
            }
        });
        Self { all, changed, task: task.abort_handle() }
    }

    /// How many are Ready.
    pub(crate) fn ready(&self) -> usize {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).ready
    }

    /// How many show their parameter group.
    pub(crate) fn whole(&self) -> usize {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).whole
    }

    /// A reference as it was last seen.
    pub(crate) fn get(&self, name: &str) -> Option<ReferenceState> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).references.get(name).cloned()
    }

    /// Waits until something holds; false if it does not within the time.
    pub(crate) async fn until(&self, within: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let mut changed = self.changed.clone();
        let wait = async {
            while !holds(self) {
                if changed.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(within, wait).await.unwrap_or(false)
    }
}

impl ReferenceStates {
    fn take_in(&mut self, event: Event<Object<Ignored, Shown>>) {
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                let status = object.status.as_ref();
                let ready = status.is_some_and(|status| {
                    status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
                });
                let cluster = status.and_then(|status| status.cluster.as_ref());
                let whole = cluster.is_some_and(|cluster| cluster.parameter_group.is_some());
                let state = status.and_then(|status| status.state.clone());
                let before = self.references.get(&object.name_any());
                // The time of the first event with this state counts, not that of the last write.
                let at = before.filter(|before| before.ready == ready && before.state == state);
                let at = at.map_or_else(Instant::now, |before| before.at);
                self.replace(&object.name_any(), Some(ReferenceState { ready, whole, state, at }));
            }
            Event::Delete(object) => self.replace(&object.name_any(), None),
            Event::Init | Event::InitDone => {}
        }
    }

    fn replace(&mut self, name: &str, reference: Option<ReferenceState>) {
        self.ready += usize::from(reference.as_ref().is_some_and(|reference| reference.ready));
        self.whole += usize::from(reference.as_ref().is_some_and(|reference| reference.whole));
        let before = match reference {
            Some(reference) => self.references.insert(name.to_owned(), reference),
            None => self.references.remove(name),
        };
        self.ready -= usize::from(before.as_ref().is_some_and(|before| before.ready));
        self.whole -= usize::from(before.as_ref().is_some_and(|before| before.whole));
    }
}
