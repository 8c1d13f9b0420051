//! Conditions as kstatus reads them: those a plan wants to report, and how they are merged into the stored ones.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::reasons::Reason;
use super::shared::whole_seconds;
use crate::text;

/// Always present: whether the object is what its user wants.
pub const READY: &str = "Ready";
/// Present only while True: the object is on its way.
pub const RECONCILING: &str = "Reconciling";
/// Present only while True: the object makes no progress until a person acts.
pub const STALLED: &str = "Stalled";
/// Whether the last request to the cloud worked.
pub const SYNCED: &str = "Synced";
/// Whether the flush is done (RedisFlushRequest).
pub const SUCCEEDED: &str = "Succeeded";

/// Longest message kept, in bytes; the schema allows 32768.
const MAX_MESSAGE_BYTES: usize = 2048;

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

impl ConditionStatus {
    /// The word in `status.conditions[].status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition a plan wants to report, without the times that only the merge can know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredCondition {
    /// Type of the condition.
    pub type_: &'static str,
    /// Its status.
    pub status: ConditionStatus,
    /// Why, in a word.
    pub reason: Reason,
    /// Why, as a sentence.
    pub message: String,
}

impl DesiredCondition {
    /// A condition to report.
    pub fn new(type_: &'static str, status: ConditionStatus, reason: Reason, message: impl Into<String>) -> Self {
        Self { type_, status, reason, message: message.into() }
    }
}

/// The conditions to store: exactly `desired`, sorted by type. `lastTransitionTime` changes only when a status does. A condition of
/// `existing` that is not desired any more is dropped, so that an error that went away leaves no trace.
///
/// Every message passes here, so this is where names from outside lose their control characters.
pub fn merge(
    existing: &[Condition],
    desired: Vec<DesiredCondition>,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let mut merged: Vec<Condition> = desired
        .into_iter()
        .map(|want| {
            let since = existing
                .iter()
                .find(|have| have.type_ == want.type_ && have.status == want.status.as_str())
                .map_or_else(|| whole_seconds(now), |have| have.last_transition_time.clone());
            Condition {
                type_: want.type_.to_owned(),
                status: want.status.as_str().to_owned(),
                reason: want.reason.as_str().to_owned(),
                message: shown(&want.message),
                observed_generation: Some(generation),
                last_transition_time: since,
            }
        })
        .collect();
    merged.sort_by(|a, b| a.type_.cmp(&b.type_));
    merged
}

/// A message as it is shown: one line without control characters, and not too long.
pub fn shown(message: &str) -> String {
    text::sentence(message, MAX_MESSAGE_BYTES)
}

/// The condition of that type, if there is one.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether there is a condition of that type that is True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let first =
            merge(&[], vec![DesiredCondition::new(READY, ConditionStatus::False, Reason::Waiting, "a")], 1, at(10));
        let same =
            merge(&first, vec![DesiredCondition::new(READY, ConditionStatus::False, Reason::Applying, "b")], 2, at(20));
        assert_eq!(same[0].last_transition_time.0, at(10));
        assert_eq!((same[0].reason.as_str(), same[0].observed_generation), ("Applying", Some(2)));
        let turned =
            merge(&same, vec![DesiredCondition::new(READY, ConditionStatus::True, Reason::InSync, "c")], 2, at(30));
        assert_eq!(turned[0].last_transition_time.0, at(30));
    }

    #[test]
    fn what_is_not_desired_any_more_is_gone() {
        let stalled = merge(
            &[],
            vec![DesiredCondition::new(STALLED, ConditionStatus::True, Reason::NotSupported, "x")],
            1,
            at(1),
        );
        let healed =
            merge(&stalled, vec![DesiredCondition::new(READY, ConditionStatus::True, Reason::InSync, "y")], 1, at(2));
        assert_eq!(healed.len(), 1);
        assert!(is_true(&healed, READY) && find(&healed, STALLED).is_none());
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let merged = merge(
            &[],
            vec![DesiredCondition::new(READY, ConditionStatus::False, Reason::Waiting, "가".repeat(5000))],
            1,
            at(1),
        );
        assert!(merged[0].message.len() <= MAX_MESSAGE_BYTES);
        assert!(merged[0].message.ends_with('…'));
    }
}
