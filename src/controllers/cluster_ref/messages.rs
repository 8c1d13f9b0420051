//! Every sentence that a person reads in the conditions of a reference.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::Target;
use crate::api::cluster_ref::RedisClusterRefSpec;
use crate::api::shared::{self, whole_seconds};
use crate::text::one_line;

#[cfg(test)]
pub(in crate::controllers) mod samples;

/// Longest ID of a cloud in a sentence, in characters.
const MAX_ID_CHARS: usize = 64;
/// How many IDs a sentence names.
const MAX_IDS: usize = 3;

pub(super) const FIRST_READ: &str = "the cloud is being read for the first time";
pub(super) const READING: &str = "the cloud is being read";
pub(super) const ASKED_AGAIN: &str = "the cloud is asked again";
pub(super) const READ: &str = "the cloud was read with success";
pub(super) const NO_STATE: &str = "the cloud names no state for this Redis";
pub(super) const SUSPENDED: &str = "reading is suspended by spec.suspend; the picture is that of lastObservedTime";

pub(super) fn state(word: &str) -> String {
    format!("the cloud says {word}")
}

pub(super) fn progressing(word: &str) -> String {
    format!("the cloud says {word}; waiting until it is running")
}

pub(super) fn unknown_state(word: &str) -> String {
    format!("the cloud says {word}, a state this version of the operator does not know")
}

pub(super) fn not_found(spec: &RedisClusterRefSpec, interval: Duration) -> String {
    let interval = shared::Duration::from(interval);
    format!("the cloud has no {}; it is looked for again every {interval}", target(spec))
}

pub(super) fn ambiguous(spec: &RedisClusterRefSpec, ids: &[String]) -> String {
    let mut named: Vec<String> = ids.iter().take(MAX_IDS).map(|id| one_line(id, MAX_ID_CHARS)).collect();
    if ids.len() > named.len() {
        named.push("…".to_owned());
    }
    format!("{} clusters are a {}: refer to one of them by ID ({})", ids.len(), target(spec), named.join(", "))
}

fn target(spec: &RedisClusterRefSpec) -> String {
    spec.target().map_or_else(|_| "target".to_owned(), Target::describe)
}

pub(super) fn stale(read_at: Timestamp, problem: &str) -> String {
    format!("last seen at {}, since then: {problem}", whole_seconds(read_at).0)
}

/// The ConfigMap in a sentence about it.
pub(super) fn config_map(name: &str, what: &str) -> String {
    format!("ConfigMap {name} {what}")
}

pub(super) const CONFIG_MAP_NOT_OWNED: &str =
    "exists and does not belong to this object, so it is left alone: delete it or name another";
pub(super) const CONFIG_MAPS_DISABLED: &str = "is not kept: this operator runs with --connection-config-maps=false; \
    remove spec.connectionConfigMap, or have it enabled";
pub(super) const CONFIG_MAP_WITHOUT_HOST: &str = "is not written: the cloud names an endpoint that is neither a host name \
    nor an IP address, see status.cluster.endpoints. It is written when the cloud names a host.";
pub(super) const CONFIG_MAP_CONTENDED: &str =
    "is changed by somebody else whenever it is to be written. It is tried again.";
pub(super) const CONFIG_MAP_CROWDED: &str =
    "is not written yet: too many writes of ConfigMaps wait for the Kubernetes API. It is tried again.";

pub(super) fn config_map_unanswered(waited: Duration) -> String {
    format!(
        "is not written yet: the Kubernetes API has not answered for {} s, an admission webhook may be slow or down. \
         Applications may find it missing or out of date. The write goes on.",
        waited.as_secs()
    )
}

/// `what` is `cannot be read` or `cannot be written`.
pub(super) fn config_map_failed(what: &str, cause: &str) -> String {
    let cause = cause.trim_end_matches('.');
    format!("{what}: {cause}. Applications may find it missing or out of date. It is tried again.")
}

pub(super) fn api_unreachable(error: &kube::Error) -> String {
    format!("the Kubernetes API could not be asked ({error})")
}

pub(super) fn api_silent(waited: Duration) -> String {
    format!("the Kubernetes API has not answered for {} s", waited.as_secs())
}
