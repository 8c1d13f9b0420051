//! One type for each operation of KakaoCloud Redis, and how its errors are read.

use reqwest::Method;
use serde_json::Value;

use super::super::answer::{Answer, read_json, read_json_with};
use super::super::error::{ErrorKind, Executed, Failure, MAX_WORD_CHARS};
use super::super::limits::Lane;
use super::super::redact::Redactor;
use super::super::settings::CloudSettings;
use super::super::transport::{Operation, Payload, Request};
use super::model::{ApplyBody, ApplyReply, Cluster, ClusterList, Flavor, FlavorList};

/// `GET /v1/redis/versions`: a bare array.
pub(super) struct ListEngineVersions;
/// `GET /v1/redis/flavors`.
pub(super) struct ListFlavors;
/// `GET /v1/clusters`: no pages, so one body for all. Each cluster is handed over as soon as it is parsed.
pub(super) struct ListClusters<'a, T> {
    pub(super) take_in: &'a (dyn Fn(Cluster) -> T + Sync),
}
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

impl<T: Send> Operation for ListClusters<'_, T> {
    type Output = Vec<T>;
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
        read_json_with(answer, &|| ClusterList { take_in: self.take_in })
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

    fn redact(reply: &mut ApplyReply, redactor: &dyn Fn() -> Redactor) {
        let redactor = redactor();
        for word in [&mut reply.object_id, &mut reply.trace_id] {
            *word = word.take().and_then(|word| redactor.word(&word, MAX_WORD_CHARS));
        }
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
    let message = if kind == ErrorKind::BadRequest && error.message.is_some() { "" } else { fallback };
    answer.failure(kind, message).said(error.message).code(error.code).executed(executed)
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

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = r#"{
        "projectId": "p-1", "objectId": "c-1", "name": "sessions", "description": "", "version": "7.2.11", "port": 6379,
        "clusterEnabled": true, "recoveryEnabled": true, "shardCount": 3, "totalNodeCount": 6, "flavorId": "f-1",
        "vcpu": 4, "memory": 8, "endpoints": {"primaryEndpoint": "a.example", "readEndpoint": ""}, "userName": "-",
        "subnets": [{"id": "s-1"}], "subnetAssignments": [{"primary": {"id": "s-1"}, "replicas": [{"id": "s-2"}]}],
        "securityGroups": [{"id": "g-1"}], "backupSchedule": {"cron": "0 1 * * *", "retentionLimit": 7},
        "creator": "c@example.com", "license": "GPL", "status": "Scaling(horizontal)", "parameterGroupId": "pg-1",
        "parameterGroupName": "defaults", "parameterGroupSyncStatus": "In-Sync", "createdAt": "2026-03-06T02:35:13Z",
        "fieldOfTomorrow": {"x": [1]}}"#;

    fn all() -> ListClusters<'static, Cluster> {
        ListClusters { take_in: &|cluster| cluster }
    }

    fn get_cluster(body: &str) -> Result<Cluster, Failure> {
        GetCluster { id: "c-1" }.decode(&Answer::fixture(200, &[], body))
    }

    /// The cluster above with one field replaced.
    fn with(field: &str, value: &str) -> String {
        let mut body: Value = serde_json::from_str(CLUSTER).unwrap();
        body[field] = serde_json::from_str(value).unwrap();
        body.to_string()
    }

    #[test]
    fn a_cluster_is_normalised() {
        let cluster = get_cluster(CLUSTER).unwrap();
        assert_eq!((cluster.id.as_str(), cluster.description), ("c-1", None));
        assert_eq!((cluster.user_name, cluster.endpoints.primary.as_deref()), (None, Some("a.example")));
        assert_eq!((cluster.endpoints.read, cluster.memory_mib, cluster.vcpus), (None, Some(8192), Some(4)));
        assert_eq!(cluster.subnet_ids, ["s-1"]);
        assert_eq!(cluster.security_group_ids, ["g-1"]);
        assert_eq!(cluster.subnet_assignments[0].primary.as_deref(), Some("s-1"));
        assert_eq!(cluster.subnet_assignments[0].replicas, ["s-2"]);
        assert_eq!(cluster.backup_schedule.unwrap().retention_days, Some(7));
        assert_eq!(cluster.status.as_deref(), Some("Scaling(horizontal)"));
        assert_eq!(cluster.created_at.unwrap().to_string(), "2026-03-06T02:35:13Z");
    }

    #[test]
    fn everything_but_the_id_may_be_absent_or_null() {
        let bare = get_cluster(r#"{"objectId": "c-1"}"#).unwrap();
        assert_eq!((bare.name, bare.created_at, bare.parameter_group_sync_status), (None, None, None));
        let mut nulls: Value = serde_json::from_str(CLUSTER).unwrap();
        for (name, value) in nulls.as_object_mut().unwrap() {
            if name != "objectId" {
                *value = Value::Null;
            }
        }
        assert_eq!(get_cluster(&nulls.to_string()).unwrap(), get_cluster(r#"{"objectId": "c-1"}"#).unwrap());
    }

    #[test]
    fn created_at_comes_in_many_forms() {
        for (value, expected) in [
            (r#""2026-03-06T02:35:13Z""#, Some("2026-03-06T02:35:13Z")),
            (r#""2026-03-06""#, Some("2026-03-06T00:00:00Z")),
            ("1772764513", Some("2026-03-06T02:35:13Z")),
            ("1772764513000", Some("2026-03-06T02:35:13Z")),
            ("null", None),
            (r#""soon""#, None),
        ] {
            let created_at = get_cluster(&with("createdAt", value)).unwrap().created_at;
            assert_eq!(created_at.map(|time| time.to_string()).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn wrong_types_name_their_field() {
        for (field, value, path) in [
            ("port", r#""6379""#, "port"),
            ("port", "70000", "port"),
            ("clusterEnabled", r#""yes""#, "clusterEnabled"),
            ("status", "7", "status"),
            ("memory", "-3", "memory"),
            ("objectId", "null", "objectId"),
            ("createdAt", "{}", "createdAt"),
            ("createdAt", "1.5", "createdAt"),
            ("endpoints", r#""a.example""#, "endpoints"),
            ("endpoints", r#"{"primaryEndpoint": 7}"#, "endpoints.primaryEndpoint"),
            ("subnets", r#"["s-1"]"#, "subnets[0]"),
            ("backupSchedule", r#"{"cron": "x", "retentionLimit": "7"}"#, "backupSchedule.retentionLimit"),
        ] {
            let failure = get_cluster(&with(field, value)).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::UnexpectedResponse, "{field} {value}");
            assert!(failure.message.starts_with(&format!("field {path}: ")), "{field} {value}: {}", failure.message);
        }
    }

    #[test]
    fn a_list_that_is_not_there_is_not_an_empty_list() {
        for body in ["{}", r#"{"clusters": null}"#, "[]", "null", r#"{"clusters": {}}"#] {
            let failure = all().decode(&Answer::fixture(200, &[], body)).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::UnexpectedResponse, "{body}");
        }
        assert!(all().decode(&Answer::fixture(200, &[], r#"{"clusters": []}"#)).unwrap().is_empty());
        let failure = all()
            .decode(&Answer::fixture(200, &[], format!(r#"{{"clusters": [{CLUSTER}, {}]}}"#, with("port", "{}"))))
            .unwrap_err();
        assert!(failure.message.starts_with("field clusters[1].port: "), "{}", failure.message);
    }

    #[test]
    fn statuses_mean() {
        for (status, target, kind, executed) in [
            (400, Target::Object, ErrorKind::BadRequest, Executed::No),
            (401, Target::Object, ErrorKind::CredentialsRejected, Executed::No),
            (403, Target::Object, ErrorKind::PermissionDenied, Executed::No),
            (404, Target::Object, ErrorKind::NotFound, Executed::No),
            (404, Target::Collection, ErrorKind::UnexpectedResponse, Executed::No),
            (408, Target::Object, ErrorKind::Unavailable, Executed::Unknown),
            (409, Target::Object, ErrorKind::Busy, Executed::No),
            (422, Target::Object, ErrorKind::BadRequest, Executed::No),
            (429, Target::Object, ErrorKind::RateLimited, Executed::No),
            (500, Target::Object, ErrorKind::Unavailable, Executed::Unknown),
            (503, Target::Object, ErrorKind::Unavailable, Executed::Unknown),
            (100, Target::Object, ErrorKind::UnexpectedResponse, Executed::Unknown),
            (999, Target::Object, ErrorKind::UnexpectedResponse, Executed::Unknown),
        ] {
            let failure = refusal(&Answer::fixture(status, &[], ""), target);
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

    #[test]
    fn an_accepted_apply_may_have_a_body_or_not() {
        let apply = |status, body: &str| ApplyParameterGroup { id: "c-1" }.decode(&Answer::fixture(status, &[], body));
        assert_eq!(apply(200, r#"{"objectId":"c-1"}"#).unwrap().object_id.as_deref(), Some("c-1"));
        assert_eq!(apply(204, "").unwrap(), ApplyReply { http_status: 204, ..ApplyReply::default() });
        assert_eq!(apply(202, "{}").unwrap().object_id, None);
        for body in ["<html>", r#"{"objectId":7}"#, "{"] {
            let failure = apply(200, body).unwrap_err();
            assert_eq!((failure.kind, failure.executed), (ErrorKind::UnexpectedResponse, Executed::Unknown), "{body}");
        }
    }

    proptest::proptest! {
        /// Whatever the cloud sends, reading it ends with a value or an error.
        #[test]
        fn no_body_panics(status in 100_u16..1000, body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let answer = Answer::fixture(status, &[], body);
            let _ = ListEngineVersions.decode(&answer);
            let _ = ListFlavors.decode(&answer);
            let _ = all().decode(&answer);
            let _ = GetCluster { id: "x" }.decode(&answer);
            let _ = ApplyParameterGroup { id: "x" }.decode(&answer);
        }

        /// The same with one part of a good body replaced, which comes further than noise does.
        #[test]
        fn no_spoiled_body_panics(at in 0..CLUSTER.len(), part in "[\\[\\]{}\",:0-9a-z.-]{0,6}", status in 100_u16..1000) {
            let end = (at + part.len()).min(CLUSTER.len());
            let body = [&CLUSTER.as_bytes()[..at], part.as_bytes(), &CLUSTER.as_bytes()[end..]].concat();
            let _ = GetCluster { id: "x" }.decode(&Answer::fixture(status, &[], body));
        }
    }
}
