//! From the spec to the clusters it is about, each with what the inventory knows of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::core::SelectorExt as _;

use super::coverage::{Covered, Sighting, Who};
use super::{CloudProblem, Elsewhere, Observation as Seen, Outcome, Problem, Target};
use crate::api::parameter_sync::{ClusterSync, SyncPhase};
use crate::api::shared::{KakaoParameterGroup, selector};
use crate::api::{RedisClusterRef, RedisParameterSync, reconcile_requested_at};
use crate::controllers::cluster_ref::target::{self, Address};
use crate::controllers::context::Context;
use crate::controllers::credentials::Cloud;
use crate::controllers::problem;
use crate::inventory::{Connection, Found, Observation, Question, Sight, Subscriber, Want};

/// How long an attempt that has become due is waited for with fast reads.
const DUE: Duration = Duration::from_secs(60);
/// How often a connection is read while an application is under way.
const APPLYING_POLL: Duration = Duration::from_secs(5);

/// The clusters of one object.
pub struct Resolved {
    /// The clusters, or why it cannot be told which they are.
    pub targets: Result<Vec<Target>, Problem>,
    /// The connection of each cluster, by its ID.
    pub connections: HashMap<String, Arc<Connection>>,
    /// When it was known who else is about them.
    pub at: Timestamp,
    /// Whether the fresh reads that the requested-at annotation asks for have been made.
    pub forced_reads_done: bool,
}

impl Resolved {
    fn problem(problem: Problem) -> Self {
        Self { targets: Err(problem), connections: HashMap::new(), at: Timestamp::now(), forced_reads_done: true }
    }
}

