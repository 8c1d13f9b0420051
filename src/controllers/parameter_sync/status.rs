//! The status: counts, the clusters that are shown, and the conditions.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::entry::must_be_stored;
use super::episode::ClusterPlan;
use super::input::{Input, Unresolved};
use super::messages;
use super::not_ready::{NotReady, severity};
use super::policy::Policy;
use super::times::after;
use crate::api::Reason;
use crate::api::conditions::{self, ConditionStatus, DesiredCondition, READY, RECONCILING, STALLED, SYNCED};
use crate::api::parameter_sync::{ClusterSync, RedisParameterSyncStatus, SyncPhase};
use crate::controllers::problem::Problem;

/// How many clusters the status holds.
pub(super) const MAX_CLUSTERS_SHOWN: usize = 1000;
/// Up to this many clusters the status shows them all; of more, those that are In-Sync and never had to be asked for are only
/// counted.
pub(super) const SHOWN_WHOLE: usize = 20;

/// Numbers of clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ClusterCounts {
    pub total: usize,
    pub in_sync: usize,
    pub failing: usize,
}

impl ClusterCounts {
    fn of<'a>(entries: impl Iterator<Item = &'a ClusterSync>) -> Self {
        entries.fold(Self::default(), |sum, entry| Self {
            total: sum.total + 1,
            in_sync: sum.in_sync + usize::from(entry.phase == SyncPhase::InSync),
            failing: sum.failing + usize::from(matches!(entry.phase, SyncPhase::BackingOff | SyncPhase::GaveUp)),
        })
    }

    /// The clusters that a status counts and does not show.
    pub(super) fn unshown(status: &RedisParameterSyncStatus) -> Self {
        let shown = Self::of(status.clusters.iter());
        let beyond =
            |count: Option<i32>, shown: usize| usize::try_from(count.unwrap_or(0)).unwrap_or(0).saturating_sub(shown);
        Self {
            total: beyond(status.total, shown.total),
            in_sync: beyond(status.in_sync, shown.in_sync),
            failing: beyond(status.failing, shown.failing),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            total: self.total + other.total,
            in_sync: self.in_sync + other.in_sync,
            failing: self.failing + other.failing,
        }
    }

    fn share_in_sync(self) -> String {
        messages::share_in_sync(self.in_sync, self.total)
    }
}

/// Makes the status from the clusters of a plan; this is what it needs to know beside them.
#[derive(Clone, Debug)]
pub(super) struct StatusBuilder {
    generation: i64,
    handled_request: Option<String>,
    existing: Vec<Condition>,
    unresolved: Option<Unresolved>,
    /// Clusters that are counted though the plan does not have them.
    unshown: ClusterCounts,
    left_out: usize,
    max_clusters: usize,
    /// Whether nothing new is known of the clusters.
    is_carried_over: bool,
    /// Whether the cloud listed the clusters; an empty list of a parameter group is an answer too.
    is_listed: bool,
    stale_after: Duration,
}

impl StatusBuilder {
    pub(super) fn new(input: &Input<'_>, previous: &RedisParameterSyncStatus) -> Self {
        let is_carried_over = matches!(input.clusters, Err(Unresolved::Pending | Unresolved::Unreadable(_)));
        let handled = || previous.last_handled_reconcile_at.clone();
        Self {
            generation: input.generation,
            handled_request: input.refresh_requested.map(str::to_owned).or_else(handled),
            existing: previous.conditions.clone(),
            unresolved: input.clusters.err().cloned(),
            unshown: if is_carried_over { ClusterCounts::unshown(previous) } else { ClusterCounts::default() },
            left_out: input.left_out,
            max_clusters: input.max_clusters,
            is_carried_over,
            is_listed: input.spec.parameter_group.is_some()
                && matches!(input.clusters, Ok(_) | Err(Unresolved::NoClusters(_))),
            stale_after: input.poll_interval.saturating_mul(3),
        }
    }

    /// Continues from conditions that were written since.
    pub(super) fn continue_from(&mut self, written: Vec<Condition>) {
        self.existing = written;
    }

    /// The status of a suspended object: everything as it was last seen, and Ready says why. What was Ready stays Ready, so that
    /// a tool that waits for everything to be Ready (`helm --wait`, Flux) does not wait for what was suspended on purpose.
    pub(super) fn suspended(&self, previous: &RedisParameterSyncStatus, now: Timestamp) -> RedisParameterSyncStatus {
        let was_ready = conditions::is_true(&self.existing, READY);
        let ready = if was_ready { ConditionStatus::True } else { ConditionStatus::False };
        let ready = DesiredCondition::new(READY, ready, Reason::Suspended, messages::SUSPENDED);
        let synced = conditions::find(&self.existing, SYNCED)
            .is_none()
            .then(|| synced(ConditionStatus::Unknown, Reason::Suspended, messages::SUSPENDED_BEFORE_READ));
        RedisParameterSyncStatus {
            observed_generation: Some(self.generation),
            conditions: self.merge([ready].into_iter().chain(synced).collect(), now),
            ..previous.clone()
        }
    }

