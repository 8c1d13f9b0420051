//! The rules for one cluster.

use super::*;

/// A story whose first attempt, at second 0, was accepted.
fn accepted() -> Story {
    let mut story = Story::new();
    let recorded = story.pass_answered(&[seen("a", "Error-Sync", 0)], 0, &ApplyResult::Accepted);
    assert_eq!(reasons(&recorded), ["ParameterApplyRequested"]);
    assert_eq!((story.phase(), story.entry("a").attempts), (SyncPhase::Applying, 1));
    story
}

#[test]
fn each_word_of_a_first_observation_has_its_phase() {
    for (word, phase, applies) in [
        (Some("In-Sync"), SyncPhase::InSync, 0),
        (Some("in-sync"), SyncPhase::InSync, 0),
        (Some("Pending"), SyncPhase::Waiting, 0),
        (Some("Applying"), SyncPhase::Waiting, 0),
        (Some("Teleporting"), SyncPhase::Waiting, 0),
        (None, SyncPhase::Waiting, 0),
        (Some("Error-Sync"), SyncPhase::Applying, 1),
        (Some("ERROR-SYNC"), SyncPhase::Applying, 1),
        (Some("suspended"), SyncPhase::Applying, 1),
        (Some("Partial-Sync"), SyncPhase::Applying, 1),
    ] {
        let mut story = Story::new();
        let plan = story.pass(&[observed("a", ClusterObservation::Read(observation(word, 0)))], 0);
        assert_eq!((story.phase(), plan.applies.len()), (phase, applies), "{word:?}");
        assert_eq!(story.entry("a").sync_status.as_deref(), word, "the provider's own word stays");
        assert_eq!(story.entry("a").sync_status_since.as_ref().unwrap().0, at(0));
    }
}

#[test]
fn the_attempt_is_in_the_status_that_is_written_before_the_request() {
    let mut story = Story::new();
    let plan = story.word("Error-Sync", 5);
    assert_eq!(plan.applies, [Apply { id: "a".into(), name: "name-a".into(), attempt: 1 }]);
    let entry = story.entry("a");
    assert_eq!((entry.attempts, entry.phase), (1, SyncPhase::Applying));
    assert_eq!(entry.last_attempt_time.as_ref().unwrap().0, at(5));
    assert_eq!(entry.parameter_group_id.as_deref(), Some("pg-1"));
    assert_eq!(plan.requeue_after, Duration::from_secs(5));
}

#[test]
fn only_words_of_retry_on_are_retried() {
    let mut story = Story::new();
    story.spec.retry_on = vec!["Broken".into()];
    assert!(story.word("Error-Sync", 0).applies.is_empty());
    assert_eq!(story.word("broken", 60).applies.len(), 1);
}

#[test]
fn the_old_word_right_after_the_request_is_no_new_failure() {
    let mut story = accepted();
    for second in 1..10 {
        let plan = story.word("Error-Sync", second);
        assert_eq!((story.phase(), reasons(&plan)), (SyncPhase::Applying, vec![]), "second {second}");
        assert!(plan.requeue_after <= Duration::from_secs(5));
    }
    let plan = story.word("Error-Sync", 10);
    assert_eq!((story.phase(), reasons(&plan)), (SyncPhase::BackingOff, vec!["ParameterApplyFailed"]));
    let entry = story.entry("a");
    assert_eq!(entry.next_attempt_time.as_ref().unwrap().0.duration_since(at(10)).as_secs() / 7, 4, "about 30 s");
    assert_eq!(entry.last_error.as_ref().unwrap().message, "The sync status is Error-Sync after attempt 1");
    assert_eq!(entry.attempts, 1);
}

#[test]
fn another_word_ends_the_settle_time() {
    let mut story = accepted();
    story.word("Applying", 2);
    assert_eq!(story.phase(), SyncPhase::Applying);
    story.word("Error-Sync", 4);
    assert_eq!(story.phase(), SyncPhase::BackingOff);
}

