//! RedisClusterRef: what its status shows.

use fake_cloud::{
    CreatedAtStyle, Fault, FaultKind, KakaoBackupSchedule, KakaoCluster, KakaoIdRef, KakaoSubnetAssignment,
    NcpBehaviour, NcpInstance, Operation,
};
use managed_redis_operator::api::RedisClusterRef;
use serde_json::{Value, json};

use crate::support::{Env, condition, kakao, kakao_by_name, ncp, status};

const READY: (&str, &str, &str) = ("Ready", "True", "Running");

/// The status without what differs from run to run: times that the operator sets.
fn timeless(reference: &RedisClusterRef) -> Value {
    let mut value = serde_json::to_value(status(reference)).unwrap();
    assert!(value["lastObservedTime"].is_string(), "{value}");
    value.as_object_mut().unwrap().remove("lastObservedTime");
    for condition in value["conditions"].as_array_mut().unwrap() {
        assert!(condition["lastTransitionTime"].is_string(), "{condition}");
        condition.as_object_mut().unwrap().remove("lastTransitionTime");
    }
    value
}

fn running(word: &str) -> Value {
    json!([
        { "type": "Ready", "status": "True", "reason": "Running", "message": format!("The cloud reports state {word}."),
          "observedGeneration": 1 },
        { "type": "Synced", "status": "True", "reason": "ObserveSucceeded", "message": "The cloud was read.",
          "observedGeneration": 1 },
    ])
}

/// A cluster that has everything KakaoCloud can say of one.
fn rich_cluster() -> KakaoCluster {
    let shard = |primary: &str, replica: &str| KakaoSubnetAssignment {
        primary: KakaoIdRef::new(primary),
        replicas: vec![KakaoIdRef::new(replica)],
    };
    KakaoCluster {
        description: "sessions of the web shop".into(),
        version: "6.2.14".into(),
        port: 6380,
        user_name: "app".into(),
        subnets: vec![KakaoIdRef::new("net-a"), KakaoIdRef::new("net-b")],
        subnet_assignments: vec![shard("net-a", "net-b"), shard("net-b", "net-a"), shard("net-a", "net-a")],
        security_groups: vec![KakaoIdRef::new("sg-1"), KakaoIdRef::new("sg-2")],
        backup_schedule: Some(KakaoBackupSchedule { cron: "0 4 * * *".into(), retention_limit: 7 }),
        created_at: Some("2026-03-04T05:06:07Z".parse().unwrap()),
        parameter_group_id: Some("group-7".into()),
        parameter_group_name: Some("tuned".into()),
        ..KakaoCluster::cluster_mode("cluster-1", "sessions")
    }
}

#[tokio::test]
async fn a_kakaocloud_cluster_is_shown_whole() {
    let env = Env::start("kakao-whole").await;
    env.clouds().add_kakao_cluster(rich_cluster()).unwrap();
    env.create::<RedisClusterRef>(kakao("sessions", "cluster-1")).await;
    let shown = env
        .until("sessions", "Ready, with what the catalog and the single read add", |reference: &RedisClusterRef| {
            let Some(status) = &reference.status else { return false };
            let cluster = status.cluster.as_ref();
            status.engine.is_some() && cluster.is_some_and(|cluster| cluster.parameter_group.is_some())
        })
        .await;
    let wanted = json!({
        "observedGeneration": 1,
        "conditions": running("Running"),
        "provider": "KakaoCloud",
        "state": "Running",
        "cluster": {
            "id": "cluster-1",
            "name": "sessions",
            "description": "sessions of the web shop",
            "projectID": "7c1f3a5b9d2e4f60817263544a5b6c7d",
            "engine": "Redis",
            "engineVersion": "6.2.14",
            "port": 6380,
            "mode": "Cluster",
            "highAvailability": true,
            "shardCount": 3,
            "nodeCount": 6,
            "flavor": {
                "id": "0d9f4a62-71c8-4e35-b2aa-6f3e8c5d1002", "name": "r2.medium", "vcpus": 4, "memoryMiB": 8192
            },
            "endpoints": { "primary": "sessions-primary.kr-central-2.memstore.example" },
            "userName": "app",
            "subnetIDs": ["net-a", "net-b"],
            "subnetAssignments": [
                { "primary": "net-a", "replicas": ["net-b"] },
                { "primary": "net-b", "replicas": ["net-a"] },
                { "primary": "net-a", "replicas": ["net-a"] },
            ],
            "securityGroupIDs": ["sg-1", "sg-2"],
            "backup": { "schedule": "0 4 * * *", "retentionDays": 7 },
            "creator": "platform@shop.example",
            "license": "BSD-3-Clause",
            "createdAt": "2026-03-04T05:06:07Z",
            "parameterGroup": { "id": "group-7", "name": "tuned", "syncStatus": "In-Sync" },
        },
        "engine": { "offered": true, "newest": "7.2.11" },
    });
    assert_eq!(timeless(&shown), wanted);
}

