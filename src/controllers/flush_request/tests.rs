//! The plan, guard by guard. How the guards work together is the model's business (`tests/flush_model`).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::outcome::{FailureKind, FlushReply, NotSent, SendError, SendOutcome};
use super::plan::{SEND_WITHIN, STALLED_AFTER, WATCH_LIMIT};
use super::session::{OwnAttempt, Snapshot};
use super::*;
use crate::api::cluster_ref::NcpSite;
use crate::api::conditions::{READY, RECONCILING, STALLED, SUCCEEDED, is_true};
use crate::api::flush_request::{Attempt, FlushPhase, RedisFlushRequestStatus};
use crate::api::shared::whole_seconds;

const NUMBER: &str = "771001";
const MINE: &str = "attempt-of-this-reconcile";

fn created() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn at(seconds: i64) -> Clock {
    Clock { now: created() + SignedDuration::from_secs(seconds), since_attempt_began: Duration::ZERO }
}

fn target() -> Target {
    Target { site: NcpSite::Public, instance_no: NUMBER.into(), service_name: Some("cart".into()) }
}

fn instance(state: &str) -> CloudView {
    let found = Instance { instance_no: NUMBER.into(), service_name: Some("cart".into()), state: state.into() };
    CloudView::Instances(vec![found])
}

fn attempt(id: &str) -> Attempt {
    Attempt { id: id.into(), started_at: whole_seconds(created()), operator: "operator-1".into() }
}

fn claim_of(uid: &str, attempt: &str) -> HeldClaim {
    let key = ClaimKey { site: NcpSite::Public, instance_no: NUMBER.into(), request_id: "shop/wipe".into() };
    HeldClaim {
        lease_name: key.lease_name(),
        lease_uid: "lease-1".into(),
        request_uid: uid.into(),
        namespace: "shop".into(),
        name: "wipe".into(),
        attempt_id: attempt.into(),
        claimed_at: Some(created()),
    }
}

/// A request of which everything was read and nothing stands in the way.
fn ready(phase: FlushPhase) -> Session {
    let spec = serde_json::json!({ "clusterRef": { "name": "cart" }, "confirm": NUMBER });
    let object = Snapshot {
        namespace: "shop".into(),
        name: "wipe".into(),
        uid: "uid-1".into(),
        resource_version: "1".into(),
        generation: 1,
        created_at: created(),
        deleted_at: None,
        finalizer: true,
        requested_at: None,
        spec: serde_json::from_value(spec).unwrap(),
        status: RedisFlushRequestStatus { phase: Some(phase), ..RedisFlushRequestStatus::default() },
    };
    Session {
        reference: Reference::Target(target()),
        claim: ClaimView::Absent,
        cloud: instance("running"),
        others: Others::Free,
        ..Session::new(object, MINE.into(), "operator-1".into())
    }
}

/// A request that this reconcile has just written Sending for, and claimed.
fn about_to_send() -> Session {
    let mut session = ready(FlushPhase::Sending);
    session.object.status.attempt = Some(attempt(MINE));
    session.own = Some(OwnAttempt { id: MINE.into(), outcome: None });
    session.claim = ClaimView::Present(claim_of("uid-1", MINE));
    session
}

/// The phase and reason the plan writes.
fn written(effect: &Effect) -> (FlushPhase, String) {
    let Effect::WriteStatus(write) = effect else { panic!("{effect:?} writes no status") };
    let ready = write.status.conditions.iter().find(|condition| condition.type_ == READY).unwrap();
    (write.status.phase.unwrap(), ready.reason.clone())
}

fn assert_writes(session: &Session, clock: Clock, phase: FlushPhase, reason: &str) {
    assert_eq!(written(&plan(session, clock)), (phase, reason.to_owned()));
}

fn failed(kind: FailureKind, maybe_executed: bool) -> SendOutcome {
    SendOutcome::Failed(SendError {
        kind,
        maybe_executed,
        http_status: Some(500),
        code: Some("900".into()),
        message: "it went wrong".into(),
        trace_id: None,
        retry_after: None,
    })
}

