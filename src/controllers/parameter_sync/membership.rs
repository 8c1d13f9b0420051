//! Which references each object selects, and what is known of each reference, kept once for all objects that select it.
//!
//! Five hundred objects can select the same thousand references. What a selector matches is found once for all objects with the
//! same selector, and again only when a reference comes, goes or gets other labels. What an object needs of a reference is read
//! once for each version of the reference, and the reference's own connection serves all.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::reference::{ReferenceSummary, fingerprint};
use crate::api::RedisParameterSync;
use crate::controllers::cluster_ref::follower::ReferenceConnection;
use crate::inventory::Observation;
use crate::object_key::ObjectKey;
use crate::runtime::store::Oldest;

/// Which clusters the spec of an object means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SyncScope {
    /// That of the reference of this name.
    Reference(Box<str>),
    /// Those of the references that this selector matches; the selector as JSON.
    Selector(Box<str>),
    /// Those of a parameter group.
    Group,
}

impl SyncScope {
    /// The scope that a spec gives.
    pub(super) fn of(sync: &RedisParameterSync) -> Self {
        let spec = &sync.spec;
        match (&spec.cluster_ref, &spec.cluster_selector) {
            (Some(reference), _) => Self::Reference(reference.name.as_str().into()),
            (None, Some(selector)) => Self::Selector(serde_json::to_string(selector).unwrap_or_default().into()),
            (None, None) => Self::Group,
        }
    }
}

/// How a reference is connected, and what was last observed of it.
#[derive(Debug)]
struct ConnectionRecord {
    connection: ReferenceConnection,
    /// Of [`fingerprint`].
    fingerprint: u64,
}

/// The objects with one selector, and what it matches.
#[derive(Debug, Default)]
struct SelectorMatches {
    syncs: BTreeSet<ObjectKey>,
    /// The round of the store in which the matches were found.
    found_in_round: Option<u64>,
    oldest: Arc<Oldest>,
}

#[derive(Debug, Default)]
struct NamespaceMembers {
    scopes: HashMap<ObjectKey, SyncScope>,
    by_reference: HashMap<Box<str>, BTreeSet<ObjectKey>>,
    by_selector: HashMap<Box<str>, SelectorMatches>,
    /// By the reference's name.
    summaries: HashMap<Box<str>, Arc<ReferenceSummary>>,
    /// By the reference's name.
    connections: HashMap<Box<str>, ConnectionRecord>,
    /// The round of the store of which the objects were last notified.
    notified_round: u64,
}

/// Which references each object selects.
#[derive(Debug, Default)]
pub(super) struct Membership(Mutex<HashMap<Box<str>, NamespaceMembers>>);

impl Membership {
    /// The object has this scope now.
    pub(super) fn set_scope(&self, sync: &ObjectKey, scope: SyncScope) {
        let mut all = self.lock();
        let members = all.entry(sync.namespace().into()).or_default();
        if members.scopes.get(sync) == Some(&scope) {
            return;
        }
        members.remove(sync);
        match &scope {
            SyncScope::Reference(reference) => {
                members.by_reference.entry(reference.clone()).or_default().insert(sync.clone());
            }
            SyncScope::Selector(selector) => {
                members.by_selector.entry(selector.clone()).or_default().syncs.insert(sync.clone());
            }
            SyncScope::Group => {}
        }
        members.scopes.insert(sync.clone(), scope);
    }

    /// The object selects nothing any more.
    pub(super) fn remove(&self, sync: &ObjectKey) {
        let mut all = self.lock();
        let Some(members) = all.get_mut(sync.namespace()) else { return };
        members.remove(sync);
        if members.is_empty() {
            all.remove(sync.namespace());
        }
    }

    /// What a selector matches in this round of the store, found by `find` unless another object has asked in this round.
    pub(super) fn selected(
        &self,
        namespace: &str,
        selector: &str,
        round: u64,
        find: impl FnOnce() -> Oldest,
    ) -> Arc<Oldest> {
        {
            let all = self.lock();
            let known = all.get(namespace).and_then(|members| members.by_selector.get(selector));
            if let Some(known) = known.filter(|known| known.found_in_round == Some(round)) {
                return Arc::clone(&known.oldest);
            }
        }
        let oldest = Arc::new(find());
        let mut all = self.lock();
        if let Some(known) = all.get_mut(namespace).and_then(|members| members.by_selector.get_mut(selector)) {
            (known.found_in_round, known.oldest) = (Some(round), Arc::clone(&oldest));
        }
        oldest
    }

