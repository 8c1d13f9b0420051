//! `managed-redis-operator run`

use std::net::SocketAddr;

use clap::builder::NonEmptyStringValueParser;
use kube::core::Duration;

use super::selector;
use crate::cloud::{CloudSettings, EndpointMap, EndpointSet, MAX_CLUSTERS, MAX_LIST_BYTES};
use crate::controllers::context::Settings;
use crate::operator::telemetry::{self, LogFormat};
use crate::operator::{self, OperatorConfig};
use crate::runtime::runner::Scope;

/// Bytes of a list that one cluster may take on average: two or three times what it does take. Where more clusters are allowed, the
/// list may be larger.
const BYTES_PER_CLUSTER: usize = 3 << 10;

/// The endpoints of the clouds, and the limits of requests to them. `run` and `discover` have the same flags.
#[derive(Debug, clap::Args)]
pub(super) struct EndpointArgs {
    /// KakaoCloud Redis endpoint: REGION=URL (repeatable), or one URL for all known regions
    #[arg(long, env = "MRO_KAKAO_ENDPOINT", value_name = "[REGION=]URL", value_delimiter = ',')]
    kakao_endpoint: Vec<String>,
    /// KakaoCloud IAM endpoint: REGION=URL (repeatable), or one URL for all known regions
    #[arg(long, env = "MRO_KAKAO_IAM_ENDPOINT", value_name = "[REGION=]URL", value_delimiter = ',')]
    kakao_iam_endpoint: Vec<String>,
    /// NCP API gateway: SITE=URL (Public, Gov, Fin; repeatable), or one URL for all sites
    #[arg(long, env = "MRO_NCP_ENDPOINT", value_name = "[SITE=]URL", value_delimiter = ',')]
    ncp_endpoint: Vec<String>,
    /// Maximum requests per second per connection
    #[arg(long, env = "MRO_CLOUD_QPS", default_value_t = 5.0)]
    cloud_qps: f64,
    /// Maximum burst of requests per connection
    #[arg(long, env = "MRO_CLOUD_BURST", default_value_t = 10)]
    cloud_burst: u32,
    /// Maximum clusters or instances per credential; a longer list is refused
    #[arg(
        long, env = "MRO_MAX_CLUSTERS", default_value_t = 20_000, value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    max_clusters: u32,
    /// Accept http:// endpoints other than loopback
    #[arg(
        long, env = "MRO_ALLOW_INSECURE_ENDPOINTS", action = clap::ArgAction::Set, num_args = 0..=1,
        default_value_t = false, default_missing_value = "true", value_name = "BOOL"
    )]
    allow_insecure_endpoints: bool,
}

impl EndpointArgs {
    /// The settings of the HTTP core.
    pub(super) fn resolve(&self) -> Result<CloudSettings, String> {
        // The error names the flag.
        let parse = |set, values: &[String]| {
            EndpointMap::parse(set, values, self.allow_insecure_endpoints).map_err(|error| error.to_string())
        };
        let max_clusters = usize::try_from(self.max_clusters).unwrap_or(MAX_CLUSTERS);
        Ok(CloudSettings {
            kakao: parse(EndpointSet::Kakao, &self.kakao_endpoint)?,
            kakao_iam: parse(EndpointSet::KakaoIam, &self.kakao_iam_endpoint)?,
            ncp: parse(EndpointSet::Ncp, &self.ncp_endpoint)?,
            qps: self.cloud_qps,
            burst: self.cloud_burst,
            max_clusters,
            max_list_bytes: MAX_LIST_BYTES.max(max_clusters.saturating_mul(BYTES_PER_CLUSTER)),
            ..CloudSettings::default()
        })
    }
}

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    endpoints: EndpointArgs,
    /// Watch only this namespace (repeatable) [default: all namespaces]
    #[arg(long, env = "MRO_WATCH_NAMESPACE", value_name = "NAMESPACE", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    watch_namespace: Vec<String>,
    /// Watch only objects with these labels
    #[arg(long, env = "MRO_LABEL_SELECTOR", value_name = "SELECTOR")]
    label_selector: Option<String>,
    /// Maximum concurrent reconciles per kind
    #[arg(long, env = "MRO_WORKERS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    /// Maximum clusters that one RedisParameterSync keeps in sync; with more it reports TooManyClusters
    #[arg(long, env = "MRO_MAX_CLUSTERS_PER_SYNC", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=1000))]
    max_clusters_per_sync: u16,
    /// Interval between reads of the cloud, for objects without a pollInterval
    #[arg(long, env = "MRO_POLL_INTERVAL", default_value = "60s", value_parser = duration)]
    poll_interval: std::time::Duration,
    /// Interval between writes of an unchanged status, which update lastObservedTime
    #[arg(long, env = "MRO_STATUS_HEARTBEAT", default_value = "10m", value_parser = duration)]
    status_heartbeat: std::time::Duration,
    /// How long a requestID stays used after its flush
    #[arg(long, env = "MRO_FLUSH_CLAIM_RETENTION", default_value = "720h", value_parser = duration)]
    flush_claim_retention: std::time::Duration,
    /// Write the ConfigMaps of spec.connectionConfigMap; without, the operator needs no access to ConfigMaps
    #[arg(
        long, env = "MRO_CONNECTION_CONFIG_MAPS", action = clap::ArgAction::Set, num_args = 0..=1,
        default_value_t = true, default_missing_value = "true", value_name = "BOOL"
    )]
    connection_config_maps: bool,
    /// Work only while holding the leader Lease; required with more than one replica
    #[arg(
        long, env = "MRO_LEADER_ELECTION", action = clap::ArgAction::Set, num_args = 0..=1,
        default_value_t = true, default_missing_value = "true", value_name = "BOOL"
    )]
    leader_election: bool,
    /// Namespace of the leader Lease and the flush claims [default: the pod's, else the kubeconfig context's]
    #[arg(long, env = "MRO_OPERATOR_NAMESPACE", value_name = "NAMESPACE")]
    operator_namespace: Option<String>,
    /// Address of /metrics, /healthz and /readyz
    #[arg(long, env = "MRO_ADMIN_ADDR", default_value = "0.0.0.0:8080", value_name = "ADDRESS:PORT")]
    admin_addr: SocketAddr,
    /// Format of log lines
    #[arg(long, env = "MRO_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Log filter, such as info or info,managed_redis_operator=debug
    #[arg(
        long,
        env = "MRO_LOG_FILTER",
        default_value = "info,kube_client=off,kube_runtime=off",
        value_name = "FILTER"
    )]
    log_filter: String,
}

