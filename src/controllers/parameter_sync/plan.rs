//! The plan for all clusters of one object: where the application is requested now, what the status says, when the next pass is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use super::entry::must_be_stored;
use super::episode::ClusterPlan;
use super::events;
use super::input::{ApplyResult, ClusterObservation, Input, ObservedCluster, Unresolved};
use super::policy::Policy;
use super::status::{ClusterCounts, MAX_CLUSTERS_SHOWN, StatusBuilder};
use super::sync_status::SyncStatus;
use super::times::after;
use crate::api::parameter_sync::{ClusterSync, RedisParameterSyncStatus, SyncPhase};
use crate::runtime::events::Note;

/// How many applications one pass requests; the others follow in the next one, a moment later.
pub(super) const MAX_APPLIES_PER_PASS: usize = 10;
/// When the next pass is while clusters wait for their turn; also the shortest wait between two passes.
const SOON: Duration = Duration::from_secs(1);
/// When the next pass is while clusters wait for a slot only; a slot that becomes free triggers it sooner.
const SLOT_WAIT: Duration = Duration::from_secs(15);
/// How often a cluster is observed in the first minute after an attempt, and later.
const APPLYING_POLL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10));
/// How long an attempt is fresh, and how long an attempt that is due has its cluster observed at the faster pace.
const FRESH: Duration = Duration::from_secs(60);

/// What a pass wants.
///
/// Write `status` first, then request each of `applies`, hand the answers to [`Plan::record`], write its status, then
/// publish the events of both. If the first write fails, nothing may be requested.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The full status; equal to the previous one if nothing changed.
    pub status: RedisParameterSyncStatus,
    /// The applications to request, whose attempt is already counted in `status`.
    pub applies: Vec<Apply>,
    /// When to make the next pass, unless something changes sooner.
    pub requeue_after: Duration,
    /// What changed, for people.
    pub events: Vec<Note>,
    pass: Pass,
}

/// One request for application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Apply {
    /// ID of the cluster or instance set.
    pub id: String,
    /// The name people know it by.
    pub name: String,
    /// Which attempt of the episode this is, from 1.
    pub attempt: i32,
}

/// What [`Plan::record`] continues from.
#[derive(Clone, Debug)]
struct Pass {
    policy: Policy,
    clusters: Vec<ClusterPlan>,
    builder: StatusBuilder,
    poll_interval: Duration,
}

/// Decides what to do about the clusters of one `RedisParameterSync`.
pub(super) fn plan(input: &Input<'_>) -> Plan {
    let policy = Policy::new(input.spec, input.now, input.jitter);
    let default = RedisParameterSyncStatus::default();
    let previous = input.previous.unwrap_or(&default);
    let builder = StatusBuilder::new(input, previous);
    let poll_interval = input.poll_interval;
    if input.spec.suspend {
        return Plan {
            status: builder.suspended(previous, input.now),
            applies: Vec::new(),
            requeue_after: poll_interval.max(SOON),
            events: Vec::new(),
            pass: Pass { policy, clusters: Vec::new(), builder, poll_interval },
        };
    }
    let mut clusters = cluster_plans(input, previous, &policy);
    let applies = choose_applies(&mut clusters, input.without_slot, input.now);
    let events = events::of_observations(&clusters);
    Pass { policy, clusters, builder, poll_interval }.finish(applies, events)
}

