//! A ConfigMap that cannot be written costs itself: the picture is shown, the conditions say why, and it heals. One that comes back
//! from a backup is taken over again, and nobody else's.

use std::collections::BTreeMap;

use fake_cloud::KakaoCluster;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Resource as _, ResourceExt as _};
use managed_redis_operator::api::{RedisClusterRef, crds};
use managed_redis_operator::controllers::cluster_ref::config_map::object::{ConfigMapError, Write, observe};
use managed_redis_operator::controllers::cluster_ref::config_map::state::{ConfigMapState, ConfigMapWrite};
use serde_json::{Value, json};
use testbed::{ApiServer, Options};

use crate::support::{BOUND, Env, condition, kakao, status};

const READY: (&str, &str, &str) = ("Ready", "True", "Running");
const FAILED: (&str, &str, &str) = ("Ready", "False", "ConfigMapFailed");
const HOST: &str = "carts-primary.kr-central-2.memstore.example";

fn wanting(map: &str) -> Value {
    let mut object = kakao("carts", "set-1");
    object["spec"]["connectionConfigMap"] = json!({ "name": map });
    object
}

async fn with_set(prefix: &str) -> Env {
    let env = Env::start(prefix).await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env
}

/// Waits until the API server refuses to create ConfigMaps in the namespace: its admission reads policies from a cache.
async fn until_refused(env: &Env) {
    let probe: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": "probe" } })).unwrap();
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let maps = env.api::<ConfigMap>();
    let refused = async { while maps.create(&params, &probe).await.is_ok() {} };
    tokio::time::timeout(BOUND, refused).await.expect("ConfigMaps are refused");
}

/// The picture is whole, whatever becomes of the ConfigMap, and the conditions have the API server's sentence.
fn costs_only_itself(shown: &RedisClusterRef, sentence: &str) {
    let picture = status(shown);
    assert_eq!(picture.state.as_deref(), Some("Running"));
    let endpoints = picture.cluster.as_ref().and_then(|cluster| cluster.endpoints.as_ref()).unwrap();
    assert_eq!(endpoints.primary.as_deref(), Some(HOST));
    assert_eq!(condition(shown, "Synced").unwrap().status, "True");
    let stalled = condition(shown, "Stalled").expect("somebody has to act");
    assert_eq!(stalled.reason, "ConfigMapFailed");
    assert!(stalled.message.contains(sentence), "{}; wanted: {sentence}", stalled.message);
    assert!(stalled.message.contains("ConfigMap"), "{}", stalled.message);
}

async fn heals_by_itself(env: &Env, map: &str) {
    let healed = env.until_condition::<RedisClusterRef>("carts", READY).await;
    let types: Vec<&str> = status(&healed).conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(types, ["Ready", "Synced"], "no trace");
    let map = env.until(map, "it is there", |_: &ConfigMap| true).await;
    assert_eq!(map.data.unwrap()["host"], HOST);
}

#[tokio::test]
async fn a_quota_costs_the_map_alone_and_heals_when_it_is_lifted() {
    let env = with_set("map-quota").await;
    let quotas = env.api::<ResourceQuota>();
    let hard = json!({ "count/configmaps": "0" });
    let quota = json!({ "metadata": { "name": "no-maps" }, "spec": { "hard": hard } });
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    let used = json!({ "status": { "hard": hard, "used": { "count/configmaps": "0" } } });
    quotas.patch_status("no-maps", &PatchParams::default(), &Patch::Merge(&used)).await.unwrap();
    until_refused(&env).await;
    env.create::<RedisClusterRef>(wanting("cart-redis")).await;
    let shown = env.until_condition::<RedisClusterRef>("carts", FAILED).await;
    costs_only_itself(&shown, "exceeded quota: no-maps");
    quotas.delete("no-maps", &DeleteParams::default()).await.unwrap();
    heals_by_itself(&env, "cart-redis").await;
}

