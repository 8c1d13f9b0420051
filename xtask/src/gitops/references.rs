//! How a RedisClusterRef is brought into each state.

use fake_cloud::{KakaoCluster, NcpInstance};
use serde_json::{Value, json};

use super::scenes::{Scene, scene};
use super::table::Kind::Reference;
use super::world::{FAILING, POLL, POWERLESS_SECRET, SILENT_SITE, WRONG_SECRET, World, WorldError, merge};

/// Every state but those for which the operator must not run, or the cloud must fail at a certain moment.
pub const SCENES: [Scene; 14] = [
    scene!(Reference, "observing", |world| {
        let target = ncp("1001", json!({ "site": SILENT_SITE }), "ncp");
        world.apply(Reference, "observing", target).await
    }),
    scene!(Reference, "unread", |world| {
        world.apply(Reference, "unread", ncp("1001", json!({ "site": FAILING.1 }), "ncp")).await
    }),
    scene!(Reference, "running", |world| in_state(world, "running", "Running").await),
    scene!(Reference, "progressing", |world| in_state(world, "progressing", "Modifying").await),
    scene!(Reference, "stopped", |world| in_state(world, "stopped", "Stopped").await),
    scene!(Reference, "unknown-state", |world| in_state(world, "unknown-state", "Meditating").await),
    scene!(Reference, "not-found", |world| {
        world.apply(Reference, "not-found", kakao("not-found", json!({}))).await
    }),
    scene!(Reference, "ambiguous", |world| {
        for id in ["twin-1", "twin-2"] {
            world.cloud().add_kakao_cluster(KakaoCluster::instance_set(id, "twin"))?;
        }
        let target = json!({ "clusterName": "twin", "credentialsSecretRef": { "name": "kakaocloud" } });
        world.apply(Reference, "ambiguous", json!({ "kakaoCloud": target, "pollInterval": POLL })).await
    }),
    scene!(Reference, "no-secret", |world| {
        world.apply(Reference, "no-secret", ncp("1001", json!({}), "no-such-secret")).await
    }),
    scene!(Reference, "rejected", |world| {
        world.apply(Reference, "rejected", ncp("1001", json!({}), WRONG_SECRET)).await
    }),
    scene!(Reference, "no-permission", |world| {
        world.apply(Reference, "no-permission", ncp("1001", json!({}), POWERLESS_SECRET)).await
    }),
    scene!(Reference, "map-not-owned", |world| {
        world.core("ConfigMap", "somebody-elses", json!({ "data": { "host": "elsewhere" } })).await?;
        world.cloud().add_kakao_cluster(KakaoCluster::instance_set("map-not-owned", "map-not-owned"))?;
        let mut spec = kakao("map-not-owned", json!({}));
        merge(&mut spec, json!({ "connectionConfigMap": { "name": "somebody-elses" } }));
        world.apply(Reference, "map-not-owned", spec).await
    }),
    scene!(Reference, "map-failed", |world| {
        // One that comes back from a backup, and that nobody may change.
        let metadata = json!({
            "name": "map-failed",
            "labels": { "app.kubernetes.io/managed-by": "managed-redis-operator" },
            "annotations": { "managedredis.dev/cluster-ref": "map-failed" },
        });
        let map = json!({ "metadata": metadata, "immutable": true, "data": { "host": "earlier" } });
        world.core("ConfigMap", "map-failed", map).await?;
        world.cloud().add_kakao_cluster(KakaoCluster::instance_set("map-failed", "map-failed"))?;
        let mut spec = kakao("map-failed", json!({}));
        merge(&mut spec, json!({ "connectionConfigMap": { "name": "map-failed" } }));
        world.apply(Reference, "map-failed", spec).await
    }),
    scene!(Reference, "suspended", |world| {
        in_state(world, "suspended", "Running").await?;
        world.ready(Reference, "suspended", "True Running").await?;
        world.apply(Reference, "suspended", suspended("suspended")).await
    }),
];

/// States that need nothing but an object.
pub const PLAIN: [Scene; 2] = [
    scene!(Reference, "suspended-unread", |world| {
        world.apply(Reference, "suspended-unread", suspended("suspended-unread")).await
    }),
    scene!(Reference, "unknown-region", |world| {
        world.apply(Reference, "unknown-region", kakao("unknown-region", json!({ "region": "kr-nowhere-1" }))).await
    }),
];

async fn in_state(world: &World, name: &str, state: &str) -> Result<kube::api::DynamicObject, WorldError> {
    let cluster = KakaoCluster { status: state.to_owned(), ..KakaoCluster::instance_set(name, name) };
    world.cloud().add_kakao_cluster(cluster)?;
    world.apply(Reference, name, kakao(name, json!({}))).await
}

fn suspended(id: &str) -> Value {
    let mut spec = kakao(id, json!({}));
    merge(&mut spec, json!({ "suspend": true }));
    spec
}

/// A reference to a KakaoCloud cluster.
pub fn kakao(id: &str, more: Value) -> Value {
    let mut target = json!({ "clusterID": id, "credentialsSecretRef": { "name": "kakaocloud" } });
    merge(&mut target, more);
    json!({ "kakaoCloud": target, "pollInterval": POLL })
}

/// A reference to an NCP instance.
pub fn ncp(number: &str, more: Value, secret: &str) -> Value {
    let mut target = json!({ "cloudDBInstanceNo": number, "credentialsSecretRef": { "name": secret } });
    merge(&mut target, more);
    json!({ "ncp": target, "pollInterval": POLL })
}

/// An NCP instance that works, with a reference that has read it.
///
/// # Errors
/// When they cannot be made.
pub async fn instance(world: &World, number: &str, state: &str, flush_seconds: u32) -> Result<(), WorldError> {
    let mut instance = NcpInstance::single(number, format!("cache-{number}"));
    state.clone_into(&mut instance.status_name);
    instance.behaviour.flush_seconds = Some(flush_seconds);
    world.cloud().add_ncp_instance(instance)?;
    let name = format!("cache-{number}");
    world.apply(Reference, &name, ncp(number, json!({}), "ncp")).await?;
    world.seen(&name).await
}
