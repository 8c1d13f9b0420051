use super::*;

/// Carries out what the plan says, with everything working at once, and returns the names of the effects.
fn drive(session: &mut Session, seconds: i64, states: &mut dyn FnMut() -> &'static str) -> Vec<&'static str> {
    let mut names = Vec::new();
    loop {
        let effect = plan(session, clock(seconds));
        session.begin(&effect);
        let object = |edit: &dyn Fn(&mut StoredRequest)| {
            let mut object = session.object.clone();
            edit(&mut object);
            EffectReport::Object(Box::new(object))
        };
        let (name, report) = match &effect {
            Effect::ReadReference => ("ReadReference", EffectReport::Reference(ObservedReference::Target(target()))),
            Effect::ReadClaim(_) => ("ReadClaim", EffectReport::Claim(ObservedClaim::Absent)),
            Effect::ReadCloud(_) => {
                ("ReadCloud", EffectReport::Cloud(ObservedCaches::Caches(vec![instance(states())])))
            }
            Effect::ReadOthers(_) => ("ReadOthers", EffectReport::Others(Others::Free)),
            Effect::AddFinalizer => ("AddFinalizer", object(&|object| object.finalizer = true)),
            Effect::RemoveFinalizer(_) => ("RemoveFinalizer", object(&|object| object.finalizer = false)),
            Effect::BeginAttempt(write) | Effect::WriteStatus(write) => {
                assert_well_formed(&write.status);
                (write.status.phase.unwrap().as_str(), object(&|object| object.status = write.status.clone()))
            }
            Effect::CreateClaim(claim) => (
                "CreateClaim",
                EffectReport::Claim(ObservedClaim::Present(HeldClaim::from_lease(&claim.to_lease("operators")))),
            ),
            Effect::Send { .. } => ("Send", EffectReport::Sent(reply("0"))),
            Effect::Wait(_) | Effect::Done => return names,
            other => panic!("unexpected {other:?}"),
        };
        names.push(name);
        session.absorb(report);
    }
}

#[test]
fn a_flush_from_beginning_to_end() {
    let mut session = Session::new(request(), ATTEMPT.to_owned(), "operator-a".to_owned());
    let mut states = ["running", "settingup"].into_iter();
    let first = drive(&mut session, 5, &mut || states.next().unwrap());
    let expected = [
        "ReadReference",
        "ReadClaim",
        "ReadCloud",
        "ReadOthers",
        "AddFinalizer",
        "Sending",
        "CreateClaim",
        "Send",
        "Accepted",
        "ReadCloud",
        "Accepted",
    ];
    assert_eq!(first, expected);
    let mut later = Session::new(session.object.clone(), "other".to_owned(), "operator-b".to_owned());
    let rest = drive(&mut later, 8, &mut || "running");
    assert_eq!(rest, ["ReadReference", "ReadCloud", "Succeeded", "RemoveFinalizer"]);
    let status = &later.object.status;
    assert_eq!(status.target.as_ref().unwrap().states_seen, ["settingup", "running"]);
    assert_eq!(status.response.as_ref().unwrap().return_code.as_deref(), Some("0"));
    assert_eq!(status.attempt.as_ref().unwrap().id, ATTEMPT);
    assert_eq!(
        (status.sent_time.clone(), status.finished_time.clone()),
        (Some(whole_seconds(at(5))), Some(whole_seconds(at(8))))
    );
    assert_eq!(status.observed_generation, Some(1));
}

#[test]
fn what_is_waited_for() {
    let table: Vec<(&str, Edit)> = vec![
        ("ReferenceNotFound", |s| s.reference = ObservedReference::Missing),
        ("ReferenceNotReady", |s| s.reference = ObservedReference::NotReady("no such service".to_owned())),
        ("ReferenceSuspended", |s| s.reference = ObservedReference::Suspended),
        ("ClaimHeld", |s| *s = held_by("another-uid", Holder::Open)),
        ("ClaimHeld", |s| *s = held_by("another-uid", Holder::Failed("it timed out.".to_owned()))),
        ("ClaimUnavailable", |s| s.claim = ObservedClaim::Failed("forbidden".to_owned())),
        ("CredentialsRejected", |s| {
            s.cloud = ObservedCaches::Failed { reason: Reason::CredentialsRejected, message: "wrong key".to_owned() };
        }),
        ("TargetNotFound", |s| s.cloud = ObservedCaches::Caches(Vec::new())),
        ("TargetAmbiguous", |s| s.cloud = ObservedCaches::Caches(vec![instance("running"), instance("running")])),
        ("TargetNotRunning", |s| s.cloud = ObservedCaches::Caches(vec![instance("settingup")])),
        ("TargetNotRunning", |s| s.cloud = ObservedCaches::Caches(vec![instance("")])),
        ("TargetBusy", |s| s.others = Others::Busy(ObjectKey::new("shop", "other"))),
    ];
    for (expected, edit) in table {
        let mut session = all_clear();
        edit(&mut session);
        let write = written(plan(&session, clock(1)));
        assert_eq!((write.status.phase.unwrap(), reason(&write.status)), (FlushPhase::Pending, expected));
        assert_eq!(write.note.unwrap().reason.as_str(), expected);
        assert_well_formed(&write.status);

        // Said once: the next look changes nothing, and does not come past the deadline.
        let said = write.status.message.clone().unwrap();
        session.object.status = write.status;
        assert_eq!(plan(&session, clock(9)), Effect::Wait(Duration::from_secs(10)), "{expected}");
        assert_eq!(plan(&session, clock(597)), Effect::Wait(Duration::from_secs(3)), "{expected}");

        let expired = written(plan(&session, clock(600))).status;
        assert_eq!((expired.phase, reason(&expired)), (Some(FlushPhase::Expired), "DeadlineExceeded"));
        assert!(expired.message.unwrap().contains(&said), "{expected}: says what it waited for last");
    }
}

#[test]
fn a_request_that_waits_for_its_turn_says_so_only_if_it_said_nothing_before() {
    let mut session = Session { cloud: ObservedCaches::Queued, ..all_clear() };
    let write = written(plan(&session, clock(1)));
    assert_eq!((write.status.phase.unwrap(), reason(&write.status)), (FlushPhase::Pending, "Queued"));
    assert_well_formed(&write.status);
    session.object.status = write.status;
    // It is woken; the poll is only a net below, and never comes after the deadline.
    assert_eq!(plan(&session, clock(9)), Effect::Wait(Duration::from_secs(300)));
    assert_eq!(plan(&session, clock(500)), Effect::Wait(Duration::from_secs(100)));
    assert_eq!(phase_and_reason(plan(&session, clock(600))).0, FlushPhase::Expired);

    let mut waited = Session { cloud: ObservedCaches::Caches(vec![instance("settingup")]), ..all_clear() };
    waited.object.status = written(plan(&waited, clock(1))).status;
    waited.cloud = ObservedCaches::Queued;
    assert_eq!(plan(&waited, clock(11)), Effect::Wait(Duration::from_secs(300)), "what it waits for stays said");

    let accepted = Session { cloud: ObservedCaches::Queued, ..in_phase(FlushPhase::Accepted, ATTEMPT) };
    assert_eq!(plan(&accepted, clock(60)), Effect::Wait(Duration::from_secs(300)));
    let day = 24 * 3600;
    assert_eq!(plan(&accepted, clock(5 + day - 100)), Effect::Wait(Duration::from_secs(100)));
    assert_eq!(phase_and_reason(plan(&accepted, clock(5 + day))).0, FlushPhase::Unknown);
}

#[test]
fn verdicts_before_anything_is_sent() {
    use FlushPhase::{Expired, Rejected, Unknown};
    let elsewhere = || ObservedReference::Target(TargetCache { instance_no: "999".to_owned(), ..target() });
    let table: Vec<(FlushPhase, &str, Session)> = vec![
        (Rejected, "NotSupported", Session { reference: ObservedReference::NoFlush, ..all_clear() }),
        (Rejected, "ConfirmMismatch", Session { reference: elsewhere(), ..all_clear() }),
        (Rejected, "AlreadyExecuted", held_by("another-uid", Holder::Spent)),
        (Rejected, "AlreadyExecuted", held_by("", Holder::Spent)),
        (Unknown, "StatusLost", Session { claim: held(UID, "x"), ..all_clear() }),
        (Unknown, "StatusLost", Session { claim: held(UID, ""), ..all_clear() }),
        // Also while the reference leads nowhere: the claim is found by the request's UID.
        (
            Unknown,
            "StatusLost",
            Session { claim: held(UID, "x"), reference: ObservedReference::Missing, ..all_clear() },
        ),
        (Unknown, "StatusLost", Session { claim: held(UID, "x"), ..in_phase(FlushPhase::Pending, "y") }),
    ];
    for (phase, expected, session) in table {
        for seconds in [1, 10_000] {
            let write = written(plan(&session, clock(seconds)));
            assert_eq!((write.status.phase.unwrap(), reason(&write.status)), (phase, expected));
            assert!(write.note.unwrap().warning);
            assert_well_formed(&write.status);
        }
    }
    let mut late = all_clear();
    assert_eq!(phase_and_reason(plan(&late, clock(600))), (Expired, "DeadlineExceeded".to_owned()));
    late.object.spec.not_after = Some(whole_seconds(at(30)));
    assert!(written(plan(&late, clock(30))).status.message.unwrap().contains("notAfter"));
    assert_eq!(plan(&late, clock(29)), Effect::AddFinalizer);
}

#[test]
fn a_status_that_lost_a_part_is_not_taken_for_a_fresh_one() {
    use FlushPhase::{Accepted, Pending, Sending, Succeeded, Unknown};
    for phase in [Sending, Accepted, Succeeded, Unknown] {
        for left in [None, Some(Pending)] {
            for (attempt, claim) in
                [(true, held(UID, "theirs")), (true, ObservedClaim::Absent), (false, ObservedClaim::Absent)]
            {
                let mut session = Session { claim, ..in_phase(phase, "theirs") };
                session.object.status.phase = left;
                session.object.status.attempt = session.object.status.attempt.filter(|_| attempt);
                let verdict = phase_and_reason(plan(&session, clock(6)));
                assert_eq!(verdict, (Unknown, "StatusLost".to_owned()), "{phase:?} became {left:?}");
            }
        }
    }
}

#[test]
fn the_rejection_names_the_earlier_request() {
    for holder in [Holder::Spent, Holder::Open] {
        let message = written(plan(&held_by("another-uid", holder), clock(1))).status.message.unwrap();
        assert!(message.contains("shop/earlier") && message.contains("another-uid"), "{message}");
        assert!(message.contains(&format!("{:.0}", at(-3600))), "{message}");
    }
}

#[test]
fn the_finalizer_comes_before_sending() {
    let mut session = all_clear();
    assert_eq!(plan(&session, clock(1)), Effect::AddFinalizer);
    session.object.finalizer = true;
    let status = written(plan(&session, clock(1))).status;
    assert_eq!((status.phase, status.attempt.unwrap().id.as_str()), (Some(FlushPhase::Sending), ATTEMPT));
}

#[test]
fn an_attempt_that_was_not_executed_is_released_and_made_again_later() {
    let mut session = in_phase(FlushPhase::Pending, "first");
    session.object.status.next_attempt_time = Some(whole_seconds(at(40)));
    session.claim = held(UID, "first");
    assert_eq!(plan(&session, clock(10)), Effect::ReleaseClaim(claim_of(UID, "first")));
    session.absorb(EffectReport::Released);
    assert_eq!(plan(&session, clock(10)), Effect::Wait(Duration::from_secs(30)));
    let again = written(plan(&session, clock(40))).status;
    assert_eq!((again.phase, again.attempt.unwrap().id.as_str()), (Some(FlushPhase::Sending), ATTEMPT));
    assert_eq!(again.next_attempt_time, None);
}

#[test]
fn one_reconcile_makes_one_attempt() {
    let mut session = in_phase(FlushPhase::Pending, ATTEMPT);
    session.own = Some(OwnAttempt { id: ATTEMPT.to_owned(), outcome: Some(failure(ErrorKind::Busy, false)) });
    assert!(matches!(plan(&session, clock(100)), Effect::Wait(_)));
}

#[test]
fn a_deleted_request_sends_nothing() {
    let mut session = in_phase(FlushPhase::Pending, "first");
    session.object.deleted_at = Some(at(50));
    assert!(
        matches!(plan(&session, clock(51)), Effect::RemoveFinalizer(Some(note)) if note.reason == Reason::Cancelled)
    );
    session.claim = held(UID, "first");
    assert_eq!(plan(&session, clock(51)), Effect::ReleaseClaim(claim_of(UID, "first")));
    session.claim = held("another request", "unheard-of");
    assert!(matches!(plan(&session, clock(51)), Effect::RemoveFinalizer(_)), "what is somebody else's is left alone");
    session.claim = ObservedClaim::NotRead;
    assert_eq!(plan(&session, clock(51)), Effect::ReadClaim(None));
    session.claim = ObservedClaim::Failed("forbidden".to_owned());
    assert!(matches!(plan(&session, clock(51)), Effect::Wait(_)));
    assert_eq!(plan(&session, clock(651)), Effect::RemoveFinalizer(None), "but not for ever, and nothing is claimed");
    session.object.finalizer = false;
    assert_eq!(plan(&session, clock(51)), Effect::Done);
}

/// Somebody emptied the status of a flush under way and deleted the request: that nothing was sent would not be true.
#[test]
fn a_deleted_request_whose_status_was_lost_is_not_said_to_be_cancelled() {
    let mut emptied = in_phase(FlushPhase::Pending, "");
    emptied.object.deleted_at = Some(at(50));
    emptied.claim = ObservedClaim::NotRead;
    assert_eq!(plan(&emptied, clock(51)), Effect::ReadClaim(None));
    emptied.claim = held(UID, "sent");
    let mut contradicting = in_phase(FlushPhase::Pending, "");
    contradicting.object.deleted_at = Some(at(50));
    contradicting.object.status.sent_time = Some(whole_seconds(at(5)));
    for session in [emptied, contradicting] {
        let write = written(plan(&session, clock(51)));
        assert_eq!(write.status.phase, Some(FlushPhase::Unknown));
        assert_eq!(conditions::find(&write.status.conditions, READY).unwrap().reason, "StatusLost");
    }
}

#[test]
fn the_requested_at_annotation_is_echoed() {
    let mut session = Session { others: Others::Busy(ObjectKey::new("shop", "other")), ..all_clear() };
    session.object.status = written(plan(&session, clock(1))).status;
    session.object.requested_at = Some("now".to_owned());
    let write = written(plan(&session, clock(2)));
    assert_eq!(write.status.last_handled_reconcile_at.as_deref(), Some("now"));
    assert_eq!(write.note, None, "an echo is not news");
}
