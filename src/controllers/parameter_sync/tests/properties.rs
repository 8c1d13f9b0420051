//! What holds for every sequence of observations, answers and crashes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const IDS: [&str; 3] = ["a", "b", "c"];
const WORDS: [Option<&str>; 7] =
    [Some("In-Sync"), Some("Error-Sync"), Some("error-sync"), Some("Suspended"), Some("Applying"), Some("New"), None];

/// Where the process dies in a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Crash {
    Never,
    BeforeWrite,
    AfterWrite,
    AfterSend,
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum CloudStep {
    Wait(i64),
    Word(usize, Option<&'static str>),
    State(usize, &'static str),
    Group(usize, u8),
    Outage(usize, bool),
    Other(usize, bool),
    OtherAsks(usize),
    Spec,
    Annotation,
    Pass { crash: Crash, answer: ApplyResult, age: i64, jitter: f64 },
}

fn answers() -> impl Strategy<Value = ApplyResult> {
    prop_oneof![
        3 => Just(ApplyResult::Accepted),
        1 => Just(ApplyResult::Busy),
        2 => Just(refused()),
        1 => Just(ApplyResult::NotSent(SyncError { code: None, message: "no connection".into() })),
    ]
}

fn steps() -> impl Strategy<Value = CloudStep> {
    let index = 0..IDS.len();
    prop_oneof![
        4 => (0_i64..120).prop_map(CloudStep::Wait),
        1 => (600_i64..4000).prop_map(CloudStep::Wait),
        4 => (index.clone(), select(WORDS.to_vec())).prop_map(|(index, word)| CloudStep::Word(index, word)),
        1 => (index.clone(), select(vec!["Running", "Modifying"])).prop_map(|(index, word)| CloudStep::State(index, word)),
        1 => (index.clone(), 0_u8..2).prop_map(|(index, group)| CloudStep::Group(index, group)),
        1 => (index.clone(), any::<bool>()).prop_map(|(index, down)| CloudStep::Outage(index, down)),
        1 => (index.clone(), any::<bool>()).prop_map(|(index, applies)| CloudStep::Other(index, applies)),
        1 => index.prop_map(CloudStep::OtherAsks),
        1 => Just(CloudStep::Spec),
        1 => Just(CloudStep::Annotation),
        8 => (
            select(vec![Crash::Never, Crash::Never, Crash::BeforeWrite, Crash::AfterWrite, Crash::AfterSend]),
            answers(),
            select(vec![0_i64, 0, 1, 30]),
            0.0..1.0_f64,
        ).prop_map(|(crash, answer, age, jitter)| CloudStep::Pass { crash, answer, age, jitter }),
    ]
}

/// What the cloud shows of one cluster.
#[derive(Clone, Copy)]
struct CloudCluster {
    word: Option<&'static str>,
    state: &'static str,
    group: u8,
    is_down: bool,
}

impl CloudCluster {
    const BROKEN: Self = Self { word: Some("Error-Sync"), state: "Running", group: 0, is_down: false };

    fn observe(self, now: i64) -> ClusterObservation {
        if self.is_down {
            return unreadable(Reason::CloudUnavailable, "down");
        }
        let mut observation = observation(self.word, now);
        observation.state = Some(self.state.into());
        observation.group_id = Some(format!("pg-{}", self.group));
        ClusterObservation::Read(observation)
    }
}

/// The cloud, the clock, and how often an application of each cluster was requested in its episode.
struct SimulatedCloud {
    story: Story,
    now: i64,
    clusters: [CloudCluster; IDS.len()],
    requests: BTreeMap<&'static str, i32>,
    /// What other objects do.
    others: [OtherSyncs; IDS.len()],
    /// When an application of each cluster was last requested, by this object or another, unless a person requested one since.
    requested_at: BTreeMap<&'static str, i64>,
}

impl SimulatedCloud {
    fn new() -> Self {
        Self {
            story: Story::new(),
            now: 0,
            clusters: [CloudCluster::BROKEN; IDS.len()],
            requests: BTreeMap::new(),
            others: Default::default(),
            requested_at: BTreeMap::new(),
        }
    }

    fn clusters(&self, age: i64) -> Vec<ObservedCluster> {
        let all = IDS.iter().zip(&self.clusters).zip(&self.others);
        all.map(|((id, cluster), others)| ObservedCluster {
            others: others.clone(),
            ..observed(id, cluster.observe(self.now - age))
        })
        .collect()
    }

    fn step(&mut self, step: CloudStep) {
        match step {
            CloudStep::Wait(seconds) => self.now += seconds,
            CloudStep::Word(index, word) => self.clusters[index].word = word,
            CloudStep::State(index, state) => self.clusters[index].state = state,
            CloudStep::Outage(index, down) => self.clusters[index].is_down = down,
            CloudStep::Other(index, applies) => {
                self.others[index].owner = applies.then(|| "shop/older".to_owned());
                self.requests.remove(IDS[index]);
            }
            CloudStep::OtherAsks(index) => {
                // Each object knows of the other's requests, whichever of them applies.
                if self.others[index].owner.is_some() {
                    self.others[index].last_request_at = Some(at(self.now));
                    self.requested_at.insert(IDS[index], self.now);
                }
            }
            CloudStep::Group(index, group) => {
                if self.clusters[index].group != group {
                    self.requests.remove(IDS[index]);
                    self.requested_at.remove(IDS[index]);
                }
                self.clusters[index].group = group;
            }
            CloudStep::Spec => {
                self.story.generation += 1;
                self.requests.clear();
                self.requested_at.clear();
            }
            CloudStep::Annotation => {
                let count = self.story.requested_at.as_ref().map_or(0, |value| value.parse::<u32>().unwrap());
                self.story.requested_at = Some((count + 1).to_string());
                self.requests.clear();
                self.requested_at.clear();
            }
            CloudStep::Pass { crash, answer, age, jitter } => self.pass(crash, &answer, age, jitter),
        }
    }

    fn pass(&mut self, crash: Crash, answer: &ApplyResult, age: i64, jitter: f64) {
        let clusters = self.clusters(age);
        let plan = self.story.plan(Ok(&clusters), self.now);
        check(&plan, self.story.poll);
        if crash == Crash::BeforeWrite {
            return;
        }
        self.story.status = Some(plan.status.clone());
        for id in IDS {
            if self.story.entry(id).phase == SyncPhase::InSync {
                self.requests.remove(id);
            }
        }
        if crash == Crash::AfterWrite {
            return;
        }
        let reached = matches!(answer, ApplyResult::Accepted) || matches!(answer, ApplyResult::Failed(_));
        for apply in &plan.applies {
            let index = IDS.iter().position(|id| *id == apply.id).unwrap();
            let id = IDS[index];
            self.check_request(index);
            self.requested_at.insert(id, self.now);
            *self.requests.entry(id).or_default() += i32::from(reached);
        }
        if crash == Crash::Never {
            let answers: Vec<_> = plan.applies.iter().map(|apply| (apply.id.clone(), answer.clone())).collect();
            let recorded = plan.record(&answers, at(self.now), jitter);
            check(&recorded, self.story.poll);
            self.story.status = Some(recorded.status);
        }
        for (id, requests) in &self.requests {
            let entry = self.story.entry(id);
            assert!(*requests <= entry.attempts, "{id} was asked for {requests} times and counts {entry:?}");
            assert!(entry.attempts <= self.story.spec.retry.max_attempts, "{entry:?}");
        }
    }
}

impl SimulatedCloud {
    /// What holds for every request.
    fn check_request(&self, index: usize) {
        let (id, CloudCluster { word, state, is_down, .. }) = (IDS[index], self.clusters[index]);
        assert!(state == "Running" && !is_down, "{id} is {state}");
        assert_eq!(self.others[index].owner, None, "{id} belongs to another object");
        let entry = self.story.entry(id);
        let since = entry.sync_status_since.as_ref().unwrap().0.as_second() - EPOCH;
        let is_stuck = self.now - since >= 1800;
        let is_retried = word.is_some_and(|word| ["error-sync", "suspended"].contains(&word.to_lowercase().as_str()));
        assert!(is_retried || (is_stuck && word != Some("In-Sync")), "{id} shows {word:?} since {since}");
        if let Some(last) = self.requested_at.get(id) {
            // 20 % of jitter, and times are stored in whole seconds.
            let shortest = Duration::from(self.story.spec.retry.initial_backoff).as_secs_f64() * 0.8 - 1.0;
            let gap = self.now - last;
            assert!(gap as f64 >= shortest, "{id} was asked for again after {gap} s: {entry:?}");
        }
    }
}

/// What holds for every plan.
fn check(plan: &Plan, poll: Duration) {
    let status = &plan.status;
    let (ready, stalled) = (condition_status(status, READY), condition_status(status, STALLED));
    assert!(!(condition_status(status, RECONCILING) == "True" && stalled == "True"));
    assert_ne!(ready, "absent");
    let all = status.total > Some(0) && status.in_sync == status.total;
    assert!(ready != "True" || (all && stalled == "absent" && condition_status(status, RECONCILING) == "absent"));
    assert!(plan.requeue_after >= Duration::from_secs(1) && plan.requeue_after <= poll);
    assert!(plan.applies.len() <= MAX_APPLIES_PER_PASS && status.clusters.len() <= MAX_CLUSTERS_SHOWN);
    for apply in &plan.applies {
        let entry = status.clusters.iter().find(|entry| entry.id == apply.id).unwrap();
        assert_eq!((entry.phase, entry.attempts), (SyncPhase::Applying, apply.attempt));
        assert!(apply.attempt >= 1);
    }
    for entry in &status.clusters {
        if entry.phase == SyncPhase::InSync {
            assert_eq!(entry.sync_status.as_deref(), Some("In-Sync"));
            assert!(entry.attempts == 0 && entry.last_error.is_none(), "{entry:?}");
        }
        assert!(entry.phase != SyncPhase::BackingOff || entry.next_attempt_time.is_some(), "{entry:?}");
        assert!(!matches!(entry.phase, SyncPhase::Applying | SyncPhase::GaveUp) || entry.next_attempt_time.is_none());
    }
    assert!(status.clusters.is_sorted_by_key(|entry| (entry.phase == SyncPhase::InSync, entry.name.clone())));
}

fn without_outages(steps: Vec<CloudStep>) -> Vec<CloudStep> {
    steps.into_iter().filter(|step| !matches!(step, CloudStep::Outage(..))).collect()
}

proptest! {
    #[test]
    fn no_cluster_is_asked_for_more_than_max_attempts_in_an_episode(
        max in 1_i32..5,
        steps in proptest::collection::vec(steps(), 1..120),
    ) {
        let mut cloud = SimulatedCloud::new();
        cloud.story.spec.retry.max_attempts = max;
        for step in steps {
            cloud.step(step);
        }
    }

    #[test]
    fn planning_again_changes_nothing(steps in proptest::collection::vec(steps(), 1..40), age in 0_i64..5) {
        let mut cloud = SimulatedCloud::new();
        for step in steps {
            cloud.step(step);
        }
        let mut clusters = cloud.clusters(age);
        let first = cloud.story.pass(&clusters, cloud.now);
        let again = cloud.story.plan(Ok(&clusters), cloud.now);
        prop_assert_eq!(&again.status, &first.status);
        prop_assert!(again.applies.is_empty() && again.events.is_empty());
        clusters.reverse();
        prop_assert_eq!(&cloud.story.plan(Ok(&clusters), cloud.now).status, &first.status);
    }

    #[test]
    fn nothing_happens_before_the_requeue_unless_something_new_is_seen(
        steps in proptest::collection::vec(steps(), 1..40),
        share in 0.0..1.0_f64,
    ) {
        let mut cloud = SimulatedCloud::new();
        for step in without_outages(steps) {
            cloud.step(step);
        }
        let clusters = cloud.clusters(0);
        let plan = cloud.story.pass(&clusters, cloud.now);
        let earlier = plan.requeue_after.mul_f64(share).as_secs();
        let sooner = cloud.story.plan(Ok(&clusters), cloud.now + i64::try_from(earlier).unwrap());
        if earlier < plan.requeue_after.as_secs() {
            prop_assert_eq!(sooner.status, plan.status);
        }
    }

    #[test]
    fn a_cloud_that_keeps_failing_is_asked_exactly_max_attempts_times(
        max in 1_i32..8,
        initial in 1_u64..100,
        answers in proptest::collection::vec(answers(), 1..30),
    ) {
        let mut cloud = SimulatedCloud::new();
        cloud.story.spec.retry = Retry { max_attempts: max, initial_backoff: seconds(initial), max_backoff: seconds(300) };
        let mut answers = answers.into_iter().chain(std::iter::repeat(ApplyResult::Accepted));
        for _ in 0..2000 {
            let answer = answers.next().unwrap();
            let plan = cloud.story.plan(Ok(&cloud.clusters(0)), cloud.now);
            let wait = plan.requeue_after;
            cloud.pass(Crash::Never, &answer, 0, 0.5);
            cloud.now += i64::try_from(wait.as_secs()).unwrap().max(1);
            if cloud.story.status.as_ref().unwrap().failing == Some(3)
                && IDS.iter().all(|id| cloud.story.entry(id).phase == SyncPhase::GaveUp)
            {
                break;
            }
        }
        for id in IDS {
            prop_assert_eq!(cloud.requests.get(id), Some(&max), "{:?}", cloud.story.entry(id));
        }
        prop_assert_eq!(reason(cloud.story.status.as_ref().unwrap(), STALLED), "RetriesExhausted");
    }

    #[test]
    fn a_cloud_that_works_in_the_end_is_in_sync_in_the_end(
        failures in 0_i32..4,
        busy in 0_usize..4,
        word in select(vec!["Error-Sync", "Suspended", "Partial-Sync"]),
    ) {
        let mut story = Story::new();
        story.spec.retry.max_attempts = 5;
        let (mut now, mut asked, mut shown) = (0, 0, word);
        let mut answers = std::iter::repeat_n(ApplyResult::Busy, busy).chain(std::iter::repeat(ApplyResult::Accepted));
        for _ in 0..500 {
            let plan = story.pass(&[seen("a", shown, now)], now);
            let wait = plan.requeue_after;
            if !plan.applies.is_empty() {
                let answer = answers.next().unwrap();
                asked += i32::from(answer == ApplyResult::Accepted);
                shown = if asked > failures { "In-Sync" } else { word };
                story.status = Some(plan.record(&[("a".into(), answer)], at(now), 0.5).status);
            }
            now += i64::try_from(wait.as_secs()).unwrap().max(1);
        }
        prop_assert_eq!(asked, failures + 1);
        prop_assert_eq!(condition_status(story.status.as_ref().unwrap(), READY), "True");
    }

    #[test]
    fn nothing_is_asked_while_suspended(steps in proptest::collection::vec(steps(), 1..40)) {
        let mut cloud = SimulatedCloud::new();
        for step in steps {
            cloud.step(step);
        }
        cloud.story.spec.suspend = true;
        cloud.story.generation += 1;
        let before = cloud.story.status.clone().unwrap_or_default();
        let plan = cloud.story.plan(Ok(&cloud.clusters(0)), cloud.now);
        prop_assert!(plan.applies.is_empty());
        prop_assert_eq!(plan.status.clusters, before.clusters);
    }

    #[test]
    fn the_backoff_doubles_within_its_bounds(
        attempts in 1_i32..200,
        initial in 1_u64..86_400,
        more in 0_u64..86_400,
        jitter in -1.0..2.0_f64,
    ) {
        let retry = Retry { max_attempts: 5, initial_backoff: seconds(initial), max_backoff: seconds(initial + more) };
        let wait = retry_delay(&retry, attempts, jitter).as_secs_f64();
        let base = (2_f64.powi(attempts - 1) * Duration::from_secs(initial).as_secs_f64())
            .min(Duration::from_secs(initial + more).as_secs_f64());
        prop_assert!(wait >= base * 0.799 && wait <= base * 1.201, "{} for {}", wait, base);
        prop_assert!(wait <= Duration::from_secs(initial + more).as_secs_f64());
    }

    #[test]
    fn no_value_makes_a_plan_panic(
        max in any::<i32>(),
        attempts in any::<i32>(),
        millis in any::<[u64; 3]>(),
        times in any::<[i32; 4]>(),
        jitter in any::<f64>(),
        poll in any::<u64>(),
        word in ".{0,20}",
        text in ".{0,2000}",
    ) {
        let mut story = Story::new();
        let [initial, longest, stuck] = millis.map(|count| SpecDuration::from(Duration::from_millis(count)));
        story.spec.retry = Retry { max_attempts: max, initial_backoff: initial, max_backoff: longest };
        story.spec.stuck_after = stuck;
        story.poll = Duration::from_secs(poll);
        let time = |index: usize| Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(times[index].into())));
        story.status = Some(RedisParameterSyncStatus {
            clusters: vec![ClusterSync {
                id: "a".into(),
                attempts,
                phase: SyncPhase::Applying,
                sync_status_since: time(0),
                last_attempt_time: time(1),
                next_attempt_time: time(2),
                ..Default::default()
            }],
            total: Some(max),
            in_sync: Some(attempts),
            ..Default::default()
        });
        let read = seen("a", &word, times[3].into());
        let unreadable = observed("b", unreadable(Reason::RateLimited, &text));
        let clusters = [read, unreadable, seen("c", "Error-Sync", 0)];
        let plan = story.plan(Ok(&clusters), times[3].into());
        let failed = ApplyResult::NotSent(SyncError { code: Some(text.clone()), message: text });
        let recorded = plan.record(&[("a".into(), failed.clone()), ("c".into(), failed)], Timestamp::MAX, jitter);
        for event in recorded.events {
            prop_assert!(event.message.len() <= 1024);
        }
    }
}

#[test]
fn a_jitter_that_is_no_number_is_the_middle() {
    let retry = spec().retry;
    assert_eq!(retry_delay(&retry, 1, f64::NAN), Duration::from_secs(30));
    assert_eq!(retry_delay(&retry, 1, 0.0), Duration::from_secs(24));
    assert_eq!(retry_delay(&retry, 6, 0.0), Duration::from_secs(480));
    assert_eq!(retry_delay(&retry, 6, 1.0), Duration::from_secs(600));
    assert_eq!(retry_delay(&retry, i32::MAX, 1.0), Duration::from_secs(600));
}
