use std::time::{Duration, Instant};

use fake_cloud::{Fault, FaultKind, KAKAO_TOKEN, KakaoCluster, NcpInstance, NcpQuirks, Operation, RequestFilter};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::clouds::{Clouds, FLUSH, ReceivedAnswer};

const ID: &str = "91d7e4b6-0f2c-4a83-b5e9-7c306d1a5f02";
const NO: &str = "882701";
const LONG: Duration = Duration::from_secs(60);

async fn with(fault: Fault) -> Clouds {
    let clouds = Clouds::start().await;
    clouds.fake.state().add_kakao_cluster(KakaoCluster::instance_set(ID, "sessions")).unwrap();
    clouds.fake.state().add_ncp_instance(NcpInstance::highly_available(NO, "cart-cache")).unwrap();
    clouds.fake.state().inject(fault).unwrap();
    clouds
}

fn status(code: u16) -> FaultKind {
    FaultKind::Status { code, body: None, content_type: None, retry_after: None }
}

/// An apply over a bare connection: every byte that comes back, and whether the connection was reset.
async fn raw_apply(clouds: &Clouds) -> (String, bool) {
    let address = clouds.fake.url();
    let mut stream = TcpStream::connect(address.strip_prefix("http://").unwrap()).await.unwrap();
    let request = format!(
        "POST /v1/clusters/{ID}/parameter-group/apply HTTP/1.1\r\nHost: fake\r\nX-Auth-Token: {KAKAO_TOKEN}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    let reset = stream.read_to_end(&mut received).await.is_err();
    (String::from_utf8(received).unwrap(), reset)
}

#[tokio::test]
async fn a_status_comes_with_all_it_was_given() {
    let kind = FaultKind::Status {
        code: 503,
        body: Some("<h1>busy</h1>".into()),
        content_type: Some("text/html".into()),
        retry_after: Some("Wed, 21 Oct 2026 07:28:00 GMT".into()),
    };
    let clouds = with(Fault::new(Operation::KakaoVersions, kind).times(1)).await;
    let answer = clouds.get("/v1/redis/versions").await;
    assert_eq!((answer.status, answer.text.as_str()), (503, "<h1>busy</h1>"));
    assert_eq!(answer.header("content-type"), "text/html");
    assert_eq!(answer.header("retry-after"), "Wed, 21 Oct 2026 07:28:00 GMT");
    assert_eq!(clouds.get("/v1/redis/versions").await.status, 200, "it was to happen once");
}

#[tokio::test]
async fn a_fault_meets_its_operation_target_and_times_alone() {
    let fault = Fault::new(Operation::KakaoClusterGet, status(500)).target(ID).times(2);
    let clouds = with(fault).await;
    let other = KakaoCluster::instance_set("other", "other");
    clouds.fake.state().add_kakao_cluster(other).unwrap();
    assert_eq!(clouds.get("/v1/clusters/other").await.status, 200);
    assert_eq!(clouds.get("/v1/clusters").await.status, 200);
    let path = format!("/v1/clusters/{ID}");
    assert_eq!(clouds.get(&path).await.status, 500);
    assert_eq!(clouds.fake.state().faults()[0].left, Some(1));
    assert_eq!((clouds.get(&path).await.status, clouds.get(&path).await.status), (500, 200));
    assert_eq!(clouds.fake.state().faults(), []);
}

#[tokio::test]
async fn a_fault_without_times_lasts_until_removed() {
    let clouds = with(Fault::new(Operation::Any, status(418))).await;
    let state = clouds.fake.state();
    for _ in 0..3 {
        assert_eq!((clouds.get("/v1/clusters").await.status, clouds.flush(NO).await.status), (418, 418));
    }
    let id = state.faults()[0].id;
    assert!(state.remove_fault(id) && !state.remove_fault(id));
    assert_eq!(clouds.flush(NO).await.status, 200);
    state.inject(Fault::new(Operation::Any, status(418))).unwrap();
    state.clear_faults();
    assert_eq!(clouds.get("/v1/clusters").await.status, 200);
}

#[tokio::test]
async fn targets_of_forms_and_credentials_are_seen() {
    let clouds = with(Fault::new(Operation::NcpFlush, status(500)).target(NO)).await;
    clouds.fake.state().add_ncp_instance(NcpInstance::single("5", "other")).unwrap();
    assert_eq!((clouds.flush("5").await.status, clouds.flush(NO).await.status), (200, 500));
    clouds.fake.state().inject(Fault::new(Operation::NcpInstancesList, status(502)).target("5")).unwrap();
    assert_eq!(clouds.list(&[("cloudDBInstanceNoList.1", NO)]).await.status, 200);
    let both = [("cloudDBInstanceNoList.1", NO), ("cloudDBInstanceNoList.2", "5")];
    assert_eq!(clouds.list(&both).await.status, 502);
    assert_eq!(clouds.fake.state().requests(RequestFilter::from(Operation::NcpInstancesList).target("5")), 1);
}

#[tokio::test]
async fn a_refusal_can_come_after_the_effect() {
    let clouds = with(Fault::new(Operation::NcpFlush, status(500)).times(1)).await;
    assert_eq!(clouds.flush(NO).await.status, 500);
    assert_eq!(clouds.fake.state().flushes(NO), 0);
    let after = Fault::new(Operation::NcpFlush, status(504)).times(1).execute(true);
    clouds.fake.state().inject(after).unwrap();
    assert_eq!(clouds.flush(NO).await.status, 504);
    assert_eq!(clouds.fake.state().flushes(NO), 1);
}

#[tokio::test]
async fn a_delay_comes_before_anything_else() {
    let clouds = with(Fault::new(Operation::NcpFlush, FaultKind::Delay { ms: 200 })).await;
    clouds.fake.state().inject(Fault::new(Operation::NcpFlush, status(503))).unwrap();
    let before = Instant::now();
    assert_eq!(clouds.flush(NO).await.status, 503);
    assert!(before.elapsed() >= Duration::from_millis(200));
    assert_eq!(clouds.fake.state().recent_requests()[0].faults, ["delay", "status"]);
}

#[tokio::test]
async fn a_hang_lasts_until_the_client_leaves() {
    let clouds = with(Fault::new(Operation::NcpFlush, FaultKind::Hang)).await;
    let state = clouds.fake.state();
    let flush = || tokio::spawn(clouds.form(FLUSH, &[("cloudDBInstanceNo", NO)]).send());
    let asked = flush();
    assert!(state.wait_for_requests(Operation::NcpFlush, 1, LONG).await);
    // A later request over another connection is answered while the first still hangs.
    assert_eq!(clouds.list(&[]).await.status, 200);
    assert!(!asked.is_finished());
    asked.abort();
    assert_eq!((state.flushes(NO), state.recent_requests()[0].status), (0, None));

    state.clear_faults();
    state.inject(Fault::new(Operation::NcpFlush, FaultKind::Hang).execute(true)).unwrap();
    let asked = flush();
    assert!(state.wait_until(LONG, |state| state.flushes(NO) == 1).await, "it is carried out before it hangs");
    assert!(!asked.is_finished());
}

#[tokio::test]
async fn requests_at_the_same_time_are_counted() {
    let clouds = with(Fault::new(Operation::KakaoVersions, FaultKind::Hang)).await;
    let state = clouds.fake.state();
    let asked = [(); 3].map(|()| tokio::spawn(clouds.kakao(Method::GET, "/v1/redis/versions").send()));
    assert!(state.wait_for_requests(Operation::KakaoVersions, 3, LONG).await);
    asked.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(state.request_counts()[&Operation::KakaoVersions].max_in_flight, 3);
    assert!(!state.wait_for_requests(Operation::KakaoFlavors, 1, Duration::ZERO).await);
}

#[tokio::test]
async fn a_drop_gives_no_byte_of_an_answer() {
    for (kind, applies) in [(FaultKind::DropBefore, 0), (FaultKind::DropAfter, 1)] {
        let clouds = with(Fault::new(Operation::KakaoParameterGroupApply, kind.clone())).await;
        assert_eq!(raw_apply(&clouds).await.0, "", "{kind:?}");
        assert_eq!(clouds.fake.state().applies(ID), applies, "{kind:?}");
        assert_eq!(clouds.fake.state().recent_requests()[0].status, None);
    }
}

#[tokio::test]
async fn a_drop_is_a_connection_error_to_a_client() {
    for (kind, flushes) in [(FaultKind::DropBefore, 0), (FaultKind::DropAfter, 1)] {
        let clouds = with(Fault::new(Operation::NcpFlush, kind.clone())).await;
        // A connection that worked before must be dropped just the same.
        assert_eq!(clouds.list(&[]).await.status, 200);
        let error = clouds.form(FLUSH, &[("cloudDBInstanceNo", NO)]).send().await.unwrap_err();
        assert!(error.is_request() && error.status().is_none(), "{error:?}");
        assert_eq!(clouds.fake.state().flushes(NO), flushes, "{kind:?}");
        assert_eq!(clouds.fake.state().requests(Operation::NcpFlush), 1);
        assert_eq!(clouds.list(&[]).await.status, 200, "the stand-in goes on");
    }
}

#[tokio::test]
async fn a_truncated_answer_announces_the_whole() {
    let kind = FaultKind::Truncate { bytes: 20 };
    let clouds = with(Fault::new(Operation::KakaoParameterGroupApply, kind)).await;
    let (received, _) = raw_apply(&clouds).await;
    let (head, body) = received.split_once("\r\n\r\n").unwrap();
    let whole = json!({"objectId": ID}).to_string();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains(&format!("content-length: {}", whole.len())), "{head}");
    assert_eq!(body, &whole[..20]);
    assert_eq!(clouds.fake.state().applies(ID), 1);

    let flush = Fault::new(Operation::NcpFlush, FaultKind::Truncate { bytes: usize::MAX });
    clouds.fake.state().inject(flush).unwrap();
    let response = clouds.form(FLUSH, &[("cloudDBInstanceNo", NO)]).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err(), "the last byte at least is missing");
    assert_eq!(clouds.fake.state().flushes(NO), 1);
}