#[test]
fn pending_reads_what_it_needs_one_thing_after_the_other() {
    let mut session = ready(FlushPhase::Pending);
    (session.reference, session.claim, session.cloud, session.others) =
        (Reference::NotRead, ClaimView::NotRead, CloudView::NotRead, Others::NotRead);
    session.object.finalizer = false;
    assert_eq!(plan(&session, at(1)), Effect::ReadReference);
    session.absorb(Report::Reference(Reference::Target(target())));
    assert!(matches!(plan(&session, at(1)), Effect::ReadClaim(Some(_))));
    session.absorb(Report::Claim(ClaimView::Absent));
    assert_eq!(plan(&session, at(1)), Effect::ReadCloud(target()));
    session.absorb(Report::Cloud(instance("running")));
    assert_eq!(plan(&session, at(1)), Effect::ReadOthers(target()));
    session.absorb(Report::Others(Others::Free));
    assert_eq!(plan(&session, at(1)), Effect::AddFinalizer);
    session.object.finalizer = true;
    assert_writes(&session, at(1), FlushPhase::Sending, "Sending");
}

#[test]
fn what_pending_waits_for_has_a_reason() {
    let waits = |change: fn(&mut Session), reason: &str| {
        let mut session = ready(FlushPhase::Pending);
        change(&mut session);
        assert_writes(&session, at(1), FlushPhase::Pending, reason);
    };
    waits(|s| s.reference = Reference::Missing, "ReferenceNotFound");
    waits(|s| s.reference = Reference::Suspended, "ReferenceSuspended");
    waits(|s| s.reference = Reference::NotReady("it was not read yet.".into()), "ReferenceNotReady");
    waits(|s| s.claim = ClaimView::Failed("forbidden".into()), "ClaimUnavailable");
    waits(|s| s.cloud = CloudView::Instances(vec![]), "TargetNotFound");
    waits(|s| s.cloud = instance("stopped"), "TargetNotRunning");
    waits(|s| s.others = Others::Busy("shop/other".into()), "TargetBusy");
    waits(
        |s| s.cloud = CloudView::Failed { reason: "CloudUnavailable", message: "no answer.".into() },
        "CloudUnavailable",
    );
    waits(
        |s| {
            let CloudView::Instances(listed) = &mut s.cloud else { unreachable!() };
            listed.push(listed[0].clone());
        },
        "TargetAmbiguous",
    );
}

#[test]
fn verdicts_before_anything_is_sent() {
    let ends = |change: fn(&mut Session), phase, reason: &str| {
        let mut session = ready(FlushPhase::Pending);
        change(&mut session);
        assert_writes(&session, at(1), phase, reason);
    };
    ends(|s| s.object.spec.confirm = "771002".into(), FlushPhase::Rejected, "ConfirmMismatch");
    ends(|s| s.reference = Reference::NotNcp, FlushPhase::Rejected, "NotSupported");
    ends(|s| s.claim = ClaimView::Present(claim_of("uid-2", "x")), FlushPhase::Rejected, "AlreadyExecuted");
    // A claim of its own that the status knows nothing of.
    ends(|s| s.claim = ClaimView::Present(claim_of("uid-1", "x")), FlushPhase::Unknown, "StatusLost");
    ends(|s| s.object.spec.not_after = Some(whole_seconds(created())), FlushPhase::Expired, "DeadlineExceeded");
}

#[test]
fn the_deadline_counts_from_the_creation() {
    let session = ready(FlushPhase::Pending);
    assert_writes(&session, at(599), FlushPhase::Sending, "Sending");
    assert_writes(&session, at(600), FlushPhase::Expired, "DeadlineExceeded");
}

#[test]
fn only_the_reconcile_that_won_sending_sends() {
    let winner = about_to_send();
    assert_eq!(plan(&winner, at(2)), Effect::Send { target: target(), attempt_id: MINE.into() });
    let mut other = about_to_send();
    other.own = None;
    assert_writes(&other, at(2), FlushPhase::Unknown, "Interrupted");
    other.own = Some(OwnAttempt { id: "another".into(), outcome: None });
    assert_writes(&other, at(2), FlushPhase::Unknown, "Interrupted");
}

