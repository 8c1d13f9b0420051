//! The service behind the gateway.

use std::time::Duration;

use fake_cloud::{NcpInstance, Seed};
use serde_json::{Value, json};

use crate::clouds::{Clouds, FLUSH, LIST};

const CART: &str = "882701";
const FEED: &str = "882715";
const FLUSHED: &str = "/flushCloudDBInstanceResponse";
const LISTED: &str = "/getCloudDBInstanceListResponse";

async fn seeded(seed: Seed) -> Clouds {
    let clouds = Clouds::seeded(seed).await;
    clouds.fake.state().add_ncp_instance(NcpInstance::highly_available(CART, "cart-cache")).unwrap();
    clouds.fake.state().add_ncp_instance(NcpInstance::single(FEED, "price-feed")).unwrap();
    clouds
}

async fn numbers(clouds: &Clouds, fields: &[(&str, &str)]) -> (Vec<String>, Value) {
    let body = clouds.list(fields).await.at(LISTED);
    let number = |instance: &Value| instance["cloudDBInstanceNo"].as_str().unwrap().to_owned();
    (body["cloudDBInstanceList"].as_array().unwrap().iter().map(number).collect(), body["totalRows"].clone())
}

async fn status(clouds: &Clouds, number: &str) -> Value {
    let pointer = format!("{LISTED}/cloudDBInstanceList/0/cloudDBInstanceStatusName");
    clouds.list(&[("cloudDBInstanceNoList.1", number)]).await.at(&pointer)
}

#[tokio::test]
async fn an_instance_looks_as_documented() {
    let clouds = seeded(Seed::default()).await;
    let date = |instance: &mut NcpInstance| instance.create_date = Some("2024-11-19T05:30:00Z".parse().unwrap());
    clouds.fake.state().update_ncp_instance(CART, date).unwrap();
    let answer = clouds.list(&[("cloudDBInstanceNoList.1", CART)]).await;
    assert_eq!(answer.header("content-type"), "application/json");
    let instance = answer.at(&format!("{LISTED}/cloudDBInstanceList/0"));
    assert_eq!(instance["dbKindCode"], "REDIS");
    assert_eq!(instance["engineVersion"], "REDIS 4.0.2");
    assert_eq!(instance["memorySize"], 4_294_967_296_u64);
    assert_eq!(instance["createDate"], "2024-11-19T14:30:00+0900");
    assert_eq!(instance["region"]["regionNo"], "1");
    let servers = &instance["cloudDBServerInstanceList"];
    assert_eq!(
        (&servers[0]["cloudDBServerRole"]["code"], &servers[1]["cloudDBServerRole"]["code"]),
        (&json!("M"), &json!("H"))
    );
    assert_eq!(servers[0]["cloudDBServerInstanceStatusName"], "running");
    assert!(servers[1].get("cloudDBServerInstanceNo").is_none(), "a hidden master may lack its number");
    assert!(instance.get("behaviour").is_none());
    assert_eq!(answer.at(&format!("{LISTED}/returnCode")), "0");
}

#[tokio::test]
async fn a_flush_sets_up_and_then_runs_again() {
    let clouds = seeded(Seed::default()).await;
    let answer = clouds.flush(CART).await;
    assert_eq!(answer.status, 200);
    let body = answer.at(FLUSHED);
    assert_eq!(
        (&body["returnCode"], &body["returnMessage"], &body["totalRows"]),
        (&json!("0"), &json!("success"), &json!(1))
    );
    let instance = &body["cloudDBInstanceList"][0];
    assert_eq!(instance["cloudDBInstanceNo"], CART);
    assert_eq!(instance["cloudDBInstanceStatusName"], "settingup");
    assert_eq!(instance["cloudDBServerInstanceList"][0]["cloudDBServerInstanceStatusName"], "settingup");
    assert_eq!((status(&clouds, CART).await, status(&clouds, FEED).await), (json!("settingup"), json!("running")));
    clouds.fake.state().advance(Duration::from_secs(10));
    assert_eq!(status(&clouds, CART).await, "running");
    assert_eq!((clouds.fake.state().flushes(CART), clouds.fake.state().flushes(FEED)), (1, 0));
}

