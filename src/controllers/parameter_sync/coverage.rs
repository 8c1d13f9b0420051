//! Which object applies to a cluster that several are about.
//!
//! The oldest one does (by creation, then by namespace and name): the same answer after a restart and in every process. The
//! others show who it is. A cluster counts only for objects whose own credential sees it, so nobody can keep others from
//! applying by naming a cluster that is not theirs.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::input::Elsewhere;
use crate::api::RedisParameterSync;
use crate::api::parameter_sync::SyncPhase;
use crate::api::shared::KakaoParameterGroup;
use crate::runtime::queue::ObjectKey;

/// An object, ordered by age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Who {
    created: Timestamp,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Who {
    /// The object as it stands in the API server.
    pub fn of(sync: &RedisParameterSync) -> Self {
        Self {
            created: sync.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0),
            namespace: sync.metadata.namespace.clone().unwrap_or_default(),
            name: sync.metadata.name.clone().unwrap_or_default(),
        }
    }

    fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.namespace, &self.name)
    }
}

/// What one object is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// IDs of clusters that its credential has seen, or is about to look for.
    pub clusters: BTreeSet<String>,
    /// IDs of clusters that could not be looked at just now: those of them that were seen before still count.
    pub uncertain: BTreeSet<String>,
    /// A whole parameter group, on the connection of this label.
    pub group: Option<(String, KakaoParameterGroup)>,
}

/// What is taken over of one object after a restart.
#[derive(Debug)]
pub struct Stored {
    /// The object.
    pub who: Who,
    /// IDs of the clusters that it was about.
    pub clusters: BTreeSet<String>,
    /// A parameter group of which it had more clusters than its status shows. Its connection is not known yet: until its first
    /// pass the group counts on every one.
    pub group: Option<KakaoParameterGroup>,
    /// When it last asked for which cluster.
    pub asked: Vec<(String, Timestamp)>,
}

impl Stored {
    /// What the object's status says.
    pub fn of(sync: &RedisParameterSync) -> Self {
        let entries = || sync.status.iter().flat_map(|status| &status.clusters);
        let asked = entries().filter_map(|entry| Some((entry.id.clone(), entry.last_attempt_time.as_ref()?.0)));
        let seen = entries().filter(|entry| entry.phase != SyncPhase::NotFound && entry.sync_status.is_some());
        Self {
            who: Who::of(sync),
            clusters: seen.map(|entry| entry.id.clone()).collect(),
            group: sync
                .spec
                .parameter_group
                .as_ref()
                .filter(|_| has_unshown(sync))
                .map(|group| group.kakao_cloud.clone()),
            asked: asked.collect(),
        }
    }
}

/// Whether an object is about clusters that its status only counts.
pub fn has_unshown(sync: &RedisParameterSync) -> bool {
    let status = sync.status.as_ref();
    status.is_some_and(|status| {
        usize::try_from(status.total.unwrap_or(0)).is_ok_and(|total| total > status.clusters.len())
    })
}

/// A cluster as an object sees it.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// ID of the cluster.
    pub id: &'a str,
    /// Label of the connection.
    pub connection: &'a str,
    /// ID of its parameter group.
    pub group_id: Option<&'a str>,
    /// Name of its parameter group.
    pub group_name: Option<&'a str>,
}

/// The label under which a group counts on every connection.
const ANY: &str = "";

/// Store about one cluster or one parameter group, the oldest first.
type Members = BTreeSet<Arc<Who>>;

#[derive(Debug)]
struct Entry {
    who: Arc<Who>,
    /// In order. There can be as many entries as objects times clusters, so each cluster's ID is kept once.
    clusters: Box<[Arc<str>]>,
    group: Option<(String, KakaoParameterGroup)>,
}

#[derive(Debug, Default)]
struct Book {
    is_seeded: bool,
    of: HashMap<ObjectKey, Entry>,
    by_cluster: HashMap<Arc<str>, Members>,
    /// By the connection's label, then by what the group is known by.
    by_group: HashMap<String, HashMap<GroupKey, Members>>,
    asked: HashMap<Arc<str>, (Arc<Who>, Timestamp)>,
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

/// Who is about which cluster.
#[derive(Debug, Default)]
pub struct Coverage(Mutex<Book>);

impl Coverage {
    /// Whether [`Coverage::seed`] was called.
    pub fn is_seeded(&self) -> bool {
        self.lock().is_seeded
    }

