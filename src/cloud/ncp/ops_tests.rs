use serde_json::{Value, json};

use super::super::super::error::{CloudError, Executed};
use super::super::super::transport::decode_bytes;
use super::*;
use crate::api::Provider;

fn refuse(failure: Failure) -> CloudError {
    failure.into_error(Provider::Ncp, "test", &[])
}

fn flush(response: Response) -> Result<FlushReply, Failure> {
    decode_bytes(&FlushCloudDbInstance { no: "771203" }, response, &refuse)
}

fn page(response: Response) -> Result<Page, Failure> {
    decode_bytes(&GetCloudDbInstanceList { filter: Filter::Page(1) }, response, &refuse)
}

/// The instances of a page that can be read.
fn list(response: Response) -> Result<Vec<CloudDbInstance>, Failure> {
    Ok(page(response)?.instances.into_iter().filter_map(Row::ok).collect())
}

fn instance() -> Value {
    json!({
        "cloudDBInstanceNo": "771203", "cloudDBServiceName": "cart", "dbKindCode": "REDIS",
        "engineVersion": "REDIS 4.0.2", "cpuCount": 2, "memorySize": 4_294_967_296_i64, "licenseCode": "BSD",
        "cloudDBPort": 6379, "isHa": true, "backupTime": "03:15", "backupFileRetentionPeriod": 3,
        "cloudDBInstanceStatusName": "settingup", "collation": "", "createDate": "2026-03-06T11:35:13+0900",
        "isCloudDBConfigNeedReboot": false, "isCloudDBNeedReboot": true,
        "zone": {"zoneNo": "3", "zoneName": "KR-2", "zoneCode": "KR-2"},
        "region": {"regionNo": "1", "regionCode": "KR", "regionName": "Korea"},
        "cloudDBConfigList": [{"configName": "timeout", "configValue": "0"}],
        "cloudDBConfigGroupList": null,
        "accessControlGroupList": [{"accessControlGroupConfigurationNo": "9", "accessControlGroupName": "acg"}],
        "cloudDBServerInstanceList": [
            {"cloudDBServerInstanceNo": "771204", "cloudDBServerInstanceStatusName": "running",
             "cloudDBServerName": "cart-001", "cloudDBServerRole": {"code": "M", "codeName": "Master"},
             "privateDnsName": "cart.example", "publicDnsName": "", "dataStorageSize": 0,
             "createDate": "2026-03-06T11:35:13+0900", "uptime": "2026-03-06T11:40:13+0900"},
            {"cloudDBServerName": "cart-002", "cloudDBServerRole": {"code": "H", "codeName": "Hidden Master"}},
            {"cloudDBServerRole": {"code": "X"}},
        ],
    })
}

fn success() -> Value {
    json!({"requestId": "r-1", "returnCode": "0", "returnMessage": "success", "totalRows": 1,
           "cloudDBInstanceList": [instance()]})
}

fn response(status: u16, body: &Value) -> Response {
    Response::fixture(status, &[], body.to_string())
}

#[test]
fn an_instance_is_normalised() {
    let instances = list(response(200, &json!({"getCloudDBInstanceListResponse": success()}))).unwrap();
    let [instance] = instances.as_slice() else { panic!("{instances:?}") };
    assert_eq!(instance.no.as_deref(), Some("771203"));
    assert_eq!(instance.engine.name.as_deref(), Some("Redis"));
    assert_eq!(instance.engine.version.as_deref(), Some("4.0.2"));
    assert_eq!((instance.memory_mib, instance.vcpus, instance.port), (Some(4096), Some(2), Some(6379)));
    assert_eq!(instance.created_at.unwrap().to_string(), "2026-03-06T02:35:13Z");
    assert_eq!((instance.needs_reboot, instance.config_needs_reboot), (Some(true), Some(false)));
    let roles: Vec<_> = instance.servers.iter().map(super::super::ServerInstance::role_name).collect();
    assert_eq!(roles, [Some("Master"), Some("HiddenMaster"), Some("X")]);
    assert_eq!(instance.servers[0].public_dns_name, None);
    assert_eq!(instance.servers[0].started_at.unwrap().to_string(), "2026-03-06T02:40:13Z");
    assert_eq!((&instance.servers[1].no, &instance.servers[1].status), (&None, &None));
}

