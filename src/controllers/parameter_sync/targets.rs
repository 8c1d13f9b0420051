//! From the spec to the clusters it is about, each with what the inventory knows of it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::core::SelectorExt as _;

use super::coverage::{Covered, Sighting, Stored, Who, has_unshown};
use super::episode::is_in_sync;
use super::membership::{Aim, Link, Member};
use super::{CloudProblem, Elsewhere, LastKnown, Observation as Seen, Outcome, Problem, Target};
use crate::api::parameter_sync::{ClusterSync, SyncPhase};
use crate::api::shared::{KakaoParameterGroup, selector};
use crate::api::{RedisParameterSync, reconcile_requested_at};
use crate::controllers::cluster_ref::target::{self, Address};
use crate::controllers::context::Context;
use crate::controllers::credentials::Cloud;
use crate::controllers::problem;
use crate::inventory::{Connection, Found, Identity, Observation, Question, Sight, Subscriber, SubscriberKind, Want};
use crate::runtime::queue::ObjectKey;

/// How long an attempt that has become due is waited for with fast reads.
const DUE: Duration = Duration::from_secs(60);
/// How long a pass waits for the objects after a start.
const UNTIL_FILLED: Duration = Duration::from_secs(30);
/// How often a connection is read while an application is under way.
const APPLYING_POLL: Duration = Duration::from_secs(5);

/// The clusters of one object.
pub struct Resolved {
    /// The clusters, or why it cannot be told which they are.
    pub targets: Result<Vec<Target>, Problem>,
    /// Clusters that the object is about beside them, because it covers no more.
    pub beyond: usize,
    /// The connection of each cluster, by its ID.
    pub connections: HashMap<String, Arc<Connection>>,
    /// When it was known who else is about them.
    pub at: Timestamp,
    /// Whether the fresh reads that the requested-at annotation asks for have been made.
    pub forced_reads_done: bool,
}

impl Resolved {
    fn problem(problem: Problem) -> Self {
        Self { targets: Err(problem), ..Self::nothing() }
    }

    fn nothing() -> Self {
        let (targets, connections) = (Ok(Vec::new()), HashMap::new());
        Self { targets, beyond: 0, connections, at: Timestamp::now(), forced_reads_done: true }
    }
}

/// Finds the clusters and subscribes to them.
pub async fn resolve(ctx: &Context, sync: &RedisParameterSync, who: &Subscriber) -> Resolved {
    seed(ctx).await;
    if sync.spec.suspend {
        ctx.inventory.forget(who);
        leave(ctx, who);
        return Resolved::nothing();
    }
    ctx.membership.enter(&who.namespace, &who.name, Aim::of(sync));
    if !ctx.coverage.is_seeded() {
        // What a person asked for is not done by this.
        return Resolved { forced_reads_done: false, ..Resolved::problem(Problem::Pending) };
    }
    let mut collector = Collector::new(ctx, sync, who);
    let targets = match &sync.spec.parameter_group {
        Some(group) => collector.group(&group.kakao_cloud).await,
        None => collector.references().await,
    };
    let kept: Vec<(&Arc<Connection>, Want)> =
        collector.kept.iter().map(|(connection, want)| (connection, want.clone())).collect();
    ctx.inventory.keep(who, &kept);
    let covered = collector.covered(&targets);
    let (me, at) = (Who::of(sync), Timestamp::now());
    remind(ctx, ctx.coverage.cover(&me, covered));
    match targets {
        Ok(mut targets) => Resolved {
            targets: {
                collector.note_elsewhere(&me, &mut targets);
                Ok(targets)
            },
            beyond: collector.beyond,
            connections: collector.connections,
            at,
            forced_reads_done: collector.forced_reads_done,
        },
        Err(problem) => Resolved { forced_reads_done: collector.forced_reads_done, ..Resolved::problem(problem) },
    }
}

struct Collector<'a> {
    ctx: &'a Context,
    sync: &'a RedisParameterSync,
    who: &'a Subscriber,
    force: Option<String>,
    /// IDs of clusters that are read more often, because an application is under way or waits for a fresh look.
    awaited: HashSet<&'a str>,
    kept: Vec<(Arc<Connection>, Want)>,
    beyond: usize,
    connections: HashMap<String, Arc<Connection>>,
    forced_reads_done: bool,
}

