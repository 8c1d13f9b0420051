//! One type for each operation of Cloud DB.

use reqwest::Method;

use super::super::answer::Answer;
use super::super::error::{ErrorKind, Failure, MAX_MESSAGE_CHARS, MAX_WORD_CHARS};
use super::super::limits::Lane;
use super::super::redact::Redactor;
use super::super::settings::CloudSettings;
use super::super::transport::{Operation, Payload, Request};
use super::answer::open;
use super::model::{FlushReply, Instance};

/// Instances that a page has at most.
pub(super) const PAGE_SIZE: usize = 100;

/// `POST /clouddb/v2/getCloudDBInstanceList`: a read, sent as POST so that its form is not signed.
pub(super) struct GetCloudDbInstanceList {
    pub(super) filter: Filter,
}

pub(super) enum Filter {
    /// One page of all, from 1.
    Page(u32),
    /// One instance by its number.
    Number(String),
}

/// A part of the list.
pub(super) struct Page {
    /// Instances of all pages together, if the cloud says.
    pub(super) total_rows: Option<i64>,
    pub(super) instances: Vec<Instance>,
}

/// `POST /clouddb/v2/flushCloudDBInstance`. The API takes it as GET too, which must never be sent: anything in between
/// may repeat a GET.
pub(super) struct FlushCloudDbInstance<'a> {
    pub(super) no: &'a str,
}

impl Operation for GetCloudDbInstanceList {
    type Output = Page;
    const NAME: &'static str = "getCloudDBInstanceList";
    const LANE: Lane = Lane::Read;

    fn request(&self) -> Request {
        let page_size = PAGE_SIZE.to_string();
        let mut fields = vec![("dbKindCode", "REDIS".to_owned())];
        match &self.filter {
            Filter::Page(number) => fields.extend([("pageNo", number.to_string()), ("pageSize", page_size)]),
            Filter::Number(no) => fields.push(("cloudDBInstanceNoList.1", no.clone())),
        }
        post(Self::NAME, fields)
    }

    fn max_body(&self, settings: &CloudSettings) -> usize {
        match self.filter {
            Filter::Page(_) => settings.max_list_bytes,
            Filter::Number(_) => settings.max_body_bytes,
        }
    }

    fn decode(&self, answer: &Answer) -> Result<Page, Failure> {
        let body = open(answer, Self::NAME)?.body;
        // A list that is not there must not look like "no instances".
        let instances = match (body.instances, body.total_rows) {
            (Some(instances), _) => instances,
            (None, Some(0)) => Vec::new(),
            (None, _) => {
                let message = "field getCloudDBInstanceListResponse.cloudDBInstanceList is not there";
                return Err(answer.failure(ErrorKind::UnexpectedResponse, message));
            }
        };
        Ok(Page { total_rows: body.total_rows, instances })
    }
}

impl Operation for FlushCloudDbInstance<'_> {
    type Output = FlushReply;
    const NAME: &'static str = "flushCloudDBInstance";
    const LANE: Lane = Lane::Mutation;

    fn request(&self) -> Request {
        post(Self::NAME, vec![("cloudDBInstanceNo", self.no.to_owned())])
    }

    fn decode(&self, answer: &Answer) -> Result<FlushReply, Failure> {
        let reply = open(answer, Self::NAME)?;
        Ok(FlushReply {
            http_status: answer.status,
            trace_id: reply.trace_id,
            return_code: reply.return_code,
            return_message: reply.body.return_message,
            total_rows: reply.body.total_rows,
            instances: reply.body.instances.unwrap_or_default(),
        })
    }

    fn redact(reply: &mut FlushReply, redactor: &dyn Fn() -> Redactor) {
        let redactor = redactor();
        reply.trace_id = reply.trace_id.take().and_then(|trace| redactor.word(&trace, MAX_WORD_CHARS));
        reply.return_message = reply.return_message.take().and_then(|said| redactor.word(&said, MAX_MESSAGE_CHARS));
    }
}

