//! From the spec to the clusters it means, each with what the inventory knows of it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::claims::{Claimant, ClaimedGroup, Claims};
use super::context::SyncContext;
use super::input::{ClusterObservation, GroupObservation, ObservedCluster, OtherSyncs, Unresolved};
use super::membership::SyncScope;
use super::messages;
use super::notify::{release, remind, summary_of};
use super::ownership::VisibleCluster;
use super::reference::ReferenceSummary;
use super::seed::{seed, selected_references};
use crate::api::cluster_ref::ParameterGroupStatus;
use crate::api::parameter_sync::{ClusterSync, SyncPhase};
use crate::api::shared::KakaoParameterGroup;
use crate::api::{Reason, RedisParameterSync, reconcile_requested_at};
use crate::controllers::cluster_ref::follower::ReferenceConnection;
use crate::controllers::problem::Problem;
use crate::controllers::subscription::{self, Account};
use crate::inventory::{
    Connection, Identity, Location, Observation, Observed, ObservedInstance, Query, Subscriber, SubscriberKind,
    Subscription,
};
use crate::object_key::ObjectKey;

/// How long a cluster whose next attempt is due is read at the faster pace.
const DUE: Duration = Duration::from_secs(60);
/// How often a connection is read while an application is under way.
const APPLYING_POLL: Duration = Duration::from_secs(5);

/// The clusters of one object.
pub(super) struct ObservedClusters {
    /// The clusters, or why it is not known which they are.
    pub clusters: Result<Vec<ObservedCluster>, Unresolved>,
    /// How many clusters the spec means beside them, because there are more than one object keeps in sync.
    pub left_out: usize,
    /// The connection of each cluster, by its ID.
    pub connections: HashMap<String, Arc<Connection>>,
    /// When the other objects of the clusters were looked up.
    pub others_known_at: Timestamp,
    /// Whether the fresh reads that the requested-at annotation asks for have been made.
    pub refresh_done: bool,
}

impl ObservedClusters {
    fn none(clusters: Result<Vec<ObservedCluster>, Unresolved>, refresh_done: bool) -> Self {
        let connections = HashMap::new();
        Self { clusters, left_out: 0, connections, others_known_at: Timestamp::now(), refresh_done }
    }
}

/// The object as a subscriber of the inventory.
pub(super) fn subscriber(key: &ObjectKey) -> Subscriber {
    Subscriber { kind: SubscriberKind::ParameterSync, key: key.clone() }
}

/// Finds the clusters of an object, subscribes to them where that is needed, and claims them.
pub(super) async fn observe(ctx: &SyncContext, sync: &RedisParameterSync, key: &ObjectKey) -> ObservedClusters {
    seed(ctx).await;
    let subscriber = subscriber(key);
    if sync.spec.suspend {
        ctx.inventory.forget(&subscriber);
        release(ctx, key);
        return ObservedClusters::none(Ok(Vec::new()), true);
    }
    ctx.membership.set_scope(key, SyncScope::of(sync));
    if !ctx.ownership.is_seeded() {
        // This does not count as the fresh read that a person requested.
        return ObservedClusters::none(Err(Unresolved::Pending), false);
    }
    let mut observer = Observer::new(ctx, sync, &subscriber);
    let clusters = match &sync.spec.parameter_group {
        Some(group) => observer.group(&group.kakao_cloud).await,
        None => observer.references().await,
    };
    let subscriptions: Vec<(&Arc<Connection>, Query)> =
        observer.subscriptions.iter().map(|(connection, query)| (connection, query.clone())).collect();
    ctx.inventory.retain(&subscriber, &subscriptions);
    let claimant = Claimant::of(sync);
    let others_known_at = Timestamp::now();
    remind(ctx, ctx.ownership.claim(&claimant, observer.claims(&clusters)));
    let mut clusters = match clusters {
        Ok(clusters) => clusters,
        Err(unresolved) => return ObservedClusters::none(Err(unresolved), observer.refresh_done),
    };
    observer.note_others(&claimant, &mut clusters);
    let Observer { left_out, connections, refresh_done, .. } = observer;
    ObservedClusters { clusters: Ok(clusters), left_out, connections, others_known_at, refresh_done }
}

struct Observer<'a> {
    ctx: &'a SyncContext,
    sync: &'a RedisParameterSync,
    subscriber: &'a Subscriber,
    /// The annotation's value, while the fresh read that it requests has not been made.
    refresh_requested: Option<String>,
    /// IDs of clusters that are read more often, because an application is under way or the next one is due.
    awaited: HashSet<&'a str>,
    subscriptions: Vec<(Arc<Connection>, Query)>,
    left_out: usize,
    connections: HashMap<String, Arc<Connection>>,
    refresh_done: bool,
}

