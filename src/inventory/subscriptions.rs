//! The subscriptions of one connection: what each subscriber asks for and what it was last told. Values only: the time is an
//! argument.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::observation::{Observation, Observed, ObservedInstance, Query};
use super::read_queue::DueRead;
use super::round::Round;
use super::snapshot::Snapshot;
use super::subscriber::{Notification, Subscriber, Subscription, Urgency};
use crate::api::cluster_ref::ParameterGroupStatus;
use crate::digest;

/// A parameter group as a cluster has it.
pub(super) type Group = Option<Arc<ParameterGroupStatus>>;

/// What one subscriber asks for with one query, and what it was last told.
#[derive(Clone, Debug)]
pub(super) struct SubscriptionState {
    /// The longest time between two reads.
    interval: Duration,
    /// The annotation value of the last refresh that was requested.
    refresh_token: Option<Box<str>>,
    /// The round that this refresh waits for.
    refresh_round: Option<Round>,
    /// The first round whose list may say that something is absent: an older one may lack what was just created.
    trusted_from: Option<Round>,
    /// What the subscriber was last told, without the members of a group.
    told: Option<Observation>,
    /// A digest of those members: there can be as many as subscribers times clusters.
    members: u64,
    begun: Instant,
}

impl SubscriptionState {
    fn new(interval: Duration, trusted_from: Option<Round>, begun: Instant) -> Self {
        Self { interval, refresh_token: None, refresh_round: None, trusted_from, told: None, members: 0, begun }
    }

    /// Takes over what a subscription asks for now. Returns whether it requests a refresh that was not requested before.
    pub(super) fn update(&mut self, subscription: &Subscription<'_>, next_round: Round) -> bool {
        self.interval = subscription.interval;
        let requested = subscription.refresh_requested;
        let is_new = requested.is_some() && self.refresh_token.as_deref() != requested;
        if is_new {
            self.refresh_token = requested.map(Into::into);
            self.refresh_round = Some(next_round);
        }
        is_new
    }

    /// What the snapshot says about the query, noted as what the subscriber was told.
    pub(super) fn observe(&mut self, snapshot: &Snapshot, query: &Query) -> Observation {
        let observation = snapshot.observe(query, self.refresh_round, self.trusted_from);
        self.note(observation.clone());
        observation
    }

    /// The single reads that are due for the query.
    pub(super) fn reads_due(&self, snapshot: &Snapshot, query: &Query, now: Timestamp) -> Vec<DueRead> {
        snapshot.reads_due(query, self.interval, self.refresh_round, now)
    }

    /// Notes what is known now. Returns how soon the subscriber is to be reconciled, if anything changed.
    fn tell(&mut self, snapshot: &Snapshot, query: &Query) -> Option<Urgency> {
        let urgency = if self.awaits_refresh() { Urgency::RefreshRequested } else { Urgency::Routine };
        self.note(snapshot.observe(query, self.refresh_round, self.trusted_from)).then_some(urgency)
    }

    /// Notes what the subscriber is told. Returns whether that is news.
    fn note(&mut self, mut observation: Observation) -> bool {
        let members = match &mut observation.observed {
            Observed::Members(members) => digest::number(MembersDigest(&std::mem::take(members))),
            _ => 0,
        };
        let is_news = self.members != members || self.told.as_ref() != Some(&observation);
        (self.told, self.members) = (Some(observation), members);
        is_news
    }

    /// Whether a refresh was requested that has not been made.
    fn awaits_refresh(&self) -> bool {
        self.told.as_ref().is_some_and(|told| !told.refresh_done)
    }

    /// Whether the instance that it was told about is on its way to another state.
    fn sees_transition(&self) -> bool {
        matches!(&self.told, Some(Observation { observed: Observed::Found(found), .. }) if found.is_transitional())
    }
}

/// The members of a group, as far as a change of them is news. A change that keeps the digest by chance is seen with the next poll of
/// the subscriber.
struct MembersDigest<'a>(&'a [ObservedInstance]);

