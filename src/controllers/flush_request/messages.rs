//! What is said to people: what happened, what to check, what to do next. Nothing here changes while nothing happens, so a
//! status is written only when there is news.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::claim::HeldClaim;
use super::facts::{Holder, TargetCache};
use super::outcome::{NotSent, SendOutcome, reason_of};
use super::request::{Deadline, StoredRequest};
use crate::api::Reason;
use crate::cloud::{CloudError, ObservedCache};
use crate::object_key::ObjectKey;

#[cfg(test)]
pub(in crate::controllers) mod samples;

/// Ends a text with a full stop.
pub(super) fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.'))
}

pub(super) const CANCELLED: &str = "Deleted before anything was sent: nothing was flushed, and nothing will be.";

pub(super) const QUEUED: &str = "Waiting: other flush requests of this namespace are waiting for the same cloud, and this one \
                                 follows them. If this takes long, look at what they wait for.";

pub(super) const STILL_RUNNING: &str = "The instance has not been seen to leave the state running yet.";

const CHECK: &str = "Look whether the keys are still in the cache, or at the instance's events in the NCP console.";
const ASK_AGAIN: &str = "To flush again, create a RedisFlushRequest with a new requestID.";

pub(super) fn reference_missing(name: &str) -> String {
    format!("Waiting: there is no RedisClusterRef {name} in this namespace. Create it, or delete this request.")
}

pub(super) fn reference_not_ready(name: &str, why: &str) -> String {
    format!("Waiting: the RedisClusterRef {name} does not lead to an instance: {why}")
}

pub(super) fn reference_suspended(name: &str) -> String {
    format!("Waiting: the RedisClusterRef {name} is suspended. Set its spec.suspend to false to let the flush go on.")
}

pub(super) fn claim_unavailable(why: &str) -> String {
    format!("Waiting: the claim that guards against a second flush cannot be handled: {why}")
}

pub(super) fn cloud_failed(why: &str) -> String {
    format!("Waiting: the cloud's list of instances could not be read: {why}")
}

pub(super) fn target_not_found(target: &TargetCache) -> String {
    format!(
        "Waiting: the cloud's list has no REDIS instance {}. Check the site and whether the credential may see it.",
        target.instance_no
    )
}

pub(super) fn target_ambiguous(target: &TargetCache) -> String {
    format!("Waiting: the cloud's list has more than one REDIS instance {}.", target.instance_no)
}

pub(super) fn target_not_running(cache: &ObservedCache) -> String {
    let state = if cache.state.is_empty() { "not known" } else { &cache.state };
    format!("Waiting: the state of instance {} is {state}, not running.", named(cache))
}

pub(super) fn target_busy(target: &TargetCache, by: &ObjectKey) -> String {
    format!("Waiting: another flush of instance {} is under way, RedisFlushRequest {by}.", target.instance_no)
}

pub(super) fn not_supported(object: &StoredRequest) -> String {
    format!(
        "Refused, nothing was sent: the RedisClusterRef {} is not one of NCP, and only NCP has a flush.",
        object.spec.cluster_ref.name
    )
}

pub(super) fn confirm_mismatch(object: &StoredRequest, instance_no: &str) -> String {
    format!(
        "Refused, nothing was sent: spec.confirm is {}, but the RedisClusterRef {} leads to instance {instance_no}. If that \
         is the one to wipe, create a request that confirms it.",
        object.spec.confirm, object.spec.cluster_ref.name
    )
}

pub(super) fn already_executed(request_id: &str, claim: &HeldClaim) -> String {
    format!(
        "Refused, nothing was sent: the flush {request_id} of this instance was {}, and one request ID flushes an instance \
         once. {ASK_AGAIN}",
        claimed(claim)
    )
}

pub(super) fn claim_held(request_id: &str, claim: &HeldClaim, holder: Option<&Holder>) -> String {
    let what_next = match holder {
        Some(Holder::Failed(why)) => format!("That request cannot be read now: {why}"),
        Some(Holder::Open | Holder::Spent) | None => {
            "If that request was not executed, this one goes on; if it was, or if nobody can tell, this one is refused."
                .to_owned()
        }
    };
    format!("Waiting: the flush {request_id} of this instance was {}. {what_next}", claimed(claim))
}

pub(super) fn claimed_first(request_id: &str, claim: &HeldClaim) -> String {
    format!("the flush {request_id} of this instance was {}, before this request could claim it.", claimed(claim))
}

