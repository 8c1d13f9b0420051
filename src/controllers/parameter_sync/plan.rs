//! The pass over all clusters: who is asked for now, what the status says, when to look again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use super::backoff::after;
use super::episode::{Policy, Row, is_in_sync};
use super::events::{self, Event};
use super::input::{ApplyResult, Input, Outcome, Problem, Target};
use super::status::{Counts, MAX_CLUSTERS_SHOWN, Report};
use crate::api::parameter_sync::{ClusterSync, RedisParameterSyncStatus, SyncPhase};

/// How many clusters are asked for in one pass; the rest waits for the next one, a moment later.
pub const MAX_APPLIES_PER_PASS: usize = 10;
/// The next pass when clusters wait for their turn; also the shortest wait between two passes.
const SOON: Duration = Duration::from_secs(1);
/// The next pass when only clusters wait that are held back; whoever is next is woken sooner.
const TURN: Duration = Duration::from_secs(15);
/// How often a cluster is looked at in the first minute after an attempt, and later.
const APPLYING_POLL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10));
/// How long an attempt is fresh, and how long one that is due is waited for at the faster pace.
const FRESH: Duration = Duration::from_secs(60);

/// What a pass wants.
///
/// Write `status` first, then ask the cloud for each of `applies`, hand the answers to [`Plan::record`], write its status, then
/// publish the events of both. If the first write fails, nothing may be asked for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The full status; equal to the previous one if nothing changed.
    pub status: RedisParameterSyncStatus,
    /// The clusters to ask for, whose attempt is already counted in `status`.
    pub applies: Vec<Apply>,
    /// When to make the next pass, unless something changes sooner.
    pub requeue_after: Duration,
    /// What changed, for people.
    pub events: Vec<Event>,
    pass: Pass,
}

/// One request for application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apply {
    /// ID of the cluster or instance set.
    pub id: String,
    /// The name people know it by.
    pub name: String,
    /// Which attempt of the episode this is, from 1.
    pub attempt: i32,
}

#[derive(Clone, Debug)]
struct Pass {
    policy: Policy,
    rows: Vec<Row>,
    report: Report,
    poll_interval: Duration,
}

/// Decides what to do about the clusters of one `RedisParameterSync`.
pub fn plan(input: &Input<'_>) -> Plan {
    let policy = Policy::new(input.spec, input.now, input.jitter);
    let default = RedisParameterSyncStatus::default();
    let previous = input.previous.unwrap_or(&default);
    let report = Report::new(input, previous);
    if input.spec.suspend {
        let status = report.suspended(previous, input.now);
        let pass = Pass { policy, rows: Vec::new(), report, poll_interval: input.poll_interval };
        return Plan {
            status,
            applies: Vec::new(),
            requeue_after: input.poll_interval.max(SOON),
            events: Vec::new(),
            pass,
        };
    }
    let mut rows = rows(input, previous, &policy);
    let applies = choose(&mut rows, input.held, input.now);
    let pass = Pass { policy, rows, report, poll_interval: input.poll_interval };
    let events = events::of_plan(&pass.rows);
    pass.finish(applies, events)
}

impl Plan {
    /// What stands after the cloud's answers: accepted is Applying, busy (409) is no attempt and tried later, an error is
    /// BackingOff or GaveUp. Answers about clusters that are not among `applies` are ignored; a cluster without an answer keeps
    /// its counted attempt.
    #[must_use]
    pub fn record(self, answers: &[(String, ApplyResult)], now: Timestamp, jitter: f64) -> Self {
        if self.applies.is_empty() {
            return Self { events: Vec::new(), ..self };
        }
        let Self { status, applies, mut pass, .. } = self;
        pass.report.continue_from(status.conditions);
        pass.policy.now = now;
        pass.policy.jitter = jitter;
        let mut recorded = Vec::new();
        for row in &mut pass.rows {
            row.before = Some(row.entry.clone());
            row.failed = false;
            row.accepted = false;
            let asked = applies.iter().any(|apply| apply.id == row.entry.id);
            if let Some((_, result)) = answers.iter().find(|(id, _)| asked && *id == row.entry.id) {
                row.record(result, &pass.policy);
                recorded.push(row.clone());
            }
        }
        let events = events::of_answers(&recorded);
        pass.finish(Vec::new(), events)
    }
}

impl Pass {
    fn finish(self, applies: Vec<Apply>, events: Vec<Event>) -> Plan {
        let status = self.report.status(&self.rows, &self.policy);
        let requeue_after = self.requeue_after();
        Plan { status, applies, requeue_after, events, pass: self }
    }

    fn requeue_after(&self) -> Duration {
        let now = self.policy.now;
        let mut wait = self.poll_interval;
        for row in &self.rows {
            if row.due {
                wait = wait.min(if row.held { TURN } else { SOON });
            }
            if row.entry.phase == SyncPhase::Applying {
                let fresh = row.entry.last_attempt_time.as_ref().is_some_and(|last| after(last.0, FRESH) > now);
                wait = wait.min(if fresh { APPLYING_POLL.0 } else { APPLYING_POLL.1 });
            }
            // An attempt that is due waits for a newer observation, which is asked for at the faster pace.
            let next = row.entry.next_attempt_time.as_ref().map(|next| next.0);
            if next.is_some_and(|next| next <= now && now < after(next, FRESH)) {
                wait = wait.min(APPLYING_POLL.0);
            }
            for moment in [next, row.wake].into_iter().flatten().filter(|moment| *moment > now) {
                wait = wait.min(moment.duration_since(now).unsigned_abs());
            }
        }
        wait.max(SOON)
    }
}