impl Hash for MembersDigest<'_> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for member in self.0 {
            Arc::as_ptr(&member.instance).hash(hasher);
            (member.state(), member.parameters_read_at.is_some()).hash(hasher);
            member.parameter_group().map(|group| (&group.id, &group.name, &group.sync_status)).hash(hasher);
        }
        self.0.len().hash(hasher);
    }
}

/// The subscriptions of one connection.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// The queries of each subscriber, in order; nearly always one.
    by_subscriber: HashMap<Subscriber, Vec<(Query, SubscriptionState)>>,
    /// The subscribers that are notified after a single read of each cluster: to look through all subscribers after every read would
    /// cost more than the read. A subscriber for which the cluster was not due is notified after the next list.
    awaiting_read: HashMap<Arc<str>, Vec<Subscriber>>,
    /// The subscribers that follow a parameter group: every read can be news for them.
    following_groups: HashSet<Subscriber>,
}

/// What follows from a list for the time until the next one.
#[derive(Debug)]
pub(super) struct AfterList {
    /// The subscribers for which something changed.
    pub(super) notifications: Vec<Notification>,
    /// The single reads that are due until the next list.
    pub(super) due: Vec<DueRead>,
    /// The shortest interval of a subscription, if there is one.
    pub(super) shortest: Option<Duration>,
    /// Whether a subscriber's instance is on its way to another state.
    pub(super) in_transition: bool,
}

impl Subscriptions {
    /// The state of a subscription, and whether it is new. `trusted_from` is called only for a new one. A subscriber that asked for
    /// the same with less knowledge of its target keeps its state.
    pub(super) fn enter(
        &mut self,
        subscription: &Subscription<'_>,
        trusted_from: impl FnOnce() -> Option<Round>,
        now: Instant,
    ) -> (&mut SubscriptionState, bool) {
        let Subscription { subscriber, query, interval, .. } = *subscription;
        let queries = self.by_subscriber.entry(self.shared(subscriber)).or_insert_with(|| Vec::with_capacity(1));
        let (index, is_new) = match queries.binary_search_by(|(have, _)| have.cmp(query)) {
            Ok(index) => (index, false),
            Err(index) => {
                let same = queries.iter().find(|(have, _)| have.is_for_the_same_as(query));
                let known = same.map(|(_, state)| state.clone());
                let is_new = known.is_none();
                let state = known.unwrap_or_else(|| SubscriptionState::new(interval, trusted_from(), now));
                queries.insert(index, (query.clone(), state));
                (index, is_new)
            }
        };
        (&mut queries[index].1, is_new)
    }

    /// The query of a subscriber that asks for the same as this one, with the first round that may say that it is absent.
    pub(super) fn find(&self, subscriber: &Subscriber, query: &Query) -> Option<(&Query, Option<Round>)> {
        let queries = self.by_subscriber.get(subscriber)?;
        let (query, state) = queries.iter().find(|(have, _)| have.is_for_the_same_as(query))?;
        Some((query, state.trusted_from))
    }

    /// How long ago a subscriber began to ask for exactly this; none if it does not.
    pub(super) fn age(&self, subscriber: &Subscriber, query: &Query, now: Instant) -> Option<Duration> {
        let (_, state) = self.by_subscriber.get(subscriber)?.iter().find(|(have, _)| have == query)?;
        Some(now.saturating_duration_since(state.begun))
    }

    /// Drops the subscriptions of a subscriber except those for `queries`. Returns whether any subscriber is left.
    pub(super) fn retain(&mut self, subscriber: &Subscriber, queries: &HashSet<&Query>) -> bool {
        if queries.is_empty() {
            self.by_subscriber.remove(subscriber);
        } else if let Some(have) = self.by_subscriber.get_mut(subscriber) {
            have.retain(|(query, _)| queries.contains(query));
        }
        !self.by_subscriber.is_empty()
    }

    /// All subscribers.
    pub(super) fn subscribers(&self) -> impl Iterator<Item = &Subscriber> {
        self.by_subscriber.keys()
    }

