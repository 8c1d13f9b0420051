//! Both operations of NCP's Cloud DB, with every quirk and refusal that is known.

use std::time::Duration;

use fake_cloud::{Fault, FaultKind, Generate, NcpBehaviour, NcpInstance, NcpKey, NcpQuirks, Operation, Seed};
use managed_redis_operator::cloud::{CloudError, ErrorKind, Executed, Provider};
use serde_json::json;

use crate::support::Fixture;

const NO: &str = "771203";

async fn with_instance() -> Fixture {
    let fixture = Fixture::start().await;
    fixture.fake.state().add_ncp_instance(NcpInstance::highly_available(NO, "cart-cache")).unwrap();
    fixture
}

fn inject(fixture: &Fixture, operation: Operation, kind: FaultKind) {
    fixture.fake.state().clear_faults();
    fixture.fake.state().inject(Fault::new(operation, kind)).unwrap();
}

fn json_answer(code: u16, body: &serde_json::Value) -> FaultKind {
    let content_type = Some("application/json".to_owned());
    FaultKind::Status { code, body: Some(body.to_string()), content_type, retry_after: None }
}

#[tokio::test]
async fn all_pages_are_listed() {
    for (count, pages) in [(0, 1), (1, 1), (100, 1), (101, 2), (250, 3)] {
        let generate = Generate { kakao_clusters: 0, ncp_instances: count };
        let fixture = Fixture::with(Seed { generate, ..Seed::default() }, |_| {}).await;
        let instances = fixture.ncp().instances().await.unwrap();
        let mut numbers: Vec<_> = instances.into_iter().filter_map(|instance| instance.no).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), usize::try_from(count).unwrap());
        assert_eq!(fixture.fake.state().requests(Operation::NcpInstancesList), pages, "{count}");
    }
}

#[tokio::test]
async fn an_instance_is_read_with_its_values_normalised() {
    let fixture = with_instance().await;
    let instance = fixture.ncp().instance(NO).await.unwrap().unwrap();
    assert_eq!((instance.no.as_deref(), instance.service_name.as_deref()), (Some(NO), Some("cart-cache")));
    assert_eq!(instance.engine.version.as_deref(), Some("4.0.2"));
    assert_eq!((instance.memory_mib, instance.status.as_deref()), (Some(4096), Some("running")));
    assert!(instance.created_at.is_some());
    let roles: Vec<_> = instance.servers.iter().filter_map(|server| server.role_name()).collect();
    assert_eq!(roles, ["Master", "HiddenMaster"]);
    assert_eq!(instance.servers[1].no, None);
}

#[tokio::test]
async fn what_waits_for_a_reboot_is_read() {
    let scheduled = |word: &str| [("rebootScheduleTime".to_owned(), json!(word))].into_iter().collect();
    for (word, at) in [("2026-06-01T04:00:00+0900", Some("2026-05-31T19:00:00Z")), ("", None), ("-", None)] {
        let fixture = Fixture::start().await;
        let behaviour = NcpBehaviour { overrides: scheduled(word), ..NcpBehaviour::default() };
        let instance = NcpInstance { config_needs_reboot: true, behaviour, ..NcpInstance::single(NO, "cart-cache") };
        fixture.fake.state().add_ncp_instance(instance).unwrap();
        let instance = fixture.ncp().instance(NO).await.unwrap().unwrap();
        assert_eq!((instance.needs_reboot, instance.config_needs_reboot), (Some(false), Some(true)));
        assert_eq!(instance.reboot_scheduled_at.map(|time| time.to_string()).as_deref(), at, "{word:?}");
        assert_eq!(instance.zone.and_then(|zone| zone.code).as_deref(), Some("KR-2"));
    }
}