pub(super) async fn main(args: RunArgs) -> Result<(), String> {
    let config = args.resolve()?;
    telemetry::init(args.log_format, &args.log_filter)?;
    operator::run(config).await.map_err(|error| error.to_string())
}

impl RunArgs {
    fn resolve(&self) -> Result<OperatorConfig, String> {
        if let Some(selector) = &self.label_selector {
            selector::check(selector).map_err(|error| {
                format!("--label-selector {selector:?}: {error}; write it as kubectl -l has it, such as team=payments")
            })?;
        }
        let mut namespaces = self.watch_namespace.clone();
        namespaces.sort();
        namespaces.dedup();
        Ok(OperatorConfig {
            cloud: self.endpoints.resolve()?,
            settings: Settings {
                status_heartbeat: self.status_heartbeat,
                poll_interval: self.poll_interval,
                flush_claim_retention: self.flush_claim_retention,
                operator_namespace: self.operator_namespace.clone().unwrap_or_default(),
                identity: identity(),
                workers: self.workers,
                max_clusters_per_sync: self.max_clusters_per_sync,
                connection_config_maps: self.connection_config_maps,
            },
            scope: Scope { namespaces, labels: self.label_selector.clone() },
            leader_election: self.leader_election,
            admin_addr: self.admin_addr,
        })
    }
}

/// The host name (in a cluster, the pod's name) and a random part: a restarted process is another one.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map(|host| host.trim().to_owned())
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| "operator".to_owned());
    format!("{host}_{:08x}", rand::random::<u32>())
}

/// A Go-style duration of at least a second.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let parsed: Duration = text.parse().map_err(|error| format!("{error}; write it as 30s, 10m or 720h"))?;
    let duration = std::time::Duration::from(parsed);
    if parsed.is_negative() || duration < std::time::Duration::from_secs(1) {
        return Err("must be at least 1s".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_the_go_way() {
        assert_eq!(duration("1h30m"), Ok(std::time::Duration::from_secs(5400)));
        for bad in ["", "5", "-5s", "0s", "100ms", "tomorrow"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_endpoint_that_is_refused_names_its_flag_once() {
        #[derive(clap::Parser)]
        struct TestCommand {
            #[command(flatten)]
            endpoints: EndpointArgs,
        }
        for flag in ["--kakao-endpoint", "--kakao-iam-endpoint", "--ncp-endpoint"] {
            let command = <TestCommand as clap::Parser>::parse_from(["test", flag, "ftp://example.com"]);
            let error = command.endpoints.resolve().unwrap_err();
            assert_eq!(error.matches(flag).count(), 1, "{error}");
        }
    }

    #[test]
    fn identities_differ_between_starts() {
        assert_ne!(identity(), identity());
    }
}