    /// Remembers that a subscriber is to be notified after these single reads.
    pub(super) fn await_reads(&mut self, subscriber: &Subscriber, query: &Query, due: &[DueRead]) {
        if !self.by_subscriber.contains_key(subscriber) {
            return;
        }
        let subscriber = self.shared(subscriber);
        if matches!(query, Query::Group { .. }) {
            self.following_groups.insert(subscriber);
            return;
        }
        for due in due {
            let waiting = self.awaiting_read.entry(Arc::clone(&due.id)).or_default();
            if !waiting.contains(&subscriber) {
                waiting.push(subscriber.clone());
            }
        }
    }

    /// After a list: which subscribers are to be notified, and which single reads are due until `horizon`.
    pub(super) fn after_list(&mut self, snapshot: &Snapshot, horizon: Timestamp) -> AfterList {
        let mut after = AfterList { notifications: Vec::new(), due: Vec::new(), shortest: None, in_transition: false };
        let mut waiting = Vec::new();
        // All subscriptions of groups wait for the same reads.
        let mut group_reads = HashSet::new();
        for (subscriber, queries) in &mut self.by_subscriber {
            for (query, state) in queries {
                let is_group = matches!(query, Query::Group { .. });
                after.notifications.extend(state.tell(snapshot, query).map(|urgency| (subscriber.clone(), urgency)));
                after.shortest = Some(after.shortest.map_or(state.interval, |shortest| shortest.min(state.interval)));
                after.in_transition |= state.sees_transition();
                let reads = if is_group && !group_reads.insert((state.interval, state.refresh_round)) {
                    Vec::new()
                } else {
                    state.reads_due(snapshot, query, horizon)
                };
                if is_group {
                    waiting.push((subscriber.clone(), query.clone(), Vec::new()));
                } else if !reads.is_empty() {
                    waiting.push((subscriber.clone(), query.clone(), reads.clone()));
                }
                after.due.extend(reads);
            }
        }
        self.awaiting_read.clear();
        self.following_groups.clear();
        waiting.iter().for_each(|(subscriber, query, reads)| self.await_reads(subscriber, query, reads));
        after
    }

    /// After a single read: which subscribers are to be notified, and which single reads are due for them now. `groups` are the
    /// parameter groups of the cluster before and after the read, if they differ.
    pub(super) fn after_read(
        &mut self,
        snapshot: &Snapshot,
        id: &str,
        groups: Option<&[Group; 2]>,
        now: Timestamp,
    ) -> (Vec<Notification>, Vec<DueRead>) {
        let (mut notifications, mut due) = (Vec::new(), Vec::new());
        let waiting = self.awaiting_read.get(id).into_iter().flatten();
        for subscriber in waiting.chain(&self.following_groups) {
            for (query, state) in self.by_subscriber.get_mut(subscriber).into_iter().flatten() {
                let is_concerned = match query {
                    Query::Group { .. } => {
                        state.awaits_refresh() || groups.into_iter().flatten().any(|group| query.is_group(group))
                    }
                    _ => snapshot.concerns(query, id),
                };
                if is_concerned {
                    notifications.extend(state.tell(snapshot, query).map(|urgency| (subscriber.clone(), urgency)));
                    due.extend(state.reads_due(snapshot, query, now));
                }
            }
        }
        (notifications, due)
    }

    /// The IDs that queries name, whether they are listed or not.
    pub(super) fn named_ids(&self) -> HashSet<&str> {
        self.by_subscriber.values().flatten().filter_map(|(query, _)| named_id(query)).collect()
    }

    /// The subscriber with the key that its subscriptions share already: reconciles make a new one each time.
    fn shared(&self, subscriber: &Subscriber) -> Subscriber {
        self.by_subscriber.get_key_value(subscriber).map_or(subscriber, |(subscriber, _)| subscriber).clone()
    }
}

fn named_id(query: &Query) -> Option<&str> {
    match query {
        Query::Id(id) | Query::Name { last_id: Some(id), .. } => Some(id),
        Query::Name { last_id: None, .. } | Query::Group { .. } => None,
    }
}

#[cfg(test)]
#[path = "subscriptions_tests.rs"]
mod tests;