#[tokio::test]
async fn an_instance_that_does_not_exist_is_none() {
    let fixture = with_instance().await;
    assert_eq!(fixture.ncp().instance("1").await.unwrap(), None);
    for status in [400, 500] {
        let service =
            FaultKind::Service { return_code: "5001017".into(), message: None, status: Some(status), xml: false };
        inject(&fixture, Operation::NcpInstancesList, service);
        assert_eq!(fixture.ncp().instance(NO).await.unwrap(), None, "{status}");
    }
}

/// Everything that is not "there is none" must not look like it.
#[tokio::test]
async fn a_list_that_cannot_be_trusted_is_no_absence() {
    let fixture = with_instance().await;
    let other = json!({"returnCode": "0", "totalRows": 1, "cloudDBInstanceList": [{"cloudDBInstanceNo": "9"}]});
    let twice = json!([{"cloudDBInstanceNo": NO}, {"cloudDBInstanceNo": NO}]);
    let twice = json!({"returnCode": "0", "totalRows": 2, "cloudDBInstanceList": twice});
    for kind in [
        json_answer(200, &other),
        json_answer(200, &twice),
        json_answer(200, &json!({"returnCode": "0", "totalRows": 1})),
        json_answer(404, &json!({"error": {"errorCode": "300", "message": "Not Found Exception"}})),
        FaultKind::Quirks(NcpQuirks { omit_instances: true, ..NcpQuirks::default() }),
        FaultKind::Quirks(NcpQuirks { omit_return_code: true, ..NcpQuirks::default() }),
    ] {
        let row = format!("{kind:?}");
        inject(&fixture, Operation::NcpInstancesList, kind);
        assert_eq!(fixture.ncp().instance(NO).await.unwrap_err().kind, ErrorKind::UnexpectedResponse, "{row}");
    }
}

#[tokio::test]
async fn a_list_that_breaks_off_is_an_error() {
    let fixture = with_instance().await;
    let page = json!({"returnCode": "0", "totalRows": 5, "cloudDBInstanceList": [{"cloudDBInstanceNo": "1"}]});
    inject(&fixture, Operation::NcpInstancesList, json_answer(200, &page));
    let error = fixture.ncp().instances().await.unwrap_err();
    assert_eq!((error.kind, error.executed), (ErrorKind::UnexpectedResponse, Executed::No));
    assert!(error.message.contains("broke off after 1 of 5"), "{error}");
}

#[tokio::test]
async fn quirks_of_a_good_answer_are_understood() {
    let fixture = with_instance().await;
    let odd = NcpQuirks {
        omit_wrapper: true,
        integer_return_code: true,
        string_total_rows: true,
        bare_servers: true,
        omit_request_id: true,
        ..NcpQuirks::default()
    };
    inject(&fixture, Operation::NcpInstancesList, FaultKind::Quirks(odd));
    assert_eq!(fixture.ncp().instances().await.unwrap().len(), 1);
    inject(&fixture, Operation::NcpInstancesList, FaultKind::Xml);
    let instance = fixture.ncp().instance(NO).await.unwrap().unwrap();
    assert_eq!((instance.memory_mib, instance.is_ha, instance.port), (Some(4096), Some(true), Some(6379)));
    assert_eq!(instance.servers.len(), 2);
}

#[tokio::test]
async fn a_flush_is_sent_once_and_accepted() {
    let fixture = with_instance().await;
    let reply = fixture.ncp().flush(NO).await.unwrap();
    assert_eq!((reply.http_status, reply.return_code.as_str(), reply.total_rows), (200, "0", Some(1)));
    assert_eq!(reply.return_message.as_deref(), Some("success"));
    assert!(reply.trace_id.is_some());
    assert_eq!(reply.instances[0].status.as_deref(), Some("settingup"));
    assert_eq!(fixture.fake.state().flushes(NO), 1);
    fixture.fake.state().advance(Duration::from_secs(60));
    let instance = fixture.ncp().instance(NO).await.unwrap().unwrap();
    assert_eq!(instance.status.as_deref(), Some("running"));
    let requests = fixture.fake.state().recent_requests();
    let flush = requests.iter().find(|request| request.operation == Operation::NcpFlush).unwrap();
    assert_eq!((flush.method.as_str(), flush.target.as_deref()), ("POST", Some(NO)));
    assert!(flush.user_agent.starts_with("managed-redis-operator/"), "{}", flush.user_agent);
}

