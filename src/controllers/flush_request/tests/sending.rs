use super::super::outcome::Consequence;
use super::*;

#[test]
fn only_the_process_that_won_goes_on() {
    let found = in_phase(FlushPhase::Sending, "theirs");
    assert_eq!(phase_and_reason(plan(&found, clock(6))), (FlushPhase::Unknown, "Interrupted".to_owned()));
    let lost = Session { own: Some(OwnAttempt { id: ATTEMPT.to_owned(), outcome: None }), ..found };
    assert_eq!(phase_and_reason(plan(&lost, clock(6))), (FlushPhase::Unknown, "Interrupted".to_owned()));
    let nameless = in_phase(FlushPhase::Sending, "");
    assert_eq!(phase_and_reason(plan(&nameless, clock(6))), (FlushPhase::Unknown, "Interrupted".to_owned()));
    assert!(matches!(plan(&won(), clock(6)), Effect::CreateClaim(claim) if claim.attempt_id == ATTEMPT));
}

#[test]
fn it_sends_under_its_own_claim_alone() {
    let with = |claim| Session { claim, ..won() };
    let expected = Effect::Send { unit: target().unit(), attempt_id: ATTEMPT.to_owned() };
    assert_eq!(plan(&with(held(UID, ATTEMPT)), clock(6)), expected);
    let other = ObservedClaim::Present(HeldClaim { lease_name: "flush-other".to_owned(), ..claim_of(UID, ATTEMPT) });
    assert_eq!(phase_and_reason(plan(&with(other), clock(6))).0, FlushPhase::Unknown);
    assert_eq!(phase_and_reason(plan(&with(held(UID, "theirs")), clock(6))).0, FlushPhase::Unknown);
    let mut late = with(held("another-uid", ATTEMPT));
    let give_up = plan(&late, clock(6));
    assert!(matches!(&give_up, Effect::GiveUp(NotSent::ClaimedByAnother(by)) if by.contains("shop/earlier")));
    late.begin(&give_up);
    let back = written(plan(&late, clock(6))).status;
    assert_eq!((back.phase, reason(&back)), (Some(FlushPhase::Pending), "ClaimHeld"));
    assert!(back.attempt.as_ref().unwrap().not_executed && back.sent_time.is_none());
    late.absorb(EffectReport::Object(Box::new(StoredRequest { status: back, ..late.object.clone() })));
    assert!(matches!(plan(&late, clock(6)), Effect::ReadHolder(_)), "what that request comes to decides");
    assert!(matches!(plan(&with(ObservedClaim::NotRead), clock(6)), Effect::ReadClaim(Some(_))));
}

#[test]
fn checked_again_before_the_claim_and_before_the_send() {
    let late = PlanTime { since_attempt_began: effect::SEND_WITHIN + Duration::from_millis(1), ..clock(6) };
    let table: Vec<(NotSent, PlanTime, Edit)> = vec![
        (NotSent::Paused, late, |_| ()),
        (NotSent::DeadlinePassed, clock(600), |_| ()),
        (NotSent::Deleted, clock(6), |s| s.object.deleted_at = Some(at(5))),
        (NotSent::ReferenceChanged, clock(6), |s| s.reference = ObservedReference::Missing),
        (NotSent::ReferenceChanged, clock(6), |s| {
            s.reference = ObservedReference::Target(TargetCache { instance_no: "999".to_owned(), ..target() });
        }),
    ];
    for (why, clock, edit) in table {
        for claim in [ObservedClaim::Absent, held(UID, ATTEMPT)] {
            let mut session = Session { claim, ..won() };
            edit(&mut session);
            assert_eq!(plan(&session, clock), Effect::GiveUp(why.clone()));
            session.begin(&Effect::GiveUp(why.clone()));
            session.absorb(EffectReport::Nothing);
            let back = written(plan(&session, clock)).status;
            assert_eq!((back.phase, back.sent_time.is_none()), (Some(FlushPhase::Pending), true), "{why:?}");
            let attempt = back.attempt.as_ref().unwrap();
            assert_eq!((attempt.id.as_str(), attempt.not_executed), (ATTEMPT, true), "its claim is released by it");
            assert_well_formed(&back);
            // Nothing changes its mind, even if what stood in the way goes away.
            assert!(matches!(plan(&Session { own: session.own, ..won() }, super::clock(6)), Effect::WriteStatus(_)));
        }
    }
    let unreadable = Session { claim: ObservedClaim::Failed("forbidden".to_owned()), ..won() };
    assert_eq!(plan(&unreadable, clock(6)), Effect::GiveUp(NotSent::ClaimUnavailable("forbidden".to_owned())));
}

#[test]
fn a_send_is_used_up_before_it_begins() {
    let mut session = Session { claim: held(UID, ATTEMPT), ..won() };
    let send = plan(&session, clock(6));
    session.begin(&send);
    session.absorb(EffectReport::Nothing);
    assert_eq!(phase_and_reason(plan(&session, clock(6))).0, FlushPhase::Unknown);
}

