//! The objects of one kind, as last watched.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use kube::Resource as _;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use super::guard::Guarded;
use super::stored::{StoredObject, UnreadableObject, Watched};
use crate::object_key::ObjectKey;

#[derive(Debug)]
struct Contents<K> {
    objects: BTreeMap<ObjectKey, StoredObject<K>>,
    /// For each namespace, how often its set of labelled objects changed.
    rounds: HashMap<Box<str>, u64>,
}

impl<K: Watched> Contents<K> {
    fn insert(&mut self, key: ObjectKey, stored: StoredObject<K>) {
        let namespace: Box<str> = key.namespace().into();
        let before = self.objects.get(&key).and_then(StoredObject::selectable);
        let is_same = before == stored.selectable();
        self.objects.insert(key, stored);
        if !is_same {
            *self.rounds.entry(namespace).or_default() += 1;
        }
    }

    fn remove(&mut self, key: &ObjectKey) {
        if self.objects.remove(key).is_some() {
            *self.rounds.entry(key.namespace().into()).or_default() += 1;
        }
    }

    fn of_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a ObjectKey, &'a StoredObject<K>)> {
        let from = self.objects.range(ObjectKey::new(namespace, "")..);
        from.take_while(move |(key, _)| key.namespace() == namespace)
    }
}

/// The objects of one kind, as last watched, by one watch for each namespace or one for all.
pub struct Store<K> {
    all: RwLock<Contents<K>>,
    /// How many watches have not listed their objects yet; none before the watches have begun.
    unfilled: watch::Sender<Option<usize>>,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        let all = Contents { objects: BTreeMap::new(), rounds: HashMap::new() };
        Self { all: RwLock::new(all), unfilled: watch::Sender::new(None) }
    }
}

/// The oldest objects that a selector selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oldest {
    /// Their keys, in order.
    pub keys: Vec<ObjectKey>,
    /// How many are selected in all.
    pub total: usize,
}

/// What a watch brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The object is new, or another version of it came.
    Changed {
        /// Which.
        key: ObjectKey,
        /// Whether a person waits for it to be looked at.
        is_awaited: bool,
    },
    /// The object is gone.
    Gone(ObjectKey),
}

impl<K: Watched> Store<K> {
    /// This many watches begin.
    pub fn begin(&self, watches: usize) {
        self.unfilled.send_replace(Some(watches));
    }

    /// The object of that name, if it is there.
    pub fn get(&self, key: &ObjectKey) -> Option<Result<Arc<K>, UnreadableObject>> {
        self.read().objects.get(key).map(StoredObject::get)
    }

