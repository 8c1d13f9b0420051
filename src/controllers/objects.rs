//! The objects of one kind, as last watched.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use kube::Resource;
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher::Event;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::guard::Guarded;
use super::queue::Key;
use crate::packing;

/// A kind that is watched.
pub trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Whether its objects are kept packed, which takes a fifth of the memory and some microseconds to be read. For kinds with
    /// thousands of objects of which few are looked at.
    const PACKED: bool = false;

    /// Whether a person waits for this version of the object to be looked at; else it can be an echo of what the operator wrote.
    fn is_awaited(&self) -> bool {
        true
    }
}

/// The object is there, but this version of the operator cannot read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// One object as it is kept. `managedFields` are never kept: they are half of an object and nobody looks at them.
#[derive(Debug)]
enum Stored<K> {
    Plain(Arc<K>),
    Packed { bytes: Box<[u8]>, labels: BTreeMap<String, String> },
    Unreadable { version: Option<String> },
}

impl<K: Watched> Stored<K> {
    fn new(object: Guarded<K>) -> Self {
        let mut object = match object.0 {
            Err(metadata) => return Self::Unreadable { version: metadata.resource_version },
            Ok(object) => object,
        };
        object.meta_mut().managed_fields = None;
        // What was just read from JSON can be written as JSON; if ever not, it is kept as it is.
        match K::PACKED.then(|| packing::pack(&object).ok()).flatten() {
            None => Self::Plain(Arc::new(object)),
            Some(bytes) => {
                let labels = object.meta().labels.clone().unwrap_or_default();
                Self::Packed { bytes, labels }
            }
        }
    }

    fn get(&self) -> Result<Arc<K>, Unreadable> {
        match self {
            Self::Plain(object) => Ok(Arc::clone(object)),
            Self::Packed { bytes, .. } => packing::unpack(bytes).map(Arc::new).ok_or(Unreadable),
            Self::Unreadable { .. } => Err(Unreadable),
        }
    }

    fn has_labels(&self, matches: impl Fn(&BTreeMap<String, String>) -> bool) -> bool {
        match self {
            Self::Plain(object) => object.meta().labels.as_ref().map_or_else(|| matches(&BTreeMap::new()), &matches),
            Self::Packed { labels, .. } => matches(labels),
            Self::Unreadable { .. } => false,
        }
    }

    /// Whether both are the same version of the object.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(one), Self::Plain(other)) => is_same_object(one.as_ref(), other.as_ref()),
            // The version is a part of it.
            (Self::Packed { bytes: one, .. }, Self::Packed { bytes: other, .. }) => one == other,
            (Self::Unreadable { version: one }, Self::Unreadable { version: other }) => one == other,
            _ => false,
        }
    }
}

/// Versions alone do not tell: after a restore of etcd they are given a second time.
fn is_same_object<K: Watched>(one: &K, other: &K) -> bool {
    let bytes = |object: &K| serde_json::to_vec(object).ok();
    one.meta().resource_version == other.meta().resource_version
        && one.meta().uid == other.meta().uid
        && bytes(one) == bytes(other)
}

type All<K> = BTreeMap<Key, Stored<K>>;

/// The objects of one kind, as last watched, by one watch for each namespace or one for all.
pub struct Objects<K> {
    all: RwLock<All<K>>,
    /// How many watches have still to list their objects for the first time; none before the watches have begun.
    unfilled: watch::Sender<Option<usize>>,
}

impl<K> Default for Objects<K> {
    fn default() -> Self {
        Self { all: RwLock::default(), unfilled: watch::Sender::new(None) }
    }
}

/// What a watch brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// The object is new, or another version of it came.
    Changed {
        /// Which.
        key: Key,
        /// Whether a person waits for it to be looked at.
        is_awaited: bool,
    },
    /// The object is gone.
    Gone(Key),
}

impl<K: Watched> Objects<K> {
    /// So many watches begin.
    pub fn begin(&self, watches: usize) {
        self.unfilled.send_replace(Some(watches));
    }

