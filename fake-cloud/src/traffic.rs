//! What was asked of the clouds: counts, and the last requests.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One operation of the clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// `POST /identity/v3/auth/tokens`
    #[serde(rename = "kakao.iam.token")]
    KakaoIamToken,
    /// `GET /v1/redis/versions`
    #[serde(rename = "kakao.versions")]
    KakaoVersions,
    /// `GET /v1/redis/flavors`
    #[serde(rename = "kakao.flavors")]
    KakaoFlavors,
    /// `GET /v1/clusters`
    #[serde(rename = "kakao.clusters.list")]
    KakaoClustersList,
    /// `GET /v1/clusters/{id}`
    #[serde(rename = "kakao.cluster.get")]
    KakaoClusterGet,
    /// `POST /v1/clusters/{id}/parameter-group/apply`
    #[serde(rename = "kakao.parameter-group.apply")]
    KakaoParameterGroupApply,
    /// `POST /clouddb/v2/getCloudDBInstanceList`
    #[serde(rename = "ncp.instances.list")]
    NcpInstancesList,
    /// `POST /clouddb/v2/flushCloudDBInstance`
    #[serde(rename = "ncp.flush")]
    NcpFlush,
    /// A path neither cloud has.
    #[serde(rename = "unknown")]
    Unknown,
    /// Every operation; for faults and filters.
    #[serde(rename = "*")]
    Any,
}

impl Operation {
    /// The operation a path belongs to, whatever the method, and the ID in it.
    pub(crate) fn of(path: &str) -> (Self, Option<&str>) {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments.as_slice() {
            ["identity", "v3", "auth", "tokens"] => (Self::KakaoIamToken, None),
            ["v1", "redis", "versions"] => (Self::KakaoVersions, None),
            ["v1", "redis", "flavors"] => (Self::KakaoFlavors, None),
            ["v1", "clusters"] => (Self::KakaoClustersList, None),
            ["v1", "clusters", id] if !id.is_empty() => (Self::KakaoClusterGet, Some(id)),
            ["v1", "clusters", id, "parameter-group", "apply"] => (Self::KakaoParameterGroupApply, Some(id)),
            ["clouddb", "v2", "getCloudDBInstanceList"] => (Self::NcpInstancesList, None),
            ["clouddb", "v2", "flushCloudDBInstance"] => (Self::NcpFlush, None),
            _ => (Self::Unknown, None),
        }
    }

    /// Whether NCP, not KakaoCloud, answers it.
    pub(crate) fn is_ncp(self) -> bool {
        matches!(self, Self::NcpInstancesList | Self::NcpFlush)
    }

    /// Whether this, as the operation of a fault or a filter, covers `operation`.
    pub(crate) fn covers(self, operation: Self) -> bool {
        self == Self::Any || self == operation
    }
}

/// Which requests to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFilter {
    /// Of this operation.
    pub operation: Operation,
    /// About this cluster, instance or credential.
    pub target: Option<String>,
    /// Answered with this HTTP status.
    pub status: Option<u16>,
}

impl From<Operation> for RequestFilter {
    fn from(operation: Operation) -> Self {
        Self { operation, target: None, status: None }
    }
}

impl RequestFilter {
    /// Only those about one cluster, instance or credential.
    #[must_use]
    pub fn target(self, target: impl Into<String>) -> Self {
        Self { target: Some(target.into()), ..self }
    }

    /// Only those answered with this HTTP status.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }
}

/// One request, without anything secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// Counts up from 1.
    pub id: u64,
    /// When it was read, by the clock of the clouds' state.
    pub time: Timestamp,
    /// What was asked for.
    pub operation: Operation,
    /// HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The cluster, instance or credential it is about; several are joined by commas.
    pub target: Option<String>,
    /// The status sent; none while it is being answered, and when the connection was closed instead.
    pub status: Option<u16>,
    /// The faults that met it.
    pub faults: Vec<String>,
    /// The client's name for itself.
    pub user_agent: String,
}

/// The requests of one operation in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationCounts {
    /// All of them.
    pub total: u64,
    /// By the status they were answered with; those never answered are missing here.
    pub by_status: BTreeMap<u16, u64>,
    /// The most there were at the same time.
    pub max_in_flight: u64,
}

const RECENT: usize = 1000;

/// Every request so far, in figures, and the last of them.
#[derive(Default)]
pub(crate) struct Traffic {
    counts: BTreeMap<(Operation, String, Option<u16>), u64>,
    in_flight: BTreeMap<Operation, (u64, u64)>,
    recent: VecDeque<RequestRecord>,
    last_id: u64,
    /// Requests up to this ID belong to earlier figures.
    since: u64,
}

/// Identifies a request whose end is recorded later.
#[derive(Clone, Debug)]
pub(crate) struct Booking {
    id: u64,
    operation: Operation,
    target: String,
}

impl Traffic {
    /// Records a request that has been read.
    pub(crate) fn begin(&mut self, mut record: RequestRecord) -> Booking {
        self.last_id += 1;
        record.id = self.last_id;
        let target = record.target.clone().unwrap_or_default();
        let booking = Booking { id: record.id, operation: record.operation, target: target.clone() };
        let (now, most) = self.in_flight.entry(record.operation).or_default();
        *now += 1;
        *most = (*now).max(*most);
        *self.counts.entry((record.operation, target, None)).or_default() += 1;
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(record);
        booking
    }

    /// Goes on counting where earlier figures end.
    pub(crate) fn continue_after(&mut self, earlier: &Self) {
        self.last_id = earlier.last_id;
        self.since = earlier.last_id;
    }

    /// Records the end of a request: the status of its answer, or that it was never answered.
    pub(crate) fn end(&mut self, booking: &Booking, status: Option<u16>) {
        if booking.id <= self.since {
            return;
        }
        if let Some((now, _)) = self.in_flight.get_mut(&booking.operation) {
            *now = now.saturating_sub(1);
        }
        let unanswered = (booking.operation, booking.target.clone(), None);
        if let Some(count) = self.counts.get_mut(&unanswered).filter(|_| status.is_some()) {
            *count = count.saturating_sub(1);
            *self.counts.entry((booking.operation, booking.target.clone(), status)).or_default() += 1;
        }
        if let Some(record) = self.recent.iter_mut().rev().find(|record| record.id == booking.id) {
            record.status = status;
        }
    }

    /// How many requests there were that a filter lets through.
    pub(crate) fn count(&self, filter: &RequestFilter) -> u64 {
        let passes = |(operation, target, status): &(Operation, String, Option<u16>)| {
            filter.operation.covers(*operation)
                && filter.target.as_ref().is_none_or(|wanted| target.split(',').any(|one| one == wanted))
                && (filter.status.is_none() || filter.status == *status)
        };
        self.counts.iter().filter(|(key, _)| passes(key)).map(|(_, count)| count).sum()
    }

    /// Figures by operation.
    pub(crate) fn by_operation(&self) -> BTreeMap<Operation, OperationCounts> {
        let mut all: BTreeMap<Operation, OperationCounts> = BTreeMap::new();
        for ((operation, _, status), count) in &self.counts {
            let counts = all.entry(*operation).or_default();
            counts.total += count;
            if let Some(status) = status {
                *counts.by_status.entry(*status).or_default() += count;
            }
        }
        for (operation, (_, most)) in &self.in_flight {
            all.entry(*operation).or_default().max_in_flight = *most;
        }
        all
    }

    /// The last requests, oldest first.
    pub(crate) fn recent(&self) -> impl Iterator<Item = &RequestRecord> {
        self.recent.iter()
    }
}
