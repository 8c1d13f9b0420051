//! Every sentence that a person reads in the status, the conditions and the events of a flush request: what happened, what it
//! means, what to do. A sentence stays the same while nothing happens, so that the status is written only when there is news.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::claim::HeldClaim;
use super::facts::{Holder, TargetCache};
use super::outcome::{NotSent, SendOutcome, reason_of};
use super::request::{Deadline, StoredRequest};
use crate::api::Reason;
use crate::cloud::{CloudError, ObservedCache};
use crate::object_key::ObjectKey;
use crate::text::full_stop;

#[cfg(test)]
pub(in crate::controllers) mod samples;

pub(super) const CANCELLED: &str = "Deleted before anything was sent; nothing was flushed, and nothing will be.";

pub(super) const QUEUED: &str = "Other flush requests of this namespace wait for the same cloud, and this one follows them. If this \
                                 takes long, look at what they wait for.";

pub(super) const STILL_RUNNING: &str = "The instance has not been seen to leave the state running yet.";

pub(super) const REFERENCE_OUTDATED: &str = "Its status is out of date.";
pub(super) const REFERENCE_UNREAD: &str = "Its instance has not been read yet.";

const CHECK: &str =
    "Check whether the keys are still in the cache, or look at the instance's events in the NCP console.";
const ASK_AGAIN: &str = "To flush again, create a RedisFlushRequest with a new requestID.";

pub(super) fn reference_missing(name: &str) -> String {
    format!("There is no RedisClusterRef {name} in this namespace. Create it, or delete this request.")
}

pub(super) fn reference_not_ready(name: &str, why: &str) -> String {
    format!("RedisClusterRef {name} does not lead to an instance yet. {}", full_stop(why))
}

pub(super) fn reference_suspended(name: &str) -> String {
    format!("RedisClusterRef {name} is suspended. Set its spec.suspend to false to let the flush go on.")
}

pub(super) fn claim_unavailable(why: &str) -> String {
    full_stop(&format!("The claim that guards against a second flush is not available: {why}"))
}

pub(super) fn claims_unread(namespace: &str, error: &kube::Error) -> String {
    format!("claims in namespace {namespace} cannot be read ({error})")
}

pub(super) fn claim_not_created(namespace: &str, said: &str) -> String {
    format!("a claim cannot be created in namespace {namespace} ({})", said.trim_end_matches('.'))
}

pub(super) fn claim_not_deleted(error: &kube::Error) -> String {
    format!("an unused claim cannot be deleted ({error})")
}

pub(super) fn cloud_failed(why: &str) -> String {
    format!("The cloud's list of instances could not be read. {}", full_stop(why))
}

pub(super) fn list_timed_out(limit: Duration) -> String {
    format!("No complete answer came within {} s.", limit.as_secs())
}

pub(super) fn target_not_found(target: &TargetCache) -> String {
    format!(
        "The cloud's list has no Redis instance {}. Check the site, and whether the credential may see the instance.",
        target.instance_no
    )
}

pub(super) fn target_ambiguous(target: &TargetCache) -> String {
    format!("The cloud's list has more than one Redis instance {}; nothing is sent.", target.instance_no)
}

pub(super) fn target_not_running(cache: &ObservedCache) -> String {
    if cache.state.is_empty() {
        return format!("The state of instance {} is not known.", named(cache));
    }
    format!("The state of instance {} is {}, not running.", named(cache), cache.state)
}

pub(super) fn target_busy(target: &TargetCache, by: &ObjectKey) -> String {
    format!("RedisFlushRequest {by} is flushing instance {}; this request follows it.", target.instance_no)
}

pub(super) fn not_supported(object: &StoredRequest) -> String {
    format!(
        "Nothing was sent: RedisClusterRef {} does not point at NCP, and only NCP has a flush.",
        object.spec.cluster_ref.name
    )
}

