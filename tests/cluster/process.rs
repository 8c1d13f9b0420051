//! The operator as a process: its start, its end, who leads, what it serves.

use std::time::Duration;

use fake_cloud::{Fault, FaultKind, KakaoCluster, Operation};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use managed_redis_operator::api::{RedisClusterRef, RedisParameterSync, crds};
use serde_json::json;
use testbed::{ApiServer, Options};
use tokio::io::AsyncWriteExt as _;

use crate::support::{BOUND, Env, TestOperator, condition, kakao, parameter_sync, server, status};

const READY: (&str, &str, &str) = ("Ready", "True", "Running");
/// From SIGTERM to the end, at most.
const END: Duration = Duration::from_secs(10);

async fn with_set(prefix: &str, flags: &[&str]) -> Env {
    let env = Env::start_with(prefix, flags).await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env
}

async fn ends_well(operator: &mut TestOperator) {
    operator.terminate();
    let status = operator.ended(END).await;
    assert_eq!(status.code(), Some(0), "{}", operator.tail());
    assert!(operator.log().ends_with("stopped"), "{}", operator.tail());
}

#[tokio::test]
async fn it_waits_for_the_crds_and_says_so() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let env = Env::on(&server, "no-crds").await;
    let operator = env.spawn(&[]);
    let line = operator.logged("waiting for CRDs").await;
    assert!(line.contains("managed-redis-operator crds | kubectl apply --server-side -f -"), "{line}");
    assert!(line.contains("redisclusterrefs.managedredis.dev, redisflushrequests.managedredis.dev"), "{line}");
    let (code, sentence) = operator.page("/readyz").await;
    assert_eq!(code, 503);
    assert!(sentence.starts_with("waiting for the CRDs: redisclusterrefs.managedredis.dev"), "{sentence}");
    assert_eq!(operator.page("/healthz").await, (200, "ok".to_owned()), "a restart would not help");
    testbed::crds::install(&server.client().unwrap(), &crds()).await.unwrap();
    operator.ready().await;
    assert_eq!(operator.page("/readyz").await, (200, "ok".to_owned()));
    assert_eq!(operator.log().matches("waiting for CRDs").count(), 1, "one line, not one a second");
    server.stop().await;
}

