use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use fake_cloud::{Addresses, FakeCloud, KAKAO_CREDENTIAL_SECRET, NCP_SECRET_KEY, NcpInstance, Seed, StartError};
use serde_json::{Value, json};

use crate::clouds::Clouds;

fn demo() -> Seed {
    Seed::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds/demo.yaml")).unwrap()
}

#[tokio::test]
async fn the_demonstration_has_what_it_needs() {
    let clouds = Clouds::seeded(demo()).await;
    let clusters = clouds.get("/v1/clusters").await.at("/clusters");
    let find = |name: &str| {
        let found = clusters.as_array().unwrap().iter().find(|cluster| cluster["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}")).clone()
    };
    assert_eq!((&find("orders")["clusterEnabled"], &find("orders")["status"]), (&json!(true), &json!("Running")));
    assert_eq!(find("search-suggest")["endpoints"]["primaryEndpoint"], "");
    let sessions = find("sessions")["objectId"].as_str().unwrap().to_owned();
    assert_eq!(find("sessions")["parameterGroupSyncStatus"], "Error-Sync");
    for result in ["Error-Sync", "In-Sync"] {
        assert_eq!(clouds.apply(&sessions).await.status, 200);
        clouds.fake.state().advance(Duration::from_secs(60));
        let cluster = clouds.fake.state().kakao_cluster(&sessions).unwrap();
        assert_eq!(cluster.parameter_group_sync_status.as_deref(), Some(result));
    }
    let instance = clouds.list(&[("cloudDBInstanceNoList.1", "882701")]).await;
    let instance = instance.at("/getCloudDBInstanceListResponse/cloudDBInstanceList/0");
    assert_eq!(
        (&instance["cloudDBServiceName"], &instance["cloudDBInstanceStatusName"]),
        (&json!("cart-cache"), &json!("running"))
    );
    assert_eq!(instance["cloudDBServerInstanceList"].as_array().unwrap().len(), 2);
    assert_eq!(clouds.fake.state().ncp_instances().len(), 2);
}

#[tokio::test]
async fn a_seed_can_be_json_and_arm_faults() {
    let fault = json!({"operation": "kakao.versions", "kind": {"tooManyRequests": {"retryAfterSeconds": 3}}});
    let seed = Seed::parse(&json!({"faults": [fault]}).to_string()).unwrap();
    assert_eq!(Clouds::seeded(seed).await.get("/v1/redis/versions").await.status, 429);
    let yaml = Seed::parse("faults:\n  - operation: kakao.versions\n    kind: html\n").unwrap();
    assert_eq!(
        Clouds::seeded(yaml).await.get("/v1/redis/versions").await.header("content-type"),
        "text/html; charset=utf-8"
    );
    assert!(Seed::parse("").is_ok());
}

#[test]
fn a_seed_that_cannot_be_read_says_where() {
    let error = Seed::parse("kakaoCloud:\n  clusters:\n    - nmae: x\n").unwrap_err().to_string();
    assert!(error.contains("nmae") && error.contains('3'), "{error}");
    let missing = Seed::load(Path::new("no/such/seed.yaml")).unwrap_err().to_string();
    assert!(missing.contains("no/such/seed.yaml"), "{missing}");
}

#[test]
fn a_seed_keeps_its_secrets() {
    let printed = format!("{:?}", demo());
    assert!(!printed.contains(KAKAO_CREDENTIAL_SECRET) && !printed.contains(NCP_SECRET_KEY), "{printed}");
}

#[tokio::test]
async fn a_seed_that_contradicts_itself_does_not_start() {
    let mut seed = Seed::default();
    seed.ncp.instances = vec![NcpInstance::single("7", "a"), NcpInstance::single("7", "b")];
    let error = FakeCloud::start(seed).await.unwrap_err();
    assert!(error.to_string().contains("instance 7 exists already"), "{error}");
    let mut seed = Seed::default();
    seed.ncp.service_error_status = 200;
    assert!(matches!(FakeCloud::start(seed).await, Err(StartError::State(_))));
}

#[tokio::test]
async fn thousands_can_be_generated() {
    let seed = Seed::parse("generate: {kakaoClusters: 10000, ncpInstances: 1000}").unwrap();
    let clouds = Clouds::seeded(seed).await;
    let clusters = clouds.get("/v1/clusters").await.at("/clusters");
    let clusters = clusters.as_array().unwrap();
    assert_eq!(clusters.len(), 10_000);
    let modes = clusters.iter().filter(|cluster| cluster["clusterEnabled"] == Value::Bool(true)).count();
    assert_eq!(modes, 5_000);
    let listed = clouds.list(&[("pageSize", "50")]).await.at("/getCloudDBInstanceListResponse");
    assert_eq!(
        (listed["totalRows"].clone(), listed["cloudDBInstanceList"].as_array().unwrap().len()),
        (json!(1000), 50)
    );
    assert!(matches!(
        FakeCloud::start(Seed::parse("generate: {kakaoClusters: 1000001}").unwrap()).await,
        Err(StartError::State(_))
    ));
}

#[tokio::test]
async fn it_listens_on_loopback_unless_told_otherwise() {
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    for addresses in [
        Addresses { clouds: everywhere, ..Addresses::default() },
        Addresses { admin: everywhere, ..Addresses::default() },
    ] {
        let error = FakeCloud::start_at(Seed::default(), addresses).await.unwrap_err();
        assert!(matches!(error, StartError::Remote(address) if address == everywhere));
        let allowed = Addresses { allow_remote: true, ..addresses };
        assert!(FakeCloud::start_at(Seed::default(), allowed).await.is_ok());
    }
}

#[tokio::test]
async fn it_stops_when_dropped() {
    let clouds = Clouds::start().await;
    assert_eq!(clouds.get("/v1/clusters").await.status, 200);
    let Clouds { fake, http } = clouds;
    let urls = [fake.url() + "/v1/clusters", fake.admin_url() + "/healthz"];
    drop(fake);
    for url in urls {
        // The abort takes hold as soon as the tasks are polled, which yielding lets them be.
        while http.get(&url).send().await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