impl<'a> Observer<'a> {
    fn new(ctx: &'a SyncContext, sync: &'a RedisParameterSync, subscriber: &'a Subscriber) -> Self {
        let handled = sync.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
        Self {
            ctx,
            sync,
            subscriber,
            refresh_requested: reconcile_requested_at(sync).filter(|requested| Some(requested) != handled),
            awaited: awaited(sync, Timestamp::now()),
            subscriptions: Vec::new(),
            left_out: 0,
            connections: HashMap::new(),
            refresh_done: true,
        }
    }

    /// The clusters of a parameter group, in the order of their IDs, so that the same ones are left out every time.
    async fn group(&mut self, group: &KakaoParameterGroup) -> Result<Vec<ObservedCluster>, Unresolved> {
        let query = Query::Group { id: group.id.clone(), name: group.name.clone() };
        let at_rest = self.ctx.settings.poll_interval;
        let subscription = Subscription {
            subscriber: self.subscriber,
            query: &query,
            interval: if self.awaited.is_empty() { at_rest } else { at_rest.min(APPLYING_POLL) },
            refresh_requested: self.refresh_requested.as_deref(),
            can_wait: false,
        };
        let account = Account {
            location: Location::KakaoCloud { region: &group.region },
            namespace: self.subscriber.key.namespace(),
            secret: &group.credentials_secret_ref.name,
        };
        let (connection, observation) =
            subscription::observe_account(self.ctx, &account, &subscription).await.map_err(Unresolved::Unreadable)?;
        self.subscriptions.push((Arc::clone(&connection), query));
        self.refresh_done &= observation.refresh_done;
        if let Some(error) = &observation.problem {
            return Err(Unresolved::Unreadable(Problem::from(&**error)));
        }
        let Observed::Members(members) = observation.observed else { return Err(Unresolved::Pending) };
        if members.is_empty() {
            let named = group.id.as_ref().or(group.name.as_ref()).map_or("?", String::as_str);
            let message = messages::no_cluster_in_group(named, &group.region);
            return Err(Unresolved::NoClusters(Problem::new(Reason::NoClusters, message)));
        }
        let max_clusters = self.ctx.settings.max_clusters_per_sync.into();
        self.left_out = members.len().saturating_sub(max_clusters);
        Ok(members.iter().take(max_clusters).map(|found| self.member_of_group(&connection, found)).collect())
    }

    async fn references(&mut self) -> Result<Vec<ObservedCluster>, Unresolved> {
        let references = self.selected()?;
        let mut clusters = Vec::with_capacity(references.len());
        for reference in &references {
            clusters.extend(self.reference(reference).await);
        }
        Ok(clusters)
    }

    /// The references that the spec names or selects, no more than one object keeps in sync.
    fn selected(&mut self) -> Result<Vec<ObjectKey>, Unresolved> {
        let no_clusters = |reason, message| Unresolved::NoClusters(Problem::new(reason, message));
        let namespace = self.subscriber.key.namespace();
        if let Some(reference) = &self.sync.spec.cluster_ref {
            return match self.ctx.cluster_refs.get(&ObjectKey::new(namespace, &reference.name)) {
                Some(Ok(_)) => Ok(vec![ObjectKey::new(namespace, &reference.name)]),
                Some(Err(_)) => {
                    Err(no_clusters(Reason::ReferenceNotFound, messages::reference_invalid(&reference.name)))
                }
                None => {
                    Err(no_clusters(Reason::ReferenceNotFound, messages::reference_missing(&reference.name, namespace)))
                }
            };
        }
        if self.sync.spec.cluster_selector.is_none() {
            return Ok(Vec::new());
        }
        let selected = selected_references(self.ctx, self.sync)
            .map_err(|error| no_clusters(Reason::InvalidSelector, messages::invalid_selector(&error)))?;
        if selected.total == 0 {
            return Err(no_clusters(Reason::NoClusters, messages::no_reference_selected(namespace)));
        }
        self.left_out = selected.total - selected.keys.len();
        Ok(selected.keys.clone())
    }

