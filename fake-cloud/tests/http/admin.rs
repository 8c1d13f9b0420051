use fake_cloud::{KAKAO_CREDENTIAL_SECRET, KAKAO_TOKEN, NCP_SECRET_KEY, Operation};
use reqwest::Method;
use serde_json::{Value, json};

use crate::clouds::{Clouds, LIST, ReceivedAnswer};

async fn send(clouds: &Clouds, method: Method, path: &str, body: Value) -> ReceivedAnswer {
    clouds.admin(method, path, &body.to_string()).await
}

/// The sentence of a refusal.
fn sentence(answer: &ReceivedAnswer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text);
    answer.at("/error").as_str().unwrap().to_owned()
}

#[tokio::test]
async fn clusters_are_made_changed_and_removed() {
    let clouds = Clouds::start().await;
    let made = send(&clouds, Method::POST, "/kakao/clusters", json!({"name": "sessions"})).await;
    assert_eq!(made.status, 201);
    let id = made.at("/objectId").as_str().unwrap().to_owned();
    assert_eq!(id.len(), 36);
    let path = format!("/kakao/clusters/{id}");

    let change = json!({"status": "Modifying", "behaviour": {"applyFailures": 2}, "parameterGroupId": null});
    let changed = send(&clouds, Method::PATCH, &path, change).await;
    assert_eq!(
        (changed.status, changed.at("/status"), changed.at("/name")),
        (200, json!("Modifying"), json!("sessions"))
    );
    assert_eq!((changed.at("/behaviour/applyFailures"), changed.at("/parameterGroupId")), (json!(2), Value::Null));
    assert_eq!(clouds.get(&format!("/v1/clusters/{id}")).await.at("/status"), "Modifying");

    let put = send(&clouds, Method::PUT, &path, json!({"name": "again"})).await;
    assert_eq!((put.status, put.at("/status"), put.at("/behaviour/applyFailures")), (200, json!("Running"), json!(0)));
    assert_eq!(send(&clouds, Method::PUT, "/kakao/clusters/mine", json!({"name": "mine"})).await.status, 201);

    assert_eq!(clouds.admin(Method::GET, "/kakao/clusters", "").await.json()["clusters"].as_array().unwrap().len(), 2);
    assert_eq!(clouds.admin(Method::GET, &path, "").await.at("/name"), "again");
    assert_eq!(clouds.admin(Method::DELETE, &path, "").await.status, 204);
    sentence(&clouds.admin(Method::DELETE, &path, "").await, 404);
    sentence(&clouds.admin(Method::GET, &path, "").await, 404);
    assert_eq!(clouds.get(&format!("/v1/clusters/{id}")).await.status, 404);
}

