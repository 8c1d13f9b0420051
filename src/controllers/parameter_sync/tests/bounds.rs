//! More clusters than one object covers, and more than a status shows.

use super::*;

fn in_sync(count: usize, second: i64) -> Vec<ObservedCluster> {
    (0..count).map(|index| seen(&format!("{index:03}"), "In-Sync", second)).collect()
}

/// As a reference brings it whose cloud cannot be read, and whose status shows the sync status of before.
fn unread(cluster: &ObservedCluster, word: &str) -> ObservedCluster {
    let observation = unreadable(Reason::CloudUnavailable, "no route");
    let shown_group =
        Some(ParameterGroupStatus { id: Some("pg-1".into()), sync_status: Some(word.into()), ..Default::default() });
    ObservedCluster { observation, shown_group, ..cluster.clone() }
}

fn shown(status: &RedisParameterSyncStatus) -> Vec<&str> {
    status.clusters.iter().map(|entry| entry.id.as_str()).collect()
}

#[test]
fn few_clusters_are_all_shown_and_of_many_those_that_are_not_in_sync() {
    let few = in_sync(SHOWN_WHOLE, 0);
    let status = Story::new().pass(&few, 0).status;
    assert_eq!(status.clusters.len(), SHOWN_WHOLE);
    let mut many = in_sync(150, 0);
    many.push(seen("zzz", "Pending", 0));
    let status = Story::new().pass(&many, 0).status;
    assert_eq!((shown(&status), status.total, status.in_sync), (vec!["zzz"], Some(151), Some(150)));
    assert_eq!(reason(&status, READY), "Waiting");
    let status = Story::new().pass(&many[..150], 0).status;
    assert_eq!((shown(&status), message(&status, READY)), (vec![], "All 150 clusters are In-Sync."));
    assert!(serde_json::to_vec(&status).unwrap().len() < 1000, "whatever it covers");
}

#[test]
fn a_cluster_that_was_healed_stays_shown_for_its_next_request_keeps_a_distance() {
    let mut story = Story::new();
    let mut clusters = in_sync(50, 0);
    clusters[7] = seen("007", "Error-Sync", 0);
    story.pass_answered(&clusters, 0, &ApplyResult::Accepted);
    let healed = story.pass(&in_sync(50, 20), 20).status;
    assert_eq!((shown(&healed), reason(&healed, READY)), (vec!["007"], "InSync"));
    clusters[7] = seen("007", "Error-Sync", 25);
    assert!(story.pass(&clusters, 25).applies.is_empty(), "30 s after the last one");
    clusters[7] = seen("007", "Error-Sync", 31);
    assert_eq!(story.pass(&clusters, 31).applies.len(), 1);
}

#[test]
fn an_outage_does_not_shake_what_is_counted_and_not_shown() {
    let mut story = Story::new();
    let clusters = in_sync(150, 0);
    story.pass(&clusters, 0);
    let down: Vec<ObservedCluster> = clusters.iter().map(|cluster| unread(cluster, "In-Sync")).collect();
    for (second, ready) in [(60, "True"), (239, "True"), (240, "Unknown")] {
        let status = story.pass(&down, second).status;
        assert_eq!(
            (condition_status(&status, READY), condition_status(&status, SYNCED)),
            (ready, "False"),
            "second {second}"
        );
        assert_eq!((shown(&status), status.total, status.in_sync), (vec![], Some(150), Some(150)));
    }
    let pending: Vec<ObservedCluster> = down
        .into_iter()
        .map(|cluster| ObservedCluster { observation: ClusterObservation::Pending, ..cluster })
        .collect();
    let mut story = Story::new();
    let before = story.pass(&clusters, 0).status;
    assert_eq!(story.pass(&pending, 500).status, before, "a restart");
}

#[test]
fn an_outage_makes_no_cluster_in_sync_that_was_not() {
    let mut story = Story::new();
    let clusters = in_sync(50, 0);
    story.pass(&clusters, 0);
    let mut down: Vec<ObservedCluster> = clusters.iter().map(|cluster| unread(cluster, "In-Sync")).collect();
    down.push(unread(&seen("new", "In-Sync", 0), "Error-Sync"));
    let status = story.pass(&down, 60).status;
    assert_eq!((shown(&status), status.total, status.in_sync), (vec!["new"], Some(51), Some(50)));
    assert_eq!(condition_status(&status, READY), "False");
    let mut fresh = Story::new();
    let status = fresh.pass(&down, 60).status;
    assert_eq!(status.in_sync, Some(0), "an object that never read them says nothing of them");
}

