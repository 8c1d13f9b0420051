//! RedisParameterSync: parameter groups that stay applied, within bounds.

use std::time::Duration;

use fake_cloud::{Fault, FaultKind, KakaoCluster, NcpInstance, Operation};
use managed_redis_operator::api::parameter_sync::{ClusterSync, SyncPhase};
use managed_redis_operator::api::{RedisClusterRef, RedisParameterSync};
use serde_json::{Value, json};

use crate::support::{BOUND, Env, condition, kakao, ncp, parameter_sync};

/// Longer than the stand-in takes to apply a parameter group.
pub(crate) const APPLIED: Duration = Duration::from_secs(10);

pub(crate) fn failing(id: &str, failures: u32) -> KakaoCluster {
    let mut cluster = KakaoCluster::instance_set(id, id);
    cluster.parameter_group_sync_status = Some("Error-Sync".into());
    cluster.behaviour.apply_failures = failures;
    cluster
}

/// Retries as quick as the schema allows.
pub(crate) fn quick(target: Value, max_attempts: u32) -> Value {
    let mut spec = target;
    spec["retry"] = json!({ "maxAttempts": max_attempts, "initialBackoff": "1s", "maxBackoff": "1s" });
    spec
}

pub(crate) fn by_ref(name: &str) -> Value {
    json!({ "clusterRef": { "name": name } })
}

pub(crate) fn entry<'a>(sync: &'a RedisParameterSync, id: &str) -> Option<&'a ClusterSync> {
    sync.status.as_ref()?.clusters.iter().find(|cluster| cluster.id == id)
}

fn counts(sync: &RedisParameterSync) -> (Option<i32>, Option<i32>, Option<i32>) {
    sync.status.as_ref().map_or((None, None, None), |status| (status.total, status.in_sync, status.failing))
}

/// The attempt is made, and the cloud is done with it.
pub(crate) async fn attempt(env: &Env, id: &str, count: u64) {
    let made = env.clouds().wait_until(BOUND, |clouds| clouds.applies(id) >= count).await;
    assert!(made, "attempt {count} is made; the operator's log ends with\n{}", env.operator().tail());
    env.clouds().advance(APPLIED);
}

#[tokio::test]
async fn a_failed_application_is_tried_again_until_it_holds() {
    let env = Env::start("sync").await;
    env.clouds().add_kakao_cluster(failing("set-1", 1)).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.create::<RedisParameterSync>(parameter_sync("carts", quick(by_ref("carts"), 5))).await;
    attempt(&env, "set-1", 1).await;
    let failed = env
        .read_until("carts", "carts", "the failure", |sync: &RedisParameterSync| {
            entry(sync, "set-1").is_some_and(|entry| entry.last_error.is_some())
        })
        .await;
    let found = entry(&failed, "set-1").unwrap();
    assert_eq!((found.phase, found.attempts), (SyncPhase::BackingOff, 1));
    assert_eq!(found.last_error.as_ref().unwrap().message, "The sync status is Error-Sync after attempt 1");
    assert_eq!(condition(&failed, "Ready").unwrap().reason, "BackingOff");
    assert!(condition(&failed, "Reconciling").is_some() && condition(&failed, "Stalled").is_none());
    attempt(&env, "set-1", 2).await;
    let synced = env
        .read_until("carts", "carts", "Ready", |sync: &RedisParameterSync| {
            condition(sync, "Ready").is_some_and(|ready| ready.status == "True")
        })
        .await;
    assert_eq!(counts(&synced), (Some(1), Some(1), Some(0)));
    let found = entry(&synced, "set-1").unwrap();
    assert_eq!((found.phase, found.attempts, &found.last_error), (SyncPhase::InSync, 0, &None), "attempts are reset");
    assert_eq!(found.sync_status.as_deref(), Some("In-Sync"));
    let types: Vec<&str> =
        synced.status.as_ref().unwrap().conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(types, ["Ready", "Synced"], "no trace");
    assert_eq!(env.clouds().applies("set-1"), 2);
}