#[tokio::test]
async fn instances_are_made_changed_and_removed() {
    let clouds = Clouds::start().await;
    let body = json!({"cloudDBInstanceNo": "7", "cloudDBServiceName": "cart"});
    assert_eq!(send(&clouds, Method::POST, "/ncp/instances", body.clone()).await.status, 201);
    sentence(&send(&clouds, Method::POST, "/ncp/instances", body).await, 409);
    let change = json!({"cloudDBInstanceStatusName": "restarting"});
    assert_eq!(send(&clouds, Method::PATCH, "/ncp/instances/7", change).await.status, 200);
    assert_eq!(clouds.flush("7").await.at("/responseError/returnCode"), "25013");
    let put = send(&clouds, Method::PUT, "/ncp/instances/7", json!({"cloudDBServiceName": "cart"})).await;
    assert_eq!((put.status, put.at("/cloudDBInstanceStatusName")), (200, json!("running")));
    assert_eq!(clouds.flush("7").await.status, 200);
    assert_eq!(clouds.admin(Method::GET, "/ncp/instances", "").await.at("/instances/0/cloudDBInstanceNo"), "7");
    assert_eq!(clouds.admin(Method::DELETE, "/ncp/instances/7", "").await.status, 204);
    assert_eq!(clouds.fake.state().ncp_instances(), []);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_sentence() {
    let clouds = Clouds::start().await;
    let post = |path: &'static str, body: Value| send(&clouds, Method::POST, path, body);
    let unknown = sentence(&post("/kakao/clusters", json!({"nmae": "x"})).await, 400);
    assert!(unknown.contains("unknown field `nmae`"), "{unknown}");
    let nested = sentence(&post("/kakao/clusters", json!({"behaviour": {"x": 1}})).await, 400);
    assert!(nested.contains("unknown field `x`"), "{nested}");
    let shards = sentence(&post("/kakao/clusters", json!({"clusterEnabled": true})).await, 400);
    assert!(shards.contains("shardCount"), "{shards}");
    let number = sentence(&post("/ncp/instances", json!({"cloudDBInstanceNo": "x"})).await, 400);
    assert!(number.contains("digits"), "{number}");
    let operation = sentence(&post("/faults", json!({"operation": "ncp.x", "kind": "hang"})).await, 400);
    assert!(operation.contains("ncp.flush"), "{operation}");
    let code = sentence(&post("/faults", json!({"operation": "*", "kind": {"status": {"code": 99}}})).await, 400);
    assert!(code.contains("99"), "{code}");
    sentence(&post("/clock", json!({"advance": 1})).await, 400);
    sentence(&post("/clock", json!({"advanceSeconds": u32::MAX})).await, 400);
    sentence(&post("/clock", json!({"skewSeconds": i64::MIN})).await, 400);
    sentence(&post("/kakao/tokens", json!({"token": ""})).await, 400);
    sentence(&send(&clouds, Method::PUT, "/kakao/clusters/a", json!({"objectId": "b"})).await, 400);
    sentence(&send(&clouds, Method::PATCH, "/kakao/clusters/a", json!({})).await, 404);
    assert_eq!(post("/kakao/clusters", json!({"objectId": "a"})).await.status, 201);
    sentence(&send(&clouds, Method::PATCH, "/kakao/clusters/a", json!({"port": "x"})).await, 400);
    sentence(&send(&clouds, Method::PATCH, "/kakao/clusters/a", json!({"objectId": "b"})).await, 400);
    sentence(&clouds.admin(Method::GET, "/requests?first=1", "").await, 400);
    sentence(&clouds.admin(Method::GET, "/requests?last=x", "").await, 400);
    sentence(&clouds.admin(Method::DELETE, "/faults/x", "").await, 404);
    sentence(&clouds.admin(Method::GET, "/nothing", "").await, 404);
    sentence(&clouds.admin(Method::GET, "/reset", "").await, 405);
}

#[tokio::test]
async fn faults_come_and_go() {
    let clouds = Clouds::start().await;
    let fault = json!({"operation": "kakao.clusters.list", "times": 1, "kind": {"status": {"code": 503}}});
    let added = send(&clouds, Method::POST, "/faults", fault).await;
    assert_eq!(added.status, 201);
    let listed = clouds.admin(Method::GET, "/faults", "").await;
    assert_eq!((listed.at("/faults/0/left"), listed.at("/faults/0/kind/status/code")), (json!(1), json!(503)));
    assert_eq!((clouds.get("/v1/clusters").await.status, clouds.get("/v1/clusters").await.status), (503, 200));
    assert_eq!(clouds.admin(Method::GET, "/faults", "").await.json(), json!({"faults": []}));

    let ids =
        [json!("hang"), json!({"quirks": {"omitWrapper": true}})].map(|kind| json!({"operation": "*", "kind": kind}));
    for fault in ids {
        assert_eq!(send(&clouds, Method::POST, "/faults", fault).await.status, 201);
    }
    let id = clouds.fake.state().faults()[0].id;
    assert_eq!(clouds.admin(Method::DELETE, &format!("/faults/{id}"), "").await.status, 204);
    assert_eq!(clouds.fake.state().faults().len(), 1);
    assert_eq!(clouds.admin(Method::DELETE, "/faults", "").await.status, 204);
    assert_eq!(clouds.fake.state().faults().len(), 0);
}

#[tokio::test]
async fn requests_and_effects_are_told_without_secrets() {
    let clouds = Clouds::start().await;
    send(&clouds, Method::POST, "/ncp/instances", json!({"cloudDBInstanceNo": "7"})).await;
    send(&clouds, Method::PUT, "/kakao/clusters/a", json!({})).await;
    clouds.flush("7").await;
    clouds.flush("7").await;
    clouds.apply("a").await;
    let credential = json!({"id": "me", "secret": KAKAO_CREDENTIAL_SECRET});
    let identity = json!({"methods": ["application_credential"], "application_credential": credential});
    let body = json!({"auth": {"identity": identity}});
    clouds.http.post(clouds.fake.url() + "/identity/v3/auth/tokens").json(&body).send().await.unwrap();

    let told = clouds.admin(Method::GET, "/requests", "").await;
    assert_eq!(
        told.at("/operations/ncp.flush"),
        json!({"total": 2, "byStatus": {"200": 1, "400": 1}, "maxInFlight": 1})
    );
    let first = told.at("/recent/0");
    let want = ["ncp.flush", "POST", "/clouddb/v2/flushCloudDBInstance", "7"].map(Value::from);
    assert_eq!(["operation", "method", "path", "target"].map(|name| first[name].clone()), want);
    assert_eq!((&first["status"], told.at("/recent/3/target")), (&json!(200), json!("me")));
    for secret in [KAKAO_TOKEN, KAKAO_CREDENTIAL_SECRET, NCP_SECRET_KEY] {
        assert!(!told.text.contains(secret));
    }
    let last = clouds.admin(Method::GET, "/requests?last=1", "").await.at("/recent");
    assert_eq!(last.as_array().unwrap().len(), 1);
    let effects = clouds.admin(Method::GET, "/effects", "").await.json();
    assert_eq!(effects, json!({"flushes": {"7": 1}, "applies": {"a": 1}}));
}

#[tokio::test]
async fn the_clock_is_moved_and_skewed() {
    let clouds = Clouds::start().await;
    let body = json!({"cloudDBInstanceNo": "7", "cloudDBInstanceStatusName": "creating"});
    send(&clouds, Method::POST, "/ncp/instances", body).await;
    assert_eq!(clouds.flush("7").await.status, 400);
    for advanced in [20, 40] {
        let answer = send(&clouds, Method::POST, "/clock", json!({"advanceSeconds": 20})).await;
        assert_eq!((answer.at("/advancedSeconds"), answer.at("/skewSeconds")), (json!(advanced), json!(0)));
    }
    assert_eq!(clouds.flush("7").await.status, 200);
    send(&clouds, Method::POST, "/clock", json!({"skewSeconds": -400})).await;
    assert_eq!(clouds.flush("7").await.at("/error/errorCode"), "200");
    assert_eq!(clouds.admin(Method::GET, "/clock", "").await.at("/skewSeconds"), -400);
}

#[tokio::test]
async fn credentials_and_catalogues_are_replaced() {
    let clouds = Clouds::start().await;
    assert_eq!(clouds.admin(Method::DELETE, "/kakao/tokens", "").await.json(), json!({"revoked": 1}));
    assert_eq!(clouds.get("/v1/clusters").await.status, 401);
    let token = json!({"token": KAKAO_TOKEN, "expiresInSeconds": 60});
    assert_eq!(send(&clouds, Method::POST, "/kakao/tokens", token).await.status, 201);
    assert_eq!(clouds.admin(Method::GET, "/kakao/tokens", "").await.json(), json!({"valid": 1}));
    assert_eq!(clouds.get("/v1/clusters").await.status, 200);

    let put = |path: &'static str, body: Value| send(&clouds, Method::PUT, path, body);
    let flavors = json!([{"id": "f", "name": "n", "vcpus": 1, "memory": 2}]);
    assert_eq!(put("/kakao/flavors", flavors.clone()).await.status, 200);
    assert_eq!(clouds.get("/v1/redis/flavors").await.at("/flavors"), flavors);
    assert_eq!(put("/kakao/versions", json!(["9.9.9"])).await.status, 200);
    assert_eq!(clouds.get("/v1/redis/versions").await.json(), json!(["9.9.9"]));
    assert_eq!(put("/kakao/credentials", json!([{"id": "a", "secret": "b"}])).await.json(), json!({"known": 1}));
    assert_eq!(put("/kakao/token-lifetime", json!({"seconds": 5})).await.status, 200);
    let denied = json!([{"accessKey": "DEMOACCESSKEY0000000", "secretKey": NCP_SECRET_KEY, "permissionDenied": true}]);
    assert_eq!(put("/ncp/keys", denied).await.status, 200);
    assert_eq!(clouds.ncp(LIST, &[("dbKindCode", "REDIS")]).await.at("/error/errorCode"), "210");
}

#[tokio::test]
async fn a_reset_goes_back_to_the_seed() {
    let clouds = Clouds::start().await;
    send(&clouds, Method::PUT, "/kakao/clusters/a", json!({})).await;
    clouds.apply("a").await;
    send(&clouds, Method::POST, "/clock", json!({"advanceSeconds": 5, "skewSeconds": 5})).await;
    clouds.fake.state().revoke_kakao_tokens();
    send(&clouds, Method::POST, "/faults", json!({"operation": "*", "kind": "hang"})).await;
    assert_eq!(clouds.admin(Method::POST, "/reset", "").await.status, 204);
    let state = clouds.fake.state();
    assert_eq!(clouds.get("/v1/clusters").await.json(), json!({"clusters": []}));
    assert_eq!((state.applies("a"), state.requests(Operation::Any), state.faults().len()), (0, 1, 0));
    assert_eq!(state.clock(), fake_cloud::CloudClock::default());
}

#[tokio::test]
async fn it_says_that_it_is_well() {
    let clouds = Clouds::start().await;
    let answer = clouds.admin(Method::GET, "/healthz", "").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "ok\n"));
}