#[test]
fn a_word_that_disappears_and_comes_back_is_no_other_word() {
    let mut story = accepted();
    story.pass(&[observed("a", ClusterObservation::Read(observation(None, 2)))], 2);
    story.word("Error-Sync", 4);
    assert_eq!(story.phase(), SyncPhase::Applying);
    story.word("Error-Sync", 10);
    assert_eq!(story.phase(), SyncPhase::BackingOff);
}

#[test]
fn a_short_initial_backoff_shortens_the_settle_time() {
    let mut story = Story::new();
    story.spec.retry.initial_backoff = seconds(2);
    story.pass_answered(&[seen("a", "Error-Sync", 0)], 0, &ApplyResult::Accepted);
    story.word("Error-Sync", 1);
    assert_eq!(story.phase(), SyncPhase::Applying);
    story.word("Error-Sync", 2);
    assert_eq!(story.phase(), SyncPhase::BackingOff);
}

#[test]
fn observations_older_than_the_request_never_count() {
    for word in ["Error-Sync", "In-Sync", "Applying"] {
        let mut story = Story::new();
        story.pass_answered(&[seen("a", "Error-Sync", 0)], 100, &ApplyResult::Accepted);
        let before = story.status.clone();
        story.pass(&[seen("a", word, 99)], 200);
        assert_eq!(story.status, before, "{word} of before");
        story.pass(&[seen("a", word, 100)], 200);
        assert_eq!(story.status, before, "{word} of the same second");
    }
}

#[test]
fn success_forgets_the_attempts_and_the_error() {
    let mut story = accepted();
    story.word("Error-Sync", 10);
    let plan = story.word("In-Sync", 20);
    assert_eq!(reasons(&plan), ["ParameterInSync"]);
    let entry = story.entry("a");
    assert_eq!((entry.phase, entry.attempts), (SyncPhase::InSync, 0));
    assert_eq!((&entry.last_error, &entry.next_attempt_time), (&None, &None));
    assert_eq!(condition_status(story.status.as_ref().unwrap(), READY), "True");
}

#[test]
fn backing_off_asks_again_at_next_attempt_time_and_gives_up_at_max_attempts() {
    let mut story = Story::new();
    let mut second = 0;
    for attempt in 1..=3 {
        let plan = story.pass_answered(&[seen("a", "Error-Sync", second)], second, &ApplyResult::Accepted);
        assert_eq!((plan.status.clusters[0].attempts, story.phase()), (attempt, SyncPhase::Applying));
        second += 10;
        let plan = story.word("Error-Sync", second);
        if attempt == 3 {
            assert_eq!(reasons(&plan), ["RetriesExhausted"]);
            break;
        }
        assert_eq!(story.phase(), SyncPhase::BackingOff);
        let next = story.entry("a").next_attempt_time.clone().unwrap().0;
        let early = next.as_second() - EPOCH - 1;
        assert!(story.word("Error-Sync", early).applies.is_empty(), "a second too early");
        second = early + 1;
    }
    assert_eq!((story.phase(), story.entry("a").attempts), (SyncPhase::GaveUp, 3));
    let status = story.status.clone().unwrap();
    assert_eq!((reason(&status, READY), reason(&status, STALLED)), ("RetriesExhausted", "RetriesExhausted"));
    assert_eq!(
        message(&status, READY),
        "Gave up on name-a after 3 attempts. The sync status is Error-Sync after attempt 3. Change the spec or the \
         parameter group, or set the annotation managedredis.dev/reconcile-requested-at to a new value, to try again."
    );
    for (word, later) in [("Error-Sync", 100_000), ("Applying", 200_000), ("Error-Sync", 300_000)] {
        assert!(story.word(word, later).applies.is_empty());
        assert_eq!(story.phase(), SyncPhase::GaveUp, "{word}");
    }
    story.word("In-Sync", 400_000);
    assert_eq!(story.phase(), SyncPhase::InSync, "what heals by itself is healed");
}