impl Plan {
    /// The plan after the cloud's answers: accepted is Applying, busy (409) is no attempt and tried later, an error is
    /// BackingOff or GaveUp. Answers about clusters that are not among `applies` are ignored; a cluster without an answer keeps
    /// its counted attempt.
    #[must_use]
    pub(super) fn record(self, answers: &[(String, ApplyResult)], now: Timestamp, jitter: f64) -> Self {
        if self.applies.is_empty() {
            return Self { events: Vec::new(), ..self };
        }
        let Self { status, applies, mut pass, .. } = self;
        pass.builder.continue_from(status.conditions);
        pass.policy.now = now;
        pass.policy.jitter = jitter;
        let mut recorded = Vec::new();
        for cluster in &mut pass.clusters {
            cluster.before = Some(cluster.entry.clone());
            cluster.has_failed = false;
            cluster.is_accepted = false;
            let was_requested = applies.iter().any(|apply| apply.id == cluster.entry.id);
            if let Some((_, result)) = answers.iter().find(|(id, _)| was_requested && *id == cluster.entry.id) {
                cluster.record(result, &pass.policy);
                recorded.push(cluster.clone());
            }
        }
        let events = events::of_answers(&recorded);
        pass.finish(Vec::new(), events)
    }
}

impl Pass {
    fn finish(self, applies: Vec<Apply>, events: Vec<Note>) -> Plan {
        let status = self.builder.status(&self.clusters, &self.policy);
        let waits = self.clusters.iter().map(|cluster| longest_wait(cluster, self.policy.now));
        let requeue_after = waits.fold(self.poll_interval, |shortest, wait| shortest.min(wait)).max(SOON);
        Plan { status, applies, requeue_after, events, pass: self }
    }
}

/// How long the next pass may wait, as far as one cluster is concerned.
fn longest_wait(cluster: &ClusterPlan, now: Timestamp) -> Duration {
    let mut wait = Duration::MAX;
    if cluster.is_due {
        wait = wait.min(if cluster.lacks_slot { SLOT_WAIT } else { SOON });
    }
    if cluster.entry.phase == SyncPhase::Applying {
        let is_fresh = cluster.entry.last_attempt_time.as_ref().is_some_and(|last| after(last.0, FRESH) > now);
        wait = wait.min(if is_fresh { APPLYING_POLL.0 } else { APPLYING_POLL.1 });
    }
    // An attempt that is due waits for a newer observation, which is asked for at the faster pace.
    let next_attempt = cluster.entry.next_attempt_time.as_ref().map(|next| next.0);
    if next_attempt.is_some_and(|next| next <= now && now < after(next, FRESH)) {
        wait = wait.min(APPLYING_POLL.0);
    }
    for moment in [next_attempt, cluster.next_look].into_iter().flatten().filter(|moment| *moment > now) {
        wait = wait.min(moment.duration_since(now).unsigned_abs());
    }
    wait
}

fn cluster_plans(input: &Input<'_>, previous: &RedisParameterSyncStatus, policy: &Policy) -> Vec<ClusterPlan> {
    let handled = previous.last_handled_reconcile_at.as_deref();
    let new_episode = previous.observed_generation.is_some_and(|observed| observed != input.generation)
        || input.refresh_requested.is_some_and(|requested| handled != Some(requested));
    let carried_over = |problem| {
        previous.clusters.iter().map(move |entry| ClusterPlan::carried_over(entry, new_episode, problem, policy))
    };
    let mut plans: Vec<ClusterPlan> = match input.clusters {
        Ok(clusters) => {
            let entries: HashMap<&str, &ClusterSync> =
                previous.clusters.iter().map(|entry| (entry.id.as_str(), entry)).collect();
            let mut unshown = ClusterCounts::unshown(previous).in_sync;
            let plan = |cluster: &ObservedCluster| match entries.get(cluster.id.as_str()) {
                Some(entry) => ClusterPlan::new(cluster, Some(entry), new_episode, policy),
                None => {
                    let entry = (unshown > 0).then(|| unshown_entry(cluster)).flatten();
                    unshown -= usize::from(entry.is_some());
                    ClusterPlan::new(cluster, entry.as_ref(), new_episode, policy)
                }
            };
            unique(clusters).into_values().map(plan).collect()
        }
        Err(Unresolved::Pending) => carried_over(None).collect(),
        Err(Unresolved::Unreadable(problem)) => carried_over(Some(problem)).collect(),
        Err(Unresolved::NoClusters(_)) => Vec::new(),
    };
    plans.sort_by(|a, b| (a.label(), &a.entry.id).cmp(&(b.label(), &b.entry.id)));
    plans
}