    pub(super) fn status(&self, clusters: &[ClusterPlan], policy: &Policy) -> RedisParameterSyncStatus {
        let mut counts = ClusterCounts::of(clusters.iter().map(|cluster| &cluster.entry)).plus(self.unshown);
        counts.total += self.left_out;
        let number = |count: usize| Some(i32::try_from(count).unwrap_or(i32::MAX));
        let mut desired = self.progress(clusters, counts, policy);
        desired.extend(self.synced(clusters));
        RedisParameterSyncStatus {
            observed_generation: Some(self.generation),
            last_handled_reconcile_at: self.handled_request.clone(),
            conditions: self.merge(desired, policy.now),
            clusters: shown(clusters, policy),
            total: number(counts.total),
            in_sync: number(counts.in_sync),
            failing: number(counts.failing),
        }
    }

    /// Merges the conditions, and keeps Synced as it is if nothing new is known about it.
    fn merge(&self, desired: Vec<DesiredCondition>, now: Timestamp) -> Vec<Condition> {
        let keeps_synced = !desired.iter().any(|condition| condition.type_ == SYNCED);
        let mut merged = conditions::merge(&self.existing, desired, self.generation, now);
        if let Some(kept) = conditions::find(&self.existing, SYNCED).filter(|_| keeps_synced) {
            merged.push(Condition { observed_generation: Some(self.generation), ..kept.clone() });
            merged.sort_by(|a, b| a.type_.cmp(&b.type_));
        }
        merged
    }

    /// Ready, and Reconciling or Stalled.
    fn progress(&self, clusters: &[ClusterPlan], counts: ClusterCounts, policy: &Policy) -> Vec<DesiredCondition> {
        let too_many = self.too_many(counts);
        // What passes by itself is of less interest than what needs a person.
        let is_first = |not_ready: &NotReady| not_ready.needs_a_person() || too_many.is_none();
        if let Some(cause) = NotReady::most_severe(clusters).filter(is_first) {
            let concerned: Vec<_> = clusters.iter().filter(|cluster| NotReady::of(cluster) == Some(cause)).collect();
            let mut message = cause.message(&concerned, policy);
            if let Some(too_many) = &too_many {
                message = format!("{message} {too_many}");
            } else if counts.total > 1 {
                message = format!("{message} {}", counts.share_in_sync());
            }
            return not_ready(cause.reason(), &message, Some(stalled_or_reconciling(cause.reason())));
        }
        if let Some(message) = too_many {
            return not_ready(Reason::TooManyClusters, &message, Some(STALLED));
        }
        if counts.total == 0 {
            return self.without_clusters();
        }
        if counts.in_sync < counts.total {
            return not_ready(Reason::Waiting, &counts.share_in_sync(), Some(RECONCILING));
        }
        let (status, reason, message) = match clusters {
            _ if self.is_stale(clusters, policy.now) => {
                (ConditionStatus::Unknown, Reason::ObservationStale, messages::STALE.to_owned())
            }
            [only] if counts.total == 1 => (ConditionStatus::True, Reason::InSync, messages::one_in_sync(only.label())),
            _ => (ConditionStatus::True, Reason::InSync, messages::all_in_sync(counts.total)),
        };
        vec![DesiredCondition::new(READY, status, reason, message)]
    }

    /// That there are more clusters than an object keeps in sync, if so. Until that is known again, the last message stays.
    fn too_many(&self, counts: ClusterCounts) -> Option<String> {
        if self.left_out > 0 {
            let ClusterCounts { total, in_sync, .. } = counts;
            return Some(messages::too_many_clusters(total, in_sync, self.max_clusters, self.left_out));
        }
        let is_kept = |stalled: &&Condition| {
            self.is_carried_over
                && Reason::of(stalled) == Some(Reason::TooManyClusters)
                && stalled.observed_generation == Some(self.generation)
        };
        conditions::find(&self.existing, STALLED).filter(is_kept).map(|stalled| stalled.message.clone())
    }