#[test]
fn a_flush_is_accepted_in_every_shape_of_success() {
    let bare = success();
    let mut number = success();
    (number["returnCode"], number["totalRows"]) = (json!(0), json!("1"));
    let wrapped = |response: &Value| json!({"flushCloudDBInstanceResponse": response});
    for body in [wrapped(&bare), bare.clone(), wrapped(&number)] {
        let reply = flush(response(200, &body)).unwrap();
        assert_eq!((reply.http_status, reply.return_code.as_str(), reply.total_rows), (200, "0", Some(1)), "{body}");
        assert_eq!(reply.trace_id.as_deref(), Some("r-1"));
        assert_eq!(reply.instances[0].status.as_deref(), Some("settingup"));
    }
    let traced = Response::fixture(202, &[("x-ncp-trace-id", "t-1")], wrapped(&bare).to_string());
    assert_eq!(flush(traced).unwrap().trace_id.as_deref(), Some("t-1"));
}

#[test]
fn a_flush_is_accepted_in_xml() {
    let body = "<flushCloudDBInstanceResponse><requestId>r-2</requestId><returnCode>0</returnCode>\
        <returnMessage>success</returnMessage><totalRows>1</totalRows><cloudDBInstanceList><cloudDBInstance>\
        <cloudDBInstanceNo>771203</cloudDBInstanceNo><isHa>true</isHa><memorySize>4294967296</memorySize>\
        <zone><zoneNo>3</zoneNo></zone><cloudDBServerInstanceList/></cloudDBInstance></cloudDBInstanceList>\
        </flushCloudDBInstanceResponse>";
    let reply = flush(Response::fixture(200, &[("content-type", "application/xml")], body)).unwrap();
    assert_eq!((reply.trace_id.as_deref(), reply.total_rows), (Some("r-2"), Some(1)));
    assert_eq!((reply.instances[0].memory_mib, reply.instances[0].is_ha), (Some(4096), Some(true)));
}