#[test]
fn a_new_episode_begins_with_the_spec_the_group_or_the_annotation() {
    let mut given_up = Story::new();
    given_up.spec.retry.max_attempts = 1;
    given_up.pass_answered(&[seen("a", "Error-Sync", 0)], 0, &refused());
    assert_eq!(given_up.phase(), SyncPhase::GaveUp);
    let status = given_up.status.take();
    let again = |change: &dyn Fn(&mut Story, &mut GroupObservation)| {
        let mut story = Story::new();
        story.spec = given_up.spec.clone();
        story.status.clone_from(&status);
        let mut observation = observation(Some("Error-Sync"), 500);
        change(&mut story, &mut observation);
        let plan = story.pass(&[observed("a", ClusterObservation::Read(observation))], 500);
        (plan.applies.len(), story)
    };
    assert_eq!(again(&|_, _| {}).0, 0);
    assert_eq!(again(&|story, _| story.generation = 2).0, 1);
    assert_eq!(again(&|_, observation| observation.group_id = Some("pg-2".into())).0, 1);
    assert_eq!(again(&|_, observation| observation.group_id = None).0, 0, "a list may leave the group out");
    let (applies, mut story) = again(&|story, _| story.requested_at = Some("now".into()));
    assert_eq!(applies, 1);
    assert_eq!(story.entry("a").last_error, None);
    let handled = |story: &Story| story.status.as_ref().unwrap().last_handled_reconcile_at.clone();
    assert_eq!(handled(&story).as_deref(), Some("now"));
    assert!(story.word("Error-Sync", 511).applies.is_empty(), "the same value is handled once");
    story.requested_at = None;
    story.word("Error-Sync", 512);
    assert_eq!(handled(&story).as_deref(), Some("now"), "a removed annotation is no request");
}

#[test]
fn a_new_episode_does_not_ask_twice_while_an_attempt_is_open() {
    let mut story = accepted();
    story.generation = 2;
    assert!(story.word("Error-Sync", 3).applies.is_empty());
    assert_eq!((story.phase(), story.entry("a").attempts), (SyncPhase::Applying, 0));
    story.word("In-Sync", 5);
    assert_eq!(story.phase(), SyncPhase::InSync);
}

#[test]
fn what_a_person_requests_does_not_wait_for_earlier_attempts() {
    let mut story = Story::new();
    story.pass_answered(&[seen("a", "Error-Sync", 0)], 0, &ApplyResult::Busy);
    story.requested_at = Some("now".into());
    let mut modifying = observation(Some("Error-Sync"), 2);
    modifying.state = Some("Modifying".into());
    story.pass(&[observed("a", ClusterObservation::Read(modifying))], 2);
    assert_eq!(story.word("Error-Sync", 4).applies.len(), 1, "also in a later pass, well within initialBackoff");
}

#[test]
fn nothing_is_asked_while_the_cluster_is_not_running() {
    for state in [Some("Modifying"), Some("Scaling(vertical)"), None] {
        let mut story = Story::new();
        let mut observation = observation(Some("Error-Sync"), 0);
        observation.state = state.map(str::to_owned);
        let plan = story.pass(&[observed("a", ClusterObservation::Read(observation))], 0);
        assert!(plan.applies.is_empty());
        assert_eq!((story.phase(), reason(&plan.status, READY)), (SyncPhase::Waiting, "Waiting"));
        assert!(message(&plan.status, READY).contains("once it is Running"), "{}", message(&plan.status, READY));
        assert_eq!(plan.requeue_after, Duration::from_secs(60));
    }
    let mut story = Story::new();
    let mut running = observation(Some("Error-Sync"), 0);
    running.state = Some("RUNNING".into());
    assert_eq!(story.pass(&[observed("a", ClusterObservation::Read(running))], 0).applies.len(), 1);
}

