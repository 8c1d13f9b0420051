//! The plan for one cluster: what an observation or an answer of the cloud changes about its failure episode.
//!
//! # What is a new failure
//!
//! The apply operation answers at once and has no job to ask about: its result shows only in the sync status, which keeps the
//! old word for a moment. Right after the request an `Error-Sync` is therefore no news. A failing word counts as the failure
//! of an attempt once
//! - the observation was made after the attempt was answered (older ones are ignored altogether), and
//! - the cluster is Running, and
//! - either another word was observed since the attempt (`syncStatusSince` is later than `lastAttemptTime`), or the settle time
//!   ([`Policy::settle`]) has passed.
//!
//! A word that disappears and comes back is not "another word": a list may leave the field out.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::entry::{
    begin_episode, correct_times, count_attempt, forget_attempts, is_attempt_open, note_others, phase_before_attempt,
    stored_error, uncount_attempt,
};
use super::input::{ApplyResult, ClusterObservation, GroupObservation, ObservedCluster, OtherSyncs};
use super::messages;
use super::policy::Policy;
use super::sync_status::SyncStatus;
use super::times::{after, ceil_seconds};
use crate::api::Reason;
use crate::api::parameter_sync::{ClusterSync, SyncError, SyncPhase};
use crate::api::shared::whole_seconds;
use crate::controllers::problem::Problem;

/// Times are stored in whole seconds, cut: only a second later is it certain that something came after them.
const PRECISION: Duration = Duration::from_secs(1);

/// What a cluster that is not In-Sync waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// Another sync status.
    SyncStatus,
    /// The first read.
    Read,
    /// The state Running; now it is this word.
    Running(Option<String>),
    /// The time of its next attempt.
    NextAttempt,
    /// Its turn: other clusters are requested first.
    Turn,
    /// Another object, which applies its parameter group.
    Owner,
}

/// How far the application of a parameter group is.
enum SyncProgress {
    InSync,
    /// The cloud is working on it; at `stuck_at` that counts as a failure.
    Working {
        stuck_at: Timestamp,
    },
    /// The word may still be that of before the attempt.
    Unsettled {
        settled_at: Timestamp,
    },
    Failing {
        message: String,
    },
}

/// One cluster in a plan.
#[derive(Clone, Debug)]
pub(super) struct ClusterPlan {
    /// What the status said before the pass.
    pub before: Option<ClusterSync>,
    /// What it says now.
    pub entry: ClusterSync,
    others: OtherSyncs,
    pub waits_for: WaitsFor,
    /// Why it could not be read.
    pub problem: Option<Problem>,
    /// Whether the cloud answered about it.
    pub is_read: bool,
    /// Whether the application should be requested.
    pub is_due: bool,
    /// Whether it is due and this object has no slot at its connection.
    pub lacks_slot: bool,
    /// Whether an attempt was found to have failed.
    pub has_failed: bool,
    /// Whether the cloud accepted an attempt.
    pub is_accepted: bool,
    /// When to observe it again, at the latest.
    pub next_look: Option<Timestamp>,
}

impl ClusterPlan {
    /// The plan after what was observed; a `new_episode` forgets the attempts that were made.
    pub(super) fn new(
        cluster: &ObservedCluster,
        before: Option<&ClusterSync>,
        new_episode: bool,
        policy: &Policy,
    ) -> Self {
        let mut entry =
            before.cloned().unwrap_or_else(|| ClusterSync { id: cluster.id.clone(), ..ClusterSync::default() });
        if cluster.name.is_some() {
            entry.name.clone_from(&cluster.name);
        }
        correct_times(&mut entry, policy);
        if new_episode {
            begin_episode(&mut entry);
        }
        note_others(&mut entry, &cluster.others, policy);
        let mut plan = Self::unobserved(cluster, before, entry);
        match &cluster.observation {
            ClusterObservation::Read(group) => plan.observe(group, policy),
            ClusterObservation::Pending => {}
            ClusterObservation::NotFound { message } => {
                plan.is_read = true;
                plan.end(SyncPhase::NotFound, Reason::ClusterNotFound, message);
            }
            ClusterObservation::NotSupported { message } => {
                plan.end(SyncPhase::GaveUp, Reason::NotSupported, message);
            }
            ClusterObservation::Unreadable(problem) => plan.problem = Some(problem.clone()),
        }
        plan
    }

    fn unobserved(cluster: &ObservedCluster, before: Option<&ClusterSync>, entry: ClusterSync) -> Self {
        Self {
            before: before.cloned(),
            waits_for: if entry.sync_status.is_some() { WaitsFor::SyncStatus } else { WaitsFor::Read },
            entry,
            others: cluster.others.clone(),
            problem: None,
            is_read: false,
            is_due: false,
            lacks_slot: false,
            has_failed: false,
            is_accepted: false,
            next_look: None,
        }
    }