impl<'a> Collector<'a> {
    fn new(ctx: &'a Context, sync: &'a RedisParameterSync, who: &'a Subscriber) -> Self {
        let handled = sync.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
        let force = reconcile_requested_at(sync).filter(|asked| Some(asked) != handled);
        let now = Timestamp::now();
        let is_due = |next: Timestamp| next <= now && now.duration_since(next).unsigned_abs() < DUE;
        let is_awaited = |cluster: &&ClusterSync| {
            cluster.phase == SyncPhase::Applying
                || cluster.next_attempt_time.as_ref().is_some_and(|next| is_due(next.0))
        };
        let entries = sync.status.iter().flat_map(|status| &status.clusters);
        let awaited = entries.filter(is_awaited).map(|entry| entry.id.as_str()).collect();
        let (kept, connections) = (Vec::new(), HashMap::new());
        Self { ctx, sync, who, force, awaited, kept, beyond: 0, connections, forced_reads_done: true }
    }

    async fn group(&mut self, group: &KakaoParameterGroup) -> Result<Vec<Target>, Problem> {
        let (ctx, secret) = (self.ctx, &group.credentials_secret_ref.name);
        let want = Want::Group { id: group.id.clone(), name: group.name.clone() };
        let at_rest = ctx.settings.poll_interval;
        let interval = if self.awaited.is_empty() { at_rest } else { at_rest.min(APPLYING_POLL) };
        let address = Address { cloud: Cloud::Kakao, endpoint: &group.region, namespace: &self.who.namespace, secret };
        let question = Question { who: self.who, want: &want, interval, force: self.force.as_deref(), can_wait: false };
        let asked = target::ask(ctx, &address, &question).await;
        let (connection, observation) = asked.map_err(|problem| of_all(&problem))?;
        self.kept.push((Arc::clone(&connection), want));
        self.forced_reads_done &= observation.forced_read_done;
        if let Some(error) = &observation.problem {
            return Err(of_all(&problem::Problem::from(&**error)));
        }
        let Sight::Members(members) = observation.sight else { return Err(Problem::Pending) };
        if members.is_empty() {
            let named = group.id.as_ref().or(group.name.as_ref()).map_or("?", String::as_str);
            let message = format!("KakaoCloud lists no cluster with parameter group {named} in {}", group.region);
            return Err(Problem::NoClusters { message });
        }
        // In the order of their IDs, so that it is the same ones every time.
        self.beyond = members.len().saturating_sub(most(ctx));
        let covered = members.into_iter().take(most(ctx));
        Ok(covered.map(|found| self.member_of_group(&connection, &found)).collect())
    }

    async fn references(&mut self) -> Result<Vec<Target>, Problem> {
        let references = self.selected()?;
        let mut targets = Vec::with_capacity(references.len());
        for key in &references {
            targets.extend(self.reference(key).await);
        }
        Ok(targets)
    }

    /// The references the spec names or selects, no more than one object covers.
    fn selected(&mut self) -> Result<Vec<ObjectKey>, Problem> {
        let (ctx, namespace) = (self.ctx, self.who.namespace.as_str());
        if let Some(reference) = &self.sync.spec.cluster_ref {
            let missing = || Problem::ReferenceNotFound {
                message: format!("RedisClusterRef {} is not in namespace {namespace}", reference.name),
            };
            let found = ctx.cluster_refs.get(namespace, &reference.name).ok_or_else(missing)?;
            return match found {
                Ok(_) => Ok(vec![ObjectKey::new(namespace, &reference.name)]),
                Err(_) => Err(Problem::ReferenceNotFound {
                    message: format!("RedisClusterRef {} cannot be read; see its conditions", reference.name),
                }),
            };
        }
        let labels = self.sync.spec.cluster_selector.clone().unwrap_or_default();
        let selector = selector(&labels).map_err(|message| Problem::InvalidSelector { message })?;
        let Aim::Selector(text) = Aim::of(self.sync) else { return Ok(Vec::new()) };
        let find = || ctx.cluster_refs.oldest(namespace, most(ctx), |labels| selector.matches(labels));
        let oldest = ctx.membership.selected(namespace, &text, ctx.cluster_refs.round(namespace), find);
        if oldest.total == 0 {
            let message = format!("no RedisClusterRef of namespace {namespace} has the labels of clusterSelector");
            return Err(Problem::NoClusters { message });
        }
        self.beyond = oldest.total - oldest.keys.len();
        Ok(oldest.keys.clone())
    }

