//! Which references each object is about, and what is known of each reference, kept once for all that are about it.
//!
//! Five hundred objects can select the same thousand references. What a selector selects is found once for all objects with the
//! same selector, and again only when a reference comes, goes or gets other labels. What an object needs of a reference is read
//! once for each version of the reference, and the reference's own connection serves all.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::input::LastKnown;
use crate::api::{RedisClusterRef, RedisParameterSync};
use crate::controllers::cluster_ref::target;
use crate::controllers::problem::Problem;
use crate::inventory::{Connection, Observation, Sight, Want};
use crate::runtime::queue::ObjectKey;
use crate::runtime::store::Oldest;

/// What an object is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// The reference of this name.
    Reference(Box<str>),
    /// The references that this selector selects, as JSON.
    Selector(Box<str>),
    /// A parameter group.
    Group,
}

impl Aim {
    /// What a spec says.
    pub fn of(sync: &RedisParameterSync) -> Self {
        let spec = &sync.spec;
        match (&spec.cluster_ref, &spec.cluster_selector) {
            (Some(reference), _) => Self::Reference(reference.name.as_str().into()),
            (None, Some(selector)) => Self::Selector(serde_json::to_string(selector).unwrap_or_default().into()),
            (None, None) => Self::Group,
        }
    }
}

/// What an object needs to know of a reference.
#[derive(Clone, Debug, PartialEq)]
pub enum Member {
    /// It is one of NCP, whose API cannot apply parameter groups.
    Ncp,
    /// It is one of KakaoCloud.
    Kakao {
        /// What it asks its connection for.
        want: Want,
        /// ID of the cluster, as far as it is known.
        id: Option<String>,
        /// Name of the cluster, if it was seen.
        name: Option<String>,
        /// Whether nobody reads it.
        is_suspended: bool,
        /// The parameter group its status shows.
        last_known: Option<LastKnown>,
    },
}

impl Member {
    /// What there is to know of a reference.
    pub fn of(reference: &RedisClusterRef) -> Self {
        let Some(kakao) = &reference.spec.kakao_cloud else { return Self::Ncp };
        let cluster = reference.status.as_ref().and_then(|status| status.cluster.as_ref());
        let group = cluster.and_then(|cluster| cluster.parameter_group.as_ref());
        Self::Kakao {
            want: target::want(reference),
            id: kakao.cluster_id.clone().or_else(|| cluster?.id.clone()),
            name: cluster.and_then(|cluster| cluster.name.clone()),
            is_suspended: reference.spec.suspend,
            last_known: group
                .map(|group| LastKnown { group_id: group.id.clone(), sync_status: group.sync_status.clone() }),
        }
    }
}

/// How a reference is connected, as its own controller left it.
#[derive(Clone, Debug)]
pub enum Link {
    /// To this connection.
    Connected(Arc<Connection>),
    /// Not at all, for this reason.
    Blocked(Arc<Problem>),
}

#[derive(Debug)]
struct Linked {
    link: Link,
    /// Of what was seen, the part that matters here.
    digest: u64,
}

#[derive(Debug, Default)]
struct Selection {
    /// The objects with this selector.
    by: BTreeSet<Box<str>>,
    /// The round of the references in which it was found, and with which bound.
    found_in: Option<u64>,
    oldest: Arc<Oldest>,
}

#[derive(Debug, Default)]
struct Namespace {
    aims: HashMap<Box<str>, Aim>,
    by_reference: HashMap<Box<str>, BTreeSet<Box<str>>>,
    by_selector: HashMap<Box<str>, Selection>,
    members: HashMap<Box<str>, Arc<Member>>,
    links: HashMap<Box<str>, Linked>,
    /// The round of the references that the objects were last told of.
    told_of: u64,
}

/// Which references each object is about.
#[derive(Debug, Default)]
pub struct Membership(Mutex<HashMap<Box<str>, Namespace>>);

impl Membership {
    /// An object is about this now.
    pub fn enter(&self, namespace: &str, name: &str, aim: Aim) {
        let mut all = self.lock();
        let here = all.entry(namespace.into()).or_default();
        if here.aims.get(name) == Some(&aim) {
            return;
        }
        here.leave(name);
        match &aim {
            Aim::Reference(reference) => {
                here.by_reference.entry(reference.clone()).or_default().insert(name.into());
            }
            Aim::Selector(selector) => {
                here.by_selector.entry(selector.clone()).or_default().by.insert(name.into());
            }
            Aim::Group => {}
        }
        here.aims.insert(name.into(), aim);
    }

    /// An object is about nothing any more.
    pub fn leave(&self, namespace: &str, name: &str) {
        let mut all = self.lock();
        let Some(here) = all.get_mut(namespace) else { return };
        here.leave(name);
        if here.is_empty() {
            all.remove(namespace);
        }
    }

