//! What the object says of itself.

use super::*;
use crate::api::parameter_sync::ParameterGroupTarget;
use crate::api::shared::{KakaoParameterGroup, SecretRef};

fn unavailable(reason: Reason) -> ClusterObservation {
    unreadable(reason, "the cloud cannot be read because of a test")
}

/// `(Ready, Reconciling, Stalled)` of a status, each as `status/reason`.
fn kstatus(status: &RedisParameterSyncStatus) -> [String; 3] {
    [READY, RECONCILING, STALLED].map(|type_| match find(&status.conditions, type_) {
        Some(condition) => format!("{}/{}", condition.status, condition.reason),
        None => "-".into(),
    })
}

#[test]
fn each_observation_has_its_conditions() {
    let not_found = || ClusterObservation::NotFound { message: "KakaoCloud has no cluster 1-2-3.".into() };
    let not_supported = || ClusterObservation::NotSupported { message: "NCP has no parameter groups.".into() };
    for (observation, expected, synced) in [
        (ClusterObservation::Pending, ["False/Waiting", "True/Waiting", "-"], "Unknown/NotRead"),
        (not_found(), ["False/ClusterNotFound", "-", "True/ClusterNotFound"], "True/ObserveSucceeded"),
        (not_supported(), ["False/NotSupported", "-", "True/NotSupported"], "Unknown/NotRead"),
        (
            unavailable(Reason::CredentialsNotFound),
            ["False/CredentialsNotFound", "-", "True/CredentialsNotFound"],
            "False/CredentialsNotFound",
        ),
        (
            unavailable(Reason::CredentialsRejected),
            ["False/CredentialsRejected", "-", "True/CredentialsRejected"],
            "False/CredentialsRejected",
        ),
        (
            unavailable(Reason::PermissionDenied),
            ["False/PermissionDenied", "-", "True/PermissionDenied"],
            "False/PermissionDenied",
        ),
        (
            unavailable(Reason::CloudUnavailable),
            ["False/CloudUnavailable", "True/CloudUnavailable", "-"],
            "False/CloudUnavailable",
        ),
        (ClusterObservation::Read(observation(Some("In-Sync"), 0)), ["True/InSync", "-", "-"], "True/ObserveSucceeded"),
        (
            ClusterObservation::Read(observation(Some("Pending"), 0)),
            ["False/Waiting", "True/Waiting", "-"],
            "True/ObserveSucceeded",
        ),
        (
            ClusterObservation::Read(observation(Some("Suspended"), 0)),
            ["False/Applying", "True/Applying", "-"],
            "True/ObserveSucceeded",
        ),
    ] {
        let mut story = Story::new();
        let status = story.pass(&[observed("a", observation.clone())], 0).status;
        assert_eq!(kstatus(&status), expected, "{observation:?}");
        assert_eq!(
            format!("{}/{}", condition_status(&status, SYNCED), reason(&status, SYNCED)),
            synced,
            "{observation:?}"
        );
        assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(1)));
    }
}

#[test]
fn each_problem_has_its_conditions() {
    const TEXT: &str = "because of a test";
    for (problem, expected) in [
        (Unresolved::Pending, ["False/Waiting", "True/Waiting", "-"]),
        (no_clusters(Reason::ReferenceNotFound, TEXT), ["False/ReferenceNotFound", "-", "True/ReferenceNotFound"]),
        (no_clusters(Reason::InvalidSelector, TEXT), ["False/InvalidSelector", "-", "True/InvalidSelector"]),
        (no_clusters(Reason::NoClusters, TEXT), ["False/NoClusters", "-", "-"]),
        (list_unreadable(Reason::PermissionDenied, TEXT), ["False/PermissionDenied", "-", "True/PermissionDenied"]),
        (list_unreadable(Reason::RateLimited, TEXT), ["False/RateLimited", "True/RateLimited", "-"]),
    ] {
        let plan = Story::new().plan(Err(&problem), 0);
        assert_eq!(kstatus(&plan.status), expected, "{problem:?}");
        assert_eq!((plan.status.total, plan.status.in_sync), (Some(0), Some(0)));
    }
}

