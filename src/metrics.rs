//! What the operator counts and measures, under the prefix `managed_redis_`.
//!
//! A leaf: every floor reports here in plain words, and `operator` serves it. No label holds a key or a secret. Object names are labels
//! only of the two gauges that alerts are written on, and their series end with the object.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info};
use prometheus_client::registry::{Registry, Unit};

/// Buckets of durations, from 1 ms to 65 s.
const SECONDS: [f64; 9] = [0.001, 0.004, 0.016, 0.064, 0.256, 1.024, 4.096, 16.384, 65.536];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReconcileLabels {
    controller: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ControllerLabels {
    controller: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    provider: &'static str,
    operation: &'static str,
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabels {
    provider: &'static str,
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ConnectionLabels {
    provider: &'static str,
    connection: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    provider: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ObjectLabels {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PhaseLabels {
    phase: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

type SecondsGauge = Gauge<f64, AtomicU64>;
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_seconds: Histograms<ControllerLabels>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histograms<OperationLabels>,
    poll_age: Family<ConnectionLabels, SecondsGauge>,
    clusters: Family<StateLabels, Gauge>,
    cluster_ready: Family<ObjectLabels, Gauge>,
    parameter_sync_failing: Family<ObjectLabels, Gauge>,
    parameter_applies: Family<OutcomeLabels, Counter>,
    flush_requests: Family<PhaseLabels, Counter>,
    status_writes: Family<KindLabels, Counter>,
    watches_failing: Family<KindLabels, Gauge>,
    watch_silence: Family<KindLabels, SecondsGauge>,
    leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A fresh set, all zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            reconciles: Family::default(),
            reconcile_seconds: Family::new_with_constructor(histogram),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(histogram),
            poll_age: Family::default(),
            clusters: Family::default(),
            cluster_ready: Family::default(),
            parameter_sync_failing: Family::default(),
            parameter_applies: Family::default(),
            flush_requests: Family::default(),
            status_writes: Family::default(),
            watches_failing: Family::default(),
            watch_silence: Family::default(),
            leader: Gauge::default(),
        };
        metrics.register();
        metrics.begin_at_zero();
        metrics
    }

    /// Counters whose labels are known begin at 0, so that an alert sees their first increase.
    fn begin_at_zero(&self) {
        for outcome in ["accepted", "busy", "failed"] {
            drop(self.parameter_applies.get_or_create(&OutcomeLabels { outcome }));
        }
    }

    /// A kind will be watched: its counters begin at 0.
    pub fn begin_kind(&self, kind: &'static str) {
        drop(self.watches_failing.get_or_create(&KindLabels { kind }));
    }

    /// Flush requests can come to these phases: their counters begin at 0.
    pub fn begin_flush_phases(&self, phases: impl IntoIterator<Item = &'static str>) {
        for phase in phases {
            drop(self.flush_requests.get_or_create(&PhaseLabels { phase }));
        }
    }

    fn register(&mut self) {
        let mut root = Registry::default();
        let registry = root.sub_registry_with_prefix("managed_redis");
        registry.register("reconcile", "Reconciles, by what came of them", self.reconciles.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Time one reconcile took",
            Unit::Seconds,
            self.reconcile_seconds.clone(),
        );
        registry.register("cloud_requests", "HTTP requests to the clouds", self.requests.clone());
        registry.register_with_unit(
            "cloud_request_duration",
            "Time one HTTP request to a cloud took",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        registry.register_with_unit(
            "poll_age",
            "Time since a connection was last read with success",
            Unit::Seconds,
            self.poll_age.clone(),
        );
        registry.register("clusters", "Managed Redis the connections list, by state", self.clusters.clone());
        registry.register("cluster_ready", "1 if the RedisClusterRef is Ready, else 0", self.cluster_ready.clone());
        let failing = self.parameter_sync_failing.clone();
        registry.register("parameter_sync_failing", "Clusters of a RedisParameterSync that fail", failing);
        registry.register("parameter_apply", "Parameter group applications asked for", self.parameter_applies.clone());
        registry.register("flush_requests", "Flush requests that came to a phase", self.flush_requests.clone());
        registry.register("status_writes", "Writes of an object's status", self.status_writes.clone());
        let failing = self.watches_failing.clone();
        registry.register("watches_failing", "Watches of a kind's objects that do not hear the API server", failing);
        registry.register_with_unit(
            "watch_silence",
            "Time since the API server was last heard by that watch of a kind that has been silent for longest",
            Unit::Seconds,
            self.watch_silence.clone(),
        );
        registry.register("leader", "1 while this process leads, else 0", self.leader.clone());
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running program", build);
        self.registry = root;
    }

    /// The metrics in OpenMetrics text; `Err` only if a label cannot be written.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// One reconcile ended.
    pub fn reconciled(&self, controller: &'static str, outcome: &'static str, seconds: f64) {
        self.reconciles.get_or_create(&ReconcileLabels { controller, outcome }).inc();
        self.reconcile_seconds.get_or_create(&ControllerLabels { controller }).observe(seconds);
    }

    /// One HTTP attempt at a cloud ended. `code` is the HTTP status, or a word for a failure without an answer.
    pub fn cloud_request(&self, provider: &'static str, operation: &'static str, code: &str, seconds: f64) {
        self.requests.get_or_create(&RequestLabels { provider, operation, code: code_label(code) }).inc();
        self.request_seconds.get_or_create(&OperationLabels { provider, operation }).observe(seconds);
    }

    /// How long ago a connection was last read with success, in seconds.
    pub fn poll_age(&self, provider: &'static str, connection: &str, seconds: f64) {
        let labels = ConnectionLabels { provider, connection: connection.to_owned() };
        self.poll_age.get_or_create(&labels).set(seconds);
    }

    /// Forgets connections and states, which are told anew at every scrape.
    pub fn reset_inventory(&self) {
        self.poll_age.clear();
        self.clusters.clear();
    }

    /// How many listed clusters are in a state.
    pub fn clusters(&self, provider: &'static str, state: &'static str, count: i64) {
        self.clusters.get_or_create(&StateLabels { provider, state }).set(count);
    }

    /// Whether a RedisClusterRef is Ready.
    pub fn cluster_ready(&self, namespace: &str, name: &str, ready: bool) {
        self.cluster_ready.get_or_create(&object(namespace, name)).set(i64::from(ready));
    }

    /// How many clusters of a RedisParameterSync fail.
    pub fn parameter_sync_failing(&self, namespace: &str, name: &str, failing: i64) {
        self.parameter_sync_failing.get_or_create(&object(namespace, name)).set(failing);
    }

    /// A RedisClusterRef is gone.
    pub fn forget_cluster(&self, namespace: &str, name: &str) {
        self.cluster_ready.remove(&object(namespace, name));
    }

    /// A RedisParameterSync is gone.
    pub fn forget_parameter_sync(&self, namespace: &str, name: &str) {
        self.parameter_sync_failing.remove(&object(namespace, name));
    }

    /// A parameter group application was asked for.
    pub fn parameter_apply(&self, outcome: &'static str) {
        self.parameter_applies.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A flush request came to a phase.
    pub fn flush_phase(&self, phase: &'static str) {
        self.flush_requests.get_or_create(&PhaseLabels { phase }).inc();
    }

    /// A status was written.
    pub fn status_written(&self, kind: &'static str) {
        self.status_writes.get_or_create(&KindLabels { kind }).inc();
    }

    /// How many watches of a kind fail, and for how long one of them has heard nothing, in seconds.
    pub fn watches(&self, kind: &'static str, failing: usize, silent_seconds: f64) {
        let failing = i64::try_from(failing).unwrap_or(i64::MAX);
        self.watches_failing.get_or_create(&KindLabels { kind }).set(failing);
        self.watch_silence.get_or_create(&KindLabels { kind }).set(silent_seconds);
    }

    /// Whether this process leads.
    pub fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }
}

/// A code as a label: HTTP has some 60 of them and the transport a handful, but a cloud can send 900.
fn code_label(code: &str) -> String {
    let status = code.bytes().all(|byte| byte.is_ascii_digit()).then(|| http::StatusCode::from_bytes(code.as_bytes()));
    let is_known = match status {
        Some(status) => status.is_ok_and(|status| status.canonical_reason().is_some()),
        None => true,
    };
    if is_known { code.to_owned() } else { "other".to_owned() }
}

fn object(namespace: &str, name: &str) -> ObjectLabels {
    ObjectLabels { namespace: namespace.to_owned(), name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_contract() {
        let metrics = Metrics::new();
        metrics.begin_kind("RedisFlushRequest");
        metrics.begin_flush_phases(["Succeeded", "Unknown"]);
        metrics.reconciled("RedisClusterRef", "applied", 0.01);
        metrics.cloud_request("NCP", "flushCloudDBInstance", "200", 0.1);
        metrics.poll_age("KakaoCloud", "0a1b2c3d", 3.0);
        metrics.clusters("NCP", "running", 2);
        metrics.cluster_ready("a", "b", true);
        metrics.parameter_sync_failing("a", "b", 1);
        metrics.parameter_apply("accepted");
        metrics.flush_phase("Succeeded");
        metrics.status_written("RedisClusterRef");
        metrics.watches("RedisClusterRef", 2, 7.0);
        metrics.leader(true);
        let text = metrics.encode().unwrap();
        for line in [
            r#"managed_redis_reconcile_total{controller="RedisClusterRef",outcome="applied"} 1"#,
            r#"managed_redis_reconcile_duration_seconds_count{controller="RedisClusterRef"} 1"#,
            r#"managed_redis_cloud_requests_total{provider="NCP",operation="flushCloudDBInstance",code="200"} 1"#,
            r#"managed_redis_cloud_request_duration_seconds_count{provider="NCP",operation="flushCloudDBInstance"} 1"#,
            r#"managed_redis_poll_age_seconds{provider="KakaoCloud",connection="0a1b2c3d"} 3.0"#,
            r#"managed_redis_clusters{provider="NCP",state="running"} 2"#,
            r#"managed_redis_cluster_ready{namespace="a",name="b"} 1"#,
            r#"managed_redis_parameter_sync_failing{namespace="a",name="b"} 1"#,
            r#"managed_redis_parameter_apply_total{outcome="accepted"} 1"#,
            r#"managed_redis_flush_requests_total{phase="Succeeded"} 1"#,
            r#"managed_redis_status_writes_total{kind="RedisClusterRef"} 1"#,
            r#"managed_redis_watches_failing{kind="RedisClusterRef"} 2"#,
            r#"managed_redis_watch_silence_seconds{kind="RedisClusterRef"} 7.0"#,
            "managed_redis_leader 1",
            r#"managed_redis_parameter_apply_total{outcome="failed"} 0"#,
            r#"managed_redis_flush_requests_total{phase="Unknown"} 0"#,
            r#"managed_redis_watches_failing{kind="RedisFlushRequest"} 0"#,
            "managed_redis_build_info{",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn codes_that_no_page_has_are_one_series() {
        let metrics = Metrics::new();
        for code in 100..1000 {
            metrics.cloud_request("NCP", "flushCloudDBInstance", &code.to_string(), 0.1);
        }
        metrics.cloud_request("NCP", "flushCloudDBInstance", "timeout", 0.1);
        let text = metrics.encode().unwrap();
        let series = text.lines().filter(|line| line.starts_with("managed_redis_cloud_requests_total")).count();
        assert!(series < 70, "{series}");
        assert!(text.contains(r#"code="timeout""#) && text.contains(r#"code="other""#), "{text}");
    }
}
