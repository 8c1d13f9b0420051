//! NAVER Cloud Platform: the gateway and Cloud DB (`/clouddb/v2/…`).

use std::collections::BTreeMap;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use crate::exchange::{Call, CloudReply, FORM, Now};
use crate::model::{NcpInstance, NcpQuirks, instance_body, random_id};
use crate::state::{FlushRefusal, KeyRefusal, NcpState};
use crate::traffic::Operation;

/// How far a client's clock may be off.
const CLOCK_TOLERANCE_MS: u64 = 5 * 60 * 1000;

const BAD_REQUEST: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "100");
const UNAUTHENTICATED: (StatusCode, &str) = (StatusCode::UNAUTHORIZED, "200");
const PERMISSION_DENIED: (StatusCode, &str) = (StatusCode::UNAUTHORIZED, "210");
const NO_SUCH_API: (StatusCode, &str) = (StatusCode::NOT_FOUND, "300");

const NO_SUCH_INSTANCE: &str = "5001017";
const BUSY: &str = "25013";

/// The form an answer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Xml,
}

type Fields = BTreeMap<String, String>;

/// The answer to a request to NCP.
pub(crate) fn answer(state: &mut NcpState, call: &Call, now: Now, quirks: NcpQuirks) -> CloudReply {
    if call.operation == Operation::Unknown {
        return gateway(NO_SUCH_API, "Not Found Exception: there is no such API");
    }
    match checked_fields(state, call, now) {
        Ok((fields, format)) if call.operation == Operation::NcpFlush => flush(state, &fields, format, now, quirks),
        Ok((fields, format)) => list(state, &fields, format, now, quirks),
        Err(refusal) => refusal,
    }
}

/// Everything that holds for both operations: the method, the signature, the form and its fields.
fn checked_fields(state: &NcpState, call: &Call, now: Now) -> Result<(Fields, Format), CloudReply> {
    let bad_request = |message: &str| gateway(BAD_REQUEST, &format!("Bad Request Exception: {message}"));
    authenticate(state, call, now)?;
    match call.method {
        Method::POST if call.content_type() != FORM => {
            return Err(bad_request("the content type must be application/x-www-form-urlencoded"));
        }
        Method::POST if call.uri.query().is_some() => {
            return Err(bad_request("the fields of a POST belong into its body"));
        }
        Method::POST => {}
        Method::GET if call.operation == Operation::NcpInstancesList => {}
        _ => return Err(bad_request("this operation must be sent as POST")),
    }
    let mut fields = Fields::new();
    for (name, value) in call.fields() {
        let known = match call.operation {
            Operation::NcpFlush => matches!(name.as_ref(), "cloudDBInstanceNo" | "responseFormatType"),
            _ => {
                let names = ["dbKindCode", "pageNo", "pageSize", "regionNo", "zoneNo", "responseFormatType"];
                names.contains(&name.as_ref()) || name.starts_with("cloudDBInstanceNoList.")
            }
        };
        if !known {
            return Err(bad_request(&format!("the field {name} is not known")));
        }
        if fields.insert(name.to_string(), value.into_owned()).is_some() {
            return Err(bad_request(&format!("the field {name} is given twice")));
        }
    }
    let format = match fields.get("responseFormatType").map(String::as_str) {
        Some("json") => Format::Json,
        Some("xml") | None => Format::Xml,
        Some(_) => return Err(bad_request("responseFormatType must be json or xml")),
    };
    Ok((fields, format))
}

fn authenticate(state: &NcpState, call: &Call, now: Now) -> Result<(), CloudReply> {
    let failed = |detail: &str| gateway(UNAUTHENTICATED, &format!("Authentication Failed: {detail}"));
    let timestamp = call.header("x-ncp-apigw-timestamp");
    let access_key = call.header("x-ncp-iam-access-key");
    let signature = call.header("x-ncp-apigw-signature-v2");
    if timestamp.is_empty() || access_key.is_empty() || signature.is_empty() {
        return Err(failed("a header is missing"));
    }
    let sent: i64 = timestamp.parse().map_err(|_| failed("the timestamp is not a number of milliseconds"))?;
    if now.wall.as_millisecond().abs_diff(sent) > CLOCK_TOLERANCE_MS {
        return Err(failed("the timestamp has expired"));
    }
    match state.authenticate(access_key, signature, call.method.as_str(), call.path_and_query(), timestamp) {
        Ok(()) => Ok(()),
        Err(KeyRefusal::Unauthenticated) => Err(failed("the access key or the signature is wrong")),
        Err(KeyRefusal::PermissionDenied) => Err(gateway(PERMISSION_DENIED, "Permission Denied")),
    }
}

fn flush(state: &mut NcpState, fields: &Fields, format: Format, now: Now, quirks: NcpQuirks) -> CloudReply {
    let Some(instance_no) = fields.get("cloudDBInstanceNo") else {
        return gateway(BAD_REQUEST, "Bad Request Exception: cloudDBInstanceNo is required");
    };
    let refused = StatusCode::from_u16(state.service_error_status).unwrap_or(StatusCode::BAD_REQUEST);
    match state.flush(instance_no, now.state) {
        Ok(instance) => success("flushCloudDBInstanceResponse", &[instance], 1, format, quirks),
        Err(FlushRefusal::NotFound) => service(refused, NO_SUCH_INSTANCE, "there is no such instance", format),
        Err(FlushRefusal::Busy(status)) => {
            service(refused, BUSY, &format!("another operation runs: the instance is {status}"), format)
        }
    }
}