#[tokio::test]
async fn a_busy_instance_refuses_with_the_status_seeded() {
    for http in [400, 401, 500] {
        let mut seed = Seed::default();
        seed.ncp.service_error_status = http;
        let clouds = seeded(seed).await;
        clouds.flush(CART).await;
        let answer = clouds.flush(CART).await;
        assert_eq!((answer.status, answer.at("/responseError/returnCode")), (http, json!("25013")));
        assert!(answer.at("/responseError/returnMessage").as_str().unwrap().contains("settingup"));
        assert_eq!(clouds.fake.state().flushes(CART), 1);
    }
}

#[tokio::test]
async fn an_unknown_instance_is_a_refusal_of_the_service() {
    let clouds = seeded(Seed::default()).await;
    let answer = clouds.flush("1").await;
    assert_eq!((answer.status, answer.at("/responseError/returnCode")), (400, json!("5001017")));
    clouds.fake.state().remove_ncp_instance(CART).unwrap();
    assert_eq!(clouds.flush(CART).await.at("/responseError/returnCode"), "5001017");
    assert_eq!(clouds.fake.state().all_flushes().len(), 0);
}

#[tokio::test]
async fn the_answer_is_xml_unless_json_is_asked_for() {
    let clouds = seeded(Seed::default()).await;
    let answer = clouds.ncp(LIST, &[("dbKindCode", "REDIS")]).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/xml"));
    assert!(answer.text.starts_with("<?xml "), "{}", answer.text);
    assert!(answer.text.contains("<getCloudDBInstanceListResponse><cloudDBInstanceList><cloudDBInstance>"));
    assert!(answer.text.contains("<totalRows>2</totalRows>") && answer.text.contains("<returnCode>0</returnCode>"));
    let answer = clouds.ncp(FLUSH, &[("cloudDBInstanceNo", "1"), ("responseFormatType", "xml")]).await;
    assert_eq!((answer.status, answer.header("content-type")), (400, "application/xml"));
    assert!(answer.text.contains("<responseError><returnCode>5001017</returnCode>"), "{}", answer.text);
}

#[tokio::test]
async fn the_list_is_filtered_and_comes_in_pages() {
    let clouds = seeded(Seed::default()).await;
    let state = clouds.fake.state();
    state.add_ncp_instance(NcpInstance::single("900001", "elsewhere")).unwrap();
    let move_away = |instance: &mut NcpInstance| {
        instance.region.region_no = "7".into();
        instance.zone.zone_no = "70".into();
    };
    state.update_ncp_instance("900001", move_away).unwrap();
    let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], u32);
    let cases: [Case<'_>; 8] = [
        (&[], &[CART, FEED, "900001"], 3),
        (&[("cloudDBInstanceNoList.1", FEED), ("cloudDBInstanceNoList.2", "900001")], &[FEED, "900001"], 2),
        (&[("cloudDBInstanceNoList.1", "1")], &[], 0),
        (&[("regionNo", "7")], &["900001"], 1),
        (&[("zoneNo", "3")], &[CART, FEED], 2),
        (&[("pageNo", "1"), ("pageSize", "2")], &[CART, FEED], 3),
        (&[("pageNo", "2"), ("pageSize", "2")], &["900001"], 3),
        (&[("pageNo", "9"), ("pageSize", "2")], &[], 3),
    ];
    for (fields, want, total) in cases {
        assert_eq!(numbers(&clouds, fields).await, (owned(want), json!(total)), "{fields:?}");
    }
}

#[tokio::test]
async fn a_body_can_be_bent() {
    let clouds = seeded(Seed::default()).await;
    let bend = |instance: &mut NcpInstance| {
        instance.behaviour.omit = vec!["engineVersion".into()];
        instance.behaviour.overrides.insert("cloudDBPort".into(), json!("6379"));
        instance.behaviour.stuck = true;
    };
    clouds.fake.state().update_ncp_instance(CART, bend).unwrap();
    let instance = clouds.flush(CART).await.at(&format!("{FLUSHED}/cloudDBInstanceList/0"));
    assert!(instance.get("engineVersion").is_none());
    assert_eq!(instance["cloudDBPort"], "6379");
    clouds.fake.state().advance(Duration::from_secs(86_400));
    assert_eq!(status(&clouds, CART).await, "settingup");
}
