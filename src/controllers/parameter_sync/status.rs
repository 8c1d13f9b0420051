//! The status: counts, the clusters that are shown, and the conditions with their sentences.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::backoff::after;
use super::episode::{Policy, Row, Why};
use super::input::{CloudProblem, Input, Problem};
use super::text::{list, one_line};
use crate::api::RECONCILE_REQUESTED_AT;
use crate::api::conditions::{self, ConditionStatus, DesiredCondition, READY, RECONCILING, STALLED, SYNCED};
use crate::api::parameter_sync::{ClusterSync, RedisParameterSyncStatus, SyncPhase};

/// How many clusters the status holds.
pub const MAX_CLUSTERS_SHOWN: usize = 1000;
/// Up to this many clusters the status shows them all; of more, those that are In-Sync and never had to be asked for are only
/// counted.
pub const SHOWN_WHOLE: usize = 20;
/// Reason of Ready and Stalled when there are more clusters than an object covers.
const TOO_MANY: &str = "TooManyClusters";
/// Reason of a Synced condition while nothing was read.
const NOT_READ: &str = "NotRead";
/// Longest text of somebody else in a condition's sentence, in bytes.
const MAX_CAUSE_BYTES: usize = 512;

/// Numbers of clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub total: usize,
    pub in_sync: usize,
    pub failing: usize,
}

impl Counts {
    fn of<'a>(entries: impl Iterator<Item = &'a ClusterSync>) -> Self {
        entries.fold(Self::default(), |sum, entry| Self {
            total: sum.total + 1,
            in_sync: sum.in_sync + usize::from(entry.phase == SyncPhase::InSync),
            failing: sum.failing + usize::from(matches!(entry.phase, SyncPhase::BackingOff | SyncPhase::GaveUp)),
        })
    }

    /// The clusters a status counts but does not show.
    pub fn hidden(status: &RedisParameterSyncStatus) -> Self {
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
}

/// What keeps the object from being Ready, the most severe first: what needs a person, then what is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Concern {
    Blocked(CloudProblem),
    RetriesExhausted,
    ClusterNotFound,
    NotSupported,
    Unreadable(CloudProblem),
    BackingOff,
    Applying,
    Waiting,
}

impl Concern {
    fn of(row: &Row) -> Option<Self> {
        let by_phase = match row.entry.phase {
            SyncPhase::InSync => None,
            SyncPhase::GaveUp if row.not_supported() => Some(Self::NotSupported),
            SyncPhase::GaveUp => Some(Self::RetriesExhausted),
            SyncPhase::NotFound => Some(Self::ClusterNotFound),
            SyncPhase::BackingOff => Some(Self::BackingOff),
            SyncPhase::Applying => Some(Self::Applying),
            SyncPhase::Waiting => Some(Self::Waiting),
        };
        match &row.trouble {
            Some((problem, _)) if problem.stalls() => Some(Self::Blocked(*problem)),
            Some((problem, _)) => by_phase.map(|concern| concern.min(Self::Unreadable(*problem))),
            None => by_phase,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Blocked(problem) | Self::Unreadable(problem) => problem.as_str(),
            Self::RetriesExhausted => "RetriesExhausted",
            Self::ClusterNotFound => "ClusterNotFound",
            Self::NotSupported => "NotSupported",
            Self::BackingOff => "BackingOff",
            Self::Applying => "Applying",
            Self::Waiting => "Waiting",
        }
    }

    fn stalls(self) -> bool {
        self < Self::Unreadable(CloudProblem::CredentialsNotFound)
    }

    fn sentence(self, rows: &[&Row], policy: &Policy) -> String {
        let names = list(&rows.iter().map(|row| row.label()).collect::<Vec<_>>());
        let Some(first) = rows.first() else { return String::new() };
        let entry = &first.entry;
        let error = entry.last_error.as_ref().map_or("", |error| error.message.as_str());
        match self {
            Self::Blocked(_) | Self::Unreadable(_) => {
                let cause = first.trouble.as_ref().map_or("", |(_, message)| message.as_str());
                format!(
                    "{names} cannot be read: {}. It is tried again at every poll.",
                    one_line(cause, MAX_CAUSE_BYTES)
                )
            }
            Self::RetriesExhausted => format!(
                "Gave up on {names} after {}{}. Change the spec or the parameter group, or set the annotation \
                 {RECONCILE_REQUESTED_AT} to a new value, to try again.",
                attempts(entry.attempts),
                suffix(error),
            ),
            Self::ClusterNotFound => {
                format!("{names} cannot be found{}. It is looked for at every poll.", suffix(error))
            }
            Self::NotSupported => format!("{names} cannot be kept in sync{}.", suffix(error)),
            Self::BackingOff => {
                let next = rows.iter().filter_map(|row| row.entry.next_attempt_time.as_ref().map(|time| time.0)).min();
                let next = next.map_or(String::new(), |time| format!(" The next attempt comes at {time}."));
                let count = format!("attempt {} of {}", entry.attempts, policy.retry.max_attempts);
                format!("Applying the parameter group to {names} failed ({count}){}.{next}", suffix(error))
            }
            Self::Applying => format!("Waiting for the parameter group to be applied to {names}."),
            Self::Waiting => format!("Waiting for {names}: {}.", why(first)),
        }
    }
}