#[tokio::test]
async fn answers_can_be_garbage() {
    let clouds = with(Fault::new(Operation::NcpFlush, FaultKind::HalfJson).times(1)).await;
    let half = clouds.flush(NO).await;
    assert_eq!((half.status, half.header("content-type")), (200, "application/json"));
    assert!(half.text.starts_with('{') && serde_json::from_str::<serde_json::Value>(&half.text).is_err());
    assert_eq!(clouds.fake.state().flushes(NO), 1);

    let state = clouds.fake.state();
    state.inject(Fault::new(Operation::Any, FaultKind::Html).times(1)).unwrap();
    let html = clouds.get("/v1/clusters").await;
    assert_eq!(html.status, 200);
    assert!(html.header("content-type").starts_with("text/html") && html.text.starts_with("<!DOCTYPE html>"));

    state.inject(Fault::new(Operation::Any, FaultKind::WrongTypes).times(1)).unwrap();
    let wrong = clouds.get("/v1/clusters").await;
    assert_eq!((wrong.at("/clusters/0/name"), wrong.at("/clusters/0/port/unexpected")), (json!([true]), json!(6379)));
}

#[tokio::test]
async fn answers_can_be_deep_or_large() {
    let clouds = with(Fault::new(Operation::KakaoFlavors, FaultKind::DeepNesting { depth: 100_000 })).await;
    let deep = clouds.get("/v1/redis/flavors").await;
    assert_eq!((deep.status, deep.text.len()), (200, 200_000));
    assert!(serde_json::from_str::<serde_json::Value>(&deep.text).is_err(), "serde_json's limit is 128");

    let bomb = FaultKind::GzipBomb { bytes: 1 << 30 };
    clouds.fake.state().inject(Fault::new(Operation::KakaoVersions, bomb)).unwrap();
    let packed = reqwest::Client::builder().no_gzip().build().unwrap();
    let sent = packed.get(clouds.fake.url() + "/v1/redis/versions").send().await.unwrap();
    assert_eq!(sent.headers()["content-encoding"], "gzip");
    let size = sent.bytes().await.unwrap().len();
    assert!(size < 2 * 1024 * 1024, "{size} bytes on the wire");

    let mut unpacked = clouds.kakao(Method::GET, "/v1/redis/versions").send().await.unwrap();
    let mut bytes = 0;
    while bytes < 16 << 20 {
        let chunk = unpacked.chunk().await.unwrap().expect("a bomb larger than 16 MiB");
        assert!(chunk.iter().all(|byte| *byte == 0));
        bytes += chunk.len();
    }
}