#[test]
fn an_attempt_is_not_judged_while_the_cloud_works_on_the_cluster() {
    let mut story = accepted();
    let mut modifying = observation(Some("Error-Sync"), 60);
    modifying.state = Some("Modifying".into());
    story.pass(&[observed("a", ClusterObservation::Read(modifying.clone()))], 60);
    assert_eq!(story.phase(), SyncPhase::Applying);
    modifying.observed_at = at(1800);
    story.pass(&[observed("a", ClusterObservation::Read(modifying))], 1800);
    assert_eq!(story.phase(), SyncPhase::BackingOff, "but not for ever");
}

#[test]
fn a_status_that_does_not_move_is_retried_after_stuck_after() {
    for word in [Some("Applying"), Some("Pending"), None] {
        let mut story = Story::new();
        let read = |second| [observed("a", ClusterObservation::Read(observation(word, second)))];
        story.pass(&read(0), 0);
        let plan = story.pass(&read(1790), 1790);
        assert!(plan.applies.is_empty());
        assert_eq!(plan.requeue_after, Duration::from_secs(10), "{word:?}");
        assert!(story.pass(&read(1799), 1805).applies.is_empty(), "what was read last says nothing about now");
        story.pass_answered(&read(1800), 1810, &ApplyResult::Accepted);
        assert_eq!(story.entry("a").attempts, 1, "{word:?}");
        story.pass(&read(3609), 3609);
        assert_eq!(story.phase(), SyncPhase::Applying, "the attempt has its own stuckAfter");
        story.pass(&read(3610), 3610);
        assert_eq!(story.phase(), SyncPhase::BackingOff);
        assert!(story.entry("a").last_error.as_ref().unwrap().message.starts_with("The sync status has been "));
    }
}

#[test]
fn busy_is_no_attempt() {
    let mut story = Story::new();
    let recorded = story.pass_answered(&[seen("a", "Error-Sync", 0)], 0, &ApplyResult::Busy);
    assert!(recorded.events.is_empty());
    let entry = story.entry("a").clone();
    assert_eq!((entry.attempts, entry.phase, entry.last_error), (0, SyncPhase::Waiting, None));
    let next = entry.next_attempt_time.unwrap().0;
    assert!(next >= at(24) && next <= at(37), "{next}");
    assert!(story.word("Error-Sync", 20).applies.is_empty());
    assert!(message(story.status.as_ref().unwrap(), READY).contains("can be applied again at"));
    for again in 1..=10 {
        story.pass_answered(&[seen("a", "Error-Sync", again * 100)], again * 100, &ApplyResult::Busy);
        assert_eq!(story.entry("a").attempts, 0, "busy for ever never gives up");
    }
    assert_eq!(story.word("Error-Sync", 2000).applies[0].attempt, 1);
}

#[test]
fn an_error_backs_off_and_the_last_one_gives_up() {
    let mut story = Story::new();
    story.spec.retry.max_attempts = 2;
    let recorded = story.pass_answered(&[seen("a", "Error-Sync", 0)], 0, &refused());
    assert_eq!(reasons(&recorded), ["ParameterApplyFailed"]);
    assert_eq!((story.phase(), story.entry("a").attempts), (SyncPhase::BackingOff, 1));
    let expected = SyncError { code: Some("500".into()), message: "Internal error".into() };
    assert_eq!(story.entry("a").last_error, Some(expected));
    assert_eq!(
        message(&recorded.status, READY),
        format!(
            "Applying the parameter group to name-a failed (attempt 1 of 2). Internal error. The next attempt is at {}.",
            story.entry("a").next_attempt_time.as_ref().unwrap().0
        )
    );
    let recorded = story.pass_answered(&[seen("a", "Error-Sync", 40)], 40, &refused());
    assert_eq!(reasons(&recorded), ["RetriesExhausted"]);
    assert_eq!((story.phase(), reason(&recorded.status, STALLED)), (SyncPhase::GaveUp, "RetriesExhausted"));
}