#[tokio::test]
async fn an_admission_policy_costs_the_map_alone_and_heals_when_it_is_gone() {
    let env = with_set("map-policy").await;
    let name = env.namespace.name();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(env.namespace.client());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(env.namespace.client());
    let policy = json!({
        "metadata": { "name": name },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"],
            }]},
            "validations": [{ "expression": "false", "message": "no map without a cost centre" }],
        },
    });
    let binding = json!({
        "metadata": { "name": name },
        "spec": {
            "policyName": name, "validationActions": ["Deny"],
            "matchResources": { "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } },
        },
    });
    policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    until_refused(&env).await;
    env.create::<RedisClusterRef>(wanting("cart-redis")).await;
    let shown = env.until_condition::<RedisClusterRef>("carts", FAILED).await;
    costs_only_itself(&shown, "no map without a cost centre");
    bindings.delete(name, &DeleteParams::default()).await.unwrap();
    policies.delete(name, &DeleteParams::default()).await.unwrap();
    heals_by_itself(&env, "cart-redis").await;
}

#[tokio::test]
async fn an_immutable_map_costs_itself_and_heals_when_it_is_deleted() {
    let env = with_set("map-immutable").await;
    env.create::<RedisClusterRef>(wanting("cart-redis")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    env.merge::<ConfigMap>("cart-redis", json!({ "immutable": true })).await;
    let moved = |cluster: &mut KakaoCluster| cluster.endpoints.primary_endpoint = "moved.example".into();
    env.clouds().update_kakao_cluster("set-1", moved).unwrap();
    let shown: RedisClusterRef = env.read_again("carts").await;
    let endpoints = status(&shown).cluster.as_ref().unwrap().endpoints.clone().unwrap();
    assert_eq!(endpoints.primary.as_deref(), Some("moved.example"), "the picture goes on");
    let ready = condition(&shown, "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "ConfigMapFailed"));
    assert!(ready.message.contains("immutable"), "{}", ready.message);
    env.api::<ConfigMap>().delete("cart-redis", &DeleteParams::default()).await.unwrap();
    let healed: RedisClusterRef = env.read_again("carts").await;
    assert_eq!(condition(&healed, "Ready").unwrap().status, "True");
    assert_eq!(env.api::<ConfigMap>().get("cart-redis").await.unwrap().data.unwrap()["host"], "moved.example");
}

/// Objects stored before the patterns were as strict: the API server refuses the map, and still takes the status.
#[tokio::test]
async fn a_name_that_no_config_map_can_have_is_told() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let mut lenient = serde_json::to_value(crds()).unwrap();
    forget_patterns(&mut lenient);
    let lenient: Vec<_> = serde_json::from_value(lenient).unwrap();
    testbed::crds::install(&server.client().unwrap(), &lenient).await.unwrap();
    let env = Env::on(&server, "map-name").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env.create::<RedisClusterRef>(wanting("a..b")).await;
    testbed::crds::install(&server.client().unwrap(), &crds()).await.unwrap();
    let env = env.with_operator(&[]).await;
    let shown = env.until_condition::<RedisClusterRef>("carts", FAILED).await;
    costs_only_itself(&shown, "a..b");
    env.merge::<RedisClusterRef>("carts", json!({ "spec": { "connectionConfigMap": { "name": "a.b" } } })).await;
    heals_by_itself(&env, "a.b").await;
}

fn forget_patterns(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|key, value| key != "pattern" || !value.is_string());
            fields.values_mut().for_each(forget_patterns);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_patterns),
        _ => {}
    }
}

