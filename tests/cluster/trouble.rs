//! Bad input: each has its sentence, heals when its cause is gone, and costs no neighbour anything.

use std::collections::BTreeMap;

use fake_cloud::{KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET, KakaoCluster, NCP_ACCESS_KEY, NcpInstance, NcpKey};
use managed_redis_operator::api::RedisClusterRef;
use serde_json::json;

use crate::support::{Env, condition, kakao, kakao_by_name, kakao_secret, ncp, ncp_secret, status};

const READY: (&str, &str, &str) = ("Ready", "True", "Running");

/// A test with a healthy reference `neighbour` beside what is broken.
async fn with_neighbour(prefix: &str) -> Env {
    let env = Env::start(prefix).await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-0", "healthy")).unwrap();
    env.create::<RedisClusterRef>(kakao("neighbour", "set-0")).await;
    env.until_condition::<RedisClusterRef>("neighbour", READY).await;
    env
}

/// The neighbour is Ready, and its next change is seen.
async fn neighbour_is_fine(env: &Env) {
    for (word, ready) in [("Modifying", "False"), ("Running", "True")] {
        env.clouds().update_kakao_cluster("set-0", |cluster| cluster.status = word.into()).unwrap();
        let shown: RedisClusterRef = env.read_again("neighbour").await;
        assert_eq!(condition(&shown, "Ready").unwrap().status, ready, "the neighbour is kept up to date");
    }
}

/// Waits until the reference stalls for `reason`, with `sentence` in all three conditions.
async fn stalls(env: &Env, name: &str, reason: &str, sentence: &str) {
    let shown = env.until_condition::<RedisClusterRef>(name, ("Stalled", "True", reason)).await;
    for (type_, truth) in [("Ready", "False"), ("Stalled", "True"), ("Synced", "False")] {
        let found = condition(&shown, type_).unwrap_or_else(|| panic!("no {type_}"));
        assert_eq!((found.status.as_str(), found.reason.as_str()), (truth, reason));
        assert!(found.message.contains(sentence), "{type_}: {:?}; wanted: {sentence}", found.message);
    }
    assert!(condition(&shown, "Reconciling").is_none(), "never both");
}

/// Asks for a read and waits until nothing is left of the trouble.
async fn heals(env: &Env, name: &str) {
    env.ask_again::<RedisClusterRef>(name).await;
    let shown = env.until_condition::<RedisClusterRef>(name, READY).await;
    let types: Vec<&str> = status(&shown).conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(types, ["Ready", "Synced"], "no trace");
    assert_eq!(condition(&shown, "Synced").unwrap().reason, "ObserveSucceeded");
}

fn secret<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[tokio::test]
async fn a_missing_secret_is_named_and_looked_for_again() {
    let env = with_neighbour("no-secret").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    let mut object = kakao("carts", "set-1");
    object["spec"]["kakaoCloud"]["credentialsSecretRef"]["name"] = json!("late");
    env.create::<RedisClusterRef>(object).await;
    let sentence = format!("Secret late is not in namespace {}", env.namespace.name());
    stalls(&env, "carts", "CredentialsNotFound", &sentence).await;
    neighbour_is_fine(&env).await;
    env.secret("late", kakao_secret()).await;
    heals(&env, "carts").await;
}