    /// The plan for a cluster that was not observed in this pass: it keeps what the status said.
    pub(super) fn carried_over(
        entry: &ClusterSync,
        new_episode: bool,
        problem: Option<&Problem>,
        policy: &Policy,
    ) -> Self {
        let cluster = ObservedCluster {
            id: entry.id.clone(),
            name: entry.name.clone(),
            observation: problem.cloned().map_or(ClusterObservation::Pending, ClusterObservation::Unreadable),
            others: OtherSyncs { owner: entry.applied_by.clone(), last_request_at: None },
            shown_group: None,
        };
        Self::new(&cluster, Some(entry), new_episode, policy)
    }

    /// The name people know the cluster by.
    pub(super) fn label(&self) -> &str {
        self.entry.name.as_deref().unwrap_or(&self.entry.id)
    }

    /// Whether it was given up for lack of a parameter group.
    pub(super) fn is_not_supported(&self) -> bool {
        let code = self.entry.last_error.as_ref().and_then(|error| error.code.as_deref());
        self.entry.phase == SyncPhase::GaveUp && code.and_then(|code| code.parse().ok()) == Some(Reason::NotSupported)
    }

    /// Counts an attempt, before the cloud is asked.
    pub(super) fn count_attempt(&mut self, now: Timestamp) {
        self.is_due = false;
        self.waits_for = WaitsFor::SyncStatus;
        count_attempt(&mut self.entry, now);
    }

    /// What the cloud answered to the attempt that was counted.
    pub(super) fn record(&mut self, result: &ApplyResult, policy: &Policy) {
        // The answer came now: what was read before it says nothing about the attempt.
        self.entry.last_attempt_time = Some(whole_seconds(policy.now));
        match result {
            ApplyResult::Accepted => self.is_accepted = true,
            ApplyResult::Busy => {
                uncount_attempt(&mut self.entry);
                self.back_off(policy);
            }
            ApplyResult::Failed(error) => self.fail_attempt(stored(error), policy),
            ApplyResult::NotSent(error) => {
                uncount_attempt(&mut self.entry);
                self.fail_attempt(stored(error), policy);
            }
        }
    }

    /// There is nothing to apply to, as far as the operator can see.
    fn end(&mut self, phase: SyncPhase, code: Reason, message: &str) {
        self.waits_for = WaitsFor::SyncStatus;
        let entry = &mut self.entry;
        entry.phase = phase;
        (entry.sync_status, entry.sync_status_since, entry.next_attempt_time) = (None, None, None);
        entry.last_error = Some(stored_error(Some(code.as_str()), message));
    }

    fn observe(&mut self, group: &GroupObservation, policy: &Policy) {
        self.is_read = true;
        let last = self.entry.last_attempt_time.as_ref().map(|time| time.0);
        if let Some(last) = last
            && group.observed_at < after(last, PRECISION)
        {
            self.next_look = Some(after(last, policy.settle().max(PRECISION)));
            return;
        }
        self.waits_for = WaitsFor::SyncStatus;
        self.note_group(group, policy);
        if self.entry.phase == SyncPhase::NotFound || self.is_not_supported() {
            self.entry.phase = SyncPhase::Waiting;
            self.entry.last_error = None;
        }
        self.note_sync_status(group, policy);
        if self.entry.applied_by.is_some() {
            self.stand_by();
            return;
        }
        match self.progress(group, policy) {
            SyncProgress::InSync => {
                forget_attempts(&mut self.entry);
                self.entry.phase = SyncPhase::InSync;
            }
            _ if self.entry.phase == SyncPhase::GaveUp && policy.is_exhausted(&self.entry) => {}
            SyncProgress::Working { stuck_at } => {
                self.next_look = Some(stuck_at);
                if !is_attempt_open(&self.entry) {
                    self.entry.phase = SyncPhase::Waiting;
                }
            }
            SyncProgress::Unsettled { settled_at } => self.next_look = Some(settled_at),
            SyncProgress::Failing { message } => self.fail(group, &message, policy),
        }
    }

    /// Another object applies: this one has no part in it.
    fn stand_by(&mut self) {
        forget_attempts(&mut self.entry);
        self.entry.last_attempt_time = None;
        let is_in_sync = parsed(self.entry.sync_status.as_deref()) == Some(SyncStatus::InSync);
        self.entry.phase = if is_in_sync { SyncPhase::InSync } else { SyncPhase::Waiting };
        self.waits_for = WaitsFor::Owner;
    }

    /// Takes over the parameter group; another one begins a new episode.
    fn note_group(&mut self, group: &GroupObservation, policy: &Policy) {
        let Some(id) = &group.group_id else { return };
        if self.entry.parameter_group_id.as_ref().is_some_and(|known| known != id) {
            begin_episode(&mut self.entry);
            note_others(&mut self.entry, &self.others, policy);
        }
        self.entry.parameter_group_id = Some(id.clone());
    }