pub(super) fn confirm_mismatch(object: &StoredRequest, instance_no: &str) -> String {
    format!(
        "Nothing was sent: spec.confirm is {}, but RedisClusterRef {} leads to instance {instance_no}. To flush that instance, \
         create a request that confirms it.",
        object.spec.confirm, object.spec.cluster_ref.name
    )
}

pub(super) fn already_executed(request_id: &str, claim: &HeldClaim) -> String {
    format!(
        "Nothing was sent: request ID {request_id} was {}, and a request ID flushes an instance once. {ASK_AGAIN}",
        claimed(claim)
    )
}

pub(super) fn claim_held(request_id: &str, claim: &HeldClaim, holder: Option<&Holder>) -> String {
    let what_next = match holder {
        Some(Holder::Failed(why)) => full_stop(&format!("That request cannot be read now: {why}")),
        Some(Holder::Open | Holder::Spent) | None => {
            "This request goes on if that one was not executed; if it was, or if that is unknown, this one is refused."
                .to_owned()
        }
    };
    format!("Request ID {request_id} was {}. {what_next}", claimed(claim))
}

pub(super) fn claimed_first(request_id: &str, claim: &HeldClaim) -> String {
    format!("request ID {request_id} was {}, before this request could claim it.", claimed(claim))
}

/// When a claim was made, and by which request.
fn claimed(claim: &HeldClaim) -> String {
    let when = claim.claimed_at.map_or_else(|| "at an unknown time".to_owned(), |time| format!("at {time:.0}"));
    if claim.name.is_empty() {
        return format!("claimed for this instance {when} by an unknown request");
    }
    format!(
        "claimed for this instance {when} by RedisFlushRequest {}/{} (UID {})",
        claim.namespace, claim.name, claim.request_uid
    )
}

pub(super) fn write_refused(said: &str) -> String {
    format!(
        "The Kubernetes API refuses to record the state of this request, so it does not go on: {} The write is retried with \
         backoff. Remove what refuses it, or delete this request and create it again with a spec that is accepted.",
        full_stop(said)
    )
}

pub(super) fn expired(object: &StoredRequest, deadline: Deadline) -> String {
    let waited = match object.status.message.as_deref() {
        Some(message) => format!("Its last message was: {message}"),
        None => "The operator saw the request only after that.".to_owned(),
    };
    format!(
        "Nothing was flushed: {} passed at {:.0}. {waited} Create the request again if the flush is still wanted.",
        deadline.field, deadline.at
    )
}

pub(super) fn sending(cache: &ObservedCache, started_at: &Time) -> String {
    format!("Sending the flush of instance {} since {:.0}.", named(cache), started_at.0)
}

pub(super) fn interrupted(object: &StoredRequest) -> String {
    let (by, when) = object.status.attempt.as_ref().map_or_else(
        || ("an operator process".to_owned(), String::new()),
        |attempt| (format!("operator {}", attempt.operator), format!(" begun at {:.0}", attempt.started_at.0)),
    );
    format!(
        "The attempt{when} by {by} ended before its result was recorded: the flush may or may not have been executed, and \
         is never sent again. {CHECK} {ASK_AGAIN}"
    )
}

pub(super) fn status_lost(object: &StoredRequest, claim: &HeldClaim) -> String {
    let when = claim.claimed_at.map_or_else(String::new, |time| format!(" at {time:.0}"));
    format!(
        "Claim {} says that this request began to send{when}, but its status does not: the status was lost or set back. \
         Instance {} may or may not have been flushed, and this request never sends again. {CHECK} {ASK_AGAIN}",
        claim.lease_name, object.spec.confirm
    )
}

pub(super) fn status_contradicts(object: &StoredRequest) -> String {
    format!(
        "The status has an attempt to send, but not its result: a part of the status was lost or set back. Instance {} may or \
         may not have been flushed, and this request never sends again. {CHECK} {ASK_AGAIN}",
        object.spec.confirm
    )
}

pub(super) fn accepted(object: &StoredRequest) -> String {
    format!("The cloud accepted the flush of instance {}; waiting until it runs again.", object.spec.confirm)
}