#[tokio::test]
async fn it_gives_up_after_the_last_attempt_until_it_is_asked_again() {
    let env = Env::start("give-up").await;
    env.clouds().add_kakao_cluster(failing("set-1", 1000)).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.create::<RedisParameterSync>(parameter_sync("carts", quick(by_ref("carts"), 2))).await;
    let gives_up = async |attempts: [u64; 2]| {
        for number in attempts {
            env.read_until("carts", "carts", "the attempt", |_: &RedisParameterSync| {
                env.clouds().applies("set-1") >= number
            })
            .await;
            env.clouds().advance(APPLIED);
        }
        env.read_until("carts", "carts", "Stalled", |sync: &RedisParameterSync| condition(sync, "Stalled").is_some())
            .await
    };
    let stalled = gives_up([1, 2]).await;
    assert_eq!(condition(&stalled, "Stalled").unwrap().reason, "RetriesExhausted");
    let message = &condition(&stalled, "Ready").unwrap().message;
    assert!(message.starts_with("Gave up on set-1 after 2 attempts. The sync status is Error-Sync"), "{message}");
    assert!(message.contains("managedredis.dev/reconcile-requested-at"), "{message}");
    let found = entry(&stalled, "set-1").unwrap();
    assert_eq!((found.phase, found.attempts), (SyncPhase::GaveUp, 2));
    assert_eq!(counts(&stalled), (Some(1), Some(0), Some(1)));
    for _ in 0..3 {
        env.read_again::<RedisClusterRef>("carts").await;
    }
    assert_eq!(env.clouds().applies("set-1"), 2, "exactly maxAttempts");
    env.ask_again::<RedisParameterSync>("carts").await;
    let stalled = gives_up([3, 4]).await;
    assert_eq!(entry(&stalled, "set-1").unwrap().attempts, 2, "a new episode");
    assert_eq!(env.clouds().applies("set-1"), 4);
}

#[tokio::test]
async fn a_selector_covers_the_references_with_its_labels() {
    let env = Env::start("selector").await;
    for (id, labels) in [("a", "shop"), ("b", "shop"), ("c", "bank")] {
        env.clouds().add_kakao_cluster(failing(id, 0)).unwrap();
        let mut object = kakao(id, id);
        object["metadata"]["labels"] = json!({ "team": labels });
        env.create::<RedisClusterRef>(object).await;
    }
    let spec = quick(json!({ "clusterSelector": { "matchLabels": { "team": "shop" } } }), 3);
    env.create::<RedisParameterSync>(parameter_sync("shop", spec)).await;
    attempt(&env, "a", 1).await;
    attempt(&env, "b", 1).await;
    let synced = env
        .read_until("a", "shop", "both In-Sync", |sync: &RedisParameterSync| {
            condition(sync, "Ready").is_some_and(|ready| ready.status == "True")
        })
        .await;
    assert_eq!(counts(&synced), (Some(2), Some(2), Some(0)));
    assert_eq!(condition(&synced, "Ready").unwrap().message, "All 2 clusters are In-Sync.");
    assert_eq!(env.clouds().all_applies(), [("a".to_owned(), 1), ("b".to_owned(), 1)].into());
    // A label makes one more.
    env.merge::<RedisClusterRef>("c", json!({ "metadata": { "labels": { "team": "shop" } } })).await;
    attempt(&env, "c", 1).await;
    env.until("shop", "three", |sync: &RedisParameterSync| counts(sync).0 == Some(3)).await;
}

#[tokio::test]
async fn a_group_covers_clusters_that_nobody_refers_to() {
    let env = Env::start("group").await;
    // The list does not show the group of a cluster in cluster mode: only reading each of them finds it.
    let mut cluster = KakaoCluster { parameter_group_sync_status: Some("Suspended".into()), ..failing("x", 0) };
    (cluster.cluster_enabled, cluster.shard_count) = (true, 3);
    let other = KakaoCluster { parameter_group_name: Some("another".into()), ..failing("y", 0) };
    for cluster in [cluster, other, KakaoCluster::instance_set("z", "z")] {
        env.clouds().add_kakao_cluster(cluster).unwrap();
    }
    env.create::<RedisClusterRef>(kakao("any", "z")).await;
    let group = json!({ "name": "shop-defaults", "credentialsSecretRef": { "name": "kakaocloud" } });
    let spec = quick(json!({ "parameterGroup": { "kakaoCloud": group } }), 3);
    env.create::<RedisParameterSync>(parameter_sync("defaults", spec)).await;
    attempt(&env, "x", 1).await;
    let read = async {
        loop {
            env.read_again::<RedisParameterSync>("defaults").await;
        }
    };
    let synced = env.until("defaults", "In-Sync", |sync: &RedisParameterSync| {
        condition(sync, "Ready").is_some_and(|ready| ready.status == "True")
    });
    let synced = tokio::select! { synced = synced => synced, () = read => unreachable!() };
    assert_eq!(counts(&synced), (Some(2), Some(2), Some(0)));
    assert_eq!(env.clouds().all_applies(), [("x".to_owned(), 1)].into(), "another group is none of its business");
}