#[test]
fn a_send_is_used_up_before_it_begins() {
    let mut session = about_to_send();
    let send = plan(&session, at(2));
    session.begin(&send);
    // The call never came back: it is not made again.
    assert_writes(&session, at(2), FlushPhase::Unknown, "CloudUnavailable");
}

#[test]
fn the_claim_is_created_and_never_taken_over() {
    let mut session = about_to_send();
    session.claim = ClaimView::Absent;
    let Effect::CreateClaim(claim) = plan(&session, at(2)) else { panic!("no claim is created") };
    assert_eq!((claim.attempt_id.as_str(), claim.request_uid.as_str()), (MINE, "uid-1"));
    let lease = claim.to_lease("operators");
    let held = HeldClaim::from_lease(&lease);
    assert!(held.is_for("uid-1", MINE) && held.lease_name == claim.key.lease_name());
    session.claim = ClaimView::Present(claim_of("uid-2", "x"));
    assert_writes(&session, at(2), FlushPhase::Rejected, "AlreadyExecuted");
    session.claim = ClaimView::Present(claim_of("uid-1", "an earlier one"));
    assert_writes(&session, at(2), FlushPhase::Unknown, "StatusLost");
}

#[test]
fn last_looks_before_the_send() {
    let gives_up = |change: fn(&mut Session, &mut Clock), why: NotSent| {
        let (mut session, mut clock) = (about_to_send(), at(2));
        change(&mut session, &mut clock);
        assert_eq!(plan(&session, clock), Effect::GiveUp(why));
    };
    gives_up(|_, clock| clock.since_attempt_began = SEND_WITHIN + Duration::from_millis(1), NotSent::Paused);
    gives_up(|_, clock| *clock = at(600), NotSent::DeadlinePassed);
    gives_up(|session, _| session.object.deleted_at = Some(created()), NotSent::Deleted);
    gives_up(|session, _| session.reference = Reference::Missing, NotSent::ReferenceChanged);
    gives_up(
        |session, _| session.reference = Reference::Target(Target { instance_no: "771002".into(), ..target() }),
        NotSent::ReferenceChanged,
    );
    gives_up(|s, _| s.claim = ClaimView::Failed("forbidden".into()), NotSent::ClaimUnavailable("forbidden".into()));
}

#[test]
fn what_follows_from_an_answer() {
    let follows = |outcome: SendOutcome, phase, reason: &str| {
        let mut session = about_to_send();
        session.own = Some(OwnAttempt { id: MINE.into(), outcome: Some(outcome) });
        assert_writes(&session, at(3), phase, reason);
    };
    let reply = |code: Option<&str>| {
        SendOutcome::Replied(FlushReply { return_code: code.map(Into::into), ..FlushReply::default() })
    };
    follows(reply(Some("0")), FlushPhase::Accepted, "Accepted");
    follows(reply(Some("800")), FlushPhase::Unknown, "UnexpectedResponse");
    follows(reply(None), FlushPhase::Unknown, "UnexpectedResponse");
    for (kind, reason) in [
        (FailureKind::RateLimited, "RateLimited"),
        (FailureKind::Busy, "TargetBusy"),
        (FailureKind::Unavailable, "CloudUnavailable"),
    ] {
        follows(failed(kind, false), FlushPhase::Pending, reason);
        follows(failed(kind, true), FlushPhase::Unknown, reason);
    }
    for (kind, reason) in [
        (FailureKind::CredentialsRejected, "CredentialsRejected"),
        (FailureKind::PermissionDenied, "PermissionDenied"),
        (FailureKind::NotFound, "InstanceNotFound"),
        (FailureKind::BadRequest, "BadRequest"),
        (FailureKind::UnexpectedResponse, "UnexpectedResponse"),
    ] {
        follows(failed(kind, false), FlushPhase::Failed, reason);
        follows(failed(kind, true), FlushPhase::Unknown, reason);
    }
    follows(SendOutcome::NotSent(NotSent::Stopping), FlushPhase::Pending, "OperatorStopping");
}

