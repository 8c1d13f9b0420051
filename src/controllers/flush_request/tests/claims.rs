use std::collections::HashSet;

use k8s_openapi::api::coordination::v1::Lease;

use super::super::claim::{self, CLAIM_LABEL, REQUEST_UID_LABEL};
use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn key(site: NcpSite, instance_no: &str, request_id: &str) -> ClaimKey {
    ClaimKey { unit: FlushUnit { site, instance_no: instance_no.to_owned() }, request_id: request_id.to_owned() }
}

#[test]
fn the_name_is_a_function_of_target_and_request_id() {
    let name = key(NcpSite::Public, "551234", "shop/wipe").lease_name();
    assert_eq!(
        name, "flush-8f4786e10baa7505d31b6258cf3cf0aee592ebfd64c9ee93554287ddd",
        "the name must never change: claims outlive operators"
    );
    assert_eq!(name.len(), 63);
    let different = [
        key(NcpSite::Public, "551234", "shop/wipe"),
        key(NcpSite::Gov, "551234", "shop/wipe"),
        key(NcpSite::Public, "55123", "4shop/wipe"),
        key(NcpSite::Public, "5512345", "shop/wipe"),
        key(NcpSite::Public, "551234", "shop/wipe2"),
        key(NcpSite::Public, "551234s", "hop/wipe"),
    ];
    let names: HashSet<_> = different.iter().map(ClaimKey::lease_name).collect();
    assert_eq!(names.len(), different.len());
}

#[test]
fn a_claim_survives_its_lease() {
    let Effect::CreateClaim(claim) = plan(&won(), clock(6)) else { panic!("no claim") };
    let lease = claim.to_lease("operators");
    let labels = lease.metadata.labels.clone().unwrap();
    assert_eq!((labels[CLAIM_LABEL].as_str(), labels[REQUEST_UID_LABEL].as_str()), ("flush", UID));
    assert_eq!(lease.metadata.namespace.as_deref(), Some("operators"));
    let held = HeldClaim::from_lease(&lease);
    assert!(held.is_for(UID, ATTEMPT));
    assert_eq!((held.namespace.as_str(), held.name.as_str(), held.claimed_at), ("shop", "wipe", Some(at(6))));
}

#[test]
fn a_foreign_lease_permits_nothing() {
    let held = HeldClaim::from_lease(&Lease::default());
    assert!(!held.is_of("") && !held.is_for("", "") && !held.is_of(UID));
    assert!(!claim::expired(&held, Timestamp::MAX, Duration::ZERO, false));
}

#[test]
fn claims_expire_by_age_once_nothing_needs_them() {
    let held = claim_of(UID, "theirs"); // an hour before second 0
    assert!(!claim::expired(&held, at(0), DAY, false));
    assert!(!claim::expired(&held, at(23 * 3600 - 1), DAY, false));
    assert!(claim::expired(&held, at(23 * 3600), DAY, false));
    assert!(!claim::expired(&held, at(23 * 3600), DAY, true));
    assert!(!claim::expired(&held, Timestamp::MAX, Duration::MAX, false));
}

#[test]
fn a_request_is_open_until_it_is_final_and_could_not_start_anew() {
    let mut request = request();
    assert!(claim::still_open(&request, at(100_000)));
    request.status.phase = Some(FlushPhase::Accepted);
    assert!(claim::still_open(&request, at(100_000)));
    request.status.phase = Some(FlushPhase::Succeeded);
    assert!(claim::still_open(&request, at(599)), "without its status it would start anew");
    assert!(!claim::still_open(&request, at(600)));
}

#[test]
fn a_claim_of_another_request_is_spent_once_that_was_executed_or_nobody_can_tell() {
    use FlushPhase::*;
    let claim = claim_of(UID, "theirs");
    for phase in FlushPhase::ALL {
        let open = matches!(phase, Pending | Sending | Failed | Rejected | Expired);
        let expected = if open { Holder::Open } else { Holder::Spent };
        assert_eq!(Holder::of(&claim, Some(&in_phase(phase, "theirs").object)), expected, "{phase:?}");
        // A verdict that does not say it of this very attempt proves nothing.
        let open = matches!(phase, Pending | Sending);
        let expected = if open { Holder::Open } else { Holder::Spent };
        assert_eq!(Holder::of(&claim, Some(&in_phase(phase, "other").object)), expected, "{phase:?}");
        let elsewhere = claim_of("another-uid", "theirs");
        assert_eq!(Holder::of(&elsewhere, Some(&in_phase(phase, "theirs").object)), Holder::Spent, "another UID");
        assert_eq!(Holder::of(&claim_of("", ""), Some(&in_phase(phase, "").object)), Holder::Spent);
    }
    assert_eq!(Holder::of(&claim, None), Holder::Spent, "it is gone");
}

#[test]
fn a_claim_is_read_again_after_its_holder_and_before_a_refusal() {
    let mut session = Session { claim: held("another-uid", "x"), ..all_clear() };
    let claim = claim_of("another-uid", "x");
    assert_eq!(plan(&session, clock(6)), Effect::ReadHolder(claim.clone()));
    session.absorb(EffectReport::Holder(claim.clone(), Holder::Spent));
    assert!(matches!(plan(&session, clock(6)), Effect::ReadClaim(Some(_))));
    // Still there: nothing will release it.
    let mut kept = session.clone();
    kept.absorb(EffectReport::Claim(ObservedClaim::Present(claim.clone())));
    assert_eq!(phase_and_reason(plan(&kept, clock(6))).0, FlushPhase::Rejected);
    // Another one in its place: its holder is another question.
    let mut replaced = session.clone();
    let next = HeldClaim { lease_uid: "lease-2".to_owned(), ..claim };
    replaced.absorb(EffectReport::Claim(ObservedClaim::Present(next.clone())));
    assert_eq!(plan(&replaced, clock(6)), Effect::ReadHolder(next));
    // Released meanwhile: it was not executed.
    session.absorb(EffectReport::Claim(ObservedClaim::Absent));
    assert_eq!(plan(&session, clock(6)), Effect::AddFinalizer);
}

#[test]
fn a_claim_is_unused_only_by_the_word_of_its_own_attempt() {
    use FlushPhase::*;
    for phase in [Pending, Sending, Accepted, Succeeded, Failed, Unknown, Rejected, Expired] {
        let object = in_phase(phase, "theirs").object;
        let unused = object.status.attempt.as_ref().unwrap().not_executed;
        assert_eq!(unused, matches!(phase, Pending | Failed | Rejected | Expired));
        assert_eq!(claim_of(UID, "theirs").is_unused(&object), unused, "{phase:?}");
        assert!(!claim_of(UID, "other").is_unused(&object));
        assert!(!claim_of("another-uid", "theirs").is_unused(&object));
        assert!(!claim_of(UID, "").is_unused(&in_phase(phase, "").object));
    }
}