fn attempts(count: i32) -> String {
    if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") }
}

fn suffix(error: &str) -> String {
    if error.is_empty() { String::new() } else { format!(": {error}") }
}

fn why(row: &Row) -> String {
    let name = row.label();
    let word = row.entry.sync_status.as_deref();
    match &row.why {
        Why::Word => word.map_or(format!("the cloud shows no sync status of {name}"), |word| {
            format!("the sync status of {name} is {word}")
        }),
        Why::NotRead => format!("{name} has not been read yet"),
        Why::NotRunning(Some(state)) => {
            format!("{name} is {state}, and the parameter group is applied once it is Running")
        }
        Why::NotRunning(None) => {
            format!("the state of {name} is not known, and the parameter group is applied once it is Running")
        }
        Why::NextAttempt => match &row.entry.next_attempt_time {
            Some(next) => format!("{name} can be asked for again at {}", next.0),
            None => format!("{name} can be asked for again"),
        },
        Why::AppliedBy => {
            let word = word.unwrap_or("absent");
            let other = row.entry.applied_by.as_deref().unwrap_or("another one");
            format!("its sync status is {word}, and RedisParameterSync {other} applies its parameter group")
        }
        Why::Turn => format!("the parameter group of {name} is applied next"),
    }
}

/// What the status is made of beside the clusters.
#[derive(Clone, Debug)]
pub(super) struct Report {
    generation: i64,
    handled: Option<String>,
    existing: Vec<Condition>,
    problem: Option<Problem>,
    /// Clusters that are counted though they are not among the rows.
    hidden: Counts,
    /// Clusters that the spec means beside the rows, and how many an object covers.
    beyond: usize,
    most: usize,
    /// Whether nothing new is known of the clusters.
    carried: bool,
    /// An empty list of a parameter group is an answer of the cloud.
    listed: bool,
    stale_after: Duration,
}

impl Report {
    pub fn new(input: &Input<'_>, previous: &RedisParameterSyncStatus) -> Self {
        let carried = matches!(input.targets, Err(Problem::Pending | Problem::Unavailable { .. }));
        Self {
            generation: input.generation,
            handled: input.requested_at.map(str::to_owned).or_else(|| previous.last_handled_reconcile_at.clone()),
            existing: previous.conditions.clone(),
            problem: input.targets.err().cloned(),
            hidden: if carried { Counts::hidden(previous) } else { Counts::default() },
            beyond: input.beyond,
            most: input.most,
            carried,
            listed: input.spec.parameter_group.is_some()
                && matches!(input.targets, Ok(_) | Err(Problem::NoClusters { .. })),
            stale_after: input.poll_interval.saturating_mul(3),
        }
    }

    /// Goes on from conditions that were written since.
    pub fn continue_from(&mut self, written: Vec<Condition>) {
        self.existing = written;
    }

    /// The status of a suspended object: everything as it was last seen, and Ready says why. What was Ready stays it, so that
    /// whoever waits for everything to be Ready (`helm --wait`, Flux) does not wait for what somebody set aside on purpose.
    pub fn suspended(&self, previous: &RedisParameterSyncStatus, now: Timestamp) -> RedisParameterSyncStatus {
        let message = "Suspended: nothing is applied, and the status stays as it was last seen.";
        let was_ready = conditions::is_true(&self.existing, READY);
        let ready = DesiredCondition::new(
            READY,
            if was_ready { ConditionStatus::True } else { ConditionStatus::False },
            "Suspended",
            message,
        );
        let synced = conditions::find(&self.existing, SYNCED).is_none().then(|| {
            DesiredCondition::new(SYNCED, ConditionStatus::Unknown, "Suspended", "Suspended before the cloud was read.")
        });
        RedisParameterSyncStatus {
            observed_generation: Some(self.generation),
            conditions: self.merge([ready].into_iter().chain(synced).collect(), now),
            ..previous.clone()
        }
    }

