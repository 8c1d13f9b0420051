//! Where one cluster stands, and what an observation or an answer changes about it.
//!
//! # What is a new failure
//!
//! The apply operation answers at once and has no job to ask about: its result shows only in the sync status, which keeps the
//! old word for a moment. Right after the request an `Error-Sync` is therefore no news. A failing word counts as the failure
//! of an attempt once
//! - the observation was asked for after the attempt was answered (older ones are ignored altogether), and
//! - the cluster is Running, and
//! - either another word was seen since the attempt (`syncStatusSince` is later than `lastAttemptTime`), or the settle time has
//!   passed: [`SETTLE`], or `initialBackoff` if that is shorter, for who asks for quick retries wants quick judgement.
//!
//! A word that disappears and comes back is not "another word": a list may leave the field out.
//!
//! # What is remembered where
//!
//! All of it is in the stored entry, so another process carries on where this one stopped: the phase Applying is an attempt
//! whose result is open, and `nextAttemptTime` is set from the moment a failure was noticed until the next attempt.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::backoff::{after, bounded, ceil_seconds, delay, jitter_for};
use super::input::{ApplyResult, CloudProblem, Elsewhere, ErrorKind, Observation, Outcome, Target};
use super::text::one_line;
use crate::api::parameter_sync::{ClusterSync, RedisParameterSyncSpec, Retry, SyncError, SyncPhase};
use crate::api::shared::whole_seconds;

/// How long after an attempt the old word is not yet a new failure.
pub(super) const SETTLE: Duration = Duration::from_secs(10);
/// Times are stored in whole seconds, cut: only a second later is it certain that something came after them.
const PRECISION: Duration = Duration::from_secs(1);
/// Longest error text stored for a cluster, in bytes; a thousand of them must fit into one object.
const MAX_ERROR_BYTES: usize = 300;
/// `lastError.code` of a cluster that has no parameter group to apply.
pub(super) const NOT_SUPPORTED: &str = "NotSupported";
/// `lastError.code` of a cluster that the cloud does not have.
pub(super) const NOT_FOUND: &str = "ClusterNotFound";

/// The spec's rules in the form the decisions use.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub retry: Retry,
    retry_on: Vec<String>,
    stuck_after: Duration,
    pub now: Timestamp,
    pub jitter: f64,
}

impl Policy {
    pub fn new(spec: &RedisParameterSyncSpec, now: Timestamp, jitter: f64) -> Self {
        Self {
            retry: spec.retry.clone(),
            retry_on: spec.retry_on.iter().map(|word| word.trim().to_lowercase()).collect(),
            stuck_after: bounded(spec.stuck_after),
            now,
            jitter,
        }
    }

    fn retries(&self, word: Option<&str>) -> bool {
        word.is_some_and(|word| self.retry_on.contains(&word.trim().to_lowercase()))
    }

    fn settle(&self) -> Duration {
        bounded(self.retry.initial_backoff).min(SETTLE)
    }

    fn backoff(&self, entry: &ClusterSync) -> Time {
        let wait = delay(&self.retry, entry.attempts, jitter_for(&entry.id, self.jitter));
        ceil_seconds(after(self.now, wait))
    }

    fn exhausted(&self, entry: &ClusterSync) -> bool {
        entry.attempts >= self.retry.max_attempts.max(1)
    }
}

/// Why a cluster is not In-Sync yet, for the sentence in the condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The sync status says it.
    Word,
    /// It was not read yet.
    NotRead,
    /// The cluster's state is this word, not Running.
    NotRunning(Option<String>),
    /// The next attempt has a time.
    NextAttempt,
    /// Others are asked for first.
    Turn,
    /// Another object applies its parameter group.
    AppliedBy,
}

/// One cluster in a pass.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// What the status said before the pass.
    pub before: Option<ClusterSync>,
    /// What it says now.
    pub entry: ClusterSync,
    /// What other objects have to do with it.
    elsewhere: Elsewhere,
    pub why: Why,
    /// Why it could not be read.
    pub trouble: Option<(CloudProblem, String)>,
    /// Whether the cloud answered about it.
    pub read: bool,
    /// Whether the application should be asked for.
    pub due: bool,
    /// Whether it is due and its connection has no room for another request now.
    pub held: bool,
    /// Whether an attempt was found to have failed.
    pub failed: bool,
    /// Whether the cloud accepted an attempt.
    pub accepted: bool,
    /// When to look again, at the latest.
    pub wake: Option<Timestamp>,
}

impl Row {
    /// The name people know the cluster by.
    pub fn label(&self) -> &str {
        self.entry.name.as_deref().unwrap_or(&self.entry.id)
    }

