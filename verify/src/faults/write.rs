//! The writes of the operator, told apart: everything that it sends and that may change something, or be meant to.

use std::fmt;

use http::Method;
use managed_redis_operator::api::flush_request::FlushPhase;
use serde_json::Value;

/// A request of the operator that is no read of the Kubernetes API, by what it is for.
///
/// The cloud's list is one too: it is a POST, and a process can be killed while it waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum OperatorWrite {
    /// `POST /clouddb/v2/getCloudDBInstanceList`
    CloudList,
    /// `POST /clouddb/v2/flushCloudDBInstance`
    CloudFlush,
    /// `POST /v1/clusters/{id}/parameter-group/apply`
    CloudApply,
    /// The status of a RedisClusterRef.
    ReferenceStatus,
    /// The status of a RedisParameterSync.
    SyncStatus,
    /// The status of a RedisFlushRequest, in this phase.
    RequestStatus(FlushPhase),
    /// The finalizer is put on the request.
    FinalizerOn,
    /// The finalizer is taken off the request.
    FinalizerOff,
    /// The claim, a Lease, is created.
    ClaimCreate,
    /// The claim is deleted.
    ClaimDelete,
    /// An event about a RedisClusterRef is published.
    ReferenceEvent,
    /// An event about a RedisFlushRequest is published, of its getting into this phase; none for any other.
    RequestEvent(Option<FlushPhase>),
    /// Anything else.
    Other,
}

impl OperatorWrite {
    /// What a request is, by method, path and body; none for a read of the Kubernetes API.
    pub(super) fn of(method: &Method, path: &str, body: &[u8]) -> Option<Self> {
        match path {
            "/clouddb/v2/getCloudDBInstanceList" => return Some(Self::CloudList),
            "/clouddb/v2/flushCloudDBInstance" => return Some(Self::CloudFlush),
            _ if method == Method::GET => return None,
            _ if path.ends_with("/parameter-group/apply") => return Some(Self::CloudApply),
            _ => {}
        }
        let (resource, subresource) = resource(path);
        Some(match (method, resource, subresource) {
            (&Method::PATCH, "redisclusterrefs", "status") => Self::ReferenceStatus,
            (&Method::PATCH, "redisparametersyncs", "status") => Self::SyncStatus,
            (&Method::PATCH, "redisflushrequests", "status") => phase(body).map_or(Self::Other, Self::RequestStatus),
            (&Method::PATCH, "redisflushrequests", "") => match has_finalizers(body) {
                Some(true) => Self::FinalizerOn,
                Some(false) => Self::FinalizerOff,
                None => Self::Other,
            },
            (&Method::POST, "leases", _) => Self::ClaimCreate,
            (&Method::DELETE, "leases", _) => Self::ClaimDelete,
            (_, "events", _) => event(body),
            _ => Self::Other,
        })
    }
}

/// The resource and subresource of `/apis/GROUP/VERSION/namespaces/NS/RESOURCE/NAME/SUBRESOURCE`.
fn resource(path: &str) -> (&str, &str) {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let at = segments.iter().position(|segment| *segment == "namespaces").map_or(segments.len(), |at| at + 2);
    let segment = |offset: usize| segments.get(at + offset).copied().unwrap_or_default();
    (segment(0), segment(2))
}

/// The name of the RedisFlushRequest that a path is about.
pub(super) fn request_name(path: &str) -> Option<&str> {
    let (before, name) = path.rsplit_once('/')?;
    before.ends_with("/redisflushrequests").then_some(name)
}

fn phase(body: &[u8]) -> Option<FlushPhase> {
    let body: Value = serde_json::from_slice(body).ok()?;
    serde_json::from_value(body["status"]["phase"].clone()).ok()
}

/// What an event is about, by its kind and the reasons of the transitions of a flush that goes well.
fn event(body: &[u8]) -> OperatorWrite {
    let event: Value = serde_json::from_slice(body).unwrap_or_default();
    match event["regarding"]["kind"].as_str() {
        Some("RedisFlushRequest") => OperatorWrite::RequestEvent(match event["reason"].as_str() {
            Some("Sending") => Some(FlushPhase::Sending),
            Some("Accepted") => Some(FlushPhase::Accepted),
            Some("FlushSucceeded") => Some(FlushPhase::Succeeded),
            _ => None,
        }),
        Some("RedisClusterRef") => OperatorWrite::ReferenceEvent,
        _ => OperatorWrite::Other,
    }
}