fn rows(input: &Input<'_>, previous: &RedisParameterSyncStatus, policy: &Policy) -> Vec<Row> {
    let renewed = previous.observed_generation.is_some_and(|handled| handled != input.generation)
        || input.requested_at.is_some_and(|asked| previous.last_handled_reconcile_at.as_deref() != Some(asked));
    let mut rows: Vec<Row> = match input.targets {
        Ok(targets) => {
            let known: HashMap<&str, &ClusterSync> =
                previous.clusters.iter().map(|entry| (entry.id.as_str(), entry)).collect();
            let mut unshown = Counts::hidden(previous).in_sync;
            let row = |target: &Target| match known.get(target.id.as_str()) {
                Some(entry) => Row::new(target, Some(entry), renewed, policy),
                None => {
                    let entry = (unshown > 0).then(|| was_in_sync(target)).flatten();
                    unshown -= usize::from(entry.is_some());
                    Row::new(target, entry.as_ref(), renewed, policy)
                }
            };
            unique(targets).into_values().map(row).collect()
        }
        Err(Problem::Pending) => {
            previous.clusters.iter().map(|entry| Row::carried(entry, renewed, None, policy)).collect()
        }
        Err(Problem::Unavailable { reason, message }) => {
            let trouble = Some((*reason, message.clone()));
            previous.clusters.iter().map(|entry| Row::carried(entry, renewed, trouble.clone(), policy)).collect()
        }
        Err(Problem::ReferenceNotFound { .. } | Problem::InvalidSelector { .. } | Problem::NoClusters { .. }) => {
            Vec::new()
        }
    };
    rows.sort_by(|a, b| (a.label(), &a.entry.id).cmp(&(b.label(), &b.entry.id)));
    rows
}

/// The entry of a cluster that the status counts as In-Sync without showing it, if it cannot be read just now: what stands in
/// the reference's status goes on standing.
fn was_in_sync(target: &Target) -> Option<ClusterSync> {
    let last = target.last_known.as_ref()?;
    let is_unread = matches!(target.outcome, Outcome::Pending | Outcome::Unavailable { .. });
    (is_unread && last.sync_status.as_deref().is_some_and(is_in_sync)).then(|| ClusterSync {
        id: target.id.clone(),
        name: target.name.clone(),
        parameter_group_id: last.group_id.clone(),
        sync_status: last.sync_status.clone(),
        phase: SyncPhase::InSync,
        ..ClusterSync::default()
    })
}

/// Several references may mean one cluster: it is one target, and the best knowledge of it counts.
fn unique(targets: &[Target]) -> BTreeMap<&str, &Target> {
    let mut best: BTreeMap<&str, &Target> = BTreeMap::new();
    for target in targets {
        best.entry(&target.id)
            .and_modify(|known| {
                // The text decides between equals, so that the order of the targets never shows.
                let text = |target: &Target| format!("{target:?}");
                let order = knowledge(target).cmp(&knowledge(known));
                if order.then_with(|| text(target).cmp(&text(known))).is_gt() {
                    *known = target;
                }
            })
            .or_insert(target);
    }
    best
}

fn knowledge(target: &Target) -> (u8, Timestamp) {
    match &target.outcome {
        Outcome::Observed(seen) => (4, seen.observed_at),
        Outcome::NotFound { .. } => (3, Timestamp::MIN),
        Outcome::NotSupported { .. } => (2, Timestamp::MIN),
        Outcome::Unavailable { .. } => (1, Timestamp::MIN),
        Outcome::Pending => (0, Timestamp::MIN),
    }
}

/// Counts the attempts of this pass: at most [`MAX_APPLIES_PER_PASS`], the least recently asked first, and only clusters whose
/// entry the status has room for, because an attempt that is not stored would not be bounded.
fn choose(rows: &mut [Row], held: &HashSet<String>, now: Timestamp) -> Vec<Apply> {
    let remembered = rows.iter().filter(|row| row.remembers()).count();
    let mut room = MAX_CLUSTERS_SHOWN.saturating_sub(remembered);
    let mut due: Vec<usize> = (0..rows.len()).filter(|&index| rows[index].due).collect();
    due.sort_by_key(|&index| rows[index].entry.last_attempt_time.as_ref().map(|time| time.0));
    let mut applies = Vec::new();
    for index in due {
        let row = &mut rows[index];
        let stored = row.remembers();
        row.held = held.contains(&row.entry.id);
        if applies.len() == MAX_APPLIES_PER_PASS || (room == 0 && !stored) || row.held {
            continue;
        }
        if !stored {
            room -= 1;
        }
        row.count_attempt(now);
        applies.push(Apply { id: row.entry.id.clone(), name: row.label().to_owned(), attempt: row.entry.attempts });
    }
    if room == 0 {
        // Who has no room is woken by the poll, not at once: room appears when another cluster is done.
        rows.iter_mut().filter(|row| row.due && !row.remembers()).for_each(|row| row.due = false);
    }
    applies
}