    /// Whether the entry holds something that must not be forgotten.
    pub fn remembers(&self) -> bool {
        self.entry.attempts > 0 || self.entry.next_attempt_time.is_some() || self.entry.phase == SyncPhase::Applying
    }

    /// Whether it was given up for lack of a parameter group.
    pub fn not_supported(&self) -> bool {
        self.entry.phase == SyncPhase::GaveUp
            && self.entry.last_error.as_ref().is_some_and(|error| error.code.as_deref() == Some(NOT_SUPPORTED))
    }

    /// A row that says what the status said, for a cluster nobody could look at in this pass.
    pub fn carried(
        entry: &ClusterSync,
        renewed: bool,
        trouble: Option<(CloudProblem, String)>,
        policy: &Policy,
    ) -> Self {
        let outcome = match trouble {
            None => Outcome::Pending,
            Some((reason, message)) => Outcome::Unavailable { reason, message },
        };
        let elsewhere = Elsewhere { applied_by: entry.applied_by.clone(), asked_at: None };
        let (id, name) = (entry.id.clone(), entry.name.clone());
        let target = Target { id, name, outcome, elsewhere, last_known: None };
        Self::new(&target, Some(entry), renewed, policy)
    }

    /// Where a cluster stands after what is known about it; `renewed` begins a new episode.
    pub fn new(target: &Target, before: Option<&ClusterSync>, renewed: bool, policy: &Policy) -> Self {
        let mut entry = before.cloned().unwrap_or_else(|| ClusterSync { id: target.id.clone(), ..Default::default() });
        if target.name.is_some() {
            entry.name.clone_from(&target.name);
        }
        heal_clock(&mut entry, policy);
        if renewed {
            begin_episode(&mut entry);
        }
        note_elsewhere(&mut entry, &target.elsewhere);
        let mut row = Self {
            before: before.cloned(),
            why: if entry.sync_status.is_some() { Why::Word } else { Why::NotRead },
            entry,
            elsewhere: target.elsewhere.clone(),
            trouble: None,
            read: false,
            due: false,
            held: false,
            failed: false,
            accepted: false,
            wake: None,
        };
        match &target.outcome {
            Outcome::Observed(seen) => row.observe(seen, policy),
            Outcome::Pending => {}
            Outcome::NotFound { message } => row.end(SyncPhase::NotFound, NOT_FOUND, message),
            Outcome::NotSupported { message } => row.end(SyncPhase::GaveUp, NOT_SUPPORTED, message),
            Outcome::Unavailable { reason, message } => row.trouble = Some((*reason, message.clone())),
        }
        row
    }

    /// There is nothing to apply to, as far as anybody can see.
    fn end(&mut self, phase: SyncPhase, code: &str, message: &str) {
        self.read = phase == SyncPhase::NotFound;
        self.why = Why::Word;
        let entry = &mut self.entry;
        entry.phase = phase;
        (entry.sync_status, entry.sync_status_since, entry.next_attempt_time) = (None, None, None);
        entry.last_error = Some(error(Some(code), message));
    }

    fn observe(&mut self, seen: &Observation, policy: &Policy) {
        self.read = true;
        let last = self.entry.last_attempt_time.as_ref().map(|time| time.0);
        if let Some(last) = last
            && seen.observed_at < after(last, PRECISION)
        {
            self.wake = Some(after(last, policy.settle().max(PRECISION)));
            return;
        }
        self.why = Why::Word;
        self.note_group(seen);
        if matches!(self.entry.phase, SyncPhase::NotFound) || self.not_supported() {
            self.entry.phase = SyncPhase::Waiting;
            self.entry.last_error = None;
        }
        self.note_word(seen, policy);
        if self.entry.applied_by.is_some() {
            self.stand_by();
            return;
        }
        match self.judge(seen, policy) {
            Verdict::InSync => {
                forget_attempts(&mut self.entry);
                self.entry.phase = SyncPhase::InSync;
            }
            _ if self.entry.phase == SyncPhase::GaveUp && policy.exhausted(&self.entry) => {}
            Verdict::InProgress { stuck_at } => {
                self.wake = Some(stuck_at);
                if !is_open(&self.entry) {
                    self.entry.phase = SyncPhase::Waiting;
                }
            }
            Verdict::Unsettled { settled_at } => self.wake = Some(settled_at),
            Verdict::Failing { why } => self.fail(seen, &why, policy),
        }
    }

