//! Many objects of one namespace: what they cost together, and what one of them covers.

use fake_cloud::{KakaoCluster, Operation};
use kube::api::ListParams;
use managed_redis_operator::api::parameter_sync::SyncPhase;
use managed_redis_operator::api::{RedisClusterRef, RedisParameterSync};
use serde_json::json;

use crate::support::{BOUND, Env, condition, kakao, parameter_sync};
use crate::syncing::{APPLIED, entry, failing, quick};

/// As many as a status does not show.
const REFERENCES: usize = 21;
const SYNCS: usize = 20;

fn name(number: usize) -> String {
    format!("n-{number:02}")
}

/// So many references to as many clusters, all Ready.
async fn references(env: &Env, count: usize, cluster: impl Fn(String) -> KakaoCluster) {
    for number in 0..count {
        env.clouds().add_kakao_cluster(cluster(name(number))).unwrap();
        let mut object = kakao(&name(number), &name(number));
        object["metadata"]["labels"] = json!({ "tier": "cache" });
        env.create::<RedisClusterRef>(object).await;
    }
    for number in 0..count {
        env.until_condition::<RedisClusterRef>(&name(number), ("Ready", "True", "Running")).await;
    }
}

/// The sum of a counter over its series.
async fn sum(env: &Env, series: &str) -> u64 {
    let (_, metrics) = env.operator().page("/metrics").await;
    let lines = metrics.lines().filter(|line| line.starts_with(series));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// What a reference does that says nothing new of its parameter group is no work for those who follow it.
#[tokio::test]
async fn syncs_of_the_same_references_work_only_for_what_changed() {
    let env = Env::start_with("crowd", &["--poll-interval", "1h"]).await;
    references(&env, REFERENCES, |id| KakaoCluster::instance_set(&id, &id)).await;
    for number in 0..SYNCS {
        env.create::<RedisParameterSync>(parameter_sync(&name(number), json!({ "clusterSelector": {} }))).await;
    }
    for number in 0..SYNCS {
        let shown = env.until_condition::<RedisParameterSync>(&name(number), ("Ready", "True", "InSync")).await;
        let status = shown.status.unwrap();
        assert_eq!(
            (status.clusters.len(), status.total, status.in_sync),
            (0, Some(21), Some(21)),
            "counted, not shown"
        );
    }
    for number in 0..10 {
        env.read_again::<RedisClusterRef>(&name(number)).await;
    }
    // What comes after all of that is handled after it.
    env.create::<RedisParameterSync>(parameter_sync("last", json!({ "clusterSelector": {} }))).await;
    env.until_condition::<RedisParameterSync>("last", ("Ready", "True", "InSync")).await;
    let passes = sum(&env, "managed_redis_reconcile_total{controller=\"RedisParameterSync\"").await;
    assert!(passes <= 4 * SYNCS as u64 + 10, "{passes} passes of {SYNCS} syncs");
    // A change that concerns them reaches every one.
    let error = |cluster: &mut KakaoCluster| {
        cluster.status = "Modifying".into();
        cluster.parameter_group_sync_status = Some("Error-Sync".into());
    };
    env.clouds().update_kakao_cluster("n-07", error).unwrap();
    env.read_again::<RedisClusterRef>("n-07").await;
    for number in 0..SYNCS {
        let shown = env.until_condition::<RedisParameterSync>(&name(number), ("Ready", "False", "Waiting")).await;
        assert_eq!(entry(&shown, "n-07").unwrap().phase, SyncPhase::Waiting);
        assert_eq!(shown.status.unwrap().clusters.len(), 1);
    }
}

/// A bound on the clusters of one object, which says so, covers the oldest and heals when there are fewer.
#[tokio::test]
async fn a_sync_of_more_clusters_than_it_covers_says_so() {
    let env = Env::start_with("too-many", &["--max-clusters-per-sync", "3"]).await;
    references(&env, 5, |id| failing(&id, 0)).await;
    let selector = json!({ "clusterSelector": { "matchLabels": { "tier": "cache" } } });
    env.create::<RedisParameterSync>(parameter_sync("all", quick(selector, 3))).await;
    let asked = env.clouds().wait_for_requests(Operation::KakaoParameterGroupApply, 3, BOUND).await;
    assert!(asked, "what is covered is kept in sync: {}", env.operator().tail());
    env.clouds().advance(APPLIED);
    let shown = env
        .read_until("n-00", "all", "three are In-Sync", |sync: &RedisParameterSync| {
            sync.status.as_ref().is_some_and(|status| status.in_sync == Some(3))
        })
        .await;
    let stalled = condition(&shown, "Stalled").unwrap();
    let said = "5 clusters are selected, but one RedisParameterSync keeps at most 3 in sync: 2 of them are left out. Split it into \
                several, each with a clusterSelector for a part of them. 3 of 5 clusters are In-Sync.";
    assert_eq!((stalled.reason.as_str(), stalled.message.as_str()), ("TooManyClusters", said));
    assert!(condition(&shown, "Reconciling").is_none());
    assert_eq!(shown.status.unwrap().total, Some(5));
    let applied: Vec<String> = env.clouds().all_applies().into_keys().collect();
    let mut all = env.api::<RedisClusterRef>().list(&ListParams::default()).await.unwrap().items;
    all.sort_by_key(|reference| (reference.metadata.creation_timestamp.clone(), reference.metadata.name.clone()));
    let oldest = all.iter().take(3).map(|reference| reference.metadata.name.clone().unwrap());
    let mut oldest: Vec<String> = oldest.collect();
    oldest.sort();
    assert_eq!(applied, oldest);
    for reference in &all[3..] {
        let name = reference.metadata.name.as_deref().unwrap();
        env.merge::<RedisClusterRef>(name, json!({ "metadata": { "labels": { "tier": "other" } } })).await;
    }
    let shown = env.until_condition::<RedisParameterSync>("all", ("Ready", "True", "InSync")).await;
    assert!(condition(&shown, "Stalled").is_none(), "it leaves no trace");
    assert_eq!(env.clouds().requests(Operation::KakaoParameterGroupApply), 3);
}