#[tokio::test]
async fn a_group_without_clusters_says_so_and_finds_the_first() {
    let env = Env::start("no-group").await;
    let group = json!({ "id": "nobody-s", "credentialsSecretRef": { "name": "kakaocloud" } });
    let spec = quick(json!({ "parameterGroup": { "kakaoCloud": group } }), 3);
    env.create::<RedisParameterSync>(parameter_sync("empty", spec)).await;
    let shown = env.until_condition::<RedisParameterSync>("empty", ("Ready", "False", "NoClusters")).await;
    let message = &condition(&shown, "Ready").unwrap().message;
    assert_eq!(message, "KakaoCloud lists no cluster with parameter group nobody-s in kr-central-2.");
    let first = KakaoCluster { parameter_group_id: Some("nobody-s".into()), ..KakaoCluster::instance_set("a", "a") };
    env.clouds().add_kakao_cluster(first).unwrap();
    env.ask_again::<RedisParameterSync>("empty").await;
    env.until_condition::<RedisParameterSync>("empty", ("Ready", "True", "InSync")).await;
}

#[tokio::test]
async fn what_cannot_be_applied_is_said_not_tried() {
    let env = Env::start("unsupported").await;
    env.clouds().add_ncp_instance(NcpInstance::single("882781", "tokens")).unwrap();
    env.create::<RedisClusterRef>(ncp("tokens", "882781")).await;
    env.create::<RedisParameterSync>(parameter_sync("ncp", by_ref("tokens"))).await;
    let shown = env.until_condition::<RedisParameterSync>("ncp", ("Stalled", "True", "NotSupported")).await;
    let message = &condition(&shown, "Ready").unwrap().message;
    assert!(
        message.contains("RedisClusterRef tokens points at NCP, whose API cannot apply parameter groups"),
        "{message}"
    );
    let none = KakaoCluster {
        parameter_group_id: None,
        parameter_group_name: None,
        parameter_group_sync_status: None,
        ..KakaoCluster::instance_set("plain", "plain")
    };
    env.clouds().add_kakao_cluster(none).unwrap();
    env.create::<RedisClusterRef>(kakao("plain", "plain")).await;
    env.create::<RedisParameterSync>(parameter_sync("plain", by_ref("plain"))).await;
    let shown = env.until_condition::<RedisParameterSync>("plain", ("Stalled", "True", "NotSupported")).await;
    assert!(condition(&shown, "Ready").unwrap().message.contains("Cluster plain has no parameter group"));
    env.create::<RedisParameterSync>(parameter_sync("nobody", by_ref("nobody"))).await;
    let shown = env.until_condition::<RedisParameterSync>("nobody", ("Stalled", "True", "ReferenceNotFound")).await;
    let wanted = format!(
        "RedisClusterRef nobody is not in namespace {}. Create it, or correct spec.clusterRef.",
        env.namespace.name()
    );
    assert_eq!(condition(&shown, "Ready").unwrap().message, wanted);
    assert_eq!(env.clouds().requests(Operation::KakaoParameterGroupApply), 0);
}