/// What cannot be read as success or as a refusal stays unknown, whatever the rest of it says.
#[test]
fn what_cannot_be_read_is_unknown() {
    let spoil = |field: &str, value: Value| {
        let mut response = success();
        response[field] = value;
        json!({"flushCloudDBInstanceResponse": response}).to_string()
    };
    for (status, body) in [
        (200, String::new()),
        (200, "{}".to_owned()),
        (200, "null".to_owned()),
        (200, "[]".to_owned()),
        (200, "<html><body>Sign in</body></html>".to_owned()),
        (200, "<flushCloudDBInstanceResponse><returnCode>0".to_owned()),
        (200, "[".repeat(100_000)),
        (200, "<a>".repeat(100_000)),
        (200, r#"{"flushCloudDBInstanceResponse":{"returnMessage":"success"}}"#.to_owned()),
        (200, r#"{"flushCloudDBInstanceResponse":[]}"#.to_owned()),
        (200, spoil("returnCode", json!({}))),
        (200, spoil("returnCode", json!(null))),
        (500, spoil("returnMessage", json!("success"))),
        (502, "<html>Bad Gateway</html>".to_owned()),
        (400, "{}".to_owned()),
        (429, "{}".to_owned()),
        (200, r#"{"flushCloudDBInstanceResponse":{"returnCode":"0","cloudDBInstanceList":[{"#.to_owned()),
        (200, "<r><returnCode>0</returnCode><returnCode>900</returnCode></r>".to_owned()),
        (403, "<html>Blocked</html>".to_owned()),
    ] {
        let failure = flush(Response::fixture(status, &[], body.clone())).unwrap_err();
        assert_eq!(failure.executed, Executed::Unknown, "{status} {body:.80}");
        assert!(!failure.message.is_empty(), "{status} {body:.80}");
    }
}

/// HTTP 200 and return code 0 are acceptance, whatever else is odd.
#[test]
fn a_flush_that_was_accepted_in_so_many_words_is_accepted() {
    let spoil = |field: &str, value: Value| {
        let mut response = success();
        response[field] = value;
        json!({"flushCloudDBInstanceResponse": response}).to_string().into_bytes()
    };
    let mut odd = instance();
    odd["cloudDBPort"] = json!({"a": "6379"});
    let euc_kr = b"{\"returnCode\":0,\"returnMessage\":\"\xbc\xba\xb0\xf8\"}".to_vec();
    for body in [
        spoil("totalRows", json!("many")),
        spoil("totalRows", json!({})),
        spoil("returnMessage", json!([1])),
        spoil("cloudDBInstanceList", json!("")),
        spoil("cloudDBInstanceList", json!("gone")),
        spoil("cloudDBInstanceList", json!(7)),
        spoil("cloudDBInstanceList", json!({})),
        spoil("cloudDBInstanceList", instance()),
        spoil("cloudDBInstanceList", json!([odd])),
        spoil("cloudDBInstanceList", json!([7, null, "x", [], {}])),
        spoil("cloudDBInstanceList", json!([{"cloudDBInstanceNo": 771_203}])),
        spoil("cloudDBInstanceList", json!([{"cloudDBInstanceNo": "1"}, {"cloudDBInstanceNo": "771203"}])),
        spoil("requestId", json!({})),
        [b"\xef\xbb\xbf", spoil("returnCode", json!(0)).as_slice()].concat(),
        euc_kr,
        br#"{"returnCode":"0"}"#.to_vec(),
    ] {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let reply = flush(Response::fixture(200, &[], body)).map_err(|failure| failure.message);
        assert_eq!(reply.map(|reply| reply.return_code), Ok("0".to_owned()), "{shown}");
    }
}

#[test]
fn an_answer_about_another_instance_is_in_doubt() {
    let xml = "<flushCloudDBInstanceResponse><returnCode>0</returnCode><cloudDBInstanceList><cloudDBInstance>\
        <cloudDBInstanceNo>9</cloudDBInstanceNo></cloudDBInstance></cloudDBInstanceList></flushCloudDBInstanceResponse>";
    let json = |rows: Value| json!({"returnCode": "0", "cloudDBInstanceList": rows}).to_string();
    for body in [
        json(json!([{"cloudDBInstanceNo": "9"}])),
        json(json!([{"cloudDBInstanceNo": 9, "cloudDBPort": {}}, {}])),
        json(json!({"cloudDBInstanceNo": "9"})),
        xml.to_owned(),
    ] {
        let failure = flush(Response::fixture(200, &[], body.clone())).unwrap_err();
        assert_eq!((failure.kind, failure.executed), (ErrorKind::UnexpectedResponse, Executed::Unknown), "{body}");
        assert!(failure.message.contains("another instance, 9"), "{}", failure.message);
    }
}

#[test]
fn an_instance_that_cannot_be_read_costs_no_other() {
    let mut odd = instance();
    odd["cloudDBPort"] = json!({});
    odd["cloudDBInstanceNo"] = json!("771204");
    let body = json!({"returnCode": "0", "totalRows": 4, "cloudDBInstanceList": [odd, 7, {"cloudDBServiceName": "x"}, instance()]});
    let page = page(response(200, &json!({"getCloudDBInstanceListResponse": body}))).unwrap();
    let [Row::Unreadable(odd), Row::Unreadable(seven), Row::Unreadable(nameless), Row::Read(good)] =
        page.instances.as_slice()
    else {
        panic!("{:?}", page.instances)
    };
    assert_eq!(
        (odd.id.as_deref(), odd.name.as_deref(), good.no.as_deref()),
        (Some("771204"), Some("cart"), Some("771203"))
    );
    assert_eq!(odd.error.message, "field cloudDBPort: invalid type: map, expected an integer");
    assert_eq!((&seven.id, &nameless.id, nameless.name.as_deref()), (&None, &None, Some("x")));
    assert_eq!(nameless.error.message, "field cloudDBInstanceNo is not there");
}

#[test]
fn a_page_has_no_more_rows_than_were_asked_for() {
    let rows = |count: usize| json!({"returnCode": "0", "cloudDBInstanceList": vec![json!({}); count]});
    assert_eq!(page(response(200, &rows(PAGE_SIZE))).unwrap().instances.len(), PAGE_SIZE);
    let xml = |count: usize| {
        let rows = "<cloudDBInstance/>".repeat(count);
        let body = format!("<returnCode>0</returnCode><cloudDBInstanceList>{rows}</cloudDBInstanceList>");
        let body = format!("<getCloudDBInstanceListResponse>{body}</getCloudDBInstanceListResponse>");
        Response::fixture(200, &[], body)
    };
    for answer in [response(200, &rows(PAGE_SIZE + 1)), response(200, &rows(700_000)), xml(101)] {
        let failure = page(answer).unwrap_err();
        assert!(failure.message.contains("more than the 100 instances"), "{}", failure.message);
    }
}

#[test]
fn refusals_of_both_layers_in_both_formats() {
    let gateway = json!({"error": {"errorCode": "210", "message": "Permission Denied", "details": "no subscription"}});
    let service = json!({"responseError": {"returnCode": "25013", "returnMessage": "another operation"}});
    let wrapped = json!({"flushCloudDBInstanceResponse": service});
    let in_response =
        json!({"flushCloudDBInstanceResponse": {"returnCode": 25013, "returnMessage": "another operation"}});
    let xml = |text: &str| Response::fixture(400, &[("content-type", "text/xml")], text);
    for (response, kind, code, fragment) in [
        (response(401, &gateway), ErrorKind::PermissionDenied, "210", "Permission Denied: no subscription"),
        (response(400, &service), ErrorKind::Busy, "25013", "another operation"),
        (response(500, &wrapped), ErrorKind::Busy, "25013", "another operation"),
        (response(200, &in_response), ErrorKind::Busy, "25013", "another operation"),
        (
            xml("<responseError><returnCode>5001017</returnCode><returnMessage>none</returnMessage></responseError>"),
            ErrorKind::NotFound,
            "5001017",
            "none",
        ),
        (
            xml("<response><error><errorCode>100</errorCode><message>bad &lt;field&gt;</message></error></response>"),
            ErrorKind::BadRequest,
            "100",
            "bad <field>",
        ),
    ] {
        let failure = flush(response).unwrap_err();
        assert_eq!((failure.kind, failure.code.as_deref()), (kind, Some(code)));
        assert_eq!(failure.executed, Executed::No);
        assert!(failure.said.as_ref().is_some_and(|said| said.contains(fragment)), "{failure:?}");
    }
}

#[test]
fn an_error_goes_before_a_response_in_the_same_body() {
    let mut both = success();
    both["error"] = json!({"errorCode": "900", "message": "unexpected"});
    let failure = flush(response(200, &both)).unwrap_err();
    assert_eq!((failure.executed, failure.code.as_deref()), (Executed::Unknown, Some("900")));
}

#[test]
fn a_clock_that_is_off_is_named() {
    let body = json!({"error": {"errorCode": "200", "message": "Authentication Failed"}}).to_string();
    // The answer is received at 00:00:00.
    for (date, named) in [
        ("Sun, 22 Nov 2026 00:00:10 GMT", None),
        ("Sun, 22 Nov 2026 00:06:00 GMT", Some("the clock is 360 s off (behind the cloud's)")),
        ("Sat, 21 Nov 2026 23:50:00 GMT", Some("the clock is 600 s off (ahead of the cloud's)")),
        ("not a date", None),
    ] {
        let failure = flush(Response::fixture(401, &[("date", date)], body.clone())).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::CredentialsRejected);
        let expected = named.unwrap_or("check NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY");
        assert!(failure.message.starts_with(expected), "{date}: {}", failure.message);
        assert_eq!(failure.said.as_deref(), Some("Authentication Failed"));
    }
}

#[test]
fn a_list_that_is_not_there_is_not_an_empty_list() {
    let page = |rows: Value| {
        list(response(200, &json!({"getCloudDBInstanceListResponse": {"returnCode": "0", "totalRows": rows}})))
    };
    assert!(page(json!(0)).unwrap().is_empty());
    for rows in [json!(1), json!(null)] {
        assert_eq!(page(rows).map(|_| ()).unwrap_err().kind, ErrorKind::UnexpectedResponse);
    }
}

proptest::proptest! {
    /// Whatever the cloud sends, reading it ends with a value or an error, and noise never proves a flush away.
    #[test]
    fn no_body_panics(status in 100_u16..1000, body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = list(Response::fixture(status, &[], body.clone()));
        let failure = flush(Response::fixture(status, &[], body)).unwrap_err();
        assert_eq!(failure.executed, Executed::Unknown);
    }

    #[test]
    fn no_spoiled_body_panics(at in 0_usize..1500, part in "[\\[\\]{}\",:0-9a-z.-]{0,6}", status in 100_u16..1000) {
        let good = json!({"flushCloudDBInstanceResponse": success()}).to_string();
        let (at, end) = (at.min(good.len()), (at + part.len()).min(good.len()));
        let body = [&good.as_bytes()[..at], part.as_bytes(), &good.as_bytes()[end..]].concat();
        let _ = flush(Response::fixture(status, &[], body));
    }
}