#[test]
fn a_claim_is_released_only_for_an_attempt_that_was_not_executed() {
    let mut session = ready(FlushPhase::Pending);
    session.object.status.attempt = Some(attempt("refused"));
    session.claim = ClaimView::Present(claim_of("uid-1", "refused"));
    assert!(matches!(plan(&session, at(1)), Effect::ReleaseClaim(_)));
    for phase in [FlushPhase::Failed, FlushPhase::Expired, FlushPhase::Rejected] {
        session.object.status.phase = Some(phase);
        assert!(matches!(plan(&session, at(1)), Effect::ReleaseClaim(_)), "{phase:?}");
    }
    for phase in [FlushPhase::Unknown, FlushPhase::Succeeded] {
        session.object.status.phase = Some(phase);
        assert_eq!(plan(&session, at(1)), Effect::RemoveFinalizer(None), "{phase:?} keeps its claim");
    }
}

#[test]
fn accepted_is_watched_until_it_runs_again() {
    let mut session = ready(FlushPhase::Accepted);
    session.object.status.sent_time = Some(whole_seconds(created()));
    session.cloud = instance("settingup");
    assert_writes(&session, at(5), FlushPhase::Accepted, "Accepted");
    let Effect::WriteStatus(write) = plan(&session, at(5)) else { panic!("nothing is written") };
    session.object.status = write.status;
    assert!(matches!(plan(&session, at(6)), Effect::Wait(_)), "nothing new");
    session.cloud = instance("running");
    assert_writes(&session, at(10), FlushPhase::Succeeded, "FlushSucceeded");
    session.cloud = instance("settingup");
    let late = i64::try_from(STALLED_AFTER.as_secs()).unwrap();
    assert_writes(&session, at(late), FlushPhase::Accepted, "NotRunningAgain");
    let too_late = i64::try_from(WATCH_LIMIT.as_secs()).unwrap();
    assert_writes(&session, at(too_late), FlushPhase::Unknown, "NotRunningAgain");
}

#[test]
fn deletion_lets_go_at_once_unless_something_is_being_sent() {
    let deleted = |phase| {
        let mut session = ready(phase);
        session.object.deleted_at = Some(created());
        session
    };
    assert!(matches!(plan(&deleted(FlushPhase::Pending), at(1)), Effect::RemoveFinalizer(Some(_))));
    assert!(matches!(plan(&deleted(FlushPhase::Accepted), at(1)), Effect::RemoveFinalizer(Some(_))));
    assert_eq!(plan(&deleted(FlushPhase::Succeeded), at(1)), Effect::RemoveFinalizer(None));
    assert_writes(&deleted(FlushPhase::Sending), at(1), FlushPhase::Unknown, "Interrupted");
}

#[test]
fn a_finished_request_is_deleted_when_its_time_has_come() {
    let mut session = ready(FlushPhase::Succeeded);
    session.object.finalizer = false;
    session.object.status.finished_time = Some(whole_seconds(created()));
    assert_eq!(plan(&session, at(100)), Effect::Done);
    session.object.spec.ttl_after_finished = Some("60s".parse().unwrap());
    assert_eq!(plan(&session, at(20)), Effect::Wait(Duration::from_secs(40)));
    assert_eq!(plan(&session, at(60)), Effect::Delete);
}

#[test]
fn claims_expire_with_their_retention_and_never_under_an_open_request() {
    let claim = claim_of("uid-1", "x");
    let retention = Duration::from_secs(100);
    let now = |seconds| created() + SignedDuration::from_secs(seconds);
    assert!(!claim::expired(&claim, now(99), retention, false));
    assert!(claim::expired(&claim, now(100), retention, false));
    assert!(!claim::expired(&claim, now(100), retention, true));
    assert!(!claim::expired(&HeldClaim { claimed_at: None, ..claim }, now(1_000_000), retention, false));
}