    /// A reference as a target; none if it is gone by now.
    async fn reference(&mut self, key: &ObjectKey) -> Option<Target> {
        let name = key.name();
        let member = self.ctx.membership.member(key, || {
            let reference = self.ctx.cluster_refs.get(key.namespace(), name)?.ok()?;
            Some(Member::of(&reference))
        })?;
        let Member::Kakao { want, id, name: seen_name, is_suspended, last_known } = &*member else {
            let message = format!("RedisClusterRef {name} is of NCP, whose API cannot apply parameter groups");
            let (outcome, elsewhere) = (Outcome::NotSupported { message }, Elsewhere::default());
            return Some(Target { id: name.to_owned(), name: None, outcome, elsewhere, last_known: None });
        };
        let known = Known {
            reference: name,
            id: id.as_deref().unwrap_or(name),
            name: seen_name.as_deref().unwrap_or(name),
            last_known: last_known.as_ref(),
        };
        if *is_suspended {
            let message = format!("RedisClusterRef {name} is suspended");
            return Some(known.target(Outcome::Unavailable { reason: CloudProblem::Suspended, message }));
        }
        let is_awaited = self.force.is_some() || self.awaited.contains(known.id);
        Some(if is_awaited { self.asked(key, &known).await } else { self.looked_at(key, want, &known) })
    }

    /// What is known of a reference's cluster anyway, for as long as nobody waits for more.
    fn looked_at(&mut self, key: &ObjectKey, want: &Want, known: &Known<'_>) -> Target {
        let connection = match self.ctx.membership.link_of(key) {
            None => return known.target(Outcome::Pending),
            Some(Link::Blocked(problem)) => return known.target(unavailable(&problem)),
            Some(Link::Connected(connection)) => connection,
        };
        let (namespace, name) = (key.namespace().to_owned(), key.name().to_owned());
        match connection.look(&Subscriber { kind: SubscriberKind::ClusterRef, namespace, name }, want) {
            None => known.target(Outcome::Pending),
            Some((observation, identity)) => self.observed(known, &connection, observation, identity.as_ref()),
        }
    }

    /// Subscribes to a reference's cluster, which is read more often then.
    async fn asked(&mut self, key: &ObjectKey, known: &Known<'_>) -> Target {
        let Some(Ok(reference)) = self.ctx.cluster_refs.get(key.namespace(), key.name()) else {
            return known.target(Outcome::Pending);
        };
        let at_rest = Duration::from(reference.spec.poll_interval);
        let interval = if self.awaited.contains(known.id) { at_rest.min(APPLYING_POLL) } else { at_rest };
        match target::observe(self.ctx, &reference, self.who, interval, self.force.as_deref()).await {
            Err(problem) => known.target(unavailable(&problem)),
            Ok(seen) => {
                let identity = seen.connection.look(self.who, &seen.want).and_then(|(_, identity)| identity);
                self.kept.push((Arc::clone(&seen.connection), seen.want));
                self.forced_reads_done &= seen.observation.forced_read_done;
                self.observed(known, &seen.connection, seen.observation, identity.as_ref())
            }
        }
    }

    fn observed(
        &mut self,
        known: &Known<'_>,
        connection: &Arc<Connection>,
        observation: Observation,
        identity: Option<&Identity>,
    ) -> Target {
        if let Some(error) = &observation.problem {
            return known.target(unavailable(&problem::Problem::from(&**error)));
        }
        let reference = known.reference;
        match observation.sight {
            Sight::Found(found) => match identity {
                Some((id, Some(name))) => self.found((id, Some(name)), connection, &found, known.last_known),
                _ => {
                    let cluster = found.cluster();
                    let id = cluster.id.as_deref().unwrap_or(known.id);
                    self.found((id, cluster.name.as_deref()), connection, &found, known.last_known)
                }
            },
            Sight::Absent => known.target(Outcome::NotFound {
                message: format!("KakaoCloud has no cluster for RedisClusterRef {reference}"),
            }),
            Sight::Ambiguous(ids) => known.target(Outcome::Unavailable {
                reason: CloudProblem::AmbiguousName,
                message: format!("{} clusters have the name RedisClusterRef {reference} gives", ids.len()),
            }),
            Sight::NotYet | Sight::Members(_) => known.target(Outcome::Pending),
        }
    }

