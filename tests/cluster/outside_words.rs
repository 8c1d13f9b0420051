//! What a cloud names stays data: no control character, nothing that hides or reorders text, comes through to where people read.

use fake_cloud::{Fault, FaultKind, KakaoCluster, NcpInstance, Operation};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use managed_redis_operator::api::RedisClusterRef;
use serde_json::{Value, json};

use crate::support::{Env, condition, kakao, ncp, status};

/// A line of the log, an escape sequence, an override of the writing direction, a zero-width blank, a NUL.
const FORGED: &str = "x\n2026-01-01T00:00:00Z  WARN forged\u{1b}[31m\u{202e}\u{200b}\u{0}y";

fn has_unprintable(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'))
}

fn no_text_is_unprintable(of: &str, value: &Value) {
    match value {
        Value::String(text) => assert!(!has_unprintable(text), "{of}: {text:?}"),
        Value::Array(items) => items.iter().for_each(|item| no_text_is_unprintable(of, item)),
        Value::Object(fields) => fields.iter().for_each(|(key, item)| no_text_is_unprintable(key, item)),
        _ => {}
    }
}

#[tokio::test]
async fn names_of_a_cloud_reach_nobody_with_control_characters() {
    let env = Env::start_with("words", &["--log-filter", "debug"]).await;
    let mut cluster = KakaoCluster::instance_set("set-1", "carts");
    (cluster.name, cluster.status, cluster.user_name) = (FORGED.into(), FORGED.into(), FORGED.into());
    cluster.endpoints.primary_endpoint = "carts.example".into();
    env.clouds().add_kakao_cluster(cluster).unwrap();
    let mut instance = NcpInstance::single("882761", "tokens");
    instance.service_name = FORGED.into();
    env.clouds().add_ncp_instance(instance).unwrap();
    let mut wanting = kakao("carts", "set-1");
    wanting["spec"]["connectionConfigMap"] = json!({ "name": "cart-redis" });
    env.create::<RedisClusterRef>(wanting).await;
    env.create::<RedisClusterRef>(ncp("tokens", "882761")).await;
    let shown = env.until_condition::<RedisClusterRef>("carts", ("Ready", "Unknown", "UnknownState")).await;
    assert!(condition(&shown, "Ready").unwrap().message.contains("forged"), "it is told all the same");
    let other = env.until_condition::<RedisClusterRef>("tokens", ("Ready", "True", "Running")).await;
    for reference in [&shown, &other] {
        no_text_is_unprintable("status", &json!(status(reference)));
    }
    let map = env.until("cart-redis", "it is there", |_: &ConfigMap| true).await;
    no_text_is_unprintable("data", &json!(map.data));
    let (_, metrics) = env.operator().page("/metrics").await;
    assert!(metrics.lines().any(|line| line.contains(r#"state="other""#)), "{metrics}");
    assert!(!metrics.contains("forged"), "{metrics}");
    let events = env.api::<Event>().list(&ListParams::default()).await.unwrap();
    no_text_is_unprintable("events", &json!(events.items));
    let log = env.operator().log();
    assert!(!log.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z")), "a line of the log is forged");
}

#[tokio::test]
async fn the_sentence_of_today_is_told_when_the_fault_has_changed() {
    let env = Env::start("fault-changes").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.until_condition::<RedisClusterRef>("carts", ("Ready", "True", "Running")).await;
    let said = |code, body: &str| FaultKind::Status {
        code,
        body: Some(body.to_owned()),
        content_type: Some("application/json".to_owned()),
        retry_after: None,
    };
    let faults = [
        (FaultKind::Html, "an HTML page"),
        (said(200, ""), "an empty body"),
        (FaultKind::HalfJson, "not valid JSON"),
        (FaultKind::Html, "an HTML page"),
    ];
    for (fault, sentence) in faults {
        env.clouds().clear_faults();
        env.clouds().inject(Fault::new(Operation::KakaoClustersList, fault)).unwrap();
        let shown: RedisClusterRef = env.read_again("carts").await;
        let synced = condition(&shown, "Synced").unwrap();
        assert!(synced.message.contains(sentence), "{}; wanted: {sentence}", synced.message);
    }
}