#[test]
fn what_is_beyond_the_bound_is_said_and_what_is_covered_is_kept_in_sync() {
    let mut story = Story::new();
    story.left_out = 800;
    let mut clusters = in_sync(200, 0);
    clusters[0] = seen("000", "Error-Sync", 0);
    let plan = story.pass_answered(&clusters, 0, &ApplyResult::Accepted);
    assert_eq!(story.entry("000").attempts, 1);
    let status = plan.status;
    assert_eq!((reason(&status, READY), reason(&status, STALLED)), ("TooManyClusters", "TooManyClusters"));
    assert_eq!((condition_status(&status, READY), condition_status(&status, RECONCILING)), ("False", "absent"));
    assert_eq!((status.total, status.in_sync), (Some(1000), Some(199)));
    let said = "1000 clusters are selected, but one RedisParameterSync keeps at most 200 in sync: 800 of them are left out. \
                Split it into several, each with a clusterSelector for a part of them. 199 of 1000 clusters are In-Sync.";
    assert_eq!(message(&status, READY), said);
    let again = story.plan(Ok(&clusters), 0);
    assert_eq!(again.status, status, "stable");
    for problem in [Unresolved::Pending, list_unreadable(Reason::CloudUnavailable, "no route")] {
        story.left_out = 0;
        let status = story.plan(Err(&problem), 60).status;
        assert_eq!((reason(&status, READY), message(&status, READY)), ("TooManyClusters", said), "{problem:?}");
        assert_eq!((status.total, status.in_sync), (Some(1000), Some(199)));
    }
    let narrowed = story.pass(&in_sync(200, 60), 60).status;
    assert_eq!((reason(&narrowed, READY), narrowed.total), ("InSync", Some(200)), "it leaves no trace");
}

#[test]
fn a_cluster_that_needs_a_person_is_named_before_the_bound() {
    let mut story = Story::new();
    (story.left_out, story.spec.retry.max_attempts) = (1, 1);
    let mut clusters = in_sync(30, 0);
    clusters[0] = seen("000", "Error-Sync", 0);
    let status = story.pass_answered(&clusters, 0, &refused()).status;
    assert_eq!(reason(&status, STALLED), "RetriesExhausted");
    let message = message(&status, READY);
    assert!(message.starts_with("Gave up on name-000") && message.contains("1 of them are left out"), "{message}");
}

#[test]
fn an_error_of_clusters_that_it_is_not_about_any_more_goes_away() {
    const TEXT: &str = "because of a test";
    let down = || observed("a", unreadable(Reason::CloudUnavailable, "down"));
    let unsupported =
        observed("a", ClusterObservation::NotSupported { message: "NCP has no parameter groups.".into() });
    for (clusters, expected) in [
        (Err(no_clusters(Reason::NoClusters, TEXT)), "Unknown/NotRead"),
        (Err(no_clusters(Reason::ReferenceNotFound, TEXT)), "Unknown/NotRead"),
        (Err(no_clusters(Reason::InvalidSelector, TEXT)), "Unknown/NotRead"),
        (Err(Unresolved::Pending), "False/CloudUnavailable"),
        (Ok(vec![unsupported]), "Unknown/NotRead"),
        (Ok(vec![observed("a", ClusterObservation::Pending)]), "False/CloudUnavailable"),
    ] {
        let mut story = Story::new();
        story.pass(&[down()], 0);
        let status = story.plan(clusters.as_deref(), 60).status;
        assert_eq!(
            format!("{}/{}", condition_status(&status, SYNCED), reason(&status, SYNCED)),
            expected,
            "{clusters:?}"
        );
    }
}

#[test]
fn a_group_without_clusters_was_read_once_the_cloud_has_healed() {
    let mut story = Story::new();
    story.spec = serde_json::from_value(serde_json::json!({
        "parameterGroup": { "kakaoCloud": { "id": "pg-1", "credentialsSecretRef": { "name": "kakaocloud" } } },
    }))
    .unwrap();
    let down = list_unreadable(Reason::CloudUnavailable, "no route");
    story.status = Some(story.plan(Err(&down), 0).status);
    let status = story.plan(Err(&no_clusters(Reason::NoClusters, "no cluster")), 60).status;
    assert_eq!((condition_status(&status, SYNCED), reason(&status, READY)), ("True", "NoClusters"));
}
