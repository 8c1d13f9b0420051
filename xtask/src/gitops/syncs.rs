//! How a RedisParameterSync is brought into each state.

use fake_cloud::{Fault, FaultKind, KakaoCluster, Operation};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::references::{instance, kakao};
use super::scenes::{Scene, scene};
use super::table::Kind::{Reference, Sync};
use super::world::{COVERED, FAILING, World, WorldError, merge};

/// Every state but those for which the operator must not run, or the cloud must fail at a certain moment.
pub const SCENES: [Scene; 16] = [
    scene!(Sync, "in-sync", |world| with_word(world, "in-sync", "In-Sync").await),
    scene!(Sync, "waiting", |world| with_word(world, "waiting", "Pending").await),
    scene!(Sync, "not-running", |world| {
        let cluster = KakaoCluster { status: "Modifying".into(), ..cluster("not-running", "Error-Sync") };
        with_cluster(world, cluster, json!({})).await
    }),
    scene!(Sync, "applying", |world| {
        let mut cluster = cluster("applying", "Error-Sync");
        cluster.behaviour.apply_seconds = Some(3600);
        with_cluster(world, cluster, json!({})).await
    }),
    scene!(Sync, "backing-off", |world| refused(world, "backing-off", 5).await),
    scene!(Sync, "gave-up", |world| refused(world, "gave-up", 1).await),
    scene!(Sync, "not-found", |world| of_reference(world, "sync-not-found", "not-found").await),
    scene!(Sync, "not-supported", |world| {
        instance(world, "3001", "running", 0).await?;
        world.apply(Sync, "not-supported", json!({ "clusterRef": { "name": "cache-3001" } })).await
    }),
    scene!(Sync, "no-reference", |world| {
        world.apply(Sync, "no-reference", json!({ "clusterRef": { "name": "no-such-reference" } })).await
    }),
    scene!(Sync, "too-many", |world| {
        for number in 0..=COVERED {
            let id = format!("too-many-{number}");
            let cluster = KakaoCluster::instance_set(&id, &id);
            world.cloud().add_kakao_cluster(KakaoCluster { parameter_group_id: Some("too-many".into()), ..cluster })?;
        }
        let group = json!({ "id": "too-many", "credentialsSecretRef": { "name": "kakaocloud" } });
        world.apply(Sync, "too-many", json!({ "parameterGroup": { "kakaoCloud": group } })).await
    }),
    scene!(Sync, "no-clusters", |world| {
        let selector = json!({ "matchLabels": { "tier": "none" } });
        world.apply(Sync, "no-clusters", json!({ "clusterSelector": selector })).await
    }),
    scene!(Sync, "no-secret", |world| {
        let group = json!({ "name": "shop-defaults", "credentialsSecretRef": { "name": "no-such-secret" } });
        world.apply(Sync, "no-secret", json!({ "parameterGroup": { "kakaoCloud": group } })).await
    }),
    scene!(Sync, "unread", |world| {
        let target = kakao("unread", json!({ "region": FAILING.0 }));
        world.apply(Reference, "sync-unread", target).await?;
        world.apply(Sync, "unread", json!({ "clusterRef": { "name": "sync-unread" } })).await
    }),
    scene!(Sync, "reference-suspended", |world| {
        let mut target = kakao("reference-suspended", json!({}));
        merge(&mut target, json!({ "suspend": true }));
        world.apply(Reference, "sync-reference-suspended", target).await?;
        world.apply(Sync, "reference-suspended", json!({ "clusterRef": { "name": "sync-reference-suspended" } })).await
    }),
    scene!(Sync, "suspended", |world| {
        with_word(world, "suspended", "In-Sync").await?;
        world.ready(Sync, "suspended", "True InSync").await?;
        world.change(Sync, "suspended", json!({ "suspend": true })).await
    }),
    scene!(Sync, "suspended-failing", |world| {
        refused(world, "suspended-failing", 1).await?;
        world.ready(Sync, "suspended-failing", "False RetriesExhausted").await?;
        world.change(Sync, "suspended-failing", json!({ "suspend": true })).await
    }),
];

fn cluster(name: &str, word: &str) -> KakaoCluster {
    let id = format!("sync-{name}");
    KakaoCluster { parameter_group_sync_status: Some(word.to_owned()), ..KakaoCluster::instance_set(&id, name) }
}

async fn with_word(world: &World, name: &str, word: &str) -> Result<DynamicObject, WorldError> {
    with_cluster(world, cluster(name, word), json!({})).await
}

/// A cluster whose application the cloud refuses.
async fn refused(world: &World, name: &str, max_attempts: u32) -> Result<DynamicObject, WorldError> {
    let kind = FaultKind::Status { code: 500, body: None, content_type: None, retry_after: None };
    let fault = Fault::new(Operation::KakaoParameterGroupApply, kind).target(format!("sync-{name}"));
    world.cloud().inject(fault)?;
    let retry = json!({ "maxAttempts": max_attempts, "initialBackoff": "1h", "maxBackoff": "1h" });
    with_cluster(world, cluster(name, "Error-Sync"), json!({ "retry": retry })).await
}

async fn with_cluster(world: &World, cluster: KakaoCluster, more: Value) -> Result<DynamicObject, WorldError> {
    let (id, name) = (cluster.object_id.clone(), cluster.name.clone());
    world.cloud().add_kakao_cluster(cluster)?;
    world.apply(Reference, &id, kakao(&id, json!({}))).await?;
    let mut spec = json!({ "clusterRef": { "name": id } });
    merge(&mut spec, more);
    world.apply(Sync, &name, spec).await
}

/// A sync of a reference to `id`, which the cloud may not have.
async fn of_reference(world: &World, id: &str, name: &str) -> Result<DynamicObject, WorldError> {
    world.apply(Reference, id, kakao(id, json!({}))).await?;
    world.apply(Sync, name, json!({ "clusterRef": { "name": id } })).await
}
