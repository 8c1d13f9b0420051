//! One type for each operation of KakaoCloud Redis.

use reqwest::Method;
use serde_json::Value;

use super::super::error::{ErrorKind, Failure, MAX_WORD_CHARS};
use super::super::limits::Lane;
use super::super::list::{Keys, Reader, Row};
use super::super::redact::Redactor;
use super::super::response::{Response, lossy, read_json, read_object};
use super::super::settings::CloudSettings;
use super::super::split::RawEntry;
use super::super::transport::{Operation, Refuse, Request, RequestPayload};
use super::model::{ApplyReply, Cluster, ClusterList, Flavor, FlavorList, VersionList};
use super::refusal::{ErrorBody, Subject, refusal, scalar_text};

/// `GET /v1/redis/versions`: a bare array.
pub(super) struct ListEngineVersions;
/// `GET /v1/redis/flavors`.
pub(super) struct ListFlavors;
/// `GET /v1/clusters`: no pages, so one body for all. Each cluster is handed over as soon as it has come.
pub(super) struct ListClusters<'a, T> {
    pub(super) take_in: &'a (dyn Fn(Row<Cluster>) -> T + Sync),
    /// Most clusters that are taken in.
    pub(super) most: usize,
}
/// `GET /v1/clusters/{id}`, for clusters and instance sets.
pub(super) struct GetCluster<'a> {
    pub(super) id: &'a str,
}
/// `POST /v1/clusters/{id}/parameter-group/apply`, without body.
pub(super) struct ApplyParameterGroup<'a> {
    pub(super) id: &'a str,
}

/// What identifies a cluster.
const KEYS: Keys = Keys { id: "objectId", name: "name" };

/// The clusters of a list that have come so far.
pub(super) struct Clusters<T> {
    reader: Reader,
    taken: Vec<T>,
}

impl<T> Default for Clusters<T> {
    fn default() -> Self {
        Self { reader: Reader::default(), taken: Vec::new() }
    }
}

impl Operation for ListEngineVersions {
    type Output = Vec<String>;
    type Entries = ();
    const NAME: &'static str = "listEngineVersions";
    const LANE: Lane = Lane::Read;

    fn request(&self) -> Request {
        get(&["v1", "redis", "versions"])
    }

    fn decode(&self, response: &Response, (): (), _: Refuse<'_>) -> Result<Self::Output, Failure> {
        ensure_success(response, Subject::Collection)?;
        Ok(read_json::<VersionList>(response)?.0)
    }
}

impl Operation for ListFlavors {
    type Output = Vec<Flavor>;
    type Entries = ();
    const NAME: &'static str = "listFlavors";
    const LANE: Lane = Lane::Read;

    fn request(&self) -> Request {
        get(&["v1", "redis", "flavors"])
    }

    fn decode(&self, response: &Response, (): (), _: Refuse<'_>) -> Result<Self::Output, Failure> {
        ensure_success(response, Subject::Collection)?;
        Ok(read_object::<FlavorList>(response)?.flavors)
    }
}

impl<T: Send> Operation for ListClusters<'_, T> {
    type Output = Vec<T>;
    type Entries = Clusters<T>;
    const NAME: &'static str = "listClusters";
    const LANE: Lane = Lane::Read;
    const LIST: Option<(&'static str, usize)> = Some(("clusters", 1));

    fn request(&self) -> Request {
        get(&["v1", "clusters"])
    }

    fn max_body(&self, settings: &CloudSettings) -> usize {
        settings.max_list_bytes
    }

    fn entry(&self, clusters: &mut Clusters<T>, raw: RawEntry<'_>, refuse: Refuse<'_>) -> Result<(), Failure> {
        if clusters.taken.len() >= self.most {
            return Err(Failure::unexpected(format!(
                "it lists more than {} clusters for this credential; if there are that many, raise --max-clusters",
                self.most
            )));
        }
        let row = clusters.reader.read(raw, KEYS, refuse);
        clusters.taken.push((self.take_in)(row));
        Ok(())
    }

    fn decode(&self, response: &Response, clusters: Clusters<T>, _: Refuse<'_>) -> Result<Self::Output, Failure> {
        ensure_success(response, Subject::Collection)?;
        read_object::<ClusterList>(response)?;
        Ok(clusters.taken)
    }
}

impl Operation for GetCluster<'_> {
    type Output = Cluster;
    type Entries = ();
    const NAME: &'static str = "getCluster";
    const LANE: Lane = Lane::Read;

    fn request(&self) -> Request {
        get(&["v1", "clusters", self.id])
    }

    fn decode(&self, response: &Response, (): (), _: Refuse<'_>) -> Result<Self::Output, Failure> {
        ensure_success(response, Subject::Object)?;
        read_object(response)
    }
}

