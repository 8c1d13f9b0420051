//! What the gateway lets through.

use fake_cloud::{FakeCloud, NcpInstance, NcpKey, Operation, Seed};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::clouds::{Clouds, FLUSH, FORM, LIST, ReceivedAnswer, Signing};

const NO: &str = "882701";
const FIELDS: [(&str, &str); 2] = [("cloudDBInstanceNo", NO), ("responseFormatType", "json")];

async fn clouds() -> Clouds {
    let clouds = Clouds::start().await;
    clouds.fake.state().add_ncp_instance(NcpInstance::highly_available(NO, "cart-cache")).unwrap();
    clouds
}

/// Sends a request that must be refused by the gateway, and with nothing flushed.
async fn refused(fake: &FakeCloud, request: RequestBuilder, status: u16, code: &str) -> ReceivedAnswer {
    let answer = ReceivedAnswer::of(request.send().await.unwrap()).await;
    assert_eq!((answer.status, answer.at("/error/errorCode")), (status, json!(code)), "{}", answer.text);
    assert!(answer.at("/error/message").is_string());
    assert_eq!(fake.state().flushes(NO), 0);
    answer
}

#[tokio::test]
async fn a_right_signature_is_let_in() {
    let clouds = clouds().await;
    assert_eq!(clouds.flush(NO).await.status, 200);
    let query = format!("{LIST}?dbKindCode=REDIS&responseFormatType=json");
    let get = clouds.signed(Method::GET, &query, &Signing::default()).send().await.unwrap();
    assert_eq!(ReceivedAnswer::of(get).await.at("/getCloudDBInstanceListResponse/totalRows"), 1);
}

#[tokio::test]
async fn a_signature_covers_secret_key_method_path_and_query() {
    let clouds = clouds().await;
    let wrong_secret = Signing { secret_key: "wrong", ..Signing::default() };
    let unknown_key = Signing { access_key: "UNKNOWN", ..Signing::default() };
    for signing in [wrong_secret, unknown_key] {
        refused(&clouds.fake, clouds.signed(Method::POST, FLUSH, &signing).form(&FIELDS), 401, "200").await;
    }
    // Signed for one request, sent as another.
    let moved = |path: &str, method: Method, to: &str| {
        let mut request = clouds.signed(method, path, &Signing::default()).form(&FIELDS).build().unwrap();
        *request.url_mut() = (clouds.fake.url() + to).parse().unwrap();
        *request.method_mut() = Method::POST;
        RequestBuilder::from_parts(clouds.http.clone(), request)
    };
    refused(&clouds.fake, moved(LIST, Method::POST, FLUSH), 401, "200").await;
    refused(&clouds.fake, moved(FLUSH, Method::GET, FLUSH), 401, "200").await;
    refused(&clouds.fake, moved(FLUSH, Method::POST, &format!("{FLUSH}?a=b")), 401, "200").await;
}

#[tokio::test]
async fn every_header_is_needed() {
    let clouds = clouds().await;
    for name in ["x-ncp-apigw-timestamp", "x-ncp-iam-access-key", "x-ncp-apigw-signature-v2"] {
        let mut request = clouds.form(FLUSH, &FIELDS).build().unwrap();
        request.headers_mut().remove(name).unwrap();
        let request = RequestBuilder::from_parts(clouds.http.clone(), request);
        refused(&clouds.fake, request, 401, "200").await;
    }
}