#[tokio::test]
async fn the_metrics_have_the_names_that_alerts_are_written_on() {
    let env = with_set("metrics", &[]).await;
    let failing = |cluster: &mut KakaoCluster| {
        cluster.parameter_group_sync_status = Some("Error-Sync".into());
        cluster.behaviour.apply_seconds = Some(0);
    };
    env.clouds().update_kakao_cluster("set-1", failing).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    env.create::<RedisParameterSync>(parameter_sync("carts", json!({ "clusterRef": { "name": "carts" } }))).await;
    let in_sync = |sync: &RedisParameterSync| condition(sync, "Ready").is_some_and(|ready| ready.status == "True");
    env.read_until("carts", "carts", "In-Sync", in_sync).await;
    let (code, text) = env.operator().page("/metrics").await;
    assert_eq!(code, 200);
    let object = format!("{{namespace=\"{}\",name=\"carts\"}}", env.namespace.name());
    for wanted in [
        "managed_redis_reconcile_total{controller=\"RedisClusterRef\",outcome=\"applied\"} ",
        "managed_redis_reconcile_duration_seconds_bucket{",
        "managed_redis_cloud_requests_total{provider=\"KakaoCloud\",operation=\"issueToken\",code=\"201\"} 1\n",
        "managed_redis_parameter_apply_total{outcome=\"accepted\"} 1\n",
        "managed_redis_cloud_request_duration_seconds_count{provider=\"KakaoCloud\",operation=\"issueToken\"} 1\n",
        "managed_redis_poll_age_seconds{provider=\"KakaoCloud\",connection=\"",
        "managed_redis_clusters{provider=\"KakaoCloud\",state=\"Running\"} 1\n",
        &format!("managed_redis_cluster_ready{object} 1\n"),
        &format!("managed_redis_parameter_sync_failing{object} 0\n"),
        "managed_redis_status_writes_total{kind=\"RedisClusterRef\"} ",
        "managed_redis_watches_failing{kind=\"RedisFlushRequest\"} 0\n",
        "managed_redis_watch_silence_seconds{kind=\"RedisClusterRef\"} ",
        "managed_redis_leader 1\n",
        "managed_redis_build_info{version=\"",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"), "OpenMetrics");
}

#[tokio::test]
async fn sigterm_ends_it_well_even_while_a_list_hangs() {
    let env = Env::without_operator("term-list").await;
    env.clouds().inject(Fault::new(Operation::KakaoClustersList, FaultKind::Hang)).unwrap();
    let mut operator = env.spawn(&[]);
    operator.ready().await;
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    assert!(env.clouds().wait_for_requests(Operation::KakaoClustersList, 1, BOUND).await);
    ends_well(&mut operator).await;
}

#[tokio::test]
async fn sigterm_ends_it_well_even_while_an_application_hangs() {
    let env = Env::without_operator("term-apply").await;
    env.clouds().inject(Fault::new(Operation::KakaoParameterGroupApply, FaultKind::Hang)).unwrap();
    let failing = KakaoCluster {
        parameter_group_sync_status: Some("Error-Sync".into()),
        ..KakaoCluster::instance_set("set-1", "carts")
    };
    env.clouds().add_kakao_cluster(failing).unwrap();
    let mut operator = env.spawn(&[]);
    operator.ready().await;
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.create::<RedisParameterSync>(parameter_sync("carts", json!({ "clusterRef": { "name": "carts" } }))).await;
    assert!(env.clouds().wait_for_requests(Operation::KakaoParameterGroupApply, 1, BOUND).await, "{}", operator.tail());
    ends_well(&mut operator).await;
}

#[tokio::test]
async fn sigterm_ends_it_well_even_while_a_client_dawdles_at_the_admin_server() {
    let env = Env::without_operator("term-admin").await;
    let mut operator = env.spawn(&[]);
    operator.ready().await;
    let mut dawdler = tokio::net::TcpStream::connect(operator.admin().await).await.unwrap();
    dawdler.write_all(b"GET /metrics HTTP/1.1\r\nHost:").await.unwrap();
    // It is answered by turns, so the half request has arrived before this whole one is answered.
    assert_eq!(operator.page("/healthz").await.0, 200);
    ends_well(&mut operator).await;
    drop(dawdler);
}

#[tokio::test]
async fn sigterm_ends_it_well_while_it_waits_for_the_crds_or_the_lease() {
    let env = Env::without_operator("term-lease").await;
    let leader = env.spawn(&["--leader-election"]);
    leader.ready().await;
    let mut other = env.spawn(&["--leader-election"]);
    other.logged("waiting to lead").await;
    ends_well(&mut other).await;
}

#[tokio::test]
async fn one_replica_leads_and_the_other_takes_over() {
    let env = Env::without_operator("leader").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    let mut first = env.spawn(&["--leader-election"]);
    first.ready().await;
    let second = env.spawn(&["--leader-election"]);
    second.logged("waiting to lead").await;
    assert_eq!(second.page("/readyz").await, (200, "standing by, another replica leads".to_owned()));
    assert!(second.page("/metrics").await.1.contains("managed_redis_leader 0\n"));
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    assert!(!second.log().contains("leading"), "{}", second.tail());
    assert_eq!(env.clouds().requests(Operation::KakaoClustersList), 1, "only the leader reads");
    let holder = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
    let held = env.api::<Lease>().get("managed-redis-operator").await.unwrap();
    assert!(first.log().contains(&format!("identity={}", holder(&held))), "{held:?}");
    ends_well(&mut first).await;
    let taken = tokio::time::timeout(Duration::from_secs(30), second.ready()).await;
    assert!(taken.is_ok(), "{}", second.tail());
    let held = env.api::<Lease>().get("managed-redis-operator").await.unwrap();
    assert!(second.log().contains(&format!("identity={}", holder(&held))), "{held:?}");
    env.clouds().update_kakao_cluster("set-1", |cluster| cluster.status = "Modifying".into()).unwrap();
    let shown: RedisClusterRef = env.read_again("carts").await;
    assert_eq!(status(&shown).state.as_deref(), Some("Modifying"));
}

/// A lease that somebody else takes (an administrator's edit, a split brain healed) ends the process with an error.
#[tokio::test]
async fn who_loses_the_lease_stops() {
    let env = Env::without_operator("usurped").await;
    let mut operator = env.spawn(&["--leader-election"]);
    operator.ready().await;
    let leases = env.api::<Lease>();
    let mut lease = leases.get("managed-redis-operator").await.unwrap();
    let spec = lease.spec.as_mut().unwrap();
    spec.holder_identity = Some("somebody-else".to_owned());
    spec.lease_duration_seconds = Some(3600);
    leases.delete("managed-redis-operator", &Default::default()).await.unwrap();
    lease.metadata.resource_version = None;
    lease.metadata.uid = None;
    leases.create(&PostParams::default(), &lease).await.unwrap();
    let status = operator.ended(BOUND).await;
    assert_eq!(status.code(), Some(1), "{}", operator.tail());
    assert!(operator.log().contains("leadership was lost"), "{}", operator.tail());
}

#[tokio::test]
async fn several_namespaces_are_watched_and_others_are_not() {
    let (second, third) = (server().await.namespace("watch-b").await.unwrap(), "watch-c");
    let third = server().await.namespace(third).await.unwrap();
    let env = with_set("watch-a", &["--watch-namespace", second.name()]).await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-2", "other")).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    let object: RedisClusterRef = serde_json::from_value(kakao("carts", "set-2")).unwrap();
    let secret = env.api::<k8s_openapi::api::core::v1::Secret>().get("kakaocloud").await.unwrap();
    for namespace in [&second, &third] {
        let mut copy = secret.clone();
        copy.metadata = kube::api::ObjectMeta { name: copy.metadata.name, ..Default::default() };
        namespace.api().create(&PostParams::default(), &copy).await.unwrap();
        namespace.api().create(&PostParams::default(), &object).await.unwrap();
    }
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    let state = |word: &'static str| {
        move |reference: &RedisClusterRef| {
            reference.status.as_ref().is_some_and(|status| status.state.as_deref() == Some(word))
        }
    };
    let in_second = |word| crate::support::until(second.api(), "carts", word, Some(env.operator()), state(word));
    in_second("Running").await;
    // News reach the controller of the right namespace.
    env.clouds().update_kakao_cluster("set-2", |cluster| cluster.status = "Modifying".into()).unwrap();
    env.read_again::<RedisClusterRef>("carts").await;
    in_second("Modifying").await;
    let ignored = third.api::<RedisClusterRef>().get("carts").await.unwrap();
    assert_eq!(status(&ignored).observed_generation, Some(-1));
}