#[test]
fn a_request_that_was_never_sent_is_no_attempt_but_a_failure() {
    let mut story = Story::new();
    let unreachable = ApplyResult::NotSent(SyncError { code: None, message: "no connection".into() });
    for pass in 0..10 {
        story.pass_answered(&[seen("a", "Error-Sync", pass * 100)], pass * 100, &unreachable);
        assert_eq!((story.phase(), story.entry("a").attempts), (SyncPhase::BackingOff, 0));
    }
    assert_eq!(story.word("Error-Sync", 2000).applies[0].attempt, 1);
}

/// What was read before the request says nothing new, but the next attempt has its time all the same.
#[test]
fn the_next_attempt_is_not_slept_through() {
    let mut story = Story::new();
    let not_sent = ApplyResult::NotSent(SyncError { code: None, message: "too many".into() });
    story.pass_answered(&[seen("a", "Error-Sync", 0)], 0, &not_sent);
    let next = story.entry("a").next_attempt_time.as_ref().unwrap().0.as_second() - EPOCH;
    for (second, longest) in [(1, next - 1), (11, next - 11), (next, 5), (next + 59, 5)] {
        let plan = story.pass(&[seen("a", "Error-Sync", 0)], second);
        assert!(plan.applies.is_empty(), "what is known is older than the request");
        assert!(plan.requeue_after.as_secs() <= longest.unsigned_abs(), "{second}: {:?}", plan.requeue_after);
    }
    let late = story.pass(&[seen("a", "Error-Sync", 0)], next + 60);
    assert_eq!(late.requeue_after, story.poll, "it cannot be read for so long that the poll has to do");
    assert_eq!(story.pass(&[seen("a", "Error-Sync", next + 60)], next + 60).applies.len(), 1);
}

#[test]
fn a_request_that_failed_and_yet_worked_is_believed() {
    let mut story = Story::new();
    story.pass_answered(&[seen("a", "Error-Sync", 0)], 0, &refused());
    story.word("Applying", 5);
    assert_eq!((story.phase(), story.entry("a").attempts), (SyncPhase::Waiting, 1));
    story.word("In-Sync", 10);
    assert_eq!(story.phase(), SyncPhase::InSync);
}

#[test]
fn a_flapping_status_costs_at_most_one_request_an_initial_backoff() {
    let mut story = Story::new();
    let mut requests = 0;
    for second in (0..300).step_by(5) {
        let word = if second % 10 == 0 { "Error-Sync" } else { "In-Sync" };
        requests += story.word(word, second).applies.len();
    }
    assert!((2..=10).contains(&requests), "{requests} requests in 300 s");
}

#[test]
fn a_crash_between_write_and_request_costs_one_attempt() {
    let mut story = Story::new();
    story.word("Error-Sync", 0);
    assert!(story.word("Error-Sync", 5).applies.is_empty(), "the next process does not know that nothing was sent");
    story.word("Error-Sync", 10);
    assert_eq!((story.phase(), story.entry("a").attempts), (SyncPhase::BackingOff, 1));
}

/// The cluster `a` with this word, and what another object has to do with it.
fn shared(word: &str, second: i64, owner: Option<&str>, requested: Option<i64>) -> [ObservedCluster; 1] {
    let others = OtherSyncs { owner: owner.map(str::to_owned), last_request_at: requested.map(at) };
    [ObservedCluster { others, ..seen("a", word, second) }]
}

#[test]
fn what_another_object_applies_is_only_watched() {
    let mut story = Story::new();
    let plan = story.pass(&shared("Error-Sync", 0, Some("shop/older"), None), 0);
    assert!(plan.applies.is_empty());
    assert_eq!((story.phase(), story.entry("a").applied_by.as_deref()), (SyncPhase::Waiting, Some("shop/older")));
    let status = story.status.clone().unwrap();
    assert_eq!(reason(&status, READY), "Waiting");
    let said = message(&status, READY);
    assert!(said.contains("RedisParameterSync shop/older applies its parameter group"), "{said}");
    story.pass(&shared("In-Sync", 60, Some("shop/older"), None), 60);
    assert_eq!(condition_status(story.status.as_ref().unwrap(), READY), "True");
    story.pass(&[observed("a", ClusterObservation::Pending)], 120);
    assert_eq!(story.entry("a").applied_by, None, "as far as this pass knows");
}

