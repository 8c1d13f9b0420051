//! What the cloud can answer to an application, what the sync status can turn into, and who applies when several could.

use fake_cloud::{Fault, FaultKind, KakaoCluster, Operation, RequestFilter};
use jiff::Timestamp;
use managed_redis_operator::api::parameter_sync::{ClusterSync, SyncPhase};
use managed_redis_operator::api::{RedisClusterRef, RedisParameterSync};
use serde_json::{Value, json};

use crate::support::{BOUND, Env, condition, kakao, parameter_sync};
use crate::syncing::{APPLIED, attempt, by_ref, entry, failing, quick};

const APPLY: Operation = Operation::KakaoParameterGroupApply;

fn answer(code: u16, body: &str) -> FaultKind {
    FaultKind::Status {
        code,
        body: Some(body.to_owned()),
        content_type: Some("application/json".to_owned()),
        retry_after: None,
    }
}

/// A KakaoCloud error body.
fn error(code: u16, message: &str) -> FaultKind {
    answer(code, &json!({ "error": { "code": code, "message": message } }).to_string())
}

/// One cluster, what its application meets, and what comes of it with a single attempt.
struct Case {
    id: &'static str,
    fault: Fault,
    /// How often the cloud was asked, and how often it did it.
    requests: (u64, u64),
    ends: SyncPhase,
    /// Code and a part of the message of the last error.
    error: Option<(&'static str, &'static str)>,
}