    fn member_of_group(&mut self, connection: &Arc<Connection>, found: &Found) -> Target {
        let cluster = found.cluster();
        let id = cluster.id.unwrap_or_default();
        self.found((&id, cluster.name.as_deref()), connection, found, None)
    }

    fn found(
        &mut self,
        (id, name): (&str, Option<&str>),
        connection: &Arc<Connection>,
        found: &Found,
        last_known: Option<&LastKnown>,
    ) -> Target {
        self.connections.insert(id.to_owned(), Arc::clone(connection));
        let outcome = match (found.parameter_group(), found.parameters_read_at) {
            (_, None) => Outcome::Pending,
            (None, Some(_)) => {
                Outcome::NotSupported { message: format!("cluster {} has no parameter group", name.unwrap_or(id)) }
            }
            (Some(group), Some(observed_at)) => Outcome::Observed(Seen {
                state: found.state().map(str::to_owned),
                group_id: group.id.clone(),
                group_name: group.name.clone(),
                sync_status: group.sync_status.clone(),
                observed_at,
            }),
        };
        let (name, last_known) = (name.map(str::to_owned), last_known.cloned());
        Target { id: id.to_owned(), name, outcome, elsewhere: Elsewhere::default(), last_known }
    }

    /// What this object is about, as far as its credential sees it.
    fn covered(&self, targets: &Result<Vec<Target>, Problem>) -> Covered {
        let ids = |holds: fn(&Outcome) -> bool| {
            let targets = targets.iter().flatten().filter(move |target| holds(&target.outcome));
            targets.map(|target| target.id.clone()).collect()
        };
        let uncertain = match targets {
            Ok(_) => ids(|outcome| matches!(outcome, Outcome::Unavailable { .. })),
            Err(Problem::Pending | Problem::Unavailable { .. }) => {
                let entries = self.sync.status.iter().flat_map(|status| &status.clusters);
                entries.map(|entry| entry.id.clone()).collect()
            }
            Err(_) => BTreeSet::new(),
        };
        let group = self.sync.spec.parameter_group.as_ref().map(|group| group.kakao_cloud.clone());
        let connection = self.kept.first().map(|(connection, _)| connection.label().to_owned());
        Covered {
            clusters: ids(|outcome| matches!(outcome, Outcome::Observed(_) | Outcome::Pending)),
            uncertain,
            group: connection.zip(group),
        }
    }

    fn note_elsewhere(&self, me: &Who, targets: &mut [Target]) {
        for target in targets {
            let (Outcome::Observed(seen), Some(connection)) = (&target.outcome, self.connections.get(&target.id))
            else {
                continue;
            };
            let sighting = Sighting {
                id: &target.id,
                connection: connection.label(),
                group_id: seen.group_id.as_deref(),
                group_name: seen.group_name.as_deref(),
            };
            target.elsewhere = self.ctx.coverage.elsewhere(me, &sighting);
        }
    }
}

/// How many clusters an object covers.
fn most(ctx: &Context) -> usize {
    ctx.settings.max_clusters_per_sync.into()
}

/// What is known of a reference's cluster before it is looked at.
struct Known<'a> {
    reference: &'a str,
    id: &'a str,
    name: &'a str,
    last_known: Option<&'a LastKnown>,
}

impl Known<'_> {
    fn target(&self, outcome: Outcome) -> Target {
        let (id, name) = (self.id.to_owned(), Some(self.name.to_owned()));
        Target { id, name, outcome, elsewhere: Elsewhere::default(), last_known: self.last_known.cloned() }
    }
}

