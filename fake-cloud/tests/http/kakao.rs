use std::time::Duration;

use fake_cloud::{CreatedAtStyle, KakaoCluster, KakaoFlavor, Operation};
use reqwest::Method;
use serde_json::{Value, json};

use crate::clouds::{Clouds, ReceivedAnswer};

const ORDERS: &str = "3f8c2a10-6d47-4b0e-9c15-a2e47f90b801";
const SESSIONS: &str = "91d7e4b6-0f2c-4a83-b5e9-7c306d1a5f02";

async fn two_clusters() -> Clouds {
    let clouds = Clouds::start().await;
    clouds.fake.state().add_kakao_cluster(KakaoCluster::cluster_mode(ORDERS, "orders")).unwrap();
    clouds.fake.state().add_kakao_cluster(KakaoCluster::instance_set(SESSIONS, "sessions")).unwrap();
    clouds
}

async fn field(clouds: &Clouds, id: &str, pointer: &str) -> Value {
    clouds.get(&format!("/v1/clusters/{id}")).await.at(pointer)
}

#[tokio::test]
async fn versions_are_a_bare_list_newest_first() {
    let clouds = Clouds::start().await;
    assert_eq!(clouds.get("/v1/redis/versions").await.at("/0"), "7.2.11");
    clouds.fake.state().set_kakao_versions(["8.0.1"]);
    assert_eq!(clouds.get("/v1/redis/versions").await.json(), json!(["8.0.1"]));
}

#[tokio::test]
async fn flavors_have_vcpus_and_gibibytes() {
    let clouds = Clouds::start().await;
    let answer = clouds.get("/v1/redis/flavors").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["flavors"].as_array().unwrap().len(), 4);
    clouds.fake.state().set_kakao_flavors(vec![KakaoFlavor { id: "f".into(), name: "n".into(), vcpus: 3, memory: 7 }]);
    let want = json!({"flavors": [{"id": "f", "name": "n", "vcpus": 3, "memory": 7}]});
    assert_eq!(clouds.get("/v1/redis/flavors").await.json(), want);
}

#[tokio::test]
async fn clusters_and_instance_sets_share_a_path() {
    let clouds = two_clusters().await;
    let orders = clouds.get(&format!("/v1/clusters/{ORDERS}")).await.json();
    let picture = ["name", "clusterEnabled", "shardCount", "totalNodeCount", "userName", "backupSchedule"];
    assert_eq!(
        picture.map(|name| &orders[name]),
        [&json!("orders"), &json!(true), &json!(3), &json!(6), &json!("-"), &Value::Null]
    );
    assert_eq!(orders["endpoints"]["readEndpoint"], "");
    let sessions = clouds.get(&format!("/v1/clusters/{SESSIONS}")).await.json();
    assert_eq!((&sessions["clusterEnabled"], &sessions["shardCount"]), (&json!(false), &json!(0)));
    assert_ne!(sessions["endpoints"]["readEndpoint"], "");
}

