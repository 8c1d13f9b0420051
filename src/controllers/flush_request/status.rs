//! The statuses a request goes through: phase, conditions as kstatus reads them, and the event of each transition.

use std::time::Duration;

use jiff::Timestamp;

use super::effect::StatusWrite;
use super::messages as say;
use super::outcome::SendOutcome;
use super::request::StoredRequest;
use super::session::Session;
use crate::api::Reason;
use crate::api::conditions::{self, ConditionStatus, DesiredCondition, READY, RECONCILING, STALLED, SUCCEEDED};
use crate::api::flush_request::{Attempt, FlushPhase, FlushTarget, RedisFlushRequestStatus};
use crate::api::shared::whole_seconds;
use crate::cloud::{ObservedCache, is_running};
use crate::runtime::events::Note;

/// Most states that `status.target.statesSeen` keeps; the schema allows no more.
const MAX_STATES_SEEN: usize = 32;
/// Least and most time between an attempt that was not executed and the next.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(5));
/// Longest wait that is taken over from the cloud.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// The next status in the making: the stored one, with what every write brings up to date.
pub(super) struct Draft<'a> {
    object: &'a StoredRequest,
    now: Timestamp,
    next: RedisFlushRequestStatus,
}

impl<'a> Draft<'a> {
    pub(super) fn of(session: &'a Session, now: Timestamp) -> Self {
        let object = &session.object;
        let mut next = object.status.clone();
        next.observed_generation = Some(object.generation);
        next.last_handled_reconcile_at.clone_from(&object.requested_at);
        Self { object, now, next }
    }

    /// Takes over what the cloud's list says of the cache.
    pub(super) fn found(&mut self, cache: &ObservedCache) {
        let target = self.next.target.get_or_insert_with(FlushTarget::default);
        target.cloud_db_instance_no = Some(cache.number.clone());
        target.service_name.clone_from(&cache.name);
        target.state = (!cache.state.is_empty()).then(|| cache.state.clone());
    }

    /// The same, and keeps the state as one seen after the flush was accepted.
    pub(super) fn saw(&mut self, cache: &ObservedCache) {
        self.found(cache);
        self.saw_state(&cache.state);
    }

    fn saw_state(&mut self, state: &str) {
        let seen = &mut self.next.target.get_or_insert_with(FlushTarget::default).states_seen;
        if !state.is_empty() && seen.last().is_none_or(|last| last != state) && seen.len() < MAX_STATES_SEEN {
            seen.push(state.to_owned());
        }
    }

    /// Writes down of the attempt that it was not executed, which is what permits the release of its claim.
    fn not_executed(&mut self, outcome: &SendOutcome) {
        self.next.response = outcome.response();
        if let Some(attempt) = &mut self.next.attempt {
            attempt.not_executed = true;
        }
    }

    /// Whether a state other than running was seen since the flush was accepted.
    pub(super) fn left_running(&self) -> bool {
        self.next.target.iter().flat_map(|target| &target.states_seen).any(|state| !is_running(state))
    }

    /// The status in this phase, with the conditions that follow from it.
    fn into_status(mut self, phase: FlushPhase, reason: Reason, message: String) -> RedisFlushRequestStatus {
        let (ready, succeeded) = match phase {
            FlushPhase::Pending | FlushPhase::Sending | FlushPhase::Accepted => {
                (ConditionStatus::False, ConditionStatus::Unknown)
            }
            FlushPhase::Succeeded => (ConditionStatus::True, ConditionStatus::True),
            FlushPhase::Unknown => (ConditionStatus::False, ConditionStatus::Unknown),
            FlushPhase::Failed | FlushPhase::Rejected | FlushPhase::Expired => {
                (ConditionStatus::False, ConditionStatus::False)
            }
        };
        let mut desired = vec![
            DesiredCondition::new(READY, ready, reason, message.clone()),
            DesiredCondition::new(SUCCEEDED, succeeded, reason, message.clone()),
        ];
        match phase {
            FlushPhase::Succeeded => {}
            FlushPhase::Accepted if reason == Reason::NotRunningAgain => {
                desired.push(DesiredCondition::new(STALLED, ConditionStatus::True, reason, message.clone()));
            }
            FlushPhase::Pending | FlushPhase::Sending | FlushPhase::Accepted => {
                desired.push(DesiredCondition::new(RECONCILING, ConditionStatus::True, reason, message.clone()));
            }
            FlushPhase::Failed | FlushPhase::Unknown | FlushPhase::Rejected | FlushPhase::Expired => {
                desired.push(DesiredCondition::new(STALLED, ConditionStatus::True, reason, message.clone()));
            }
        }
        self.next.phase = Some(phase);
        self.next.finished_time = self.next.finished_time.filter(|_| phase.is_terminal());
        self.next.message = Some(message);
        self.next.conditions =
            conditions::merge(&self.object.status.conditions, desired, self.object.generation, self.now);
        self.next
    }

    fn write(self, phase: FlushPhase, reason: Reason, message: String, note: Note) -> StatusWrite {
        StatusWrite { status: self.into_status(phase, reason, message), note: Some(note) }
    }

    /// The same if it says anything new; the event is recorded only for a new reason, not for every new detail.
    fn write_if_new(self, phase: FlushPhase, reason: Reason, message: String, note: Note) -> Option<StatusWrite> {
        let stored = &self.object.status;
        let said = conditions::find(&stored.conditions, READY).and_then(Reason::of) == Some(reason);
        let status = self.into_status(phase, reason, message);
        let note = (!said).then_some(note);
        (status != *stored).then_some(StatusWrite { status, note })
    }
}

/// An event of type Normal.
pub(super) fn normal(reason: Reason, message: String) -> Note {
    Note { warning: false, reason, message }
}

