//! What stands on the API server, as a row to show and to compare.

use futures::stream::{BoxStream, StreamExt as _, select_all};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, ListParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource, ResourceExt as _};
use managed_redis_operator::api::conditions::{READY, STALLED, SYNCED, find};
use managed_redis_operator::api::shared::{CommonStatus, generation};
use managed_redis_operator::api::{RedisClusterRef, RedisFlushRequest, RedisParameterSync};

/// Kind and name of an object, as `kubectl` writes them: `redisclusterref/orders`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// The key of an object.
    pub fn new(kind: &str, name: &str) -> Self {
        Self(format!("{}/{name}", kind.to_lowercase()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The columns of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectRow {
    /// Status of the condition Ready, empty while there is none.
    pub ready: String,
    /// Reason of the condition that tells most: Stalled, else Synced when the cloud could not be read, else Ready.
    pub reason: String,
    /// The state, phase or count, whichever the kind has.
    pub state: String,
    /// What the object says of itself.
    pub message: String,
    /// Whether the status is about the spec as it is.
    pub current: bool,
}

/// A row that appeared, changed or went.
#[derive(Clone, Debug)]
pub enum RowChange {
    /// An object as it is now.
    Is(ObjectName, ObjectRow),
    /// An object was deleted.
    Gone(ObjectName),
    /// The API server did not answer; the watch goes on.
    Trouble(String),
}

/// A kind that has a row.
trait HasRow: Resource<DynamicType = (), Scope = NamespaceResourceScope> {
    fn seen(&self) -> Option<ObjectRow>;
}

impl HasRow for RedisClusterRef {
    fn seen(&self) -> Option<ObjectRow> {
        let status = self.status.as_ref()?;
        let state = status.state.clone().unwrap_or_default();
        Some(row(status, status.observed_generation == Some(generation(self)), state, None))
    }
}

impl HasRow for RedisParameterSync {
    fn seen(&self) -> Option<ObjectRow> {
        let status = self.status.as_ref()?;
        let mut state = match (status.in_sync, status.total) {
            (Some(in_sync), Some(total)) => format!("{in_sync}/{total} in sync"),
            _ => String::new(),
        };
        if let Some(first) = status.clusters.first().filter(|_| status.in_sync != status.total) {
            state = format!("{state}, {:?}", first.phase);
        }
        Some(row(status, status.observed_generation == Some(generation(self)), state, None))
    }
}

impl HasRow for RedisFlushRequest {
    fn seen(&self) -> Option<ObjectRow> {
        let status = self.status.as_ref()?;
        let state = status.phase.map(|phase| phase.as_str().to_owned()).unwrap_or_default();
        let current = status.observed_generation == Some(generation(self));
        Some(row(status, current, state, status.message.clone()))
    }
}

fn row(status: &impl CommonStatus, current: bool, state: String, message: Option<String>) -> ObjectRow {
    let text = |condition: Option<&Condition>, field: fn(&Condition) -> &String| {
        condition.map(|condition| field(condition).clone()).unwrap_or_default()
    };
    let ready = find(status.conditions(), READY);
    let unsynced = find(status.conditions(), SYNCED).filter(|synced| synced.status == "False");
    let telling = find(status.conditions(), STALLED).or(unsynced).or(ready);
    ObjectRow {
        ready: text(ready, |condition| &condition.status),
        reason: text(telling, |condition| &condition.reason),
        state,
        message: message.unwrap_or_else(|| text(telling, |condition| &condition.message)),
        current,
    }
}

/// Every change of the three kinds in a namespace, beginning with all there is.
pub fn watch(client: &Client, namespace: &str) -> BoxStream<'static, RowChange> {
    select_all([
        changes(Api::<RedisClusterRef>::namespaced(client.clone(), namespace)),
        changes(Api::<RedisParameterSync>::namespaced(client.clone(), namespace)),
        changes(Api::<RedisFlushRequest>::namespaced(client.clone(), namespace)),
    ])
    .boxed()
}

/// All there is of the three kinds in a namespace.
///
/// # Errors
/// What the API server refuses.
pub async fn list(client: &Client, namespace: &str) -> Result<Vec<(ObjectName, ObjectRow)>, kube::Error> {
    let mut all = rows(Api::<RedisClusterRef>::namespaced(client.clone(), namespace)).await?;
    all.extend(rows(Api::<RedisParameterSync>::namespaced(client.clone(), namespace)).await?);
    all.extend(rows(Api::<RedisFlushRequest>::namespaced(client.clone(), namespace)).await?);
    Ok(all)
}

async fn rows<K>(api: Api<K>) -> Result<Vec<(ObjectName, ObjectRow)>, kube::Error>
where
    K: HasRow + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let list = api.list(&ListParams::default()).await?;
    let row = |object: &K| (ObjectName::new(&K::kind(&()), &object.name_any()), object.seen().unwrap_or_default());
    Ok(list.items.iter().map(row).collect())
}

fn changes<K>(api: Api<K>) -> BoxStream<'static, RowChange>
where
    K: HasRow + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let key = |object: &K| ObjectName::new(&K::kind(&()), &object.name_any());
    events
        .filter_map(move |event| {
            let change = match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => {
                    Some(RowChange::Is(key(&object), object.seen().unwrap_or_default()))
                }
                Ok(Event::Delete(object)) => Some(RowChange::Gone(key(&object))),
                Ok(Event::Init | Event::InitDone) => None,
                // The watch was too old to go on; all there is comes once more.
                Err(watcher::Error::WatchError(status)) if status.code == 410 => None,
                Err(error) => Some(RowChange::Trouble(error.to_string())),
            };
            std::future::ready(change)
        })
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stalled_object_tells_why_it_is_stalled() {
        let object: RedisClusterRef = serde_json::from_value(json!({
            "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisClusterRef",
            "metadata": {"name": "a", "generation": 2},
            "spec": {},
            "status": {"observedGeneration": 2, "state": "Running", "conditions": [
                {"type": "Ready", "status": "False", "reason": "NotReady", "message": "no",
                 "lastTransitionTime": "2026-05-01T00:00:00Z"},
                {"type": "Stalled", "status": "True", "reason": "ClusterNotFound", "message": "no such cluster",
                 "lastTransitionTime": "2026-05-01T00:00:00Z"}]}
        }))
        .unwrap();
        let wanted = ObjectRow {
            ready: "False".to_owned(),
            reason: "ClusterNotFound".to_owned(),
            state: "Running".to_owned(),
            message: "no such cluster".to_owned(),
            current: true,
        };
        assert_eq!(object.seen(), Some(wanted));
        assert_eq!(ObjectName::new(&RedisClusterRef::kind(&()), "a").as_str(), "redisclusterref/a");
    }

    #[test]
    fn a_cloud_that_cannot_be_read_is_told_while_the_last_picture_stands() {
        let object: RedisClusterRef = serde_json::from_value(json!({
            "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisClusterRef",
            "metadata": {"name": "a", "generation": 1}, "spec": {},
            "status": {"observedGeneration": 1, "state": "Running", "conditions": [
                {"type": "Ready", "status": "True", "reason": "Running", "message": "runs",
                 "lastTransitionTime": "2026-05-01T00:00:00Z"},
                {"type": "Synced", "status": "False", "reason": "CloudUnavailable", "message": "HTTP 503",
                 "lastTransitionTime": "2026-05-01T00:00:00Z"}]}
        }))
        .unwrap();
        let seen = object.seen().unwrap();
        assert_eq!(
            (seen.ready.as_str(), seen.reason.as_str(), seen.message.as_str()),
            ("True", "CloudUnavailable", "HTTP 503")
        );
    }

    #[test]
    fn a_fresh_object_is_not_current() {
        let object: RedisParameterSync = serde_json::from_value(json!({
            "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisParameterSync",
            "metadata": {"name": "a", "generation": 1}, "spec": {}, "status": {"observedGeneration": -1}
        }))
        .unwrap();
        assert_eq!(object.seen(), Some(ObjectRow::default()));
    }

    #[test]
    fn a_parameter_sync_shows_the_first_cluster_that_lags() {
        let object: RedisParameterSync = serde_json::from_value(json!({
            "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisParameterSync",
            "metadata": {"name": "a", "generation": 1}, "spec": {},
            "status": {"observedGeneration": 1, "total": 2, "inSync": 1,
                       "clusters": [{"id": "x", "phase": "BackingOff"}, {"id": "y", "phase": "InSync"}]}
        }))
        .unwrap();
        assert_eq!(object.seen().unwrap().state, "1/2 in sync, BackingOff");
    }
}
