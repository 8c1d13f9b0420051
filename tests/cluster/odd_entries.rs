//! One Redis of a list that is not as documented: it keeps its picture and says which field, and no other notices.

use fake_cloud::{Fault, FaultKind, KakaoCluster, NcpInstance, Operation};
use managed_redis_operator::api::RedisClusterRef;
use serde_json::{Map, Value, json};

use crate::support::{Env, condition, kakao, kakao_by_name, ncp, status};

const READY: (&str, &str, &str) = ("Ready", "True", "Running");

fn port(value: Value) -> Map<String, Value> {
    Map::from_iter([("port".to_owned(), value)])
}

async fn is_synced(env: &Env, name: &str) {
    let reference: RedisClusterRef = env.read_again(name).await;
    assert_eq!(condition(&reference, "Synced").unwrap().reason, "ObserveSucceeded", "{name}");
    assert_eq!(condition(&reference, "Ready").unwrap().status, "True", "{name}");
}

#[tokio::test]
async fn an_odd_cluster_keeps_its_picture_and_costs_no_other() {
    let env = Env::start("odd").await;
    for id in ["set-1", "set-2"] {
        env.clouds().add_kakao_cluster(KakaoCluster::instance_set(id, format!("name-of-{id}"))).unwrap();
    }
    env.create::<RedisClusterRef>(kakao("odd", "set-1")).await;
    env.create::<RedisClusterRef>(kakao_by_name("odd-by-name", "name-of-set-1")).await;
    env.create::<RedisClusterRef>(kakao("neighbour", "set-2")).await;
    env.create::<RedisClusterRef>(kakao_by_name("neighbour-by-name", "name-of-set-2")).await;
    for name in ["odd", "odd-by-name", "neighbour", "neighbour-by-name"] {
        env.until_condition::<RedisClusterRef>(name, READY).await;
    }
    let before: RedisClusterRef = env.read_again("odd").await;
    let set =
        |overrides| env.clouds().update_kakao_cluster("set-1", |set| set.behaviour.overrides = overrides).unwrap();
    set(port(json!({ "tcp": 6379 })));
    for name in ["odd", "odd-by-name"] {
        let during: RedisClusterRef = env.read_again(name).await;
        let synced = condition(&during, "Synced").unwrap();
        assert_eq!((synced.status.as_str(), synced.reason.as_str()), ("False", "UnexpectedResponse"));
        assert!(
            synced.message.contains("listClusters") && synced.message.contains("field port: "),
            "{}",
            synced.message
        );
        assert_eq!(condition(&during, "Ready").unwrap().status, "True", "{name}: the last picture stays");
        assert_eq!(status(&during).cluster, status(&before).cluster, "{name}: the last picture stays");
    }
    is_synced(&env, "neighbour").await;
    is_synced(&env, "neighbour-by-name").await;
    // What is only written in another way is no trouble at all.
    set(port(json!("6379")));
    is_synced(&env, "odd").await;
    is_synced(&env, "odd-by-name").await;
    let after: RedisClusterRef = env.read_again("odd").await;
    assert_eq!(status(&after).cluster, status(&before).cluster);
}

#[tokio::test]
async fn a_year_that_no_object_can_hold_costs_that_field() {
    let env = Env::start("year").await;
    let mut cluster = KakaoCluster::instance_set("set-1", "carts");
    cluster.behaviour.overrides.insert("createdAt".to_owned(), json!("-000044-03-15T12:00:00Z"));
    env.clouds().add_kakao_cluster(cluster).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    let carts = env.until_condition::<RedisClusterRef>("carts", READY).await;
    let cluster = status(&carts).cluster.as_ref().unwrap();
    assert_eq!((cluster.id.as_deref(), cluster.created_at.as_ref()), (Some("set-1"), None));
}

#[tokio::test]
async fn an_odd_instance_costs_no_other_and_no_entry_that_cannot_be_read_is_called_absent() {
    let env = Env::start("odd-ncp").await;
    env.clouds().add_ncp_instance(NcpInstance::single("771203", "cart-cache")).unwrap();
    env.create::<RedisClusterRef>(ncp("cart", "771203")).await;
    env.until_condition::<RedisClusterRef>("cart", READY).await;
    let body = json!({ "returnCode": 0, "totalRows": 2, "cloudDBInstanceList": [
        { "cloudDBInstanceNo": "771203", "cloudDBServiceName": "cart-cache", "isHa": "perhaps" },
        { "cloudDBInstanceNo": "771204", "cloudDBServiceName": "other", "cloudDBInstanceStatusName": "running" },
    ] });
    let answer = FaultKind::Status {
        code: 200,
        body: Some(body.to_string()),
        content_type: Some("application/json".to_owned()),
        retry_after: None,
    };
    env.clouds().inject(Fault::new(Operation::NcpInstancesList, answer)).unwrap();
    let cart: RedisClusterRef = env.read_again("cart").await;
    let synced = condition(&cart, "Synced").unwrap();
    assert_eq!((synced.status.as_str(), synced.reason.as_str()), ("False", "UnexpectedResponse"));
    assert!(synced.message.contains("field isHa: "), "{}", synced.message);
    assert_eq!(condition(&cart, "Ready").unwrap().status, "True");
    let mut other = ncp("other", "771204");
    other["spec"]["ncp"] =
        json!({ "cloudDBServiceName": "other", "credentialsSecretRef": other["spec"]["ncp"]["credentialsSecretRef"] });
    env.create::<RedisClusterRef>(other).await;
    let other = env.until("other", "it is read", |reference: &RedisClusterRef| {
        reference.status.as_ref().is_some_and(|status| status.cluster.is_some())
    });
    assert_eq!(condition(&other.await, "Synced").unwrap().reason, "ObserveSucceeded");
}