    /// Takes over the sync status, and since when it has been that word.
    fn note_sync_status(&mut self, group: &GroupObservation, policy: &Policy) {
        let entry = &mut self.entry;
        let is_same = match (&entry.sync_status, &group.sync_status) {
            (Some(known), Some(word)) => SyncStatus::parse(known) == SyncStatus::parse(word),
            (None, None) => entry.sync_status_since.is_some(),
            _ => false,
        };
        if !is_same {
            let has_reappeared = entry.sync_status.is_none() && entry.phase == SyncPhase::Applying;
            let since = whole_seconds(group.observed_at.min(policy.now));
            entry.sync_status_since = match &entry.last_attempt_time {
                Some(last) if has_reappeared => Some(last.clone()),
                _ => Some(since),
            };
        }
        entry.sync_status.clone_from(&group.sync_status);
    }

    fn progress(&self, group: &GroupObservation, policy: &Policy) -> SyncProgress {
        let word = group.sync_status.as_deref();
        let status = parsed(word);
        if status == Some(SyncStatus::InSync) {
            return SyncProgress::InSync;
        }
        let since = self.entry.sync_status_since.as_ref().map_or(group.observed_at, |time| time.0);
        let last = self.entry.last_attempt_time.as_ref().map_or(Timestamp::MIN, |time| time.0);
        let stuck_at = after(since.max(last), policy.stuck_after);
        let is_stuck = group.observed_at >= stuck_at;
        let word = word.unwrap_or("absent");
        if !status.is_some_and(|status| policy.retries(&status)) {
            return if is_stuck {
                SyncProgress::Failing { message: messages::stuck(word, since) }
            } else {
                SyncProgress::Working { stuck_at }
            };
        }
        let settled_at = after(last, policy.settle());
        let is_settled = group.is_running() && (since > last || group.observed_at >= settled_at);
        if is_attempt_open(&self.entry) && !is_settled && !is_stuck {
            return SyncProgress::Unsettled { settled_at };
        }
        SyncProgress::Failing { message: messages::still_failing(word, self.entry.attempts) }
    }

    /// The cluster needs the application: now, later, or never again.
    fn fail(&mut self, group: &GroupObservation, message: &str, policy: &Policy) {
        if is_attempt_open(&self.entry) && self.entry.attempts > 0 {
            self.fail_attempt(stored_error(None, message), policy);
        } else if policy.is_exhausted(&self.entry) {
            self.entry.phase = SyncPhase::GaveUp;
        } else if self.entry.next_attempt_time.is_none() {
            self.entry.next_attempt_time = self.earliest_attempt(policy);
        }
        if self.entry.phase == SyncPhase::GaveUp {
            return;
        }
        match &self.entry.next_attempt_time {
            Some(next) if next.0 > policy.now => {
                self.next_look = Some(next.0);
                self.waits_for = WaitsFor::NextAttempt;
                self.entry.phase = phase_before_attempt(&self.entry);
            }
            _ => {
                self.entry.phase = SyncPhase::Waiting;
                self.is_due = group.is_running();
                self.waits_for = if self.is_due { WaitsFor::Turn } else { WaitsFor::Running(group.state.clone()) };
            }
        }
    }

    /// The earliest next attempt for a failure that did not come from an attempt: a backoff after attempts that were counted, and
    /// never sooner than `initialBackoff` after the last one, so that a status that flaps between In-Sync and Error-Sync does not
    /// cause a request at every poll.
    fn earliest_attempt(&self, policy: &Policy) -> Option<Time> {
        if self.entry.attempts > 0 {
            return Some(policy.next_attempt(&self.entry));
        }
        let last = self.entry.last_attempt_time.as_ref()?.0;
        let spaced = after(last, policy.initial_backoff());
        (spaced > policy.now).then(|| ceil_seconds(spaced))
    }

    fn fail_attempt(&mut self, error: SyncError, policy: &Policy) {
        self.has_failed = true;
        self.entry.last_error = Some(error);
        if policy.is_exhausted(&self.entry) {
            self.entry.phase = SyncPhase::GaveUp;
            self.entry.next_attempt_time = None;
        } else {
            self.back_off(policy);
        }
    }

    fn back_off(&mut self, policy: &Policy) {
        self.entry.next_attempt_time = Some(policy.next_attempt(&self.entry));
        self.entry.phase = phase_before_attempt(&self.entry);
        self.waits_for = WaitsFor::NextAttempt;
        self.next_look = self.entry.next_attempt_time.as_ref().map(|time| time.0);
    }
}

fn parsed(word: Option<&str>) -> Option<SyncStatus> {
    word.map(SyncStatus::parse)
}

fn stored(error: &SyncError) -> SyncError {
    stored_error(error.code.as_deref(), &error.message)
}