/// When a claim was made, and by which request.
fn claimed(claim: &HeldClaim) -> String {
    let when = claim.claimed_at.map_or_else(|| "at an unknown time".to_owned(), |time| format!("at {time:.0}"));
    if claim.name.is_empty() {
        return format!("claimed {when} by an unknown request");
    }
    format!("claimed {when} by RedisFlushRequest {}/{} (UID {})", claim.namespace, claim.name, claim.request_uid)
}

pub(super) fn write_refused(sentence: &str) -> String {
    format!(
        "The Kubernetes API refuses to record the state of this request, so it does not go on: {sentence} It is tried again, \
         ever less often. Remove what refuses it, or delete this request and create it anew with a spec that is accepted."
    )
}

pub(super) fn expired(object: &StoredRequest, deadline: Deadline) -> String {
    let waited = match object.status.message.as_deref() {
        Some(message) => format!("What it waited for last: {message}"),
        None => "The operator saw it only after that.".to_owned(),
    };
    format!(
        "Not executed: {} passed at {:.0}. {waited} Create the request anew if the flush is still wanted.",
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
        "The claim {} says that this request began to send{when}, but its status does not know: it was lost or set back. \
         Instance {} may or may not have been flushed, and this request never sends again. {CHECK} {ASK_AGAIN}",
        claim.lease_name, object.spec.confirm
    )
}

pub(super) fn status_contradicts(object: &StoredRequest) -> String {
    format!(
        "The status knows of an attempt to send, but not of its end: a part of it was lost or set back. Instance {} may or \
         may not have been flushed, and this request never sends again. {CHECK} {ASK_AGAIN}",
        object.spec.confirm
    )
}

pub(super) fn accepted(object: &StoredRequest) -> String {
    format!("The cloud accepted the flush of instance {}; waiting until it runs again.", object.spec.confirm)
}

pub(super) fn watching(object: &StoredRequest, doubt: &str, stalled: bool) -> String {
    let hint = if stalled { " This takes unusually long: look at the instance in the NCP console." } else { "" };
    format!("{} {doubt}{hint}", accepted(object))
}

pub(super) fn succeeded(object: &StoredRequest, states: &[String]) -> String {
    let states = if states.is_empty() { "running".to_owned() } else { states.join(", ") };
    format!("Instance {} was flushed and runs again (states seen: {states}).", object.spec.confirm)
}

pub(super) fn not_running_again(object: &StoredRequest, doubt: &str) -> String {
    format!(
        "The cloud accepted the flush of instance {}, but the instance was not seen running since. {doubt} Look at the \
         instance in the NCP console; this request does not watch it any longer.",
        object.spec.confirm
    )
}

pub(super) fn deleted_while_accepted(object: &StoredRequest) -> String {
    format!(
        "Deleted after the cloud accepted the flush of instance {}; it is not watched any more.",
        object.spec.confirm
    )
}

pub(super) fn try_again(outcome: &SendOutcome, next: &Time) -> String {
    format!("Not executed: {} Next attempt not before {:.0}.", reason(outcome), next.0)
}

pub(super) fn refused(object: &StoredRequest, outcome: &SendOutcome) -> String {
    format!(
        "The cloud refused the flush of instance {}, nothing was flushed: {} Remove the cause and create the request anew; \
         the same requestID can be used.",
        object.spec.confirm,
        reason(outcome)
    )
}

pub(super) fn lost(object: &StoredRequest, outcome: &SendOutcome) -> String {
    format!(
        "The flush of instance {} was sent, but the answer does not say whether it was executed: {} It is never sent again. \
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
        SendOutcome::NoAnswer => format!("the call did not come back ({}).", Reason::CloudUnavailable),
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
        NotSent::Paused => "the operator process stood still before it could send, so it did not.".to_owned(),
        NotSent::Stopping => "the operator process was told to stop, so it did not begin to send.".to_owned(),
        NotSent::Queued => "other flushes of the same connection were under way, so it was not sent.".to_owned(),
        NotSent::DeadlinePassed => "the deadline passed before it could be sent.".to_owned(),
        NotSent::Deleted => "the request was deleted before it could be sent.".to_owned(),
        NotSent::ReferenceChanged => "the reference changed before it could be sent.".to_owned(),
        NotSent::ClaimedByAnother(sentence) => sentence.clone(),
        NotSent::ClaimUnavailable(why) => {
            format!("the claim that guards against a second flush cannot be handled: {why}.")
        }
    }
}

fn named(cache: &ObservedCache) -> String {
    match &cache.name {
        Some(name) => format!("{} ({name})", cache.number),
        None => cache.number.clone(),
    }
}
