//! What the operator's flags decide about the talk with the clouds.

use std::time::Duration;

use super::SetupError;
use super::endpoint::{EndpointMap, EndpointSet};

/// Limits, timeouts and endpoints, for every connection alike. The default is the real clouds.
#[derive(Clone, Debug)]
pub struct CloudSettings {
    /// KakaoCloud Redis, by region.
    pub kakao: EndpointMap,
    /// KakaoCloud IAM (tokens), by region or one for all.
    pub kakao_iam: EndpointMap,
    /// NCP's API gateway, by site.
    pub ncp: EndpointMap,
    /// Requests a second for each connection, in the long run.
    pub qps: f64,
    /// Requests that a connection that was idle may send at once.
    pub burst: u32,
    /// The `User-Agent` header: program and version.
    pub user_agent: String,
    /// Longest time for a connection to come to be (DNS, TCP, TLS).
    pub connect_timeout: Duration,
    /// Longest time for one attempt, from the start of its connection to the end of its body.
    pub request_timeout: Duration,
    /// Largest body of an answer, in bytes after decompression. Lists of clusters have a limit of their own,
    /// `max_list_bytes`: KakaoCloud lists without pages, about 1 KiB a cluster.
    pub max_body_bytes: usize,
    /// Largest body of a list of clusters, in bytes after decompression: ten thousand clusters are about 10 MB. It is cut into
    /// clusters as it comes and never kept.
    pub max_list_bytes: usize,
    /// Most clusters or instances that one credential may list.
    pub max_clusters: usize,
    /// How reads are tried again. Mutations never are.
    pub retry: RetrySettings,
}

/// How reads are tried again after a transport failure, an HTTP 5xx or a 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// Attempts in all, the first included.
    pub max_attempts: usize,
    /// Delay before the second attempt; doubles, with jitter.
    pub base_delay: Duration,
    /// Longest delay between two attempts.
    pub max_delay: Duration,
    /// No attempt starts later than this after the first one. Also the longest wait for a Retry-After pause to end:
    /// a read that would have to wait longer fails as rate limited.
    pub budget: Duration,
}

/// Default of [`CloudSettings::max_body_bytes`]: 4 MiB.
pub const MAX_BODY_BYTES: usize = 4 << 20;
/// Default of [`CloudSettings::max_list_bytes`]: 64 MiB.
pub const MAX_LIST_BYTES: usize = 64 << 20;
/// Default of [`CloudSettings::max_clusters`] (`--max-clusters`).
pub const MAX_CLUSTERS: usize = 20_000;

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            base_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(5),
            budget: Duration::from_secs(30),
        }
    }
}

impl Default for CloudSettings {
    fn default() -> Self {
        Self {
            kakao: EndpointMap::real(EndpointSet::Kakao),
            kakao_iam: EndpointMap::real(EndpointSet::KakaoIam),
            ncp: EndpointMap::real(EndpointSet::Ncp),
            qps: 5.0,
            burst: 10,
            user_agent: concat!("managed-redis-operator/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            max_body_bytes: MAX_BODY_BYTES,
            max_list_bytes: MAX_LIST_BYTES,
            max_clusters: MAX_CLUSTERS,
            retry: RetrySettings::default(),
        }
    }
}

impl CloudSettings {
    /// Checks what types cannot.
    pub(super) fn validate(&self) -> Result<(), SetupError> {
        let problem = if !self.qps.is_finite() || self.qps < 0.001 || self.qps > 10_000.0 {
            "--cloud-qps must be a number between 0.001 and 10000"
        } else if self.burst == 0 {
            "--cloud-burst must be at least 1"
        } else if self.max_clusters == 0 {
            "--max-clusters must be at least 1"
        } else if self.retry.max_attempts == 0 {
            "a request needs at least one attempt"
        } else {
            return Ok(());
        };
        Err(SetupError::Settings(problem.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_that_make_no_sense_are_refused() {
        assert!(CloudSettings::default().validate().is_ok());
        for qps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(CloudSettings { qps, ..CloudSettings::default() }.validate().is_err(), "{qps}");
        }
        assert!(CloudSettings { burst: 0, ..CloudSettings::default() }.validate().is_err());
    }
}