#[tokio::test]
async fn a_flush_is_accepted_in_every_shape() {
    let quirks = |set: fn(&mut NcpQuirks)| {
        let mut quirks = NcpQuirks::default();
        set(&mut quirks);
        FaultKind::Quirks(quirks)
    };
    for kind in [
        quirks(|quirks| quirks.omit_wrapper = true),
        quirks(|quirks| quirks.integer_return_code = true),
        quirks(|quirks| quirks.string_total_rows = true),
        quirks(|quirks| quirks.omit_instances = true),
        quirks(|quirks| quirks.omit_request_id = true),
        FaultKind::Xml,
    ] {
        let fixture = with_instance().await;
        let row = format!("{kind:?}");
        inject(&fixture, Operation::NcpFlush, kind);
        assert_eq!(fixture.ncp().flush(NO).await.unwrap().return_code, "0", "{row}");
        assert_eq!(fixture.fake.state().flushes(NO), 1, "{row}");
    }
}

/// The documented tables, over HTTP: what is said of a flush, and that none is ever sent twice.
#[tokio::test]
async fn refused_flushes() {
    let gateway = |status, code: &str, xml| FaultKind::Gateway { status, error_code: code.into(), message: None, xml };
    let service = |status, code: &str, xml| FaultKind::Service {
        return_code: code.into(),
        message: None,
        status: Some(status),
        xml,
    };
    for (kind, error_kind, executed) in [
        (gateway(400, "100", false), ErrorKind::BadRequest, Executed::No),
        (gateway(400, "100", true), ErrorKind::BadRequest, Executed::No),
        (gateway(401, "200", false), ErrorKind::CredentialsRejected, Executed::No),
        (gateway(401, "210", true), ErrorKind::PermissionDenied, Executed::No),
        (gateway(403, "230", false), ErrorKind::PermissionDenied, Executed::No),
        (gateway(404, "300", false), ErrorKind::UnexpectedResponse, Executed::No),
        (gateway(413, "430", false), ErrorKind::BadRequest, Executed::No),
        (gateway(429, "420", false), ErrorKind::RateLimited, Executed::No),
        (gateway(503, "500", false), ErrorKind::Unavailable, Executed::Unknown),
        (gateway(504, "510", true), ErrorKind::Unavailable, Executed::Unknown),
        (gateway(500, "900", false), ErrorKind::Unavailable, Executed::Unknown),
        (service(400, "5001017", false), ErrorKind::NotFound, Executed::No),
        (service(500, "5001017", true), ErrorKind::NotFound, Executed::No),
        (service(500, "25013", false), ErrorKind::Busy, Executed::No),
        (service(400, "1007009", true), ErrorKind::Busy, Executed::No),
        (service(401, "800", false), ErrorKind::CredentialsRejected, Executed::No),
        (service(500, "900", false), ErrorKind::Unavailable, Executed::Unknown),
        (service(500, "1300", true), ErrorKind::Unavailable, Executed::Unknown),
        (service(500, "31337", false), ErrorKind::Unavailable, Executed::Unknown),
    ] {
        let fixture = with_instance().await;
        let row = format!("{kind:?}");
        inject(&fixture, Operation::NcpFlush, kind);
        let error = fixture.ncp().flush(NO).await.unwrap_err();
        assert_eq!((error.kind, error.executed), (error_kind, executed), "{row}");
        assert_eq!((error.provider, error.operation), (Provider::Ncp, "flushCloudDBInstance"), "{row}");
        assert!(error.code.is_some() && error.http_status.is_some(), "{row}");
        assert_eq!(fixture.fake.state().requests(Operation::NcpFlush), 1, "{row}");
    }
}

