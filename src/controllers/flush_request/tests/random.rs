use proptest::prelude::*;

use super::*;

fn phases() -> impl Strategy<Value = Option<FlushPhase>> {
    use FlushPhase::*;
    proptest::option::weighted(
        0.9,
        prop::sample::select(vec![Pending, Sending, Accepted, Succeeded, Failed, Unknown, Rejected, Expired]),
    )
}

fn references() -> impl Strategy<Value = ObservedReference> {
    let elsewhere = TargetCache { instance_no: "999".to_owned(), ..target() };
    prop::sample::select(vec![
        ObservedReference::NotRead,
        ObservedReference::Missing,
        ObservedReference::NotReady("not yet".to_owned()),
        ObservedReference::Suspended,
        ObservedReference::NoFlush,
        ObservedReference::Target(elsewhere),
        ObservedReference::Target(target()),
        ObservedReference::Target(target()),
    ])
}

fn claims() -> impl Strategy<Value = ObservedClaim> {
    prop::sample::select(vec![
        ObservedClaim::NotRead,
        ObservedClaim::Failed("forbidden".to_owned()),
        ObservedClaim::Absent,
        held(UID, ATTEMPT),
        held(UID, "theirs"),
        held(UID, ""),
        held("another-uid", ATTEMPT),
    ])
}

fn holders() -> impl Strategy<Value = Option<(String, Holder)>> {
    let lease = prop::sample::select(vec!["lease-1", "lease-0"]).prop_map(str::to_owned);
    let holder = prop::sample::select(vec![Holder::Open, Holder::Spent, Holder::Failed("timeout".to_owned())]);
    proptest::option::of((lease, holder))
}

fn clouds() -> impl Strategy<Value = ObservedCaches> {
    prop::sample::select(vec![
        ObservedCaches::NotRead,
        ObservedCaches::Queued,
        ObservedCaches::Failed { reason: Reason::CloudUnavailable, message: "timeout".to_owned() },
        ObservedCaches::Caches(Vec::new()),
        ObservedCaches::Caches(vec![instance("running")]),
        ObservedCaches::Caches(vec![instance("settingup")]),
        ObservedCaches::Caches(vec![instance("running"), instance("running")]),
    ])
}

fn own() -> impl Strategy<Value = Option<OwnAttempt>> {
    let outcomes = prop::sample::select(vec![
        None,
        Some(reply("0")),
        Some(reply("9")),
        Some(failure(ErrorKind::Busy, false)),
        Some(failure(ErrorKind::BadRequest, false)),
        Some(failure(ErrorKind::Unavailable, true)),
        Some(SendOutcome::NotSent(NotSent::Paused)),
    ]);
    let ids = prop::sample::select(vec![ATTEMPT, "theirs"]);
    proptest::option::of((ids, outcomes).prop_map(|(id, outcome)| OwnAttempt { id: id.to_owned(), outcome }))
}

prop_compose! {
    fn sessions()(
        phase in phases(),
        attempt in prop::sample::select(vec!["", ATTEMPT, "theirs"]),
        (deleted, finalizer, stale, gone) in (any::<bool>(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.05)),
        (not_executed, sent) in (prop::bool::weighted(0.7), prop::bool::weighted(0.3)),
        (next, finished, ttl) in (proptest::option::of(0_i64..900), proptest::option::of(0_i64..900), any::<bool>()),
        (reference, claim, cloud, own) in (references(), claims(), clouds(), own()),
        holder in holders(),
        others in prop::sample::select(vec![Others::NotRead, Others::Free, Others::Busy(ObjectKey::new("shop", "x"))]),
    ) -> Session {
        let mut session = Session { reference, claim, holder, cloud, others, own, gone, ..all_clear() };
        session.object_is_stale = stale && deleted;
        session.object.status = RedisFlushRequestStatus {
            phase,
            next_attempt_time: next.map(|seconds| whole_seconds(at(seconds))),
            finished_time: finished.map(|seconds| whole_seconds(at(seconds))),
            ..status(FlushPhase::Pending, attempt)
        };
        session.object.status.sent_time = sent.then(|| whole_seconds(at(5)));
        if let Some(attempt) = &mut session.object.status.attempt {
            attempt.not_executed = not_executed;
        }
        session.object.deleted_at = deleted.then(|| at(100));
        session.object.finalizer = finalizer;
        session.object.spec.ttl_after_finished = ttl.then(|| Duration::from_secs(60).into());
        session
    }
}