impl Operation for ApplyParameterGroup<'_> {
    type Output = ApplyReply;
    type Entries = ();
    const NAME: &'static str = "applyParameterGroup";
    const LANE: Lane = Lane::Mutation;
    const HEAD_IS_ENOUGH: bool = true;

    fn request(&self) -> Request {
        let path = ["v1", "clusters", self.id, "parameter-group", "apply"].map(str::to_owned).to_vec();
        Request { method: Method::POST, path, payload: RequestPayload::Empty }
    }

    fn decode(&self, response: &Response, (): (), _: Refuse<'_>) -> Result<Self::Output, Failure> {
        ensure_success(response, Subject::Object)?;
        // A 2xx means accepted with any body, except an HTML page (it is not from this API) and an error.
        if response.is_html() {
            let message = format!("it sent {}", response.describe_body());
            return Err(response.failure(ErrorKind::UnexpectedResponse, message));
        }
        let document: Value = serde_json::from_str(&lossy(&response.body)).unwrap_or_default();
        if document.get("error").is_some_and(|error| !error.is_null()) {
            let error = ErrorBody::of(&document);
            let message = "it sent an error with the HTTP status of success";
            let failure = response.failure(ErrorKind::UnexpectedResponse, message);
            return Err(failure.said(error.message).code(error.code));
        }
        let object_id = document.get("objectId").and_then(scalar_text);
        if let Some(other) = object_id.as_deref().filter(|id| *id != self.id) {
            let message = format!("the answer is about another cluster, {other}");
            return Err(response.failure(ErrorKind::UnexpectedResponse, message));
        }
        Ok(ApplyReply { http_status: response.status, object_id, trace_id: response.trace_id() })
    }

    fn redact<'r>(reply: &mut ApplyReply, redactor: impl FnOnce() -> &'r Redactor) {
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
        payload: RequestPayload::Empty,
    }
}

/// Any 2xx, or the failure that the answer means.
fn ensure_success(response: &Response, target: Subject) -> Result<(), Failure> {
    if response.is_success() { Ok(()) } else { Err(refusal(response, target)) }
}

#[cfg(test)]
mod tests {
    use super::super::super::transport::decode_bytes;
    use super::*;
    use crate::cloud::{Executed, Provider};