#[test]
fn what_follows_from_the_answer() {
    use ErrorKind::*;
    use FlushPhase::{Accepted, Failed, Pending, Unknown};
    let table = [
        (reply("0"), Accepted, "Accepted"),
        (reply("1300"), Unknown, "UnexpectedResponse"),
        (SendOutcome::Answered(FlushReceipt::default()), Unknown, "UnexpectedResponse"),
        (failure(RateLimited, false), Pending, "RateLimited"),
        (failure(Busy, false), Pending, "TargetBusy"),
        (failure(Unavailable, false), Pending, "CloudUnavailable"),
        (failure(CredentialsRejected, false), Failed, "CredentialsRejected"),
        (failure(PermissionDenied, false), Failed, "PermissionDenied"),
        (failure(NotFound, false), Failed, "InstanceNotFound"),
        (failure(BadRequest, false), Failed, "BadRequest"),
        (failure(UnexpectedResponse, false), Failed, "UnexpectedResponse"),
        (failure(RateLimited, true), Unknown, "RateLimited"),
        (failure(Unavailable, true), Unknown, "CloudUnavailable"),
        (failure(BadRequest, true), Unknown, "BadRequest"),
        (SendOutcome::NoAnswer, Unknown, "CloudUnavailable"),
    ];
    for (outcome, phase, expected) in table {
        let own = Some(OwnAttempt { id: ATTEMPT.to_owned(), outcome: Some(outcome.clone()) });
        // Whatever happened meanwhile, the answer counts.
        for deleted_at in [None, Some(at(5))] {
            let mut session = Session { own: own.clone(), ..won() };
            session.object.deleted_at = deleted_at;
            let status = written(plan(&session, clock(10_000))).status;
            assert_eq!((status.phase.unwrap(), reason(&status)), (phase, expected), "{outcome:?}");
            assert_eq!(status.next_attempt_time.is_some(), phase == Pending);
            assert_eq!(status.sent_time.is_some(), phase != Pending);
            let attempt = status.attempt.as_ref().unwrap();
            assert_eq!((attempt.id.as_str(), attempt.not_executed), (ATTEMPT, matches!(phase, Pending | Failed)));
            assert_eq!(status.response, outcome.response());
            assert_well_formed(&status);
        }
    }
}

#[test]
fn the_next_attempt_waits_as_long_as_the_cloud_asks_and_longer_with_age() {
    let next = |retry_after, seconds| {
        let SendOutcome::Failed(mut error) = failure(ErrorKind::RateLimited, false) else { unreachable!() };
        error.retry_after = retry_after;
        let own = Some(OwnAttempt { id: ATTEMPT.to_owned(), outcome: Some(SendOutcome::Failed(error)) });
        let status = written(plan(&Session { own, ..won() }, clock(seconds))).status;
        status.next_attempt_time.unwrap().0.duration_since(at(seconds)).as_secs()
    };
    assert_eq!(next(None, 4), 11);
    assert_eq!(next(None, 400), 101);
    assert_eq!(next(None, 100_000), 301);
    assert_eq!(next(Some(Duration::from_secs(90)), 4), 91);
    assert_eq!(next(Some(Duration::MAX), 4), 3601);
}

#[test]
fn a_conflict_after_the_answer_does_not_lose_it() {
    let mut session = Session { claim: held(UID, ATTEMPT), ..won() };
    session.begin(&Effect::Send { unit: target().unit(), attempt_id: ATTEMPT.to_owned() });
    assert!(session.holds_answer());
    session.absorb(EffectReport::Sent(reply("0")));
    session.absorb(EffectReport::ObjectUncertain);
    assert_eq!(plan(&session, clock(7)), Effect::ReadObject);
    let mut touched = session.object.clone();
    touched.resource_version = "99".to_owned();
    session.absorb(EffectReport::Object(Box::new(touched)));
    assert!(session.holds_answer());
    assert_eq!(phase_and_reason(plan(&session, clock(7))).0, FlushPhase::Accepted);
}

#[test]
fn another_object_of_the_same_name_is_none_of_its_business() {
    let mut session = won();
    session.absorb(EffectReport::ObjectUncertain);
    session.absorb(EffectReport::Object(Box::new(StoredRequest { uid: "new".to_owned(), ..session.object.clone() })));
    assert_eq!(plan(&session, clock(7)), Effect::Done);
}

#[test]
fn not_sent_is_always_worth_another_attempt() {
    for why in
        [NotSent::Paused, NotSent::Stopping, NotSent::DeadlinePassed, NotSent::Deleted, NotSent::ReferenceChanged]
    {
        assert_eq!(SendOutcome::NotSent(why).consequence(), Consequence::TryAgain(Duration::ZERO));
    }
}