    /// The summary of a reference, made by `read` unless that of its present version is known.
    pub(super) fn summary(
        &self,
        reference: &ObjectKey,
        read: impl FnOnce() -> Option<ReferenceSummary>,
    ) -> Option<Arc<ReferenceSummary>> {
        let mut all = self.lock();
        let members = all.entry(reference.namespace().into()).or_default();
        if let Some(known) = members.summaries.get(reference.name()) {
            return Some(Arc::clone(known));
        }
        // Read under the lock. Otherwise a version could be kept that was read before `reference_changed` was called for the next.
        let summary = Arc::new(read()?);
        members.summaries.insert(reference.name().into(), Arc::clone(&summary));
        Some(summary)
    }

    /// Another version of a reference came, or the reference is gone. Returns the objects for which that may change something.
    pub(super) fn reference_changed(
        &self,
        reference: &ObjectKey,
        round: u64,
        read: impl FnOnce() -> Option<ReferenceSummary>,
    ) -> Vec<ObjectKey> {
        let mut all = self.lock();
        let Some(members) = all.get_mut(reference.namespace()) else { return Vec::new() };
        if std::mem::replace(&mut members.notified_round, round) != round {
            members.summaries.remove(reference.name());
            let by_selector = members.by_selector.values().flat_map(|matches| &matches.syncs);
            let by_name = members.by_reference.get(reference.name()).into_iter().flatten();
            return by_selector.chain(by_name).cloned().collect();
        }
        let Some(before) = members.summaries.get(reference.name()).cloned() else { return members.syncs_of(reference) };
        let after = read().map(Arc::new);
        if after.as_ref() == Some(&before) {
            return Vec::new();
        }
        match after {
            Some(after) => drop(members.summaries.insert(reference.name().into(), after)),
            None => drop(members.summaries.remove(reference.name())),
        }
        members.syncs_of(reference)
    }

    /// Notes how a reference is connected and what its controller observed. Returns the objects for which that is news.
    pub(super) fn set_connection(
        &self,
        reference: &ObjectKey,
        connection: ReferenceConnection,
        observation: Option<&Observation>,
    ) -> Vec<ObjectKey> {
        let fingerprint = fingerprint(&connection, observation);
        let mut all = self.lock();
        let members = all.entry(reference.namespace().into()).or_default();
        let record = ConnectionRecord { connection, fingerprint };
        let before = members.connections.insert(reference.name().into(), record);
        let is_news = before.is_none_or(|before| before.fingerprint != fingerprint);
        if is_news { members.syncs_of(reference) } else { Vec::new() }
    }

    /// How a reference is connected. None before its own controller has observed it.
    pub(super) fn connection_of(&self, reference: &ObjectKey) -> Option<ReferenceConnection> {
        let all = self.lock();
        let record = all.get(reference.namespace())?.connections.get(reference.name())?;
        Some(record.connection.clone())
    }

    /// A reference is not connected any more, or is gone.
    pub(super) fn clear_connection(&self, reference: &ObjectKey) {
        let mut all = self.lock();
        let Some(members) = all.get_mut(reference.namespace()) else { return };
        members.connections.remove(reference.name());
        if members.is_empty() {
            all.remove(reference.namespace());
        }
    }