#[tokio::test]
async fn an_instance_set_is_found_by_its_name() {
    let env = Env::start("kakao-name").await;
    let set = KakaoCluster { version: "5.0.6".into(), ..KakaoCluster::instance_set("set-1", "carts") };
    env.clouds().add_kakao_cluster(set).unwrap();
    env.create::<RedisClusterRef>(kakao_by_name("by-name", "carts")).await;
    let shown = env.until("by-name", "an engine", |r: &RedisClusterRef| {
        r.status.as_ref().is_some_and(|status| status.engine.is_some())
    });
    let shown = timeless(&shown.await);
    assert_eq!(shown["cluster"]["id"], "set-1");
    assert_eq!(shown["cluster"]["mode"], "Standalone");
    assert_eq!(shown["cluster"]["shardCount"], 0, "the cloud's own number");
    assert_eq!(shown["cluster"].get("userName"), None, "\"-\" is no user");
    assert_eq!(
        shown["cluster"]["endpoints"],
        json!({ "primary": "carts-primary.kr-central-2.memstore.example", "read": "carts-read.kr-central-2.memstore.example" })
    );
    assert_eq!(shown["engine"], json!({ "offered": false, "newest": "7.2.11" }), "5.0.6 is not on offer any more");
    assert_eq!(env.clouds().requests(Operation::KakaoClusterGet), 0, "the list says it all");
}

#[tokio::test]
async fn an_ncp_instance_is_shown_whole() {
    let env = Env::start("ncp-whole").await;
    let instance = NcpInstance {
        create_date: Some("2026-05-06T07:08:09Z".parse().unwrap()),
        backup_time: "02:30".into(),
        backup_file_retention_period: 5,
        config_group_list: vec![json!({
            "configGroupNo": "417", "configGroupType": "REDIS", "configGroupName": "cart-config"
        })],
        access_control_group_list: vec![json!({
            "accessControlGroupConfigurationNo": "93310", "accessControlGroupName": "cart-acg"
        })],
        needs_reboot: true,
        behaviour: NcpBehaviour {
            overrides: [("rebootScheduleTime".to_owned(), json!("2026-06-01T04:00:00+0900"))].into_iter().collect(),
            ..NcpBehaviour::default()
        },
        ..NcpInstance::highly_available("882744", "cart-cache")
    };
    env.clouds().add_ncp_instance(instance).unwrap();
    env.create::<RedisClusterRef>(ncp("cart", "882744")).await;
    let shown = env.until_condition::<RedisClusterRef>("cart", READY).await;
    let wanted = json!({
        "observedGeneration": 1,
        "conditions": running("running"),
        "provider": "NCP",
        "state": "running",
        "cluster": {
            "id": "882744",
            "name": "cart-cache",
            "engine": "Redis",
            "engineVersion": "4.0.2",
            "port": 6379,
            "mode": "Standalone",
            "highAvailability": true,
            "nodeCount": 2,
            "flavor": { "id": "SPSVRDBAAS000008", "vcpus": 2, "memoryMiB": 4096 },
            "endpoints": { "primary": "cart-cache-001.cdb.ncp.example" },
            "securityGroupIDs": ["93310"],
            "backup": { "schedule": "02:30", "retentionDays": 5 },
            "license": "BSD",
            "createdAt": "2026-05-06T07:08:09Z",
            "parameterGroup": { "id": "417", "name": "cart-config" },
            "zone": "KR-2",
            "needsReboot": true,
            "configNeedsReboot": false,
            "rebootScheduledAt": "2026-05-31T19:00:00Z",
            "nodes": [
                {
                    "id": "8827441", "name": "cart-cache-001", "role": "Master", "state": "running",
                    "privateDomain": "cart-cache-001.cdb.ncp.example",
                    "createdAt": "2026-05-06T07:08:09Z", "startedAt": "2026-05-06T07:08:09Z",
                },
                { "name": "cart-cache-002", "role": "HiddenMaster" },
            ],
        },
    });
    assert_eq!(timeless(&shown), wanted);
}

#[tokio::test]
async fn an_ncp_instance_is_found_by_its_service_name() {
    let env = Env::start("ncp-name").await;
    env.clouds().add_ncp_instance(NcpInstance::single("882745", "tokens")).unwrap();
    let mut object = ncp("tokens", "1");
    object["spec"]["ncp"] =
        json!({ "site": "Fin", "cloudDBServiceName": "tokens", "credentialsSecretRef": { "name": "ncp" } });
    env.create::<RedisClusterRef>(object).await;
    let shown = env.until_condition::<RedisClusterRef>("tokens", READY).await;
    let cluster = status(&shown).cluster.as_ref().unwrap();
    assert_eq!((cluster.id.as_deref(), cluster.high_availability), (Some("882745"), Some(false)));
}

