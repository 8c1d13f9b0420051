//! Every sentence that a person reads in the conditions of a reference.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::Target;
use crate::api::cluster_ref::RedisClusterRefSpec;
use crate::api::shared::{self, whole_seconds};
use crate::text::{full_stop, one_line};

#[cfg(test)]
pub(in crate::controllers) mod samples;

/// Longest ID of a cloud in a sentence, in characters.
const MAX_ID_CHARS: usize = 64;
/// How many IDs a sentence names.
const MAX_IDS: usize = 3;

pub(super) const FIRST_READ: &str = "Reading the cloud for the first time.";
pub(super) const READING: &str = "Reading the cloud.";
pub(super) const ASKED_AGAIN: &str = "The read of the cloud is retried.";
pub(super) const READ: &str = "The cloud was read.";
pub(super) const NO_STATE: &str = "The cloud reports no state of this Redis.";
pub(super) const SUSPENDED: &str =
    "Reading is suspended by spec.suspend; the status shows what was seen at lastObservedTime.";

pub(super) fn state(word: &str) -> String {
    format!("The cloud reports state {word}.")
}

pub(super) fn progressing(word: &str) -> String {
    format!("The cloud reports state {word}; waiting until it is running.")
}

pub(super) fn unknown_state(word: &str) -> String {
    format!("The cloud reports state {word}, which this version of the operator does not know.")
}

pub(super) fn not_found(spec: &RedisClusterRefSpec, interval: Duration) -> String {
    let interval = shared::Duration::from(interval);
    format!("The cloud has no {}. Create it or correct the spec; it is looked up every {interval}.", target(spec))
}

pub(super) fn ambiguous(spec: &RedisClusterRefSpec, ids: &[String]) -> String {
    let mut named: Vec<String> = ids.iter().take(MAX_IDS).map(|id| one_line(id, MAX_ID_CHARS)).collect();
    if ids.len() > named.len() {
        named.push("…".to_owned());
    }
    let count = ids.len();
    let (several, id_field) = spec.target().map_or_else(
        |_| (format!("{count} clusters match the spec"), "the ID"),
        |target| (target.describe_several(count), target.id_field()),
    );
    full_stop(&format!("{several}; set {id_field} to one of {}", named.join(", ")))
}

fn target(spec: &RedisClusterRefSpec) -> String {
    spec.target().map_or_else(|_| "target".to_owned(), Target::describe)
}

pub(super) fn stale(read_at: Timestamp, problem: &str) -> String {
    format!("The last successful read was at {}. {problem}", whole_seconds(read_at).0)
}

/// The ConfigMap in a sentence about it.
pub(super) fn config_map(name: &str, what: &str) -> String {
    format!("ConfigMap {name} {what}")
}

pub(super) const CONFIG_MAP_NOT_OWNED: &str = "exists and does not belong to this object, so it is left alone. Delete it, or \
    set spec.connectionConfigMap to another name.";
pub(super) const CONFIG_MAPS_DISABLED: &str = "is not written, because the operator runs with --connection-config-maps=false. \
    Remove spec.connectionConfigMap, or enable the flag.";
pub(super) const CONFIG_MAP_WITHOUT_HOST: &str = "is not written, because the cloud reports an endpoint that is neither a host name \
    nor an IP address (see status.cluster.endpoints). It is written once the cloud reports a host.";
pub(super) const CONFIG_MAP_CONTENDED: &str =
    "is changed by another writer at each attempt to write it. The write is retried.";
pub(super) const CONFIG_MAP_CROWDED: &str =
    "is not written yet, because too many writes of ConfigMaps wait for the Kubernetes API. The write is retried.";

pub(super) fn config_map_unanswered(waited: Duration) -> String {
    format!(
        "is not written yet: the Kubernetes API has not answered for {} s. An admission webhook may be slow or down. \
         Applications may find it missing or out of date. The write goes on.",
        waited.as_secs()
    )
}

/// `what` is `cannot be read` or `cannot be written`.
pub(super) fn config_map_failed(what: &str, cause: &str) -> String {
    let cause = cause.trim_end_matches('.');
    format!("{what}: {cause}. Applications may find it missing or out of date. It is retried.")
}

pub(super) fn api_unreachable(error: &kube::Error) -> String {
    format!("the Kubernetes API could not be reached ({error})")
}

pub(super) fn api_silent(waited: Duration) -> String {
    format!("the Kubernetes API has not answered for {} s", waited.as_secs())
}