    /// The objects of a namespace whose spec names a parameter group.
    pub(super) fn with_parameter_group(&self, namespace: &str) -> Vec<ObjectKey> {
        let all = self.lock();
        let scopes = all.get(namespace).into_iter().flat_map(|members| &members.scopes);
        scopes.filter(|(_, scope)| **scope == SyncScope::Group).map(|(sync, _)| sync.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, NamespaceMembers>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NamespaceMembers {
    fn remove(&mut self, sync: &ObjectKey) {
        match self.scopes.remove(sync) {
            Some(SyncScope::Reference(reference)) => {
                if let Some(syncs) = self.by_reference.get_mut(&reference) {
                    syncs.remove(sync);
                    if syncs.is_empty() {
                        self.by_reference.remove(&reference);
                    }
                }
            }
            Some(SyncScope::Selector(selector)) => {
                if let Some(matches) = self.by_selector.get_mut(&selector) {
                    matches.syncs.remove(sync);
                    if matches.syncs.is_empty() {
                        self.by_selector.remove(&selector);
                    }
                }
            }
            Some(SyncScope::Group) | None => {}
        }
        if self.by_reference.is_empty() && self.by_selector.is_empty() {
            self.summaries.clear();
        }
    }

    /// The objects that select a reference.
    fn syncs_of(&self, reference: &ObjectKey) -> Vec<ObjectKey> {
        let selectors =
            self.by_selector.values().filter(|matches| matches.oldest.keys.binary_search(reference).is_ok());
        let by_name = self.by_reference.get(reference.name()).into_iter();
        selectors.map(|matches| &matches.syncs).chain(by_name).flatten().cloned().collect()
    }

    fn is_empty(&self) -> bool {
        self.scopes.is_empty() && self.connections.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Provider, Reason};
    use crate::controllers::problem::Problem;
    use crate::inventory::Query;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("shop", name)
    }

    fn selector(label: &str) -> SyncScope {
        SyncScope::Selector(label.into())
    }

    fn selects(names: &[&str]) -> impl FnOnce() -> Oldest {
        let keys: Vec<ObjectKey> = names.iter().map(|name| key(name)).collect();
        || Oldest { total: keys.len(), keys }
    }

    fn blocked(why: &str) -> ReferenceConnection {
        ReferenceConnection::Blocked(Arc::new(Problem::new(Reason::CredentialsNotFound, why)))
    }

    fn names(keys: &[ObjectKey]) -> Vec<&str> {
        keys.iter().map(ObjectKey::name).collect()
    }

    #[test]
    fn what_a_selector_matches_is_found_once_for_all_objects_that_have_it() {
        let (membership, mut found) = (Membership::default(), 0);
        for number in 0..500 {
            membership.set_scope(&key(&number.to_string()), selector("all"));
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
    fn a_reference_is_read_once_for_each_version_and_is_news_only_to_objects_that_select_it() {
        let (membership, mut reads) = (Membership::default(), 0);
        membership.set_scope(&key("all"), selector("all"));
        membership.set_scope(&key("none"), selector("none"));
        membership.set_scope(&key("one"), SyncScope::Reference("a".into()));
        membership.selected("shop", "all", 0, selects(&["a", "b"]));
        membership.selected("shop", "none", 0, selects(&[]));
        for _ in 0..3 {
            membership.summary(&key("a"), || {
                reads += 1;
                Some(ReferenceSummary::NotSupported(Provider::Ncp))
            });
        }
        assert_eq!(reads, 1);
        let changed = |summary| membership.reference_changed(&key("a"), 0, || summary);
        assert!(changed(Some(ReferenceSummary::NotSupported(Provider::Ncp))).is_empty(), "a heartbeat");
        let suspended = ReferenceSummary::Kakao {
            query: Query::Id("1".into()),
            id: None,
            name: None,
            is_suspended: true,
            shown_group: None,
        };
        assert_eq!(names(&changed(Some(suspended.clone()))), ["all", "one"]);
        assert_eq!(*membership.summary(&key("a"), || None).unwrap(), suspended);
        let mut all = membership.reference_changed(&key("c"), 1, || None);
        all.sort();
        assert_eq!(names(&all), ["all", "none"], "what their selectors match is found anew");
        assert!(membership.reference_changed(&key("c"), 1, || None).is_empty());
        assert!(membership.reference_changed(&ObjectKey::new("bank", "c"), 1, || None).is_empty());
    }

    #[test]
    fn a_connection_is_news_when_something_else_is_to_be_said_of_it() {
        let membership = Membership::default();
        membership.set_scope(&key("all"), selector("all"));
        membership.selected("shop", "all", 0, selects(&["a"]));
        assert_eq!(names(&membership.set_connection(&key("a"), blocked("no Secret"), None)), ["all"]);
        assert!(membership.set_connection(&key("a"), blocked("no Secret"), None).is_empty());
        assert_eq!(names(&membership.set_connection(&key("a"), blocked("no key"), None)), ["all"]);
        assert!(membership.set_connection(&key("b"), blocked("no Secret"), None).is_empty(), "no object selects it");
    }

    #[test]
    fn nothing_is_left_of_objects_that_are_gone() {
        let membership = Membership::default();
        for (name, scope) in [("a", selector("all")), ("b", SyncScope::Reference("r".into())), ("c", SyncScope::Group)]
        {
            membership.set_scope(&key(name), selector("other"));
            membership.set_scope(&key(name), scope);
        }
        assert_eq!(names(&membership.with_parameter_group("shop")), ["c"]);
        membership.set_connection(&key("r"), blocked("no Secret"), None);
        membership.summary(&key("r"), || Some(ReferenceSummary::NotSupported(Provider::Ncp)));
        ["a", "b", "c"].iter().for_each(|name| membership.remove(&key(name)));
        assert!(membership.lock()["shop"].summaries.is_empty());
        membership.clear_connection(&key("r"));
        assert!(membership.lock().is_empty());
    }
}
