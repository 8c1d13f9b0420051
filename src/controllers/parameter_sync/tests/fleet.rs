//! Many clusters: bounds of a pass and of the status, order, one event for all.

use super::*;

fn fleet(count: usize, word: &str, second: i64) -> Vec<ObservedCluster> {
    (0..count).map(|index| seen(&format!("{index:05}"), word, second)).collect()
}

#[test]
fn a_pass_asks_for_ten_and_the_rest_follows_at_once() {
    let mut story = Story::new();
    let clusters = fleet(25, "Error-Sync", 0);
    let mut asked = Vec::new();
    for (pass, expected) in [(0, 10), (1, 10), (2, 5), (3, 0)] {
        let plan = story.pass(&clusters, pass);
        assert_eq!(plan.applies.len(), expected);
        assert_eq!(plan.status.total, Some(25));
        if expected == 10 {
            assert_eq!(plan.requeue_after, Duration::from_secs(1));
            let waiting = plan.status.clusters.iter().filter(|entry| entry.phase == SyncPhase::Waiting).count();
            assert_eq!(waiting, 25 - 10 * (usize::try_from(pass).unwrap() + 1));
        }
        asked.extend(plan.applies.into_iter().map(|apply| apply.id));
    }
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 25, "each once");
}

#[test]
fn one_event_speaks_for_many_clusters() {
    let mut story = Story::new();
    let recorded = story.pass_answered(&fleet(10, "Error-Sync", 0), 0, &ApplyResult::Accepted);
    assert_eq!(
        recorded.events,
        [Note {
            warning: false,
            reason: Reason::ParameterApplyRequested,
            message:
                "Asked to apply the parameter group to 10 clusters: name-00000, name-00001, name-00002 and 7 more."
                    .into(),
        }]
    );
    let plan = story.pass(&fleet(10, "Error-Sync", 10), 10);
    assert_eq!(
        plan.events,
        [Note {
            warning: true,
            reason: Reason::ParameterApplyFailed,
            message:
                "Applying the parameter group to 10 clusters failed: name-00000, name-00001, name-00002 and 7 more. \
                   The sync status is Error-Sync after attempt 1."
                    .into(),
        }]
    );
    let plan = story.pass(&fleet(10, "In-Sync", 20), 20);
    assert_eq!(plan.events[0].message, "10 clusters are In-Sync: name-00000, name-00001, name-00002 and 7 more.");
}

#[test]
fn a_cluster_met_in_sync_is_no_event() {
    let mut story = Story::new();
    story.pass(&[observed("a", ClusterObservation::Pending)], 0);
    assert!(story.word("In-Sync", 10).events.is_empty());
    assert!(story.word("In-Sync", 20).events.is_empty());
}

#[test]
fn answers_to_some_leave_the_others_counted() {
    let mut story = Story::new();
    let plan = story.pass(&fleet(3, "Error-Sync", 0), 0);
    let answers =
        [("00001".to_owned(), refused()), ("00002".to_owned(), ApplyResult::Busy), ("other".to_owned(), refused())];
    let recorded = plan.record(&answers, at(4), 0.5);
    let by_id = |id: &str| recorded.status.clusters.iter().find(|entry| entry.id == id).unwrap().clone();
    assert_eq!((by_id("00000").phase, by_id("00000").attempts), (SyncPhase::Applying, 1));
    assert_eq!((by_id("00001").phase, by_id("00001").attempts), (SyncPhase::BackingOff, 1));
    assert_eq!((by_id("00002").phase, by_id("00002").attempts), (SyncPhase::Waiting, 0));
    assert_eq!(by_id("00001").last_attempt_time.unwrap().0, at(4), "the answer's time, not the request's");
    assert!(recorded.applies.is_empty());
    assert_eq!((reason(&recorded.status, READY), recorded.status.failing), ("BackingOff", Some(1)));
    assert_eq!(find(&recorded.status.conditions, READY).unwrap().last_transition_time.0, at(0), "False all along");
}

#[test]
fn clusters_that_fail_together_come_back_apart() {
    let mut story = Story::new();
    story.pass_answered(&fleet(10, "Error-Sync", 0), 0, &refused());
    let mut times: Vec<_> =
        story.status.unwrap().clusters.iter().map(|entry| entry.next_attempt_time.clone().unwrap().0).collect();
    times.sort();
    times.dedup();
    assert!(times.len() > 3, "{times:?}");
}

#[test]
fn the_status_counts_what_is_in_sync_and_forgets_no_attempt() {
    let mut story = Story::new();
    let mut clusters = fleet(3000, "In-Sync", 0);
    clusters.push(seen("zzz", "Error-Sync", 0));
    let plan = story.pass(&clusters, 0);
    assert_eq!((plan.status.clusters.len(), plan.status.total, plan.status.in_sync), (1, Some(3001), Some(3000)));
    assert_eq!((plan.status.clusters[0].id.as_str(), plan.status.clusters[0].attempts), ("zzz", 1));
    assert_eq!(plan.applies.len(), 1);
    for problem in [Unresolved::Pending, list_unreadable(Reason::RateLimited, "slow down")] {
        let status = story.plan(Err(&problem), 5).status;
        assert_eq!((status.total, status.in_sync, status.clusters.len()), (Some(3001), Some(3000), 1));
    }
}