    /// The object of that name, if it is there.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Result<Arc<K>, Unreadable>> {
        self.read().get(&Key::new(namespace, name)).map(Stored::get)
    }

    /// Whether there is an object of that name.
    pub fn contains(&self, namespace: &str, name: &str) -> bool {
        self.read().contains_key(&Key::new(namespace, name))
    }

    /// All objects that can be read and for which `keep` holds.
    pub fn filter(&self, keep: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        self.read().values().filter_map(|stored| stored.get().ok()).filter(|object| keep(object)).collect()
    }

    /// The objects of a namespace that can be read and have such labels.
    pub fn select(&self, namespace: &str, matches: impl Fn(&BTreeMap<String, String>) -> bool) -> Vec<Arc<K>> {
        let all = self.read();
        let here = all.range(Key::new(namespace, "")..).take_while(|(key, _)| key.namespace() == namespace);
        here.filter(|(_, stored)| stored.has_labels(&matches)).filter_map(|(_, stored)| stored.get().ok()).collect()
    }

    /// Whether no object of a namespace is known.
    pub fn is_empty_in(&self, namespace: &str) -> bool {
        let all = self.read();
        all.range(Key::new(namespace, "")..).next().is_none_or(|(key, _)| key.namespace() != namespace)
    }

    /// Whether every watch has listed its objects once: before, an object that is not found says nothing.
    pub fn is_filled(&self) -> bool {
        *self.unfilled.borrow() == Some(0)
    }

    /// Resolves when every watch has listed its objects once.
    pub async fn ready(&self) {
        // It cannot fail: the sender lives in self.
        let _ = self.unfilled.subscribe().wait_for(|left| *left == Some(0)).await;
    }

    fn read(&self) -> RwLockReadGuard<'_, All<K>> {
        // The map is whole after every single operation, so a poisoned lock still guards a sound value.
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes in the events of one watch.
pub struct Intake<K> {
    /// The namespace it watches; none for all of them.
    namespace: Option<String>,
    /// What the list under way has brought so far: only all of it says what is gone.
    listed: HashMap<Key, (Stored<K>, bool)>,
    is_filled: bool,
}

impl<K: Watched> Intake<K> {
    /// Of a watch that has not begun yet.
    pub fn new(namespace: Option<String>) -> Self {
        Self { namespace, listed: HashMap::new(), is_filled: false }
    }

    /// Takes in an event and says what changed by it. A list changes what it shows in another version, however often it is made.
    pub fn take_in(&mut self, objects: &Objects<K>, event: Event<Guarded<K>>) -> Vec<Change> {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                let (key, is_awaited) = (key(&object), is_awaited(&object));
                self.listed.insert(key, (Stored::new(object), is_awaited));
            }
            Event::InitDone => return self.list_is_complete(objects),
            Event::Apply(object) => {
                let (key, is_awaited) = (key(&object), is_awaited(&object));
                let stored = Stored::new(object);
                objects.all.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), stored);
                return vec![Change::Changed { key, is_awaited }];
            }
            Event::Delete(object) => {
                let key = key(&object);
                objects.all.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
                return vec![Change::Gone(key)];
            }
        }
        Vec::new()
    }

    fn list_is_complete(&mut self, objects: &Objects<K>) -> Vec<Change> {
        let mut all = objects.all.write().unwrap_or_else(PoisonError::into_inner);
        let ours = |key: &Key| self.namespace.as_deref().is_none_or(|namespace| key.namespace() == namespace);
        let gone: Vec<Key> = all.keys().filter(|key| ours(key) && !self.listed.contains_key(*key)).cloned().collect();
        let mut changes = Vec::new();
        for key in gone {
            all.remove(&key);
            changes.push(Change::Gone(key));
        }
        for (key, (stored, is_awaited)) in std::mem::take(&mut self.listed) {
            if all.get(&key).is_some_and(|known| known.is_same(&stored)) {
                continue;
            }
            changes.push(Change::Changed { key: key.clone(), is_awaited });
            all.insert(key, stored);
        }
        drop(all);
        self.is_not_awaited(objects);
        changes
    }

    /// Nobody waits for the first list of this watch any more: it is here, or it is refused.
    pub fn is_not_awaited(&mut self, objects: &Objects<K>) {
        if !std::mem::replace(&mut self.is_filled, true) {
            objects.unfilled.send_modify(|left| *left = left.map(|left| left.saturating_sub(1)));
        }
    }
}