#[tokio::test]
async fn the_stand_in_refuses_as_the_cloud_does() {
    let fixture = with_instance().await;
    let error = fixture.ncp().flush("404404").await.unwrap_err();
    assert_eq!(
        (error.kind, error.executed, error.code.as_deref()),
        (ErrorKind::NotFound, Executed::No, Some("5001017"))
    );
    fixture.ncp().flush(NO).await.unwrap();
    let error = fixture.ncp().flush(NO).await.unwrap_err();
    assert_eq!((error.kind, error.executed, error.code.as_deref()), (ErrorKind::Busy, Executed::No, Some("25013")));
    assert_eq!(fixture.fake.state().flushes(NO), 1);
}

#[tokio::test]
async fn keys_that_are_wrong_or_not_permitted() {
    let fixture = with_instance().await;
    let no_rights = NcpKey { permission_denied: true, ..NcpKey::new("NORIGHTS000000000000", "NORIGHTSSECRET000000") };
    let good = NcpKey::new(fake_cloud::NCP_ACCESS_KEY, fake_cloud::NCP_SECRET_KEY);
    fixture.fake.state().set_ncp_keys(vec![good, no_rights]);
    let of = |error: CloudError| (error.kind, error.code.unwrap(), error.executed);
    for (access_key, secret_key, kind, code) in [
        (fake_cloud::NCP_ACCESS_KEY, "WRONGSECRET000000000", ErrorKind::CredentialsRejected, "200"),
        ("UNKNOWNKEY0000000000", fake_cloud::NCP_SECRET_KEY, ErrorKind::CredentialsRejected, "200"),
        ("NORIGHTS000000000000", "NORIGHTSSECRET000000", ErrorKind::PermissionDenied, "210"),
    ] {
        let client = fixture.ncp_with(access_key, secret_key);
        let expected = (kind, code.to_owned(), Executed::No);
        assert_eq!(of(client.instances().await.unwrap_err()), expected, "{access_key}");
        assert_eq!(of(client.flush(NO).await.unwrap_err()), expected, "{access_key}");
    }
    assert_eq!(fixture.fake.state().flushes(NO), 0);
}

#[tokio::test]
async fn a_clock_that_is_off_is_named() {
    let fixture = with_instance().await;
    for (skew, fragment) in [(600, "behind the cloud's"), (-600, "ahead of the cloud's")] {
        fixture.fake.state().set_skew(skew);
        let error = fixture.ncp().flush(NO).await.unwrap_err();
        assert_eq!((error.kind, error.executed), (ErrorKind::CredentialsRejected, Executed::No));
        let text = error.to_string();
        assert!(text.contains("s off") && text.contains(fragment), "{text}");
    }
    // Within the tolerance of the gateway there is nothing to say.
    fixture.fake.state().set_skew(200);
    fixture.ncp().flush(NO).await.unwrap();
}

#[tokio::test]
async fn reads_are_tried_again_but_not_after_a_refusal() {
    let fixture = with_instance().await;
    let refusal = FaultKind::Service { return_code: "25013".into(), message: None, status: Some(500), xml: false };
    inject(&fixture, Operation::NcpInstancesList, refusal);
    assert_eq!(fixture.ncp().instances().await.unwrap_err().kind, ErrorKind::Busy);
    assert_eq!(fixture.attempts.codes("getCloudDBInstanceList"), ["500"]);
    let failure = FaultKind::Gateway { status: 503, error_code: "500".into(), message: None, xml: false };
    fixture.fake.state().clear_faults();
    fixture.fake.state().inject(Fault::new(Operation::NcpInstancesList, failure).times(2)).unwrap();
    assert_eq!(fixture.ncp().instances().await.unwrap().len(), 1);
    assert_eq!(fixture.attempts.codes("getCloudDBInstanceList"), ["500", "503", "503", "200"]);
}