#[tokio::test]
async fn too_many_requests_speak_the_clouds_language() {
    let kind = FaultKind::TooManyRequests { retry_after_seconds: Some(7), error_code: Some(420) };
    let clouds = with(Fault::new(Operation::Any, kind)).await;
    let (ncp, kakao) = (clouds.flush(NO).await, clouds.get("/v1/clusters").await);
    assert_eq!((ncp.status, ncp.header("retry-after"), ncp.at("/error/errorCode")), (429, "7", json!("420")));
    assert_eq!((kakao.status, kakao.header("retry-after"), kakao.at("/error/code")), (429, "7", json!("429")));
    clouds.fake.state().clear_faults();
    let plain = FaultKind::TooManyRequests { retry_after_seconds: None, error_code: None };
    clouds.fake.state().inject(Fault::new(Operation::Any, plain)).unwrap();
    let ncp = clouds.flush(NO).await;
    assert_eq!((ncp.header("retry-after"), ncp.at("/error/errorCode")), ("", json!("410")));
}

#[tokio::test]
async fn redirects_lead_elsewhere() {
    let location = "http://127.0.0.1:9/elsewhere";
    let kind = FaultKind::Redirect { location: location.into(), code: None };
    let clouds = with(Fault::new(Operation::NcpFlush, kind)).await;
    let answer = clouds.flush(NO).await;
    assert_eq!((answer.status, answer.header("location")), (307, location));
    assert_eq!(clouds.fake.state().flushes(NO), 0);
    let kind = FaultKind::Redirect { location: location.into(), code: Some(302) };
    clouds.fake.state().inject(Fault::new(Operation::KakaoIamToken, kind)).unwrap();
    assert_eq!(clouds.post("/identity/v3/auth/tokens").await.status, 302);
}

