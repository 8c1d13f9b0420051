//! Objects that the operator cannot read, as after a downgrade or on a cluster with a laxer CRD.

use fake_cloud::{KakaoCluster, Operation};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps};
use kube::Resource;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use managed_redis_operator::api::{RedisClusterRef, RedisFlushRequest, RedisParameterSync, crds};
use serde_json::{Value, json};
use testbed::{ApiServer, Options};

use crate::support::{Env, condition, kakao, until};

/// The CRDs with a spec that takes anything.
fn lax() -> Vec<CustomResourceDefinition> {
    let mut crds = crds();
    for version in crds.iter_mut().flat_map(|crd| &mut crd.spec.versions) {
        let root = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()).unwrap();
        let anything = JSONSchemaProps {
            type_: Some("object".to_owned()),
            x_kubernetes_preserve_unknown_fields: Some(true),
            ..JSONSchemaProps::default()
        };
        root.properties.as_mut().unwrap().insert("spec".to_owned(), anything);
    }
    crds
}

fn objects<K: Resource<DynamicType = ()>>(env: &Env) -> Api<DynamicObject> {
    Api::namespaced_with(env.namespace.client(), env.namespace.name(), &ApiResource::erase::<K>(&()))
}

/// Creates an object with this spec and waits until it is told what is wrong with it.
async fn is_reported<K: Resource<DynamicType = ()>>(env: &Env, name: &str, spec: Value, sentence: &str) {
    let api = objects::<K>(env);
    let kind = K::kind(&());
    let object = json!({
        "apiVersion": "managedredis.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec,
    });
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let conditions = |object: &DynamicObject| object.data["status"]["conditions"].as_array().cloned();
    let told = until(api, name, "conditions", Some(env.operator()), |object| conditions(object).is_some()).await;
    assert_eq!(told.data["status"]["observedGeneration"], 1);
    let conditions = conditions(&told).unwrap();
    let words: Vec<(&str, &str, &str)> = conditions
        .iter()
        .map(|condition| {
            let word = |key: &str| condition[key].as_str().unwrap();
            (word("type"), word("status"), word("reason"))
        })
        .collect();
    assert_eq!(words, [("Ready", "False", "InvalidObject"), ("Stalled", "True", "InvalidObject")], "{kind}");
    let message = conditions[0]["message"].as_str().unwrap();
    assert!(message.contains(sentence), "{kind}: {message}; wanted: {sentence}");
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_told_so_and_costs_nobody_else_anything() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    testbed::crds::install(&server.client().unwrap(), &lax()).await.unwrap();
    let env = Env::on(&server, "invalid").await.with_operator(&[]).await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    let target = json!({ "clusterID": "set-1", "credentialsSecretRef": { "name": "kakaocloud" } });
    let spec = json!({ "kakaoCloud": "a string" });
    is_reported::<RedisClusterRef>(
        &env,
        "wrong-type",
        spec,
        "field spec.kakaoCloud: invalid type: string \"a string\"",
    )
    .await;
    let spec = json!({ "kakaoCloud": target, "pollInterval": "soon" });
    is_reported::<RedisClusterRef>(&env, "wrong-word", spec, "field spec.pollInterval: ").await;
    let spec = json!({ "clusterRef": { "name": "neighbour" }, "retryOn": 5 });
    is_reported::<RedisParameterSync>(&env, "wrong-list", spec, "field spec.retryOn: invalid type: integer `5`").await;
    let spec = json!({ "clusterRef": { "name": "neighbour" } });
    is_reported::<RedisFlushRequest>(&env, "no-confirm", spec, "field spec: missing field `confirm`").await;
    // Neighbours that came before and after are fine, and stay so.
    env.create::<RedisClusterRef>(kakao("neighbour", "set-1")).await;
    env.until_condition::<RedisClusterRef>("neighbour", ("Ready", "True", "Running")).await;
    for word in ["Modifying", "Running"] {
        env.clouds().update_kakao_cluster("set-1", |cluster| cluster.status = word.into()).unwrap();
        let shown: RedisClusterRef = env.read_again("neighbour").await;
        assert_eq!(shown.status.unwrap().state.as_deref(), Some(word));
    }
    assert_eq!(env.clouds().requests(Operation::NcpFlush), 0);
    // Correcting the spec is all it takes.
    let corrected = Patch::Merge(json!({ "spec": { "pollInterval": "60s" } }));
    objects::<RedisClusterRef>(&env).patch("wrong-word", &PatchParams::default(), &corrected).await.unwrap();
    let healed = env.until_condition::<RedisClusterRef>("wrong-word", ("Ready", "True", "Running")).await;
    assert!(condition(&healed, "Stalled").is_none(), "no trace");
    server.stop().await;
}
