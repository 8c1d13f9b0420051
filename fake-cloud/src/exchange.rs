//! One request as the clouds see it, and the answer they give.

use std::borrow::Cow;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode, Uri};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::token_request::TokenRequest;
use crate::traffic::Operation;

pub(crate) const JSON: &str = "application/json";
pub(crate) const XML: &str = "application/xml";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// The two times a request is handled at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// The time by which things change; tests move it on.
    pub(crate) state: Timestamp,
    /// The time the clouds tell in the Date header, by which they judge a client's clock.
    pub(crate) wall: Timestamp,
}

/// A request, read to its end.
pub(crate) struct Call {
    pub(crate) operation: Operation,
    /// What it is about: a cluster, an instance, a credential.
    pub(crate) targets: Vec<String>,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(parts: Parts, body: Bytes) -> Self {
        let Parts { method, uri, headers, .. } = parts;
        let (operation, id) = Operation::of(uri.path());
        let targets = id.map(String::from).into_iter().collect();
        let mut call = Self { operation, targets, method, uri, headers, body };
        match operation {
            Operation::NcpFlush | Operation::NcpInstancesList => {
                let named = |(name, _): &(Cow<'_, str>, Cow<'_, str>)| name.starts_with("cloudDBInstanceNo");
                call.targets = call.fields().filter(named).map(|(_, value)| value.into_owned()).collect();
            }
            Operation::KakaoIamToken => {
                let request = TokenRequest::parse(&call.body);
                call.targets = request.map(|request| request.credential_id).into_iter().collect();
            }
            _ => {}
        }
        call
    }

    /// The fields of the form, or of the query when the method has no body.
    pub(crate) fn fields(&self) -> form_urlencoded::Parse<'_> {
        let query = self.uri.query().unwrap_or_default().as_bytes();
        form_urlencoded::parse(if self.method == Method::GET { query } else { &self.body })
    }

    /// A header's value; empty when it is absent or not text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The content type without its parameters, in lower case.
    pub(crate) fn content_type(&self) -> String {
        let value = self.header(CONTENT_TYPE.as_str());
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// What a signature covers.
    pub(crate) fn path_and_query(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }
}

/// An answer, whole and in memory.
#[derive(Debug)]
pub(crate) struct CloudReply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Cow<'static, str>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
}

impl CloudReply {
    pub(crate) fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: content_type.into(), headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => Self::new(status, JSON, body),
            Err(error) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
        }
    }

    pub(crate) fn xml(status: StatusCode, body: &Value) -> Self {
        Self::new(status, XML, crate::xml::document(body))
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The answer with `body` in place of its own.
    pub(crate) fn into_response(self, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        if let Ok(value) = HeaderValue::from_str(&self.content_type)
            && !self.content_type.is_empty()
        {
            response.headers_mut().insert(CONTENT_TYPE, value);
        }
        response.headers_mut().extend(self.headers);
        response
    }
}