fn list(state: &mut NcpState, fields: &Fields, format: Format, now: Now, quirks: NcpQuirks) -> CloudReply {
    let asked = match Asked::from(fields) {
        Ok(asked) => asked,
        Err(message) => return gateway(BAD_REQUEST, &format!("Bad Request Exception: {message}")),
    };
    let matches: Vec<&NcpInstance> = state.list(now.state).filter(|instance| asked.covers(instance)).collect();
    let size = asked.page_size.unwrap_or(matches.len());
    let page: Vec<&NcpInstance> =
        matches.iter().copied().skip((asked.page_no - 1).saturating_mul(size)).take(size).collect();
    success("getCloudDBInstanceListResponse", &page, matches.len(), format, quirks)
}

/// Which instances a list asks for.
struct Asked<'a> {
    numbers: Vec<&'a str>,
    region_no: Option<&'a str>,
    zone_no: Option<&'a str>,
    page_no: usize,
    page_size: Option<usize>,
}

impl<'a> Asked<'a> {
    fn from(fields: &'a Fields) -> Result<Self, String> {
        let text = |name: &str| fields.get(name).map(String::as_str);
        let positive = |name: &str| match text(name).map(str::parse::<usize>) {
            None => Ok(None),
            Some(Ok(number)) if number > 0 => Ok(Some(number)),
            Some(_) => Err(format!("{name} must be a whole number of at least 1")),
        };
        if text("dbKindCode") != Some("REDIS") {
            return Err("dbKindCode is required and must be REDIS".into());
        }
        let given = fields.keys().filter(|name| name.starts_with("cloudDBInstanceNoList.")).count();
        let numbers: Vec<&str> = (1..=given).map_while(|n| text(&format!("cloudDBInstanceNoList.{n}"))).collect();
        if numbers.len() != given {
            return Err("the entries of cloudDBInstanceNoList must be numbered from 1 without gaps".into());
        }
        let page_no = positive("pageNo")?.unwrap_or(1);
        Ok(Self {
            numbers,
            region_no: text("regionNo"),
            zone_no: text("zoneNo"),
            page_no,
            page_size: positive("pageSize")?,
        })
    }

    fn covers(&self, instance: &NcpInstance) -> bool {
        (self.numbers.is_empty() || self.numbers.contains(&instance.instance_no.as_str()))
            && self.region_no.is_none_or(|number| number == instance.region.region_no)
            && self.zone_no.is_none_or(|number| number == instance.zone.zone_no)
    }
}

fn success(key: &str, instances: &[&NcpInstance], total: usize, format: Format, quirks: NcpQuirks) -> CloudReply {
    let list: Vec<Value> = instances.iter().map(|instance| instance_body(instance, quirks)).collect();
    let mut payload = serde_json::Map::new();
    if !quirks.omit_request_id {
        payload.insert("requestId".into(), random_id().into());
    }
    if !quirks.omit_return_code {
        payload.insert("returnCode".into(), if quirks.integer_return_code { 0.into() } else { "0".into() });
    }
    payload.insert("returnMessage".into(), "success".into());
    payload.insert("totalRows".into(), if quirks.string_total_rows { total.to_string().into() } else { total.into() });
    if !quirks.omit_instances {
        payload.insert("cloudDBInstanceList".into(), list.into());
    }
    let body = if quirks.omit_wrapper { Value::Object(payload) } else { json!({ key: payload }) };
    render(StatusCode::OK, &body, format)
}

/// A refusal of the service behind the gateway.
pub(crate) fn service(status: StatusCode, return_code: &str, message: &str, format: Format) -> CloudReply {
    let body = json!({"responseError": {"returnCode": return_code, "returnMessage": message}});
    render(status, &body, format)
}

/// A refusal of the gateway; always JSON.
pub(crate) fn gateway((status, error_code): (StatusCode, &str), message: &str) -> CloudReply {
    CloudReply::json(status, &json!({"error": {"errorCode": error_code, "message": message}}))
}

/// The gateway's 429, with or without a Retry-After.
pub(crate) fn too_many_requests(error_code: &str, retry_after_seconds: Option<u32>) -> CloudReply {
    let reply = gateway((StatusCode::TOO_MANY_REQUESTS, error_code), "Too Many Requests");
    with_retry_after(reply, retry_after_seconds)
}

pub(crate) fn with_retry_after(reply: CloudReply, seconds: Option<u32>) -> CloudReply {
    match seconds {
        Some(seconds) => reply.header(RETRY_AFTER, HeaderValue::from(seconds)),
        None => reply,
    }
}

/// The format a request asks for, whatever else is wrong with it.
pub(crate) fn format_asked(call: &Call) -> Format {
    let json = call.fields().any(|(name, value)| name == "responseFormatType" && value == "json");
    if json { Format::Json } else { Format::Xml }
}

fn render(status: StatusCode, body: &Value, format: Format) -> CloudReply {
    match format {
        Format::Json => CloudReply::json(status, body),
        Format::Xml => CloudReply::xml(status, body),
    }
}
