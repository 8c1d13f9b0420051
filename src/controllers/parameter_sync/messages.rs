//! The sentences that a person reads in conditions, errors and events.
//!
//! An error and a cause are sentences without their full stop, since other sentences quote them.

use jiff::Timestamp;

use crate::api::{Provider, RECONCILE_REQUESTED_AT};
use crate::text;

#[cfg(test)]
pub(in crate::controllers) mod samples;

/// How many clusters a sentence names before it counts the rest.
const NAMED: usize = 3;
/// Longest text from outside in a condition's sentence, in bytes.
const MAX_CAUSE_BYTES: usize = 512;
/// The Events API refuses notes of more than 1024 bytes.
const MAX_NOTE_BYTES: usize = 1000;

pub(super) const SUSPENDED: &str = "Applying is suspended by spec.suspend; the status shows what was last seen.";
pub(super) const SUSPENDED_BEFORE_READ: &str = "Applying was suspended before the cloud was read.";
pub(super) const READ: &str = "The cloud was read.";
pub(super) const NOT_READ_YET: &str = "The cloud has not been read yet.";
pub(super) const NOTHING_TO_READ: &str = "No cluster has a parameter group to read.";
pub(super) const CLUSTERS_NOT_READ_YET: &str = "The clusters have not been read yet.";
pub(super) const NO_CLUSTER: &str = "There is no cluster to apply a parameter group to.";
pub(super) const STALE: &str =
    "The clusters were In-Sync at the last read, but the cloud has not been readable for three polls.";
pub(super) const ONLY_KAKAO: &str = "Only KakaoCloud applies parameter groups";
pub(super) const CONNECTION_GONE: &str = "The cluster's connection is gone";

// Conditions: several clusters that are not in sync for the same reason, by their names.

pub(super) fn unreadable(names: &str, cause: &str) -> String {
    format!("{names} cannot be read. {}. The read is retried at every poll.", clause(cause, MAX_CAUSE_BYTES))
}

pub(super) fn retries_exhausted(names: &str, attempts: i32, error: &str) -> String {
    let attempts = if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
    format!(
        "Gave up on {names} after {attempts}{}. Change the spec or the parameter group, or set the annotation \
         {RECONCILE_REQUESTED_AT} to a new value, to try again.",
        suffix(error),
    )
}

pub(super) fn cluster_not_found(names: &str, error: &str) -> String {
    format!("{names} cannot be found{}. The lookup is retried at every poll.", suffix(error))
}

pub(super) fn not_supported(names: &str, error: &str) -> String {
    format!("{names} cannot be kept in sync{}.", suffix(error))
}

pub(super) fn backing_off(
    names: &str,
    attempts: i32,
    max_attempts: i32,
    error: &str,
    next: Option<Timestamp>,
) -> String {
    let next = next.map_or(String::new(), |time| format!(" The next attempt is at {time}."));
    format!(
        "Applying the parameter group to {names} failed (attempt {attempts} of {max_attempts}){}.{next}",
        suffix(error)
    )
}

pub(super) fn applying(names: &str) -> String {
    format!("Waiting for the parameter group to be applied to {names}.")
}

pub(super) fn waiting(names: &str, cause: &str) -> String {
    format!("Waiting for {names}. {cause}.")
}

// What a cluster waits for, as a part of `waiting`.

pub(super) fn sync_status_is(name: &str, word: Option<&str>) -> String {
    word.map_or_else(
        || format!("The cloud reports no sync status of {name}"),
        |word| format!("The sync status of {name} is {word}"),
    )
}

pub(super) fn not_read_yet(name: &str) -> String {
    format!("{name} has not been read yet")
}

pub(super) fn not_running(name: &str, state: Option<&str>) -> String {
    let state = state.map_or_else(|| format!("The state of {name} is not known"), |state| format!("{name} is {state}"));
    format!("{state}; its parameter group is applied once it is Running")
}

pub(super) fn next_attempt(name: &str, next: Option<Timestamp>) -> String {
    let next = next.map_or(String::new(), |next| format!(" at {next}"));
    format!("The parameter group of {name} can be applied again{next}")
}

pub(super) fn owned_by(owner: Option<&str>, word: Option<&str>) -> String {
    let owner =
        owner.map_or_else(|| "another RedisParameterSync".to_owned(), |owner| format!("RedisParameterSync {owner}"));
    word.map_or_else(
        || format!("The cloud reports no sync status of it, and {owner} applies its parameter group"),
        |word| format!("Its sync status is {word}, and {owner} applies its parameter group"),
    )
}

pub(super) fn applied_next(name: &str) -> String {
    format!("The parameter group of {name} is applied next")
}

// Conditions: all clusters of an object.

pub(super) fn share_in_sync(in_sync: usize, total: usize) -> String {
    format!("{in_sync} of {total} clusters are In-Sync.")
}

pub(super) fn one_in_sync(name: &str) -> String {
    format!("{name} is In-Sync.")
}