/// Takes over what the statuses say before the first object is looked at. After a start that waits for the objects: without them
/// nothing can be decided.
async fn seed(ctx: &Context) {
    if ctx.coverage.is_seeded() {
        return;
    }
    let filled = async {
        ctx.parameter_syncs.ready().await;
        ctx.cluster_refs.ready().await;
    };
    if tokio::time::timeout(UNTIL_FILLED, filled).await.is_ok() {
        ctx.coverage.seed(|| ctx.parameter_syncs.collect(|sync| stored(ctx, sync)));
    }
}

/// What an object is about by its status and, where that only counts, by those of its references.
fn stored(ctx: &Context, sync: &RedisParameterSync) -> Option<Stored> {
    if sync.spec.suspend {
        return None;
    }
    let mut stored = Stored::of(sync);
    if let Some(labels) = sync.spec.cluster_selector.as_ref().filter(|_| has_unshown(sync))
        && let Ok(selector) = selector(labels)
        && let Aim::Selector(text) = Aim::of(sync)
    {
        let namespace = sync.metadata.namespace.as_deref().unwrap_or_default();
        let find = || ctx.cluster_refs.oldest(namespace, most(ctx), |labels| selector.matches(labels));
        ctx.membership.enter(namespace, &stored.who.name, Aim::of(sync));
        let oldest = ctx.membership.selected(namespace, &text, ctx.cluster_refs.round(namespace), find);
        stored.clusters.extend(oldest.keys.iter().filter_map(|key| last_in_sync(ctx, key)));
    }
    Some(stored)
}

/// ID of a reference's cluster, if it was In-Sync when it was last seen.
fn last_in_sync(ctx: &Context, key: &ObjectKey) -> Option<String> {
    let read = || Some(Member::of(&*ctx.cluster_refs.get(key.namespace(), key.name())?.ok()?));
    match &*ctx.membership.member(key, read)? {
        Member::Kakao { id, last_known: Some(LastKnown { sync_status: Some(word), .. }), .. } if is_in_sync(word) => {
            id.clone()
        }
        _ => None,
    }
}

/// Another version of a reference came, or it is gone: reminds whom that concerns.
pub fn reference_changed(ctx: &Context, namespace: &str, name: &str) {
    let read = || Some(Member::of(&*ctx.cluster_refs.get(namespace, name)?.ok()?));
    for sync in ctx.membership.changed(namespace, name, ctx.cluster_refs.round(namespace), read) {
        ctx.wakers.reminders.remind(namespace, &sync);
    }
}

/// A reference's controller looked at its cluster: reminds those for whom that is news.
pub fn reference_seen(ctx: &Context, who: &Subscriber, link: Link, seen: Option<&Observation>) {
    for sync in ctx.membership.link(&who.namespace, &who.name, link, seen) {
        ctx.wakers.reminders.remind(&who.namespace, &sync);
    }
}

/// An object is about no cluster any more, and waits for no turn.
pub fn leave(ctx: &Context, who: &Subscriber) {
    ctx.turns.leave(&who.namespace, &who.name);
    ctx.membership.leave(&who.namespace, &who.name);
    remind(ctx, ctx.coverage.forget(&who.namespace, &who.name));
}

fn remind(ctx: &Context, concerned: BTreeSet<Arc<Who>>) {
    for other in concerned {
        ctx.wakers.reminders.remind(&other.namespace, &other.name);
    }
}

fn of_all(problem: &problem::Problem) -> Problem {
    match unavailable(problem) {
        Outcome::Unavailable { reason, message } => Problem::Unavailable { reason, message },
        _ => Problem::Pending,
    }
}

/// A problem of the connection, in the words of the plan.
fn unavailable(problem: &problem::Problem) -> Outcome {
    let reason = match problem.reason {
        "CredentialsNotFound" | "InvalidObject" => CloudProblem::CredentialsNotFound,
        "CredentialsRejected" => CloudProblem::CredentialsRejected,
        "PermissionDenied" => CloudProblem::PermissionDenied,
        "UnknownRegion" => CloudProblem::UnknownRegion,
        "RateLimited" => CloudProblem::RateLimited,
        "UnexpectedResponse" => CloudProblem::UnexpectedResponse,
        _ => CloudProblem::CloudUnavailable,
    };
    Outcome::Unavailable { reason, message: problem.message.clone() }
}