pub(super) fn watching(object: &StoredRequest, doubt: &str, stalled: bool) -> String {
    let hint = if stalled { " This takes unusually long; look at the instance in the NCP console." } else { "" };
    format!("{} {doubt}{hint}", accepted(object))
}

pub(super) fn succeeded(object: &StoredRequest, states: &[String]) -> String {
    let states = if states.is_empty() { "running".to_owned() } else { states.join(", ") };
    format!("Instance {} was flushed and runs again (states seen: {states}).", object.spec.confirm)
}

pub(super) fn not_running_again(object: &StoredRequest, doubt: &str) -> String {
    format!(
        "The cloud accepted the flush of instance {}, but the instance has not been seen running since. {doubt} Look at the \
         instance in the NCP console; this request no longer watches it.",
        object.spec.confirm
    )
}

pub(super) fn deleted_while_accepted(object: &StoredRequest) -> String {
    format!("Deleted after the cloud accepted the flush of instance {}; it is no longer watched.", object.spec.confirm)
}

pub(super) fn try_again(outcome: &SendOutcome, next: &Time) -> String {
    format!("Not executed: {} The next attempt is not before {:.0}.", reason(outcome), next.0)
}

pub(super) fn refused(object: &StoredRequest, outcome: &SendOutcome) -> String {
    format!(
        "The cloud refused the flush of instance {}; nothing was flushed: {} Remove the cause and create the request again; \
         the same requestID can be used.",
        object.spec.confirm,
        reason(outcome)
    )
}

pub(super) fn lost(object: &StoredRequest, outcome: &SendOutcome) -> String {
    format!(
        "The flush of instance {} was sent, but it is unknown whether it was executed: {} It is never sent again. \
         {CHECK} {ASK_AGAIN}",
        object.spec.confirm,
        reason(outcome)
    )
}

pub(super) fn reason(outcome: &SendOutcome) -> String {
    match outcome {
        SendOutcome::NotSent(why) => not_sent(why),
        SendOutcome::Answered(receipt) => format!(
            "return code {}{}{}.",
            receipt.return_code.as_deref().unwrap_or("missing"),
            receipt.return_message.as_ref().map_or_else(String::new, |message| format!(", {message}")),
            trace(receipt.trace_id.as_deref()),
        ),
        SendOutcome::NoClient { kind, message } => {
            format!("{} ({}).", message.trim_end_matches('.'), reason_of(*kind))
        }
        SendOutcome::NoAnswer => format!("the call did not return ({}).", Reason::CloudUnavailable),
        SendOutcome::Failed(error) => failed(error),
    }
}

fn failed(error: &CloudError) -> String {
    let status = error.http_status.map_or_else(String::new, |status| format!(", HTTP {status}"));
    let code = error.code.as_ref().map_or_else(String::new, |code| format!(", code {code}"));
    let message = error.message.trim_end_matches('.');
    format!("{message} ({}{status}{code}{}).", reason_of(error.kind), trace(error.trace_id.as_deref()))
}

fn trace(id: Option<&str>) -> String {
    id.map_or_else(String::new, |id| format!(", trace {id}"))
}

fn not_sent(why: &NotSent) -> String {
    match why {
        NotSent::Paused => "the operator process was paused before it could send.".to_owned(),
        NotSent::Stopping => "the operator process was stopping.".to_owned(),
        NotSent::Queued => "other flushes of the same connection were still running.".to_owned(),
        NotSent::DeadlinePassed => "the deadline passed before it could be sent.".to_owned(),
        NotSent::Deleted => "the request was deleted before it could be sent.".to_owned(),
        NotSent::ReferenceChanged => "the reference changed before it could be sent.".to_owned(),
        NotSent::ClaimedByAnother(sentence) => sentence.clone(),
        NotSent::ClaimUnavailable(why) => full_stop(why),
    }
}

fn named(cache: &ObservedCache) -> String {
    match &cache.name {
        Some(name) => format!("{} ({name})", cache.number),
        None => cache.number.clone(),
    }
}