    /// Takes over what the statuses say, once, so that a restart neither changes who applies nor forgets when.
    pub fn seed(&self, stored: impl FnOnce() -> Vec<Stored>) {
        let mut book = self.lock();
        if std::mem::replace(&mut book.is_seeded, true) {
            return;
        }
        for Stored { who, clusters, group, asked } in stored() {
            let who = book.enter(&who, &clusters, group.map(|group| (ANY.to_owned(), group))).0;
            for (id, at) in asked {
                let id = book.id(&id);
                if book.asked.get(&id).is_none_or(|(_, known)| *known < at) {
                    book.asked.insert(id, (Arc::clone(&who), at));
                }
            }
        }
    }

    /// An object is about these clusters now; gives back the objects for which that may change something.
    pub fn cover(&self, who: &Who, covered: Covered) -> BTreeSet<Arc<Who>> {
        let mut book = self.lock();
        let Covered { mut clusters, uncertain, group } = covered;
        let before = book.of.get(&who.key()).map_or(&[][..], |entry| &*entry.clusters);
        let was_seen = |id: &String| before.binary_search_by(|have| (**have).cmp(id.as_str())).is_ok();
        clusters.extend(uncertain.into_iter().filter(was_seen));
        book.enter(who, &clusters, group).1
    }

    /// An object is about nothing any more; gives back the objects for which that may change something.
    pub fn forget(&self, namespace: &str, name: &str) -> BTreeSet<Arc<Who>> {
        self.lock().leave(&ObjectKey::new(namespace, name))
    }

    /// Remembers that an object asks for an application now; false if it must not, because since it decided to, another one has
    /// asked or an older one has come.
    pub fn ask(&self, who: &Who, id: &str, decided_at: Timestamp, now: Timestamp) -> bool {
        let mut book = self.lock();
        let overtaken = book.asked.get(id).is_some_and(|(by, at)| **by != *who && *at >= decided_at);
        let older = book.by_cluster.get(id).and_then(BTreeSet::first).is_some_and(|first| **first < *who);
        if overtaken || older {
            return false;
        }
        let id = book.id(id);
        book.asked.insert(id, (Arc::new(who.clone()), now));
        true
    }