#[tokio::test]
async fn only_objects_with_the_labels_are_touched() {
    let env = with_set("labels", &["--label-selector", "team=shop"]).await;
    env.create::<RedisClusterRef>(kakao("without", "set-1")).await;
    let mut labelled = kakao("with", "set-1");
    labelled["metadata"]["labels"] = json!({ "team": "shop" });
    env.create::<RedisClusterRef>(labelled).await;
    env.until_condition::<RedisClusterRef>("with", READY).await;
    let untouched = env.api::<RedisClusterRef>().get("without").await.unwrap();
    assert_eq!(status(&untouched).observed_generation, Some(-1));
}

/// The upgrade of a control plane: meanwhile the API server refuses and breaks connections.
#[tokio::test]
async fn it_outlives_a_restart_of_the_api_server() {
    let mut server = ApiServer::start(Options::default()).await.unwrap();
    testbed::crds::install(&server.client().unwrap(), &crds()).await.unwrap();
    let env = Env::on(&server, "restart").await.with_operator(&[]).await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    server.restart_apiserver().await.unwrap();
    env.clouds().update_kakao_cluster("set-1", |cluster| cluster.status = "Modifying".into()).unwrap();
    let shown: RedisClusterRef = env.read_again("carts").await;
    assert_eq!(status(&shown).state.as_deref(), Some("Modifying"));
    drop(env);
    server.stop().await;
}