pub(super) fn all_in_sync(total: usize) -> String {
    format!("All {total} clusters are In-Sync.")
}

pub(super) fn too_many_clusters(total: usize, in_sync: usize, max_clusters: usize, left_out: usize) -> String {
    format!(
        "{total} clusters are selected, but one RedisParameterSync keeps at most {max_clusters} in sync: {left_out} of them are \
         left out. Split it into several, each with a clusterSelector for a part of them. {}",
        share_in_sync(in_sync, total),
    )
}

// What was observed.

pub(super) fn reference_missing(name: &str, namespace: &str) -> String {
    format!("RedisClusterRef {name} is not in namespace {namespace}. Create it, or correct spec.clusterRef.")
}

pub(super) fn reference_invalid(name: &str) -> String {
    format!("RedisClusterRef {name} cannot be read; see its conditions.")
}

pub(super) fn reference_suspended(name: &str) -> String {
    format!("RedisClusterRef {name} is suspended. Set its spec.suspend to false to go on.")
}

pub(super) fn provider_not_supported(name: &str, provider: Provider) -> String {
    format!("RedisClusterRef {name} points at {provider}, whose API cannot apply parameter groups")
}

pub(super) fn invalid_selector(error: &str) -> String {
    format!("spec.clusterSelector cannot be used: {}.", clause(error, MAX_CAUSE_BYTES))
}

pub(super) fn no_reference_selected(namespace: &str) -> String {
    format!("No RedisClusterRef of namespace {namespace} has the labels of clusterSelector.")
}

pub(super) fn no_cluster_in_group(group: &str, region: &str) -> String {
    format!("KakaoCloud lists no cluster with parameter group {group} in {region}.")
}

pub(super) fn no_cluster_of_reference(reference: &str) -> String {
    format!("KakaoCloud has no cluster for RedisClusterRef {reference}")
}

pub(super) fn ambiguous_name(reference: &str, clusters: usize) -> String {
    format!("{clusters} clusters have the name in RedisClusterRef {reference}; set its clusterID.")
}

pub(super) fn no_parameter_group(cluster: &str) -> String {
    format!("Cluster {cluster} has no parameter group")
}

// Why an attempt failed.

pub(super) fn still_failing(word: &str, attempt: i32) -> String {
    format!("The sync status is {word} after attempt {attempt}")
}

pub(super) fn stuck(word: &str, since: Timestamp) -> String {
    format!("The sync status has been {word} since {since}")
}

// Events.

pub(super) fn became_in_sync(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    note(&format!("{} {verb} In-Sync: {}", clusters(names.len()), list(names)))
}

pub(super) fn apply_requested(names: &[&str]) -> String {
    note(&format!("Asked to apply the parameter group to {}: {}", clusters(names.len()), list(names)))
}

pub(super) fn apply_failed(names: &[&str], error: Option<&str>) -> String {
    let cause = error.map_or(String::new(), |error| format!(". {error}"));
    note(&format!("Applying the parameter group to {} failed: {}{cause}", clusters(names.len()), list(names)))
}

pub(super) fn gave_up(names: &[&str], error: Option<&str>) -> String {
    let cause = error.map_or(String::new(), |error| format!(". {error}"));
    note(&format!("Gave up applying the parameter group to {}: {}{cause}", clusters(names.len()), list(names)))
}

// Parts of sentences.

/// `a`, `a and b`, `a, b and c`, `a, b, c and 9 more`.
pub(super) fn list<S: AsRef<str>>(names: &[S]) -> String {
    let named: Vec<&str> = names.iter().take(NAMED).map(AsRef::as_ref).collect();
    match (named.as_slice(), names.len().saturating_sub(NAMED)) {
        ([], _) => String::new(),
        ([only], _) => (*only).to_owned(),
        ([head @ .., last], 0) => format!("{} and {last}", head.join(", ")),
        (all, more) => format!("{} and {more} more", all.join(", ")),
    }
}

/// A text from outside on one line, at most `max` bytes, without the full stop that the sentence around it has.
pub(super) fn clause(text: &str, max: usize) -> String {
    text::sentence(text, max).trim_end_matches('.').to_owned()
}

/// `1 cluster`, `12 clusters`.
fn clusters(count: usize) -> String {
    if count == 1 { "1 cluster".to_owned() } else { format!("{count} clusters") }
}

fn suffix(error: &str) -> String {
    if error.is_empty() { String::new() } else { format!(". {error}") }
}

fn note(text: &str) -> String {
    format!("{}.", clause(text, MAX_NOTE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_name_the_first_and_count_the_rest() {
        assert_eq!(list::<&str>(&[]), "");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b"]), "a and b");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(list(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }

    #[test]
    fn foreign_text_becomes_a_short_line() {
        assert_eq!(clause("  no\nway. ", 100), "no way");
        let cut = clause(&"가".repeat(100), 20);
        assert!(cut.len() <= 20 && cut.ends_with('…'), "{cut}");
        assert_eq!(clause("가", 1), "…");
    }
}