    /// Whether there is an object of that name.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        self.read().objects.contains_key(key)
    }

    /// All readable objects for which `keep` holds.
    pub fn filter(&self, keep: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        self.read().objects.values().filter_map(|stored| stored.get().ok()).filter(|object| keep(object)).collect()
    }

    /// The readable objects of a namespace for which `keep` holds.
    pub fn filter_in(&self, namespace: &str, keep: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let all = self.read();
        all.of_namespace(namespace).filter_map(|(_, stored)| stored.get().ok()).filter(|object| keep(object)).collect()
    }

    /// What `take` takes from each readable object. Only one of them is unpacked at a time.
    pub fn collect<T>(&self, take: impl Fn(&K) -> Option<T>) -> Vec<T> {
        self.read().objects.values().filter_map(|stored| take(&*stored.get().ok()?)).collect()
    }

    /// The oldest `most` objects of a namespace whose labels match; of objects of one age the first by name. Newer objects never
    /// push out older ones.
    pub fn oldest(&self, namespace: &str, most: usize, matches: impl Fn(&BTreeMap<String, String>) -> bool) -> Oldest {
        let all = self.read();
        let selected = all.of_namespace(namespace).filter_map(|(key, stored)| {
            let selectable = stored.selectable()?;
            selectable.is_selected(&matches).then_some((selectable.created, key))
        });
        let mut selected: Vec<(Timestamp, &ObjectKey)> = selected.collect();
        let total = selected.len();
        if total > most {
            selected.select_nth_unstable(most);
            selected.truncate(most);
        }
        let mut keys: Vec<ObjectKey> = selected.into_iter().map(|(_, key)| key.clone()).collect();
        keys.sort_unstable();
        Oldest { keys, total }
    }

    /// A number that changes whenever an object of the namespace is created, deleted or gets other labels.
    pub fn round(&self, namespace: &str) -> u64 {
        self.read().rounds.get(namespace).copied().unwrap_or_default()
    }

    /// Whether no object of a namespace is known.
    pub fn is_empty_in(&self, namespace: &str) -> bool {
        self.read().of_namespace(namespace).next().is_none()
    }

    /// Whether every watch has listed its objects once. Before that, an object that is not in the store may still exist.
    pub fn is_filled(&self) -> bool {
        *self.unfilled.borrow() == Some(0)
    }

    /// Resolves when every watch has listed its objects once.
    pub async fn ready(&self) {
        // It cannot fail: the sender lives in self.
        let _ = self.unfilled.subscribe().wait_for(|left| *left == Some(0)).await;
    }

    fn read(&self) -> RwLockReadGuard<'_, Contents<K>> {
        // The map is consistent after every single operation, so a poisoned lock still guards a sound value.
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Contents<K>> {
        self.all.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Applies the events of one watch to the store.
pub(crate) struct WatchCache<K> {
    /// The namespace it watches; none for all of them.
    namespace: Option<String>,
    /// What the list under way has brought so far. Only the complete list says which objects are gone.
    listed: HashMap<ObjectKey, (StoredObject<K>, bool)>,
    is_filled: bool,
}

impl<K: Watched> WatchCache<K> {
    /// For a watch that has not begun yet.
    pub(crate) fn new(namespace: Option<String>) -> Self {
        Self { namespace, listed: HashMap::new(), is_filled: false }
    }

    /// Applies an event and returns what it changed. A relist reports only objects whose resourceVersion changed.
    pub(crate) fn take_in(&mut self, objects: &Store<K>, event: Event<Guarded<K>>) -> Vec<Change> {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                let (key, is_awaited) = (key(&object), is_awaited(&object));
                self.listed.insert(key, (StoredObject::new(object), is_awaited));
            }
            Event::InitDone => return self.list_is_complete(objects),
            Event::Apply(object) => {
                let (key, is_awaited) = (key(&object), is_awaited(&object));
                let stored = StoredObject::new(object);
                objects.write().insert(key.clone(), stored);
                return vec![Change::Changed { key, is_awaited }];
            }
            Event::Delete(object) => {
                let key = key(&object);
                objects.write().remove(&key);
                return vec![Change::Gone(key)];
            }
        }
        Vec::new()
    }

    fn list_is_complete(&mut self, objects: &Store<K>) -> Vec<Change> {
        let mut all = objects.write();
        let ours = |key: &ObjectKey| self.namespace.as_deref().is_none_or(|namespace| key.namespace() == namespace);
        let gone: Vec<ObjectKey> =
            all.objects.keys().filter(|key| ours(key) && !self.listed.contains_key(*key)).cloned().collect();
        let mut changes = Vec::new();
        for key in gone {
            all.remove(&key);
            changes.push(Change::Gone(key));
        }
        for (key, (stored, is_awaited)) in std::mem::take(&mut self.listed) {
            if all.objects.get(&key).is_some_and(|known| known.is_same(&stored)) {
                continue;
            }
            changes.push(Change::Changed { key: key.clone(), is_awaited });
            all.insert(key, stored);
        }
        drop(all);
        self.is_not_awaited(objects);
        changes
    }

    /// The first list of this watch is complete, or refused: the store does not wait for it any more.
    pub(crate) fn is_not_awaited(&mut self, objects: &Store<K>) {
        if !std::mem::replace(&mut self.is_filled, true) {
            objects.unfilled.send_modify(|left| *left = left.map(|left| left.saturating_sub(1)));
        }
    }
}

/// An unreadable object counts as awaited: we cannot tell.
fn is_awaited<K: Watched>(object: &Guarded<K>) -> bool {
    object.0.as_ref().map_or(true, Watched::is_awaited)
}