    /// Ready without any cluster to speak about.
    fn without_clusters(&self) -> Vec<DesiredCondition> {
        match &self.unresolved {
            Some(Unresolved::Pending) => not_ready(Reason::Waiting, messages::CLUSTERS_NOT_READ_YET, Some(RECONCILING)),
            Some(Unresolved::NoClusters(Problem { reason, message, .. })) => {
                not_ready(*reason, message, reason.needs_a_person().then_some(STALLED))
            }
            Some(Unresolved::Unreadable(Problem { reason, message, .. })) => {
                not_ready(*reason, message, Some(stalled_or_reconciling(*reason)))
            }
            None => not_ready(Reason::NoClusters, messages::NO_CLUSTER, None),
        }
    }

    /// Whether In-Sync clusters have not been readable for three polls.
    fn is_stale(&self, clusters: &[ClusterPlan], now: Timestamp) -> bool {
        let is_unreadable = matches!(self.unresolved, Some(Unresolved::Unreadable(_)))
            || clusters.iter().any(|cluster| cluster.problem.is_some());
        let failing = conditions::find(&self.existing, SYNCED).filter(|synced| synced.status == "False");
        is_unreadable && failing.is_some_and(|synced| after(synced.last_transition_time.0, self.stale_after) <= now)
    }

    /// Whether the last read of the cloud worked; None if this pass knows nothing new and Synced already stands.
    fn synced(&self, clusters: &[ClusterPlan]) -> Option<DesiredCondition> {
        let of_list = match &self.unresolved {
            Some(Unresolved::Unreadable(problem)) => Some(problem),
            _ => None,
        };
        let of_clusters = clusters.iter().filter_map(|cluster| cluster.problem.as_ref());
        if let Some(worst) = of_list.into_iter().chain(of_clusters).min_by_key(|problem| severity(problem.reason)) {
            return Some(synced(ConditionStatus::False, worst.reason, &worst.message));
        }
        if self.is_listed || clusters.iter().any(|cluster| cluster.is_read) {
            return Some(synced(ConditionStatus::True, Reason::ObserveSucceeded, messages::READ));
        }
        if !self.is_carried_over && clusters.iter().all(ClusterPlan::is_not_supported) {
            // Otherwise an error of clusters that the spec does not mean any more would stay for ever.
            return Some(synced(ConditionStatus::Unknown, Reason::NotRead, messages::NOTHING_TO_READ));
        }
        let is_new = conditions::find(&self.existing, SYNCED).is_none();
        is_new.then(|| synced(ConditionStatus::Unknown, Reason::NotRead, messages::NOT_READ_YET))
    }
}

fn synced(status: ConditionStatus, reason: Reason, message: &str) -> DesiredCondition {
    DesiredCondition::new(SYNCED, status, reason, message)
}

fn stalled_or_reconciling(reason: Reason) -> &'static str {
    if reason.needs_a_person() { STALLED } else { RECONCILING }
}

fn not_ready(reason: Reason, message: &str, second: Option<&'static str>) -> Vec<DesiredCondition> {
    let second = second.map(|type_| DesiredCondition::new(type_, ConditionStatus::True, reason, message));
    [DesiredCondition::new(READY, ConditionStatus::False, reason, message)].into_iter().chain(second).collect()
}

/// The clusters to show: what must be stored first, then what is not In-Sync, then the rest, at most [`MAX_CLUSTERS_SHOWN`]; of
/// these, those that are not In-Sync first, then by name. Of many clusters, those that are In-Sync and were never asked for are
/// left out: the time of the last request keeps the next one at a distance, so it must be stored.
fn shown(clusters: &[ClusterPlan], policy: &Policy) -> Vec<ClusterSync> {
    let in_sync = |cluster: &ClusterPlan| cluster.entry.phase == SyncPhase::InSync;
    let is_shown = |cluster: &&ClusterPlan| {
        clusters.len() <= SHOWN_WHOLE || !in_sync(cluster) || cluster.entry.last_attempt_time.is_some()
    };
    let mut kept: Vec<&ClusterPlan> = clusters.iter().filter(is_shown).collect();
    kept.sort_by_key(|cluster| (!must_be_stored(&cluster.entry), in_sync(cluster)));
    kept.truncate(MAX_CLUSTERS_SHOWN);
    kept.sort_by(|a, b| (in_sync(a), a.label(), &a.entry.id).cmp(&(in_sync(b), b.label(), &b.entry.id)));
    let left = |entry: &ClusterSync| policy.max_attempts().saturating_sub(entry.attempts).max(0);
    let show = |cluster: &ClusterPlan| ClusterSync {
        attempts_left: (cluster.entry.attempts > 0).then(|| left(&cluster.entry)),
        ..cluster.entry.clone()
    };
    kept.into_iter().map(show).collect()
}
