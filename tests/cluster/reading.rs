//! When the cloud is read, and when a status is written.

use std::time::Duration;

use fake_cloud::{Fault, FaultKind, KakaoCluster, NcpInstance, Operation, RequestFilter};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use managed_redis_operator::api::RedisClusterRef;
use serde_json::json;

use crate::support::{BOUND, Env, condition, kakao, kakao_by_name, ncp, status};

const READY: (&str, &str, &str) = ("Ready", "True", "Running");

fn good_lists() -> RequestFilter {
    RequestFilter::from(Operation::KakaoClustersList).status(200)
}

async fn with_set(prefix: &str) -> Env {
    let env = Env::start(prefix).await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env
}

#[tokio::test]
async fn a_requested_read_is_echoed_only_when_it_has_come_back() {
    let env = with_set("echo").await;
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    let lists = env.clouds().requests(good_lists());
    let slow = Fault::new(Operation::KakaoClustersList, FaultKind::Delay { ms: 1500 }).times(1);
    env.clouds().inject(slow).unwrap();
    let token = env.ask_again::<RedisClusterRef>("carts").await;
    let begun = env.clouds().wait_for_requests(Operation::KakaoClustersList, lists + 1, BOUND).await;
    assert!(begun, "the read begins");
    // The object is looked at again while the read is under way: its pollInterval changes, which is another generation.
    env.merge::<RedisClusterRef>("carts", json!({ "spec": { "pollInterval": "61s" } })).await;
    let during: RedisClusterRef = env
        .until("carts", "the new generation", |reference: &RedisClusterRef| {
            reference.status.as_ref().is_some_and(|status| status.observed_generation == Some(2))
        })
        .await;
    if status(&during).last_handled_reconcile_at.is_some() {
        assert_eq!(env.clouds().requests(good_lists()), lists + 1, "echoed before the answer");
    }
    let handled = |reference: &RedisClusterRef| status(reference).last_handled_reconcile_at.as_deref() == Some(&token);
    env.until("carts", "the echo", handled).await;
    assert_eq!(env.clouds().requests(good_lists()), lists + 1, "one read for one request");
}

#[tokio::test]
async fn a_cluster_that_the_list_shows_in_part_is_read_anew_too() {
    let env = Env::start("echo-part").await;
    env.clouds().add_kakao_cluster(KakaoCluster::cluster_mode("cluster-1", "sessions")).unwrap();
    env.create::<RedisClusterRef>(kakao("sessions", "cluster-1")).await;
    env.until("sessions", "the parameter group", |reference: &RedisClusterRef| {
        let cluster = reference.status.as_ref().and_then(|status| status.cluster.as_ref());
        cluster.is_some_and(|cluster| cluster.parameter_group.is_some())
    })
    .await;
    let failing = |cluster: &mut KakaoCluster| cluster.parameter_group_sync_status = Some("Error-Sync".into());
    env.clouds().update_kakao_cluster("cluster-1", failing).unwrap();
    let shown: RedisClusterRef = env.read_again("sessions").await;
    let group = status(&shown).cluster.as_ref().unwrap().parameter_group.as_ref().unwrap();
    assert_eq!(group.sync_status.as_deref(), Some("Error-Sync"), "the echo comes after the single read");
}

#[tokio::test]
async fn what_somebody_else_wrote_into_the_picture_goes_with_the_next_one() {
    let env = with_set("foreign").await;
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    let foreign = json!({ "status": { "cluster": { "backup": { "schedule": "never" } } } });
    let (by, patch) = (PatchParams::apply("somebody"), Patch::Merge(&foreign));
    let shown = env.api::<RedisClusterRef>().patch_status("carts", &by, &patch).await.unwrap();
    assert!(status(&shown).cluster.as_ref().unwrap().backup.is_some());
    let clean = |reference: &RedisClusterRef| status(reference).cluster.as_ref().unwrap().backup.is_none();
    env.until("carts", "a picture of the cloud alone", clean).await;
}