#[tokio::test]
async fn an_unknown_cluster_is_not_found() {
    let clouds = two_clusters().await;
    let answer = clouds.get("/v1/clusters/nobody").await;
    assert_eq!((answer.status, answer.at("/error/code")), (404, json!("404")));
    clouds.fake.state().remove_kakao_cluster(ORDERS).unwrap();
    assert_eq!(clouds.get(&format!("/v1/clusters/{ORDERS}")).await.status, 404);
    for path in ["/v1/clusters/", "/v1/clusters/a/b", "/v2/clusters", "/"] {
        assert_eq!(clouds.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_list_leaves_out_the_parameter_group_in_cluster_mode() {
    let clouds = two_clusters().await;
    let listed = clouds.get("/v1/clusters").await.json()["clusters"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["name"], "orders");
    for name in ["parameterGroupId", "parameterGroupName", "parameterGroupSyncStatus"] {
        assert!(listed[0].get(name).is_none(), "{name} in the list");
        assert!(listed[1].get(name).is_some(), "no {name} in the list");
        assert!(field(&clouds, ORDERS, &format!("/{name}")).await.is_string());
    }
    let show = |cluster: &mut KakaoCluster| cluster.behaviour.list_parameter_group = Some(true);
    clouds.fake.state().update_kakao_cluster(ORDERS, show).unwrap();
    assert_eq!(clouds.get("/v1/clusters").await.at("/clusters/0/parameterGroupSyncStatus"), "In-Sync");
}

#[tokio::test]
async fn the_list_is_filtered_by_parameter_group() {
    let clouds = two_clusters().await;
    let regroup = |cluster: &mut KakaoCluster| {
        cluster.parameter_group_id = Some("group-a".into());
        cluster.parameter_group_name = Some("group a".into());
    };
    clouds.fake.state().update_kakao_cluster(ORDERS, regroup).unwrap();
    for query in ["parameterGroupId=group-a", "parameterGroupName=group%20a"] {
        let listed = clouds.get(&format!("/v1/clusters?{query}")).await.json();
        assert_eq!(listed["clusters"].as_array().unwrap().len(), 1, "{query}");
        assert_eq!(listed["clusters"][0]["objectId"], ORDERS);
    }
    assert_eq!(clouds.get("/v1/clusters?parameterGroupId=none").await.json(), json!({"clusters": []}));
    assert_eq!(clouds.get("/v1/clusters?limit=3").await.status, 400);
}

#[tokio::test]
async fn created_at_comes_in_every_form_seen() {
    let clouds = two_clusters().await;
    let style = |style| {
        let change = move |cluster: &mut KakaoCluster| {
            cluster.created_at = Some("2026-03-04T05:06:07Z".parse().unwrap());
            cluster.behaviour.created_at_style = style;
        };
        clouds.fake.state().update_kakao_cluster(ORDERS, change).unwrap();
    };
    let forms = [
        (CreatedAtStyle::Text, json!("2026-03-04T05:06:07Z")),
        (CreatedAtStyle::Seconds, json!(1_772_600_767)),
        (CreatedAtStyle::Milliseconds, json!(1_772_600_767_000_u64)),
        (CreatedAtStyle::ExplicitNull, Value::Null),
    ];
    for (form, want) in forms {
        style(form);
        assert_eq!(field(&clouds, ORDERS, "/createdAt").await, want, "{form:?}");
    }
    style(CreatedAtStyle::Absent);
    assert!(clouds.get(&format!("/v1/clusters/{ORDERS}")).await.json().get("createdAt").is_none());
}

#[tokio::test]
async fn a_body_can_be_bent() {
    let clouds = two_clusters().await;
    let bend = |cluster: &mut KakaoCluster| {
        cluster.behaviour.omit = vec!["status".into()];
        cluster.behaviour.overrides.insert("port".into(), json!("6379"));
        cluster.behaviour.overrides.insert("future".into(), json!([1]));
    };
    clouds.fake.state().update_kakao_cluster(ORDERS, bend).unwrap();
    for body in
        [clouds.get(&format!("/v1/clusters/{ORDERS}")).await.json(), clouds.get("/v1/clusters").await.at("/clusters/0")]
    {
        assert!(body.get("status").is_none() && body.get("behaviour").is_none());
        assert_eq!((&body["port"], &body["future"]), (&json!("6379"), &json!([1])));
    }
}

#[tokio::test]
async fn a_new_cluster_has_no_endpoints_until_it_runs() {
    let clouds = Clouds::start().await;
    let state = clouds.fake.state();
    let cluster = KakaoCluster { status: "Init".into(), ..KakaoCluster::instance_set("new", "new") };
    state.add_kakao_cluster(cluster).unwrap();
    for (advance, status) in [(0, "Init"), (5, "Creating")] {
        state.advance(Duration::from_secs(advance));
        assert_eq!(field(&clouds, "new", "/status").await, status);
        assert_eq!(field(&clouds, "new", "/endpoints/primaryEndpoint").await, "");
        assert_eq!(clouds.apply("new").await.status, 409);
    }
    state.advance(Duration::from_secs(30));
    assert_eq!(field(&clouds, "new", "/status").await, "Running");
    assert_eq!(field(&clouds, "new", "/endpoints/primaryEndpoint").await, "new-primary.kr-central-2.memstore.example");
    assert_eq!(state.applies("new"), 0);
}

#[tokio::test]
async fn an_apply_shows_in_the_sync_status_alone() {
    let clouds = two_clusters().await;
    let state = clouds.fake.state();
    let fail_once = |cluster: &mut KakaoCluster| {
        cluster.parameter_group_sync_status = Some("Error-Sync".into());
        cluster.behaviour.apply_failures = 1;
        cluster.behaviour.apply_failure_status = Some("Partial-Sync".into());
        cluster.behaviour.apply_seconds = Some(90);
    };
    state.update_kakao_cluster(SESSIONS, fail_once).unwrap();
    for result in ["Partial-Sync", "In-Sync"] {
        let answer = clouds.apply(SESSIONS).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"objectId": SESSIONS})));
        assert_eq!(field(&clouds, SESSIONS, "/parameterGroupSyncStatus").await, "Applying");
        assert_eq!(clouds.apply(SESSIONS).await.status, 409);
        state.advance(Duration::from_secs(90));
        assert_eq!(field(&clouds, SESSIONS, "/parameterGroupSyncStatus").await, result);
    }
    assert_eq!(state.applies(SESSIONS), 2);
    let filter = fake_cloud::RequestFilter::from(Operation::KakaoParameterGroupApply).target(SESSIONS);
    assert_eq!(state.requests(filter.clone()), 4);
    assert_eq!(state.requests(filter.status(409)), 2);
}

