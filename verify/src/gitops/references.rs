//! How a RedisClusterRef is brought into each state.

use fake_cloud::{KakaoCluster, NcpInstance};
use serde_json::{Value, json};

use super::environment::{FAILING, GitopsEnvironment, POLL, POWERLESS_SECRET, SILENT_SITE, WRONG_SECRET, merge};
use super::setup::{StateSetup, state};
use super::table::ObjectKind::Reference;

/// Every state but those for which the operator must not run, or the cloud must fail at a certain moment.
pub(super) const STATES: [StateSetup; 14] = [
    state!(Reference, "observing", |environment| {
        let target = ncp("1001", json!({ "site": SILENT_SITE }), "ncp");
        environment.apply(Reference, "observing", target).await
    }),
    state!(Reference, "unread", |environment| {
        environment.apply(Reference, "unread", ncp("1001", json!({ "site": FAILING.1 }), "ncp")).await
    }),
    state!(Reference, "running", |environment| in_state(environment, "running", "Running").await),
    state!(Reference, "progressing", |environment| in_state(environment, "progressing", "Modifying").await),
    state!(Reference, "stopped", |environment| in_state(environment, "stopped", "Stopped").await),
    state!(Reference, "unknown-state", |environment| in_state(environment, "unknown-state", "Meditating").await),
    state!(Reference, "not-found", |environment| {
        environment.apply(Reference, "not-found", kakao("not-found", json!({}))).await
    }),
    state!(Reference, "ambiguous", |environment| {
        for id in ["twin-1", "twin-2"] {
            environment.cloud().add_kakao_cluster(KakaoCluster::instance_set(id, "twin"))?;
        }
        let target = json!({ "clusterName": "twin", "credentialsSecretRef": { "name": "kakaocloud" } });
        environment.apply(Reference, "ambiguous", json!({ "kakaoCloud": target, "pollInterval": POLL })).await
    }),
    state!(Reference, "no-secret", |environment| {
        environment.apply(Reference, "no-secret", ncp("1001", json!({}), "no-such-secret")).await
    }),
    state!(Reference, "rejected", |environment| {
        environment.apply(Reference, "rejected", ncp("1001", json!({}), WRONG_SECRET)).await
    }),
    state!(Reference, "no-permission", |environment| {
        environment.apply(Reference, "no-permission", ncp("1001", json!({}), POWERLESS_SECRET)).await
    }),
    state!(Reference, "map-not-owned", |environment| {
        environment.core("ConfigMap", "somebody-elses", json!({ "data": { "host": "elsewhere" } })).await?;
        environment.cloud().add_kakao_cluster(KakaoCluster::instance_set("map-not-owned", "map-not-owned"))?;
        let mut spec = kakao("map-not-owned", json!({}));
        merge(&mut spec, json!({ "connectionConfigMap": { "name": "somebody-elses" } }));
        environment.apply(Reference, "map-not-owned", spec).await
    }),
    state!(Reference, "map-failed", |environment| {
        // One that comes back from a backup, and that nobody may change.
        let metadata = json!({
            "name": "map-failed",
            "labels": { "app.kubernetes.io/managed-by": "managed-redis-operator" },
            "annotations": { "managedredis.dev/cluster-ref": "map-failed" },
        });
        let map = json!({ "metadata": metadata, "immutable": true, "data": { "host": "earlier" } });
        environment.core("ConfigMap", "map-failed", map).await?;
        environment.cloud().add_kakao_cluster(KakaoCluster::instance_set("map-failed", "map-failed"))?;
        let mut spec = kakao("map-failed", json!({}));
        merge(&mut spec, json!({ "connectionConfigMap": { "name": "map-failed" } }));
        environment.apply(Reference, "map-failed", spec).await
    }),
    state!(Reference, "suspended", |environment| {
        in_state(environment, "suspended", "Running").await?;
        environment.ready(Reference, "suspended", "True Running").await?;
        environment.apply(Reference, "suspended", suspended("suspended")).await
    }),
];

/// States that need nothing but an object.
pub(super) const PLAIN: [StateSetup; 2] = [
    state!(Reference, "suspended-unread", |environment| {
        environment.apply(Reference, "suspended-unread", suspended("suspended-unread")).await
    }),
    state!(Reference, "unknown-region", |environment| {
        environment
            .apply(Reference, "unknown-region", kakao("unknown-region", json!({ "region": "kr-nowhere-1" })))
            .await
    }),
];

async fn in_state(
    environment: &GitopsEnvironment,
    name: &str,
    state: &str,
) -> anyhow::Result<kube::api::DynamicObject> {
    let cluster = KakaoCluster { status: state.to_owned(), ..KakaoCluster::instance_set(name, name) };
    environment.cloud().add_kakao_cluster(cluster)?;
    environment.apply(Reference, name, kakao(name, json!({}))).await
}

fn suspended(id: &str) -> Value {
    let mut spec = kakao(id, json!({}));
    merge(&mut spec, json!({ "suspend": true }));
    spec
}

/// A reference to a KakaoCloud cluster.
pub(super) fn kakao(id: &str, more: Value) -> Value {
    let mut target = json!({ "clusterID": id, "credentialsSecretRef": { "name": "kakaocloud" } });
    merge(&mut target, more);
    json!({ "kakaoCloud": target, "pollInterval": POLL })
}

/// A reference to an NCP instance.
pub(super) fn ncp(number: &str, more: Value, secret: &str) -> Value {
    let mut target = json!({ "cloudDBInstanceNo": number, "credentialsSecretRef": { "name": secret } });
    merge(&mut target, more);
    json!({ "ncp": target, "pollInterval": POLL })
}

/// An NCP instance that works, with a reference that has read it.
///
/// # Errors
/// When they cannot be made.
pub(super) async fn instance(
    environment: &GitopsEnvironment,
    number: &str,
    state: &str,
    flush_seconds: u32,
) -> anyhow::Result<()> {
    let mut instance = NcpInstance::single(number, format!("cache-{number}"));
    state.clone_into(&mut instance.status_name);
    instance.behaviour.flush_seconds = Some(flush_seconds);
    environment.cloud().add_ncp_instance(instance)?;
    let name = format!("cache-{number}");
    environment.apply(Reference, &name, ncp(number, json!({}), "ncp")).await?;
    environment.seen(&name).await
}