    pub fn status(&self, rows: &[Row], policy: &Policy) -> RedisParameterSyncStatus {
        let mut counts = Counts::of(rows.iter().map(|row| &row.entry)).plus(self.hidden);
        counts.total += self.beyond;
        let number = |count: usize| Some(i32::try_from(count).unwrap_or(i32::MAX));
        let mut desired = self.progress(rows, counts, policy);
        desired.extend(self.synced(rows));
        RedisParameterSyncStatus {
            observed_generation: Some(self.generation),
            last_handled_reconcile_at: self.handled.clone(),
            conditions: self.merge(desired, policy.now),
            clusters: shown(rows, policy),
            total: number(counts.total),
            in_sync: number(counts.in_sync),
            failing: number(counts.failing),
        }
    }

    /// Merges, and keeps Synced as it stands where nothing new is known about it.
    fn merge(&self, desired: Vec<DesiredCondition>, now: Timestamp) -> Vec<Condition> {
        let keeps = !desired.iter().any(|want| want.type_ == SYNCED);
        let mut merged = conditions::merge(&self.existing, desired, self.generation, now);
        if let Some(kept) = conditions::find(&self.existing, SYNCED).filter(|_| keeps) {
            merged.push(Condition { observed_generation: Some(self.generation), ..kept.clone() });
            merged.sort_by(|a, b| a.type_.cmp(&b.type_));
        }
        merged
    }

    /// Ready, and Reconciling or Stalled.
    fn progress(&self, rows: &[Row], counts: Counts, policy: &Policy) -> Vec<DesiredCondition> {
        let too_many = self.too_many(counts);
        // What passes by itself is of less interest than what needs a person.
        let is_first = |concern: &Concern| concern.stalls() || too_many.is_none();
        if let Some(concern) = rows.iter().filter_map(Concern::of).min().filter(is_first) {
            let concerned: Vec<&Row> = rows.iter().filter(|row| Concern::of(row) == Some(concern)).collect();
            let mut message = concern.sentence(&concerned, policy);
            if let Some(too_many) = &too_many {
                message = format!("{message} {too_many}");
            } else if counts.total > 1 {
                message = format!("{message} {}", share(counts));
            }
            let second = if concern.stalls() { STALLED } else { RECONCILING };
            return not_ready(concern.reason(), &message, Some(second));
        }
        if let Some(message) = too_many {
            return not_ready(TOO_MANY, &message, Some(STALLED));
        }
        if counts.total == 0 {
            return self.nothing();
        }
        if counts.in_sync < counts.total {
            return not_ready("Waiting", &share(counts), Some(RECONCILING));
        }
        if self.is_stale(rows, policy.now) {
            let message = "The clusters were In-Sync when the cloud was last read, which is too long ago to say.";
            return vec![DesiredCondition::new(READY, ConditionStatus::Unknown, "ObservationStale", message)];
        }
        let message = match rows {
            [only] if counts.total == 1 => format!("{} is In-Sync.", only.label()),
            _ => format!("All {} clusters are In-Sync.", counts.total),
        };
        vec![DesiredCondition::new(READY, ConditionStatus::True, "InSync", message)]
    }

    /// That there are more clusters than an object covers, if so. Before it is known again, what was said of it stands.
    fn too_many(&self, counts: Counts) -> Option<String> {
        if self.beyond > 0 {
            return Some(format!(
                "It is about {} clusters, and one RedisParameterSync keeps {} in sync at most: {} of them are left out. Split it \
                 into several, each with a clusterSelector for a part of them. {}",
                counts.total,
                self.most,
                self.beyond,
                share(counts),
            ));
        }
        let stands = |stalled: &&Condition| {
            self.carried && stalled.reason == TOO_MANY && stalled.observed_generation == Some(self.generation)
        };
        conditions::find(&self.existing, STALLED).filter(stands).map(|stalled| stalled.message.clone())
    }

