//! One type for each operation of KakaoCloud Redis, and how its errors are read.

use reqwest::Method;
use serde_json::Value;

use super::super::error::{ErrorKind, Executed, Failure};
use super::super::limits::Lane;
use super::super::settings::CloudSettings;
use super::super::transport::{Answer, Operation, Payload, Request, read_json};
use super::model::{ApplyBody, ApplyReply, Cluster, ClusterList, Flavor, FlavorList};

/// `GET /v1/redis/versions`: a bare array.
pub(super) struct ListEngineVersions;
/// `GET /v1/redis/flavors`.
pub(super) struct ListFlavors;
/// `GET /v1/clusters`: no pages, so one body for all.
pub(super) struct ListClusters;
/// `GET /v1/clusters/{id}`, for clusters and instance sets.
pub(super) struct GetCluster<'a> {
    pub(super) id: &'a str,
}
/// `POST /v1/clusters/{id}/parameter-group/apply`, without body.
pub(super) struct ApplyParameterGroup<'a> {
    pub(super) id: &'a str,
}

/// What a 404 says: about the one object that was asked for, or about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Object,
    Collection,
}

impl Operation for ListEngineVersions {
    type Output = Vec<String>;
    const NAME: &'static str = "listEngineVersions";
    const LANE: Lane = Lane::Read;

    fn request(&self) -> Request {
        get(&["v1", "redis", "versions"])
    }

    fn decode(&self, answer: &Answer) -> Result<Self::Output, Failure> {
        accept(answer, Target::Collection)?;
        read_json(answer)
    }
}

impl Operation for ListFlavors {
    type Output = Vec<Flavor>;
    const NAME: &'static str = "listFlavors";
    const LANE: Lane = Lane::Read;

    fn request(&self) -> Request {
        get(&["v1", "redis", "flavors"])
    }

    fn decode(&self, answer: &Answer) -> Result<Self::Output, Failure> {
        accept(answer, Target::Collection)?;
        Ok(read_json::<FlavorList>(answer)?.flavors)
    }
}

impl Operation for ListClusters {
    type Output = Vec<Cluster>;
    const NAME: &'static str = "listClusters";
    const LANE: Lane = Lane::Read;

    fn request(&self) -> Request {
        get(&["v1", "clusters"])
    }

    fn max_body(&self, settings: &CloudSettings) -> usize {
        settings.max_list_bytes
    }

    fn decode(&self, answer: &Answer) -> Result<Self::Output, Failure> {
        accept(answer, Target::Collection)?;
        Ok(read_json::<ClusterList>(answer)?.clusters)
    }
}

impl Operation for GetCluster<'_> {
    type Output = Cluster;
    const NAME: &'static str = "getCluster";
    const LANE: Lane = Lane::Read;

    fn request(&self) -> Request {
        get(&["v1", "clusters", self.id])
    }

    fn decode(&self, answer: &Answer) -> Result<Self::Output, Failure> {
        accept(answer, Target::Object)?;
        read_json(answer)
    }
}

impl Operation for ApplyParameterGroup<'_> {
    type Output = ApplyReply;
    const NAME: &'static str = "applyParameterGroup";
    const LANE: Lane = Lane::Mutation;

    fn request(&self) -> Request {
        let path = ["v1", "clusters", self.id, "parameter-group", "apply"].map(str::to_owned).to_vec();
        Request { method: Method::POST, path, payload: Payload::Empty }
    }

    fn decode(&self, answer: &Answer) -> Result<Self::Output, Failure> {
        accept(answer, Target::Object)?;
        // Accepted is accepted, with a body or without; but a page of HTML is not this API's word.
        let object_id =
            if answer.body.trim_ascii().is_empty() { None } else { read_json::<ApplyBody>(answer)?.object_id };
        Ok(ApplyReply { http_status: answer.status, object_id, trace_id: answer.trace_id() })
    }
}

fn get(path: &[&str]) -> Request {
    Request {
        method: Method::GET,
        path: path.iter().map(|segment| (*segment).to_owned()).collect(),
        payload: Payload::Empty,
    }
}

/// Any 2xx, or the failure that the answer means.
fn accept(answer: &Answer, target: Target) -> Result<(), Failure> {
    if answer.is_success() { Ok(()) } else { Err(refusal(answer, target)) }
}

/// The failure that an answer beyond 2xx means. A 4xx is a refusal; after a 5xx nobody knows.
pub(super) fn refusal(answer: &Answer, target: Target) -> Failure {
    let error = ErrorBody::read(&answer.body);
    let (kind, fallback) = match (answer.status, target) {
        (401, _) => (ErrorKind::CredentialsRejected, "the token was not accepted"),
        (403, _) => (ErrorKind::PermissionDenied, "check the role of the credential's owner in the project"),
        (404 | 410, Target::Object) => (ErrorKind::NotFound, ""),
        (404 | 410, Target::Collection) => {
            (ErrorKind::UnexpectedResponse, "there is no such API; check the configured endpoint")
        }
        (409, _) => (ErrorKind::Busy, ""),
        (429, _) => (ErrorKind::RateLimited, ""),
        (408 | 500..=599, _) => (ErrorKind::Unavailable, "the service failed"),
        (400..=499, _) => (ErrorKind::BadRequest, "no reason was given"),
        _ => (ErrorKind::UnexpectedResponse, "the HTTP status is none that the API has"),
    };
    let executed =
        if (400..500).contains(&answer.status) && answer.status != 408 { Executed::No } else { Executed::Unknown };
    let message = error.message.unwrap_or_else(|| fallback.to_owned());
    answer.failure(kind, message).code(error.code).executed(executed)
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
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        if let Some(detail) = value.get("detail") {
            return Self { code: None, message: detail_text(detail) };
        }
        match value.get("error") {
            Some(Value::String(text)) => Self { code: None, message: Some(text.clone()) },
            Some(error) => Self::from_object(error),
            None => Self::from_object(&value),
        }
    }

    fn from_object(error: &Value) -> Self {
        Self { code: error.get("code").and_then(scalar_text), message: error.get("message").and_then(scalar_text) }
    }
}

fn scalar_text(value: &Value) -> Option<String> {
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
