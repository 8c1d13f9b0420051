//! What many references, a restart and a cloud in trouble may cost. Time is told by the lists of a connection that is well.

use std::time::Duration;

use fake_cloud::{Fault, FaultKind, KakaoCluster, NcpInstance, Operation};
use kube::ResourceExt as _;
use kube::api::ListParams;
use managed_redis_operator::api::RedisClusterRef;
use serde_json::{Value, json};

use crate::support::{BOUND, Env, kakao, ncp};

const READY: (&str, &str, &str) = ("Ready", "True", "Running");
const MANY: usize = 30;

fn every_ten_seconds(mut object: Value) -> Value {
    object["spec"]["pollInterval"] = json!("10s");
    object
}

/// So many references to as many instance sets, all Ready.
async fn with_many(env: &Env) {
    for number in 0..MANY {
        let id = format!("set-{number}");
        env.clouds().add_kakao_cluster(KakaoCluster::instance_set(&id, format!("carts-{number}"))).unwrap();
        env.create::<RedisClusterRef>(kakao(&id, &id)).await;
    }
    for number in 0..MANY {
        env.until_condition::<RedisClusterRef>(&format!("set-{number}"), READY).await;
    }
}

/// Name and version of every reference.
async fn versions(env: &Env) -> Vec<(String, Option<String>)> {
    let all = env.api::<RedisClusterRef>().list(&ListParams::default()).await.expect("references can be listed");
    all.items.iter().map(|reference| (reference.name_any(), reference.resource_version())).collect()
}

/// References at a cloud that is well, read every ten seconds, so that its lists tell the time; and one at a cloud about to fail.
async fn with_two_clouds(prefix: &str) -> Env {
    let env = Env::start(prefix).await;
    env.clouds().add_ncp_instance(NcpInstance::single("882791", "tokens")).unwrap();
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    for (name, object) in [("tokens", ncp("tokens", "882791")), ("carts", kakao("carts", "set-1"))] {
        env.create::<RedisClusterRef>(every_ten_seconds(object)).await;
        env.until_condition::<RedisClusterRef>(name, READY).await;
    }
    env
}

/// Waits for so many more lists of the cloud that is well, nine seconds or more apart.
async fn ncp_lists(env: &Env, more: u64) {
    let lists = env.clouds().requests(Operation::NcpInstancesList);
    let bound = BOUND + Duration::from_secs(11 * more);
    assert!(env.clouds().wait_for_requests(Operation::NcpInstancesList, lists + more, bound).await);
}

#[tokio::test]
async fn many_references_are_written_once_and_cost_one_list() {
    let env = Env::without_operator("many").await;
    for number in 0..MANY {
        let id = format!("set-{number}");
        env.clouds().add_kakao_cluster(KakaoCluster::instance_set(&id, format!("carts-{number}"))).unwrap();
        env.create::<RedisClusterRef>(kakao(&id, &id)).await;
    }
    let env = env.with_operator(&[]).await;
    for number in 0..MANY {
        let shown = env.until_condition::<RedisClusterRef>(&format!("set-{number}"), READY).await;
        assert!(shown.status.unwrap().engine.is_some(), "what the catalog adds is there from the first");
    }
    let (_, metrics) = env.operator().page("/metrics").await;
    let writes = format!("managed_redis_status_writes_total{{kind=\"RedisClusterRef\"}} {MANY}");
    assert!(metrics.contains(&writes), "one write each: {metrics}");
    assert_eq!(env.clouds().requests(Operation::KakaoClustersList), 1);
    assert_eq!(env.clouds().requests(Operation::KakaoIamToken), 1);
    assert_eq!(env.clouds().requests(Operation::KakaoClusterGet), 0);
}

#[tokio::test]
async fn a_restart_writes_nothing_and_lists_once() {
    let env = Env::without_operator("restart").await;
    {
        let env = &env;
        let first = env.spawn(&[]);
        first.ready().await;
        with_many(env).await;
    }
    let before = versions(&env).await;
    let lists = env.clouds().requests(Operation::KakaoClustersList);
    let env = env.with_operator(&[]).await;
    let listed = env.clouds().wait_for_requests(Operation::KakaoClustersList, lists + 1, BOUND).await;
    assert!(listed);
    // Another new reference comes after them in every queue, and is Ready only after a list.
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("late", "late")).unwrap();
    env.create::<RedisClusterRef>(kakao("late", "late")).await;
    env.until_condition::<RedisClusterRef>("late", READY).await;
    let after: Vec<_> = versions(&env).await.into_iter().filter(|(name, _)| name != "late").collect();
    assert_eq!(after, before, "nothing is written again");
}

