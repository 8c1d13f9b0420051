//! A response of a cloud, and how its body is read.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::de::DeserializeSeed;

use super::error::{ErrorKind, Failure};
use super::lenient::Document;

/// Headers that may carry the cloud's identifier of a request, the most specific first.
const TRACE_HEADERS: [&str; 6] = [
    "x-ncp-trace-id",
    "x-ncp-apigw-trace-id",
    "x-openstack-request-id",
    "x-request-id",
    "x-trace-id",
    "x-amzn-trace-id",
];

/// The response to one attempt.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The body without a byte order mark, or its envelope.
    pub(crate) body: Vec<u8>,
    /// Whether the entries of the list were taken out of the body while it came; an empty list is left in their place.
    pub(crate) is_envelope: bool,
    /// Our clock when the response came.
    pub(crate) received_at: Timestamp,
    pub(crate) retry_after: Option<Duration>,
}

#[cfg(test)]
impl Response {
    /// A response as it would come over the wire, received at 2026-11-22T00:00:00Z.
    pub(crate) fn fixture(status: u16, headers: &[(&'static str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let received_at = "2026-11-22T00:00:00Z".parse().unwrap();
        Self { status, headers, body: body.into(), is_envelope: false, received_at, retry_after: None }
    }
}

impl Response {
    /// A response without headers that comes now.
    pub(crate) fn received(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body,
            is_envelope: false,
            received_at: Timestamp::now(),
            retry_after: None,
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The cloud's identifier of the request, from the first header that has one.
    pub(crate) fn trace_id(&self) -> Option<String> {
        trace_id(&self.headers)
    }

    /// A failure with status, trace ID and Retry-After of this response.
    pub(crate) fn failure(&self, kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(kind, message).status(self.status).trace(self.trace_id()).retry_after(self.retry_after)
    }

    /// Whether the body is an HTML page.
    pub(crate) fn is_html(&self) -> bool {
        let start = self.body.trim_ascii_start();
        let declared = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        !start.is_empty() && (declared.to_ascii_lowercase().contains("html") || begins_as_html(start))
    }

    /// What the body is, for a message about one that cannot be read.
    pub(crate) fn describe_body(&self) -> &'static str {
        let start = self.body.trim_ascii_start();
        if start.is_empty() {
            "an empty body"
        } else if start.starts_with(b"<") && !self.is_html() {
            "XML"
        } else if self.is_html() {
            "an HTML page (is there a proxy or login page in between?)"
        } else {
            "a body that is not valid JSON"
        }
    }
}

fn begins_as_html(start: &[u8]) -> bool {
    let head = start.get(..start.len().min(32)).unwrap_or_default().to_ascii_lowercase();
    head.starts_with(b"<!doctype html") || head.starts_with(b"<html")
}

/// The cloud's identifier of a request, from the first header that has one.
pub(crate) fn trace_id(headers: &HeaderMap) -> Option<String> {
    let text = |name: &&str| headers.get(*name)?.to_str().ok().filter(|text| !text.is_empty()).map(str::to_owned);
    TRACE_HEADERS.iter().find_map(text)
}

/// Reads a JSON response that is an object; a failure names the field by its path.
pub(crate) fn read_object<T: serde::de::DeserializeOwned>(response: &Response) -> Result<T, Failure> {
    read_json_with(response, &Document::new)
}

/// Reads a JSON response; a failure names the field by its path, e.g. `clusters[3].port`.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(response: &Response) -> Result<T, Failure> {
    read_json_with(response, &|| PhantomData)
}

/// As [`read_json`], for a value that needs more than its type to be read. `seed` may be called twice.
pub(crate) fn read_json_with<'de, S: DeserializeSeed<'de>>(
    response: &'de Response,
    seed: &dyn Fn() -> S,
) -> Result<S::Value, Failure> {
    read_slice_with(&response.body, seed).map_err(|problem| {
        let message = match problem {
            JsonProblem::Field(message) => message,
            JsonProblem::NotJson(error) => format!("it sent {}: {error}", response.describe_body()),
            JsonProblem::GoesOn(error) => format!("the JSON goes on after its end: {error}"),
        };
        response.failure(ErrorKind::UnexpectedResponse, message)
    })
}

/// Why JSON cannot be read.
pub(crate) enum JsonProblem {
    /// A field is not what it should be; the message names it.
    Field(String),
    NotJson(serde_json::Error),
    GoesOn(serde_json::Error),
}

/// Reads JSON. Tracking the path of each field makes reading slower by half, so only JSON that cannot be read is read again with it:
/// then `seed` is called once more.
pub(crate) fn read_slice_with<'de, S: DeserializeSeed<'de>>(
    body: &'de [u8],
    seed: &dyn Fn() -> S,
) -> Result<S::Value, JsonProblem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    if let Ok(value) = seed().deserialize(&mut json)
        && json.end().is_ok()
    {
        return Ok(value);
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut track = serde_path_to_error::Track::new();
    let value = seed().deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    let value = value.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => JsonProblem::Field(at_path(&track.path().to_string(), &error)),
        _ => JsonProblem::NotJson(error),
    })?;
    json.end().map_err(JsonProblem::GoesOn)?;
    Ok(value)
}

/// Text that should be UTF-8, with replacement characters where it is not: to show it, or to look for a word in it.
pub(crate) fn lossy(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body)
}

/// The message for a value of the wrong type.
pub(crate) fn at_path(path: &str, error: &dyn std::fmt::Display) -> String {
    let mut error = error.to_string();
    // The position in the text is of no use, and differs with every response.
    error.truncate(error.rfind(" at line ").unwrap_or(error.len()));
    if path == "." { format!("the answer: {error}") } else { format!("field {path}: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_is_none_is_described() {
        let message = |headers: &[(&'static str, &str)], body: &str| {
            let failure = read_json::<Vec<String>>(&Response::fixture(200, headers, body)).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::UnexpectedResponse, "{body}");
            failure.message
        };
        assert!(message(&[], "").contains("an empty body"));
        assert!(message(&[], "<html><body>hi</body></html>").contains("HTML"));
        assert!(message(&[("content-type", "text/html")], "hi").contains("HTML"));
        assert!(message(&[], "<?xml version=\"1.0\"?><a/>").contains("XML"));
        assert!(message(&[], "[\"7.2.1").contains("not valid JSON"));
        assert!(message(&[], "[] []").contains("after its end"));
        assert!(message(&[], "[\"a\",7]").starts_with("field [1]: invalid type"));
        assert!(message(&[], "7").starts_with("the answer: invalid type"));
    }

    #[test]
    fn nesting_without_end_is_an_error_and_not_the_end_of_the_stack() {
        for deep in ["[".repeat(1_000_000), "{\"a\":".repeat(1_000_000)] {
            let response = Response::fixture(200, &[], deep);
            assert_eq!(read_json::<serde_json::Value>(&response).unwrap_err().kind, ErrorKind::UnexpectedResponse);
            assert_eq!(read_json::<Vec<String>>(&response).unwrap_err().kind, ErrorKind::UnexpectedResponse);
        }
    }

    #[test]
    fn the_most_specific_trace_header_wins() {
        let response = Response::fixture(200, &[("x-request-id", "b"), ("x-ncp-trace-id", "a")], "");
        assert_eq!(response.trace_id().as_deref(), Some("a"));
        assert_eq!(Response::fixture(200, &[("x-request-id", "")], "").trace_id(), None);
    }
}
