//! Which RedisParameterSync applies the parameter group of a cluster that several claim.
//!
//! The oldest one owns it (by creation, then by namespace and name): the same answer after a restart and in every process. The
//! others only show the owner. A claim counts only for clusters that the object's own credential sees, so nobody can keep
//! others from applying by naming a cluster that is not theirs.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::claims::{Claimant, ClaimedGroup, Claims, StoredClaims};
use super::input::OtherSyncs;
use crate::api::shared::KakaoParameterGroup;
use crate::object_key::ObjectKey;

/// A cluster as the credential of one object sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct VisibleCluster<'a> {
    /// ID of the cluster.
    pub id: &'a str,
    /// Label of the connection.
    pub connection: &'a str,
    /// ID of its parameter group.
    pub group_id: Option<&'a str>,
    /// Name of its parameter group.
    pub group_name: Option<&'a str>,
}

/// The label under which a group is claimed on every connection.
const ANY_CONNECTION: &str = "";

/// The objects that claim one cluster or one parameter group, the oldest first.
type Claimants = BTreeSet<Arc<Claimant>>;

/// The claims of one object, in the table.
#[derive(Debug)]
struct ClaimRecord {
    claimant: Arc<Claimant>,
    /// In order. There can be as many records as objects times clusters, so each cluster's ID is kept once.
    clusters: Box<[Arc<str>]>,
    group: Option<ClaimedGroup>,
}

#[derive(Debug, Default)]
struct ClaimTable {
    is_seeded: bool,
    records: HashMap<ObjectKey, ClaimRecord>,
    by_cluster: HashMap<Arc<str>, Claimants>,
    /// By the connection's label, then by what the group is known by.
    by_group: HashMap<String, HashMap<GroupKey, Claimants>>,
    /// The last request for application, by the cluster's ID: of which object, and when.
    last_requests: HashMap<Arc<str>, (Arc<Claimant>, Timestamp)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum GroupKey {
    Id(String),
    Name(String),
}

impl GroupKey {
    fn of(group: &KakaoParameterGroup) -> Option<Self> {
        let id = group.id.clone().map(Self::Id);
        id.or_else(|| group.name.clone().map(Self::Name))
    }
}

/// Which object claims which cluster.
#[derive(Debug, Default)]
pub(super) struct Ownership(Mutex<ClaimTable>);

impl Ownership {
    /// Whether [`Ownership::seed`] was called.
    pub(super) fn is_seeded(&self) -> bool {
        self.lock().is_seeded
    }

    /// Takes over the claims that the statuses tell, once, so that a restart changes neither the owner nor the distance between two
    /// requests.
    pub(super) fn seed(&self, stored: impl FnOnce() -> Vec<StoredClaims>) {
        let mut table = self.lock();
        if std::mem::replace(&mut table.is_seeded, true) {
            return;
        }
        for StoredClaims { claimant, clusters, group, last_requests } in stored() {
            let group = group.map(|group| ClaimedGroup { connection: ANY_CONNECTION.to_owned(), group });
            let claimant = table.set(&claimant, &clusters, group).0;
            for (id, at) in last_requests {
                let id = table.id(&id);
                if table.last_requests.get(&id).is_none_or(|(_, known)| *known < at) {
                    table.last_requests.insert(id, (Arc::clone(&claimant), at));
                }
            }
        }
    }

    /// Replaces the claims of an object. Returns the other objects for which that may change the owner.
    pub(super) fn claim(&self, claimant: &Claimant, claims: Claims) -> BTreeSet<Arc<Claimant>> {
        let mut table = self.lock();
        let Claims { mut clusters, unreadable, group } = claims;
        let before = table.records.get(claimant.key()).map_or(&[][..], |record| &*record.clusters);
        let was_claimed = |id: &String| before.binary_search_by(|have| (**have).cmp(id.as_str())).is_ok();
        clusters.extend(unreadable.into_iter().filter(was_claimed));
        table.set(claimant, &clusters, group).1
    }

    /// Drops the claims of an object. Returns the other objects for which that may change the owner.
    pub(super) fn release(&self, key: &ObjectKey) -> BTreeSet<Arc<Claimant>> {
        self.lock().remove(key)
    }

    /// Notes that an object requests an application now. Returns false if it must not: since it decided to, another object has
    /// requested one, or an older object has claimed the cluster.
    pub(super) fn begin_request(&self, claimant: &Claimant, id: &str, decided_at: Timestamp, now: Timestamp) -> bool {
        let mut table = self.lock();
        let is_overtaken = table.last_requests.get(id).is_some_and(|(by, at)| **by != *claimant && *at >= decided_at);
        let has_older = table.by_cluster.get(id).and_then(BTreeSet::first).is_some_and(|first| **first < *claimant);
        if is_overtaken || has_older {
            return false;
        }
        let id = table.id(id);
        table.last_requests.insert(id, (Arc::new(claimant.clone()), now));
        true
    }

