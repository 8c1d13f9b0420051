//! One sample of each message of a flush request, and of each branch in it, for the golden file.

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::api::Provider;
use crate::api::flush_request::Attempt;
use crate::cloud::{ErrorKind, Executed, FlushReceipt};

const ID: &str = "2026-11-black-friday";

fn time() -> Time {
    Time(Timestamp::UNIX_EPOCH)
}

fn request() -> StoredRequest {
    let object = json!({
        "apiVersion": "managedredis.dev/v1alpha1",
        "kind": "RedisFlushRequest",
        "metadata": {
            "name": "wipe", "namespace": "shop", "uid": "0b7c", "resourceVersion": "7",
            "creationTimestamp": "1970-01-01T00:00:00Z",
        },
        "spec": { "clusterRef": { "name": "cart" }, "confirm": "551234", "requestID": ID },
    });
    StoredRequest::of(&serde_json::from_value(object).unwrap()).unwrap()
}

fn with_attempt() -> StoredRequest {
    let mut object = request();
    let (started_at, operator) = (time(), "operator-0_1a2b".to_owned());
    object.status.attempt = Some(Attempt { id: "a-1".to_owned(), started_at, operator, not_executed: false });
    object.status.message = Some(reference_missing("cart"));
    object
}

fn claim(named: bool) -> HeldClaim {
    HeldClaim {
        lease_name: "flush-0123".to_owned(),
        lease_uid: "1c8d".to_owned(),
        request_uid: "0b7c".to_owned(),
        namespace: "shop".to_owned(),
        name: if named { "wipe".to_owned() } else { String::new() },
        attempt_id: "a-1".to_owned(),
        claimed_at: named.then_some(Timestamp::UNIX_EPOCH),
    }
}

fn cache(name: Option<&str>, state: &str) -> ObservedCache {
    ObservedCache { number: "551234".to_owned(), name: name.map(str::to_owned), state: state.to_owned() }
}

fn error() -> CloudError {
    CloudError {
        http_status: Some(503),
        code: Some("900".to_owned()),
        message: "Unexpected error".to_owned(),
        trace_id: Some("7f3a".to_owned()),
        executed: Executed::Unknown,
        ..CloudError::sample(Provider::Ncp, "flushCloudDBInstance", ErrorKind::Unavailable)
    }
}

fn no_api() -> kube::Error {
    kube::Error::Service("client error (Connect)".into())
}

/// Each message with its name.
pub(in crate::controllers) fn samples() -> Vec<(&'static str, String)> {
    let mut all = waiting();
    all.extend(ends());
    all.extend(attempts());
    all.extend(
        outcomes().into_iter().map(|outcome| ("reason, claimed_first, try_again", try_again(&outcome, &time()))),
    );
    all
}

fn waiting() -> Vec<(&'static str, String)> {
    let target =
        &TargetCache { site: crate::api::cluster_ref::NcpSite::Public, instance_no: "551234".to_owned(), name: None };
    let held = |holder: Option<&Holder>| claim_held(ID, &claim(true), holder);
    let failed = Holder::Failed(no_api().to_string());
    vec![
        ("QUEUED", QUEUED.to_owned()),
        ("reference_missing", reference_missing("cart")),
        ("reference_not_ready, REFERENCE_OUTDATED", reference_not_ready("cart", REFERENCE_OUTDATED)),
        ("reference_not_ready, REFERENCE_UNREAD", reference_not_ready("cart", REFERENCE_UNREAD)),
        ("reference_suspended", reference_suspended("cart")),
        ("claim_unavailable, claims_unread", claim_unavailable(&claims_unread("mro", &no_api()))),
        ("claim_unavailable, claim_not_deleted", claim_unavailable(&claim_not_deleted(&no_api()))),
        ("claim_unavailable, claim_not_created", claim_unavailable(&claim_not_created("mro", "exceeded quota."))),
        ("cloud_failed", cloud_failed(&error().to_string())),
        ("cloud_failed, list_timed_out", cloud_failed(&list_timed_out(Duration::from_secs(20)))),
        ("target_not_found", target_not_found(target)),
        ("target_ambiguous", target_ambiguous(target)),
        ("target_not_running", target_not_running(&cache(Some("cart"), "rebooting"))),
        ("target_not_running", target_not_running(&cache(None, ""))),
        ("target_busy", target_busy(target, &ObjectKey::new("shop", "other"))),
        ("claim_held", held(None)),
        ("claim_held", held(Some(&Holder::Open))),
        ("claim_held", held(Some(&failed))),
        ("write_refused", write_refused("admission webhook \"policy\" denied the request.")),
    ]
}

fn ends() -> Vec<(&'static str, String)> {
    let object = &request();
    let deadline = Deadline { at: Timestamp::UNIX_EPOCH, field: "startDeadline" };
    let states = ["flushing", "running"].map(str::to_owned);
    vec![
        ("CANCELLED", CANCELLED.to_owned()),
        ("not_supported", not_supported(object)),
        ("confirm_mismatch", confirm_mismatch(object, "660000")),
        ("already_executed", already_executed(ID, &claim(true))),
        ("already_executed", already_executed(ID, &claim(false))),
        ("expired", expired(object, deadline)),
        ("expired", expired(&with_attempt(), Deadline { field: "notAfter", ..deadline })),
        ("interrupted", interrupted(object)),
        ("interrupted", interrupted(&with_attempt())),
        ("status_lost", status_lost(object, &claim(true))),
        ("status_lost", status_lost(object, &claim(false))),
        ("status_contradicts", status_contradicts(object)),
        ("succeeded", succeeded(object, &[])),
        ("succeeded", succeeded(object, &states)),
        ("not_running_again, STILL_RUNNING", not_running_again(object, STILL_RUNNING)),
        ("deleted_while_accepted", deleted_while_accepted(object)),
    ]
}

fn attempts() -> Vec<(&'static str, String)> {
    let object = &request();
    vec![
        ("sending", sending(&cache(Some("cart"), "running"), &time())),
        ("accepted", accepted(object)),
        ("watching", watching(object, STILL_RUNNING, false)),
        ("watching", watching(object, &target_not_running(&cache(Some("cart"), "rebooting")), true)),
        ("refused", refused(object, &SendOutcome::Failed(error()))),
        ("lost", lost(object, &SendOutcome::NoAnswer)),
    ]
}

fn outcomes() -> Vec<SendOutcome> {
    let receipt = FlushReceipt {
        return_code: Some("10500".to_owned()),
        return_message: Some("busy".to_owned()),
        trace_id: Some("7f3a".to_owned()),
        ..FlushReceipt::default()
    };
    let not_sent = [
        NotSent::Paused,
        NotSent::Stopping,
        NotSent::Queued,
        NotSent::DeadlinePassed,
        NotSent::Deleted,
        NotSent::ReferenceChanged,
        NotSent::ClaimedByAnother(claimed_first(ID, &claim(true))),
        NotSent::ClaimUnavailable(claims_unread("mro", &no_api())),
    ];
    let mut all: Vec<SendOutcome> = not_sent.map(SendOutcome::NotSent).into();
    all.extend([
        SendOutcome::NoClient {
            kind: ErrorKind::CredentialsRejected,
            message: "Secret ncp cannot be used.".to_owned(),
        },
        SendOutcome::NoAnswer,
        SendOutcome::Answered(FlushReceipt::default()),
        SendOutcome::Answered(receipt),
        SendOutcome::Failed(error()),
    ]);
    all
}
