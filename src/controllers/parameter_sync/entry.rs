//! What the status stores of one cluster, and what each event of its episode makes of it.
//!
//! All of an episode is in the stored entry, so another process carries on where this one stopped: the phase Applying is an
//! attempt whose result is open, and `nextAttemptTime` is set from the moment a failure was noticed until the next attempt.

use jiff::Timestamp;

use super::input::OtherSyncs;
use super::messages::clause;
use super::policy::Policy;
use super::times::{after, ceil_seconds};
use crate::api::parameter_sync::{ClusterSync, SyncError, SyncPhase};
use crate::api::shared::whole_seconds;

/// Longest error text stored for a cluster, in bytes; a thousand of them must fit into one object.
const MAX_ERROR_BYTES: usize = 300;
/// Longest error code stored, in bytes.
const MAX_CODE_BYTES: usize = 64;

/// An error as it is stored.
pub(super) fn stored_error(code: Option<&str>, message: &str) -> SyncError {
    SyncError { code: code.map(|code| clause(code, MAX_CODE_BYTES)), message: clause(message, MAX_ERROR_BYTES) }
}

/// Whether the result of an attempt is open.
pub(super) fn is_attempt_open(entry: &ClusterSync) -> bool {
    entry.phase == SyncPhase::Applying
}

/// Whether the entry holds something that must not be forgotten.
pub(super) fn must_be_stored(entry: &ClusterSync) -> bool {
    entry.attempts > 0 || entry.next_attempt_time.is_some() || is_attempt_open(entry)
}

/// BackingOff after a failure; Waiting if the cloud was merely busy.
pub(super) fn phase_before_attempt(entry: &ClusterSync) -> SyncPhase {
    if entry.attempts > 0 || entry.last_error.is_some() { SyncPhase::BackingOff } else { SyncPhase::Waiting }
}

/// Counts an attempt that begins now.
pub(super) fn count_attempt(entry: &mut ClusterSync, now: Timestamp) {
    entry.phase = SyncPhase::Applying;
    entry.attempts = entry.attempts.saturating_add(1);
    entry.last_attempt_time = Some(whole_seconds(now));
    entry.next_attempt_time = None;
}

/// Takes back an attempt that was counted and never reached the cluster.
pub(super) fn uncount_attempt(entry: &mut ClusterSync) {
    entry.attempts = entry.attempts.saturating_sub(1).max(0);
}

/// Forgets the attempts, but not when the last one was.
pub(super) fn forget_attempts(entry: &mut ClusterSync) {
    entry.attempts = 0;
    entry.next_attempt_time = None;
    entry.last_error = None;
}

/// A person changed what is wanted: nothing of what was tried counts or holds anything up. An attempt whose result is open
/// stays open, because the cloud is still working on it.
pub(super) fn begin_episode(entry: &mut ClusterSync) {
    forget_attempts(entry);
    if !is_attempt_open(entry) {
        entry.last_attempt_time = None;
    }
    if matches!(entry.phase, SyncPhase::BackingOff | SyncPhase::GaveUp) {
        entry.phase = SyncPhase::Waiting;
    }
}

/// Takes over which other object applies, and when another object last requested: the backoff is the cluster's, not the object's.
/// A next attempt that was planned before that request keeps its distance to it, too.
pub(super) fn note_others(entry: &mut ClusterSync, others: &OtherSyncs, policy: &Policy) {
    entry.applied_by.clone_from(&others.owner);
    let Some(requested) = others.last_request_at.map(whole_seconds).filter(|_| others.owner.is_none()) else { return };
    if entry.last_attempt_time.as_ref().is_some_and(|last| last.0 >= requested.0) {
        return;
    }
    let earliest = ceil_seconds(after(requested.0, policy.initial_backoff()));
    if let Some(next) = &mut entry.next_attempt_time
        && next.0 < earliest.0
    {
        *next = earliest;
    }
    entry.last_attempt_time = Some(requested);
}

/// Brings times that cannot be (written by a machine whose clock was ahead) back to what this machine's clock allows, so that
/// nothing waits for them.
pub(super) fn correct_times(entry: &mut ClusterSync, policy: &Policy) {
    for time in [&mut entry.sync_status_since, &mut entry.last_attempt_time].into_iter().flatten() {
        if time.0 > policy.now {
            *time = whole_seconds(policy.now);
        }
    }
    let latest = ceil_seconds(after(policy.now, policy.longest_wait()));
    if let Some(next) = &mut entry.next_attempt_time
        && next.0 > latest.0
    {
        *next = latest;
    }
}