#[tokio::test]
async fn a_secret_that_cannot_be_a_credential_is_described_not_quoted() {
    let env = with_neighbour("bad-secret").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env.clouds().add_ncp_instance(NcpInstance::single("882771", "tokens")).unwrap();
    let id = ("KAKAOCLOUD_APPLICATION_CREDENTIAL_ID", KAKAO_CREDENTIAL_ID);
    let with_newline = format!("{KAKAO_CREDENTIAL_SECRET}\n");
    let cases = [
        (
            "half",
            secret([id]),
            "CredentialsNotFound",
            "Secret half cannot be used: it has no KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET beside the ID",
        ),
        (
            "newline",
            secret([id, ("KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET", &with_newline)]),
            "CredentialsRejected",
            "Secret newline cannot be used: KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET ends with a line break",
        ),
        (
            "empty",
            secret([id, ("KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET", "")]),
            "CredentialsRejected",
            "Secret empty cannot be used: KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET is empty",
        ),
        (
            "header",
            secret([("KAKAOCLOUD_TOKEN", "abcd\r\nx-evil: 1")]),
            "CredentialsRejected",
            "Secret header cannot be used: KAKAOCLOUD_TOKEN holds a blank, a control character",
        ),
    ];
    for (name, data, reason, sentence) in cases {
        env.secret(name, data).await;
        let mut object = kakao(name, "set-1");
        object["spec"]["kakaoCloud"]["credentialsSecretRef"]["name"] = json!(name);
        env.create::<RedisClusterRef>(object).await;
        stalls(&env, name, reason, sentence).await;
    }
    env.secret("one-key", secret([("NCLOUD_ACCESS_KEY", NCP_ACCESS_KEY)])).await;
    let mut object = ncp("one-key", "882771");
    object["spec"]["ncp"]["credentialsSecretRef"]["name"] = json!("one-key");
    env.create::<RedisClusterRef>(object).await;
    stalls(&env, "one-key", "CredentialsNotFound", "Secret one-key cannot be used: it has no NCLOUD_").await;
    neighbour_is_fine(&env).await;
    for name in ["half", "newline"] {
        env.secret(name, kakao_secret()).await;
        heals(&env, name).await;
    }
    env.secret("one-key", ncp_secret()).await;
    heals(&env, "one-key").await;
}

#[tokio::test]
async fn a_rejected_credential_is_read_anew_as_soon_as_it_is_fixed() {
    let env = with_neighbour("rejected").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env.clouds().add_ncp_instance(NcpInstance::single("882772", "tokens")).unwrap();
    let mut wrong = kakao_secret();
    wrong.insert("KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET".to_owned(), "outdated-secret-value".to_owned());
    env.secret("kakao-wrong", wrong).await;
    let mut wrong = ncp_secret();
    wrong.insert("NCLOUD_SECRET_KEY".to_owned(), "OUTDATEDSECRETKEY0000000000000000000000".to_owned());
    env.secret("ncp-wrong", wrong).await;
    let mut object = kakao("carts", "set-1");
    object["spec"]["kakaoCloud"]["credentialsSecretRef"]["name"] = json!("kakao-wrong");
    env.create::<RedisClusterRef>(object).await;
    let mut object = ncp("tokens", "882772");
    object["spec"]["ncp"]["credentialsSecretRef"]["name"] = json!("ncp-wrong");
    env.create::<RedisClusterRef>(object).await;
    stalls(&env, "carts", "CredentialsRejected", "KakaoCloud rejected the credentials (issueToken, HTTP 401").await;
    stalls(&env, "tokens", "CredentialsRejected", "NCP rejected the credentials (getCloudDBInstanceList, HTTP 401")
        .await;
    neighbour_is_fine(&env).await;
    env.secret("kakao-wrong", kakao_secret()).await;
    env.secret("ncp-wrong", ncp_secret()).await;
    heals(&env, "carts").await;
    heals(&env, "tokens").await;
}