#[tokio::test]
async fn references_with_one_credential_share_one_list_and_one_token() {
    let env = with_set("share").await;
    env.create::<RedisClusterRef>(kakao("one", "set-1")).await;
    env.until_condition::<RedisClusterRef>("one", READY).await;
    // Another Secret with the same credential is the same connection.
    env.secret("copy", crate::support::kakao_secret()).await;
    let mut other = kakao_by_name("other", "carts");
    other["spec"]["kakaoCloud"]["credentialsSecretRef"]["name"] = json!("copy");
    env.create::<RedisClusterRef>(other).await;
    env.until_condition::<RedisClusterRef>("other", READY).await;
    assert_eq!(env.clouds().requests(Operation::KakaoClustersList), 1);
    assert_eq!(env.clouds().requests(Operation::KakaoIamToken), 1);
    // One forced read is news for both.
    env.clouds().update_kakao_cluster("set-1", |cluster| cluster.status = "Modifying".into()).unwrap();
    env.read_again::<RedisClusterRef>("one").await;
    env.until_condition::<RedisClusterRef>("other", ("Ready", "False", "Progressing")).await;
    assert_eq!(env.clouds().requests(Operation::KakaoClustersList), 2);
}

#[tokio::test]
async fn a_list_from_before_is_no_answer_to_who_asks_for_the_first_time() {
    let env = with_set("first-time").await;
    env.create::<RedisClusterRef>(kakao("one", "set-1")).await;
    env.until_condition::<RedisClusterRef>("one", READY).await;
    // What a person does: a cluster at the cloud, then at once the reference to it.
    env.clouds().add_kakao_cluster(KakaoCluster::cluster_mode("cluster-2", "sessions")).unwrap();
    env.create::<RedisClusterRef>(kakao_by_name("other", "sessions")).await;
    let first_word = env
        .until("other", "an answer", |reference: &RedisClusterRef| {
            condition(reference, "Ready").is_some_and(|ready| ready.reason != "Observing")
        })
        .await;
    assert_eq!(condition(&first_word, "Ready").unwrap().reason, "Running");
    assert_eq!(env.clouds().requests(Operation::KakaoClustersList), 2);
}

#[tokio::test]
async fn a_suspended_reference_is_not_read_until_it_is_resumed() {
    let env = with_set("suspend").await;
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    env.merge::<RedisClusterRef>("carts", json!({ "spec": { "suspend": true } })).await;
    let shown = env.until_condition::<RedisClusterRef>("carts", ("Synced", "False", "Suspended")).await;
    assert_eq!(condition(&shown, "Ready").unwrap().status, "True", "as it was last known");
    let lists = env.clouds().requests(Operation::KakaoClustersList);
    env.clouds().update_kakao_cluster("set-1", |cluster| cluster.status = "Modifying".into()).unwrap();
    let shown: RedisClusterRef = env.read_again("carts").await;
    assert_eq!(status(&shown).state.as_deref(), Some("Running"), "the picture stays");
    assert_eq!(env.clouds().requests(Operation::KakaoClustersList), lists, "nothing is read");
    env.merge::<RedisClusterRef>("carts", json!({ "spec": { "suspend": false } })).await;
    let shown = env.until_condition::<RedisClusterRef>("carts", ("Ready", "False", "Progressing")).await;
    assert_eq!(condition(&shown, "Synced").unwrap().status, "True");
}

