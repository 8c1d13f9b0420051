//! Parses an NCP response: which layer wrote it, and what it says.

use std::borrow::Cow;
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::DATE;
use serde_json::{Map, Value};

use super::super::error::{ErrorKind, Failure};
use super::super::response::{Response, lossy};
use super::super::{lenient, normalise};
use super::classify::{Evidence, Layer, error_kind, flush_executed};
use super::xml;

/// The list of instances in every response.
pub(super) const LIST: &str = "cloudDBInstanceList";
/// The return code of success.
const SUCCESS: &str = "0";

/// The gateway refuses five minutes; our message has to come a little earlier, for the header has whole seconds.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(4);

/// A response of success: HTTP 2xx and return code 0.
pub(super) struct Reply {
    pub(super) return_code: String,
    pub(super) trace_id: Option<String>,
    /// All its fields; none of them has been checked.
    fields: Value,
}

/// The layer that wrote a body, and what it says.
enum Content {
    Gateway { code: Option<String>, message: Option<String> },
    Service { code: Option<String>, message: Option<String> },
    Response(Map<String, Value>),
}

impl Reply {
    /// `returnMessage`, if it is text.
    pub(super) fn return_message(&self) -> Option<String> {
        scalar(&self.fields, "returnMessage").and_then(normalise::text)
    }

    /// `totalRows`, an integer as text too, as `returnCode` is: both are documented as Integer and born of XML.
    ///
    /// # Errors
    /// What it is instead.
    pub(super) fn total_rows(&self) -> Result<Option<i64>, String> {
        let Some(total) = self.fields.get("totalRows") else { return Ok(None) };
        lenient::integer(total).map_err(|error| error.to_string())
    }

    /// The value in the place of the list of instances, as rows.
    pub(super) fn rows_of_any_kind(&mut self) -> Vec<Value> {
        match self.fields.get_mut(LIST).map(Value::take) {
            Some(Value::Array(rows)) => rows,
            Some(row @ Value::Object(_)) => vec![row],
            _ => Vec::new(),
        }
    }

    /// The list of instances of an answer whose list was not taken out of it while it came, which only XML is.
    ///
    /// # Errors
    /// What is there instead of a list.
    pub(super) fn rows(&mut self) -> Result<Option<Vec<Value>>, &'static str> {
        match self.fields.get_mut(LIST).map(Value::take) {
            Some(Value::Array(rows)) => Ok(Some(rows)),
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(_) => Err("not a list"),
        }
    }
}

/// The success that a response reports, or the failure. A failure says whether a flush may have been executed, see [`flush_executed`].
pub(super) fn parse(response: &Response, operation: &str) -> Result<Reply, Failure> {
    let document = document(response).map_err(|problem| unreadable(response, &problem))?;
    let request_id = find_request_id(&document);
    let trace_id = response.trace_id().or(request_id);
    let traced = |failure: Failure| failure.trace(trace_id.clone());
    match recognise(document, operation) {
        Some(Content::Gateway { code, message }) => Err(traced(refusal(response, Layer::Gateway, code, message))),
        Some(Content::Service { code, message }) => Err(traced(refusal(response, Layer::Service, code, message))),
        Some(Content::Response(fields)) => read_response(response, fields, operation, trace_id.clone()).map_err(traced),
        None => Err(traced(unreadable(response, "it sent neither a response nor an error of this API"))),
    }
}

/// The envelope or the error, as a tree: either is small.
fn document(response: &Response) -> Result<Value, String> {
    let described = response.describe_body();
    if described != "XML" {
        // A message in another encoding than UTF-8 must not hide the code beside it.
        return serde_json::from_str(&lossy(&response.body)).map_err(|error| format!("it sent {described}: {error}"));
    }
    xml::parse(&lossy(&response.body))
}

