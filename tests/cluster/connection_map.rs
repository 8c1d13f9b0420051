//! The ConfigMap from which applications take the connection.

use std::collections::BTreeMap;

use fake_cloud::{Fault, FaultKind, KakaoCluster, NcpInstance, Operation};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::runtime::wait::{await_condition, conditions::is_deleted};
use managed_redis_operator::api::RedisClusterRef;
use managed_redis_operator::controllers::cluster_ref::config_map::object::STALE_SINCE;
use serde_json::{Value, json};

use crate::support::{BOUND, Env, condition, kakao, ncp};

const READY: (&str, &str, &str) = ("Ready", "True", "Running");

fn wanting(mut object: Value, map: &str) -> Value {
    object["spec"]["connectionConfigMap"] = json!({ "name": map });
    object
}

fn data<const N: usize>(pairs: [(&str, &str); N]) -> Option<BTreeMap<String, String>> {
    Some(pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

async fn with_set(prefix: &str) -> Env {
    let env = Env::start(prefix).await;
    let set = KakaoCluster { user_name: "app@shop".into(), ..KakaoCluster::instance_set("set-1", "carts") };
    env.clouds().add_kakao_cluster(set).unwrap();
    env
}

async fn until_deleted(env: &Env, map: &ConfigMap) {
    let (name, uid) = (map.name_any(), map.uid().unwrap());
    let deleted = await_condition(env.api::<ConfigMap>(), &name, is_deleted(&uid));
    tokio::time::timeout(BOUND, deleted).await.expect("it is deleted").unwrap();
}

#[tokio::test]
async fn it_has_what_an_application_needs_and_belongs_to_the_reference() {
    let env = with_set("map").await;
    env.clouds().add_ncp_instance(NcpInstance::single("882760", "tokens")).unwrap();
    let owner = env.create::<RedisClusterRef>(wanting(kakao("carts", "set-1"), "cart-redis")).await;
    env.create::<RedisClusterRef>(wanting(ncp("tokens", "882760"), "token-redis")).await;
    let map = env.until("cart-redis", "it is there", |_: &ConfigMap| true).await;
    let wanted = data([
        ("host", "carts-primary.kr-central-2.memstore.example"),
        ("port", "6379"),
        ("readHost", "carts-read.kr-central-2.memstore.example"),
        ("url", "redis://app%40shop@carts-primary.kr-central-2.memstore.example:6379"),
        ("mode", "Standalone"),
        ("username", "app@shop"),
    ]);
    assert_eq!(map.data, wanted);
    assert_eq!(map.labels()["app.kubernetes.io/managed-by"], "managed-redis-operator");
    let [reference] = map.owner_references() else { panic!("{:?}", map.owner_references()) };
    assert_eq!((&reference.uid, reference.controller), (&owner.uid().unwrap(), Some(true)));
    let map = env.until("token-redis", "it is there", |_: &ConfigMap| true).await;
    let host = "tokens-001.cdb.ncp.example";
    let url = format!("redis://{host}:6379");
    assert_eq!(map.data, data([("host", host), ("port", "6379"), ("url", &url), ("mode", "Standalone")]));
}

#[tokio::test]
async fn it_is_kept_through_an_outage_and_says_that_it_is_stale() {
    let env = with_set("map-stale").await;
    env.create::<RedisClusterRef>(wanting(kakao("carts", "set-1"), "cart-redis")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    let fresh = env.until("cart-redis", "it is there", |_: &ConfigMap| true).await;
    assert!(!fresh.annotations().contains_key(STALE_SINCE));
    env.clouds().inject(Fault::new(Operation::Any, FaultKind::Html)).unwrap();
    let shown: RedisClusterRef = env.read_again("carts").await;
    assert_eq!(condition(&shown, "Synced").unwrap().reason, "UnexpectedResponse");
    let stale =
        env.until("cart-redis", "it is stale", |map: &ConfigMap| map.annotations().contains_key(STALE_SINCE)).await;
    assert_eq!((&stale.data, stale.uid()), (&fresh.data, fresh.uid()), "the same data, the same object");
    env.clouds().clear_faults();
    env.read_again::<RedisClusterRef>("carts").await;
    let healed = env
        .until("cart-redis", "it is fresh again", |map: &ConfigMap| !map.annotations().contains_key(STALE_SINCE))
        .await;
    assert_eq!(healed.data, fresh.data);
}

#[tokio::test]
async fn it_follows_the_endpoint() {
    let env = with_set("map-moves").await;
    env.create::<RedisClusterRef>(wanting(kakao("carts", "set-1"), "cart-redis")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    let moved = |cluster: &mut KakaoCluster| {
        cluster.endpoints.primary_endpoint = "moved.example".into();
        cluster.user_name = "-".into();
    };
    env.clouds().update_kakao_cluster("set-1", moved).unwrap();
    env.read_again::<RedisClusterRef>("carts").await;
    let map = env.api::<ConfigMap>().get("cart-redis").await.unwrap();
    let data = map.data.unwrap();
    assert_eq!((data["url"].as_str(), data.get("username")), ("redis://moved.example:6379", None));
}

#[tokio::test]
async fn one_of_somebody_else_is_left_alone() {
    let env = with_set("map-foreign").await;
    let foreign = ConfigMap {
        metadata: ObjectMeta { name: Some("cart-redis".to_owned()), ..ObjectMeta::default() },
        data: data([("host", "by-hand.example")]),
        ..ConfigMap::default()
    };
    let maps = env.api::<ConfigMap>();
    maps.create(&PostParams::default(), &foreign).await.unwrap();
    env.create::<RedisClusterRef>(wanting(kakao("carts", "set-1"), "cart-redis")).await;
    // The cloud is read all the same.
    let shown = env.until_condition::<RedisClusterRef>("carts", ("Synced", "True", "ObserveSucceeded")).await;
    assert_eq!(condition(&shown, "Ready").unwrap().reason, "ConfigMapNotOwned");
    let stalled = condition(&shown, "Stalled").unwrap();
    assert_eq!(
        stalled.message,
        "ConfigMap cart-redis exists and does not belong to this object, so it is left alone. Delete it, or set \
         spec.connectionConfigMap to another name."
    );
    assert_eq!(maps.get("cart-redis").await.unwrap().data, foreign.data);
    maps.delete("cart-redis", &Default::default()).await.unwrap();
    let shown: RedisClusterRef = env.read_again("carts").await;
    assert_eq!(condition(&shown, "Ready").unwrap().status, "True");
    assert!(condition(&shown, "Stalled").is_none());
    assert!(maps.get("cart-redis").await.unwrap().data.unwrap().contains_key("url"));
}

#[tokio::test]
async fn the_one_of_an_earlier_spec_is_removed() {
    let env = with_set("map-renamed").await;
    env.create::<RedisClusterRef>(wanting(kakao("carts", "set-1"), "old")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    let old = env.until("old", "it is there", |_: &ConfigMap| true).await;
    env.merge::<RedisClusterRef>("carts", json!({ "spec": { "connectionConfigMap": { "name": "new" } } })).await;
    let new = env.until("new", "it is there", |_: &ConfigMap| true).await;
    until_deleted(&env, &old).await;
    env.merge::<RedisClusterRef>("carts", json!({ "spec": { "connectionConfigMap": null } })).await;
    until_deleted(&env, &new).await;
}

/// Each name is given up as soon as its ConfigMap is there, which is before the status remembers it.
#[tokio::test]
async fn none_is_left_behind_however_soon_its_name_is_given_up() {
    let env = with_set("map-hasty").await;
    env.create::<RedisClusterRef>(wanting(kakao("carts", "set-1"), "map-0")).await;
    env.until("map-0", "it is there", |_: &ConfigMap| true).await;
    for number in 1..20 {
        let name = format!("map-{number}");
        env.merge::<RedisClusterRef>("carts", json!({ "spec": { "connectionConfigMap": { "name": name } } })).await;
        env.until(&name, "it is there", |_: &ConfigMap| true).await;
    }
    env.merge::<RedisClusterRef>("carts", json!({ "spec": { "connectionConfigMap": null } })).await;
    let is_settled = |reference: &RedisClusterRef| {
        let status = reference.status.as_ref();
        status.and_then(|status| status.observed_generation) == reference.metadata.generation
    };
    env.until("carts", "it has no ConfigMap any more", is_settled).await;
    let made = ListParams::default().labels("app.kubernetes.io/managed-by=managed-redis-operator");
    let left: Vec<String> =
        env.api::<ConfigMap>().list(&made).await.unwrap().iter().map(|map| map.name_any()).collect();
    assert_eq!(left, [""; 0]);
}

#[tokio::test]
async fn an_operator_that_may_not_make_any_says_so_and_reads_the_cloud_all_the_same() {
    let env = Env::without_operator("map-off").await.with_operator(&["--connection-config-maps=false"]).await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env.create::<RedisClusterRef>(wanting(kakao("carts", "set-1"), "cart-redis")).await;
    let shown = env.until_condition::<RedisClusterRef>("carts", ("Synced", "True", "ObserveSucceeded")).await;
    assert_eq!(condition(&shown, "Ready").unwrap().reason, "ConfigMapsDisabled");
    assert_eq!(condition(&shown, "Stalled").unwrap().reason, "ConfigMapsDisabled");
    assert!(env.api::<ConfigMap>().get_opt("cart-redis").await.unwrap().is_none());
}
