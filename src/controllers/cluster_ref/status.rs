//! The conditions of a reference, from what is known of its Redis and its ConfigMap.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::input::{CloudObservation, Input};
use super::last_known::LastKnown;
use super::messages;
use crate::api::Reason;
use crate::api::cluster_ref::RedisClusterRefStatus;
use crate::api::conditions::{self, ConditionStatus, DesiredCondition, READY, RECONCILING, STALLED, SYNCED};
use crate::cloud::state::{StateMeaning, state_meaning};
use crate::controllers::problem::Problem;
use crate::inventory::{Observation, Observed};
use crate::runtime::events::Note;
use crate::text::one_line;

/// Longest state of a cloud in a sentence, in characters.
const MAX_STATE_CHARS: usize = 64;
/// After so many intervals without a successful read, what is known is stale.
pub(super) const STALE_INTERVALS: u32 = 3;

/// The conditions to report. `config_map` is why the ConfigMap is not as the spec wants it, if it is not.
pub(super) fn conditions(input: &Input<'_>, known: &LastKnown, config_map: Option<Problem>) -> Vec<DesiredCondition> {
    let conditions = match &input.cloud {
        CloudObservation::Suspended => suspended(input.previous, known),
        CloudObservation::Blocked(problem) => not_read(input, known, problem),
        CloudObservation::Read(observation) => observed(input, known, observation),
    };
    match config_map {
        Some(problem) => with_config_map_problem(conditions, problem),
        None => conditions,
    }
}

fn observed(input: &Input<'_>, known: &LastKnown, observation: &Observation) -> Vec<DesiredCondition> {
    if let Some(error) = observation.problem.as_deref() {
        return not_read(input, known, &Problem::from(error));
    }
    match &observation.observed {
        Observed::Found(_) => by_state(known.state.as_deref()),
        Observed::NotYet | Observed::Members(_) => reading(known),
        Observed::Absent => {
            let message = messages::not_found(input.spec, input.spec.poll_interval.into());
            stalled(&Problem::new(Reason::ClusterNotFound, message))
        }
        Observed::Ambiguous(ids) => stalled(&Problem::new(Reason::AmbiguousName, messages::ambiguous(input.spec, ids))),
    }
}

/// No read has come back yet: Ready stays what it was.
fn reading(known: &LastKnown) -> Vec<DesiredCondition> {
    let mut desired = match &known.cluster {
        Some(_) => by_state(known.state.as_deref()),
        None => vec![unknown(READY, Reason::Observing, messages::FIRST_READ)],
    };
    desired.retain(|condition| condition.type_ != SYNCED && condition.type_ != RECONCILING);
    desired.push(unknown(SYNCED, Reason::Observing, messages::READING));
    desired.push(is_true(RECONCILING, Reason::Observing, messages::READING));
    desired
}

fn by_state(state: Option<&str>) -> Vec<DesiredCondition> {
    let word = &one_line(state.unwrap_or_default(), MAX_STATE_CHARS);
    let mut desired = vec![is_true(SYNCED, Reason::ObserveSucceeded, messages::READ)];
    desired.extend(match state_meaning(word) {
        StateMeaning::Serving => vec![is_true(READY, Reason::Running, messages::state(word))],
        StateMeaning::Transitional => vec![
            is_true(RECONCILING, Reason::Progressing, messages::progressing(word)),
            is_false(READY, Reason::Progressing, messages::progressing(word)),
        ],
        StateMeaning::Down => vec![is_false(READY, Reason::NotRunning, messages::state(word))],
        StateMeaning::Unknown if word.is_empty() => vec![unknown(READY, Reason::UnknownState, messages::NO_STATE)],
        StateMeaning::Unknown => vec![unknown(READY, Reason::UnknownState, messages::unknown_state(word))],
    });
    desired
}