#[test]
fn an_empty_list_of_a_group_is_an_answer() {
    let mut story = Story::new();
    story.spec.cluster_ref = None;
    story.spec.parameter_group = Some(ParameterGroupTarget {
        kakao_cloud: KakaoParameterGroup {
            region: "kr-central-2".into(),
            id: Some("pg-1".into()),
            name: None,
            credentials_secret_ref: SecretRef { name: "kakaocloud".into() },
        },
    });
    let status = story.pass(&[], 0).status;
    assert_eq!((reason(&status, READY), condition_status(&status, SYNCED)), ("NoClusters", "True"));
}

#[test]
fn a_list_that_cannot_be_read_keeps_the_last_picture() {
    let mut story = Story::new();
    story.pass(&[seen("a", "In-Sync", 0), seen("b", "Error-Sync", 0)], 0);
    let before = story.status.clone().unwrap();
    for problem in [Unresolved::Pending, list_unreadable(Reason::CloudUnavailable, "no route")] {
        let status = story.plan(Err(&problem), 100).status;
        assert_eq!(status.clusters, before.clusters);
        assert_eq!((status.total, status.in_sync), (Some(2), Some(1)));
    }
    let gone = story.plan(Err(&no_clusters(Reason::ReferenceNotFound, "no sessions")), 100).status;
    assert_eq!((gone.clusters.len(), gone.total), (0, Some(0)));
}

#[test]
fn a_restart_does_not_shake_a_ready_object() {
    let mut story = Story::new();
    story.pass(&[seen("a", "In-Sync", 0)], 0);
    let before = story.status.clone();
    let plan = story.pass(&[observed("a", ClusterObservation::Pending)], 500);
    assert_eq!(Some(plan.status), before);
    for observation in [
        ClusterObservation::NotSupported { message: "NCP has no parameter groups.".into() },
        ClusterObservation::NotFound { message: "no such cluster".into() },
    ] {
        let mut story = Story::new();
        story.pass(&[observed("a", observation)], 0);
        let before = story.status.clone();
        assert_eq!(Some(story.pass(&[observed("a", ClusterObservation::Pending)], 500).status), before);
    }
}

#[test]
fn an_error_that_went_away_leaves_no_trace() {
    let mut story = Story::new();
    for observation in [
        unavailable(Reason::CredentialsRejected),
        ClusterObservation::NotFound { message: "no such cluster".into() },
        ClusterObservation::NotSupported { message: "no parameter group".into() },
    ] {
        story.pass(&[observed("a", observation)], 0);
        assert!(is_true(&story.status.as_ref().unwrap().conditions, STALLED));
        let status = story.word("In-Sync", 10).status;
        assert_eq!(kstatus(&status), ["True/InSync", "-", "-"]);
        assert_eq!((condition_status(&status, SYNCED), &status.clusters[0].last_error), ("True", &None));
    }
}

#[test]
fn an_outage_leaves_ready_for_three_polls() {
    let mut story = Story::new();
    story.word("In-Sync", 0);
    for (second, ready) in [(60, "True"), (239, "True"), (240, "Unknown")] {
        let status = story.pass(&[observed("a", unavailable(Reason::CloudUnavailable))], second).status;
        assert_eq!(
            (condition_status(&status, READY), condition_status(&status, SYNCED)),
            (ready, "False"),
            "second {second}"
        );
    }
    assert_eq!(condition_status(&story.word("In-Sync", 300).status, READY), "True");
}