    /// What a selector selects in this round of the references, found by `find` unless another object has asked in this round.
    pub fn selected(&self, namespace: &str, selector: &str, round: u64, find: impl FnOnce() -> Oldest) -> Arc<Oldest> {
        {
            let all = self.lock();
            let known = all.get(namespace).and_then(|here| here.by_selector.get(selector));
            if let Some(known) = known.filter(|known| known.found_in == Some(round)) {
                return Arc::clone(&known.oldest);
            }
        }
        let oldest = Arc::new(find());
        let mut all = self.lock();
        if let Some(known) = all.get_mut(namespace).and_then(|here| here.by_selector.get_mut(selector)) {
            (known.found_in, known.oldest) = (Some(round), Arc::clone(&oldest));
        }
        oldest
    }

    /// What is known of a reference, read by `read` unless it is known for its present version.
    pub fn member(&self, key: &ObjectKey, read: impl FnOnce() -> Option<Member>) -> Option<Arc<Member>> {
        let mut all = self.lock();
        let here = all.entry(key.namespace().into()).or_default();
        if let Some(known) = here.members.get(key.name()) {
            return Some(Arc::clone(known));
        }
        // Read under the lock: else an old version could be kept that was read before [`Membership::changed`] was told of a new one.
        let member = Arc::new(read()?);
        here.members.insert(key.name().into(), Arc::clone(&member));
        Some(member)
    }

    /// Notes that another version of a reference came, or that it is gone; gives back the objects for which that may change
    /// something.
    pub fn changed(
        &self,
        namespace: &str,
        name: &str,
        round: u64,
        read: impl FnOnce() -> Option<Member>,
    ) -> Vec<Box<str>> {
        let mut all = self.lock();
        let Some(here) = all.get_mut(namespace) else { return Vec::new() };
        if std::mem::replace(&mut here.told_of, round) != round {
            here.members.remove(name);
            let selections = here.by_selector.values().flat_map(|selection| &selection.by);
            return selections.chain(here.by_reference.get(name).into_iter().flatten()).cloned().collect();
        }
        let Some(before) = here.members.get(name).cloned() else { return here.about(namespace, name) };
        let after = read().map(Arc::new);
        if after.as_ref() == Some(&before) {
            return Vec::new();
        }
        match after {
            Some(after) => drop(here.members.insert(name.into(), after)),
            None => drop(here.members.remove(name)),
        }
        here.about(namespace, name)
    }

    /// Notes how a reference is connected and what its controller saw; gives back the objects for which that is news.
    pub fn link(&self, namespace: &str, name: &str, link: Link, seen: Option<&Observation>) -> Vec<Box<str>> {
        let digest = digest(&link, seen);
        let mut all = self.lock();
        let here = all.entry(namespace.into()).or_default();
        let before = here.links.insert(name.into(), Linked { link, digest });
        if before.is_some_and(|before| before.digest == digest) { Vec::new() } else { here.about(namespace, name) }
    }

    /// How a reference is connected; none before its controller has looked at it.
    pub fn link_of(&self, key: &ObjectKey) -> Option<Link> {
        self.lock().get(key.namespace())?.links.get(key.name()).map(|linked| linked.link.clone())
    }

    /// A reference is not connected any more, or gone.
    pub fn unlink(&self, namespace: &str, name: &str) {
        let mut all = self.lock();
        let Some(here) = all.get_mut(namespace) else { return };
        here.links.remove(name);
        if here.is_empty() {
            all.remove(namespace);
        }
    }