#[tokio::test]
async fn an_apply_is_refused_where_the_cloud_would() {
    let clouds = two_clusters().await;
    let state = clouds.fake.state();
    let path = format!("/v1/clusters/{ORDERS}/parameter-group/apply");
    assert_eq!(clouds.apply("nobody").await.status, 404);
    let with_body = clouds.kakao(Method::POST, &path).body("{}").send().await.unwrap();
    assert_eq!(with_body.status(), 400);
    for status in ["Modifying", "Scaling(vertical)"] {
        state.update_kakao_cluster(ORDERS, |cluster| cluster.status = status.into()).unwrap();
        assert_eq!(clouds.apply(ORDERS).await.status, 409, "{status}");
    }
    let no_group = |cluster: &mut KakaoCluster| {
        cluster.status = "Running".into();
        cluster.parameter_group_id = None;
    };
    state.update_kakao_cluster(ORDERS, no_group).unwrap();
    assert_eq!(clouds.apply(ORDERS).await.status, 400);
    assert_eq!(state.all_applies().len(), 0);
}

#[tokio::test]
async fn wrong_methods_are_not_allowed() {
    let clouds = two_clusters().await;
    let apply = format!("/v1/clusters/{ORDERS}/parameter-group/apply");
    let answer = clouds.get(&apply).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    for path in ["/v1/redis/versions", "/v1/redis/flavors", "/v1/clusters", &format!("/v1/clusters/{ORDERS}")] {
        let answer = clouds.post(path).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET"), "{path}");
    }
    assert_eq!(clouds.get("/identity/v3/auth/tokens").await.status, 405);
    assert_eq!(clouds.fake.state().applies(ORDERS), 0);
}

#[tokio::test]
async fn no_operation_works_without_a_token() {
    let clouds = two_clusters().await;
    let paths = ["/v1/redis/versions", "/v1/redis/flavors", "/v1/clusters", "/v1/clusters/nobody"];
    for path in paths {
        for token in [None, Some("wrong"), Some("")] {
            let mut request = clouds.http.get(clouds.fake.url() + path);
            if let Some(token) = token {
                request = request.header("X-Auth-Token", token);
            }
            let answer = ReceivedAnswer::of(request.send().await.unwrap()).await;
            assert_eq!((answer.status, answer.at("/error/code")), (401, json!("401")), "{path} {token:?}");
        }
    }
}