/// The entry of a cluster that the status counts as In-Sync without showing it, if the cluster cannot be read now: what the
/// status of its reference shows stays valid.
fn unshown_entry(cluster: &ObservedCluster) -> Option<ClusterSync> {
    let group = cluster.shown_group.as_ref()?;
    let is_unread = matches!(cluster.observation, ClusterObservation::Pending | ClusterObservation::Unreadable(_));
    let was_in_sync = group.sync_status.as_deref().map(SyncStatus::parse) == Some(SyncStatus::InSync);
    (is_unread && was_in_sync).then(|| ClusterSync {
        id: cluster.id.clone(),
        name: cluster.name.clone(),
        parameter_group_id: group.id.clone(),
        sync_status: group.sync_status.clone(),
        phase: SyncPhase::InSync,
        ..ClusterSync::default()
    })
}

/// Several references may mean one cluster: it is planned once, with the best observation of it.
fn unique(clusters: &[ObservedCluster]) -> BTreeMap<&str, &ObservedCluster> {
    let mut best: BTreeMap<&str, &ObservedCluster> = BTreeMap::new();
    for cluster in clusters {
        best.entry(&cluster.id)
            .and_modify(|known| {
                // The text decides between equals, so that the order of the clusters never shows.
                let text = |cluster: &ObservedCluster| format!("{cluster:?}");
                let order = knowledge(cluster).cmp(&knowledge(known));
                if order.then_with(|| text(cluster).cmp(&text(known))).is_gt() {
                    *known = cluster;
                }
            })
            .or_insert(cluster);
    }
    best
}

fn knowledge(cluster: &ObservedCluster) -> (u8, Timestamp) {
    match &cluster.observation {
        ClusterObservation::Read(group) => (4, group.observed_at),
        ClusterObservation::NotFound { .. } => (3, Timestamp::MIN),
        ClusterObservation::NotSupported { .. } => (2, Timestamp::MIN),
        ClusterObservation::Unreadable(_) => (1, Timestamp::MIN),
        ClusterObservation::Pending => (0, Timestamp::MIN),
    }
}

/// Counts the attempts of this pass: at most [`MAX_APPLIES_PER_PASS`], the least recently requested first, and only clusters whose
/// entry the status has room for, because an attempt that is not stored would not be bounded.
fn choose_applies(clusters: &mut [ClusterPlan], without_slot: &HashSet<String>, now: Timestamp) -> Vec<Apply> {
    let stored = clusters.iter().filter(|cluster| must_be_stored(&cluster.entry)).count();
    let mut room = MAX_CLUSTERS_SHOWN.saturating_sub(stored);
    let mut due: Vec<usize> = (0..clusters.len()).filter(|&index| clusters[index].is_due).collect();
    due.sort_by_key(|&index| clusters[index].entry.last_attempt_time.as_ref().map(|time| time.0));
    let mut applies = Vec::new();
    for index in due {
        let cluster = &mut clusters[index];
        let is_stored = must_be_stored(&cluster.entry);
        cluster.lacks_slot = without_slot.contains(&cluster.entry.id);
        if applies.len() == MAX_APPLIES_PER_PASS || (room == 0 && !is_stored) || cluster.lacks_slot {
            continue;
        }
        if !is_stored {
            room -= 1;
        }
        cluster.count_attempt(now);
        let (id, name) = (cluster.entry.id.clone(), cluster.label().to_owned());
        applies.push(Apply { id, name, attempt: cluster.entry.attempts });
    }
    if room == 0 {
        // A cluster without room waits for the poll, not for the next moment: room appears when another cluster is done.
        clusters
            .iter_mut()
            .filter(|cluster| cluster.is_due && !must_be_stored(&cluster.entry))
            .for_each(|cluster| cluster.is_due = false);
    }
    applies
}