    /// The objects of a namespace that are about a parameter group.
    pub fn of_groups(&self, namespace: &str) -> Vec<Box<str>> {
        let all = self.lock();
        let aims = all.get(namespace).into_iter().flat_map(|here| &here.aims);
        aims.filter(|(_, aim)| **aim == Aim::Group).map(|(name, _)| name.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Namespace>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Namespace {
    fn leave(&mut self, name: &str) {
        match self.aims.remove(name) {
            Some(Aim::Reference(reference)) => {
                if let Some(by) = self.by_reference.get_mut(&reference) {
                    by.remove(name);
                    if by.is_empty() {
                        self.by_reference.remove(&reference);
                    }
                }
            }
            Some(Aim::Selector(selector)) => {
                if let Some(selection) = self.by_selector.get_mut(&selector) {
                    selection.by.remove(name);
                    if selection.by.is_empty() {
                        self.by_selector.remove(&selector);
                    }
                }
            }
            Some(Aim::Group) | None => {}
        }
        if self.by_reference.is_empty() && self.by_selector.is_empty() {
            self.members.clear();
        }
    }

    /// The objects that are about a reference.
    fn about(&self, namespace: &str, name: &str) -> Vec<Box<str>> {
        let key = ObjectKey::new(namespace, name);
        let selections =
            self.by_selector.values().filter(|selection| selection.oldest.keys.binary_search(&key).is_ok());
        let by_name = self.by_reference.get(name).into_iter();
        selections.map(|selection| &selection.by).chain(by_name).flatten().cloned().collect()
    }

    fn is_empty(&self) -> bool {
        self.aims.is_empty() && self.links.is_empty()
    }
}

/// A number that is another when something else is to be said of the parameter group.
fn digest(link: &Link, seen: Option<&Observation>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match link {
        Link::Connected(connection) => connection.label().hash(&mut hasher),
        Link::Blocked(problem) => (problem.reason, &problem.message).hash(&mut hasher),
    }
    let Some(seen) = seen else { return hasher.finish() };
    seen.problem.as_ref().map(|problem| Problem::from(&**problem).message).hash(&mut hasher);
    std::mem::discriminant(&seen.sight).hash(&mut hasher);
    if let Sight::Found(found) = &seen.sight {
        found.state().hash(&mut hasher);
        found.parameters_read_at.is_some().hash(&mut hasher);
        let group = found.parameter_group();
        group.map(|group| (&group.id, &group.name, &group.sync_status)).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(label: &str) -> Aim {
        Aim::Selector(label.into())
    }

    fn selects(names: &[&str]) -> impl FnOnce() -> Oldest {
        let keys: Vec<ObjectKey> = names.iter().map(|name| ObjectKey::new("shop", name)).collect();
        || Oldest { total: keys.len(), keys }
    }

    fn blocked(why: &str) -> Link {
        Link::Blocked(Arc::new(Problem::stalled("CredentialsNotFound", why)))
    }

    fn names(names: &[Box<str>]) -> Vec<&str> {
        names.iter().map(|name| &**name).collect()
    }

    #[test]
    fn what_a_selector_selects_is_found_once_for_all_who_have_it() {
        let (membership, mut found) = (Membership::default(), 0);
        for number in 0..500 {
            membership.enter("shop", &number.to_string(), selector("all"));
        }
        for round in [1, 1, 2] {
            for _ in 0..500 {
                let oldest = membership.selected("shop", "all", round, || {
                    found += 1;
                    selects(&["a", "b"])()
                });
                assert_eq!(oldest.total, 2);
            }
        }
        assert_eq!(found, 2, "once a round");
    }

    #[test]
    fn a_reference_is_read_once_for_each_version_and_is_news_only_to_those_about_it() {
        let membership = Membership::default();
        let (key, mut reads) = (ObjectKey::new("shop", "a"), 0);
        membership.enter("shop", "all", selector("all"));
        membership.enter("shop", "none", selector("none"));
        membership.enter("shop", "one", Aim::Reference("a".into()));
        membership.selected("shop", "all", 0, selects(&["a", "b"]));
        membership.selected("shop", "none", 0, selects(&[]));
        for _ in 0..3 {
            membership.member(&key, || {
                reads += 1;
                Some(Member::Ncp)
            });
        }
        assert_eq!(reads, 1);
        let changed = |member| membership.changed("shop", "a", 0, || member);
        assert!(changed(Some(Member::Ncp)).is_empty(), "a heartbeat");
        let suspended =
            Member::Kakao { want: Want::Id("1".into()), id: None, name: None, is_suspended: true, last_known: None };
        assert_eq!(names(&changed(Some(suspended.clone()))), ["all", "one"]);
        assert_eq!(*membership.member(&key, || None).unwrap(), suspended);
        let mut everybody = membership.changed("shop", "c", 1, || None);
        everybody.sort();
        assert_eq!(names(&everybody), ["all", "none"], "whom it selects is found anew");
        assert!(membership.changed("shop", "c", 1, || None).is_empty());
        assert!(membership.changed("bank", "c", 1, || None).is_empty());
    }

    #[test]
    fn a_connection_is_news_when_something_else_is_to_be_said_of_it() {
        let membership = Membership::default();
        membership.enter("shop", "all", selector("all"));
        membership.selected("shop", "all", 0, selects(&["a"]));
        assert_eq!(names(&membership.link("shop", "a", blocked("no Secret"), None)), ["all"]);
        assert!(membership.link("shop", "a", blocked("no Secret"), None).is_empty());
        assert_eq!(names(&membership.link("shop", "a", blocked("no key"), None)), ["all"]);
        assert!(membership.link("shop", "b", blocked("no Secret"), None).is_empty(), "nobody is about it");
    }

    #[test]
    fn nothing_is_left_of_who_is_gone() {
        let membership = Membership::default();
        for (name, aim) in [("a", selector("all")), ("b", Aim::Reference("r".into())), ("c", Aim::Group)] {
            membership.enter("shop", name, selector("other"));
            membership.enter("shop", name, aim);
        }
        assert_eq!(names(&membership.of_groups("shop")), ["c"]);
        membership.link("shop", "r", blocked("no Secret"), None);
        membership.member(&ObjectKey::new("shop", "r"), || Some(Member::Ncp));
        ["a", "b", "c"].iter().for_each(|name| membership.leave("shop", name));
        assert!(membership.lock()["shop"].members.is_empty());
        membership.unlink("shop", "r");
        assert!(membership.lock().is_empty());
    }
}