#[tokio::test]
async fn an_outage_is_probed_seldom_and_disturbs_nobody_else() {
    let env = with_two_clouds("outage").await;
    let failing = FaultKind::Status { code: 503, body: None, content_type: None, retry_after: None };
    env.clouds().inject(Fault::new(Operation::KakaoClustersList, failing)).unwrap();
    env.until_condition::<RedisClusterRef>("carts", ("Synced", "False", "CloudUnavailable")).await;
    let asked = env.clouds().requests(Operation::KakaoClustersList);
    // Eighteen seconds or more.
    ncp_lists(&env, 2).await;
    assert!(env.clouds().requests(Operation::KakaoClustersList) <= asked + 1, "one probe in 30 s, not one in 10");
    env.clouds().clear_faults();
    env.until("carts", "recovery", |reference: &RedisClusterRef| {
        let conditions = &reference.status.as_ref().unwrap().conditions;
        conditions.iter().any(|condition| condition.type_ == "Synced" && condition.status == "True")
    })
    .await;
}

/// Clusters in cluster mode are read one by one, all the time: in an outage it is they that notice it, long before a list is due.
#[tokio::test]
async fn single_reads_that_fail_ask_the_list_whether_the_cloud_is_down_and_stop() {
    let env = Env::start("outage-reads").await;
    for number in 0..MANY {
        let id = format!("cluster-{number}");
        env.clouds().add_kakao_cluster(KakaoCluster::cluster_mode(&id, format!("sessions-{number}"))).unwrap();
        env.create::<RedisClusterRef>(kakao(&id, &id)).await;
    }
    // Every one has been read by itself; the next list is most of a minute away.
    let all_read = env.clouds().wait_for_requests(Operation::KakaoClusterGet, MANY as u64, BOUND).await;
    assert!(all_read, "each is read for its parameter group");
    let shown: RedisClusterRef = env.read_again("cluster-0").await;
    assert_eq!(shown.status.unwrap().state.as_deref(), Some("Running"));
    let down = FaultKind::Status { code: 503, body: None, content_type: None, retry_after: None };
    env.clouds().inject(Fault::new(Operation::Any, down)).unwrap();
    let (lists, reads) =
        (env.clouds().requests(Operation::KakaoClustersList), env.clouds().requests(Operation::KakaoClusterGet));
    // Somebody reads a cluster while the cloud is down: with the next read that is due, or because the list is.
    let listed = env.clouds().wait_for_requests(Operation::KakaoClustersList, lists + 1, BOUND * 2).await;
    assert!(listed, "the list is asked");
    let reads = env.clouds().requests(Operation::KakaoClusterGet) - reads;
    assert!(reads <= 24, "{reads} reads were tried before the list was asked");
}

#[tokio::test]
async fn a_retry_after_is_obeyed_by_the_whole_connection_and_by_no_other() {
    let env = with_two_clouds("retry-after").await;
    let refusal = FaultKind::TooManyRequests { retry_after_seconds: Some(45), error_code: None };
    env.clouds().inject(Fault::new(Operation::KakaoClustersList, refusal).times(1)).unwrap();
    env.until_condition::<RedisClusterRef>("carts", ("Synced", "False", "RateLimited")).await;
    let kakao = || {
        let counts = env.clouds().request_counts();
        counts
            .iter()
            .filter(|(operation, _)| **operation != Operation::NcpInstancesList)
            .map(|(_, c)| c.total)
            .sum::<u64>()
    };
    let asked = kakao();
    // What a person asks for has to wait too.
    env.ask_again::<RedisClusterRef>("carts").await;
    ncp_lists(&env, 2).await;
    assert_eq!(kakao(), asked, "not one request before its time");
    env.until_condition::<RedisClusterRef>("carts", ("Synced", "True", "ObserveSucceeded")).await;
}

#[tokio::test]
async fn a_connection_that_hangs_does_not_delay_another() {
    let env = Env::start("hang").await;
    env.clouds().inject(Fault::new(Operation::KakaoClustersList, FaultKind::Hang)).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    assert!(env.clouds().wait_for_requests(Operation::KakaoClustersList, 1, BOUND).await, "it hangs");
    env.clouds().add_ncp_instance(NcpInstance::single("882792", "tokens")).unwrap();
    env.create::<RedisClusterRef>(ncp("tokens", "882792")).await;
    env.until_condition::<RedisClusterRef>("tokens", READY).await;
    let shown = env.api::<RedisClusterRef>().get("carts").await.unwrap();
    assert_eq!(shown.status.and_then(|status| status.state), None, "it still hangs");
}