#[tokio::test]
async fn a_status_is_not_written_when_nothing_changed() {
    let env = with_set("quiet").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-2", "other")).unwrap();
    for (name, id) in [("still", "set-1"), ("busy", "set-2")] {
        env.create::<RedisClusterRef>(kakao(name, id)).await;
        env.until(name, "Ready and the catalog", |reference: &RedisClusterRef| {
            let ready = condition(reference, "Ready").is_some_and(|ready| ready.status == "True");
            ready && reference.status.as_ref().is_some_and(|status| status.engine.is_some())
        })
        .await;
    }
    let api = env.api::<RedisClusterRef>();
    let before = api.get("still").await.unwrap();
    for _ in 0..3 {
        let shown: RedisClusterRef = env.read_again("busy").await;
        assert_eq!(condition(&shown, "Ready").unwrap().status, "True");
    }
    // Its own forced read changes the echo and the time of the read, which a later one of another does not.
    assert_eq!(api.get("still").await.unwrap().resource_version(), before.resource_version());
    let echoed: RedisClusterRef = env.read_again("still").await;
    let mut expected = status(&before).clone();
    expected.last_handled_reconcile_at.clone_from(&status(&echoed).last_handled_reconcile_at);
    expected.last_observed_time.clone_from(&status(&echoed).last_observed_time);
    assert_eq!(status(&echoed), &expected);
}

#[tokio::test]
async fn a_deleted_reference_is_not_read_for_any_more() {
    let env = with_set("forget").await;
    env.clouds().add_ncp_instance(NcpInstance::single("882750", "tokens")).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.create::<RedisClusterRef>(ncp("tokens", "882750")).await;
    for name in ["carts", "tokens"] {
        env.until_condition::<RedisClusterRef>(name, READY).await;
    }
    env.api::<RedisClusterRef>().delete("carts", &Default::default()).await.unwrap();
    // The metrics are made of what is subscribed and of what there is.
    let gone = async {
        loop {
            let (_, metrics) = env.operator().page("/metrics").await;
            let labels = format!("{{namespace=\"{}\",name=\"carts\"}}", env.namespace.name());
            let is_gone = !metrics.contains(&format!("managed_redis_cluster_ready{labels}"))
                && !metrics.contains("managed_redis_poll_age_seconds{provider=\"KakaoCloud\"");
            if is_gone {
                break metrics;
            }
            tokio::task::yield_now().await;
        }
    };
    let metrics = tokio::time::timeout(BOUND, gone).await.expect("its series end");
    assert!(metrics.contains("managed_redis_poll_age_seconds{provider=\"NCP\""), "{metrics}");
}

#[tokio::test]
async fn a_reference_can_be_pointed_at_another_cluster() {
    let env = with_set("repoint").await;
    env.clouds().add_ncp_instance(NcpInstance::single("882751", "tokens")).unwrap();
    env.create::<RedisClusterRef>(kakao("any", "set-1")).await;
    env.until_condition::<RedisClusterRef>("any", READY).await;
    let other = json!({ "cloudDBInstanceNo": "882751", "credentialsSecretRef": { "name": "ncp" } });
    env.merge::<RedisClusterRef>("any", json!({ "spec": { "kakaoCloud": null, "ncp": other } })).await;
    let shown = env
        .until("any", "NCP's picture", |reference: &RedisClusterRef| {
            reference.status.as_ref().is_some_and(|status| status.state.as_deref() == Some("running"))
        })
        .await;
    let status = status(&shown);
    assert_eq!((status.provider.as_deref(), &status.engine), (Some("NCP"), &None), "nothing of the former is left");
    assert_eq!(status.cluster.as_ref().unwrap().id.as_deref(), Some("882751"));
}

/// The operator's own interval, without any request by annotation.
#[tokio::test]
async fn changes_are_seen_within_the_poll_interval() {
    let env = with_set("interval").await;
    let mut object = kakao("carts", "set-1");
    object["spec"]["pollInterval"] = json!("10s");
    env.create::<RedisClusterRef>(object).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    env.clouds().update_kakao_cluster("set-1", |cluster| cluster.status = "Modifying".into()).unwrap();
    let changed = env.until_condition::<RedisClusterRef>("carts", ("Ready", "False", "Progressing"));
    tokio::time::timeout(Duration::from_secs(20), changed).await.expect("two intervals are enough");
}