fn key<K: Watched>(object: &Guarded<K>) -> ObjectKey {
    ObjectKey::of(object.meta())
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt as _;
    use serde_json::json;

    use super::*;
    use crate::api::{RedisClusterRef, RedisParameterSync};

    fn reference(name: &str, version: &str) -> Guarded<RedisClusterRef> {
        serde_json::from_value(json!({
            "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisClusterRef",
            "metadata": { "namespace": "shop", "name": name, "resourceVersion": version, "labels": { "tier": name },
                          "managedFields": [{ "manager": "someone" }] },
            "spec": { "ncp": { "cloudDBInstanceNo": "1", "credentialsSecretRef": { "name": "ncp" } } },
        }))
        .unwrap()
    }

    fn list(
        intake: &mut WatchCache<RedisClusterRef>,
        objects: &Store<RedisClusterRef>,
        listed: Vec<Guarded<RedisClusterRef>>,
    ) -> Vec<Change> {
        intake.take_in(objects, Event::Init);
        for object in listed {
            assert_eq!(intake.take_in(objects, Event::InitApply(object)), [], "until the list is complete");
        }
        let mut changes = intake.take_in(objects, Event::InitDone);
        changes.sort_by_key(|change| match change {
            Change::Changed { key, .. } | Change::Gone(key) => key.clone(),
        });
        changes
    }

    fn changed(name: &str) -> Change {
        // None of them has a status yet.
        Change::Changed { key: ObjectKey::new("shop", name), is_awaited: true }
    }

    fn gone(name: &str) -> Change {
        Change::Gone(ObjectKey::new("shop", name))
    }

    #[test]
    fn a_list_anew_changes_only_what_is_another_version_and_misses_nothing() {
        let (objects, mut intake) = (Store::default(), WatchCache::new(None));
        objects.begin(1);
        assert!(!objects.is_filled());
        let first = vec![reference("a", "1"), reference("b", "2"), reference("c", "3")];
        assert_eq!(list(&mut intake, &objects, first.clone()), [changed("a"), changed("b"), changed("c")]);
        assert!(objects.is_filled());
        assert_eq!(list(&mut intake, &objects, first), [], "no storm");
        let meanwhile = vec![reference("a", "1"), reference("b", "7"), reference("d", "8")];
        assert_eq!(list(&mut intake, &objects, meanwhile), [changed("b"), gone("c"), changed("d")]);
        assert!(!objects.contains(&ObjectKey::new("shop", "c")) && objects.contains(&ObjectKey::new("shop", "d")));
        assert_eq!(intake.take_in(&objects, Event::Delete(reference("d", "9"))), [gone("d")]);
        assert!(objects.get(&ObjectKey::new("shop", "d")).is_none());
    }

    #[test]
    fn a_watch_of_one_namespace_says_nothing_about_another() {
        let (objects, mut here, mut there) =
            (Store::default(), WatchCache::new(Some("shop".to_owned())), WatchCache::new(Some("bank".to_owned())));
        objects.begin(2);
        list(&mut here, &objects, vec![reference("a", "1")]);
        assert!(!objects.is_filled(), "the other has not listed");
        assert_eq!(list(&mut there, &objects, vec![]), []);
        assert!(objects.is_filled() && objects.contains(&ObjectKey::new("shop", "a")));
    }

    #[test]
    fn a_watch_that_is_refused_is_not_waited_for() {
        let (objects, mut here, mut there) =
            (Store::default(), WatchCache::new(Some("shop".to_owned())), WatchCache::new(Some("bank".to_owned())));
        objects.begin(2);
        list(&mut here, &objects, vec![reference("a", "1")]);
        there.is_not_awaited(&objects);
        assert!(objects.is_filled());
        assert_eq!(list(&mut there, &objects, vec![]), [], "it may be listed later");
        assert!(objects.is_filled() && !objects.is_empty_in("shop") && objects.is_empty_in("bank"));
    }

    /// After a restore of etcd, a version is given a second time.
    #[test]
    fn another_object_with_the_same_version_is_a_change() {
        let sync = |cluster: &str, uid: &str| -> Guarded<RedisParameterSync> {
            serde_json::from_value(json!({
                "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisParameterSync",
                "metadata": { "namespace": "shop", "name": "a", "resourceVersion": "7", "uid": uid },
                "spec": { "clusterRef": { "name": cluster } },
            }))
            .unwrap()
        };
        let (objects, mut intake) = (Store::default(), WatchCache::new(None));
        let mut changes = |object| {
            intake.take_in(&objects, Event::Init);
            intake.take_in(&objects, Event::InitApply(object));
            intake.take_in(&objects, Event::InitDone).len()
        };
        let seen = [sync("b", "1"), sync("b", "1"), sync("c", "1"), sync("c", "2")].map(&mut changes);
        assert_eq!(seen, [1, 0, 1, 1]);
    }

    #[test]
    fn a_packed_object_comes_out_as_it_went_in_but_for_its_managed_fields() {
        let (objects, mut intake) = (Store::default(), WatchCache::new(None));
        intake.take_in(&objects, Event::Apply(reference("a", "1")));
        let mut wanted = reference("a", "1").0.unwrap();
        wanted.metadata.managed_fields = None;
        assert_eq!(*objects.get(&ObjectKey::new("shop", "a")).unwrap().unwrap(), wanted);
        let names = |tier: &str| {
            let has = |labels: &BTreeMap<String, String>| labels.get("tier").is_some_and(|have| have == tier);
            objects.oldest("shop", 9, has).keys.iter().map(|key| key.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((names("a"), names("b")), (vec!["a".to_owned()], vec![]));
        assert_eq!(objects.oldest("bank", 9, |_| true), Oldest::default());
        assert_eq!(objects.filter_in("shop", |found| found.name_any() == "a").len(), 1);
        assert!(objects.filter_in("bank", |_| true).is_empty());
    }

    fn aged(name: &str, hour: u8, labels: serde_json::Value) -> Guarded<RedisClusterRef> {
        let mut object = reference(name, "1").0.unwrap();
        object.metadata.creation_timestamp =
            serde_json::from_value(json!(format!("2026-11-22T{hour:02}:00:00Z"))).unwrap();
        object.metadata.labels = serde_json::from_value(labels).unwrap();
        Guarded(Ok(object))
    }

    #[test]
    fn the_oldest_are_selected_and_who_comes_later_pushes_none_of_them_out() {
        let (objects, mut intake) = (Store::default(), WatchCache::new(None));
        let mut take_in = |object| intake.take_in(&objects, Event::Apply(object));
        for (name, hour) in [("b", 1), ("d", 3), ("c", 2), ("e", 3)] {
            take_in(aged(name, hour, json!({ "tier": "x" })));
        }
        let names = || {
            let found = objects.oldest("shop", 3, |labels| labels.contains_key("tier"));
            (found.keys.iter().map(|key| key.name().to_owned()).collect::<Vec<_>>().join(" "), found.total)
        };
        assert_eq!(names(), ("b c d".to_owned(), 4), "of one age, the first by name");
        take_in(aged("a", 9, json!({ "tier": "x" })));
        assert_eq!(names(), ("b c d".to_owned(), 5));
        take_in(aged("b", 1, json!({})));
        assert_eq!(names(), ("c d e".to_owned(), 4));
    }

    #[test]
    fn a_round_is_news_of_who_is_there_and_of_labels_alone() {
        let (objects, mut intake) = (Store::default(), WatchCache::new(None));
        let mut round = |event| {
            let before = objects.round("shop");
            intake.take_in(&objects, event);
            objects.round("shop") != before
        };
        assert!(round(Event::Apply(reference("a", "1"))));
        assert!(!round(Event::Apply(reference("a", "2"))), "another version");
        assert!(round(Event::Apply(aged("a", 1, json!({ "tier": "b" })))));
        assert!(round(Event::Delete(reference("a", "3"))));
        assert_eq!(objects.round("bank"), 0);
    }

    #[test]
    fn labels_without_bound_are_not_kept_and_select_nothing() {
        let (objects, mut intake) = (Store::default(), WatchCache::new(None));
        let labels: BTreeMap<String, String> =
            (0..2000).map(|number| (format!("l-{number}"), "x".repeat(60))).collect();
        let mut object = aged("a", 1, json!(labels)).0.unwrap();
        object.metadata.finalizers = Some(vec!["example.com/f".repeat(1000)]);
        intake.take_in(&objects, Event::Apply(Guarded(Ok(object))));
        assert_eq!(objects.oldest("shop", 9, |_| true).total, 0);
        let kept = objects.get(&ObjectKey::new("shop", "a")).unwrap().unwrap();
        assert_eq!((&kept.metadata.labels, &kept.metadata.finalizers), (&None, &None));
    }

    #[test]
    fn an_object_that_cannot_be_read_is_there_all_the_same() {
        let (objects, mut intake) = (Store::<RedisParameterSync>::default(), WatchCache::new(None));
        let broken = json!({ "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisParameterSync",
                             "metadata": { "namespace": "shop", "name": "a" }, "spec": "?" });
        intake.take_in(&objects, Event::Apply(serde_json::from_value(broken).unwrap()));
        assert_eq!(objects.get(&ObjectKey::new("shop", "a")), Some(Err(UnreadableObject)));
        assert!(objects.filter(|_| true).is_empty());
    }
}