    /// Somebody else applies: this object has no part in it.
    fn stand_by(&mut self) {
        forget_attempts(&mut self.entry);
        self.entry.last_attempt_time = None;
        let is_in_sync = self.entry.sync_status.as_deref().is_some_and(is_in_sync);
        self.entry.phase = if is_in_sync { SyncPhase::InSync } else { SyncPhase::Waiting };
        self.why = Why::AppliedBy;
    }

    /// Takes over the parameter group; another one begins a new episode.
    fn note_group(&mut self, seen: &Observation) {
        let Some(group) = &seen.group_id else { return };
        if self.entry.parameter_group_id.as_ref().is_some_and(|known| known != group) {
            begin_episode(&mut self.entry);
            note_elsewhere(&mut self.entry, &self.elsewhere);
        }
        self.entry.parameter_group_id = Some(group.clone());
    }

    /// Takes over the sync status, and since when it has been that word.
    fn note_word(&mut self, seen: &Observation, policy: &Policy) {
        let entry = &mut self.entry;
        let same = match (&entry.sync_status, &seen.sync_status) {
            (Some(known), Some(word)) => known.eq_ignore_ascii_case(word),
            (None, None) => entry.sync_status_since.is_some(),
            _ => false,
        };
        if !same {
            let reappeared = entry.sync_status.is_none() && entry.phase == SyncPhase::Applying;
            let since = whole_seconds(seen.observed_at.min(policy.now));
            entry.sync_status_since = match &entry.last_attempt_time {
                Some(last) if reappeared => Some(last.clone()),
                _ => Some(since),
            };
        }
        entry.sync_status.clone_from(&seen.sync_status);
    }

    fn judge(&self, seen: &Observation, policy: &Policy) -> Verdict {
        let word = seen.sync_status.as_deref();
        if word.is_some_and(is_in_sync) {
            return Verdict::InSync;
        }
        let since = self.entry.sync_status_since.as_ref().map_or(seen.observed_at, |time| time.0);
        let last = self.entry.last_attempt_time.as_ref().map_or(Timestamp::MIN, |time| time.0);
        let stuck_at = after(since.max(last), policy.stuck_after);
        let stuck = seen.observed_at >= stuck_at;
        let shown = word.unwrap_or("absent");
        let attempt = self.entry.attempts;
        if !policy.retries(word) {
            return if stuck {
                Verdict::Failing { why: format!("The sync status has been {shown} since {since}") }
            } else {
                Verdict::InProgress { stuck_at }
            };
        }
        let settled_at = after(last, policy.settle());
        let settled = is_running(seen) && (since > last || seen.observed_at >= settled_at);
        if is_open(&self.entry) && !settled && !stuck {
            return Verdict::Unsettled { settled_at };
        }
        Verdict::Failing { why: format!("The sync status is {shown} after attempt {attempt}") }
    }

    /// The cluster needs the application: now, later, or never again.
    fn fail(&mut self, seen: &Observation, why: &str, policy: &Policy) {
        if is_open(&self.entry) && self.entry.attempts > 0 {
            self.fail_attempt(error(None, why), policy);
        } else if policy.exhausted(&self.entry) {
            self.entry.phase = SyncPhase::GaveUp;
        } else if self.entry.next_attempt_time.is_none() {
            self.entry.next_attempt_time = self.earliest(policy);
        }
        if self.entry.phase == SyncPhase::GaveUp {
            return;
        }
        match &self.entry.next_attempt_time {
            Some(next) if next.0 > policy.now => {
                self.wake = Some(next.0);
                self.why = Why::NextAttempt;
                self.entry.phase = waiting_phase(&self.entry);
            }
            _ => {
                self.entry.phase = SyncPhase::Waiting;
                self.due = is_running(seen);
                self.why = if self.due { Why::Turn } else { Why::NotRunning(seen.state.clone()) };
            }
        }
    }

    /// When a cluster may be asked for whose failure was not seen coming from an attempt: a backoff after attempts that were
    /// counted, and never sooner than `initialBackoff` after the last one, so that a status that flaps between In-Sync and
    /// Error-Sync does not make one request a poll.
    fn earliest(&self, policy: &Policy) -> Option<Time> {
        if self.entry.attempts > 0 {
            return Some(policy.backoff(&self.entry));
        }
        let last = self.entry.last_attempt_time.as_ref()?.0;
        let spaced = after(last, bounded(policy.retry.initial_backoff));
        (spaced > policy.now).then(|| ceil_seconds(spaced))
    }

    fn fail_attempt(&mut self, error: SyncError, policy: &Policy) {
        self.failed = true;
        self.entry.last_error = Some(error);
        if policy.exhausted(&self.entry) {
            self.entry.phase = SyncPhase::GaveUp;
            self.entry.next_attempt_time = None;
        } else {
            self.back_off(policy);
        }
    }

