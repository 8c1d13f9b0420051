//! An answer of a cloud, and how its body is read.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::de::DeserializeSeed;

use super::error::{ErrorKind, Failure};

/// Headers that may carry the cloud's identifier of a request, the most specific first.
const TRACE_HEADERS: [&str; 6] = [
    "x-ncp-trace-id",
    "x-ncp-apigw-trace-id",
    "x-openstack-request-id",
    "x-request-id",
    "x-trace-id",
    "x-amzn-trace-id",
];

/// The answer to one attempt.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Our clock when the answer came.
    pub(crate) received_at: Timestamp,
    pub(crate) retry_after: Option<Duration>,
}

#[cfg(test)]
impl Answer {
    /// An answer as it would come over the wire, received at 2026-11-22T00:00:00Z.
    pub(crate) fn fixture(status: u16, headers: &[(&'static str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let received_at = "2026-11-22T00:00:00Z".parse().unwrap();
        Self { status, headers, body: body.into(), received_at, retry_after: None }
    }
}

impl Answer {
    /// An answer without headers that comes now.
    pub(crate) fn received(status: u16, body: Vec<u8>) -> Self {
        Self { status, headers: HeaderMap::new(), body, received_at: Timestamp::now(), retry_after: None }
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The cloud's identifier of the request, from the first header that has one.
    pub(crate) fn trace_id(&self) -> Option<String> {
        trace_id(&self.headers)
    }

    /// A failure that carries what every answer has: status, trace ID, Retry-After.
    pub(crate) fn failure(&self, kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(kind, message).status(self.status).trace(self.trace_id()).retry_after(self.retry_after)
    }

    /// What the body is, for a message about one that cannot be read.
    pub(crate) fn describe_body(&self) -> &'static str {
        let start = self.body.trim_ascii_start();
        let declared = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if start.is_empty() {
            "an empty body"
        } else if start.starts_with(b"<") && !declared.contains("html") && !is_html(start) {
            "XML"
        } else if start.starts_with(b"<") || declared.contains("html") {
            "an HTML page (is there a proxy or login page in between?)"
        } else {
            "a body that is not valid JSON"
        }
    }
}

fn is_html(start: &[u8]) -> bool {
    let head = start.get(..start.len().min(32)).unwrap_or_default().to_ascii_lowercase();
    head.starts_with(b"<!doctype html") || head.starts_with(b"<html")
}

/// The cloud's identifier of a request, from the first header that has one.
pub(crate) fn trace_id(headers: &HeaderMap) -> Option<String> {
    let text = |name: &&str| headers.get(*name)?.to_str().ok().filter(|text| !text.is_empty()).map(str::to_owned);
    TRACE_HEADERS.iter().find_map(text)
}

/// Reads a JSON answer; a failure names the field by its path, e.g. `clusters[3].port`.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    read_json_with(answer, &|| PhantomData)
}

/// As [`read_json`], for a value that needs more than its type to be read. `seed` may be called twice: following the path makes
/// reading slower by half, so that is left to answers that cannot be read.
pub(crate) fn read_json_with<'de, S: DeserializeSeed<'de>>(
    answer: &'de Answer,
    seed: &dyn Fn() -> S,
) -> Result<S::Value, Failure> {
    let mut json = serde_json::Deserializer::from_slice(&answer.body);
    if let Ok(value) = seed().deserialize(&mut json)
        && json.end().is_ok()
    {
        return Ok(value);
    }
    let mut json = serde_json::Deserializer::from_slice(&answer.body);
    let mut track = serde_path_to_error::Track::new();
    let value = seed().deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track)).map_err(|error| {
        let message = match error.classify() {
            serde_json::error::Category::Data => at_path(&track.path().to_string(), &error),
            _ => format!("it sent {}: {error}", answer.describe_body()),
        };
        answer.failure(ErrorKind::UnexpectedResponse, message)
    })?;
    json.end().map_err(|error| {
        answer.failure(ErrorKind::UnexpectedResponse, format!("the JSON goes on after its end: {error}"))
    })?;
    Ok(value)
}

/// The message for a value of the wrong type.
pub(crate) fn at_path(path: &str, error: &dyn std::fmt::Display) -> String {
    if path == "." { format!("the answer: {error}") } else { format!("field {path}: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_is_none_is_described() {
        let message = |headers: &[(&'static str, &str)], body: &str| {
            let failure = read_json::<Vec<String>>(&Answer::fixture(200, headers, body)).unwrap_err();
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
            let answer = Answer::fixture(200, &[], deep);
            assert_eq!(read_json::<serde_json::Value>(&answer).unwrap_err().kind, ErrorKind::UnexpectedResponse);
            assert_eq!(read_json::<Vec<String>>(&answer).unwrap_err().kind, ErrorKind::UnexpectedResponse);
        }
    }

    #[test]
    fn the_most_specific_trace_header_wins() {
        let answer = Answer::fixture(200, &[("x-request-id", "b"), ("x-ncp-trace-id", "a")], "");
        assert_eq!(answer.trace_id().as_deref(), Some("a"));
        assert_eq!(Answer::fixture(200, &[("x-request-id", "")], "").trace_id(), None);
    }
}