fn has_finalizers(body: &[u8]) -> Option<bool> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(!body["metadata"]["finalizers"].as_array()?.is_empty())
}

impl fmt::Display for OperatorWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CloudList => f.write_str("list of instances"),
            Self::CloudFlush => f.write_str("flush"),
            Self::CloudApply => f.write_str("application"),
            Self::ReferenceStatus => f.write_str("reference status"),
            Self::SyncStatus => f.write_str("sync status"),
            Self::RequestStatus(phase) => write!(f, "status {}", phase.as_str()),
            Self::FinalizerOn => f.write_str("finalizer on"),
            Self::FinalizerOff => f.write_str("finalizer off"),
            Self::ClaimCreate => f.write_str("claim created"),
            Self::ClaimDelete => f.write_str("claim deleted"),
            Self::ReferenceEvent => f.write_str("reference event"),
            Self::RequestEvent(Some(phase)) => write!(f, "event {}", phase.as_str()),
            Self::RequestEvent(None) => f.write_str("other event"),
            Self::Other => f.write_str("other"),
        }
    }
}

/// Where a write can be met: on its way there, or its answer on the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    /// Nothing was carried out yet.
    Before,
    /// It was carried out, and the operator does not know.
    After,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

/// A place in a run: the n-th write of its kind, whichever process makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    /// On which side of it.
    pub side: Side,
    /// Which kind of write.
    pub write: OperatorWrite,
    /// Which one of that kind, from 1.
    pub nth: u32,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} #{}", self.side, self.write, self.nth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: &str = "/apis/managedredis.dev/v1alpha1/namespaces/a/redisflushrequests";

    #[test]
    fn writes_are_told_apart() {
        let of = |method: Method, path: &str, body: &str| OperatorWrite::of(&method, path, body.as_bytes());
        let request = format!("{REQUESTS}/flush");
        let status = format!("{request}/status");
        assert_eq!(of(Method::GET, &request, ""), None);
        assert_eq!(
            of(Method::PATCH, &status, r#"{"status": {"phase": "Sending"}}"#),
            Some(OperatorWrite::RequestStatus(FlushPhase::Sending))
        );
        assert_eq!(of(Method::PATCH, &status, "{}"), Some(OperatorWrite::Other));
        let on = r#"{"metadata": {"finalizers": ["managedredis.dev/flush"]}}"#;
        assert_eq!(of(Method::PATCH, &request, on), Some(OperatorWrite::FinalizerOn));
        assert_eq!(
            of(Method::PATCH, &request, r#"{"metadata": {"finalizers": []}}"#),
            Some(OperatorWrite::FinalizerOff)
        );
        let leases = "/apis/coordination.k8s.io/v1/namespaces/a/leases";
        assert_eq!(of(Method::POST, leases, "{}"), Some(OperatorWrite::ClaimCreate));
        assert_eq!(of(Method::DELETE, &format!("{leases}/flush-1"), ""), Some(OperatorWrite::ClaimDelete));
        let events = "/apis/events.k8s.io/v1/namespaces/a/events";
        let about = |kind: &str| format!(r#"{{"regarding": {{"kind": "{kind}"}}, "reason": "Sending"}}"#);
        let sending = OperatorWrite::RequestEvent(Some(FlushPhase::Sending));
        assert_eq!(of(Method::POST, events, &about("RedisFlushRequest")), Some(sending));
        assert_eq!(of(Method::POST, events, &about("RedisClusterRef")), Some(OperatorWrite::ReferenceEvent));
        assert_eq!(of(Method::POST, "/clouddb/v2/flushCloudDBInstance", ""), Some(OperatorWrite::CloudFlush));
        assert_eq!(of(Method::POST, "/clouddb/v2/getCloudDBInstanceList", ""), Some(OperatorWrite::CloudList));
        assert_eq!(of(Method::POST, "/v1/clusters/a/parameter-group/apply", ""), Some(OperatorWrite::CloudApply));
        let sync = "/apis/managedredis.dev/v1alpha1/namespaces/a/redisparametersyncs/keep/status";
        assert_eq!(of(Method::PATCH, sync, "{}"), Some(OperatorWrite::SyncStatus));
    }

    #[test]
    fn the_read_of_one_request_names_it() {
        assert_eq!(request_name(&format!("{REQUESTS}/flush")), Some("flush"));
        assert_eq!(request_name(REQUESTS), None);
        assert_eq!(request_name(&format!("{REQUESTS}/flush/status")), None);
    }
}