/// An event of type Warning.
pub(super) fn warning(reason: Reason, message: String) -> Note {
    Note { warning: true, reason, message }
}

/// Pending, and why; none if the status says so already.
pub(super) fn wait(draft: Draft<'_>, reason: Reason, message: String) -> Option<StatusWrite> {
    let note = normal(reason, message.clone());
    draft.write_if_new(FlushPhase::Pending, reason, message, note)
}

/// Pending to Sending: the attempt is recorded by the very write that one process alone can win.
pub(super) fn begin_attempt(s: &Session, now: Timestamp, cache: &ObservedCache) -> StatusWrite {
    let mut draft = Draft::of(s, now);
    draft.found(cache);
    let started_at = whole_seconds(now);
    let message = say::sending(cache, &started_at);
    draft.next.attempt = Some(Attempt {
        id: s.fresh_attempt_id.clone(),
        started_at: started_at.clone(),
        operator: s.operator.clone(),
        not_executed: false,
    });
    draft.next.sent_time = Some(started_at);
    draft.next.next_attempt_time = None;
    draft.next.response = None;
    let note = normal(Reason::Sending, message.clone());
    draft.write(FlushPhase::Sending, Reason::Sending, message, note)
}

/// The cloud accepted the flush.
pub(super) fn accept(s: &Session, now: Timestamp, outcome: &SendOutcome) -> StatusWrite {
    let mut draft = Draft::of(s, now);
    draft.next.response = outcome.response();
    if let SendOutcome::Answered(receipt) = outcome
        && let Some(state) = &receipt.state
    {
        draft.saw_state(state);
    }
    let message = say::accepted(&s.object);
    let note = normal(Reason::Accepted, message.clone());
    draft.write(FlushPhase::Accepted, Reason::Accepted, message, note)
}

/// Proven not executed and worth another attempt: back to Pending. The attempt stays in the status until the next one.
pub(super) fn try_again(s: &Session, now: Timestamp, outcome: &SendOutcome, after: Duration) -> StatusWrite {
    let mut draft = Draft::of(s, now);
    let next = whole_seconds(now.checked_add(backoff(&s.object, now, after)).unwrap_or(Timestamp::MAX));
    let message = say::try_again(outcome, &next);
    draft.not_executed(outcome);
    draft.next.sent_time = None;
    draft.next.next_attempt_time = Some(next);
    let note = warning(outcome.reason(), message.clone());
    draft.write(FlushPhase::Pending, outcome.reason(), message, note)
}

/// A quarter of the request's age, within bounds: it grows with every attempt without a count of attempts.
fn backoff(object: &StoredRequest, now: Timestamp, retry_after: Duration) -> Duration {
    let age = Duration::try_from(now.duration_since(object.created_at)).unwrap_or_default();
    let (least, most) = BACKOFF;
    // Stored times are cut to whole seconds: one more, so that the cloud is never asked too early.
    (age / 4).clamp(least, most).max(retry_after.min(MAX_RETRY_AFTER)) + Duration::from_secs(1)
}

/// Proven not executed, and another attempt would end the same way.
pub(super) fn refuse(s: &Session, now: Timestamp, outcome: &SendOutcome) -> StatusWrite {
    let mut draft = Draft::of(s, now);
    draft.not_executed(outcome);
    finish(draft, FlushPhase::Failed, outcome.reason(), say::refused(&s.object, outcome))
}

/// It may have been executed, and that cannot be told.
pub(super) fn lose(s: &Session, now: Timestamp, outcome: &SendOutcome) -> StatusWrite {
    let mut draft = Draft::of(s, now);
    draft.next.response = outcome.response();
    finish(draft, FlushPhase::Unknown, outcome.reason(), say::lost(&s.object, outcome))
}

/// The cache runs again.
pub(super) fn succeed(draft: Draft<'_>) -> StatusWrite {
    let states = draft.next.target.as_ref().map(|target| target.states_seen.clone()).unwrap_or_default();
    let message = say::succeeded(draft.object, &states);
    finish(draft, FlushPhase::Succeeded, Reason::FlushSucceeded, message)
}

/// Accepted and not running again yet; none if the status says so already.
pub(super) fn watch(draft: Draft<'_>, stalled: bool, doubt: &str) -> Option<StatusWrite> {
    let message = say::watching(draft.object, doubt, stalled);
    let (reason, note) = if stalled {
        (Reason::NotRunningAgain, warning(Reason::NotRunningAgain, message.clone()))
    } else {
        (Reason::Accepted, normal(Reason::Accepted, message.clone()))
    };
    draft.write_if_new(FlushPhase::Accepted, reason, message, note)
}

/// A final phase.
pub(super) fn finish(mut draft: Draft<'_>, phase: FlushPhase, reason: Reason, message: String) -> StatusWrite {
    draft.next.finished_time = Some(whole_seconds(draft.now));
    draft.next.next_attempt_time = None;
    let never_sent = matches!(phase, FlushPhase::Rejected | FlushPhase::Expired);
    if never_sent {
        draft.next.sent_time = None;
    }
    let warning = phase != FlushPhase::Succeeded;
    let note = Note { warning, reason, message: message.clone() };
    draft.write(phase, reason, message, note)
}

/// Echoes the requested-at annotation on a finished request; none if there is nothing to echo.
pub(super) fn echo(s: &Session) -> Option<StatusWrite> {
    let stored = &s.object.status;
    (s.object.requested_at.is_some() && s.object.requested_at != stored.last_handled_reconcile_at).then(|| {
        let status =
            RedisFlushRequestStatus { last_handled_reconcile_at: s.object.requested_at.clone(), ..stored.clone() };
        StatusWrite { status, note: None }
    })
}