#[tokio::test]
async fn nothing_is_applied_while_the_cluster_is_not_running() {
    let env = Env::start("not-running").await;
    env.clouds().add_kakao_cluster(KakaoCluster { status: "Modifying".into(), ..failing("set-1", 0) }).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.create::<RedisParameterSync>(parameter_sync("carts", quick(by_ref("carts"), 3))).await;
    let shown = env
        .until("carts", "it was read", |sync: &RedisParameterSync| {
            condition(sync, "Synced").is_some_and(|synced| synced.status == "True")
        })
        .await;
    let message = &condition(&shown, "Ready").unwrap().message;
    assert!(message.contains("set-1 is Modifying; its parameter group is applied once it is Running"), "{message}");
    assert_eq!(entry(&shown, "set-1").unwrap().phase, SyncPhase::Waiting);
    for _ in 0..2 {
        env.read_again::<RedisClusterRef>("carts").await;
    }
    assert_eq!(env.clouds().requests(Operation::KakaoParameterGroupApply), 0);
    env.clouds().update_kakao_cluster("set-1", |cluster| cluster.status = "Running".into()).unwrap();
    env.read_again::<RedisClusterRef>("carts").await;
    attempt(&env, "set-1", 1).await;
}

#[tokio::test]
async fn busy_is_no_attempt() {
    let env = Env::start("busy").await;
    let busy = FaultKind::Status {
        code: 409,
        body: Some(r#"{"error":{"code":409,"message":"another task runs"}}"#.to_owned()),
        content_type: Some("application/json".to_owned()),
        retry_after: None,
    };
    env.clouds().inject(Fault::new(Operation::KakaoParameterGroupApply, busy).times(2)).unwrap();
    env.clouds().add_kakao_cluster(failing("set-1", 0)).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    // With a single attempt, a counted 409 would be the end.
    env.create::<RedisParameterSync>(parameter_sync("carts", quick(by_ref("carts"), 1))).await;
    let made = env.read_until("carts", "carts", "the attempt after two refusals", |sync: &RedisParameterSync| {
        entry(sync, "set-1").is_some_and(|entry| entry.attempts == 1 && entry.phase == SyncPhase::Applying)
            && env.clouds().applies("set-1") == 1
    });
    let made = made.await;
    assert!(condition(&made, "Stalled").is_none());
    assert_eq!(env.clouds().requests(Operation::KakaoParameterGroupApply), 3);
}

#[tokio::test]
async fn a_suspended_sync_applies_nothing_until_it_is_resumed() {
    let env = Env::start("sync-suspend").await;
    env.clouds().add_kakao_cluster(failing("set-1", 0)).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    let mut spec = quick(by_ref("carts"), 3);
    spec["suspend"] = json!(true);
    env.create::<RedisParameterSync>(parameter_sync("carts", spec)).await;
    env.until_condition::<RedisParameterSync>("carts", ("Ready", "False", "Suspended")).await;
    for _ in 0..2 {
        env.read_again::<RedisClusterRef>("carts").await;
    }
    assert_eq!(env.clouds().requests(Operation::KakaoParameterGroupApply), 0);
    env.merge::<RedisParameterSync>("carts", json!({ "spec": { "suspend": false } })).await;
    attempt(&env, "set-1", 1).await;
}

/// Attempts are counted in the status before the cloud is asked, so a crash cannot make one too many.
#[tokio::test]
async fn an_operator_that_dies_in_an_attempt_does_not_repeat_it_at_once() {
    let env = Env::without_operator("sync-crash").await;
    let hang = Fault::new(Operation::KakaoParameterGroupApply, FaultKind::Hang).execute(true);
    env.clouds().inject(hang).unwrap();
    env.clouds().add_kakao_cluster(failing("set-1", 1000)).unwrap();
    let first = env.spawn(&[]);
    first.ready().await;
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.create::<RedisParameterSync>(parameter_sync("carts", quick(by_ref("carts"), 1))).await;
    let asked = env.clouds().wait_for_requests(Operation::KakaoParameterGroupApply, 1, BOUND).await;
    assert!(asked, "{}", first.tail());
    drop(first);
    env.clouds().clear_faults();
    env.clouds().advance(APPLIED);
    let second = env.spawn(&[]);
    second.ready().await;
    let stalled = env
        .read_until("carts", "carts", "the only attempt is known to have failed", |sync: &RedisParameterSync| {
            condition(sync, "Stalled").is_some()
        })
        .await;
    assert_eq!(condition(&stalled, "Stalled").unwrap().reason, "RetriesExhausted");
    assert_eq!(entry(&stalled, "set-1").unwrap().attempts, 1);
    assert_eq!(env.clouds().requests(Operation::KakaoParameterGroupApply), 1);
}
