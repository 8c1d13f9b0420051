use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::api::Provider;
use crate::api::Reason;
use crate::api::cluster_ref::NcpSite;
use crate::api::conditions::{self, READY, RECONCILING, STALLED};
use crate::api::flush_request::{Attempt, FlushPhase, RedisFlushRequestSpec, RedisFlushRequestStatus};
use crate::api::shared::{LocalRef, whole_seconds};
use crate::cloud::{CloudError, ErrorKind, Executed, FlushReceipt, ObservedCache};

mod claims;
mod finishing;
mod pending;
mod random;
mod sending;

const UID: &str = "0b7c2b1e-0000-4000-8000-000000000001";
const CONFIRM: &str = "551234";
const ATTEMPT: &str = "attempt-of-this-process";

/// What makes a case of a table out of a session.
type Edit = fn(&mut Session);

/// So many seconds after the request was created.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

fn clock(seconds: i64) -> PlanTime {
    PlanTime { now: at(seconds), since_attempt_began: Duration::from_secs(1) }
}

fn target() -> TargetCache {
    TargetCache { site: NcpSite::Public, instance_no: CONFIRM.to_owned(), name: Some("cart".to_owned()) }
}

fn instance(state: &str) -> ObservedCache {
    ObservedCache { number: CONFIRM.to_owned(), name: Some("cart".to_owned()), state: state.to_owned() }
}

/// A status as the operator writes it: the attempt is proven not executed where the phase takes that.
fn status(phase: FlushPhase, attempt: &str) -> RedisFlushRequestStatus {
    let not_executed =
        matches!(phase, FlushPhase::Pending | FlushPhase::Failed | FlushPhase::Rejected | FlushPhase::Expired);
    RedisFlushRequestStatus {
        phase: Some(phase),
        attempt: (!attempt.is_empty()).then(|| Attempt {
            id: attempt.to_owned(),
            started_at: whole_seconds(at(5)),
            operator: "operator-a".to_owned(),
            not_executed,
        }),
        sent_time: (!not_executed).then(|| whole_seconds(at(5))),
        ..RedisFlushRequestStatus::default()
    }
}

/// A request that nobody has looked at, ten minutes before its deadline.
fn request() -> StoredRequest {
    StoredRequest {
        namespace: "shop".to_owned(),
        name: "wipe".to_owned(),
        uid: UID.to_owned(),
        resource_version: "7".to_owned(),
        generation: 1,
        created_at: at(0),
        deleted_at: None,
        finalizer: false,
        requested_at: None,
        spec: RedisFlushRequestSpec {
            cluster_ref: LocalRef { name: "cart".to_owned() },
            confirm: CONFIRM.to_owned(),
            request_id: None,
            not_after: None,
            start_deadline: Duration::from_secs(600).into(),
            ttl_after_finished: None,
        },
        status: RedisFlushRequestStatus { observed_generation: Some(-1), ..RedisFlushRequestStatus::default() },
    }
}

/// A reconcile that has read everything, and nothing stands in the way of the flush.
fn all_clear() -> Session {
    let mut session = Session::new(request(), ATTEMPT.to_owned(), "operator-a".to_owned());
    session.reference = ObservedReference::Target(target());
    session.claim = ObservedClaim::Absent;
    session.cloud = ObservedCaches::Caches(vec![instance("running")]);
    session.others = Others::Free;
    session
}

/// The reconcile that has just written Sending, with nothing in the way of the send but the claim.
fn won() -> Session {
    let mut session = all_clear();
    session.object.finalizer = true;
    session.object.status = status(FlushPhase::Sending, ATTEMPT);
    session.own = Some(OwnAttempt { id: ATTEMPT.to_owned(), outcome: None });
    session
}

fn in_phase(phase: FlushPhase, attempt: &str) -> Session {
    let mut session = all_clear();
    session.object.finalizer = true;
    session.object.status = status(phase, attempt);
    session
}

fn claim_of(uid: &str, attempt: &str) -> HeldClaim {
    HeldClaim {
        lease_name: all_clear().claim_key(&target()).lease_name(),
        lease_uid: "lease-1".to_owned(),
        request_uid: uid.to_owned(),
        namespace: "shop".to_owned(),
        name: "earlier".to_owned(),
        attempt_id: attempt.to_owned(),
        claimed_at: Some(at(-3600)),
    }
}

fn held(uid: &str, attempt: &str) -> ObservedClaim {
    ObservedClaim::Present(claim_of(uid, attempt))
}

/// A reconcile that found the claim with another request, of which this is known.
fn held_by(uid: &str, holder: Holder) -> Session {
    Session { claim: held(uid, "x"), holder: Some(("lease-1".to_owned(), holder)), ..all_clear() }
}

fn failure(kind: ErrorKind, maybe_executed: bool) -> SendOutcome {
    SendOutcome::Failed(CloudError {
        executed: if maybe_executed { Executed::Unknown } else { Executed::No },
        http_status: Some(429),
        code: Some("410".to_owned()),
        message: "slow down".to_owned(),
        trace_id: Some("trace-9".to_owned()),
        ..CloudError::sample(Provider::Ncp, "flushCloudDBInstance", kind)
    })
}

fn reply(code: &str) -> SendOutcome {
    SendOutcome::Answered(FlushReceipt {
        http_status: Some(200),
        return_code: Some(code.to_owned()),
        total_rows: Some(1),
        state: Some("settingup".to_owned()),
        ..FlushReceipt::default()
    })
}

fn written(effect: Effect) -> StatusWrite {
    match effect {
        Effect::WriteStatus(write) | Effect::BeginAttempt(write) => *write,
        other => panic!("expected a status write, not {other:?}"),
    }
}

fn reason(status: &RedisFlushRequestStatus) -> &str {
    &conditions::find(&status.conditions, READY).unwrap().reason
}

fn phase_and_reason(effect: Effect) -> (FlushPhase, String) {
    let status = written(effect).status;
    (status.phase.unwrap(), reason(&status).to_owned())
}

/// What must hold of every status that is ever written.
fn assert_well_formed(status: &RedisFlushRequestStatus) {
    let phase = status.phase.unwrap();
    let reconciling = conditions::is_true(&status.conditions, RECONCILING);
    let stalled = conditions::is_true(&status.conditions, STALLED);
    assert!(!(reconciling && stalled), "{status:?}");
    let open = !phase.is_terminal();
    assert_eq!(reconciling || (stalled && open), open, "{status:?}");
    assert_eq!(conditions::is_true(&status.conditions, READY), phase == FlushPhase::Succeeded);
    assert_eq!(status.finished_time.is_some(), phase.is_terminal());
    assert!(status.message.as_ref().is_some_and(|message| !message.is_empty()));
}