    /// The cluster of a reference; none if the reference is gone by now.
    async fn reference(&mut self, key: &ObjectKey) -> Option<ObservedCluster> {
        let name = key.name();
        let summary = self.ctx.membership.summary(key, || summary_of(self.ctx, key))?;
        let (query, id, seen_name, is_suspended, shown_group) = match &*summary {
            ReferenceSummary::Kakao { query, id, name, is_suspended, shown_group } => {
                (query, id, name, *is_suspended, shown_group)
            }
            ReferenceSummary::NotSupported(provider) => {
                let message = messages::provider_not_supported(name, *provider);
                return Some(without_cluster(name, ClusterObservation::NotSupported { message }));
            }
            ReferenceSummary::Invalid(error) => {
                return Some(without_cluster(name, ClusterObservation::Unreadable(error.clone().into())));
            }
        };
        let cluster = ReferenceCluster {
            reference: name,
            id: id.as_deref().unwrap_or(name),
            name: seen_name.as_deref().unwrap_or(name),
            shown_group: shown_group.as_ref(),
        };
        if is_suspended {
            let problem = Problem::new(Reason::Suspended, messages::reference_suspended(name));
            return Some(cluster.observed(ClusterObservation::Unreadable(problem)));
        }
        let is_awaited = self.refresh_requested.is_some() || self.awaited.contains(cluster.id);
        Some(if is_awaited { self.subscribe(key, &cluster).await } else { self.peek(key, query, &cluster) })
    }

    /// What the reference's own subscription knows of its cluster: enough while nothing is under way.
    fn peek(&mut self, key: &ObjectKey, query: &Query, cluster: &ReferenceCluster<'_>) -> ObservedCluster {
        let connection = match self.ctx.membership.connection_of(key) {
            None => return cluster.observed(ClusterObservation::Pending),
            Some(ReferenceConnection::Blocked(problem)) => {
                return cluster.observed(ClusterObservation::Unreadable((*problem).clone()));
            }
            Some(ReferenceConnection::Connected(connection)) => connection,
        };
        match connection.peek(&Subscriber { kind: SubscriberKind::ClusterRef, key: key.clone() }, query) {
            None => cluster.observed(ClusterObservation::Pending),
            Some((observation, identity)) => self.observed(cluster, &connection, observation, identity.as_ref()),
        }
    }

    /// Subscribes to a reference's cluster, which is read more often then.
    async fn subscribe(&mut self, key: &ObjectKey, cluster: &ReferenceCluster<'_>) -> ObservedCluster {
        let Some(Ok(reference)) = self.ctx.cluster_refs.get(key) else {
            return cluster.observed(ClusterObservation::Pending);
        };
        let at_rest = Duration::from(reference.spec.poll_interval);
        let interval = if self.awaited.contains(cluster.id) { at_rest.min(APPLYING_POLL) } else { at_rest };
        let refresh_requested = self.refresh_requested.as_deref();
        match subscription::observe(self.ctx, &reference, self.subscriber, interval, refresh_requested).await {
            Err(problem) => cluster.observed(ClusterObservation::Unreadable(problem)),
            Ok(seen) => {
                let identity = seen.connection.peek(self.subscriber, &seen.query).and_then(|(_, identity)| identity);
                self.subscriptions.push((Arc::clone(&seen.connection), seen.query));
                self.refresh_done &= seen.observation.refresh_done;
                self.observed(cluster, &seen.connection, seen.observation, identity.as_ref())
            }
        }
    }

    fn observed(
        &mut self,
        cluster: &ReferenceCluster<'_>,
        connection: &Arc<Connection>,
        observation: Observation,
        identity: Option<&Identity>,
    ) -> ObservedCluster {
        if let Some(error) = &observation.problem {
            return cluster.observed(ClusterObservation::Unreadable(Problem::from(&**error)));
        }
        let reference = cluster.reference;
        match observation.observed {
            Observed::Found(found) => match identity {
                Some((id, Some(name))) => self.found((id, Some(name)), connection, &found, cluster.shown_group),
                _ => {
                    let status = found.cluster();
                    let id = status.id.as_deref().unwrap_or(cluster.id);
                    self.found((id, status.name.as_deref()), connection, &found, cluster.shown_group)
                }
            },
            Observed::Absent => {
                cluster.observed(ClusterObservation::NotFound { message: messages::no_cluster_of_reference(reference) })
            }
            Observed::Ambiguous(ids) => {
                let message = messages::ambiguous_name(reference, ids.len());
                cluster.observed(ClusterObservation::Unreadable(Problem::new(Reason::AmbiguousName, message)))
            }
            Observed::NotYet | Observed::Members(_) => cluster.observed(ClusterObservation::Pending),
        }
    }

    fn member_of_group(&mut self, connection: &Arc<Connection>, found: &ObservedInstance) -> ObservedCluster {
        let status = found.cluster();
        self.found((status.id.as_deref().unwrap_or_default(), status.name.as_deref()), connection, found, None)
    }