fn owner(name: &str, uid: &str) -> Value {
    json!([{
        "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisClusterRef", "name": name, "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// Replaces what a backup tool would bring back otherwise.
async fn restored(env: &Env, metadata: Value, data: Value) -> ConfigMap {
    let manager = PatchParams { field_manager: Some("backup-tool".to_owned()), ..PatchParams::default() };
    let patch = json!({ "metadata": metadata, "data": data });
    env.api::<ConfigMap>().patch("cart-redis", &manager, &Patch::Merge(&patch)).await.unwrap()
}

#[tokio::test]
async fn a_map_that_comes_back_from_a_backup_is_taken_over_again() {
    let env = with_set("map-restore").await;
    let reference = env.create::<RedisClusterRef>(wanting("cart-redis")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    let good = env.api::<ConfigMap>().get("cart-redis").await.unwrap();
    let stale = owner("carts", "11111111-2222-3333-4444-555555555555");
    for owners in [Value::Null, json!([]), stale] {
        restored(&env, json!({ "ownerReferences": owners }), json!({ "host": "old.example", "left": "over" })).await;
        let shown: RedisClusterRef = env.read_again("carts").await;
        assert_eq!(condition(&shown, "Ready").unwrap().reason, "Running", "{owners}");
        let map = env.api::<ConfigMap>().get("cart-redis").await.unwrap();
        let [of] = map.owner_references() else { panic!("{owners}: {:?}", map.owner_references()) };
        assert_eq!((&of.uid, of.controller), (&reference.uid().unwrap(), Some(true)), "{owners}");
        assert_eq!(map.data, good.data, "{owners}: nothing of the backup is left");
        assert_eq!(map.uid(), good.uid(), "{owners}: the same object");
    }
}

#[tokio::test]
async fn a_map_of_another_reference_is_never_taken_over() {
    let env = with_set("map-others").await;
    env.create::<RedisClusterRef>(wanting("cart-redis")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    let cases = [
        json!({ "ownerReferences": owner("orders", "11111111-2222-3333-4444-555555555555") }),
        json!({ "ownerReferences": Value::Null, "labels": { "app.kubernetes.io/managed-by": "somebody" } }),
    ];
    for metadata in cases {
        let before = restored(&env, metadata.clone(), json!({ "host": "theirs.example" })).await;
        let shown: RedisClusterRef = env.read_again("carts").await;
        assert_eq!(condition(&shown, "Ready").unwrap().reason, "ConfigMapNotOwned", "{metadata}");
        let after = env.api::<ConfigMap>().get("cart-redis").await.unwrap();
        assert_eq!(after.resource_version(), before.resource_version(), "{metadata}: it is left alone");
    }
}

/// Between the look and the write another team creates the ConfigMap, changes it, or takes it over: it is theirs.
#[tokio::test]
async fn nothing_is_written_over_what_was_not_seen() {
    let env = Env::without_operator("map-race").await;
    let reference = env.create::<RedisClusterRef>(wanting("cart-redis")).await;
    let maps = env.api::<ConfigMap>();
    let write = |host: &str| ConfigMapWrite { data: [("host".to_owned(), host.to_owned())].into(), stale_since: None };
    let send = |looked, data: &str| Write::new(maps.clone(), &reference, "cart-redis", looked, &write(data)).send();
    let absent = observe(&maps, &reference, "cart-redis").await;
    assert_eq!(absent.state, ConfigMapState::Absent);
    let theirs = json!({ "metadata": { "name": "cart-redis" }, "data": { "host": "theirs.example" } });
    let theirs: ConfigMap = serde_json::from_value(theirs).unwrap();
    let theirs = maps.create(&PostParams::default(), &theirs).await.unwrap();
    assert!(matches!(send(&absent, "ours.example").await, Err(ConfigMapError::Lost)), "it was created meanwhile");
    assert_eq!(maps.get("cart-redis").await.unwrap(), theirs);
    assert_eq!(observe(&maps, &reference, "cart-redis").await.state, ConfigMapState::NotOwned);

    maps.delete("cart-redis", &DeleteParams::default()).await.unwrap();
    send(&absent, "ours.example").await.unwrap();
    let ours = observe(&maps, &reference, "cart-redis").await;
    assert!(matches!(ours.state, ConfigMapState::Owned { intact: true, .. }), "{ours:?}");
    let taken = json!({ "ownerReferences": owner("orders", "11111111-2222-3333-4444-555555555555") });
    let taken = restored(&env, taken, json!({ "host": "taken.example" })).await;
    assert!(matches!(send(&ours, "later.example").await, Err(ConfigMapError::Lost)), "it was taken over meanwhile");
    assert_eq!(maps.get("cart-redis").await.unwrap(), taken);

    maps.delete("cart-redis", &DeleteParams::default()).await.unwrap();
    assert!(matches!(send(&ours, "later.example").await, Err(ConfigMapError::Lost)), "it was deleted meanwhile");
    maps.create(&PostParams::default(), &ConfigMap { metadata: named("cart-redis"), ..theirs }).await.unwrap();
    assert!(
        matches!(send(&ours, "later.example").await, Err(ConfigMapError::Lost)),
        "it is another object of that name"
    );
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

/// A webhook that accepts connections and says nothing.
#[tokio::test]
async fn a_webhook_that_hangs_holds_up_the_map_alone() {
    let env = with_set("map-webhook").await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name = env.namespace.name();
    let webhook = json!({
        "metadata": { "name": name },
        "webhooks": [{
            "name": "maps.silent.example", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail", "timeoutSeconds": 8,
            "clientConfig": { "url": format!("https://{}/", silent.local_addr().unwrap()) },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"] }],
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } },
        }],
    });
    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(env.namespace.client());
    webhooks.create(&PostParams::default(), &serde_json::from_value(webhook).unwrap()).await.unwrap();
    until_refused(&env).await;
    env.create::<RedisClusterRef>(wanting("cart-redis")).await;
    let shown = env.until_condition::<RedisClusterRef>("carts", FAILED).await;
    assert_eq!(status(&shown).state.as_deref(), Some("Running"), "the picture is there");
    assert!(condition(&shown, "Stalled").is_none(), "it heals by itself");
    let message = &condition(&shown, "Reconciling").unwrap().message;
    assert!(message.contains("has not answered for 2 s"), "{message}");
    let refused = |reference: &RedisClusterRef| {
        condition(reference, "Ready").is_some_and(|ready| ready.message.contains("maps.silent.example"))
    };
    env.until("carts", "the API server has given up the webhook", refused).await;
    webhooks.delete(name, &DeleteParams::default()).await.unwrap();
    heals_by_itself(&env, "cart-redis").await;
}

/// A reference deleted and made anew finds the map of its earlier self, before the garbage collector does.
#[tokio::test]
async fn a_reference_that_is_made_anew_takes_its_map_over() {
    let env = with_set("map-anew").await;
    env.create::<RedisClusterRef>(wanting("cart-redis")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    let references = env.api::<RedisClusterRef>();
    references.delete("carts", &DeleteParams::default()).await.unwrap();
    let anew = env.create::<RedisClusterRef>(wanting("cart-redis")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    let map = env.api::<ConfigMap>().get("cart-redis").await.unwrap();
    assert_eq!(map.owner_references()[0].uid, anew.uid().unwrap());
}

/// What the API server keeps of an object that the schema of today would refuse.
#[tokio::test]
async fn status_writes_work_on_objects_that_the_patterns_of_today_refuse() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let mut lenient = serde_json::to_value(crds()).unwrap();
    forget_patterns(&mut lenient);
    let lenient: Vec<_> = serde_json::from_value(lenient).unwrap();
    testbed::crds::install(&server.client().unwrap(), &lenient).await.unwrap();
    let env = Env::on(&server, "old-names").await;
    let mut object = kakao("carts", "set-1");
    object["spec"]["kakaoCloud"] = json!({
        "clusterName": "carts\n2026-01-01T00:00:00Z  WARN forged",
        "credentialsSecretRef": { "name": "kakaocloud" },
    });
    let kind = ApiResource::erase::<RedisClusterRef>(&());
    let objects: Api<DynamicObject> = Api::namespaced_with(env.namespace.client(), env.namespace.name(), &kind);
    objects.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    testbed::crds::install(&server.client().unwrap(), &crds()).await.unwrap();
    let env = env.with_operator(&[]).await;
    let shown = env.until_condition::<RedisClusterRef>("carts", ("Stalled", "True", "ClusterNotFound")).await;
    for condition in &status(&shown).conditions {
        assert!(!condition.message.chars().any(char::is_control), "{:?}", condition.message);
    }
    let labels: BTreeMap<String, String> = shown.meta().labels.clone().unwrap_or_default();
    assert!(labels.is_empty());
}