    fn back_off(&mut self, policy: &Policy) {
        self.entry.next_attempt_time = Some(policy.backoff(&self.entry));
        self.entry.phase = waiting_phase(&self.entry);
        self.why = Why::NextAttempt;
        self.wake = self.entry.next_attempt_time.as_ref().map(|time| time.0);
    }

    /// Counts an attempt, before the cloud is asked.
    pub fn count_attempt(&mut self, now: Timestamp) {
        self.due = false;
        self.why = Why::Word;
        self.entry.phase = SyncPhase::Applying;
        self.entry.attempts = self.entry.attempts.saturating_add(1);
        self.entry.last_attempt_time = Some(whole_seconds(now));
        self.entry.next_attempt_time = None;
    }

    /// What the cloud answered to the attempt that was counted.
    pub fn record(&mut self, result: &ApplyResult, policy: &Policy) {
        // The answer came now: what was read before it says nothing about the attempt.
        self.entry.last_attempt_time = Some(whole_seconds(policy.now));
        match result {
            ApplyResult::Accepted => self.accepted = true,
            ApplyResult::Busy => {
                self.take_back();
                self.back_off(policy);
            }
            ApplyResult::Error { code, message, kind } => {
                if *kind == ErrorKind::NotSent {
                    self.take_back();
                }
                self.fail_attempt(error(code.as_deref(), message), policy);
            }
        }
    }

    fn take_back(&mut self) {
        self.entry.attempts = self.entry.attempts.saturating_sub(1).max(0);
    }
}

enum Verdict {
    InSync,
    InProgress { stuck_at: Timestamp },
    Unsettled { settled_at: Timestamp },
    Failing { why: String },
}

/// BackingOff after a failure; Waiting if the cloud was merely busy.
fn waiting_phase(entry: &ClusterSync) -> SyncPhase {
    if entry.attempts > 0 || entry.last_error.is_some() { SyncPhase::BackingOff } else { SyncPhase::Waiting }
}

pub(super) fn is_in_sync(word: &str) -> bool {
    word.trim().eq_ignore_ascii_case("In-Sync")
}

fn is_running(seen: &Observation) -> bool {
    seen.state.as_deref().is_some_and(|state| state.trim().eq_ignore_ascii_case("Running"))
}

fn error(code: Option<&str>, message: &str) -> SyncError {
    SyncError { code: code.map(|code| one_line(code, 64)), message: one_line(message, MAX_ERROR_BYTES) }
}

/// Takes over who applies, and when somebody else asked last: the backoff is the cluster's, whoever asks.
fn note_elsewhere(entry: &mut ClusterSync, elsewhere: &Elsewhere) {
    entry.applied_by.clone_from(&elsewhere.applied_by);
    let Some(asked) = elsewhere.asked_at.map(whole_seconds).filter(|_| elsewhere.applied_by.is_none()) else { return };
    if entry.last_attempt_time.as_ref().is_none_or(|last| last.0 < asked.0) {
        entry.last_attempt_time = Some(asked);
    }
}

/// Whether the result of an attempt is open.
fn is_open(entry: &ClusterSync) -> bool {
    entry.phase == SyncPhase::Applying
}

/// Forgets the attempts, but not when the last one was.
fn forget_attempts(entry: &mut ClusterSync) {
    entry.attempts = 0;
    entry.next_attempt_time = None;
    entry.last_error = None;
}

/// Somebody changed what is wanted: nothing of what was tried counts or holds anything up. An attempt whose result is open
/// stays open, for the cloud is still at it.
fn begin_episode(entry: &mut ClusterSync) {
    forget_attempts(entry);
    if !is_open(entry) {
        entry.last_attempt_time = None;
    }
    if matches!(entry.phase, SyncPhase::BackingOff | SyncPhase::GaveUp) {
        entry.phase = SyncPhase::Waiting;
    }
}

/// Brings times that cannot be (written by a machine whose clock was ahead) back to what this machine's clock allows, so
/// that nobody waits for them.
fn heal_clock(entry: &mut ClusterSync, policy: &Policy) {
    for time in [&mut entry.sync_status_since, &mut entry.last_attempt_time].into_iter().flatten() {
        if time.0 > policy.now {
            *time = whole_seconds(policy.now);
        }
    }
    let longest = bounded(policy.retry.max_backoff).max(bounded(policy.retry.initial_backoff));
    let latest = ceil_seconds(after(policy.now, longest));
    if let Some(next) = &mut entry.next_attempt_time
        && next.0 > latest.0
    {
        *next = latest;
    }
}
