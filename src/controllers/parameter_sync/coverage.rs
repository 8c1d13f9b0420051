//! Which object applies to a cluster that several are about.
//!
//! The oldest one does (by creation, then by namespace and name): the same answer after a restart and in every process. The
//! others show who it is. A cluster counts only for objects whose own credential sees it, so nobody can keep others from
//! applying by naming a cluster that is not theirs.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::input::Elsewhere;
use crate::api::RedisParameterSync;
use crate::api::parameter_sync::SyncPhase;
use crate::api::shared::KakaoParameterGroup;

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

    fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
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

#[derive(Debug, Default)]
struct Book {
    is_seeded: bool,
    of: HashMap<Who, Covered>,
    by_cluster: HashMap<String, BTreeSet<Who>>,
    asked: HashMap<String, (Who, Timestamp)>,
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
    pub fn seed<'a>(&self, stored: impl FnOnce() -> Vec<&'a RedisParameterSync>) {
        let mut book = self.lock();
        if std::mem::replace(&mut book.is_seeded, true) {
            return;
        }
        for sync in stored().into_iter().filter(|sync| !sync.spec.suspend) {
            let who = Who::of(sync);
            let entries = || sync.status.iter().flat_map(|status| &status.clusters);
            for (id, at) in entries().filter_map(|entry| Some((&entry.id, entry.last_attempt_time.as_ref()?.0))) {
                let known = book.asked.get(id).map(|(_, known)| *known);
                if known.is_none_or(|known| known < at) {
                    book.asked.insert(id.clone(), (who.clone(), at));
                }
            }
            let seen = entries().filter(|entry| entry.phase != SyncPhase::NotFound && entry.sync_status.is_some());
            let clusters = seen.map(|entry| entry.id.clone()).collect();
            book.set(&who, Covered { clusters, ..Covered::default() });
        }
    }

    /// An object is about these clusters now; gives back the objects for which that may change something.
    pub fn cover(&self, who: &Who, covered: Covered) -> BTreeSet<Who> {
        let mut book = self.lock();
        let before = book.of.get(who).cloned().unwrap_or_default();
        let mut covered = covered;
        let kept: Vec<String> = covered.uncertain.intersection(&before.clusters).cloned().collect();
        covered.clusters.extend(kept);
        if before == covered {
            return BTreeSet::new();
        }
        book.set(who, covered)
    }

    /// An object is about nothing any more; gives back the objects for which that may change something.
    pub fn forget(&self, namespace: &str, name: &str) -> BTreeSet<Who> {
        let mut book = self.lock();
        let gone: Vec<Who> = book.of.keys().filter(|who| who.is(namespace, name)).cloned().collect();
        gone.iter().flat_map(|who| book.set(who, Covered::default())).collect()
    }

    /// Remembers that an object asks for an application now; false if it must not, because since it decided to, another one has
    /// asked or an older one has come.
    pub fn ask(&self, who: &Who, id: &str, decided_at: Timestamp, now: Timestamp) -> bool {
        let mut book = self.lock();
        let overtaken = book.asked.get(id).is_some_and(|(by, at)| by != who && *at >= decided_at);
        let older = book.by_cluster.get(id).and_then(BTreeSet::first).is_some_and(|first| first < who);
        if overtaken || older {
            return false;
        }
        book.asked.insert(id.to_owned(), (who.clone(), now));
        true
    }

    /// What others have to do with a cluster that an object sees.
    pub fn elsewhere(&self, who: &Who, seen: &Sighting<'_>) -> Elsewhere {
        let book = self.lock();
        let by_id = book.by_cluster.get(seen.id).and_then(BTreeSet::first);
        let by_group = book.of.iter().filter(|(_, covered)| covered.has_group_of(seen)).map(|(who, _)| who).min();
        let first = by_id.into_iter().chain(by_group).min().filter(|first| *first < who);
        let asked = book.asked.get(seen.id).filter(|(by, _)| by != who);
        Elsewhere {
            applied_by: first.map(|first| format!("{}/{}", first.namespace, first.name)),
            asked_at: asked.map(|(_, at)| *at),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Covered {
    fn has_group_of(&self, seen: &Sighting<'_>) -> bool {
        self.group.as_ref().is_some_and(|(connection, group)| {
            connection == seen.connection
                && match (&group.id, &group.name) {
                    (Some(id), _) => seen.group_id == Some(id.as_str()),
                    (None, Some(name)) => seen.group_name == Some(name.as_str()),
                    (None, None) => false,
                }
        })
    }
}

impl Book {
    /// Writes down what an object is about, nothing if that is empty; gives back who else is about what it began or ceased to
    /// be about.
    fn set(&mut self, who: &Who, covered: Covered) -> BTreeSet<Who> {
        let before = self.of.remove(who).unwrap_or_default();
        let mut concerned = BTreeSet::new();
        for id in before.clusters.symmetric_difference(&covered.clusters) {
            let members = self.by_cluster.entry(id.clone()).or_default();
            if !members.remove(who) {
                members.insert(who.clone());
            }
            if members.is_empty() {
                self.by_cluster.remove(id);
                self.asked.remove(id);
            } else {
                concerned.extend(members.iter().filter(|member| *member != who).cloned());
            }
        }
        if covered != Covered::default() {
            self.of.insert(who.clone(), covered);
        }
        concerned
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
        assert_eq!(coverage.cover(&old, about(&["a"])), [young.clone()].into());
        assert!(coverage.cover(&old, about(&["a"])).is_empty(), "nothing new");
        assert_eq!(applied_by(&coverage, &young, "a"), Some("shop/old".to_owned()));
        assert_eq!(applied_by(&coverage, &young, "b"), None);
        assert_eq!(applied_by(&coverage, &old, "a"), None);
        assert_eq!(coverage.forget("shop", "old"), [young.clone()].into());
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
        let mut suspended = sync("older", "2026-10-01T00:00:00Z", &[("a", "2026-11-22T11:00:00Z")]);
        suspended.spec.suspend = true;
        let young = who("young", 2);
        coverage.seed(|| vec![&old, &suspended]);
        let found = coverage.elsewhere(&young, &seen("a"));
        assert_eq!(found.applied_by, Some("shop/old".to_owned()));
        assert_eq!(found.asked_at, Some("2026-11-22T10:00:00Z".parse().unwrap()));
        assert_eq!(coverage.elsewhere(&Who::of(&old), &seen("a")), Elsewhere::default(), "its own request");
        coverage.forget("shop", "old");
        coverage.seed(|| vec![&old]);
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
}