    /// What other objects have to do with a cluster that an object sees: the owner, if it is older, and their last request.
    pub(super) fn others(&self, claimant: &Claimant, cluster: &VisibleCluster<'_>) -> OtherSyncs {
        let table = self.lock();
        let owner = table.owner_of(cluster).filter(|owner| ***owner < *claimant);
        let last_request = table.last_requests.get(cluster.id).filter(|(by, _)| **by != *claimant);
        OtherSyncs { owner: owner.map(ToString::to_string), last_request_at: last_request.map(|(_, at)| *at) }
    }

    fn lock(&self) -> MutexGuard<'_, ClaimTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClaimTable {
    /// The ID in the one allocation that all records share.
    fn id(&self, id: &str) -> Arc<str> {
        self.by_cluster.get_key_value(id).map_or_else(|| id.into(), |(id, _)| Arc::clone(id))
    }

    /// The oldest object that claims a cluster, by its ID or by its parameter group.
    fn owner_of(&self, cluster: &VisibleCluster<'_>) -> Option<&Arc<Claimant>> {
        let by_id = self.by_cluster.get(cluster.id).and_then(BTreeSet::first);
        by_id.into_iter().chain(self.oldest_of_group(cluster)).min()
    }

    /// The oldest object that claims the whole parameter group of a cluster.
    fn oldest_of_group(&self, cluster: &VisibleCluster<'_>) -> Option<&Arc<Claimant>> {
        if self.by_group.is_empty() {
            return None;
        }
        let id = cluster.group_id.map(|id| GroupKey::Id(id.to_owned()));
        let name = cluster.group_name.map(|name| GroupKey::Name(name.to_owned()));
        let keys = || id.iter().chain(&name);
        let here = [cluster.connection, ANY_CONNECTION].into_iter().filter_map(|label| self.by_group.get(label));
        here.flat_map(|groups| keys().filter_map(|key| groups.get(key)?.first())).min()
    }

    /// Sets the claims of an object; a record without any is not kept. Returns the object as it is kept, and the other objects for
    /// which that may change the owner.
    fn set(
        &mut self,
        claimant: &Claimant,
        clusters: &BTreeSet<String>,
        group: Option<ClaimedGroup>,
    ) -> (Arc<Claimant>, BTreeSet<Arc<Claimant>>) {
        let key = claimant.key();
        let mut concerned = BTreeSet::new();
        if self.records.get(key).is_some_and(|record| *record.claimant != *claimant) {
            // The object was deleted and created again: its age is another one.
            concerned.extend(self.remove(key));
        }
        let (claimant, before, group_before) = match self.records.remove(key) {
            Some(ClaimRecord { claimant, clusters, group }) => (claimant, clusters, group),
            None => (Arc::new(claimant.clone()), Box::default(), None),
        };
        if group_before != group {
            self.set_group(&claimant, group_before.as_ref(), false);
            self.set_group(&claimant, group.as_ref(), true);
        }
        for id in before.iter().filter(|id| !clusters.contains(&***id)) {
            self.remove_cluster(&claimant, id, &mut concerned);
        }
        for id in clusters.iter().filter(|id| before.binary_search_by(|have| (**have).cmp(id.as_str())).is_err()) {
            self.add_cluster(&claimant, id, &mut concerned);
        }
        let clusters: Box<[Arc<str>]> = clusters.iter().map(|id| self.id(id)).collect();
        if !clusters.is_empty() || group.is_some() {
            let record = ClaimRecord { claimant: Arc::clone(&claimant), clusters, group };
            self.records.insert(claimant.key().clone(), record);
        }
        (claimant, concerned)
    }

    fn remove(&mut self, key: &ObjectKey) -> BTreeSet<Arc<Claimant>> {
        let Some(ClaimRecord { claimant, clusters, group }) = self.records.remove(key) else { return BTreeSet::new() };
        self.set_group(&claimant, group.as_ref(), false);
        let mut concerned = BTreeSet::new();
        clusters.iter().for_each(|id| self.remove_cluster(&claimant, id, &mut concerned));
        concerned
    }

    /// Only an object older than all others of the cluster changes the owner for them.
    fn add_cluster(&mut self, claimant: &Arc<Claimant>, id: &str, concerned: &mut BTreeSet<Arc<Claimant>>) {
        let claimants = self.by_cluster.entry(self.id(id)).or_default();
        if claimants.first().is_some_and(|first| claimant < first) {
            concerned.extend(claimants.iter().cloned());
        }
        claimants.insert(Arc::clone(claimant));
    }