#[tokio::test]
async fn a_key_without_permission_is_told_from_a_wrong_one() {
    let env = with_neighbour("denied").await;
    env.clouds().add_ncp_instance(NcpInstance::single("882773", "tokens")).unwrap();
    let mut key = NcpKey::new(NCP_ACCESS_KEY, fake_cloud::NCP_SECRET_KEY);
    key.permission_denied = true;
    env.clouds().set_ncp_keys(vec![key]);
    env.create::<RedisClusterRef>(ncp("tokens", "882773")).await;
    stalls(&env, "tokens", "PermissionDenied", "NCP denied access (getCloudDBInstanceList").await;
    neighbour_is_fine(&env).await;
    env.clouds().set_ncp_keys(vec![NcpKey::new(NCP_ACCESS_KEY, fake_cloud::NCP_SECRET_KEY)]);
    heals(&env, "tokens").await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_looked_for_again() {
    let env = with_neighbour("absent").await;
    let mut object = kakao("carts", "set-1");
    object["spec"]["pollInterval"] = json!("90s");
    env.create::<RedisClusterRef>(object).await;
    env.create::<RedisClusterRef>(kakao_by_name("named", "carts")).await;
    env.create::<RedisClusterRef>(ncp("tokens", "882774")).await;
    let sentence = "The cloud has no cluster or instance set set-1 in kr-central-2. Create it or correct the spec; it is looked up every 90s.";
    stalls(&env, "carts", "ClusterNotFound", sentence).await;
    let sentence = "The cloud has no cluster or instance set named carts in kr-central-2";
    stalls(&env, "named", "ClusterNotFound", sentence).await;
    stalls(&env, "tokens", "ClusterNotFound", "The cloud has no Redis instance 882774 at site Public").await;
    neighbour_is_fine(&env).await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env.clouds().add_ncp_instance(NcpInstance::single("882774", "tokens")).unwrap();
    for name in ["carts", "named", "tokens"] {
        heals(&env, name).await;
    }
}

#[tokio::test]
async fn a_cluster_that_goes_away_and_comes_back_is_followed() {
    let env = with_neighbour("gone").await;
    for name in ["carts", "named"] {
        let object = if name == "named" { kakao_by_name(name, "shop") } else { kakao(name, "set-1") };
        if name == "carts" {
            env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "shop")).unwrap();
        }
        env.create::<RedisClusterRef>(object).await;
        env.until_condition::<RedisClusterRef>(name, READY).await;
    }
    env.clouds().remove_kakao_cluster("set-1").unwrap();
    for name in ["carts", "named"] {
        env.ask_again::<RedisClusterRef>(name).await;
        stalls(&env, name, "ClusterNotFound", "The cloud has no cluster").await;
        let shown = env.api::<RedisClusterRef>().get(name).await.unwrap();
        assert_eq!((&status(&shown).cluster, &status(&shown).state), (&None, &None), "no picture of what is gone");
    }
    // The name comes back on another cluster.
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-9", "shop")).unwrap();
    heals(&env, "named").await;
    let shown = env.api::<RedisClusterRef>().get("named").await.unwrap();
    assert_eq!(status(&shown).cluster.as_ref().unwrap().id.as_deref(), Some("set-9"));
    let shown = env.api::<RedisClusterRef>().get("carts").await.unwrap();
    assert_eq!(condition(&shown, "Stalled").unwrap().reason, "ClusterNotFound");
}

#[tokio::test]
async fn a_cluster_with_another_name_is_not_the_one_that_was_named() {
    let env = with_neighbour("renamed").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env.create::<RedisClusterRef>(kakao_by_name("carts", "carts")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    env.clouds().update_kakao_cluster("set-1", |cluster| cluster.name = "baskets".into()).unwrap();
    env.ask_again::<RedisClusterRef>("carts").await;
    stalls(&env, "carts", "ClusterNotFound", "The cloud has no cluster or instance set named carts").await;
    env.clouds().update_kakao_cluster("set-1", |cluster| cluster.name = "carts".into()).unwrap();
    heals(&env, "carts").await;
}

#[tokio::test]
async fn a_name_of_two_clusters_is_refused_and_both_are_named() {
    let env = with_neighbour("two").await;
    for id in ["set-b", "set-a"] {
        env.clouds().add_kakao_cluster(KakaoCluster::instance_set(id, "carts")).unwrap();
    }
    env.create::<RedisClusterRef>(kakao_by_name("carts", "carts")).await;
    let sentence = "2 clusters are named carts in kr-central-2; set clusterID to one of set-a, set-b.";
    stalls(&env, "carts", "AmbiguousName", sentence).await;
    neighbour_is_fine(&env).await;
    env.clouds().remove_kakao_cluster("set-b").unwrap();
    heals(&env, "carts").await;
}

#[tokio::test]
async fn an_unknown_region_says_which_are_known() {
    let env = with_neighbour("region").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    let mut object = kakao("carts", "set-1");
    object["spec"]["kakaoCloud"]["region"] = json!("kr-nowhere-9");
    env.create::<RedisClusterRef>(object).await;
    let sentence = "The connection cannot be set up: no endpoint is configured for the region \"kr-nowhere-9\"; known: kr-central-2; \
                    add one with --kakao-endpoint kr-nowhere-9=URL.";
    stalls(&env, "carts", "UnknownRegion", sentence).await;
    neighbour_is_fine(&env).await;
    let region = json!({ "spec": { "kakaoCloud": { "region": "kr-central-2" } } });
    env.merge::<RedisClusterRef>("carts", region).await;
    heals(&env, "carts").await;
}
