//! No credential is ever shown: not in the log, not in events, not in any status, not in metrics.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fake_cloud::{Fault, FaultKind, KAKAO_CREDENTIAL_SECRET, KakaoCluster, NCP_SECRET_KEY, NcpInstance, Operation};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use managed_redis_operator::api::{RedisClusterRef, RedisParameterSync};
use serde_json::json;

use crate::support::{Env, condition, kakao, kakao_secret, ncp, ncp_secret, parameter_sync};

const WRONG_KAKAO: &str = "outdated-kakaocloud-secret-0123456789";
const WRONG_NCP: &str = "OUTDATEDNCPSECRET00000000000000000000000";
const WRONG_TOKEN: &str = "gAAAAoutdated-kakaocloud-token-0123456789";

/// An answer that echoes what it should not.
fn telltale(secret: &str) -> FaultKind {
    FaultKind::Status {
        code: 401,
        body: Some(json!({ "error": { "code": 401, "message": format!("no such secret: {secret}") } }).to_string()),
        content_type: Some("application/json".to_owned()),
        retry_after: None,
    }
}

async fn everything_written(env: &Env) -> String {
    let all = ListParams::default();
    let mut text = env.operator().log();
    text.push_str(&env.operator().page("/metrics").await.1);
    for object in env.api::<RedisClusterRef>().list(&all).await.unwrap() {
        text.push_str(&serde_json::to_string(&object).unwrap());
    }
    for object in env.api::<RedisParameterSync>().list(&all).await.unwrap() {
        text.push_str(&serde_json::to_string(&object).unwrap());
    }
    for object in env.api::<ConfigMap>().list(&all).await.unwrap() {
        text.push_str(&serde_json::to_string(&object).unwrap());
    }
    let events = env.api::<Event>().list(&all).await.unwrap();
    assert!(!events.items.is_empty(), "events are published");
    text.push_str(&serde_json::to_string(&events).unwrap());
    text
}

#[tokio::test]
async fn credentials_are_never_shown() {
    let env = Env::start_with("secrecy", &["--log-filter", "debug,managed_redis_operator=trace"]).await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env.clouds().add_ncp_instance(NcpInstance::single("882795", "tokens")).unwrap();
    let secrets = [
        ("kakao-wrong", kakao_secret(), "KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET", WRONG_KAKAO.to_owned()),
        ("kakao-line", kakao_secret(), "KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET", format!("{WRONG_KAKAO}\n")),
        ("kakao-token", Default::default(), "KAKAOCLOUD_TOKEN", WRONG_TOKEN.to_owned()),
        ("ncp-wrong", ncp_secret(), "NCLOUD_SECRET_KEY", WRONG_NCP.to_owned()),
    ];
    for (name, mut data, key, value) in secrets {
        data.insert(key.to_owned(), value);
        env.secret(name, data).await;
    }
    // Good ones first, then those whose answers echo the secret.
    for (name, object) in [("good-kakao", kakao("good-kakao", "set-1")), ("good-ncp", ncp("good-ncp", "882795"))] {
        env.create::<RedisClusterRef>(object).await;
        env.until_condition::<RedisClusterRef>(name, ("Ready", "True", "Running")).await;
    }
    let sync = parameter_sync("carts", json!({ "clusterRef": { "name": "good-kakao" } }));
    env.create::<RedisParameterSync>(sync).await;
    env.until_condition::<RedisParameterSync>("carts", ("Ready", "True", "InSync")).await;
    let clouds = env.clouds();
    clouds.inject(Fault::new(Operation::KakaoIamToken, telltale(WRONG_KAKAO))).unwrap();
    for name in ["kakao-wrong", "kakao-line"] {
        let mut object = kakao(name, "set-1");
        object["spec"]["kakaoCloud"]["credentialsSecretRef"]["name"] = json!(name);
        env.create::<RedisClusterRef>(object).await;
        env.until_condition::<RedisClusterRef>(name, ("Stalled", "True", "CredentialsRejected")).await;
    }
    clouds.inject(Fault::new(Operation::KakaoClustersList, telltale(WRONG_TOKEN))).unwrap();
    let mut object = kakao("kakao-token", "set-1");
    object["spec"]["kakaoCloud"]["credentialsSecretRef"]["name"] = json!("kakao-token");
    env.create::<RedisClusterRef>(object).await;
    let shown = env.until_condition::<RedisClusterRef>("kakao-token", ("Stalled", "True", "CredentialsRejected")).await;
    let message = &condition(&shown, "Ready").unwrap().message;
    assert!(message.ends_with("the token was not accepted."), "who refuses a credential is not quoted: {message}");
    let gateway = FaultKind::Gateway {
        status: 401,
        error_code: "200".to_owned(),
        message: Some(format!("bad key {WRONG_NCP}")),
        xml: false,
    };
    clouds.inject(Fault::new(Operation::NcpInstancesList, gateway)).unwrap();
    let mut object = ncp("ncp-wrong", "882795");
    object["spec"]["ncp"]["credentialsSecretRef"]["name"] = json!("ncp-wrong");
    env.create::<RedisClusterRef>(object).await;
    env.until_condition::<RedisClusterRef>("ncp-wrong", ("Stalled", "True", "CredentialsRejected")).await;

    let written = everything_written(&env).await;
    assert!(env.operator().log().contains("DEBUG"), "the log is a talkative one");
    for secret in [KAKAO_CREDENTIAL_SECRET, NCP_SECRET_KEY, WRONG_KAKAO, WRONG_NCP, WRONG_TOKEN] {
        for form in [secret.to_owned(), BASE64_STANDARD.encode(secret)] {
            let place = written.find(&form).map(|at| written[at.saturating_sub(300)..at].to_owned());
            assert_eq!(place, None, "a secret is shown after this");
        }
    }
    assert!(!written.contains("gAAAA"), "an issued token is shown");
}
