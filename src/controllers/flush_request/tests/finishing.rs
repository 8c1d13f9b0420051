use super::*;

const HOUR: i64 = 3600;

/// A request accepted at second 5, with these states seen since, and what the cloud shows now.
fn accepted(seen: &[&str], now: &str) -> Session {
    let mut session = in_phase(FlushPhase::Accepted, "theirs");
    session.cloud = ObservedCaches::Caches(vec![instance(now)]);
    let states_seen = seen.iter().map(|state| (*state).to_owned()).collect();
    session.object.status.target = Some(crate::api::flush_request::FlushTarget { states_seen, ..Default::default() });
    session
}

#[test]
fn running_again_is_success() {
    let table = [
        (accepted(&["settingup"], "running"), 6, FlushPhase::Succeeded),
        (accepted(&["settingup", "recovering"], "Running"), 6, FlushPhase::Succeeded),
        // The first read may come before the cloud has begun.
        (accepted(&[], "running"), 6, FlushPhase::Accepted),
        (accepted(&[], "running"), 15, FlushPhase::Succeeded),
        (accepted(&[], "settingup"), 15, FlushPhase::Accepted),
        (accepted(&["settingup"], "something new"), 15, FlushPhase::Accepted),
    ];
    for (session, seconds, phase) in table {
        let status = written(plan(&session, clock(seconds))).status;
        assert_eq!(status.phase, Some(phase), "{session:?}");
        assert_well_formed(&status);
    }
}

#[test]
fn an_instance_that_does_not_come_back_is_stalled_then_unknown() {
    let gone = Session { cloud: ObservedCaches::Caches(Vec::new()), ..accepted(&["settingup"], "") };
    let unreadable = ObservedCaches::Failed { reason: Reason::CloudUnavailable, message: "timeout".to_owned() };
    for session in [
        accepted(&[], "settingup"),
        gone,
        Session { cloud: unreadable, ..accepted(&[], "") },
        Session { reference: ObservedReference::Missing, ..accepted(&[], "") },
        Session { reference: ObservedReference::NoFlush, ..accepted(&[], "") },
    ] {
        let mut session = session;
        let soon = written(plan(&session, clock(60))).status;
        assert!(conditions::is_true(&soon.conditions, RECONCILING));
        session.object.status = soon;
        assert_eq!(plan(&session, clock(61)), Effect::Wait(Duration::from_secs(5)), "said once");
        let stalled = written(plan(&session, clock(HOUR)));
        assert!(conditions::is_true(&stalled.status.conditions, STALLED));
        assert_eq!((stalled.status.phase, stalled.note.unwrap().warning), (Some(FlushPhase::Accepted), true));
        assert_well_formed(&stalled.status);
        session.object.status = stalled.status;
        assert!(matches!(plan(&session, clock(2 * HOUR)), Effect::Wait(_)));
        let end = written(plan(&session, clock(25 * HOUR))).status;
        assert_eq!((end.phase, reason(&end)), (Some(FlushPhase::Unknown), "NotRunningAgain"));
    }
}

#[test]
fn a_stalled_flush_can_still_succeed() {
    let mut session = accepted(&["settingup"], "settingup");
    session.object.status = written(plan(&session, clock(HOUR))).status;
    session.cloud = ObservedCaches::Caches(vec![instance("running")]);
    assert_eq!(phase_and_reason(plan(&session, clock(2 * HOUR))).0, FlushPhase::Succeeded);
}

#[test]
fn a_deleted_request_is_let_go_once_accepted() {
    let mut session = accepted(&[], "settingup");
    session.object.deleted_at = Some(at(6));
    assert!(matches!(plan(&session, clock(7)), Effect::RemoveFinalizer(Some(_))));
    session.object.finalizer = false;
    assert_eq!(plan(&session, clock(7)), Effect::Done);
}

#[test]
fn the_claim_is_settled_before_the_finalizer_goes() {
    use FlushPhase::{Expired, Failed, Rejected, Succeeded, Unknown};
    for (phase, releases) in [(Failed, true), (Expired, true), (Rejected, true), (Succeeded, false), (Unknown, false)] {
        let with = |claim| Session { claim, ..in_phase(phase, "theirs") };
        let let_go = Effect::RemoveFinalizer(None);
        if releases {
            assert_eq!(plan(&with(ObservedClaim::NotRead), clock(9)), Effect::ReadClaim(None));
            let release = Effect::ReleaseClaim(claim_of(UID, "theirs"));
            assert_eq!(plan(&with(held(UID, "theirs")), clock(9)), release);
        } else {
            assert_eq!(plan(&with(held(UID, "theirs")), clock(9)), let_go);
        }
        for other in [ObservedClaim::Absent, held(UID, "unheard-of"), held("another-uid", "theirs")] {
            assert_eq!(plan(&with(other), clock(9)), let_go, "{phase:?}");
        }
        let without_attempt = Session { claim: ObservedClaim::NotRead, ..in_phase(phase, "") };
        assert_eq!(plan(&without_attempt, clock(9)), let_go);
    }
}

#[test]
fn a_claim_that_cannot_be_read_holds_nothing_for_ever() {
    let mut session =
        Session { claim: ObservedClaim::Failed("no".to_owned()), ..in_phase(FlushPhase::Failed, "theirs") };
    session.object.status.finished_time = Some(whole_seconds(at(10)));
    assert!(matches!(plan(&session, clock(20)), Effect::Wait(_)));
    assert_eq!(plan(&session, clock(610)), Effect::RemoveFinalizer(None));
}

#[test]
fn finished_requests_rest_until_their_ttl() {
    let mut session = in_phase(FlushPhase::Succeeded, "theirs");
    session.object.finalizer = false;
    session.object.status.finished_time = Some(whole_seconds(at(10)));
    assert_eq!(plan(&session, clock(20)), Effect::Done);
    session.object.spec.ttl_after_finished = Some(Duration::from_secs(60).into());
    assert_eq!(plan(&session, clock(20)), Effect::Wait(Duration::from_secs(50)));
    assert_eq!(plan(&session, clock(70)), Effect::Delete);
    session.object.deleted_at = Some(at(70));
    assert_eq!(plan(&session, clock(71)), Effect::Done);
}

#[test]
fn a_finished_request_echoes_the_annotation_and_nothing_else() {
    let mut session = in_phase(FlushPhase::Unknown, "theirs");
    session.object.finalizer = false;
    session.object.requested_at = Some("now".to_owned());
    let status = written(plan(&session, clock(20))).status;
    let expected =
        RedisFlushRequestStatus { last_handled_reconcile_at: Some("now".to_owned()), ..session.object.status.clone() };
    assert_eq!(status, expected);
    session.object.status = status;
    assert_eq!(plan(&session, clock(20)), Effect::Done);
}