#[test]
fn suspended_freezes_everything() {
    let mut story = Story::new();
    story.pass(&[seen("a", "Error-Sync", 0), seen("b", "In-Sync", 0)], 0);
    let before = story.status.clone().unwrap();
    story.spec.suspend = true;
    story.generation = 2;
    story.requested_at = Some("now".into());
    let plan = story.pass(&[seen("a", "Error-Sync", 500), seen("b", "Error-Sync", 500)], 500);
    assert!(plan.applies.is_empty() && plan.events.is_empty());
    assert_eq!(kstatus(&plan.status), ["False/Suspended", "-", "-"]);
    assert_eq!((&plan.status.clusters, plan.status.in_sync), (&before.clusters, before.in_sync));
    assert_eq!(plan.status.last_handled_reconcile_at, None, "it is handled when the object goes on");
    assert_eq!((plan.status.observed_generation, condition_status(&plan.status, SYNCED)), (Some(2), "True"));
    assert_eq!(plan.clone().record(&[("a".into(), ApplyResult::Busy)], at(501), 0.0).status, plan.status);

    story.spec.suspend = false;
    story.generation = 3;
    let plan = story.pass(&[seen("a", "Error-Sync", 600), seen("b", "Error-Sync", 600)], 600);
    assert_eq!(plan.applies.len(), 2, "a new spec is a new episode");
    assert_eq!(plan.status.last_handled_reconcile_at.as_deref(), Some("now"));

    let mut fresh = Story::new();
    fresh.spec.suspend = true;
    let status = fresh.word("Error-Sync", 0).status;
    assert_eq!((reason(&status, READY), reason(&status, SYNCED)), ("Suspended", "Suspended"));
}

#[test]
fn what_was_ready_stays_so_while_suspended() {
    let mut story = Story::new();
    story.word("In-Sync", 0);
    story.spec.suspend = true;
    let status = story.word("Error-Sync", 60).status;
    assert_eq!(kstatus(&status), ["True/Suspended", "-", "-"]);
    assert_eq!(kstatus(&story.word("Error-Sync", 120).status), ["True/Suspended", "-", "-"], "and it stays so");
    story.spec.suspend = false;
    assert_eq!(condition_status(&story.word("Error-Sync", 180).status, READY), "False");
}

#[test]
fn the_worst_cluster_speaks_for_all() {
    let mut story = Story::new();
    story.spec.retry.max_attempts = 1;
    story.pass_answered(&[seen("a", "Error-Sync", 0)], 0, &refused());
    let status = story
        .pass(
            &[
                seen("a", "Error-Sync", 50),
                seen("b", "Error-Sync", 50),
                seen("c", "In-Sync", 50),
                observed("d", ClusterObservation::Pending),
                observed("e", unavailable(Reason::CloudUnavailable)),
            ],
            50,
        )
        .status;
    assert_eq!(kstatus(&status), ["False/RetriesExhausted", "-", "True/RetriesExhausted"]);
    assert!(message(&status, READY).starts_with("Gave up on name-a after 1 attempt. Internal error. "));
    assert!(message(&status, READY).ends_with(" 1 of 5 clusters are In-Sync."), "{}", message(&status, READY));
    assert_eq!((status.total, status.in_sync, status.failing), (Some(5), Some(1), Some(1)));
    assert_eq!(reason(&status, SYNCED), "CloudUnavailable");
}

#[test]
fn ready_names_the_first_clusters() {
    let mut story = Story::new();
    let clusters: Vec<ObservedCluster> = ["e", "d", "c", "b", "a"].map(|id| seen(id, "Error-Sync", 0)).to_vec();
    let status = story.pass(&clusters, 0).status;
    assert_eq!(
        message(&status, READY),
        "Waiting for the parameter group to be applied to name-a, name-b, name-c and 2 more. 0 of 5 clusters are In-Sync."
    );
    let synced: Vec<ObservedCluster> = ["a", "b", "c", "d", "e"].map(|id| seen(id, "In-Sync", 10)).to_vec();
    assert_eq!(message(&story.pass(&synced, 10).status, READY), "All 5 clusters are In-Sync.");
    assert_eq!(message(&story.pass(&synced[..1], 10).status, READY), "name-a is In-Sync.");
}