#[tokio::test]
async fn gateway_and_service_errors_are_free_to_choose() {
    let error_code = String::from("510");
    let gateway = FaultKind::Gateway { status: 504, error_code: error_code.clone(), message: None, xml: false };
    let clouds = with(Fault::new(Operation::NcpFlush, gateway).times(1)).await;
    let state = clouds.fake.state();
    let answer = clouds.flush(NO).await;
    assert_eq!((answer.status, answer.at("/error/errorCode")), (504, json!("510")));

    let gateway = FaultKind::Gateway { status: 504, error_code, message: Some("late".into()), xml: true };
    state.inject(Fault::new(Operation::NcpFlush, gateway).times(1)).unwrap();
    let answer = clouds.flush(NO).await;
    assert_eq!(answer.header("content-type"), "application/xml");
    assert!(answer.text.ends_with("<error><errorCode>510</errorCode><message>late</message></error>"));

    let service = |status, xml| FaultKind::Service { return_code: "1300".into(), message: None, status, xml };
    for (status, xml, want) in [(None, false, 400), (Some(500), false, 500), (Some(500), true, 500)] {
        state.inject(Fault::new(Operation::NcpFlush, service(status, xml)).times(1)).unwrap();
        let answer = clouds.flush(NO).await;
        assert_eq!(answer.status, want);
        match xml {
            true => assert!(answer.text.contains("<responseError><returnCode>1300</returnCode>")),
            false => assert_eq!(answer.at("/responseError/returnCode"), "1300"),
        }
    }
    assert_eq!(state.flushes(NO), 0);
}

#[tokio::test]
async fn json_can_come_as_xml() {
    let clouds = with(Fault::new(Operation::Any, FaultKind::Xml)).await;
    let flush = clouds.flush(NO).await;
    assert_eq!((flush.status, flush.header("content-type")), (200, "application/xml"));
    assert!(flush.text.contains("<flushCloudDBInstanceResponse>"), "{}", flush.text);
    assert_eq!(clouds.fake.state().flushes(NO), 1);
    assert!(clouds.get("/v1/redis/versions").await.text.contains("<response><item>7.2.11</item>"));
}

#[tokio::test]
async fn good_answers_can_look_odd() {
    let quirks = NcpQuirks {
        omit_wrapper: true,
        integer_return_code: true,
        string_total_rows: true,
        bare_servers: true,
        omit_request_id: true,
        ..NcpQuirks::default()
    };
    let clouds = with(Fault::new(Operation::NcpFlush, FaultKind::Quirks(quirks)).times(1)).await;
    let body = clouds.flush(NO).await.json();
    assert_eq!((&body["returnCode"], &body["totalRows"]), (&json!(0), &json!("1")));
    assert!(body.get("requestId").is_none());
    let server = &body["cloudDBInstanceList"][0]["cloudDBServerInstanceList"][0];
    assert!(server.get("cloudDBServerInstanceNo").is_none() && server["cloudDBServerRole"]["code"] == "M");

    let bare = NcpQuirks { omit_return_code: true, omit_instances: true, ..NcpQuirks::default() };
    clouds.fake.state().inject(Fault::new(Operation::NcpInstancesList, FaultKind::Quirks(bare))).unwrap();
    let body = clouds.list(&[]).await.at("/getCloudDBInstanceListResponse");
    assert!(body.get("returnCode").is_none() && body.get("cloudDBInstanceList").is_none());
}

#[tokio::test]
async fn faults_come_before_any_check() {
    let clouds = with(Fault::new(Operation::Any, status(503))).await;
    let unsigned = clouds.http.post(clouds.fake.url() + FLUSH).send().await.unwrap();
    assert_eq!(ReceivedAnswer::of(unsigned).await.status, 503);
}