fn may_follow(from: FlushPhase, to: FlushPhase) -> bool {
    use FlushPhase::*;
    match from {
        Pending => matches!(to, Pending | Sending | Rejected | Expired | Unknown),
        Sending => matches!(to, Pending | Accepted | Failed | Unknown),
        Accepted => matches!(to, Accepted | Succeeded | Unknown),
        Succeeded | Failed | Unknown | Rejected | Expired => to == from,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn phases_follow_the_diagram(session in sessions(), seconds in 0_i64..100_000) {
        if let Effect::WriteStatus(write) | Effect::BeginAttempt(write) = plan(&session, clock(seconds)) {
            let (from, to) = (session.object.phase(), write.status.phase.unwrap());
            prop_assert!(may_follow(from, to), "{from:?} to {to:?}");
            if from.is_terminal() {
                let echoed = RedisFlushRequestStatus {
                    last_handled_reconcile_at: write.status.last_handled_reconcile_at.clone(),
                    ..session.object.status.clone()
                };
                prop_assert_eq!(write.status, echoed);
            } else {
                assert_well_formed(&write.status);
            }
        }
    }

    /// The shell and the model tell the write that begins an attempt by its effect alone.
    #[test]
    fn an_attempt_is_begun_by_its_own_effect_alone(session in sessions(), seconds in 0_i64..1000) {
        match plan(&session, clock(seconds)) {
            Effect::BeginAttempt(write) => {
                prop_assert_eq!(write.status.phase, Some(FlushPhase::Sending));
                prop_assert_eq!(write.status.attempt.map(|attempt| attempt.id), Some(session.fresh_attempt_id));
            }
            Effect::WriteStatus(write) => prop_assert_ne!(write.status.phase, Some(FlushPhase::Sending)),
            _ => {}
        }
    }

    #[test]
    fn nothing_is_sent_without_sending_won_and_the_claim_held(session in sessions(), seconds in 0_i64..1000, waited in 0_u64..40) {
        let clock = PlanTime { now: at(seconds), since_attempt_began: Duration::from_secs(waited) };
        if let Effect::Send { unit, attempt_id } = plan(&session, clock) {
            prop_assert_eq!(session.object.phase(), FlushPhase::Sending);
            prop_assert_eq!(session.object.attempt_id(), &attempt_id);
            prop_assert_eq!(session.own, Some(OwnAttempt { id: attempt_id.clone(), outcome: None }));
            prop_assert!(matches!(&session.claim, ObservedClaim::Present(claim) if claim.is_for(UID, &attempt_id)));
            prop_assert_eq!(unit.instance_no, session.object.spec.confirm);
            prop_assert!(waited <= 20 && seconds < 600 && session.object.deleted_at.is_none());
        }
    }

    #[test]
    fn only_an_attempt_not_executed_is_released(session in sessions(), seconds in 0_i64..100_000) {
        if let Effect::ReleaseClaim(claim) = plan(&session, clock(seconds)) {
            prop_assert!(claim.is_unused(&session.object));
        }
    }

    #[test]
    fn waiting_is_never_a_hot_loop(session in sessions(), seconds in 0_i64..100_000) {
        if let Effect::Wait(after) = plan(&session, clock(seconds)) {
            prop_assert!(after >= Duration::from_secs(1));
        }
    }
}