    fn remove_cluster(&mut self, claimant: &Arc<Claimant>, id: &str, concerned: &mut BTreeSet<Arc<Claimant>>) {
        let Some(claimants) = self.by_cluster.get_mut(id) else { return };
        let was_first = claimants.first() == Some(claimant);
        claimants.remove(claimant);
        if was_first {
            concerned.extend(claimants.iter().cloned());
        }
        if claimants.is_empty() {
            self.by_cluster.remove(id);
            self.last_requests.remove(id);
        }
    }

    fn set_group(&mut self, claimant: &Arc<Claimant>, claimed: Option<&ClaimedGroup>, is_claimed: bool) {
        let Some(ClaimedGroup { connection, group }) = claimed else { return };
        let Some(key) = GroupKey::of(group) else { return };
        let groups = self.by_group.entry(connection.clone()).or_default();
        let claimants = groups.entry(key.clone()).or_default();
        if is_claimed {
            claimants.insert(Arc::clone(claimant));
            return;
        }
        claimants.remove(claimant);
        if claimants.is_empty() {
            groups.remove(&key);
        }
        if groups.is_empty() {
            self.by_group.remove(connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::RedisParameterSync;
    use serde_json::json;

    fn sync(name: &str, created: &str, clusters: &[(&str, &str)]) -> RedisParameterSync {
        let entry = |(id, asked): &(&str, &str)| json!({ "id": id, "phase": "Waiting", "syncStatus": "Error-Sync", "attempts": 1, "lastAttemptTime": asked });
        let object = json!({
            "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisParameterSync",
            "metadata": { "name": name, "namespace": "shop", "creationTimestamp": created },
            "spec": { "clusterRef": { "name": name } },
            "status": { "clusters": clusters.iter().map(entry).collect::<Vec<_>>() },
        });
        serde_json::from_value(object).unwrap()
    }

    fn claimant(name: &str, day: u8) -> Claimant {
        Claimant::of(&sync(name, &format!("2026-11-{day:02}T00:00:00Z"), &[]))
    }

    fn claims(clusters: &[&str]) -> Claims {
        Claims { clusters: clusters.iter().map(|id| (*id).to_owned()).collect(), ..Claims::default() }
    }

    fn seen(id: &str) -> VisibleCluster<'_> {
        VisibleCluster { id, connection: "c-1", group_id: Some("pg-1"), group_name: Some("tuned") }
    }

    fn owner(ownership: &Ownership, claimant: &Claimant, id: &str) -> Option<String> {
        ownership.others(claimant, &seen(id)).owner
    }

    #[test]
    fn the_oldest_owns_a_cluster_and_the_next_one_hears_when_it_goes() {
        let ownership = Ownership::default();
        let (old, young) = (claimant("old", 1), claimant("young", 2));
        assert!(ownership.claim(&young, claims(&["a", "b"])).is_empty());
        assert_eq!(owner(&ownership, &young, "a"), None, "nobody else claims it");
        assert_eq!(ownership.claim(&old, claims(&["a"])), [Arc::new(young.clone())].into());
        assert!(ownership.claim(&old, claims(&["a"])).is_empty(), "nothing new");
        assert_eq!(owner(&ownership, &young, "a"), Some("shop/old".to_owned()));
        assert_eq!(owner(&ownership, &young, "b"), None);
        assert_eq!(owner(&ownership, &old, "a"), None);
        assert_eq!(ownership.release(&ObjectKey::new("shop", "old")), [Arc::new(young.clone())].into());
        assert_eq!(owner(&ownership, &young, "a"), None);
    }

    #[test]
    fn a_whole_group_counts_on_its_own_connection_only() {
        let ownership = Ownership::default();
        let (old, young) = (claimant("old", 1), claimant("young", 2));
        for (group, same, other) in [
            (json!({ "id": "pg-1", "credentialsSecretRef": { "name": "s" } }), "c-1", "c-2"),
            (json!({ "name": "tuned", "credentialsSecretRef": { "name": "s" } }), "c-1", "c-2"),
        ] {
            let group: KakaoParameterGroup = serde_json::from_value(group).unwrap();
            let group_claim = |connection: &str| Claims {
                group: Some(ClaimedGroup { connection: connection.to_owned(), group: group.clone() }),
                ..Claims::default()
            };
            ownership.claim(&old, group_claim(other));
            assert_eq!(owner(&ownership, &young, "a"), None, "another project may have a group of the same name");
            ownership.claim(&old, group_claim(same));
            assert_eq!(owner(&ownership, &young, "a"), Some("shop/old".to_owned()));
            let in_another_group = VisibleCluster { group_id: Some("pg-2"), group_name: Some("plain"), ..seen("a") };
            assert_eq!(ownership.others(&young, &in_another_group).owner, None);
        }
    }

    #[test]
    fn a_cluster_that_cannot_be_read_stays_claimed_if_it_was_claimed_before() {
        let ownership = Ownership::default();
        let (old, young) = (claimant("old", 1), claimant("young", 2));
        ownership.claim(&old, claims(&["a"]));
        let blind = Claims { unreadable: ["a".to_owned(), "b".to_owned()].into(), ..Claims::default() };
        ownership.claim(&old, blind);
        assert_eq!(owner(&ownership, &young, "a"), Some("shop/old".to_owned()));
        assert_eq!(owner(&ownership, &young, "b"), None, "it never claimed that one");
    }

    #[test]
    fn statuses_are_taken_over_once() {
        let ownership = Ownership::default();
        let old = sync("old", "2026-11-01T00:00:00Z", &[("a", "2026-11-22T10:00:00Z")]);
        let young = claimant("young", 2);
        ownership.seed(|| vec![StoredClaims::of(&old)]);
        let found = ownership.others(&young, &seen("a"));
        assert_eq!(found.owner, Some("shop/old".to_owned()));
        assert_eq!(found.last_request_at, Some("2026-11-22T10:00:00Z".parse().unwrap()));
        assert_eq!(ownership.others(&Claimant::of(&old), &seen("a")), OtherSyncs::default(), "its own request");
        ownership.release(&ObjectKey::new("shop", "old"));
        ownership.seed(|| vec![StoredClaims::of(&old)]);
        assert_eq!(ownership.others(&young, &seen("a")), OtherSyncs::default());
    }

    #[test]
    fn the_last_request_is_known_to_the_others_while_anybody_claims_the_cluster() {
        let ownership = Ownership::default();
        let (old, young) = (claimant("old", 1), claimant("young", 2));
        ownership.claim(&old, claims(&["a"]));
        ownership.claim(&young, claims(&["a"]));
        let (decided_at, now) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        assert!(!ownership.begin_request(&young, "a", decided_at, now), "an older one has claimed it meanwhile");
        ownership.release(&ObjectKey::new("shop", "old"));
        assert!(ownership.begin_request(&young, "a", decided_at, now));
        ownership.claim(&old, claims(&["a"]));
        assert!(!ownership.begin_request(&old, "a", decided_at, now), "another one was faster");
        assert_eq!(ownership.others(&old, &seen("a")).last_request_at, Some(Timestamp::UNIX_EPOCH));
        assert_eq!(ownership.others(&young, &seen("a")).last_request_at, None);
        ownership.release(&ObjectKey::new("shop", "young"));
        assert_eq!(ownership.others(&old, &seen("a")).last_request_at, Some(Timestamp::UNIX_EPOCH));
        ownership.release(&ObjectKey::new("shop", "old"));
        assert!(
            ownership.lock().last_requests.is_empty()
                && ownership.lock().by_cluster.is_empty()
                && ownership.lock().records.is_empty()
        );
    }

    #[test]
    fn only_a_new_oldest_or_one_that_goes_concerns_the_others() {
        let ownership = Ownership::default();
        let clusters: BTreeSet<String> = (0..200).map(|number| number.to_string()).collect();
        let all = || Claims { clusters: clusters.clone(), ..Claims::default() };
        let oldest = claimant("a", 1);
        ownership.claim(&oldest, all());
        let woken: usize = (2..28).map(|day| ownership.claim(&claimant("b", day), all()).len()).sum();
        let woken_by_others: usize =
            (0..100).map(|number| ownership.claim(&claimant(&format!("n{number}"), 28), all()).len()).sum();
        assert_eq!((woken, woken_by_others), (0, 0), "a younger one changes nothing for the others");
        assert_eq!(ownership.release(&ObjectKey::new("shop", "n7")).len(), 0);
        assert_eq!(ownership.release(&ObjectKey::new("shop", "a")).len(), 100, "each once");
    }

    #[test]
    fn a_group_of_which_the_status_shows_a_part_counts_from_the_start() {
        let ownership = Ownership::default();
        let mut old = sync("old", "2026-11-01T00:00:00Z", &[]);
        old.spec = serde_json::from_value(json!({
            "parameterGroup": { "kakaoCloud": { "id": "pg-1", "credentialsSecretRef": { "name": "s" } } },
        }))
        .unwrap();
        old.status.as_mut().unwrap().total = Some(30);
        ownership.seed(|| vec![StoredClaims::of(&old)]);
        let young = claimant("young", 2);
        assert_eq!(owner(&ownership, &young, "a"), Some("shop/old".to_owned()));
        ownership.claim(&Claimant::of(&old), Claims::default());
        assert_eq!(owner(&ownership, &young, "a"), None, "its own credential does not see it");
        assert!(ownership.lock().by_group.is_empty());
    }
}