    /// What others have to do with a cluster that an object sees.
    pub fn elsewhere(&self, who: &Who, seen: &Sighting<'_>) -> Elsewhere {
        let book = self.lock();
        let by_id = book.by_cluster.get(seen.id).and_then(BTreeSet::first);
        let first = by_id.into_iter().chain(book.first_of_group(seen)).min().filter(|first| ***first < *who);
        let asked = book.asked.get(seen.id).filter(|(by, _)| **by != *who);
        Elsewhere {
            applied_by: first.map(|first| format!("{}/{}", first.namespace, first.name)),
            asked_at: asked.map(|(_, at)| *at),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// The ID as it is kept.
    fn id(&self, id: &str) -> Arc<str> {
        self.by_cluster.get_key_value(id).map_or_else(|| id.into(), |(id, _)| Arc::clone(id))
    }

    /// The oldest object about the whole group of a cluster.
    fn first_of_group(&self, seen: &Sighting<'_>) -> Option<&Arc<Who>> {
        if self.by_group.is_empty() {
            return None;
        }
        let id = seen.group_id.map(|id| GroupKey::Id(id.to_owned()));
        let name = seen.group_name.map(|name| GroupKey::Name(name.to_owned()));
        let keys = || id.iter().chain(&name);
        let here = [seen.connection, ANY].into_iter().filter_map(|label| self.by_group.get(label));
        here.flat_map(|groups| keys().filter_map(|key| groups.get(key)?.first())).min()
    }

    /// Writes down what an object is about, nothing if that is empty; gives back who else may have to look again.
    fn enter(
        &mut self,
        who: &Who,
        clusters: &BTreeSet<String>,
        group: Option<(String, KakaoParameterGroup)>,
    ) -> (Arc<Who>, BTreeSet<Arc<Who>>) {
        let key = who.key();
        let mut concerned = BTreeSet::new();
        if self.of.get(&key).is_some_and(|entry| *entry.who != *who) {
            // An object that was created anew.
            concerned.extend(self.leave(&key));
        }
        let (who, before, group_before) = match self.of.remove(&key) {
            Some(Entry { who, clusters, group }) => (who, clusters, group),
            None => (Arc::new(who.clone()), Box::default(), None),
        };
        if group_before != group {
            self.set_group(&who, group_before.as_ref(), false);
            self.set_group(&who, group.as_ref(), true);
        }
        for id in before.iter().filter(|id| !clusters.contains(&***id)) {
            self.remove(&who, id, &mut concerned);
        }
        for id in clusters.iter().filter(|id| before.binary_search_by(|have| (**have).cmp(id.as_str())).is_err()) {
            self.add(&who, id, &mut concerned);
        }
        let clusters: Box<[Arc<str>]> = clusters.iter().map(|id| self.id(id)).collect();
        if !clusters.is_empty() || group.is_some() {
            self.of.insert(key, Entry { who: Arc::clone(&who), clusters, group });
        }
        (who, concerned)
    }

    fn leave(&mut self, key: &ObjectKey) -> BTreeSet<Arc<Who>> {
        let Some(Entry { who, clusters, group }) = self.of.remove(key) else { return BTreeSet::new() };
        self.set_group(&who, group.as_ref(), false);
        let mut concerned = BTreeSet::new();
        clusters.iter().for_each(|id| self.remove(&who, id, &mut concerned));
        concerned
    }

    /// Only who comes before all others changes anything for them.
    fn add(&mut self, who: &Arc<Who>, id: &str, concerned: &mut BTreeSet<Arc<Who>>) {
        let members = self.by_cluster.entry(self.id(id)).or_default();
        if members.first().is_some_and(|first| who < first) {
            concerned.extend(members.iter().cloned());
        }
        members.insert(Arc::clone(who));
    }

    fn remove(&mut self, who: &Arc<Who>, id: &str, concerned: &mut BTreeSet<Arc<Who>>) {
        let Some(members) = self.by_cluster.get_mut(id) else { return };
        let was_first = members.first() == Some(who);
        members.remove(who);
        if was_first {
            concerned.extend(members.iter().cloned());
        }
        if members.is_empty() {
            self.by_cluster.remove(id);
            self.asked.remove(id);
        }
    }

    fn set_group(&mut self, who: &Arc<Who>, group: Option<&(String, KakaoParameterGroup)>, is_member: bool) {
        let Some((label, group)) = group else { return };
        let Some(key) = GroupKey::of(group) else { return };
        let groups = self.by_group.entry(label.clone()).or_default();
        let members = groups.entry(key.clone()).or_default();
        if is_member {
            members.insert(Arc::clone(who));
            return;
        }
        members.remove(who);
        if members.is_empty() {
            groups.remove(&key);
        }
        if groups.is_empty() {
            self.by_group.remove(label);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn who(name: &str, day: u8) -> Who {
        Who::of(&sync(name, &format!("2026-11-{day:02}T00:00:00Z"), &[]))
    }

    fn about(clusters: &[&str]) -> Covered {
        Covered { clusters: clusters.iter().map(|id| (*id).to_owned()).collect(), ..Covered::default() }
    }

    fn seen(id: &str) -> Sighting<'_> {
        Sighting { id, connection: "c-1", group_id: Some("pg-1"), group_name: Some("tuned") }
    }

    fn applied_by(coverage: &Coverage, who: &Who, id: &str) -> Option<String> {
        coverage.elsewhere(who, &seen(id)).applied_by
    }

    #[test]
    fn the_oldest_applies_and_the_next_one_is_told_when_it_goes() {
        let coverage = Coverage::default();
        let (old, young) = (who("old", 1), who("young", 2));
        assert!(coverage.cover(&young, about(&["a", "b"])).is_empty());
        assert_eq!(applied_by(&coverage, &young, "a"), None, "nobody else is about it");
        assert_eq!(coverage.cover(&old, about(&["a"])), [Arc::new(young.clone())].into());
        assert!(coverage.cover(&old, about(&["a"])).is_empty(), "nothing new");
        assert_eq!(applied_by(&coverage, &young, "a"), Some("shop/old".to_owned()));
        assert_eq!(applied_by(&coverage, &young, "b"), None);
        assert_eq!(applied_by(&coverage, &old, "a"), None);
        assert_eq!(coverage.forget("shop", "old"), [Arc::new(young.clone())].into());
        assert_eq!(applied_by(&coverage, &young, "a"), None);
    }

    #[test]
    fn a_whole_group_counts_on_its_own_connection_only() {
        let coverage = Coverage::default();
        let (old, young) = (who("old", 1), who("young", 2));
        for (group, same, other) in [
            (json!({ "id": "pg-1", "credentialsSecretRef": { "name": "s" } }), "c-1", "c-2"),
            (json!({ "name": "tuned", "credentialsSecretRef": { "name": "s" } }), "c-1", "c-2"),
        ] {
            let group: KakaoParameterGroup = serde_json::from_value(group).unwrap();
            let cover = |connection: &str| Covered {
                group: Some((connection.to_owned(), group.clone())),
                ..Covered::default()
            };
            coverage.cover(&old, cover(other));
            assert_eq!(applied_by(&coverage, &young, "a"), None, "another project may have a group of the same name");
            coverage.cover(&old, cover(same));
            assert_eq!(applied_by(&coverage, &young, "a"), Some("shop/old".to_owned()));
            let elsewhere = Sighting { group_id: Some("pg-2"), group_name: Some("plain"), ..seen("a") };
            assert_eq!(coverage.elsewhere(&young, &elsewhere).applied_by, None);
        }
    }

    #[test]
    fn what_cannot_be_looked_at_now_still_counts_if_it_was_seen_before() {
        let coverage = Coverage::default();
        let (old, young) = (who("old", 1), who("young", 2));
        coverage.cover(&old, about(&["a"]));
        let blind = Covered { uncertain: ["a".to_owned(), "b".to_owned()].into(), ..Covered::default() };
        coverage.cover(&old, blind);
        assert_eq!(applied_by(&coverage, &young, "a"), Some("shop/old".to_owned()));
        assert_eq!(applied_by(&coverage, &young, "b"), None, "it never saw that one");
    }

    #[test]
    fn statuses_are_taken_over_once() {
        let coverage = Coverage::default();
        let old = sync("old", "2026-11-01T00:00:00Z", &[("a", "2026-11-22T10:00:00Z")]);
        let young = who("young", 2);
        coverage.seed(|| vec![Stored::of(&old)]);
        let found = coverage.elsewhere(&young, &seen("a"));
        assert_eq!(found.applied_by, Some("shop/old".to_owned()));
        assert_eq!(found.asked_at, Some("2026-11-22T10:00:00Z".parse().unwrap()));
        assert_eq!(coverage.elsewhere(&Who::of(&old), &seen("a")), Elsewhere::default(), "its own request");
        coverage.forget("shop", "old");
        coverage.seed(|| vec![Stored::of(&old)]);
        assert_eq!(coverage.elsewhere(&young, &seen("a")), Elsewhere::default());
    }

    #[test]
    fn who_asked_last_is_known_to_the_others_as_long_as_anybody_is_about_it() {
        let coverage = Coverage::default();
        let (old, young) = (who("old", 1), who("young", 2));
        coverage.cover(&old, about(&["a"]));
        coverage.cover(&young, about(&["a"]));
        let (decided_at, now) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        assert!(!coverage.ask(&young, "a", decided_at, now), "an older one has come meanwhile");
        coverage.forget("shop", "old");
        assert!(coverage.ask(&young, "a", decided_at, now));
        coverage.cover(&old, about(&["a"]));
        assert!(!coverage.ask(&old, "a", decided_at, now), "another one was faster");
        assert_eq!(coverage.elsewhere(&old, &seen("a")).asked_at, Some(Timestamp::UNIX_EPOCH));
        assert_eq!(coverage.elsewhere(&young, &seen("a")).asked_at, None);
        coverage.forget("shop", "young");
        assert_eq!(coverage.elsewhere(&old, &seen("a")).asked_at, Some(Timestamp::UNIX_EPOCH));
        coverage.forget("shop", "old");
        assert!(
            coverage.lock().asked.is_empty() && coverage.lock().by_cluster.is_empty() && coverage.lock().of.is_empty()
        );
    }

    #[test]
    fn only_who_comes_before_all_others_or_leaves_that_place_wakes_them() {
        let coverage = Coverage::default();
        let clusters: BTreeSet<String> = (0..200).map(|number| number.to_string()).collect();
        let all = || Covered { clusters: clusters.clone(), ..Covered::default() };
        let oldest = who("a", 1);
        coverage.cover(&oldest, all());
        let woken: usize = (2..28).map(|day| coverage.cover(&who("b", day), all()).len()).sum();
        let woken_by_others: usize =
            (0..100).map(|number| coverage.cover(&who(&format!("n{number}"), 28), all()).len()).sum();
        assert_eq!((woken, woken_by_others), (0, 0), "a younger one changes nothing for the others");
        assert_eq!(coverage.forget("shop", "n7").len(), 0);
        assert_eq!(coverage.forget("shop", "a").len(), 100, "each once");
    }

    #[test]
    fn a_group_of_which_the_status_shows_a_part_counts_from_the_start() {
        let coverage = Coverage::default();
        let mut old = sync("old", "2026-11-01T00:00:00Z", &[]);
        old.spec = serde_json::from_value(json!({
            "parameterGroup": { "kakaoCloud": { "id": "pg-1", "credentialsSecretRef": { "name": "s" } } },
        }))
        .unwrap();
        old.status.as_mut().unwrap().total = Some(30);
        coverage.seed(|| vec![Stored::of(&old)]);
        let young = who("young", 2);
        assert_eq!(applied_by(&coverage, &young, "a"), Some("shop/old".to_owned()));
        coverage.cover(&Who::of(&old), Covered::default());
        assert_eq!(applied_by(&coverage, &young, "a"), None, "its own credential does not see it");
        assert!(coverage.lock().by_group.is_empty());
    }
}