    /// Ready without any cluster to speak about.
    fn nothing(&self) -> Vec<DesiredCondition> {
        match &self.problem {
            Some(Problem::Pending) => not_ready("Waiting", "The clusters have not been read yet.", Some(RECONCILING)),
            Some(Problem::ReferenceNotFound { message }) => not_ready("ReferenceNotFound", message, Some(STALLED)),
            Some(Problem::InvalidSelector { message }) => not_ready("InvalidSelector", message, Some(STALLED)),
            Some(Problem::NoClusters { message }) => not_ready("NoClusters", message, None),
            Some(Problem::Unavailable { reason, message }) => {
                not_ready(reason.as_str(), message, Some(if reason.stalls() { STALLED } else { RECONCILING }))
            }
            None => not_ready("NoClusters", "There is no cluster to apply a parameter group to.", None),
        }
    }

    /// Whether In-Sync clusters have not been readable for three polls.
    fn is_stale(&self, rows: &[Row], now: Timestamp) -> bool {
        let unreadable =
            rows.iter().any(|row| row.trouble.is_some()) || matches!(self.problem, Some(Problem::Unavailable { .. }));
        let since = conditions::find(&self.existing, SYNCED).filter(|synced| synced.status == "False");
        unreadable && since.is_some_and(|synced| after(synced.last_transition_time.0, self.stale_after) <= now)
    }

    /// Whether the last talk with the cloud worked; None if this pass knows nothing new and Synced already stands.
    fn synced(&self, rows: &[Row]) -> Option<DesiredCondition> {
        let of_list = match &self.problem {
            Some(Problem::Unavailable { reason, message }) => Some((*reason, message)),
            _ => None,
        };
        let of_rows = rows.iter().filter_map(|row| row.trouble.as_ref()).map(|(reason, message)| (*reason, message));
        if let Some((reason, message)) = of_list.into_iter().chain(of_rows).min_by_key(|(reason, _)| *reason) {
            return Some(DesiredCondition::new(SYNCED, ConditionStatus::False, reason.as_str(), message.clone()));
        }
        if self.listed || rows.iter().any(|row| row.read) {
            return Some(DesiredCondition::new(
                SYNCED,
                ConditionStatus::True,
                "ObserveSucceeded",
                "The cloud was read.",
            ));
        }
        if !self.carried && rows.iter().all(Row::not_supported) {
            // An error of clusters that it is not about any more would stand for ever.
            return Some(DesiredCondition::new(
                SYNCED,
                ConditionStatus::Unknown,
                NOT_READ,
                "There is no cluster with a parameter group to be read.",
            ));
        }
        conditions::find(&self.existing, SYNCED).is_none().then(|| {
            DesiredCondition::new(SYNCED, ConditionStatus::Unknown, NOT_READ, "The cloud has not been read yet.")
        })
    }
}

fn not_ready(reason: &'static str, message: &str, second: Option<&'static str>) -> Vec<DesiredCondition> {
    let also = second.map(|type_| DesiredCondition::new(type_, ConditionStatus::True, reason, message));
    [DesiredCondition::new(READY, ConditionStatus::False, reason, message)].into_iter().chain(also).collect()
}

/// `200 of 1000 clusters are In-Sync.`
fn share(counts: Counts) -> String {
    format!("{} of {} clusters are In-Sync.", counts.in_sync, counts.total)
}

/// The clusters to show: what must be remembered first, then what is not In-Sync, then the rest, at most
/// [`MAX_CLUSTERS_SHOWN`]; of these, those that are not In-Sync first, then by name. Of many clusters, those in sync that need no
/// memory are left out; when one was last asked for is memory, for it keeps the next request at a distance.
fn shown(rows: &[Row], policy: &Policy) -> Vec<ClusterSync> {
    let in_sync = |row: &Row| row.entry.phase == SyncPhase::InSync;
    let is_shown = |row: &&Row| rows.len() <= SHOWN_WHOLE || !in_sync(row) || row.entry.last_attempt_time.is_some();
    let mut kept: Vec<&Row> = rows.iter().filter(is_shown).collect();
    kept.sort_by_key(|row| (!row.remembers(), in_sync(row)));
    kept.truncate(MAX_CLUSTERS_SHOWN);
    kept.sort_by(|a, b| (in_sync(a), a.label(), &a.entry.id).cmp(&(in_sync(b), b.label(), &b.entry.id)));
    let left = |entry: &ClusterSync| policy.retry.max_attempts.saturating_sub(entry.attempts).max(0);
    let show = |row: &Row| ClusterSync {
        attempts_left: (row.entry.attempts > 0).then(|| left(&row.entry)),
        ..row.entry.clone()
    };
    kept.into_iter().map(show).collect()
}