/// Looks for `error`, then `responseError`, then the response, each at the top or below one outer key.
fn recognise(document: Value, operation: &str) -> Option<Content> {
    let Value::Object(mut top) = document else { return None };
    let below = if top.len() == 1 { top.values().next().and_then(Value::as_object) } else { None };
    for level in [Some(&top), below].into_iter().flatten() {
        if let Some(error) = level.get("error").filter(|error| error.get("errorCode").is_some()) {
            return Some(Content::Gateway { code: scalar(error, "errorCode"), message: gateway_message(error) });
        }
        if let Some(error) = level.get("responseError").filter(|error| error.is_object()) {
            let (code, message) = (scalar(error, "returnCode"), scalar(error, "returnMessage"));
            return Some(Content::Service { code, message });
        }
    }
    if top.contains_key("returnCode") {
        return Some(Content::Response(top));
    }
    match top.remove(&format!("{operation}Response")) {
        Some(Value::Object(fields)) => Some(Content::Response(fields)),
        _ => None,
    }
}

fn gateway_message(error: &Value) -> Option<String> {
    match (scalar(error, "message"), scalar(error, "details")) {
        (Some(message), Some(details)) if message != details => Some(format!("{message}: {details}")),
        (message, details) => message.or(details),
    }
}

/// Text or a number of a field, as text; both APIs send codes either way.
fn scalar(object: &Value, key: &str) -> Option<String> {
    match object.get(key)? {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn find_request_id(document: &Value) -> Option<String> {
    let below = document.as_object()?.values();
    scalar(document, "requestId")
        .or_else(|| below.filter(|value| value.is_object()).find_map(|value| scalar(value, "requestId")))
}

/// Success is HTTP 2xx with return code 0. Another code is the service's refusal; without a code nothing is proven.
fn read_response(
    response: &Response,
    fields: Map<String, Value>,
    operation: &str,
    trace_id: Option<String>,
) -> Result<Reply, Failure> {
    let fields = Value::Object(fields);
    let Some(return_code) = scalar(&fields, "returnCode") else {
        return Err(unreadable(response, &format!("field {operation}Response.returnCode is not there")));
    };
    if return_code != SUCCESS {
        return Err(refusal(response, Layer::Service, Some(return_code), scalar(&fields, "returnMessage")));
    }
    if !response.is_success() {
        return Err(unreadable(response, "the return code says success and the HTTP status does not"));
    }
    Ok(Reply { return_code, trace_id, fields })
}

/// A refusal by one of the layers.
fn refusal(response: &Response, layer: Layer, code: Option<String>, message: Option<String>) -> Failure {
    let kind = error_kind(response.status, layer, code.as_deref());
    let evidence = Evidence::Response { http_status: response.status, layer, code: code.as_deref() };
    let executed = flush_executed(evidence);
    let advice: Cow<'static, str> = match (layer, kind) {
        (_, ErrorKind::CredentialsRejected) => match clock_advice(response) {
            Some(advice) => advice.into(),
            None => "check NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY".into(),
        },
        (_, ErrorKind::PermissionDenied) => {
            "check the sub account's permissions and that Cloud DB is subscribed to".into()
        }
        (Layer::Gateway, ErrorKind::UnexpectedResponse) => "check the configured endpoint".into(),
        _ => "".into(),
    };
    response.failure(kind, advice).said(message).code(code).executed(executed)
}

/// An answer in which no layer can be recognised: the HTTP status alone says what kind of failure it is.
fn unreadable(response: &Response, problem: &str) -> Failure {
    let kind = error_kind(response.status, Layer::Unrecognised, None);
    let evidence = Evidence::Response { http_status: response.status, layer: Layer::Unrecognised, code: None };
    response.failure(kind, problem.to_owned()).executed(flush_executed(evidence))
}

/// What the `Date` header says about our clock, if that is so far off that signatures are refused.
fn clock_advice(response: &Response) -> Option<String> {
    let date = httpdate::parse_http_date(response.headers.get(DATE)?.to_str().ok()?).ok()?;
    clock_offset(response.received_at, date)
}

fn clock_offset(ours: Timestamp, theirs: SystemTime) -> Option<String> {
    let offset = ours.duration_since(Timestamp::try_from(theirs).ok()?);
    let direction = if offset.is_negative() { "behind" } else { "ahead of" };
    (offset.abs() > CLOCK_TOLERANCE).then(|| {
        format!(
            "the clock is {} s off ({direction} the cloud's): signatures more than 5 minutes off are refused",
            offset.abs().as_secs()
        )
    })
}