#[tokio::test]
async fn a_clock_more_than_five_minutes_off_is_refused() {
    let clouds = clouds().await;
    for late_ms in [301_000, -310_000] {
        let signing = Signing { late_ms, ..Signing::default() };
        refused(&clouds.fake, clouds.signed(Method::POST, FLUSH, &signing).form(&FIELDS), 401, "200").await;
    }
    let signing = Signing { late_ms: 280_000, ..Signing::default() };
    let answer = clouds.signed(Method::POST, FLUSH, &signing).form(&FIELDS).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn the_date_header_tells_the_clouds_own_clock() {
    let clouds = clouds().await;
    clouds.fake.state().set_skew(1000);
    let answer = refused(&clouds.fake, clouds.form(FLUSH, &FIELDS), 401, "200").await;
    let told = DateTimeParser::new().parse_timestamp(answer.header("date")).unwrap();
    let ahead = told.duration_since(Timestamp::now()).as_secs();
    assert!((900..=1000).contains(&ahead), "{ahead} seconds ahead");
    let signing = Signing { late_ms: -1_000_000, ..Signing::default() };
    let answer = clouds.signed(Method::POST, FLUSH, &signing).form(&FIELDS).send().await.unwrap();
    assert_eq!(answer.status(), 200, "a clock as skewed as the cloud's is right");
}

#[tokio::test]
async fn advancing_time_leaves_the_clients_clock_right() {
    let clouds = clouds().await;
    clouds.fake.state().advance(std::time::Duration::from_secs(86_400));
    assert_eq!(clouds.flush(NO).await.status, 200);
}

#[tokio::test]
async fn keys_can_lack_permission_and_be_replaced() {
    let mut seed = Seed::default();
    seed.ncp.keys.push(NcpKey { permission_denied: true, ..NcpKey::new("DENIED", "secret") });
    let clouds = Clouds::seeded(seed).await;
    let denied = Signing { access_key: "DENIED", secret_key: "secret", late_ms: 0 };
    refused(&clouds.fake, clouds.signed(Method::POST, FLUSH, &denied).form(&FIELDS), 401, "210").await;
    let wrong = Signing { secret_key: "wrong", ..denied.clone() };
    refused(&clouds.fake, clouds.signed(Method::POST, FLUSH, &wrong).form(&FIELDS), 401, "200").await;
    clouds.fake.state().set_ncp_keys(vec![NcpKey::new("DENIED", "secret")]);
    refused(&clouds.fake, clouds.form(LIST, &[]), 401, "200").await;
    let now = clouds.signed(Method::POST, LIST, &denied).form(&[("dbKindCode", "REDIS")]).send().await.unwrap();
    assert_eq!(now.status(), 200);
}

#[tokio::test]
async fn only_a_form_in_a_post_flushes() {
    let clouds = clouds().await;
    let fake = &clouds.fake;
    let post = |path: &str| clouds.signed(Method::POST, path, &Signing::default());
    refused(fake, post(FLUSH).json(&json!({"cloudDBInstanceNo": NO})), 400, "100").await;
    refused(fake, post(FLUSH).body(format!("cloudDBInstanceNo={NO}")), 400, "100").await;
    let query = format!("{FLUSH}?cloudDBInstanceNo={NO}");
    refused(fake, clouds.signed(Method::GET, &query, &Signing::default()), 400, "100").await;
    refused(fake, post(&query).header("Content-Type", FORM), 400, "100").await;
    refused(fake, clouds.signed(Method::PUT, FLUSH, &Signing::default()).form(&FIELDS), 400, "100").await;
    let with_charset = post(FLUSH).header("Content-Type", format!("{FORM}; charset=UTF-8"));
    let answer = with_charset.body(format!("cloudDBInstanceNo={NO}")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn fields_are_checked() {
    let clouds = clouds().await;
    let fake = &clouds.fake;
    let flush_fields: [&[(&str, &str)]; 5] = [
        &[],
        &[("cloudDBInstanceNo", NO), ("force", "true")],
        &[("CloudDBInstanceNo", NO)],
        &[("cloudDBInstanceNo", NO), ("cloudDBInstanceNo", NO)],
        &[("cloudDBInstanceNo", NO), ("responseFormatType", "yaml")],
    ];
    for fields in flush_fields {
        refused(fake, clouds.form(FLUSH, fields), 400, "100").await;
    }
    let list_fields: [&[(&str, &str)]; 7] = [
        &[],
        &[("dbKindCode", "MYSQL")],
        &[("dbKindCode", "REDIS"), ("dbkindcode", "REDIS")],
        &[("dbKindCode", "REDIS"), ("pageNo", "0")],
        &[("dbKindCode", "REDIS"), ("pageSize", "many")],
        &[("dbKindCode", "REDIS"), ("cloudDBInstanceNoList.0", NO)],
        &[("dbKindCode", "REDIS"), ("cloudDBInstanceNoList.2", NO)],
    ];
    for fields in list_fields {
        refused(fake, clouds.form(LIST, fields), 400, "100").await;
    }
}

#[tokio::test]
async fn an_unknown_api_and_a_huge_body_are_refused() {
    let clouds = clouds().await;
    refused(&clouds.fake, clouds.form("/clouddb/v2/dropEverything", &[]), 404, "300").await;
    let huge = "x".repeat(2 * 1024 * 1024);
    refused(&clouds.fake, clouds.form(FLUSH, &[("cloudDBInstanceNo", &huge)]), 413, "430").await;
    assert_eq!(clouds.fake.state().requests(Operation::Unknown), 1);
}