#[test]
fn an_object_that_takes_over_keeps_the_distance_to_the_last_request() {
    let mut story = Story::new();
    story.pass(&shared("Error-Sync", 0, Some("shop/older"), None), 0);
    let soon = story.pass(&shared("Error-Sync", 20, None, Some(10)), 20);
    assert!(soon.applies.is_empty(), "30 s after the other's request");
    assert_eq!(story.entry("a").next_attempt_time.as_ref().unwrap().0, at(40));
    let later = story.pass(&shared("Error-Sync", 40, None, Some(10)), 40);
    assert_eq!(later.applies.len(), 1);
}

/// The other object came and went between two passes of this one, which had planned its next attempt before.
#[test]
fn a_planned_attempt_keeps_the_distance_to_a_request_of_another_object() {
    let mut story = accepted();
    story.word("Error-Sync", 10);
    let planned = story.entry("a").next_attempt_time.as_ref().unwrap().0;
    let requested = planned.as_second() - EPOCH - 1;
    let soon = story.pass(&shared("Error-Sync", requested + 8, None, Some(requested)), requested + 8);
    assert!(soon.applies.is_empty(), "30 s after the other's request");
    assert_eq!(story.entry("a").next_attempt_time.as_ref().unwrap().0, at(requested + 30));
    let later = story.pass(&shared("Error-Sync", requested + 30, None, Some(requested)), requested + 30);
    assert_eq!(later.applies[0].attempt, 2);
}

/// The distance is the cluster's, so a new episode does not shorten it, and planning again says the same.
#[test]
fn a_new_group_keeps_the_distance_to_the_request_of_another_object() {
    let mut story = Story::new();
    story.pass(&shared("Error-Sync", 0, Some("shop/older"), None), 0);
    let mut clusters = shared("Error-Sync", 20, None, Some(10));
    let ClusterObservation::Read(seen) = &mut clusters[0].observation else { unreachable!() };
    seen.group_id = Some("pg-2".into());
    let first = story.pass(&clusters, 20);
    assert!(first.applies.is_empty());
    assert_eq!(story.pass(&clusters, 20).status, first.status);
}

#[test]
fn an_object_that_hands_over_forgets_its_attempts() {
    let mut story = accepted();
    assert_eq!(story.entry("a").attempts_left, Some(2));
    story.pass(&shared("Error-Sync", 60, Some("shop/older"), None), 60);
    let entry = story.entry("a");
    assert_eq!((entry.phase, entry.attempts, entry.attempts_left), (SyncPhase::Waiting, 0, None));
}

#[test]
fn what_cannot_be_read_keeps_its_place() {
    for observation in [ClusterObservation::Pending, unreadable(Reason::CloudUnavailable, "no route to the cloud")] {
        let mut story = accepted();
        story.word("Error-Sync", 10);
        let before = story.entry("a").clone();
        let plan = story.pass(&[observed("a", observation)], 1000);
        assert!(plan.applies.is_empty(), "nothing is requested on old knowledge");
        assert_eq!(story.entry("a"), &before);
        assert_eq!(story.word("Error-Sync", 1001).applies[0].attempt, 2, "and it goes on where it was");
    }
}

#[test]
fn times_of_a_clock_that_was_ahead_do_not_hold_anything_up() {
    let mut story = accepted();
    story.word("Error-Sync", 10);
    let entry = &mut story.status.as_mut().unwrap().clusters[0];
    let future = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(1_000_000));
    entry.next_attempt_time = Some(future.clone());
    entry.last_attempt_time = Some(future.clone());
    entry.sync_status_since = Some(future);
    story.word("Error-Sync", 20);
    assert_eq!(story.entry("a").next_attempt_time.as_ref().unwrap().0, at(620), "maxBackoff from now");
    assert_eq!(story.word("Error-Sync", 620).applies.len(), 1);
}