#[test]
fn no_two_claims_share_a_name() {
    let key = |site, no: &str, id: &str| ClaimKey { site, instance_no: no.into(), request_id: id.into() }.lease_name();
    let names = [
        key(NcpSite::Public, "1", "23"),
        key(NcpSite::Public, "12", "3"),
        key(NcpSite::Gov, "1", "23"),
        key(NcpSite::Public, "1", "23/"),
    ];
    let unique: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len());
    assert!(names.iter().all(|name| name.len() <= 63));
}

const PHASES: [FlushPhase; 8] = [
    FlushPhase::Pending,
    FlushPhase::Sending,
    FlushPhase::Accepted,
    FlushPhase::Succeeded,
    FlushPhase::Failed,
    FlushPhase::Unknown,
    FlushPhase::Rejected,
    FlushPhase::Expired,
];

prop_compose! {
    fn sessions()(
        phase in 0..PHASES.len(), reference in 0..5, claim in 0..5, cloud in 0..5, busy: bool, own in 0..4,
        deleted: bool, finalizer: bool, attempted: bool,
    ) -> Session {
        let mut session = ready(PHASES[phase]);
        session.reference = match reference {
            0 => Reference::NotRead,
            1 => Reference::Missing,
            2 => Reference::Suspended,
            3 => Reference::NotNcp,
            _ => Reference::Target(target()),
        };
        session.claim = match claim {
            0 => ClaimView::NotRead,
            1 => ClaimView::Absent,
            2 => ClaimView::Failed("no".into()),
            3 => ClaimView::Present(claim_of("uid-1", MINE)),
            _ => ClaimView::Present(claim_of("uid-2", "x")),
        };
        session.cloud = match cloud {
            0 => CloudView::NotRead,
            1 => CloudView::Instances(vec![]),
            2 => instance("settingup"),
            _ => instance("running"),
        };
        session.others = if busy { Others::Busy("shop/other".into()) } else { Others::Free };
        session.own = match own {
            0 => None,
            1 => Some(OwnAttempt { id: "another".into(), outcome: None }),
            2 => Some(OwnAttempt { id: MINE.into(), outcome: None }),
            _ => Some(OwnAttempt { id: MINE.into(), outcome: Some(failed(FailureKind::Busy, false)) }),
        };
        session.object.status.attempt = attempted.then(|| attempt(MINE));
        session.object.deleted_at = deleted.then(created);
        session.object.finalizer = finalizer;
        session
    }
}

proptest! {
    #[test]
    fn a_send_has_every_guard(session in sessions(), seconds in 0i64..2000) {
        if let Effect::Send { attempt_id, .. } = plan(&session, at(seconds)) {
            prop_assert_eq!(session.object.phase(), FlushPhase::Sending);
            prop_assert_eq!(session.own.as_ref().map(|own| (own.id.as_str(), own.outcome.is_none())), Some((attempt_id.as_str(), true)));
            prop_assert_eq!(session.object.attempt_id(), attempt_id.as_str());
            prop_assert!(matches!(&session.claim, ClaimView::Present(claim) if claim.is_for("uid-1", &attempt_id)));
            prop_assert!(session.object.deleted_at.is_none() && session.confirmed_target().is_some() && seconds < 600);
        }
    }

    #[test]
    fn final_phases_are_never_left(session in sessions(), seconds in 0i64..2000) {
        if let Effect::WriteStatus(write) = plan(&session, at(seconds))
            && session.object.phase().is_terminal()
        {
            prop_assert_eq!(write.status.phase, session.object.status.phase);
        }
    }

    #[test]
    fn conditions_follow_kstatus(session in sessions(), seconds in 0i64..2000) {
        if let Effect::WriteStatus(write) = plan(&session, at(seconds)) {
            let status = &write.status;
            let holds = |type_| is_true(&status.conditions, type_);
            let succeeded = status.phase == Some(FlushPhase::Succeeded);
            if !status.conditions.is_empty() {
                prop_assert!(!(holds(RECONCILING) && holds(STALLED)));
                prop_assert_eq!((holds(READY), holds(SUCCEEDED)), (succeeded, succeeded));
                prop_assert!(status.message.as_ref().is_some_and(|message| !message.is_empty()));
            }
        }
    }
}