/// The cloud could not be read. What needs a person is Stalled; through what heals by itself Ready stays what it was, until
/// that is stale.
fn not_read(input: &Input<'_>, known: &LastKnown, problem: &Problem) -> Vec<DesiredCondition> {
    if problem.needs_a_person {
        return stalled(problem);
    }
    let synced = is_false(SYNCED, problem.reason, &problem.message);
    let stale_after = Duration::from(input.spec.poll_interval) * STALE_INTERVALS;
    let stale_after = SignedDuration::try_from(stale_after).unwrap_or(SignedDuration::MAX);
    let Some(read_at) = known.read_at.filter(|_| known.cluster.is_some()) else {
        return vec![
            unknown(READY, problem.reason, &problem.message),
            is_true(RECONCILING, problem.reason, messages::ASKED_AGAIN),
            synced,
        ];
    };
    if input.now.duration_since(read_at) > stale_after {
        return vec![
            unknown(READY, Reason::ObservationStale, messages::stale(read_at, &problem.message)),
            is_true(RECONCILING, Reason::ObservationStale, messages::ASKED_AGAIN),
            synced,
        ];
    }
    let mut desired = by_state(known.state.as_deref());
    desired.retain(|condition| condition.type_ != SYNCED);
    desired.push(synced);
    desired
}

fn stalled(problem: &Problem) -> Vec<DesiredCondition> {
    vec![
        is_false(READY, problem.reason, &problem.message),
        is_true(STALLED, problem.reason, &problem.message),
        is_false(SYNCED, problem.reason, &problem.message),
    ]
}

/// The user suspended the reads: Ready stays what it was, unless that was about another target.
fn suspended(previous: &RedisClusterRefStatus, known: &LastKnown) -> Vec<DesiredCondition> {
    let is_about_another = previous.cluster.is_some() && known.cluster.is_none();
    let before = conditions::find(&previous.conditions, READY).filter(|_| !is_about_another);
    let ready = match before {
        Some(Condition { status, .. }) if status == "True" => is_true(READY, Reason::Suspended, messages::SUSPENDED),
        Some(Condition { status, .. }) if status == "False" => is_false(READY, Reason::Suspended, messages::SUSPENDED),
        _ => unknown(READY, Reason::Suspended, messages::SUSPENDED),
    };
    vec![ready, is_false(SYNCED, Reason::Suspended, messages::SUSPENDED)]
}

/// Ready=False because of the ConfigMap, unless the Redis itself is Stalled.
fn with_config_map_problem(mut desired: Vec<DesiredCondition>, problem: Problem) -> Vec<DesiredCondition> {
    if desired.iter().any(|condition| condition.type_ == STALLED) {
        return desired;
    }
    desired.retain(|condition| condition.type_ == SYNCED);
    desired.push(is_false(READY, problem.reason, &problem.message));
    let type_ = if problem.needs_a_person { STALLED } else { RECONCILING };
    desired.push(is_true(type_, problem.reason, problem.message));
    desired
}

fn is_true(type_: &'static str, reason: Reason, message: impl Into<String>) -> DesiredCondition {
    DesiredCondition::new(type_, ConditionStatus::True, reason, message)
}

fn is_false(type_: &'static str, reason: Reason, message: impl Into<String>) -> DesiredCondition {
    DesiredCondition::new(type_, ConditionStatus::False, reason, message)
}

fn unknown(type_: &'static str, reason: Reason, message: impl Into<String>) -> DesiredCondition {
    DesiredCondition::new(type_, ConditionStatus::Unknown, reason, message)
}

/// The event for a change of the Ready condition, if it changed.
pub(super) fn ready_changed(before: &[Condition], after: &[Condition]) -> Option<Note> {
    let now = conditions::find(after, READY)?;
    let same = conditions::find(before, READY).is_some_and(|was| was.status == now.status && was.reason == now.reason);
    let warning = conditions::find(after, STALLED).is_some();
    let reason = Reason::of(now)?;
    // The moment before the first read comes back is not worth an event.
    (!same && reason != Reason::Observing).then(|| Note { warning, reason, message: now.message.clone() })
}