    const CLUSTER: &str = r#"{
        "projectId": "p-1", "objectId": "c-1", "name": "sessions", "description": "", "version": "7.2.11", "port": 6379,
        "clusterEnabled": true, "recoveryEnabled": true, "shardCount": 3, "totalNodeCount": 6, "flavorId": "f-1",
        "vcpu": 4, "memory": 8, "endpoints": {"primaryEndpoint": "a.example", "readEndpoint": ""}, "userName": "-",
        "subnets": [{"id": "s-1"}], "subnetAssignments": [{"primary": {"id": "s-1"}, "replicas": [{"id": "s-2"}]}],
        "securityGroups": [{"id": "g-1"}], "backupSchedule": {"cron": "0 1 * * *", "retentionLimit": 7},
        "creator": "c@example.com", "license": "GPL", "status": "Scaling(horizontal)", "parameterGroupId": "pg-1",
        "parameterGroupName": "defaults", "parameterGroupSyncStatus": "In-Sync", "createdAt": "2026-03-06T02:35:13Z",
        "fieldOfTomorrow": {"x": [1]}}"#;

    fn read<O: Operation>(operation: &O, status: u16, body: impl Into<Vec<u8>>) -> Result<O::Output, Failure> {
        let refuse = |failure: Failure| failure.into_error(Provider::KakaoCloud, O::NAME, &[]);
        decode_bytes(operation, Response::fixture(status, &[], body), &refuse)
    }

    fn all() -> ListClusters<'static, Row<Cluster>> {
        ListClusters { take_in: &|row| row, most: 20 }
    }

    fn get_cluster(body: &str) -> Result<Cluster, Failure> {
        read(&GetCluster { id: "c-1" }, 200, body)
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
            ("port", r#""many""#, "port"),
            ("port", "70000", "port"),
            ("clusterEnabled", r#""perhaps""#, "clusterEnabled"),
            ("status", "[7]", "status"),
            ("memory", "-3", "memory"),
            ("objectId", "null", "objectId"),
            ("createdAt", "{}", "createdAt"),
            ("endpoints", r#""a.example""#, "endpoints"),
            ("endpoints", r#"{"primaryEndpoint": {}}"#, "endpoints.primaryEndpoint"),
            ("subnets", r#"["s-1"]"#, "subnets[0]"),
            ("backupSchedule", r#"{"cron": "x", "retentionLimit": "week"}"#, "backupSchedule.retentionLimit"),
        ] {
            let failure = get_cluster(&with(field, value)).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::UnexpectedResponse, "{field} {value}");
            assert!(failure.message.starts_with(&format!("field {path}: ")), "{field} {value}: {}", failure.message);
        }
    }

    #[test]
    fn what_is_harmless_is_accepted() {
        let good = get_cluster(CLUSTER).unwrap();
        for (field, value) in [
            ("port", r#""6379""#),
            ("shardCount", "3.0"),
            ("shardCount", r#""3""#),
            ("memory", r#""8""#),
            ("clusterEnabled", r#""true""#),
            ("backupSchedule", r#"{"cron": "0 1 * * *", "retentionLimit": "7", "x": null}"#),
        ] {
            assert_eq!(get_cluster(&with(field, value)).unwrap(), good, "{field} {value}");
        }
        for (field, value) in
            [("endpoints", r#""""#), ("subnets", r#""""#), ("backupSchedule", r#""""#), ("port", r#""""#)]
        {
            assert_eq!(
                get_cluster(&with(field, value)).unwrap(),
                get_cluster(&with(field, "null")).unwrap(),
                "{field}"
            );
        }
        assert_eq!(get_cluster(&with("objectId", "7")).unwrap().id, "7");
        assert_eq!(get_cluster(&format!("\u{feff}{CLUSTER}")).unwrap(), good);
    }

    #[test]
    fn a_year_that_no_object_can_hold_is_absent() {
        for value in [
            r#""0000-03-06T02:35:13Z""#,
            r#""-000044-03-15T12:00:00Z""#,
            "-62135596801",
            r#""+010000-01-01T00:00:00Z""#,
        ] {
            assert_eq!(get_cluster(&with("createdAt", value)).unwrap().created_at, None, "{value}");
        }
    }

    #[test]
    fn a_list_that_is_not_there_is_not_an_empty_list() {
        for body in [
            "{}",
            r#"{"clusters": null}"#,
            "[]",
            "[[]]",
            "null",
            r#"{"clusters": {}}"#,
            r#"{"clusters": []"#,
            r#"{"clusters": [],}"#,
        ] {
            let failure = read(&all(), 200, body).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::UnexpectedResponse, "{body}");
        }
        assert!(read(&all(), 200, r#"{"clusters": []}"#).unwrap().is_empty());
        let broken = format!(r#"{{"clusters": [{CLUSTER}, {{"objectId": "c-2""#);
        assert_eq!(read(&all(), 200, broken).unwrap_err().kind, ErrorKind::UnexpectedResponse);
    }

    #[test]
    fn a_cluster_that_cannot_be_read_costs_no_other() {
        let twice = CLUSTER.replacen("\"port\": 6379", "\"port\": 6379, \"port\": 6379", 1);
        let large = with("description", &format!("\"{}\"", "x".repeat(300_000)));
        for (odd, id, message) in [
            (with("port", "{}"), Some("c-1"), "field port: invalid type: map, expected an integer"),
            (
                with("endpoints", r#"{"primaryEndpoint": []}"#),
                Some("c-1"),
                "field endpoints.primaryEndpoint: invalid type: ",
            ),
            (with("objectId", "{}"), None, "field objectId: invalid type: map, expected text"),
            (twice, Some("c-1"), "the entry: duplicate field `port`"),
            (
                CLUSTER.replacen("8, \"endpoints\"", "08, \"endpoints\"", 1),
                Some("c-1"),
                "the entry is not valid JSON: ",
            ),
            (large, None, "the entry has more than 262144 bytes"),
            ("7".to_owned(), None, "the entry: invalid type: integer"),
            ("null".to_owned(), None, "the entry: invalid type: null"),
            (r#"["c-1"]"#.to_owned(), None, "the entry: invalid type: sequence"),
        ] {
            let body = format!(r#"{{"clusters": [{}, {odd}, {CLUSTER}], "next": null}}"#, with("objectId", "\"c-0\""));
            let rows = read(&all(), 200, body).unwrap();
            let [Row::Read(before), Row::Unreadable(entry), Row::Read(after)] = rows.as_slice() else {
                panic!("{rows:?}")
            };
            assert_eq!((before.id.as_str(), after.id.as_str(), entry.id.as_deref()), ("c-0", "c-1", id), "{odd:.200}");
            assert_eq!((entry.error.operation, entry.error.kind), ("listClusters", ErrorKind::UnexpectedResponse));
            assert!(entry.error.message.starts_with(message), "{}", entry.error.message);
        }
    }

    #[test]
    fn a_list_of_more_clusters_than_allowed_is_refused() {
        let body = |count: usize| format!(r#"{{"clusters": [{}]}}"#, vec!["{}"; count].join(","));
        assert_eq!(read(&all(), 200, body(20)).unwrap().len(), 20);
        let failure = read(&all(), 200, body(21)).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::UnexpectedResponse);
        assert!(failure.message.contains("more than 20 clusters") && failure.message.contains("--max-clusters"));
    }

    #[test]
    fn catalogs_are_bounded_and_leave_out_what_cannot_be_read() {
        let versions = read(&ListEngineVersions, 200, r#"["7.2.11", null, 7, "-"]"#).unwrap();
        assert_eq!(versions, ["7.2.11", "7"]);
        let flavors = r#"{"flavors": [{"id": "f-1", "vcpus": "4"}, {"id": {}}, 7, {"id": "f-2", "memory": {}}]}"#;
        let flavors = read(&ListFlavors, 200, flavors).unwrap();
        assert_eq!(
            flavors.iter().map(|flavor| (flavor.id.as_str(), flavor.vcpus)).collect::<Vec<_>>(),
            [("f-1", Some(4))]
        );
        let many = |entry: &str| vec![entry; 100_000].join(",");
        assert_eq!(read(&ListEngineVersions, 200, format!("[{}]", many("\"1\""))).unwrap().len(), 1025);
        let flavors = format!(r#"{{"flavors": [{}]}}"#, many(r#"{"id":"f"}"#));
        assert_eq!(read(&ListFlavors, 200, flavors).unwrap().len(), 1025);
        for body in ["{}", "7", r#"{"flavors": 7}"#] {
            assert!(read(&ListFlavors, 200, body).is_err() && read(&ListEngineVersions, 200, body).is_err(), "{body}");
        }
    }

    #[test]
    fn an_apply_with_any_2xx_is_accepted_whatever_the_body() {
        let apply = |status, body: &str| read(&ApplyParameterGroup { id: "c-1" }, status, body);
        assert_eq!(apply(200, r#"{"objectId":"c-1"}"#).unwrap().object_id.as_deref(), Some("c-1"));
        assert_eq!(apply(204, "").unwrap(), ApplyReply { http_status: 204, ..ApplyReply::default() });
        let zeros = "0,".repeat(100_000);
        for body in
            ["{}", "null", "7", "OK", "{", "[", "\"c-1\"", "<ok/>", r#"{"objectId":[]}"#, r#"{"error":null}"#, &zeros]
        {
            assert_eq!(apply(202, body).unwrap().object_id, None, "{body:.40}");
        }
        for (body, message) in [
            ("<html>", "an HTML page"),
            ("\u{feff} <!DOCTYPE html><p>Sign in", "an HTML page"),
            (r#"{"objectId":7}"#, "another cluster, 7"),
            (r#"{"objectId":"c-2"}"#, "another cluster, c-2"),
            (r#"{"error":true}"#, "it sent an error with the HTTP status of success"),
        ] {
            let failure = apply(200, body).unwrap_err();
            assert_eq!((failure.kind, failure.executed), (ErrorKind::UnexpectedResponse, Executed::Unknown), "{body}");
            assert!(failure.message.contains(message), "{body}: {}", failure.message);
        }
        let failure = apply(200, r#"{"error":{"code":"X","message":"no"}}"#).unwrap_err();
        assert_eq!((failure.code.as_deref(), failure.said.as_deref()), (Some("X"), Some("no")));
        assert_eq!(failure.executed, Executed::Unknown);
    }

    proptest::proptest! {
        /// Whatever the cloud sends, reading it ends with a value or an error.
        #[test]
        fn no_body_panics(status in 100_u16..1000, body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = read(&ListEngineVersions, status, body.clone());
            let _ = read(&ListFlavors, status, body.clone());
            let _ = read(&all(), status, body.clone());
            let _ = read(&GetCluster { id: "x" }, status, body.clone());
            let _ = read(&ApplyParameterGroup { id: "x" }, status, body);
        }

        /// The same with one part of a good body replaced, which comes further than noise does.
        #[test]
        fn no_spoiled_body_panics(at in 0..CLUSTER.len(), part in "[\\[\\]{}\",:0-9a-z.-]{0,6}", status in 100_u16..1000) {
            let end = (at + part.len()).min(CLUSTER.len());
            let body = [&CLUSTER.as_bytes()[..at], part.as_bytes(), &CLUSTER.as_bytes()[end..]].concat();
            let _ = read(&GetCluster { id: "x" }, status, body);
        }
    }
}