fn post(name: &str, fields: Vec<(&'static str, String)>) -> Request {
    let format = ("responseFormatType", "json".to_owned());
    Request {
        method: Method::POST,
        path: ["clouddb", "v2", name].map(str::to_owned).to_vec(),
        payload: Payload::Form(
            fields.into_iter().chain([format]).map(|(key, value)| (key.to_owned(), value)).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::error::Executed;
    use super::*;
    use serde_json::{Value, json};

    fn flush(answer: &Answer) -> Result<FlushReply, Failure> {
        FlushCloudDbInstance { no: "771203" }.decode(answer)
    }

    fn list(answer: &Answer) -> Result<Page, Failure> {
        GetCloudDbInstanceList { filter: Filter::Page(1) }.decode(answer)
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

    fn response() -> Value {
        json!({"requestId": "r-1", "returnCode": "0", "returnMessage": "success", "totalRows": 1,
               "cloudDBInstanceList": [instance()]})
    }

    fn answer(status: u16, body: &Value) -> Answer {
        Answer::fixture(status, &[], body.to_string())
    }

    #[test]
    fn an_instance_is_normalised() {
        let page = list(&answer(200, &json!({"getCloudDBInstanceListResponse": response()}))).unwrap();
        let [instance] = page.instances.as_slice() else { panic!("{:?}", page.instances) };
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
        let bare = response();
        let mut number = response();
        (number["returnCode"], number["totalRows"]) = (json!(0), json!("1"));
        let wrapped = |response: &Value| json!({"flushCloudDBInstanceResponse": response});
        for body in [wrapped(&bare), bare.clone(), wrapped(&number)] {
            let reply = flush(&answer(200, &body)).unwrap();
            assert_eq!(
                (reply.http_status, reply.return_code.as_str(), reply.total_rows),
                (200, "0", Some(1)),
                "{body}"
            );
            assert_eq!(reply.trace_id.as_deref(), Some("r-1"));
            assert_eq!(reply.instances[0].status.as_deref(), Some("settingup"));
        }
        let traced = Answer::fixture(202, &[("x-ncp-trace-id", "t-1")], wrapped(&bare).to_string());
        assert_eq!(flush(&traced).unwrap().trace_id.as_deref(), Some("t-1"));
    }

    #[test]
    fn a_flush_is_accepted_in_xml() {
        let body = "<flushCloudDBInstanceResponse><requestId>r-2</requestId><returnCode>0</returnCode>\
            <returnMessage>success</returnMessage><totalRows>1</totalRows><cloudDBInstanceList><cloudDBInstance>\
            <cloudDBInstanceNo>771203</cloudDBInstanceNo><isHa>true</isHa><memorySize>4294967296</memorySize>\
            <zone><zoneNo>3</zoneNo></zone><cloudDBServerInstanceList/></cloudDBInstance></cloudDBInstanceList>\
            </flushCloudDBInstanceResponse>";
        let reply = flush(&Answer::fixture(200, &[("content-type", "application/xml")], body)).unwrap();
        assert_eq!((reply.trace_id.as_deref(), reply.total_rows), (Some("r-2"), Some(1)));
        assert_eq!((reply.instances[0].memory_mib, reply.instances[0].is_ha), (Some(4096), Some(true)));
    }

    /// What cannot be read as success or as a refusal stays unknown, whatever the rest of it says.
    #[test]
    fn what_cannot_be_read_is_unknown() {
        let spoil = |field: &str, value: Value| {
            let mut response = response();
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
            (200, spoil("totalRows", json!("many"))),
            (200, spoil("cloudDBInstanceList", json!({}))),
            (500, spoil("returnMessage", json!("success"))),
            (502, "<html>Bad Gateway</html>".to_owned()),
            (400, "{}".to_owned()),
            (403, "<html>Blocked</html>".to_owned()),
        ] {
            let failure = flush(&Answer::fixture(status, &[], body.clone())).unwrap_err();
            assert_eq!(failure.executed, Executed::Unknown, "{status} {body:.80}");
            assert!(!failure.message.is_empty(), "{status} {body:.80}");
        }
    }

    #[test]
    fn wrong_types_name_their_field() {
        let mut body = json!({"getCloudDBInstanceListResponse": response()});
        body["getCloudDBInstanceListResponse"]["cloudDBInstanceList"][0]["cloudDBPort"] = json!("6379");
        let failure = list(&answer(200, &body)).map(|_| ()).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::UnexpectedResponse);
        let path = "field getCloudDBInstanceListResponse.cloudDBInstanceList[0].cloudDBPort: ";
        assert!(failure.message.starts_with(path), "{}", failure.message);
    }

    #[test]
    fn refusals_of_both_layers_in_both_formats() {
        let gateway =
            json!({"error": {"errorCode": "210", "message": "Permission Denied", "details": "no subscription"}});
        let service = json!({"responseError": {"returnCode": "25013", "returnMessage": "another operation"}});
        let wrapped = json!({"flushCloudDBInstanceResponse": service});
        let in_response =
            json!({"flushCloudDBInstanceResponse": {"returnCode": 25013, "returnMessage": "another operation"}});
        let xml = |text: &str| Answer::fixture(400, &[("content-type", "text/xml")], text);
        for (answer, kind, code, fragment) in [
            (answer(401, &gateway), ErrorKind::PermissionDenied, "210", "Permission Denied: no subscription"),
            (answer(400, &service), ErrorKind::Busy, "25013", "another operation"),
            (answer(500, &wrapped), ErrorKind::Busy, "25013", "another operation"),
            (answer(200, &in_response), ErrorKind::Busy, "25013", "another operation"),
            (
                xml(
                    "<responseError><returnCode>5001017</returnCode><returnMessage>none</returnMessage></responseError>",
                ),
                ErrorKind::NotFound,
                "5001017",
                "none",
            ),
            (
                xml(
                    "<response><error><errorCode>100</errorCode><message>bad &lt;field&gt;</message></error></response>",
                ),
                ErrorKind::BadRequest,
                "100",
                "bad <field>",
            ),
        ] {
            let failure = flush(&answer).unwrap_err();
            assert_eq!((failure.kind, failure.code.as_deref()), (kind, Some(code)));
            assert_eq!(failure.executed, Executed::No);
            assert!(failure.said.as_ref().is_some_and(|said| said.contains(fragment)), "{failure:?}");
        }
    }

    #[test]
    fn an_error_goes_before_a_response_in_the_same_body() {
        let mut both = response();
        both["error"] = json!({"errorCode": "900", "message": "unexpected"});
        let failure = flush(&answer(200, &both)).unwrap_err();
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
            let failure = flush(&Answer::fixture(401, &[("date", date)], body.clone())).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::CredentialsRejected);
            let expected = named.unwrap_or("check NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY");
            assert!(failure.message.starts_with(expected), "{date}: {}", failure.message);
            assert_eq!(failure.said.as_deref(), Some("Authentication Failed"));
        }
    }

    #[test]
    fn a_list_that_is_not_there_is_not_an_empty_list() {
        let page = |rows: Value| {
            list(&answer(200, &json!({"getCloudDBInstanceListResponse": {"returnCode": "0", "totalRows": rows}})))
        };
        assert!(page(json!(0)).unwrap().instances.is_empty());
        for rows in [json!(1), json!(null)] {
            assert_eq!(page(rows).map(|_| ()).unwrap_err().kind, ErrorKind::UnexpectedResponse);
        }
    }

    proptest::proptest! {
        /// Whatever the cloud sends, reading it ends with a value or an error, and noise never proves a flush away.
        #[test]
        fn no_body_panics(status in 100_u16..1000, body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let answer = Answer::fixture(status, &[], body);
            let _ = list(&answer);
            let failure = flush(&answer).unwrap_err();
            assert_eq!(failure.executed == Executed::No, status == 429);
        }

        #[test]
        fn no_spoiled_body_panics(at in 0_usize..1500, part in "[\\[\\]{}\",:0-9a-z.-]{0,6}", status in 100_u16..1000) {
            let good = json!({"flushCloudDBInstanceResponse": response()}).to_string();
            let (at, end) = (at.min(good.len()), (at + part.len()).min(good.len()));
            let body = [&good.as_bytes()[..at], part.as_bytes(), &good.as_bytes()[end..]].concat();
            let _ = flush(&Answer::fixture(status, &[], body));
        }
    }
}