#[test]
fn an_attempt_is_stored_before_clusters_that_merely_wait() {
    let mut story = Story::new();
    let mut clusters = fleet(1200, "Pending", 0);
    clusters.push(seen("zzz", "Error-Sync", 0));
    let plan = story.pass(&clusters, 0);
    assert_eq!((plan.applies.len(), plan.status.clusters.len()), (1, 1000));
    assert_eq!(story.entry("zzz").attempts, 1);
}

#[test]
fn the_least_recently_requested_goes_first() {
    let mut story = Story::new();
    story.pass_answered(&fleet(10, "Error-Sync", 0), 0, &refused());
    let mut clusters = fleet(10, "Error-Sync", 100);
    clusters.push(seen("zzz", "Error-Sync", 100));
    let plan = story.pass(&clusters, 100);
    assert_eq!((plan.applies.len(), plan.applies[0].id.as_str()), (10, "zzz"));
}

#[test]
fn more_failing_clusters_than_the_status_holds_are_asked_for_as_room_appears() {
    let mut story = Story::new();
    let broken = fleet(1200, "Error-Sync", 0);
    let mut asked = 0;
    for pass in 0..110 {
        asked += story.pass(&broken, 0).applies.len();
        assert!(story.status.as_ref().unwrap().clusters.len() <= 1000, "pass {pass}");
    }
    assert_eq!(asked, 1000, "an attempt that is not stored is not made");
    assert_eq!(story.plan(Ok(&broken), 0).requeue_after, Duration::from_secs(5), "and it is not a hot loop");
    let mut healing = fleet(1200, "Error-Sync", 5);
    healing[..50].iter_mut().for_each(|cluster| *cluster = seen(&cluster.id, "In-Sync", 5));
    assert_eq!(story.pass(&healing, 5).applies.len(), 10);
}

#[test]
fn a_cluster_whose_connection_is_busy_waits_for_its_turn_without_being_counted() {
    let story = Story::new();
    let clusters = fleet(3, "Error-Sync", 0);
    let held = clusters.iter().take(2).map(|cluster| cluster.id.clone()).collect();
    let planned = story.plan_without_slot(Ok(&clusters), 0, &held);
    let asked: Vec<&str> = planned.applies.iter().map(|apply| apply.id.as_str()).collect();
    assert_eq!(asked, [clusters[2].id.as_str()]);
    for entry in planned.status.clusters.iter().filter(|entry| held.contains(&entry.id)) {
        assert_eq!((entry.phase, entry.attempts, &entry.last_attempt_time), (SyncPhase::Waiting, 0, &None));
    }
    let all_held = clusters.iter().map(|cluster| cluster.id.clone()).collect();
    let waiting = story.plan_without_slot(Ok(&clusters), 0, &all_held);
    assert!(waiting.applies.is_empty());
    assert_eq!(waiting.requeue_after, Duration::from_secs(15), "it is woken sooner when its turn comes");
}

#[test]
fn two_references_to_one_cluster_are_one_cluster() {
    let mut story = Story::new();
    let plan = story.pass(
        &[
            observed("a", ClusterObservation::Pending),
            seen("a", "In-Sync", 0),
            seen("a", "Error-Sync", 5),
            seen("a", "In-Sync", 2),
        ],
        5,
    );
    assert_eq!((plan.applies.len(), plan.status.total), (1, Some(1)), "the newest observation counts");
}

#[test]
fn a_cluster_that_is_no_target_any_more_is_gone() {
    let mut story = Story::new();
    story.pass(&[seen("a", "Error-Sync", 0), seen("b", "In-Sync", 0)], 0);
    let status = story.pass(&[seen("b", "In-Sync", 10)], 10).status;
    assert_eq!((status.clusters.len(), status.total, reason(&status, READY)), (1, Some(1), "InSync"));
}

#[test]
fn the_next_pass_comes_with_the_first_thing_to_do() {
    let mut story = Story::new();
    assert_eq!(story.word("In-Sync", 0).requeue_after, Duration::from_secs(60));
    assert_eq!(story.word("Pending", 10).requeue_after, Duration::from_secs(60));
    story.spec.stuck_after = seconds(40);
    assert_eq!(story.word("Pending", 15).requeue_after, Duration::from_secs(35), "stuckAfter");
    let recorded = story.pass_answered(&[seen("a", "Error-Sync", 100)], 100, &ApplyResult::Accepted);
    assert_eq!(recorded.requeue_after, Duration::from_secs(5), "a fresh attempt");
    assert_eq!(story.word("Error-Sync", 108).requeue_after, Duration::from_secs(2), "the settle time");
    let plan = story.word("Error-Sync", 110);
    let next = story.entry("a").next_attempt_time.clone().unwrap().0;
    assert_eq!(plan.requeue_after, next.duration_since(at(110)).unsigned_abs(), "nextAttemptTime");
    story.spec.stuck_after = seconds(1800);
    story.word("Error-Sync", 200);
    assert_eq!(story.phase(), SyncPhase::Applying);
    assert_eq!(story.word("Applying", 270).requeue_after, Duration::from_secs(10), "an older attempt");
}
