//! What keeps an object from being Ready because of single clusters, and the sentence for it.

use super::episode::{ClusterPlan, WaitsFor};
use super::messages;
use super::policy::Policy;
use crate::api::Reason;
use crate::api::parameter_sync::SyncPhase;

/// Why the cloud could not be read, the most severe first: what needs a person, then what passes by itself.
const SEVERITY: [Reason; 9] = [
    Reason::CredentialsNotFound,
    Reason::CredentialsRejected,
    Reason::PermissionDenied,
    Reason::UnknownRegion,
    Reason::AmbiguousName,
    Reason::Suspended,
    Reason::RateLimited,
    Reason::CloudUnavailable,
    Reason::UnexpectedResponse,
];

/// The rank of a reason why the cloud could not be read; a lower one is reported before a higher one.
pub(super) fn severity(reason: Reason) -> usize {
    let other = if reason.needs_a_person() { 0 } else { SEVERITY.len() };
    SEVERITY.iter().position(|known| *known == reason).unwrap_or(other)
}

/// What keeps the object from being Ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotReady {
    /// A cluster cannot be read.
    Unreadable(Reason),
    RetriesExhausted,
    ClusterNotFound,
    NotSupported,
    BackingOff,
    Applying,
    Waiting,
}

impl NotReady {
    /// What one cluster contributes. What passes by itself does not matter as long as the cluster is In-Sync.
    pub(super) fn of(cluster: &ClusterPlan) -> Option<Self> {
        let by_phase = match cluster.entry.phase {
            SyncPhase::InSync => None,
            SyncPhase::GaveUp if cluster.is_not_supported() => Some(Self::NotSupported),
            SyncPhase::GaveUp => Some(Self::RetriesExhausted),
            SyncPhase::NotFound => Some(Self::ClusterNotFound),
            SyncPhase::BackingOff => Some(Self::BackingOff),
            SyncPhase::Applying => Some(Self::Applying),
            SyncPhase::Waiting => Some(Self::Waiting),
        };
        let unreadable = cluster.problem.as_ref().map(|problem| Self::Unreadable(problem.reason));
        match (unreadable, by_phase) {
            (Some(unreadable), _) if unreadable.needs_a_person() => Some(unreadable),
            (Some(unreadable), Some(by_phase)) => Some(by_phase.more_severe(unreadable)),
            (_, by_phase) => by_phase,
        }
    }

    /// The most severe of what several clusters contribute.
    pub(super) fn most_severe(clusters: &[ClusterPlan]) -> Option<Self> {
        clusters.iter().filter_map(Self::of).reduce(Self::more_severe)
    }

    fn more_severe(self, other: Self) -> Self {
        if other.rank() < self.rank() { other } else { self }
    }

    fn rank(self) -> (u8, usize) {
        match self {
            Self::Unreadable(reason) => (if reason.needs_a_person() { 0 } else { 4 }, severity(reason)),
            Self::RetriesExhausted => (1, 0),
            Self::ClusterNotFound => (2, 0),
            Self::NotSupported => (3, 0),
            Self::BackingOff => (5, 0),
            Self::Applying => (6, 0),
            Self::Waiting => (7, 0),
        }
    }

    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Unreadable(reason) => reason,
            Self::RetriesExhausted => Reason::RetriesExhausted,
            Self::ClusterNotFound => Reason::ClusterNotFound,
            Self::NotSupported => Reason::NotSupported,
            Self::BackingOff => Reason::BackingOff,
            Self::Applying => Reason::Applying,
            Self::Waiting => Reason::Waiting,
        }
    }

    pub(super) fn needs_a_person(self) -> bool {
        self.reason().needs_a_person()
    }

    /// The sentence about the clusters that contribute this.
    pub(super) fn message(self, clusters: &[&ClusterPlan], policy: &Policy) -> String {
        let Some(first) = clusters.first() else { return String::new() };
        let names = messages::list(&clusters.iter().map(|cluster| cluster.label()).collect::<Vec<_>>());
        let attempts = first.entry.attempts;
        let error = first.entry.last_error.as_ref().map_or("", |error| error.message.as_str());
        match self {
            Self::Unreadable(_) => {
                messages::unreadable(&names, first.problem.as_ref().map_or("", |problem| &problem.message))
            }
            Self::RetriesExhausted => messages::retries_exhausted(&names, attempts, error),
            Self::ClusterNotFound => messages::cluster_not_found(&names, error),
            Self::NotSupported => messages::not_supported(&names, error),
            Self::BackingOff => {
                let next = clusters.iter().filter_map(|cluster| cluster.entry.next_attempt_time.as_ref());
                messages::backing_off(&names, attempts, policy.max_attempts(), error, next.map(|time| time.0).min())
            }
            Self::Applying => messages::applying(&names),
            Self::Waiting => messages::waiting(&names, &waits_for(first)),
        }
    }
}

fn waits_for(cluster: &ClusterPlan) -> String {
    let (name, entry) = (cluster.label(), &cluster.entry);
    match &cluster.waits_for {
        WaitsFor::SyncStatus => messages::sync_status_is(name, entry.sync_status.as_deref()),
        WaitsFor::Read => messages::not_read_yet(name),
        WaitsFor::Running(state) => messages::not_running(name, state.as_deref()),
        WaitsFor::NextAttempt => messages::next_attempt(name, entry.next_attempt_time.as_ref().map(|next| next.0)),
        WaitsFor::Turn => messages::applied_next(name),
        WaitsFor::Owner => messages::owned_by(entry.applied_by.as_deref(), entry.sync_status.as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_person_is_the_most_severe() {
        assert!(SEVERITY.is_sorted_by_key(|reason| !reason.needs_a_person()));
        let all = [
            NotReady::Unreadable(Reason::CredentialsNotFound),
            NotReady::Unreadable(Reason::AmbiguousName),
            NotReady::RetriesExhausted,
            NotReady::ClusterNotFound,
            NotReady::NotSupported,
            NotReady::Unreadable(Reason::Suspended),
            NotReady::Unreadable(Reason::UnexpectedResponse),
            NotReady::BackingOff,
            NotReady::Applying,
            NotReady::Waiting,
        ];
        assert!(all.is_sorted_by_key(|not_ready| not_ready.rank()));
        assert!(all.is_sorted_by_key(|not_ready| !not_ready.needs_a_person()));
    }
}