/// Finds the clusters and subscribes to them.
pub async fn resolve(ctx: &Context, sync: &RedisParameterSync, who: &Subscriber) -> Resolved {
    seed(ctx);
    if sync.spec.suspend {
        ctx.inventory.forget(who);
        leave(ctx, who);
        let (targets, connections) = (Ok(Vec::new()), HashMap::new());
        return Resolved { targets, connections, at: Timestamp::now(), forced_reads_done: true };
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
    wake(ctx, ctx.coverage.cover(&me, covered));
    match targets {
        Ok(mut targets) => Resolved {
            targets: {
                collector.note_elsewhere(&me, &mut targets);
                Ok(targets)
            },
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
    kept: Vec<(Arc<Connection>, Want)>,
    connections: HashMap<String, Arc<Connection>>,
    forced_reads_done: bool,
}

impl<'a> Collector<'a> {
    fn new(ctx: &'a Context, sync: &'a RedisParameterSync, who: &'a Subscriber) -> Self {
        let handled = sync.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
        let force = reconcile_requested_at(sync).filter(|asked| Some(asked) != handled);
        Self { ctx, sync, who, force, kept: Vec::new(), connections: HashMap::new(), forced_reads_done: true }
    }

    /// How often to read: faster while an application is under way, or an attempt waits for a fresh look.
    fn interval(&self, at_rest: Duration) -> Duration {
        let now = Timestamp::now();
        let is_due = |next: Timestamp| next <= now && now.duration_since(next).unsigned_abs() < DUE;
        let is_awaited = |cluster: &ClusterSync| {
            cluster.phase == SyncPhase::Applying
                || cluster.next_attempt_time.as_ref().is_some_and(|next| is_due(next.0))
        };
        if self.sync.status.iter().flat_map(|status| &status.clusters).any(is_awaited) {
            at_rest.min(APPLYING_POLL)
        } else {
            at_rest
        }
    }

    async fn group(&mut self, group: &KakaoParameterGroup) -> Result<Vec<Target>, Problem> {
        let (ctx, secret) = (self.ctx, &group.credentials_secret_ref.name);
        let want = Want::Group { id: group.id.clone(), name: group.name.clone() };
        let interval = self.interval(ctx.settings.poll_interval);
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
        Ok(members.into_iter().map(|found| self.found("?", &connection, &found)).collect())
    }

    async fn references(&mut self) -> Result<Vec<Target>, Problem> {
        let references = self.selected()?;
        let mut targets = Vec::with_capacity(references.len());
        for reference in references {
            targets.push(self.reference(&reference).await);
        }
        Ok(targets)
    }

    /// The references the spec names or selects.
    fn selected(&self) -> Result<Vec<Arc<RedisClusterRef>>, Problem> {
        let (ctx, namespace) = (self.ctx, self.who.namespace.as_str());
        if !ctx.cluster_refs.is_filled() {
            return Err(Problem::Pending);
        }
        if let Some(reference) = &self.sync.spec.cluster_ref {
            let missing = || Problem::ReferenceNotFound {
                message: format!("RedisClusterRef {} is not in namespace {namespace}", reference.name),
            };
            let found = ctx.cluster_refs.get(namespace, &reference.name).ok_or_else(missing)?;
            return match found {
                Ok(found) => Ok(vec![found]),
                Err(_) => Err(Problem::ReferenceNotFound {
                    message: format!("RedisClusterRef {} cannot be read; see its conditions", reference.name),
                }),
            };
        }
        let labels = self.sync.spec.cluster_selector.clone().unwrap_or_default();
        let selector = selector(&labels).map_err(|message| Problem::InvalidSelector { message })?;
        let references = ctx.cluster_refs.select(namespace, |labels| selector.matches(labels));
        if references.is_empty() {
            let message = format!("no RedisClusterRef of namespace {namespace} has the labels of clusterSelector");
            return Err(Problem::NoClusters { message });
        }
        Ok(references)
    }

    async fn reference(&mut self, reference: &RedisClusterRef) -> Target {
        let name = reference.metadata.name.clone().unwrap_or_default();
        let Some(kakao) = &reference.spec.kakao_cloud else {
            let message = format!("RedisClusterRef {name} is of NCP, whose API cannot apply parameter groups");
            let outcome = Outcome::NotSupported { message };
            return Target { id: name, name: None, outcome, elsewhere: Elsewhere::default() };
        };
        let cluster = reference.status.as_ref().and_then(|status| status.cluster.as_ref());
        let known_id = kakao.cluster_id.clone().or_else(|| cluster.and_then(|cluster| cluster.id.clone()));
        let known_name = cluster.and_then(|cluster| cluster.name.clone()).unwrap_or_else(|| name.clone());
        let target = |outcome| Target {
            id: known_id.clone().unwrap_or_else(|| name.clone()),
            name: Some(known_name.clone()),
            outcome,
            elsewhere: Elsewhere::default(),
        };
        if reference.spec.suspend {
            let message = format!("RedisClusterRef {name} is suspended");
            return target(Outcome::Unavailable { reason: CloudProblem::Suspended, message });
        }
        let interval = self.interval(reference.spec.poll_interval.into());
        match target::observe(self.ctx, reference, self.who, interval, self.force.as_deref()).await {
            Err(problem) => target(unavailable(&problem)),
            Ok(seen) => {
                self.kept.push((Arc::clone(&seen.connection), seen.want));
                self.forced_reads_done &= seen.observation.forced_read_done;
                self.observed(&name, &seen.connection, seen.observation, target)
            }
        }
    }

    fn observed(
        &mut self,
        reference: &str,
        connection: &Arc<Connection>,
        observation: Observation,
        target: impl Fn(Outcome) -> Target,
    ) -> Target {
        if let Some(error) = &observation.problem {
            return target(unavailable(&problem::Problem::from(&**error)));
        }
        match observation.sight {
            Sight::Found(found) => self.found(reference, connection, &found),
            Sight::Absent => target(Outcome::NotFound {
                message: format!("KakaoCloud has no cluster for RedisClusterRef {reference}"),
            }),
            Sight::Ambiguous(ids) => target(Outcome::Unavailable {
                reason: CloudProblem::AmbiguousName,
                message: format!("{} clusters have the name RedisClusterRef {reference} gives", ids.len()),
            }),
            Sight::NotYet | Sight::Members(_) => target(Outcome::Pending),
        }
    }

    fn found(&mut self, reference: &str, connection: &Arc<Connection>, found: &Found) -> Target {
        let cluster = found.cluster();
        let id = cluster.id.clone().unwrap_or_else(|| reference.to_owned());
        self.connections.insert(id.clone(), Arc::clone(connection));
        let group = cluster.parameter_group.clone();
        let outcome = match (group, found.parameters_read_at) {
            (_, None) => Outcome::Pending,
            (None, Some(_)) => Outcome::NotSupported {
                message: format!("cluster {} has no parameter group", cluster.name.as_deref().unwrap_or(&id)),
            },
            (Some(group), Some(observed_at)) => Outcome::Observed(Seen {
                state: found.state().map(str::to_owned),
                group_id: group.id,
                group_name: group.name,
                sync_status: group.sync_status,
                observed_at,
            }),
        };
        Target { id, name: cluster.name, outcome, elsewhere: Elsewhere::default() }
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

/// Takes over what the statuses say before the first object is looked at.
fn seed(ctx: &Context) {
    if !ctx.coverage.is_seeded() && ctx.parameter_syncs.is_filled() {
        let stored = ctx.parameter_syncs.filter(|_| true);
        ctx.coverage.seed(|| stored.iter().map(AsRef::as_ref).collect());
    }
}

/// An object is about no cluster any more, and waits for no turn.
pub fn leave(ctx: &Context, who: &Subscriber) {
    ctx.turns.leave(&who.namespace, &who.name);
    wake(ctx, ctx.coverage.forget(&who.namespace, &who.name));
}

fn wake(ctx: &Context, concerned: BTreeSet<Who>) {
    for other in concerned {
        ctx.wakers.parameter_syncs.wake(&other.namespace, &other.name);
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
