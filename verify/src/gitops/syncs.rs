//! How a RedisParameterSync is brought into each state.

use fake_cloud::{Fault, FaultKind, KakaoCluster, Operation};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::environment::{COVERED, FAILING, GitopsEnvironment, merge};
use super::references::{instance, kakao};
use super::setup::{StateSetup, state};
use super::table::ObjectKind::{Reference, Sync};

/// Every state but those for which the operator must not run, or the cloud must fail at a certain moment.
pub(super) const STATES: [StateSetup; 16] = [
    state!(Sync, "in-sync", |environment| with_word(environment, "in-sync", "In-Sync").await),
    state!(Sync, "waiting", |environment| with_word(environment, "waiting", "Pending").await),
    state!(Sync, "not-running", |environment| {
        let cluster = KakaoCluster { status: "Modifying".into(), ..cluster("not-running", "Error-Sync") };
        with_cluster(environment, cluster, json!({})).await
    }),
    state!(Sync, "applying", |environment| {
        let mut cluster = cluster("applying", "Error-Sync");
        cluster.behaviour.apply_seconds = Some(3600);
        with_cluster(environment, cluster, json!({})).await
    }),
    state!(Sync, "backing-off", |environment| refused(environment, "backing-off", 5).await),
    state!(Sync, "gave-up", |environment| refused(environment, "gave-up", 1).await),
    state!(Sync, "not-found", |environment| of_reference(environment, "sync-not-found", "not-found").await),
    state!(Sync, "not-supported", |environment| {
        instance(environment, "3001", "running", 0).await?;
        environment.apply(Sync, "not-supported", json!({ "clusterRef": { "name": "cache-3001" } })).await
    }),
    state!(Sync, "no-reference", |environment| {
        environment.apply(Sync, "no-reference", json!({ "clusterRef": { "name": "no-such-reference" } })).await
    }),
    state!(Sync, "too-many", |environment| {
        for number in 0..=COVERED {
            let id = format!("too-many-{number}");
            let cluster = KakaoCluster::instance_set(&id, &id);
            environment
                .cloud()
                .add_kakao_cluster(KakaoCluster { parameter_group_id: Some("too-many".into()), ..cluster })?;
        }
        let group = json!({ "id": "too-many", "credentialsSecretRef": { "name": "kakaocloud" } });
        environment.apply(Sync, "too-many", json!({ "parameterGroup": { "kakaoCloud": group } })).await
    }),
    state!(Sync, "no-clusters", |environment| {
        let selector = json!({ "matchLabels": { "tier": "none" } });
        environment.apply(Sync, "no-clusters", json!({ "clusterSelector": selector })).await
    }),
    state!(Sync, "no-secret", |environment| {
        let group = json!({ "name": "shop-defaults", "credentialsSecretRef": { "name": "no-such-secret" } });
        environment.apply(Sync, "no-secret", json!({ "parameterGroup": { "kakaoCloud": group } })).await
    }),
    state!(Sync, "unread", |environment| {
        let target = kakao("unread", json!({ "region": FAILING.0 }));
        environment.apply(Reference, "sync-unread", target).await?;
        environment.apply(Sync, "unread", json!({ "clusterRef": { "name": "sync-unread" } })).await
    }),
    state!(Sync, "reference-suspended", |environment| {
        let mut target = kakao("reference-suspended", json!({}));
        merge(&mut target, json!({ "suspend": true }));
        environment.apply(Reference, "sync-reference-suspended", target).await?;
        environment
            .apply(Sync, "reference-suspended", json!({ "clusterRef": { "name": "sync-reference-suspended" } }))
            .await
    }),
    state!(Sync, "suspended", |environment| {
        with_word(environment, "suspended", "In-Sync").await?;
        environment.ready(Sync, "suspended", "True InSync").await?;
        environment.change(Sync, "suspended", json!({ "suspend": true })).await
    }),
    state!(Sync, "suspended-failing", |environment| {
        refused(environment, "suspended-failing", 1).await?;
        environment.ready(Sync, "suspended-failing", "False RetriesExhausted").await?;
        environment.change(Sync, "suspended-failing", json!({ "suspend": true })).await
    }),
];

fn cluster(name: &str, word: &str) -> KakaoCluster {
    let id = format!("sync-{name}");
    KakaoCluster { parameter_group_sync_status: Some(word.to_owned()), ..KakaoCluster::instance_set(&id, name) }
}

async fn with_word(environment: &GitopsEnvironment, name: &str, word: &str) -> anyhow::Result<DynamicObject> {
    with_cluster(environment, cluster(name, word), json!({})).await
}

/// A cluster whose application the cloud refuses.
async fn refused(environment: &GitopsEnvironment, name: &str, max_attempts: u32) -> anyhow::Result<DynamicObject> {
    let kind = FaultKind::Status { code: 500, body: None, content_type: None, retry_after: None };
    let fault = Fault::new(Operation::KakaoParameterGroupApply, kind).target(format!("sync-{name}"));
    environment.cloud().inject(fault)?;
    let retry = json!({ "maxAttempts": max_attempts, "initialBackoff": "1h", "maxBackoff": "1h" });
    with_cluster(environment, cluster(name, "Error-Sync"), json!({ "retry": retry })).await
}

async fn with_cluster(
    environment: &GitopsEnvironment,
    cluster: KakaoCluster,
    more: Value,
) -> anyhow::Result<DynamicObject> {
    let (id, name) = (cluster.object_id.clone(), cluster.name.clone());
    environment.cloud().add_kakao_cluster(cluster)?;
    environment.apply(Reference, &id, kakao(&id, json!({}))).await?;
    let mut spec = json!({ "clusterRef": { "name": id } });
    merge(&mut spec, more);
    environment.apply(Sync, &name, spec).await
}

/// A sync of a reference to `id`, which the cloud may not have.
async fn of_reference(environment: &GitopsEnvironment, id: &str, name: &str) -> anyhow::Result<DynamicObject> {
    environment.apply(Reference, id, kakao(id, json!({}))).await?;
    environment.apply(Sync, name, json!({ "clusterRef": { "name": id } })).await
}