/// What cannot be read is not told from what somebody waits for.
fn is_awaited<K: Watched>(object: &Guarded<K>) -> bool {
    object.0.as_ref().map_or(true, Watched::is_awaited)
}

fn key<K: Watched>(object: &Guarded<K>) -> Key {
    let metadata = object.meta();
    Key::new(metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
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
        intake: &mut Intake<RedisClusterRef>,
        objects: &Objects<RedisClusterRef>,
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
        Change::Changed { key: Key::new("shop", name), is_awaited: true }
    }

    fn gone(name: &str) -> Change {
        Change::Gone(Key::new("shop", name))
    }

    #[test]
    fn a_list_anew_changes_only_what_is_another_version_and_misses_nothing() {
        let (objects, mut intake) = (Objects::default(), Intake::new(None));
        objects.begin(1);
        assert!(!objects.is_filled());
        let first = vec![reference("a", "1"), reference("b", "2"), reference("c", "3")];
        assert_eq!(list(&mut intake, &objects, first.clone()), [changed("a"), changed("b"), changed("c")]);
        assert!(objects.is_filled());
        assert_eq!(list(&mut intake, &objects, first), [], "no storm");
        let meanwhile = vec![reference("a", "1"), reference("b", "7"), reference("d", "8")];
        assert_eq!(list(&mut intake, &objects, meanwhile), [changed("b"), gone("c"), changed("d")]);
        assert!(!objects.contains("shop", "c") && objects.contains("shop", "d"));
        assert_eq!(intake.take_in(&objects, Event::Delete(reference("d", "9"))), [gone("d")]);
        assert!(objects.get("shop", "d").is_none());
    }

    #[test]
    fn a_watch_of_one_namespace_says_nothing_about_another() {
        let (objects, mut here, mut there) =
            (Objects::default(), Intake::new(Some("shop".to_owned())), Intake::new(Some("bank".to_owned())));
        objects.begin(2);
        list(&mut here, &objects, vec![reference("a", "1")]);
        assert!(!objects.is_filled(), "the other has not listed");
        assert_eq!(list(&mut there, &objects, vec![]), []);
        assert!(objects.is_filled() && objects.contains("shop", "a"));
    }

    #[test]
    fn a_watch_that_is_refused_is_not_waited_for() {
        let (objects, mut here, mut there) =
            (Objects::default(), Intake::new(Some("shop".to_owned())), Intake::new(Some("bank".to_owned())));
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
        let (objects, mut intake) = (Objects::default(), Intake::new(None));
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
        let (objects, mut intake) = (Objects::default(), Intake::new(None));
        intake.take_in(&objects, Event::Apply(reference("a", "1")));
        let mut wanted = reference("a", "1").0.unwrap();
        wanted.metadata.managed_fields = None;
        assert_eq!(*objects.get("shop", "a").unwrap().unwrap(), wanted);
        let names = |tier: &str| {
            let found = objects.select("shop", |labels| labels.get("tier").is_some_and(|have| have == tier));
            found.iter().map(|found| found.name_any()).collect::<Vec<_>>()
        };
        assert_eq!((names("a"), names("b")), (vec!["a".to_owned()], vec![]));
        assert_eq!(objects.select("bank", |_| true).len(), 0);
    }

    #[test]
    fn an_object_that_cannot_be_read_is_there_all_the_same() {
        let (objects, mut intake) = (Objects::<RedisParameterSync>::default(), Intake::new(None));
        let broken = json!({ "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisParameterSync",
                             "metadata": { "namespace": "shop", "name": "a" }, "spec": "?" });
        intake.take_in(&objects, Event::Apply(serde_json::from_value(broken).unwrap()));
        assert_eq!(objects.get("shop", "a"), Some(Err(Unreadable)));
        assert!(objects.filter(|_| true).is_empty());
    }
}
