//! What an answer of KakaoCloud beyond 2xx means.

use serde_json::Value;

use super::super::error::{ErrorKind, Executed, Failure};
use super::super::response::{Response, lossy};

/// What a 404 says: about the one object that was asked for, or about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Object,
    Collection,
}

/// The failure that a response beyond 2xx means. A 4xx is a refusal; a 5xx proves nothing.
pub(super) fn refusal(response: &Response, target: Subject) -> Failure {
    let error = ErrorBody::read(&response.body);
    let (kind, fallback) = match (response.status, target) {
        (401, _) => (ErrorKind::CredentialsRejected, "the token was not accepted"),
        (403, _) => (ErrorKind::PermissionDenied, "check the role of the credential's owner in the project"),
        (404 | 410, Subject::Object) => (ErrorKind::NotFound, ""),
        (404 | 410, Subject::Collection) => {
            (ErrorKind::UnexpectedResponse, "there is no such API; check the configured endpoint")
        }
        (409, _) => (ErrorKind::Busy, ""),
        (429, _) => (ErrorKind::RateLimited, ""),
        (408 | 500..=599, _) => (ErrorKind::Unavailable, "the service failed"),
        (400..=499, _) => (ErrorKind::BadRequest, "no reason was given"),
        _ => (ErrorKind::UnexpectedResponse, "the HTTP status is none that the API has"),
    };
    let executed =
        if (400..500).contains(&response.status) && response.status != 408 { Executed::No } else { Executed::Unknown };
    let message = if kind == ErrorKind::BadRequest && error.message.is_some() { "" } else { fallback };
    response.failure(kind, message).said(error.message).code(error.code).executed(executed)
}

/// What an error body says, in any of the shapes seen at this cloud; nothing if it is none of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorBody {
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
}

impl ErrorBody {
    /// Knows `{"error":{"code":…,"message":…}}` (code a number or text), the same without the outer key, and
    /// `{"detail":"…"}` or `{"detail":[{"loc":[…],"msg":"…"}]}`.
    pub(super) fn read(body: &[u8]) -> Self {
        serde_json::from_str(&lossy(body)).map_or_else(|_| Self::default(), |document| Self::of(&document))
    }

    /// What a document says that is one.
    pub(super) fn of(value: &Value) -> Self {
        if let Some(detail) = value.get("detail") {
            return Self { code: None, message: detail_text(detail) };
        }
        match value.get("error") {
            Some(Value::String(text)) => Self { code: None, message: Some(text.clone()) },
            Some(error) => Self::from_object(error),
            None => Self::from_object(value),
        }
    }

    fn from_object(error: &Value) -> Self {
        Self { code: error.get("code").and_then(scalar_text), message: error.get("message").and_then(scalar_text) }
    }
}

/// Text or a number as text; none for a blank.
pub(super) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// `detail` as text, or its entries as `body.name: field required; …`.
fn detail_text(detail: &Value) -> Option<String> {
    let Value::Array(entries) = detail else { return scalar_text(detail) };
    let entry_text = |entry: &Value| {
        let message = entry.get("msg").and_then(scalar_text).or_else(|| scalar_text(entry))?;
        let place: Vec<String> =
            entry.get("loc").and_then(Value::as_array).into_iter().flatten().filter_map(scalar_text).collect();
        Some(if place.is_empty() { message } else { format!("{}: {message}", place.join(".")) })
    };
    let texts: Vec<String> = entries.iter().filter_map(entry_text).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_mean() {
        for (status, target, kind, executed) in [
            (400, Subject::Object, ErrorKind::BadRequest, Executed::No),
            (401, Subject::Object, ErrorKind::CredentialsRejected, Executed::No),
            (403, Subject::Object, ErrorKind::PermissionDenied, Executed::No),
            (404, Subject::Object, ErrorKind::NotFound, Executed::No),
            (404, Subject::Collection, ErrorKind::UnexpectedResponse, Executed::No),
            (408, Subject::Object, ErrorKind::Unavailable, Executed::Unknown),
            (409, Subject::Object, ErrorKind::Busy, Executed::No),
            (422, Subject::Object, ErrorKind::BadRequest, Executed::No),
            (429, Subject::Object, ErrorKind::RateLimited, Executed::No),
            (500, Subject::Object, ErrorKind::Unavailable, Executed::Unknown),
            (503, Subject::Object, ErrorKind::Unavailable, Executed::Unknown),
            (100, Subject::Object, ErrorKind::UnexpectedResponse, Executed::Unknown),
            (999, Subject::Object, ErrorKind::UnexpectedResponse, Executed::Unknown),
        ] {
            let failure = refusal(&Response::fixture(status, &[], ""), target);
            assert_eq!((failure.kind, failure.executed), (kind, executed), "{status} {target:?}");
        }
    }

    #[test]
    fn error_bodies_in_all_shapes() {
        for (body, code, message) in [
            (r#"{"error":{"code":"InvalidState","message":"busy"}}"#, Some("InvalidState"), Some("busy")),
            (r#"{"error":{"code":401,"title":"Unauthorized","message":"no"}}"#, Some("401"), Some("no")),
            (r#"{"error":"no"}"#, None, Some("no")),
            (r#"{"code":7,"message":"no"}"#, Some("7"), Some("no")),
            (r#"{"detail":"Not Found"}"#, None, Some("Not Found")),
            (
                r#"{"detail":[{"loc":["body","name",0],"msg":"field required","type":"x"},{"msg":"b"}]}"#,
                None,
                Some("body.name.0: field required; b"),
            ),
            (r#"{"detail":[]}"#, None, None),
            (r#"{"error":[1]}"#, None, None),
            ("<html>no</html>", None, None),
            ("[7]", None, None),
            ("", None, None),
        ] {
            let expected = ErrorBody { code: code.map(str::to_owned), message: message.map(str::to_owned) };
            assert_eq!(ErrorBody::read(body.as_bytes()), expected, "{body}");
        }
    }
}