    fn found(
        &mut self,
        (id, name): (&str, Option<&str>),
        connection: &Arc<Connection>,
        found: &ObservedInstance,
        shown_group: Option<&ParameterGroupStatus>,
    ) -> ObservedCluster {
        self.connections.insert(id.to_owned(), Arc::clone(connection));
        let observation = match (found.parameter_group(), found.parameters_read_at) {
            (_, None) => ClusterObservation::Pending,
            (None, Some(_)) => {
                ClusterObservation::NotSupported { message: messages::no_parameter_group(name.unwrap_or(id)) }
            }
            (Some(group), Some(observed_at)) => ClusterObservation::Read(GroupObservation {
                state: found.state().map(str::to_owned),
                group_id: group.id.clone(),
                group_name: group.name.clone(),
                sync_status: group.sync_status.clone(),
                observed_at,
            }),
        };
        ObservedCluster {
            id: id.to_owned(),
            name: name.map(str::to_owned),
            observation,
            others: OtherSyncs::default(),
            shown_group: shown_group.cloned(),
        }
    }

    /// What this object claims, as far as its credential sees it.
    fn claims(&self, clusters: &Result<Vec<ObservedCluster>, Unresolved>) -> Claims {
        let ids = |is_one: fn(&ClusterObservation) -> bool| -> BTreeSet<String> {
            let clusters = clusters.iter().flatten().filter(move |cluster| is_one(&cluster.observation));
            clusters.map(|cluster| cluster.id.clone()).collect()
        };
        let unreadable = match clusters {
            Ok(_) => ids(|observation| matches!(observation, ClusterObservation::Unreadable(_))),
            Err(Unresolved::Pending | Unresolved::Unreadable(_)) => {
                let entries = self.sync.status.iter().flat_map(|status| &status.clusters);
                entries.map(|entry| entry.id.clone()).collect()
            }
            Err(Unresolved::NoClusters(_)) => BTreeSet::new(),
        };
        let connection = self.subscriptions.first().map(|(connection, _)| connection.label().to_owned());
        let group = self.sync.spec.parameter_group.as_ref().map(|group| group.kakao_cloud.clone());
        Claims {
            clusters: ids(|seen| matches!(seen, ClusterObservation::Read(_) | ClusterObservation::Pending)),
            unreadable,
            group: connection.zip(group).map(|(connection, group)| ClaimedGroup { connection, group }),
        }
    }

    fn note_others(&self, claimant: &Claimant, clusters: &mut [ObservedCluster]) {
        for cluster in clusters {
            let (ClusterObservation::Read(group), Some(connection)) =
                (&cluster.observation, self.connections.get(&cluster.id))
            else {
                continue;
            };
            let visible = VisibleCluster {
                id: &cluster.id,
                connection: connection.label(),
                group_id: group.group_id.as_deref(),
                group_name: group.group_name.as_deref(),
            };
            cluster.others = self.ctx.ownership.others(claimant, &visible);
        }
    }
}

/// IDs of the clusters that are read more often.
fn awaited(sync: &RedisParameterSync, now: Timestamp) -> HashSet<&str> {
    let is_due = |next: Timestamp| next <= now && now.duration_since(next).unsigned_abs() < DUE;
    let is_awaited = |entry: &&ClusterSync| {
        entry.phase == SyncPhase::Applying || entry.next_attempt_time.as_ref().is_some_and(|next| is_due(next.0))
    };
    let entries = sync.status.iter().flat_map(|status| &status.clusters);
    entries.filter(is_awaited).map(|entry| entry.id.as_str()).collect()
}

/// A reference that has no cluster to apply a parameter group to, shown by the reference's name.
fn without_cluster(reference: &str, observation: ClusterObservation) -> ObservedCluster {
    let (id, others) = (reference.to_owned(), OtherSyncs::default());
    ObservedCluster { id, name: None, observation, others, shown_group: None }
}

/// What is known of a reference's cluster before it is observed.
struct ReferenceCluster<'a> {
    reference: &'a str,
    id: &'a str,
    name: &'a str,
    shown_group: Option<&'a ParameterGroupStatus>,
}

impl ReferenceCluster<'_> {
    fn observed(&self, observation: ClusterObservation) -> ObservedCluster {
        ObservedCluster {
            id: self.id.to_owned(),
            name: Some(self.name.to_owned()),
            observation,
            others: OtherSyncs::default(),
            shown_group: self.shown_group.cloned(),
        }
    }
}