fn cases() -> Vec<Case> {
    use SyncPhase::{GaveUp, InSync};
    let done = |id, kind| Case {
        id,
        fault: Fault::new(APPLY, kind).target(id).execute(true),
        requests: (1, 1),
        ends: InSync,
        error: None,
    };
    let refused = |id, kind, code, message| Case {
        id,
        fault: Fault::new(APPLY, kind).target(id),
        requests: (1, 0),
        ends: GaveUp,
        error: Some((code, message)),
    };
    let after_one = |id, kind| Case {
        id,
        fault: Fault::new(APPLY, kind).target(id).times(1),
        requests: (2, 1),
        ends: InSync,
        error: None,
    };
    vec![
        done("answers-200", answer(200, r#"{"objectId":"answers-200"}"#)),
        done("answers-200-empty", answer(200, "")),
        done("answers-202", answer(202, "{}")),
        done("answers-204", answer(204, "")),
        refused("answers-400", error(400, "the group does not fit the engine"), "400", "does not fit the engine"),
        // Who refuses a credential is not quoted.
        refused("answers-403", error(403, "no role in the project"), "403", "check the role of the credential's owner"),
        refused("answers-404", error(404, "no such cluster"), "404", "no such cluster"),
        refused("answers-500", error(500, "internal"), "500", "internal"),
        // The token is renewed once, within the attempt.
        after_one("answers-401-once", error(401, "token expired")),
        Case {
            requests: (2, 0),
            ..refused("answers-401", error(401, "token expired"), "401", "the token was not accepted")
        },
        // Busy is no attempt.
        after_one("answers-409", error(409, "another task runs")),
        // Nobody knows what came of it: the attempt counts, and the sync status has the last word.
        Case {
            fault: Fault::new(APPLY, FaultKind::DropAfter).target("breaks-off"),
            ..done("breaks-off", FaultKind::DropAfter)
        },
    ]
}

fn group(name: &str) -> Value {
    json!({ "parameterGroup": { "kakaoCloud": { "name": name, "credentialsSecretRef": { "name": "kakaocloud" } } } })
}

#[tokio::test]
async fn every_answer_to_an_application_has_its_outcome() {
    let env = Env::start("answers").await;
    for case in cases() {
        env.clouds().inject(case.fault).unwrap();
        env.clouds().add_kakao_cluster(failing(case.id, 0)).unwrap();
    }
    env.create::<RedisClusterRef>(kakao("any", "answers-200")).await;
    env.create::<RedisParameterSync>(parameter_sync("all", quick(group("shop-defaults"), 1))).await;
    for case in cases() {
        let filter = || RequestFilter::from(APPLY).target(case.id);
        let made = env.clouds().wait_until(BOUND, |clouds| clouds.requests(filter()) >= case.requests.0).await;
        assert!(made, "{}: it is asked; the operator's log ends with\n{}", case.id, env.operator().tail());
    }
    env.clouds().advance(APPLIED);
    let settled = env
        .read_until("any", "all", "every case has its phase", |sync: &RedisParameterSync| {
            cases().iter().all(|case| entry(sync, case.id).is_some_and(|entry| entry.phase == case.ends))
        })
        .await;
    for case in cases() {
        let found = entry(&settled, case.id).unwrap();
        let told = found.last_error.as_ref().map(|error| (error.code.as_deref().unwrap_or("none"), &error.message));
        match (&case.error, told) {
            (None, None) => assert_eq!((found.attempts, found.attempts_left), (0, None), "{}", case.id),
            (Some((code, part)), Some((told, message))) => {
                assert!(told == *code && message.contains(part), "{}: {told}: {message}", case.id);
                assert_eq!((found.attempts, found.attempts_left), (1, Some(0)), "{}", case.id);
            }
            other => panic!("{}: {other:?}", case.id),
        }
        let asked = env.clouds().requests(RequestFilter::from(APPLY).target(case.id));
        assert_eq!((asked, env.clouds().applies(case.id)), case.requests, "{}", case.id);
    }
    assert_eq!(condition(&settled, "Stalled").unwrap().reason, "RetriesExhausted");
}

#[tokio::test]
async fn a_429_holds_the_attempt_back_and_does_not_use_it_up() {
    let env = Env::start("slow-down").await;
    let slow_down = FaultKind::TooManyRequests { retry_after_seconds: Some(1), error_code: None };
    env.clouds().inject(Fault::new(APPLY, slow_down).times(1)).unwrap();
    env.clouds().add_kakao_cluster(failing("set-1", 0)).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.create::<RedisParameterSync>(parameter_sync("carts", quick(by_ref("carts"), 1))).await;
    attempt(&env, "set-1", 1).await;
    let synced = env
        .read_until("carts", "carts", "In-Sync", |sync: &RedisParameterSync| {
            condition(sync, "Ready").is_some_and(|ready| ready.status == "True")
        })
        .await;
    assert_eq!(entry(&synced, "set-1").unwrap().last_error, None);
    let times: Vec<Timestamp> = applications(&env);
    let gap = times[1].duration_since(times[0]);
    assert!(times.len() == 2 && gap.as_millis() >= 1000, "Retry-After is obeyed: {gap:?}");
}

/// When the cloud was asked for applications.
fn applications(env: &Env) -> Vec<Timestamp> {
    let recent = env.clouds().recent_requests();
    recent.iter().filter(|request| request.operation == APPLY).map(|request| request.time).collect()
}

#[tokio::test]
async fn a_cluster_that_goes_away_is_not_found_and_comes_back() {
    let env = Env::start("goes-away").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.create::<RedisParameterSync>(parameter_sync("carts", quick(by_ref("carts"), 3))).await;
    env.until_condition::<RedisParameterSync>("carts", ("Ready", "True", "InSync")).await;
    let gone = env.clouds().remove_kakao_cluster("set-1").unwrap();
    env.read_again::<RedisClusterRef>("carts").await;
    let shown = env.until_condition::<RedisParameterSync>("carts", ("Stalled", "True", "ClusterNotFound")).await;
    assert_eq!(entry(&shown, "set-1").unwrap().phase, SyncPhase::NotFound);
    env.clouds().add_kakao_cluster(gone).unwrap();
    env.read_again::<RedisClusterRef>("carts").await;
    env.until_condition::<RedisParameterSync>("carts", ("Ready", "True", "InSync")).await;
}

#[tokio::test]
async fn references_come_and_go() {
    let env = Env::start("come-and-go").await;
    for id in ["a", "b"] {
        env.clouds().add_kakao_cluster(KakaoCluster::instance_set(id, id)).unwrap();
        env.create::<RedisClusterRef>(kakao(id, id)).await;
    }
    env.create::<RedisParameterSync>(parameter_sync("all", quick(json!({ "clusterSelector": {} }), 3))).await;
    let total = |sync: &RedisParameterSync| sync.status.as_ref().and_then(|status| status.total);
    env.until("all", "two", |sync: &RedisParameterSync| total(sync) == Some(2)).await;
    env.api::<RedisClusterRef>().delete("a", &Default::default()).await.unwrap();
    let one = env.until("all", "one", |sync: &RedisParameterSync| total(sync) == Some(1)).await;
    assert!(entry(&one, "a").is_none());
    env.api::<RedisClusterRef>().delete("b", &Default::default()).await.unwrap();
    env.until_condition::<RedisParameterSync>("all", ("Ready", "False", "NoClusters")).await;
}

/// Error-Sync, In-Sync, Error-Sync again, Suspended, a word nobody knows, none at all.
#[tokio::test]
async fn every_word_of_the_sync_status_is_followed() {
    let env = Env::start("words").await;
    env.clouds().add_kakao_cluster(failing("set-1", 0)).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.create::<RedisParameterSync>(parameter_sync("carts", quick(by_ref("carts"), 1))).await;
    let shows = async |what: &str, holds: &dyn Fn(&ClusterSync) -> bool| {
        let is_shown = |sync: &RedisParameterSync| entry(sync, "set-1").is_some_and(holds);
        env.read_until("carts", "carts", what, is_shown).await
    };
    let becomes = async |word: Option<&str>| {
        let word = word.map(str::to_owned);
        env.clouds().update_kakao_cluster("set-1", |cluster| cluster.parameter_group_sync_status = word).unwrap();
        env.read_again::<RedisClusterRef>("carts").await;
    };
    // With one attempt an episode, each of these is a new one, for it was In-Sync in between.
    for (number, word) in (1..).zip(["Error-Sync", "error-sync", "Suspended", "Partial-Sync"]) {
        becomes(Some(word)).await;
        attempt(&env, "set-1", number).await;
        shows("In-Sync", &|entry| entry.phase == SyncPhase::InSync).await;
    }
    becomes(Some("Rebalancing")).await;
    let odd = shows("a new word", &|entry| entry.sync_status.as_deref() == Some("Rebalancing")).await;
    assert_eq!(entry(&odd, "set-1").unwrap().phase, SyncPhase::Waiting);
    let message = &condition(&odd, "Ready").unwrap().message;
    assert_eq!(message, "Waiting for set-1. The sync status of set-1 is Rebalancing.");
    becomes(None).await;
    let none = shows("no word", &|entry| entry.sync_status.is_none()).await;
    assert_eq!(entry(&none, "set-1").unwrap().phase, SyncPhase::Waiting);
    assert_eq!(env.clouds().requests(APPLY), 4, "what is in progress is waited for");
}

/// An application that is rolled back is the same episode: it ends, instead of being applied for ever.
#[tokio::test]
async fn a_group_that_is_rolled_back_every_time_is_given_up() {
    let env = Env::start("rolled-back").await;
    let mut cluster = failing("set-1", 1000);
    cluster.behaviour.apply_failure_status = Some("Suspended".into());
    env.clouds().add_kakao_cluster(cluster).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.create::<RedisParameterSync>(parameter_sync("carts", quick(by_ref("carts"), 3))).await;
    for number in 1..=3 {
        let reached = |_: &RedisParameterSync| env.clouds().applies("set-1") >= number;
        env.read_until("carts", "carts", "the attempt", reached).await;
        env.clouds().advance(APPLIED);
    }
    let stalled = |sync: &RedisParameterSync| condition(sync, "Stalled").is_some();
    let given_up = env.read_until("carts", "carts", "given up", stalled).await;
    let found = entry(&given_up, "set-1").unwrap();
    assert_eq!((found.phase, found.attempts, found.attempts_left), (SyncPhase::GaveUp, 3, Some(0)));
    // A change of the parameter group is another episode.
    env.clouds().update_kakao_cluster("set-1", |cluster| cluster.parameter_group_id = Some("another".into())).unwrap();
    env.read_again::<RedisClusterRef>("carts").await;
    attempt(&env, "set-1", 4).await;
}

#[tokio::test]
async fn of_two_syncs_about_one_cluster_one_applies() {
    let env = Env::start("two-syncs").await;
    env.clouds().add_kakao_cluster(failing("set-1", 1000)).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    // Of the same second, the name decides.
    env.create::<RedisParameterSync>(parameter_sync("first", quick(by_ref("carts"), 1))).await;
    env.create::<RedisParameterSync>(parameter_sync("second", quick(group("shop-defaults"), 1))).await;
    attempt(&env, "set-1", 1).await;
    let stalled = |sync: &RedisParameterSync| condition(sync, "Stalled").is_some();
    env.read_until("carts", "first", "given up", stalled).await;
    let by = format!("{}/first", env.namespace.name());
    let watching = |sync: &RedisParameterSync| {
        entry(sync, "set-1").is_some_and(|entry| entry.applied_by.as_ref() == Some(&by) && entry.attempts == 0)
    };
    let second = env.until("second", "it only watches", watching).await;
    let message = &condition(&second, "Ready").unwrap().message;
    assert!(message.contains(&format!("RedisParameterSync {by} applies its parameter group")), "{message}");
    for _ in 0..2 {
        env.read_again::<RedisClusterRef>("carts").await;
    }
    assert_eq!(env.clouds().requests(APPLY), 1, "one of them");
    env.api::<RedisParameterSync>().delete("first", &Default::default()).await.unwrap();
    attempt(&env, "set-1", 2).await;
    env.read_until("carts", "second", "given up as well", stalled).await;
    assert_eq!(env.clouds().requests(APPLY), 2);
}

/// Many failing clusters at the start: the requests keep to the rate, and what a person changes does not wait behind them.
#[tokio::test]
async fn a_start_with_many_failing_clusters_is_no_storm() {
    const CLUSTERS: usize = 30;
    let env = Env::without_operator("storm").await;
    let name = |number: usize| format!("set-{number:02}");
    for number in 0..CLUSTERS {
        env.clouds().add_kakao_cluster(failing(&name(number), 0)).unwrap();
        env.create::<RedisClusterRef>(kakao(&name(number), &name(number))).await;
        env.create::<RedisParameterSync>(parameter_sync(&name(number), quick(by_ref(&name(number)), 1))).await;
    }
    // Fewer workers than objects that wait for the rate.
    let env = env.with_operator(&["--cloud-qps", "4", "--cloud-burst", "2", "--workers", "4"]).await;
    let begun = env.clouds().wait_until(BOUND, |clouds| clouds.requests(APPLY) >= 2).await;
    assert!(begun, "{}", env.operator().tail());
    let waiting = (0..CLUSTERS).rev().find(|number| env.clouds().applies(&name(*number)) == 0).unwrap();
    env.merge::<RedisParameterSync>(&name(waiting), json!({ "spec": { "suspend": true } })).await;
    env.until_condition::<RedisParameterSync>(&name(waiting), ("Ready", "False", "Suspended")).await;
    let applied = env.clouds().requests(APPLY);
    assert!(applied < CLUSTERS as u64 - 1, "the edit was handled after {applied} of {CLUSTERS} requests");
    let done = env.clouds().wait_until(BOUND, |clouds| clouds.requests(APPLY) >= CLUSTERS as u64 - 1).await;
    assert!(done, "everybody has a turn; {}", env.operator().tail());
    let times = applications(&env);
    let seconds = times[times.len() - 1].duration_since(times[0]).as_secs_f64();
    let most = 4.0 * seconds + 2.0 + 1.0;
    assert!(times.len() as f64 <= most, "{} requests in {seconds:.1} s", times.len());
    assert_eq!(env.clouds().requests(APPLY), CLUSTERS as u64 - 1, "nobody is asked for twice");
}
