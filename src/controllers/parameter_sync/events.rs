//! Events: one for everything of a kind that happened in a pass, and only when something changed.

use super::episode::ClusterPlan;
use super::messages;
use crate::api::Reason;
use crate::api::parameter_sync::SyncPhase;
use crate::runtime::events::Note;

/// What the observations of a pass changed.
pub(super) fn of_observations(clusters: &[ClusterPlan]) -> Vec<Note> {
    let mut events = failures(clusters);
    let synced = labels(clusters, became_in_sync);
    if !synced.is_empty() {
        events.push(note(false, Reason::ParameterInSync, messages::became_in_sync(&synced)));
    }
    events
}

/// What the answers of the cloud changed.
pub(super) fn of_answers(clusters: &[ClusterPlan]) -> Vec<Note> {
    let mut events = failures(clusters);
    let accepted = labels(clusters, |cluster| cluster.is_accepted);
    if !accepted.is_empty() {
        events.insert(0, note(false, Reason::ParameterApplyRequested, messages::apply_requested(&accepted)));
    }
    events
}

fn failures(clusters: &[ClusterPlan]) -> Vec<Note> {
    let has_attempts_left = |cluster: &ClusterPlan| cluster.has_failed && !was_given_up(cluster);
    let (failed, given_up) = (labels(clusters, has_attempts_left), labels(clusters, was_given_up));
    let mut events = Vec::new();
    if !failed.is_empty() {
        let error = first_error(clusters, has_attempts_left);
        events.push(note(true, Reason::ParameterApplyFailed, messages::apply_failed(&failed, error)));
    }
    if !given_up.is_empty() {
        let error = first_error(clusters, was_given_up);
        events.push(note(true, Reason::RetriesExhausted, messages::gave_up(&given_up, error)));
    }
    events
}

/// A cluster that is In-Sync when it is first observed is no news.
fn became_in_sync(cluster: &ClusterPlan) -> bool {
    let was_out_of_sync =
        cluster.before.as_ref().is_some_and(|before| before.phase != SyncPhase::InSync && before.sync_status.is_some());
    cluster.entry.phase == SyncPhase::InSync && was_out_of_sync
}

fn was_given_up(cluster: &ClusterPlan) -> bool {
    cluster.entry.phase == SyncPhase::GaveUp
        && !cluster.is_not_supported()
        && cluster.before.as_ref().is_none_or(|before| before.phase != SyncPhase::GaveUp)
}

fn labels(clusters: &[ClusterPlan], is_one: impl Fn(&ClusterPlan) -> bool) -> Vec<&str> {
    clusters.iter().filter(|cluster| is_one(cluster)).map(ClusterPlan::label).collect()
}

fn first_error(clusters: &[ClusterPlan], is_one: impl Fn(&ClusterPlan) -> bool) -> Option<&str> {
    let first = clusters.iter().find(|cluster| is_one(cluster))?;
    Some(first.entry.last_error.as_ref()?.message.as_str())
}

fn note(warning: bool, reason: Reason, message: String) -> Note {
    Note { warning, reason, message }
}