#[tokio::test]
async fn without_versions_and_flavors_those_fields_are_absent() {
    let env = Env::start("no-catalog").await;
    let down = FaultKind::Status { code: 404, body: None, content_type: None, retry_after: None };
    env.clouds().inject(Fault::new(Operation::KakaoVersions, down)).unwrap();
    env.clouds().inject(Fault::new(Operation::KakaoFlavors, FaultKind::Html)).unwrap();
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    let asked = |clouds: &fake_cloud::StateHandle| {
        [Operation::KakaoVersions, Operation::KakaoFlavors].into_iter().all(|operation| clouds.requests(operation) > 0)
    };
    assert!(env.clouds().wait_until(crate::support::BOUND, asked).await, "the catalog is asked for");
    let shown = timeless(&env.read_again("carts").await);
    assert_eq!(shown.get("engine"), None);
    let flavor = json!({ "id": "0d9f4a62-71c8-4e35-b2aa-6f3e8c5d1002", "vcpus": 4, "memoryMiB": 8192 });
    assert_eq!(shown["cluster"]["flavor"], flavor, "what the cluster itself says");
    assert_eq!(shown["conditions"], running("Running"));
}

#[tokio::test]
async fn every_form_of_created_at_is_read() {
    let env = Env::start("created-at").await;
    let forms = [
        ("text", CreatedAtStyle::Text, Some("2026-01-02T03:04:05Z")),
        ("seconds", CreatedAtStyle::Seconds, Some("2026-01-02T03:04:05Z")),
        ("milliseconds", CreatedAtStyle::Milliseconds, Some("2026-01-02T03:04:05Z")),
        ("null", CreatedAtStyle::ExplicitNull, None),
        ("absent", CreatedAtStyle::Absent, None),
    ];
    for (name, style, _) in forms {
        let mut cluster = KakaoCluster::instance_set(name, name);
        cluster.created_at = Some("2026-01-02T03:04:05Z".parse().unwrap());
        cluster.behaviour.created_at_style = style;
        env.clouds().add_kakao_cluster(cluster).unwrap();
        env.create::<RedisClusterRef>(kakao(name, name)).await;
    }
    for (name, _, wanted) in forms {
        let shown = env.until_condition::<RedisClusterRef>(name, READY).await;
        assert_eq!(timeless(&shown)["cluster"]["createdAt"].as_str(), wanted, "{name}");
    }
}

#[tokio::test]
async fn state_words_become_conditions() {
    let env = Env::start("words").await;
    let id = env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", &id)).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    for (word, ready, reason, reconciling) in [
        ("Modifying", "False", "Progressing", true),
        ("Scaling(horizontal)", "False", "Progressing", true),
        ("Levitating", "Unknown", "UnknownState", false),
        ("RUNNING", "True", "Running", false),
        ("stopped", "False", "NotRunning", false),
        ("Running", "True", "Running", false),
    ] {
        env.clouds().update_kakao_cluster(&id, |cluster| cluster.status = word.into()).unwrap();
        let shown: RedisClusterRef = env.read_again("carts").await;
        assert_eq!(status(&shown).state.as_deref(), Some(word), "the provider's own word");
        let found = condition(&shown, "Ready").unwrap();
        assert_eq!((found.status.as_str(), found.reason.as_str()), (ready, reason), "{word}");
        assert_eq!(condition(&shown, "Reconciling").is_some(), reconciling, "{word}");
        assert!(condition(&shown, "Stalled").is_none(), "{word}");
        assert_eq!(condition(&shown, "Synced").unwrap().status, "True", "{word}");
    }
}

#[tokio::test]
async fn a_new_cluster_has_no_endpoint_until_it_is_built() {
    let env = Env::start("building").await;
    let mut cluster = KakaoCluster { status: "Creating".into(), ..KakaoCluster::instance_set("set-1", "carts") };
    cluster.behaviour.create_seconds = Some(3600);
    env.clouds().add_kakao_cluster(cluster).unwrap();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    let shown = env.until_condition::<RedisClusterRef>("carts", ("Ready", "False", "Progressing")).await;
    assert_eq!(status(&shown).cluster.as_ref().unwrap().endpoints, None);
    env.clouds().advance(std::time::Duration::from_secs(3600));
    let shown: RedisClusterRef = env.read_again("carts").await;
    assert_eq!(condition(&shown, "Ready").unwrap().status, "True");
    assert!(status(&shown).cluster.as_ref().unwrap().endpoints.is_some());
}
