//! What the API server accepts, refuses and fills in.

use std::process::Stdio;

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use managed_redis_operator::api::{RedisClusterRef, RedisFlushRequest, RedisParameterSync, crds};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::support::{Env, kakao, server};

const CLUSTER_REF: &str = "RedisClusterRef";
const PARAMETER_SYNC: &str = "RedisParameterSync";
const FLUSH_REQUEST: &str = "RedisFlushRequest";

/// Objects of a kind, without the types of this program in between.
async fn untyped(env: &Env, kind: &str) -> Api<DynamicObject> {
    let resource = match kind {
        CLUSTER_REF => ApiResource::erase::<RedisClusterRef>(&()),
        PARAMETER_SYNC => ApiResource::erase::<RedisParameterSync>(&()),
        _ => ApiResource::erase::<RedisFlushRequest>(&()),
    };
    Api::namespaced_with(env.namespace.client(), env.namespace.name(), &resource)
}

/// What the API server says of a spec: the object as it would be stored, or the refusal.
async fn dry_run(env: &Env, kind: &str, spec: &Value) -> Result<Value, String> {
    let object = json!({
        "apiVersion": "managedredis.dev/v1alpha1", "kind": kind, "metadata": { "name": "tried" }, "spec": spec,
    });
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let params = PostParams { dry_run: true, ..PostParams::default() };
    match untyped(env, kind).await.create(&params, &object).await {
        Ok(stored) => Ok(serde_json::to_value(stored).unwrap()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => panic!("{error}"),
    }
}

async fn refused(env: &Env, kind: &str, spec: Value, sentence: &str) {
    match dry_run(env, kind, &spec).await {
        Ok(_) => panic!("{kind} {spec} was accepted; wanted: {sentence}"),
        Err(message) => assert!(message.contains(sentence), "{kind} {spec}: {message}; wanted: {sentence}"),
    }
}

/// A spec that merges `change` into `good`; null takes a field away.
fn with(good: &Value, change: Value) -> Value {
    let mut spec = good.clone();
    merge(&mut spec, change);
    spec
}

fn merge(into: &mut Value, change: Value) {
    let Value::Object(change) = change else {
        *into = change;
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in change {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(&key);
        } else {
            merge(&mut into[&key], value);
        }
    }
}

fn by_id() -> Value {
    json!({ "kakaoCloud": { "clusterID": "c-1", "credentialsSecretRef": { "name": "kakaocloud" } } })
}

fn by_number() -> Value {
    json!({ "ncp": { "cloudDBInstanceNo": "882731", "credentialsSecretRef": { "name": "ncp" } } })
}

fn by_name(name: &str) -> Value {
    json!({ "kakaoCloud": { "clusterName": name, "credentialsSecretRef": { "name": "kakaocloud" } } })
}

fn by_service(name: &str) -> Value {
    json!({ "ncp": { "cloudDBServiceName": name, "credentialsSecretRef": { "name": "ncp" } } })
}

/// Names that people write, in any script, are names.
#[tokio::test]
async fn names_of_every_script_are_accepted() {
    let env = Env::without_operator("crd-names").await;
    for name in ["carts", "장바구니 1", "カート", "panier-d'été", "корзина", "🛒", "a..b"] {
        for spec in [by_name(name), by_service(name)] {
            dry_run(&env, CLUSTER_REF, &spec).await.unwrap();
        }
    }
    for name in ["a", "a.b", "a-b.c-d", "0", &"a".repeat(253)] {
        let spec = with(&by_name("carts"), json!({ "connectionConfigMap": { "name": name } }));
        dry_run(&env, CLUSTER_REF, &spec).await.unwrap();
    }
}

#[tokio::test]
async fn bad_references_are_refused_with_a_sentence() {
    let env = Env::without_operator("crd-rcr").await;
    let (kakao, ncp) = (by_id(), by_number());
    let both = with(&kakao, ncp.clone());
    let on_kakao = |change: Value| with(&kakao, json!({ "kakaoCloud": change }));
    let on_ncp = |change: Value| with(&ncp, json!({ "ncp": change }));
    let cases = [
        (both, "set exactly one of kakaoCloud and ncp"),
        (json!({}), "set exactly one of kakaoCloud and ncp"),
        (json!({ "kakaoCloud": null }), "set exactly one of kakaoCloud and ncp"),
        (on_kakao(json!({ "clusterName": "n" })), "set exactly one of clusterID and clusterName"),
        (on_kakao(json!({ "clusterID": null })), "set exactly one of clusterID and clusterName"),
        (on_ncp(json!({ "cloudDBServiceName": "n" })), "set exactly one of cloudDBInstanceNo and cloudDBServiceName"),
        (on_ncp(json!({ "cloudDBInstanceNo": null })), "set exactly one of cloudDBInstanceNo and cloudDBServiceName"),
        (with(&kakao, json!({ "pollInterval": "9s" })), "pollInterval must be between 10s and 24h"),
        (with(&kakao, json!({ "pollInterval": "24h1s" })), "pollInterval must be between 10s and 24h"),
        (with(&kakao, json!({ "pollInterval": "soon" })), "spec.pollInterval in body should match"),
        (with(&kakao, json!({ "pollInterval": 60 })), "spec.pollInterval in body must be of type string"),
        (with(&kakao, json!({ "pollInterval": "-60s" })), "spec.pollInterval in body should match"),
        (on_ncp(json!({ "site": "Moon" })), "supported values: \"Public\", \"Gov\", \"Fin\""),
        (on_kakao(json!({ "region": "https://evil.example" })), "spec.kakaoCloud.region in body should match"),
        (on_kakao(json!({ "region": "" })), "spec.kakaoCloud.region"),
        (on_kakao(json!({ "clusterID": "../../v1/redis" })), "spec.kakaoCloud.clusterID in body should match"),
        (on_kakao(json!({ "clusterID": "x".repeat(129) })), "may not be more than 128 bytes"),
        (on_ncp(json!({ "cloudDBInstanceNo": "12a" })), "spec.ncp.cloudDBInstanceNo in body should match"),
        (on_ncp(json!({ "cloudDBInstanceNo": 882_731 })), "must be of type string"),
        (on_kakao(json!({ "credentialsSecretRef": null })), "spec.kakaoCloud.credentialsSecretRef: Required value"),
        (on_kakao(json!({ "credentialsSecretRef": { "name": "Not A Name" } })), "credentialsSecretRef.name in body"),
        (with(&kakao, json!({ "suspend": "yes" })), "spec.suspend in body must be of type boolean"),
        (with(&kakao, json!({ "connectionConfigMap": {} })), "spec.connectionConfigMap.name: Required value"),
        (with(&kakao, json!({ "connectionConfigMap": { "name": "a..b" } })), "spec.connectionConfigMap.name in body"),
        (with(&kakao, json!({ "connectionConfigMap": { "name": "a.-b" } })), "spec.connectionConfigMap.name in body"),
        (on_kakao(json!({ "credentialsSecretRef": { "name": "a-.b" } })), "credentialsSecretRef.name in body"),
        (by_name("carts\nWARN forged"), "spec.kakaoCloud.clusterName in body"),
        (by_name("carts\u{1b}[31m"), "spec.kakaoCloud.clusterName in body"),
        (by_name("\u{202e}strac"), "spec.kakaoCloud.clusterName in body"),
        (by_name("car\u{200b}ts"), "spec.kakaoCloud.clusterName in body"),
        (by_service("carts\nWARN forged"), "spec.ncp.cloudDBServiceName in body"),
        (by_service("\u{2028}"), "spec.ncp.cloudDBServiceName in body"),
    ];
    for (spec, sentence) in cases {
        refused(&env, CLUSTER_REF, spec, sentence).await;
    }
}

#[tokio::test]
async fn bad_parameter_syncs_are_refused_with_a_sentence() {
    let env = Env::without_operator("crd-rps").await;
    let good = json!({ "clusterRef": { "name": "sessions" } });
    let group = |change: Value| {
        let group = json!({ "id": "g-1", "credentialsSecretRef": { "name": "kakaocloud" } });
        json!({ "parameterGroup": { "kakaoCloud": with(&group, change) } })
    };
    let exactly_one = "set exactly one of clusterRef, clusterSelector and parameterGroup";
    let retry = |retry: Value| with(&good, json!({ "retry": retry }));
    let cases = [
        (json!({}), exactly_one),
        (with(&good, json!({ "clusterSelector": {} })), exactly_one),
        (with(&good, group(json!({}))), exactly_one),
        (group(json!({ "name": "n" })), "set exactly one of id and name"),
        (group(json!({ "id": null })), "set exactly one of id and name"),
        (group(json!({ "region": "KR" })), "parameterGroup.kakaoCloud.region in body should match"),
        (retry(json!({ "maxAttempts": 0 })), "should be greater than or equal to 1"),
        (retry(json!({ "maxAttempts": 101 })), "should be less than or equal to 100"),
        (retry(json!({ "initialBackoff": "999ms" })), "initialBackoff must be between 1s and 24h"),
        (retry(json!({ "maxBackoff": "25h" })), "maxBackoff must be between 1s and 24h"),
        (retry(json!({ "maxBackoff": "29s" })), "maxBackoff must not be shorter than initialBackoff"),
        (
            retry(json!({ "initialBackoff": "2m", "maxBackoff": "1m" })),
            "maxBackoff must not be shorter than initialBackoff",
        ),
        (with(&good, json!({ "stuckAfter": "0s" })), "stuckAfter must be between 1s and 168h"),
        (with(&good, json!({ "retryOn": [] })), "spec.retryOn in body should have at least 1 items"),
        (with(&good, json!({ "retryOn": ["Error-Sync", "Error-Sync"] })), "Duplicate value"),
        (
            json!({ "clusterSelector": { "matchExpressions": [{ "key": "a", "operator": "Near" }] } }),
            "Unsupported value: \"Near\"",
        ),
        (
            json!({ "clusterSelector": { "matchLabels": { "k".repeat(318): "a" } } }),
            "the keys of matchLabels must not be longer than 317 characters",
        ),
        (
            json!({ "clusterSelector": { "matchExpressions": vec![json!({ "key": "a", "operator": "Exists" }); 17] } }),
            "must have at most 16 items",
        ),
    ];
    for (spec, sentence) in cases {
        refused(&env, PARAMETER_SYNC, spec, sentence).await;
    }
}

#[tokio::test]
async fn bad_flush_requests_are_refused_with_a_sentence() {
    let env = Env::without_operator("crd-rfr").await;
    let good = json!({ "clusterRef": { "name": "cart" }, "confirm": "882731" });
    let cases = [
        (with(&good, json!({ "confirm": "yes" })), "spec.confirm in body should match"),
        (with(&good, json!({ "confirm": null })), "spec.confirm: Required value"),
        (with(&good, json!({ "clusterRef": null })), "spec.clusterRef: Required value"),
        (with(&good, json!({ "requestID": "two words" })), "spec.requestID in body should match"),
        (with(&good, json!({ "notAfter": "tomorrow" })), "notAfter must be a time such as"),
        (with(&good, json!({ "notAfter": "2027-02-30T00:00:00Z" })), "notAfter must be a time such as"),
        (with(&good, json!({ "notAfter": "2027-01-01t00:00:00z" })), "with a capital T and Z"),
        (with(&good, json!({ "notAfter": "9999-12-31T23:59:59Z" })), "of the years 1000 to 9998"),
        (with(&good, json!({ "startDeadline": "169h" })), "startDeadline must be between 1s and 168h"),
        (with(&good, json!({ "startDeadline": "0s" })), "startDeadline must be between 1s and 168h"),
        (with(&good, json!({ "ttlAfterFinished": "8761h" })), "ttlAfterFinished must not be longer than 8760h"),
    ];
    for (spec, sentence) in cases {
        refused(&env, FLUSH_REQUEST, spec, sentence).await;
    }
}

#[tokio::test]
async fn a_flush_request_cannot_be_changed() {
    let env = Env::without_operator("crd-immutable").await;
    let object = json!({
        "apiVersion": "managedredis.dev/v1alpha1", "kind": FLUSH_REQUEST, "metadata": { "name": "once" },
        "spec": { "clusterRef": { "name": "cart" }, "confirm": "882731" },
    });
    env.create::<RedisFlushRequest>(object).await;
    let api = env.api::<RedisFlushRequest>();
    for change in [json!({ "confirm": "882732" }), json!({ "requestID": "again" }), json!({ "startDeadline": "1m" })] {
        let patch = Patch::Merge(json!({ "spec": change }));
        let refusal = api.patch("once", &PatchParams::default(), &patch).await.unwrap_err().to_string();
        assert!(refusal.contains("spec is immutable: to flush again, create another RedisFlushRequest"), "{refusal}");
    }
    // What is not spec can be changed, and the same spec applied again.
    let labels = json!({ "metadata": { "labels": { "team": "shop" } }, "spec": { "confirm": "882731" } });
    api.patch("once", &PatchParams::default(), &Patch::Merge(labels)).await.unwrap();
}

#[tokio::test]
async fn good_objects_get_their_defaults() {
    let env = Env::without_operator("crd-defaults").await;
    let fresh = json!({ "observedGeneration": -1 });
    let stored = dry_run(&env, CLUSTER_REF, &by_id()).await.unwrap();
    assert_eq!(stored["status"], fresh);
    assert_eq!(stored["spec"]["kakaoCloud"]["region"], "kr-central-2");
    assert_eq!((&stored["spec"]["pollInterval"], &stored["spec"]["suspend"]), (&json!("60s"), &json!(false)));
    let stored = dry_run(&env, CLUSTER_REF, &by_number()).await.unwrap();
    assert_eq!(stored["spec"]["ncp"]["site"], "Public");
    let stored = dry_run(&env, PARAMETER_SYNC, &json!({ "clusterSelector": {} })).await.unwrap();
    assert_eq!(stored["status"], fresh);
    let defaults = json!({
        "clusterSelector": {},
        "retryOn": ["Error-Sync", "Suspended", "Partial-Sync"],
        "retry": { "maxAttempts": 5, "initialBackoff": "30s", "maxBackoff": "600s" },
        "stuckAfter": "1800s",
        "suspend": false,
    });
    assert_eq!(stored["spec"], defaults);
    let stored = dry_run(&env, FLUSH_REQUEST, &json!({ "clusterRef": { "name": "cart" }, "confirm": "1" })).await;
    let stored = stored.unwrap();
    assert_eq!((&stored["status"], &stored["spec"]["startDeadline"]), (&fresh, &json!("600s")));
}

#[tokio::test]
async fn odd_but_good_objects_are_accepted() {
    let env = Env::without_operator("crd-good").await;
    let kakao = by_id();
    for spec in [
        with(&kakao, json!({ "pollInterval": "10s" })),
        with(&kakao, json!({ "pollInterval": "24h" })),
        with(&kakao, json!({ "pollInterval": "1h30m" })),
        with(&kakao, json!({ "kakaoCloud": { "region": "kr-west-1" } })),
        // A null is no value, as a template may leave it behind.
        json!({ "kakaoCloud": kakao["kakaoCloud"], "ncp": null }),
        with(&json!({ "ncp": { "site": "Fin" } }), by_number()),
    ] {
        dry_run(&env, CLUSTER_REF, &spec).await.unwrap_or_else(|refusal| panic!("{spec}: {refusal}"));
    }
}

/// Feeds `input` to a kubectl command; stdout and stderr.
async fn kubectl(args: &[&str], input: &str) -> (bool, String, String) {
    let mut command = server().await.kubectl().await.unwrap();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn kubectl_applies_the_crds_without_a_warning() {
    let mut yaml = String::new();
    for crd in crds() {
        yaml.push_str("---\n");
        yaml.push_str(&serde_saphyr::to_string(&serde_json::to_value(crd).unwrap()).unwrap());
    }
    let args = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
    let (applied, told, warned) = kubectl(&args, &yaml).await;
    assert!(applied, "{warned}");
    assert_eq!(warned, "", "no warnings");
    assert_eq!(told.lines().count(), crds().len(), "{told}");
}

#[tokio::test]
async fn kubectl_get_shows_the_columns_that_help() {
    let env = Env::start("crd-columns").await;
    env.clouds().add_kakao_cluster(fake_cloud::KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.until_condition::<RedisClusterRef>("carts", ("Ready", "True", "Running")).await;
    let (_, table, _) = kubectl(&["--namespace", env.namespace.name(), "get", "managedredis", "-o", "wide"], "").await;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "READY", "STATE", "MODE", "VERSION", "ENDPOINT", "PARAMETERS", "AGE"]);
    let endpoint = "carts-primary.kr-central-2.memstore.example";
    let row =
        ["redisclusterref.managedredis.dev/carts", "True", "Running", "Standalone", "7.2.11", endpoint, "In-Sync"];
    assert_eq!(lines[1][..7], row);
}

/// What the API server admits, this program reads, and the API server lets it write a status.
async fn stays_writable(env: &Env, kind: &str, number: usize, spec: &Value) -> Result<(), String> {
    let api = untyped(env, kind).await;
    let name = format!("tried-{}-{number}", kind.to_lowercase());
    let object = json!({
        "apiVersion": "managedredis.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec,
    });
    let stored = match api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await {
        Ok(stored) => serde_json::to_value(stored).unwrap(),
        Err(kube::Error::Api(_)) => return Ok(()),
        Err(error) => panic!("{error}"),
    };
    let read = match kind {
        CLUSTER_REF => serde_json::from_value::<RedisClusterRef>(stored).err(),
        PARAMETER_SYNC => serde_json::from_value::<RedisParameterSync>(stored).err(),
        _ => serde_json::from_value::<RedisFlushRequest>(stored).err(),
    };
    if let Some(error) = read {
        return Err(format!("it is admitted, and cannot be read: {error}"));
    }
    let status = json!({ "status": { "observedGeneration": 1 } });
    let written = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await;
    let edited = json!({ "metadata": { "finalizers": ["managedredis.dev/flush"] } });
    let held = api.patch(&name, &PatchParams::default(), &Patch::Merge(&edited)).await;
    let edited = json!({ "metadata": { "finalizers": null } });
    let freed = api.patch(&name, &PatchParams::default(), &Patch::Merge(&edited)).await;
    let refused = [written.err(), held.err(), freed.err()].into_iter().flatten().next();
    refused.map_or(Ok(()), |error| Err(format!("it is admitted, and cannot be written: {error}")))
}

#[tokio::test]
async fn what_is_admitted_can_be_read_and_written() {
    let env = Env::without_operator("crd-writable").await;
    let times = [
        "2027-01-01T00:00:00Z",
        "2027-01-01t00:00:00z",
        "2027-01-01T00:00:00z",
        "2027-01-01 00:00:00Z",
        "2027-01-01T00:00:00+09:00",
        "2027-01-01T00:00:00-13:59",
        "2027-01-01T00:00:00+14:00",
        "2027-01-01T00:00:00+23:59",
        "2027-01-01T00:00:00+24:00",
        "2027-01-01T00:00:00+99:99",
        "2027-01-01T00:00:00-00:00",
        "2027-01-01T00:00:00.5Z",
        "2027-01-01T00:00:00.123456789Z",
        "2027-01-01T00:00:00.123456789012Z",
        "2027-01-01T00:00:00,5Z",
        "2027-01-01T00:00:00x5Z",
        "2027-01-01T00:60:00Z",
        "2027-01-01T00:00:00+09:60",
        "2027-01-01T24:00:00Z",
        "2027-01-01T23:59:60Z",
        "2027-02-29T00:00:00Z",
        "2028-02-29T00:00:00Z",
        "2027-04-31T00:00:00Z",
        "2027-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "1969-12-31T23:59:59Z",
        "9998-12-31T23:59:59Z",
        "9999-12-30T22:00:00Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-01:00",
        "10000-01-01T00:00:00Z",
        "2027-01-01",
        "tomorrow",
        "",
    ];
    let lengths = [
        "10s",
        "0s",
        "1.5h",
        "0.5m",
        "1h30m",
        "90000ms",
        "1.000000001s",
        "1.0000000001s",
        "0.00000000000000001h",
        "00000060s",
        "60s60s60s",
        "24h0.0000000000000001ms",
        "9223372036s",
        "2562047h47m16.854775807s",
        "2562048h",
        "99999999999999999999h",
        "0.99999999999999999999999999h",
        "1h1h",
        "3600000.000001ms",
        "1ms1ms1ms1ms1ms1ms1ms1ms1ms1ms",
        "10.s",
        "1d",
    ];
    let flush = json!({ "clusterRef": { "name": "cart" }, "confirm": "882731" });
    let sync = json!({ "clusterRef": { "name": "sessions" } });
    let mut specs: Vec<(&str, Value)> =
        times.iter().map(|time| (FLUSH_REQUEST, with(&flush, json!({ "notAfter": time })))).collect();
    for length in lengths {
        specs.extend([
            (FLUSH_REQUEST, with(&flush, json!({ "startDeadline": length }))),
            (FLUSH_REQUEST, with(&flush, json!({ "ttlAfterFinished": length }))),
            (CLUSTER_REF, with(&by_id(), json!({ "pollInterval": length }))),
            (PARAMETER_SYNC, with(&sync, json!({ "stuckAfter": length }))),
            (PARAMETER_SYNC, with(&sync, json!({ "retry": { "initialBackoff": length } }))),
            (PARAMETER_SYNC, with(&sync, json!({ "retry": { "maxBackoff": length } }))),
        ]);
    }
    let mut wrong = Vec::new();
    for (number, (kind, spec)) in specs.iter().enumerate() {
        if let Err(why) = stays_writable(&env, kind, number, spec).await {
            wrong.push(format!("{kind} {spec}: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
